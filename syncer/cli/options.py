"""Options that several commands share, and what their values mean.

Invariant: a value that cannot be meant is refused with a sentence that says what would be right.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from syncer.config import parse_duration
from syncer.plan import parse_since

Command = TypeVar("Command", bound=Callable[..., Any])


def to_duration(_ctx: click.Context, param: click.Parameter, value: str | None) -> timedelta | None:
    """A length of time: 90s, 5m, 2h, 1d."""
    if value is None:
        return None
    try:
        duration = parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), param=param) from None
    if not duration:
        raise click.BadParameter('must be longer than nothing; write it like "10m"', param=param)
    return duration


def to_moment(_ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """A time in ISO 8601, or an age."""
    if value is None:
        return None
    try:
        return parse_since(value, datetime.now(UTC))
    except ValueError as error:
        raise click.BadParameter(str(error), param=param) from None


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document, nothing else.")


def _connections(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Names for the shell to offer. Whatever is wrong with the file, whoever types is not told here."""
    file = ctx.find_root().params.get("config") or os.environ.get("SYNCER_CONFIG") or "config.toml"
    with suppress(OSError, ValueError):
        tables = tomllib.loads(Path(file).read_text(encoding="utf-8")).get("connections")
        return [name for name in tables if name.startswith(incomplete)] if isinstance(tables, dict) else []
    return []


def connection_option(command: Command) -> Command:
    """`--connection NAME`, repeatable."""
    return click.option(
        "--connection",
        "connections",
        multiple=True,
        metavar="NAME",
        shell_complete=_connections,
        help="Only this one. Repeatable.",
    )(command)


def workflow_option(command: Command) -> Command:
    """`--workflow ID`, repeatable."""
    return click.option(
        "--workflow",
        "workflows",
        multiple=True,
        metavar="ID",
        help="Only this workflow: its id, or a glob of names such as 'Quarantine *'. Repeatable.",
    )(command)


def for_option(command: Command) -> Command:
    """`--for DURATION`."""
    return click.option(
        "--for",
        "limit",
        callback=to_duration,
        metavar="DURATION",
        help="Stop in good order after this long (90s, 10m, 2h), or when the source asks to wait longer.",
    )(command)
