"""`syncer verify`: the source counted against the warehouse, and what differs.

Invariant: it exits with 0 only if nothing differs any more; what could not be compared is never called equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import click
import msgspec
from rich.text import Text

from syncer.cli.app import App, Exit
from syncer.cli.options import connection_option, for_option, json_option, to_moment, workflow_option
from syncer.cli.output import add_row, clean, error_document, out, say, say_error, say_json, shown, table
from syncer.cli.passes import Pass, conduct
from syncer.cli.stopping import Stop
from syncer.cli.summary import exit_code
from syncer.cli.warehouse import ready
from syncer.model import Window
from syncer.sync.differences import Difference, Kind, Verified
from syncer.sync.verify import SAMPLE, verify
from syncer.words import plural

SHOWN = 20
"""Differences, and failures, of a connection that a person is shown one by one."""

WORDS: Mapping[Kind, str] = {
    Kind.MISSING: "at the source, not in the warehouse",
    Kind.GONE: "in the warehouse, no longer at the source",
    Kind.MARKED: "at the source, marked missing in the warehouse",
    Kind.STEPS: "rows missing in the warehouse",
    Kind.VALUES: "other values at the source",
    Kind.COUNT: "the source tells another total than it lists",
}


@click.command("verify")
@click.option(
    "--since",
    callback=to_moment,
    metavar="T",
    help="Start: 2026-10-01, 2026-10-01T12:00, or an age such as 7d; all that is served where not given.",
)
@click.option("--repair", is_flag=True, help="Read again what differs.")
@click.option(
    "--sample",
    type=click.IntRange(min=0),
    default=SAMPLE,
    show_default=True,
    metavar="N",
    help="Settled executions to compare value by value, with their steps; two requests each.",
)
@connection_option
@workflow_option
@for_option
@json_option
@click.pass_obj
def command(  # noqa: PLR0913 - one parameter per option
    app: App,
    since: datetime | None,
    repair: bool,
    sample: int,
    connections: tuple[str, ...],
    workflows: tuple[str, ...],
    limit: timedelta | None,
    as_json: bool,
) -> int:
    """Compare the warehouse with the source: what is missing, gone or different.

    Totals are compared window by window, ids where totals differ, and a sample of executions value by value. What is
    not copied yet is said and not compared. It changes nothing unless --repair is given, and may run beside the
    service. Exit code 0: nothing differs (any more); 1: something does, or could not be compared.

    \b
    Examples:
      syncer verify
      syncer verify --since 7d --sample 200
      syncer verify --repair --connection prod --workflow 'Quarantine *'
    """
    settings = app.settings()
    chosen = settings.require_connections(connections)
    with ready(settings) as engine:
        passes, stop = conduct(
            engine,
            chosen,
            lambda session: verify(session, since, workflows, sample=sample, repair=repair),
            limit=limit,
        )
    return _tell(passes, stop, as_json=as_json)


def _tell(passes: Sequence[Pass[Verified]], stop: Stop, *, as_json: bool) -> Exit:
    code = exit_code(passes, stop)
    if code is Exit.DONE and stop.exit is None and any(_found(each).remaining for each in passes):
        code = Exit.PARTLY
    if as_json:
        say_json({"command": "verify", "exit_code": int(code), "connections": [_document(p) for p in passes]})
    else:
        _tell_person(passes)
    for each in passes:
        if each.report.error:
            say_error(each.report.error)
    return code


def _found(each: Pass[Verified]) -> Verified:
    """What was found; nothing where the pass failed before it began."""
    return each.result or Verified()


def _state(each: Pass[Verified]) -> str:
    report = each.report
    if report.error or report.stopped or report.failures:
        return report.state
    return "differs" if _found(each).remaining else "repaired" if _found(each).counts else "equal"


def _document(each: Pass[Verified]) -> dict[str, Any]:
    found, report = _found(each), each.report
    return {
        "connection": each.name,
        "state": _state(each),
        "seconds": round(each.seconds, 3),
        "requests": {"total": sum(each.requests.values()), "by_endpoint": dict(each.requests)},
        "windows": found.windows,
        "executions": found.executions,
        "sampled": found.sampled,
        "differing": {kind.value: found.counts[kind] for kind in Kind},
        "repaired": {kind.value: found.repaired[kind] for kind in Kind},
        "differences": [_difference(one) for one in found.differences],
        "not_copied": [
            {"partition": partition, **_span(window)}
            for partition, window in sorted(found.not_copied.items())
        ],
        "failures": [{"partition": one.partition, "message": one.message} for one in report.failures],
        "stopped": report.stopped,
        "error": error_document(report.error) if report.error else None,
    }


def _difference(one: Difference) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.structs.asdict(one)
    document["kind"] = one.kind.value
    document["window"] = _span(one.window) if one.window else None
    return document


def _span(window: Window) -> dict[str, datetime]:
    return {"since": window.start, "until": window.end}


STYLES = {"equal": "green", "repaired": "green", "differs": "red", "failed": "red"}


def _tell_person(passes: Sequence[Pass[Verified]]) -> None:
    counts = ("executions", "sampled", "differences", "repaired", "requests", "time")
    made = table("connection", "result", *counts, right=counts)
    for each in passes:
        found, state = _found(each), _state(each)
        add_row(
            made,
            each.name,
            Text(state, style=STYLES.get(state, "yellow")),
            *(found.executions, found.sampled, found.counts.total(), found.repaired.total()),
            *(sum(each.requests.values()), timedelta(seconds=each.seconds)),
        )
    out.print(made)
    for each in passes:
        _tell_differences(each.name, _found(each))
        for line in _remarks(each):
            say(Text.assemble((f"{each.name}: ", "bold"), clean(line)))


def _tell_differences(name: str, found: Verified) -> None:
    if not found.differences:
        return
    made = table("connection", "what", "of", "id", "is", "")
    remaining = sorted(found.differences, key=lambda one: one.is_repaired)
    for one in remaining[:SHOWN]:
        what = one.table if not one.columns else f"{one.table}.{', '.join(one.columns)}"
        fate = Text("repaired", style="green") if one.is_repaired else Text("")
        add_row(made, name, what, one.partition, one.identity or _figures(one), WORDS[one.kind], fate)
    out.print(made)


def _figures(one: Difference) -> str:
    told, listed = shown(one.told), shown(one.listed)
    return f"told {told}, listed {listed}, {one.window}" if one.window else f"told {told}, listed {listed}"


def _remarks(each: Pass[Verified]) -> Iterator[str]:
    """What is to be known besides the figures, a line each."""
    found, report = _found(each), each.report
    if (more := found.counts.total() - SHOWN) > 0:
        yield f"{plural(more, 'more difference')}: see --json"
    if found.remaining:
        yield "`syncer verify --repair` reads again what differs"
    if report.stopped:
        yield f"{report.stopped}: the rest was not compared"
    if found.not_copied:
        since = min(window.start for window in found.not_copied.values())
        until = max(window.end for window in found.not_copied.values())
        parts = plural(len(found.not_copied), "workflow")
        yield f"not copied yet: {parts}, of {shown(since)} to {shown(until)} UTC; not compared"
    for one in report.failures[:SHOWN]:
        yield f"not compared: {one.partition}: {one.message}"
    if each.tenant.gate.waits:
        yield f"the source asked to wait {plural(each.tenant.gate.waits, 'time')}"
