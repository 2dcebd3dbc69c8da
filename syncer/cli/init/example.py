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
_OTHERS = re.compile(r"^# \[connections\..+\]\n", re.MULTILINE)


class _Entry(Struct, frozen=True):
    """A line that is no comment, with the comments above it."""

    comments: list[str]
    line: str

    def lines(self, line: str | None = None, *, is_explained: bool = True) -> list[str]:
        """The comments and the line, or another in its place."""
        comments = self.comments if is_explained else [each for each in self.comments if not each]
        return [*comments, self.line if line is None else line]


Table = dict[str, _Entry]


def example() -> str:
    """The documented example."""
    package = Path(syncer.__file__).parent
    shipped = package / FILE  # in a wheel; in the repository it stands beside the package
    return (shipped if shipped.is_file() else package.parent / FILE).read_text(encoding="utf-8")


def addresses() -> dict[str, str]:
    """An address of each platform, as it looks in the example."""
    return {platform: str(_value(table["base_url"])) for platform, table in _tables(example()).items()}


def render(answers: Answers, refer: Refer) -> str:
    """The whole file, with what the example says of this platform in the place of what it says of another."""
    text = example()
    own = _tables(text).get(answers.platform or "", {})
    lines: list[str] = []
    table = ""
    for entry in _entries(_OTHERS.split(text)[0]):
        if found := _TABLE.fullmatch(entry.line):
            table = found[1].partition(".")[0]
            lines += entry.lines(f"[connections.{answers.name}]" if table == "connections" else None)
        elif table == "connections":
            lines += _of_connection(entry, own, answers, refer)
        else:
            lines += _of_all(entry, table, answers, refer)
    return "\n".join(lines).replace("# Copy to config.toml. ", "# ", 1).rstrip() + "\n"


def _tables(text: str) -> dict[str, Table]:
    """The tables of connections by platform: the one that is in force, then those in comments."""
    first, *others = _OTHERS.split(text)
    in_force = first[first.index("[connections.") :].partition("\n")[2]
    uncommented = (re.sub(r"^# ?", "", block, flags=re.MULTILINE) for block in others)
    tables = [{_key(entry): entry for entry in _entries(block)} for block in (in_force, *uncommented)]
    return {str(_value(table["platform"])): table for table in tables}


def _value(entry: _Entry) -> object:
    [value] = tomllib.loads(entry.line).values()
    return value


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


def _of_all(entry: _Entry, table: str, answers: Answers, refer: Refer) -> list[str]:
    """The lines that stand for a key outside the connection's table."""
    if table == "warehouse" and _key(entry) == "url":
        return entry.lines(f"url = {_toml(answers.warehouse, refer)}")
    return entry.lines(f"# {entry.line}" if table == "defaults" else None)


def _of_connection(entry: _Entry, own: Table, answers: Answers, refer: Refer) -> list[str]:
    """The lines that stand for a key of the connection's table."""
    key = _key(entry)
    is_own, entry = key in own, own.get(key, entry)
    if key not in TENANT:
        return _set_or_not(entry, key, answers, refer)
    # What is said about addresses and ways to sign in is said of one platform.
    lines = entry.lines(_tenant(key, answers, refer), is_explained=is_own or key == "platform")
    return [*lines, *_options(own, answers, refer)] if key == TENANT[-1] else lines


def _set_or_not(entry: _Entry, key: str, answers: Answers, refer: Refer) -> list[str]:
    is_set = key in answers.keys
    return entry.lines(f"{key} = {_toml(answers.keys[key], refer)}" if is_set else f"# {entry.line}")


def _tenant(key: str, answers: Answers, refer: Refer) -> str:
    value = {"mode": answers.mode, **answers.auth} if key == "auth" else getattr(answers, key)
    return f"{key} = {_toml(value, refer)}"


def _options(own: Table, answers: Answers, refer: Refer) -> list[str]:
    """The platform's own keys; one that the example does not know stands without a comment."""
    keys = [key for key in {**own, **answers.keys} if key not in (*TENANT, *Tuning.model_fields)]
    entries = [(key, own.get(key, _Entry([], ""))) for key in keys]
    return [line for key, entry in entries for line in _set_or_not(entry, key, answers, refer)]


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
