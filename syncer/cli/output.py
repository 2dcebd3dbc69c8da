"""How values look to a person, and the one way to print.

Invariant: text that came from a source cannot steer the terminal. Results go to `out`, all else to `err`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TextIO

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from syncer.errors import SyncerError
from syncer.words import length

WIDE = 160
"""Columns of a table that goes to a file or a pipe, which have no width of their own."""


def _width(stream: TextIO) -> int | None:
    return None if stream.isatty() or "COLUMNS" in os.environ else WIDE


out = Console(highlight=False, markup=False, emoji=False, width=_width(sys.stdout))
err = Console(highlight=False, markup=False, emoji=False, width=_width(sys.stderr), stderr=True)


def clean(text: str) -> str:
    """The text with control characters made visible: they could steer the terminal or break a line."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text
    )


def say(text: str | Text = "", style: str = "") -> None:
    """A line of the result."""
    out.print(text, style=style, soft_wrap=True)


def note(text: str | Text, style: str = "") -> None:
    """A line beside the result, on standard error."""
    err.print(text, style=style, soft_wrap=True)


def say_json(document: Mapping[str, Any]) -> None:
    """The result as one JSON document; times are ISO 8601 in UTC."""
    text = msgspec.json.format(msgspec.json.encode(document), indent=2)
    sys.stdout.write(f"{text.decode()}\n")


def say_error(error: SyncerError, *, as_json: bool = False) -> None:
    """What is wrong and what to do, on standard error; in the document, too, where one is expected."""
    note(Text.assemble(("error: ", "bold red"), where(error)))
    if error.hint:
        note(Text.assemble((" hint: ", "bold"), clean(error.hint)))
    if as_json:
        say_json({"error": error_document(error)})


def where(error: SyncerError) -> str:
    """The message, after the place it happened at; it may have several lines."""
    parts = (error.connection, error.stream, error.window)
    place = " ".join(part for part in parts if part)
    lines = f"{place}: {error.message}" if place else error.message
    return "\n".join(clean(line) for line in lines.splitlines())


def error_document(error: SyncerError) -> dict[str, Any]:
    """An error as part of a JSON document."""
    return {
        "kind": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
        "connection": error.connection,
    }


def table(*columns: str, right: Iterable[str] = (), title: str | None = None) -> Table:
    """An empty table; the columns named in `right` are for numbers."""
    made = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        show_edge=False,
    )
    numbers = set(right)
    for name in columns:
        made.add_column(
            name,
            justify="right" if name in numbers else "left",
            no_wrap=name in numbers,
            overflow="ellipsis" if name in numbers else "fold",
        )
    return made


def add_row(to: Table, *values: object) -> None:
    """A row of values as `shown` shows them; a Text is taken as it is."""
    to.add_row(*(value if isinstance(value, Text) else Text(shown(value)) for value in values))


def shown(value: object) -> str:
    """One value in a table."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.1f}"
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
        case timedelta():
            return length(value)
        case _:
            return clean(str(value))
