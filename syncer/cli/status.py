"""`syncer status`: whether all is well, what to do if not, and how far everything is copied.

Invariant: the first line is the verdict; what needs a person comes before what is good to know.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import click
from msgspec import Struct
from rich.console import Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.text import Text
from sqlalchemy import Engine

from syncer.cli.app import App, Exit
from syncer.cli.options import json_option
from syncer.cli.output import add_row, clean, out, say_json, shown, table
from syncer.cli.warehouse import reached
from syncer.config import Settings
from syncer.errors import WarehouseError
from syncer.state.glance import called, holders, is_behind, pressing
from syncer.state.needs import Need, needs
from syncer.state.standing import PACE_OVER, Row, Standing, standings
from syncer.warehouse import check_version, current
from syncer.words import length, plural

EVERY = 2.0
"""Seconds between two looks with --watch."""

ROWS = 20
"""Workflows shown per connection without --all."""

LINES = 5
"""Windows and errors listed per connection; --json has all."""

NOTHING_YET = "Nothing has been copied yet: run `syncer sync`, or `syncer run` to keep a copy up to date."


@click.command("status")
@click.option("--all", "is_all", is_flag=True, help="Every workflow, those that are no longer read, too.")
@click.option("--watch", is_flag=True, help="Look again every 2 seconds, until Ctrl-C.")
@json_option
@click.pass_obj
def command(app: App, is_all: bool, watch: bool, as_json: bool) -> int:
    """Show whether all is well, and how far everything is copied.

    \b
      copied to  everything created before it has been read (UTC), and how long ago that is
      open       executions whose copy is not final yet
      due        executions whose steps are still to be read
      backlog    history not copied yet

    Without --all, the workflows that are behind come first and the others are counted.

    \b
    Examples:
      syncer status
      syncer status --watch
      syncer status --json | jq '.needs[] | .connection + " " + .message'
      syncer status --json | jq '.connections[].partitions[] | select(.lag_seconds > 3600)'
    """
    if watch and (as_json or not out.is_terminal):
        raise click.UsageError("--watch needs a terminal, and does not go with --json")
    settings = app.settings(is_lenient=True)
    with reached(settings.warehouse) as engine:
        if watch:
            _watch(engine, settings, is_all=is_all)
        elif as_json:
            say_json(_document(_look(engine, settings)))
        else:
            out.print(_drawn(_look(engine, settings), is_all=is_all))
    return Exit.DONE


class Look(Struct, frozen=True):
    """What was found, and when."""

    at: datetime
    found: list[Standing]
    needs: list[Need]
    unusable: frozenset[str]


def _look(engine: Engine, settings: Settings) -> Look:
    """What the warehouse knows; nothing where it has no schema yet."""
    now = datetime.now(UTC)
    unusable = frozenset(settings.broken)
    if current(engine) is None:
        return Look(now, [], [], unusable)
    check_version(engine)
    with engine.connect() as db:
        db.execution_options(isolation_level="REPEATABLE READ")
        found = standings(db, settings.connections)
    return Look(now, found, needs(found, settings.connections, settings.broken, now), unusable)


def _document(look: Look) -> dict[str, object]:
    return {"at": look.at, "is_well": not look.needs, "needs": look.needs, "connections": look.found}


def _watch(engine: Engine, settings: Settings, *, is_all: bool) -> None:
    with suppress(KeyboardInterrupt), Live(console=out, screen=True, auto_refresh=False) as live:
        while True:
            try:
                drawn = _drawn(_look(engine, settings), is_all=is_all)
            except WarehouseError as error:
                drawn = Text.assemble(("The warehouse does not answer: ", "bold red"), clean(str(error)))
            live.update(drawn, refresh=True)
            time.sleep(EVERY)


def _drawn(look: Look, *, is_all: bool) -> RenderableType:
    if not any(each.partitions or each.last_run for each in look.found):
        return Text(NOTHING_YET)
    parts = [*_verdict(look), Text()]
    for each in look.found:
        parts += [
            _heading(each, look),
            _partitions(each, look.at, is_all=is_all),
            *_remarks(each, look.at, is_all=is_all),
            Text(),
        ]
    return Group(*parts[:-1])


# The verdict


def _verdict(look: Look) -> Iterator[RenderableType]:
    if look.needs:
        count = len(look.needs)
        yield Text(f"{count} things need you:" if count > 1 else "1 thing needs you:", style="bold red")
    else:
        yield Text(f"All is well: {_extent(look)}.", style="bold green")
    for need in look.needs:
        line = Text.assemble((f"{need.connection}: ", "bold"), clean(need.message))
        yield Padding(line, (0, 0, 0, 2), expand=False)
        yield Padding(Text(clean(need.hint), style="dim"), (0, 0, 0, 4), expand=False)
    for each in look.found:
        if each.waiting_until:
            left = length(each.waiting_until - look.at)
            yield Text(
                f"{each.connection} waits for {left} more: {clean(each.waiting_reason or '')}.",
                style="yellow",
            )
    if work := _left(look.found):
        yield Text(f"Still to be copied: {work}.")


def _extent(look: Look) -> str:
    own = [each for each in look.found if each.is_configured]
    count = sum(len(each.followed) for each in own)
    words = [plural(len(own), "connection"), plural(count, "workflow")]
    read = [each.last_success_at for each in own if each.last_success_at]
    return ", ".join([*words, f"last read {length(look.at - min(read))} ago"] if read else words)


def _left(found: Sequence[Standing]) -> str:
    """What is on its way, in words; empty if nothing is."""
    windows = sum(each.backlog_windows for each in found if each.is_configured)
    longest = max((row["backlog_seconds"] or 0 for each in found for row in each.followed), default=0)
    due = sum(each.steps_due for each in found if each.is_configured)
    parts = []
    if windows:
        days = length(timedelta(seconds=longest))
        parts.append(f"up to {days} of history in {plural(windows, 'workflow')}")
    if due:
        parts.append(f"the steps of {plural(due, 'execution')}")
    return " and ".join(parts)


# One connection


def _heading(each: Standing, look: Look) -> Text:
    words = [clean(word) for word in (each.platform, each.base_url) if word]
    if not each.is_configured and each.connection not in look.unusable:
        words.append("not configured any more")
    if run := each.last_run:
        words.append(f"last {run['command']} {_outcome(run, look.at)}")
    return Text.assemble((each.connection, "bold cyan"), "  ", "  ".join(words))


def _outcome(run: Row, now: datetime) -> str:
    if run["ended_at"]:
        return f"{run['state']} {length(now - run['ended_at'])} ago"
    return f"began {length(now - run['started_at'])} ago"


def _partitions(each: Standing, now: datetime, *, is_all: bool) -> RenderableType:
    if not each.partitions:
        return Text(NOTHING_YET)
    rows = each.partitions if is_all else pressing(each.followed, ROWS, LINES)
    columns = _columns(out.width)
    made = table(*columns, right=columns[1:])
    for row in rows:
        cells = _cells(row, now)
        add_row(made, *(cells[column] for column in columns))
    return made


def _columns(width: int) -> list[str]:
    """As many columns as there is room for: a name must stay readable."""
    if width < 60:
        return ["workflow", "lag", "due", "backlog"]
    return ["workflow", "copied to", "lag", "open", "due", "backlog"]


def _cells(row: Row, now: datetime) -> dict[str, object]:
    mark, backlog = row["watermark_at"], row["backlog_seconds"]
    return {
        "workflow": _name(row),
        "copied to": mark,
        "lag": now - mark if mark else None,
        "open": row["open_executions"],
        "due": row["steps_due"],
        "backlog": timedelta(seconds=backlog) if backlog else None,
    }


def _name(row: Row) -> Text:
    """The name, and what is odd; where there is no room it is cut, and never a number."""
    name = Text(clean(called(row)), no_wrap=True, overflow="ellipsis")
    if row["last_error"]:
        name.append(" !", "bold red")
    if not row["is_followed"]:
        name.append(" (deleted)" if row["missing_reason"] else " (not chosen)", "dim")
    return name


# What is to be known besides


def _remarks(each: Standing, now: datetime, *, is_all: bool) -> Iterator[Text]:
    """The most pressing first."""
    if not is_all:
        yield from _omitted(each)
    if each.waiting_until:
        left = length(each.waiting_until - now)
        until = f"until {each.waiting_until:%Y-%m-%d %H:%M:%S} UTC ({left})"
        yield _remark("waiting", f"{until}: {each.waiting_reason}")
    if each.limit and each.limit["used"]:
        yield _remark("limit", _budget(each.limit))
    lost = [row for row in each.audit if row["verdict"] == "lost"]
    others = [row for row in each.audit if row["verdict"] != "lost"]
    yield from _listed("lost", [_window(row) for row in lost], "red")
    yield from _listed("unclear", [_disagreement(row) for row in others])
    errors = [row for row in each.partitions if row["last_error"]]
    yield from _listed("error", [_error(row, now) for row in errors], "red")
    if each.last_run and each.last_run["error"] and not each.failing_since:
        yield _remark("last run", each.last_run["error"], "red")
    if (each.backlog_windows or each.steps_due) and _is_measured(each, now):
        yield _remark("pace", _pace(each), "cyan")
    yield from _listed("at work", list(holders(each.leases)), "green")


def _budget(limit: Row) -> str:
    used = ", ".join(f"{purpose} {count}" for purpose, count in limit["used"].items())
    return (
        f"{limit['requests']} requests in {length(timedelta(seconds=limit['seconds']))}; used of it: {used}"
    )


def _omitted(each: Standing) -> Iterator[Text]:
    """How many rows the table leaves out."""
    shown_rows = pressing(each.followed, ROWS, LINES)
    hidden = len(each.followed) - len(shown_rows)
    if hidden:
        behind = sum(map(is_behind, each.followed)) - sum(map(is_behind, shown_rows))
        state = f"{behind:,} of them with work left" if behind else "all of them well"
        yield Text(f"and {plural(hidden, 'more workflow')}, {state}: see --all", style="dim")
    left = [row for row in each.partitions if not row["is_followed"]]
    if left:
        deleted = sum(1 for row in left if row["missing_reason"])
        words = (f"{deleted:,} deleted at the source", f"{len(left) - deleted:,} not chosen any more")
        said = " and ".join(word for word in words if not word.startswith("0 "))
        yield Text(f"besides {said}: kept, and not read; see --all", style="dim")


def _is_measured(each: Standing, now: datetime) -> bool:
    """The pace of the first hour is counted over a whole one."""
    return each.first_synced_at is not None and now - each.first_synced_at > PACE_OVER[0]


def _pace(each: Standing) -> str:
    arriving, copied = each.executions_arriving_per_hour, each.executions_copied_per_hour
    return f"{copied:,.0f} executions an hour copied, {arriving:,.0f} arriving"


def _listed(word: str, lines: Sequence[str], style: str = "yellow") -> Iterator[Text]:
    for line in lines[:LINES]:
        yield _remark(word, line, style)
    if len(lines) > LINES:
        yield _remark(word, f"and {len(lines) - LINES:,} more: --json lists them all", style)


def _remark(word: str, line: str, style: str = "yellow") -> Text:
    return Text.assemble((f"{word}: ", style), clean(line))


def _window(row: Row) -> str:
    return f"{row['partition']} {shown(row['window_start'])} to {shown(row['window_end'])}"


def _disagreement(row: Row) -> str:
    told = "no total" if row["told_total"] is None else f"{row['told_total']:,}"
    return f"{_window(row)}: {row['verdict']}, told {told}, read {row['read_ids'] or 0:,}"


def _error(row: Row, now: datetime) -> str:
    return f"{called(row)}: {row['last_error']} ({length(now - row['last_error_at'])} ago)"
