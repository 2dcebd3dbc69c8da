"""`syncer quarantine`: the records put aside, looked at and tried again.

Invariant: what is shown of a record has been redacted when it was put aside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
import msgspec
from sqlalchemy import Engine

from syncer.cli.app import App, Exit
from syncer.cli.options import connection_option, json_option
from syncer.cli.output import add_row, clean, out, say, say_error, say_json, shown, table
from syncer.cli.passes import Pass, conduct
from syncer.cli.stopping import Stop
from syncer.cli.warehouse import reached
from syncer.config import Settings
from syncer.errors import ConfigError
from syncer.state.quarantine import find_records, open_records
from syncer.sync import Session
from syncer.sync.replay import Replayed, replay
from syncer.warehouse import check_version
from syncer.words import plural

Row = dict[str, Any]

SHORT = 10
"""Characters of an id that a table shows; any unambiguous beginning may be typed."""


@click.group("quarantine")
def command() -> None:
    """Look at records without a usable identity, which were put aside, and try them again."""


@command.command("list")
@connection_option
@json_option
@click.pass_obj
def list_command(app: App, connections: tuple[str, ...], as_json: bool) -> int:
    """List the records that wait, those met last first.

    \b
    Example:
      syncer quarantine list --connection prod
    """
    settings = app.settings(is_lenient=True)
    wanted = [each.name for each in settings.require_connections(connections)] if connections else None
    with reached(settings.warehouse) as engine:
        records = _waiting(engine, wanted)
    if as_json:
        say_json({"records": [_document(record) for record in records]})
    elif not records:
        say("No record waits in quarantine.")
    else:
        _tell_list(records)
    return Exit.DONE


def _tell_list(records: Sequence[Row]) -> None:
    made = table("id", "connection", "stream", "of", "reason", "times", "last met", right=("times",))
    for record in records:
        identity = record["identity"] or record["partition"] or None
        words = (record["connection_id"], record["stream"], identity, record["reason"])
        add_row(made, record["record_id"][:SHORT], *words, record["times"], record["last_seen_at"])
    for place in (0, 1, 2, 6):
        made.columns[place].no_wrap = True
    out.print(made)


@command.command("show")
@click.argument("record_id", metavar="ID")
@json_option
@click.pass_obj
def show_command(app: App, record_id: str, as_json: bool) -> int:
    """Show one record as it was sent, secrets taken out. ID may be shortened.

    \b
    Example:
      syncer quarantine show 3f9a02
    """
    settings = app.settings(is_lenient=True)
    with reached(settings.warehouse) as engine:
        record = _one(engine, record_id)
    if as_json:
        say_json(_document(record) | {"raw": _raw(record)})
        return Exit.DONE
    for name, value in _document(record).items():
        say(f"{name.replace('_', ' '):<12} {shown(value)}")
    say()
    say(
        "Its raw bytes were not kept: they could not be searched for secrets."
        if record["raw"] is None
        else ""
    )
    for line in (_raw(record) or "").splitlines():
        say(clean(line))
    return Exit.DONE


@command.command("replay")
@click.argument("record_ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every record that waits.")
@json_option
@click.pass_obj
def replay_command(app: App, record_ids: tuple[str, ...], everything: bool, as_json: bool) -> int:
    """Try records again, after an upgrade of syncer that understands them. Asks nothing of the source.

    A record that can be used now lands; steps are read by the next sync. One that still cannot be used stays,
    and the exit code is 1.

    \b
    Examples:
      syncer quarantine replay --all
      syncer quarantine replay 3f9a02 77b1c0
    """
    if bool(record_ids) == everything:
        raise click.UsageError("name the records to try again, or all of them with --all")
    settings = app.settings(is_lenient=True)
    with reached(settings.warehouse) as engine:
        records = _waiting(engine, None) if everything else [_one(engine, each) for each in record_ids]
        passes, stop = _replay(engine, settings, records)
    _tell_replayed(passes, as_json=as_json)
    return stop.exit or _exit_code(passes)


def _replay(engine: Engine, settings: Settings, records: Sequence[Row]) -> tuple[list[Pass[Replayed]], Stop]:
    """Each connection's records, by a pass of their own."""
    names = sorted({record["connection_id"] for record in records})
    connections = settings.require_connections(names) if names else ()

    async def work(session: Session) -> Replayed:
        return await replay(session, [each for each in records if each["connection_id"] == session.name])

    return conduct(engine, connections, work)


def _tell_replayed(passes: Sequence[Pass[Replayed]], *, as_json: bool) -> None:
    resolved = [record_id for each in passes if each.result for record_id in each.result.resolved]
    remaining = [one for each in passes if each.result for one in each.result.remaining]
    if as_json:
        say_json({"resolved": resolved, "remaining": remaining})
    else:
        say(f"{plural(len(resolved), 'record')} resolved, {len(remaining):,} still cannot be used.")
        for one in remaining:
            say(f"{one.record_id[:SHORT]}  {clean(one.reason)}")
    for each in passes:
        if each.report.error:
            say_error(each.report.error)


def _exit_code(passes: Sequence[Pass[Replayed]]) -> Exit:
    if passes and all(each.report.error for each in passes):
        return Exit.NOTHING
    is_done = all(each.result is not None and not each.result.remaining for each in passes)
    return Exit.DONE if is_done else Exit.PARTLY


def _waiting(engine: Engine, connections: Sequence[str] | None) -> list[Row]:
    check_version(engine)
    with engine.connect() as db:
        return open_records(db, connections)


def _one(engine: Engine, beginning: str) -> Row:
    """The record whose id begins so; ConfigError where there is none or more than one."""
    check_version(engine)
    with engine.connect() as db:
        found = find_records(db, beginning)
    if not found:
        raise ConfigError(
            f"no record's id begins with {clean(beginning)}", "`syncer quarantine list` names them all"
        )
    if len(found) > 1:
        several = ", ".join(f"{each['record_id'][:SHORT]} ({each['connection_id']})" for each in found[:5])
        raise ConfigError(f"several records' ids begin with {clean(beginning)}: {several}", "give more of it")
    return found[0]


def _document(record: Row) -> Row:
    """All of a record but its raw bytes."""
    return {
        name.replace("connection_id", "connection"): value for name, value in record.items() if name != "raw"
    }


def _raw(record: Row) -> str | None:
    """What was sent, laid out where it is JSON."""
    raw: bytes | None = record["raw"]
    if raw is None:
        return None
    try:
        return msgspec.json.format(raw, indent=2).decode(errors="backslashreplace")
    except msgspec.MsgspecError:
        return raw.decode(errors="backslashreplace")
