"""Writes docs/data-dictionary.md: every table, view and column of `history` and what it means.

Invariant: it says nothing that schema.py and the comments in views/ do not say. Must not know a database.

    python -m syncer.dictionary                                   prints it
    python -m syncer.dictionary --check docs/data-dictionary.md   exits 1 unless the file is current
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import Column, Table
from sqlalchemy.dialects import postgresql

from syncer import schema
from syncer.warehouse import views

_COMMENT = re.compile(
    r"^COMMENT ON (?:VIEW|COLUMN) history\.(?P<name>[a-z0-9_.]+) IS '(?P<text>(?:[^']|'')*)';$", re.MULTILINE
)
_HEAD = """\
# Data dictionary

What the schema `history` holds. Written by `python -m syncer.dictionary` from the comments that stand in the
database, too (`\\d+ history.executions`). Times are `timestamptz`; tables are joined on `connection_id` and
`execution_id`. Columns that begin with `_` are the daemon's own and not listed.

`message`, `variables`, `details` and `extra` can hold personal data. `step_io` holds what the steps worked
on: give it to a BI role only on purpose.
"""


def dictionary() -> str:
    """The whole document as Markdown."""
    parts = [_HEAD, "## Views\n", *map(_view, views().values())]
    parts += ["## Tables\n", *map(_table, schema.HISTORY_TABLES)]
    return "\n".join(parts)


def comments(view: str) -> dict[str, str]:
    """The comments in a view's file: "name" and "name.column" to text, in the file's order."""
    return {found["name"]: found["text"].replace("''", "'") for found in _COMMENT.finditer(view)}


def _view(sql: str) -> str:
    (name, about), *columns = comments(sql).items()
    rows = ((column.removeprefix(f"{name}."), text) for column, text in columns)
    return _section(name, about, ("column", "meaning"), rows)


def _table(table: Table) -> str:
    rows = (
        (column.name, _type(column), "yes" if column.primary_key else "", column.comment or "")
        for column in table.columns
        if not column.name.startswith("_")
    )
    return _section(table.name, table.comment or "", ("column", "type", "key", "meaning"), rows)


def _type(column: Column[object]) -> str:
    named = column.type.compile(dialect=postgresql.dialect()).lower()  # type: ignore[no-untyped-call]
    return named.removesuffix(' collate "c"').replace("timestamp with time zone", "timestamptz")


def _section(name: str, about: str, titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"### {name}\n", f"{about}\n", _row(titles), _row(["---"] * len(titles))]
    lines += [_row((f"`{first}`", *rest)) for first, *rest in rows]
    return "\n".join(lines) + "\n"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def main(arguments: list[str]) -> int:
    """Print the document, or with --check PATH say whether the file there is the same."""
    match arguments:
        case []:
            sys.stdout.write(dictionary())
            return 0
        case ["--check", path]:
            current = Path(path)
            if current.exists() and current.read_text("utf-8") == dictionary():
                return 0
            sys.stderr.write(f"{path} is out of date: run `python -m syncer.dictionary > {path}`\n")
            return 1
    sys.stderr.write("usage: python -m syncer.dictionary [--check PATH]\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
