"""`syncer purge`: retention in the warehouse, when its owner wants it.

Invariant: nothing is deleted that a source may still serve, for it would come back. Nothing else in syncer deletes
history.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import click
from sqlalchemy import Engine

from syncer.cli.app import App, Exit
from syncer.cli.options import connection_option, json_option, to_duration
from syncer.cli.output import add_row, err, note, out, say, say_json, shown, table
from syncer.cli.warehouse import ready
from syncer.config import Settings, format_duration
from syncer.errors import ConfigError
from syncer.load.purge import stored_connections
from syncer.sync.purge import Purged, purge, would_purge
from syncer.words import plural
from syncer.writer import Writer

BEYOND = timedelta(days=7)
"""How much older than what sources serve everything must be."""

TABLES = ("executions", "step_events", "steps", "step_io")


@click.command("purge")
@click.option(
    "--older-than",
    "age",
    required=True,
    callback=to_duration,
    metavar="AGE",
    help="Delete executions created longer ago: 400d, 104w.",
)
@click.option("--payloads-only", is_flag=True, help="Delete inputs and outputs of steps alone (step_io).")
@connection_option
@click.option("--dry-run", is_flag=True, help="Count what would be deleted; delete nothing.")
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def command(
    app: App,
    age: timedelta,
    payloads_only: bool,
    connections: tuple[str, ...],
    dry_run: bool,
    is_sure: bool,
    as_json: bool,
) -> int:
    """Delete old executions with their steps from the warehouse. Nothing else ever does.

    Open executions, workflows and their revisions stay. Connections that are no longer configured are left alone
    unless they are named. It may be stopped at any time and run beside the service; what is deleted does not come
    back. On a terminal it asks first.

    \b
    Examples:
      syncer purge --older-than 400d --dry-run
      syncer purge --older-than 90d --payloads-only
      syncer purge --older-than 400d --connection prod --yes
    """
    settings = app.settings()
    _refuse_young(settings, age)
    with ready(settings) as engine:
        names = _named(engine, settings, connections)
        before, counted = asyncio.run(_count(engine, names, age, payloads_only=payloads_only))
        if dry_run or not sum(each.counts.total() for each in counted):
            return _tell(counted, before, as_json=as_json, dry_run=dry_run)
        if not is_sure and not _confirmed(counted, before):
            note("Nothing was deleted.")
            return Exit.PARTLY
        purged = asyncio.run(_purge(engine, names, before, payloads_only=payloads_only))
    return _tell(purged, before, as_json=as_json, dry_run=False)


def _refuse_young(settings: Settings, age: timedelta) -> None:
    """ConfigError where a source might still serve what is to be deleted."""
    horizons = {each.name: each.horizon for each in settings.connections.values()}
    longest = max(horizons, key=lambda name: horizons[name], default=None)
    horizon = horizons[longest] if longest else timedelta(0)
    if age < horizon + BEYOND:
        served = f"{longest} serves {format_duration(horizon)}, and " if longest else ""
        raise ConfigError(
            f"--older-than {format_duration(age)} is too young: {served}what is deleted must not come back",
            f"the least is {format_duration(horizon + BEYOND)}: the longest horizon and a week",
        )


def _named(engine: Engine, settings: Settings, names: Sequence[str]) -> list[str]:
    """The connections named, or those configured; ConfigError for a name that nothing bears."""
    if not names:
        return list(settings.connections)
    with engine.connect() as db:
        known = {*stored_connections(db), *settings.connections}
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(
            f"no connection is called {', '.join(unknown)}", f"known: {', '.join(sorted(known))}"
        )
    return list(dict.fromkeys(names))


async def _count(
    engine: Engine, names: Sequence[str], age: timedelta, *, payloads_only: bool
) -> tuple[datetime, list[Purged]]:
    """The instant before which is old, by the warehouse's clock, and what would go."""
    writer = Writer(engine)
    try:
        await writer.start()
        before = writer.now() - age
        return before, [
            await would_purge(writer, name, before, payloads_only=payloads_only) for name in names
        ]
    finally:
        await writer.close()


async def _purge(
    engine: Engine, names: Sequence[str], before: datetime, *, payloads_only: bool
) -> list[Purged]:
    writer = Writer(engine)
    purged = [Purged(connection_id=name) for name in names]
    try:
        await writer.start()
        for each in purged:
            await purge(writer, each, before, payloads_only=payloads_only)
        return purged
    finally:
        await writer.close()


def _confirmed(counted: Sequence[Purged], before: datetime) -> bool:
    """Whether a person agrees; without a terminal nobody is asked."""
    if not (sys.stdin.isatty() and err.is_terminal):
        return True
    rows = sum((each.counts for each in counted), Counter[str]())
    what = ", ".join(f"{rows[name]:,} {name}" for name in TABLES if rows[name])
    return click.confirm(f"Delete {what} older than {shown(before)} UTC for good?", err=True)


def _tell(purged: Sequence[Purged], before: datetime, *, as_json: bool, dry_run: bool) -> Exit:
    if as_json:
        documents = [_document(each) for each in purged]
        say_json({"command": "purge", "dry_run": dry_run, "before": before, "connections": documents})
        return Exit.DONE
    made = table("connection", *TABLES, "kept open", right=(*TABLES, "kept open"))
    for each in purged:
        add_row(made, each.connection_id, *(each.counts[name] for name in TABLES), each.kept_open)
    out.print(made)
    rows = sum(each.counts.total() for each in purged)
    fate = "would be deleted" if dry_run else "deleted"
    say(f"{plural(rows, 'row')} created before {shown(before)} UTC {fate}.")
    if rows and not dry_run:
        say(
            "PostgreSQL uses their space again once autovacuum has passed; files shrink by VACUUM FULL alone."
        )
    return Exit.DONE


def _document(each: Purged) -> dict[str, Any]:
    return {
        "connection": each.connection_id,
        "rows": {name: each.counts[name] for name in TABLES},
        "kept_open": each.kept_open,
    }
