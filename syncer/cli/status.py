"""`syncer status`: how far everything is copied, and what stands in the way."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text
from sqlalchemy import Engine

from syncer.cli.app import App, Exit
from syncer.cli.options import json_option
from syncer.cli.output import add_row, clean, length, out, plural, say_json, shown, table
from syncer.cli.overview import Row, Standing, standings
from syncer.cli.warehouse import reached
from syncer.config import Settings
from syncer.warehouse import check_version, current

EVERY = 2.0
"""Seconds between two looks with --watch."""

SHOWN = 5
"""Windows and errors listed per connection; --json has all."""

NOTHING_YET = "Nothing has been copied yet: run `syncer sync`."


@click.command("status")
@click.option("--watch", is_flag=True, help="Look again every 2 seconds, until Ctrl-C.")
@json_option
@click.pass_obj
def command(app: App, watch: bool, as_json: bool) -> int:
    """Show how far everything is copied, per connection and workflow.

    \b
      watermark  everything created before it has been read (UTC)
      open       executions whose copy is not final yet
      due        executions whose steps are still to be read
      backlog    history not copied yet

    \b
    Examples:
      syncer status
      syncer status --watch
      syncer status --json | jq '.connections[].partitions[] | select(.lag_seconds > 3600)'
    """
    if watch and (as_json or not out.is_terminal):
        raise click.UsageError("--watch needs a terminal, and does not go with --json")
    settings = app.settings()
    with reached(settings.warehouse) as engine:
        if as_json:
            say_json({"at": datetime.now(UTC), "connections": _look(engine, settings)})
        elif watch:
            _watch(engine, settings)
        else:
            out.print(_drawn(_look(engine, settings), datetime.now(UTC)))
    return Exit.DONE


def _look(engine: Engine, settings: Settings) -> list[Standing]:
    """What the warehouse knows; nothing where it has no schema yet."""
    if current(engine) is None:
        return []
    check_version(engine)
    return standings(engine, settings.connections)


def _watch(engine: Engine, settings: Settings) -> None:
    with Live(console=out, screen=True, auto_refresh=False) as live:
        while True:
            live.update(_drawn(_look(engine, settings), datetime.now(UTC)), refresh=True)
            try:
                time.sleep(EVERY)
            except KeyboardInterrupt:
                return


def _drawn(found: Sequence[Standing], now: datetime) -> RenderableType:
    if not any(each.partitions or each.last_run for each in found):
        return Text(NOTHING_YET)
    parts: list[RenderableType] = []
    for each in found:
        parts += [_heading(each, now), _partitions(each, now), *_remarks(each, now), Text()]
    return Group(*parts[:-1])


def _heading(each: Standing, now: datetime) -> Text:
    words = [clean(word) for word in (each.platform, each.base_url) if word]
    if not each.is_configured:
        words.append("not configured any more")
    if run := each.last_run:
        words.append(f"last {run['command']} {_outcome(run, now)}")
    return Text.assemble((each.connection, "bold cyan"), "  ", "  ".join(words))


def _outcome(run: Row, now: datetime) -> str:
    if run["ended_at"]:
        return f"{run['state']} {length(now - run['ended_at'])} ago"
    return f"began {length(now - run['started_at'])} ago"


def _partitions(each: Standing, now: datetime) -> RenderableType:
    if not each.partitions:
        return Text(NOTHING_YET)
    numbers = ("lag", "open", "due", "backlog")
    made = table("workflow", "watermark", *numbers, right=numbers)
    for column in made.columns[:2]:
        column.no_wrap, column.overflow = True, "ellipsis"
    for row in each.partitions:
        mark = row["watermark_at"]
        add_row(
            made,
            _name(row),
            mark,
            now - mark if mark else None,
            row["open_executions"],
            row["steps_due"],
            _seconds(row["backlog_seconds"]),
        )
    return made


def _name(row: Row) -> Text:
    name = Text(clean(row["workflow_name"] or row["partition"]))
    if row["last_error"]:
        name.append(" !", "bold red")
    return name


def _seconds(seconds: float | None) -> timedelta | None:
    return timedelta(seconds=seconds) if seconds else None


def _remarks(each: Standing, now: datetime) -> Iterator[Text]:
    """What is to be known besides, the most pressing first."""
    if each.waiting_until:
        left = length(each.waiting_until - now)
        yield _remark(
            "waiting", f"until {each.waiting_until:%Y-%m-%d %H:%M:%S} UTC ({left}): {each.waiting_reason}"
        )
    lost = [row for row in each.audit if row["verdict"] == "lost"]
    others = [row for row in each.audit if row["verdict"] != "lost"]
    yield from _listed("lost", [_window(row) for row in lost], "red")
    yield from _listed("unclear", [_disagreement(row) for row in others])
    errors = [row for row in each.partitions if row["last_error"]]
    yield from _listed("error", [_error(row, now) for row in errors], "red")
    if each.steps_failed:
        yield _remark(
            "steps", f"of {plural(each.steps_failed, 'execution')} put aside after repeated failures"
        )
    if each.quarantined:
        yield _remark("quarantine", f"{plural(each.quarantined, 'record')}: see `syncer quarantine list`")
    if each.last_run and each.last_run["error"]:
        yield _remark("last run", each.last_run["error"], "red")
    yield from _listed("at work", [_holder(row) for row in each.leases], "green")


def _listed(word: str, lines: Sequence[str], style: str = "yellow") -> Iterator[Text]:
    for line in lines[:SHOWN]:
        yield _remark(word, line, style)
    if len(lines) > SHOWN:
        yield _remark(word, f"and {len(lines) - SHOWN:,} more: --json lists them all", style)


def _remark(word: str, line: str, style: str = "yellow") -> Text:
    return Text.assemble((f"{word}: ", style), clean(line))


def _window(row: Row) -> str:
    return f"{row['partition']} {shown(row['window_start'])} to {shown(row['window_end'])}"


def _disagreement(row: Row) -> str:
    told = "no total" if row["told_total"] is None else f"{row['told_total']:,}"
    return f"{_window(row)}: {row['verdict']}, told {told}, read {row['read_ids'] or 0:,}"


def _error(row: Row, now: datetime) -> str:
    return f"{row['workflow_name'] or row['partition']}: {row['last_error']} ({length(now - row['last_error_at'])} ago)"


def _holder(row: Row) -> str:
    return f"{row['owner']} on {' '.join(filter(None, (row['stream'], row['partition'], row['lane'])))}"
