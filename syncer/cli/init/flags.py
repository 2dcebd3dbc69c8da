"""From flags to answers: for scripts, and to spare a person some questions.

Invariant: no secret is taken from a command line, where every user of the machine can read it, and none is quoted
in an error.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path

from syncer.cli.init.answers import (
    EMBEDDED,
    Answers,
    Kept,
    Specs,
    fields,
    is_secret,
    model_of,
    modes,
    problem_of,
    problem_of_name,
    several,
)
from syncer.config import Connection, PlatformSpec, Tuning
from syncer.config.problems import unknown
from syncer.errors import ConfigError

PLACES = ("env", "file")


def from_flags(
    specs: Specs,
    *,
    platform: str | None,
    name: str | None,
    base_url: str | None,
    auth: Iterable[str],
    keys: Iterable[str],
    warehouse: str | None,
) -> Answers:
    """What the flags say; ConfigError for what cannot be meant."""
    platform = platform or (next(iter(specs)) if len(specs) == 1 else None)
    answers = Answers(platform=platform, name=name, base_url=base_url)
    if name is not None and (problem := problem_of_name(name)):
        raise ConfigError(
            f"--name {name!r}: {problem}", "it stands in every row of the warehouse: choose it for good"
        )
    if base_url is not None and (problem := problem_of(Connection, "base_url", base_url)):
        raise ConfigError(f"--base-url: {problem}")
    if warehouse is not None:
        answers.warehouse = EMBEDDED if warehouse == EMBEDDED else reference("--warehouse", warehouse)
    pairs, others = dict(map(_pair, auth)), dict(map(_pair, keys))
    if (pairs or others) and platform is None:
        raise ConfigError("--auth and --set need --platform", f"it is one of {', '.join(specs)}")
    if platform is not None:
        _take_auth(answers, pairs, specs[platform])
        _take_keys(answers, others, specs[platform])
    return answers


def reference(flag: str, text: str) -> Kept:
    """Where a secret is kept, from `env:NAME` or `file:PATH`; ConfigError for anything else."""
    place, colon, name = text.partition(":")
    if place not in PLACES or not colon or not name:
        raise ConfigError(
            f"{flag} must say where the secret is, not what it is: others can read a command line",
            f"write {flag}{' ' if flag == '--warehouse' else '='}env:NAME or file:PATH",
        )
    if place == "file" and not name.startswith("~"):
        name = str(Path(name).absolute())  # a relative one would mean another file to a service
    return Kept(place=place, name=name)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError("--auth and --set take KEY=VALUE", "as in --auth mode=password --set poll=10m")
    return key.strip(), value


def _take_auth(answers: Answers, pairs: dict[str, str], spec: PlatformSpec) -> None:
    known = modes(spec)
    mode = pairs.pop("mode", None) or _inferred(pairs, spec)
    if mode is not None and mode not in known:
        raise ConfigError(f"--auth mode: {unknown(mode, known, 'mode')}")
    answers.mode = mode
    for key, value in pairs.items():
        models = [known[mode]] if mode else [model for model in known.values() if key in fields(model)]
        if not models or key not in fields(models[0]):
            every = [key for model in models or known.values() for key in fields(model)]
            raise ConfigError(f"--auth {key}: {unknown(key, dict.fromkeys(every))}")
        if is_secret(models[0], key):
            answers.auth[key] = reference(f"--auth {key}", value)
        elif problem := problem_of(models[0], key, value):
            raise ConfigError(f"--auth {key}: {problem}")
        else:
            answers.auth[key] = value


def _inferred(pairs: dict[str, str], spec: PlatformSpec) -> str | None:
    """The one way to sign in that knows all these keys."""
    suitable = [mode for mode, model in modes(spec).items() if set(pairs) <= set(fields(model))]
    return suitable[0] if len(suitable) == 1 else None


def _take_keys(answers: Answers, pairs: dict[str, str], spec: PlatformSpec) -> None:
    known = {**Tuning.model_fields, **spec.options.model_fields}
    for key, text in pairs.items():
        if key in ("platform", "base_url", "auth"):
            raise ConfigError(f"--set {key}: it has a flag of its own", f"write --{key.replace('_', '-')}")
        if key not in known:
            raise ConfigError(f"--set {key}: {unknown(key, known)}")
        answers.keys[key] = _value(spec, key, text)


def _value(spec: PlatformSpec, key: str, text: str) -> object:
    model = model_of(spec, key)
    if is_secret(model, key) and (text.startswith(("env:", "file:")) or "@" in text):
        return reference(f"--set {key}", text)
    read = typed(text)
    values = [several(model, key, read) if isinstance(read, str) else read, several(model, key, text)]
    says = [problem_of(model, key, value) for value in values]
    if None not in says:
        raise ConfigError(f"--set {key}: {says[0]}")
    return values[says.index(None)]


def typed(text: str) -> object:
    """A number, a flag or a list where TOML would read one, else the text itself."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        return text
    return value if isinstance(value, bool | int | float | list | str) else text
