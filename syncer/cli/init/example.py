"""The file itself: config.example.toml with the answers in their places.

Invariant: what it explains is what the documentation explains, since it is the same text; only a reference to a
secret is ever written. Keys that were not asked for stay as comments, so that the defaults hold.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

import syncer
from syncer.cli.init.answers import Answers, Kept
from syncer.config import Tuning
from syncer.config.values import toml_text

FILE = "config.example.toml"
TENANT = ("platform", "base_url", "auth")

Refer = Callable[[Kept], Kept]
"""Chooses what a secret is referred to by."""

_TABLE = re.compile(r"\[(.+)\]")
_KEY = re.compile(r"(\w+) = ")
_OTHERS = re.compile(r"^# \[connections\.", re.MULTILINE)


class _Entry(Struct, frozen=True):
    """A line that is no comment, with the comments above it."""

    comments: list[str]
    line: str

    def lines(self, line: str | None = None, *, is_explained: bool = True) -> list[str]:
        """The comments and the line, or another in its place."""
        comments = self.comments if is_explained else [each for each in self.comments if not each]
        return [*comments, self.line if line is None else line]


def example() -> str:
    """The documented example."""
    package = Path(syncer.__file__).parent
    shipped = package / FILE  # in a wheel; in the repository it stands beside the package
    return (shipped if shipped.is_file() else package.parent / FILE).read_text(encoding="utf-8")


def addresses() -> dict[str, str]:
    """An address of each platform, as it looks in the example."""
    text = example()
    others = _OTHERS.split(text, maxsplit=1)
    block = text[len(others[0]) :]
    uncommented = re.sub(r"^# ?", "", block, flags=re.MULTILINE)
    tables = [*_connections(others[0]), *_connections(uncommented)]
    return {str(table["platform"]): str(table["base_url"]) for table in tables}


def _connections(text: str) -> list[dict[str, object]]:
    return list(tomllib.loads(text).get("connections", {}).values())


def render(answers: Answers, refer: Refer) -> str:
    """The whole file."""
    entries = [*_entries(_OTHERS.split(example(), maxsplit=1)[0])]
    lines: list[str] = []
    table = ""
    platform = tomllib.loads("\n".join(_only(entries, "platform")))["platform"]
    for entry in entries:
        if found := _TABLE.fullmatch(entry.line):
            table = found[1].partition(".")[0]
            lines += entry.lines(f"[connections.{answers.name}]" if table == "connections" else None)
        else:
            lines += _placed(entry, table, answers, refer, is_same=platform == answers.platform)
    return "\n".join(lines).replace("# Copy to config.toml. ", "# ", 1).rstrip() + "\n"


def _only(entries: list[_Entry], key: str) -> list[str]:
    return [entry.line for entry in entries if _key(entry) == key]


def _entries(text: str) -> Iterator[_Entry]:
    comments: list[str] = []
    for line in text.splitlines():
        if not line or line.startswith("#"):
            comments.append(line)
        else:
            yield _Entry(comments, line)
            comments = []


def _key(entry: _Entry) -> str:
    found = _KEY.match(entry.line)
    return found[1] if found else ""


def _placed(entry: _Entry, table: str, answers: Answers, refer: Refer, *, is_same: bool) -> list[str]:
    """The lines that stand for one key of the example."""
    key = _key(entry)
    if table == "warehouse" and key == "url":
        return entry.lines(f"url = {_toml(answers.warehouse, refer)}")
    if table == "connections" and key in TENANT:
        # What is said about addresses and ways to sign in is said of the platform of the example.
        lines = entry.lines(_tenant(key, answers, refer), is_explained=is_same or key == "platform")
        return [*lines, *_options(answers, refer)] if key == TENANT[-1] else lines
    if table == "connections" and key in answers.keys:
        return entry.lines(f"{key} = {_toml(answers.keys[key], refer)}")
    return entry.lines(f"# {entry.line}" if table in ("connections", "defaults") else None)


def _tenant(key: str, answers: Answers, refer: Refer) -> str:
    value = {"mode": answers.mode, **answers.auth} if key == "auth" else getattr(answers, key)
    return f"{key} = {_toml(value, refer)}"


def _options(answers: Answers, refer: Refer) -> list[str]:
    """The platform's own keys, which the example explains elsewhere."""
    own = {key: value for key, value in answers.keys.items() if key not in Tuning.model_fields}
    return [f"{key} = {_toml(value, refer)}" for key, value in own.items()]


def _toml(value: object, refer: Refer) -> str:
    match value:
        case Kept():
            used = refer(value)
            return f"{{ {used.place} = {toml_text(used.name)} }}"
        case dict():
            return f"{{ {', '.join(f'{key} = {_toml(each, refer)}' for key, each in value.items())} }}"
        case list():
            return f"[{', '.join(_toml(each, refer) for each in value)}]"
        case str():
            return toml_text(value)
    return json.dumps(value, ensure_ascii=False)
