"""What is left on the disk: the configuration and the secrets it refers to.

Invariant: every file appears whole and is this user's alone from its first byte, and what was written is taken
back where the rest cannot be.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from syncer.cli.init.answers import Answers, Kept, Specs
from syncer.cli.init.example import render
from syncer.config import Settings, load
from syncer.errors import ConfigError


def trial(answers: Answers, specs: Specs, *, is_tested: bool) -> Settings:
    """The settings that the file will give, with secrets that are not kept anywhere yet.

    Untested, a secret that cannot be read here may be anything. Raises ConfigError as `load` does.
    """
    variables: dict[str, str] = {}

    def refer(secret: Kept) -> Kept:
        value = secret.value
        if value is None and not is_tested and not _is_readable(secret):
            value = "postgresql://" if secret is answers.warehouse else "unknown"
        if value is None:
            return secret
        name = f"SYNCER_INIT_{len(variables)}"
        variables[name] = value
        return Kept(place="env", name=name)

    with _private_file("syncer-init-", Path(tempfile.gettempdir())) as file:
        file.write_text(render(answers, refer), encoding="utf-8")
        try:
            return load(file, env={**os.environ, **variables}, platforms=specs)
        except ConfigError as error:
            says = error.message.replace(f"{file} cannot be used", "what was given cannot be used")
            raise ConfigError(says, error.hint) from None


def unreadable(answers: Answers) -> list[Kept]:
    """Secrets whose value is not known here."""
    return [each for each in answers.kept() if each.value is None and not _is_readable(each)]


def _is_readable(secret: Kept) -> bool:
    if secret.place == "env":
        return bool(os.environ.get(secret.name))
    with suppress(OSError, RuntimeError):
        return Path(secret.name).expanduser().is_file()
    return False


def write(file: Path, answers: Answers) -> list[Path]:
    """Write the new secrets and then the configuration; returns all files written. Raises ConfigError."""
    written: Mapping[Path, str] = {
        Path(each.name): f"{each.value}\n" for each in answers.kept() if each.is_new
    } | {file: render(answers, lambda secret: secret)}
    fresh = [path for path in written if not path.exists()]
    with ExitStack() as undone:
        for path, text in written.items():
            _write(path, text)
            if path in fresh:
                undone.callback(path.unlink, missing_ok=True)
        undone.pop_all()
    return list(written)


def _write(path: Path, text: str) -> None:
    try:
        _write_private(path, text)
    except OSError as error:
        told = f"cannot write {error.filename or path}: {error.strerror}"
        raise ConfigError(told, "name a place this user may write to with --output") from None


def _write_private(path: Path, text: str) -> None:
    if not path.parent.is_dir():
        path.parent.mkdir(mode=0o700, parents=True)
    with _private_file(f".{path.name}-", path.parent) as file:
        with file.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        file.replace(path)


@contextmanager
def _private_file(prefix: str, folder: Path) -> Iterator[Path]:
    """A new empty file that nobody else may read; it is gone after the body unless it was renamed."""
    descriptor, name = tempfile.mkstemp(prefix=prefix, dir=folder)
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
