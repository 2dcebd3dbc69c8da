"""What is said when passes have ended: a table and what is to be known besides, or the same as one document.

Invariant: what was lost, disputed, put aside or not done is always said. The keys of the document are stable.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from rich.text import Text

from syncer.cli.app import Exit
from syncer.cli.output import add_row, clean, error_document, out, say, say_error, say_json, table
from syncer.cli.passes import Pass
from syncer.cli.stopping import Stop
from syncer.errors import ConfigError
from syncer.words import plural

ROWS = ("workflows", "executions", "step_events", "steps", "step_io")
STYLES = {"done": "green", "partial": "yellow", "stopped": "yellow", "failed": "red"}
FAILURES_SHOWN = 5


def exit_code(passes: Sequence[Pass[Any]], stop: Stop) -> Exit:
    """What the whole command leaves with."""
    if stop.exit is not None:
        return stop.exit
    if all(each.report.is_complete for each in passes):
        return Exit.DONE
    if not all(each.report.did_nothing for each in passes):
        return Exit.PARTLY
    errors = [each.report.error for each in passes]
    return Exit.USAGE if any(isinstance(error, ConfigError) for error in errors) else Exit.NOTHING


def tell(command: str, passes: Sequence[Pass[Any]], stop: Stop, *, as_json: bool) -> Exit:
    """Say what became of all passes, and return the exit code."""
    code = exit_code(passes, stop)
    if as_json:
        say_json({"command": command, "exit_code": int(code), "connections": [document(p) for p in passes]})
    else:
        tell_person(passes)
    for each in passes:
        if each.report.error:
            say_error(each.report.error)
    return code


def document(each: Pass[Any]) -> dict[str, Any]:
    """One pass for a program to read."""
    report = each.report
    return {
        "connection": each.name,
        "state": each.report.state,
        "run_id": each.run_id,
        "seconds": round(each.seconds, 3),
        "rows": {name: report.rows[name] for name in ROWS},
        "steps_read": report.steps_read,
        "requests": {"total": sum(each.requests.values()), "by_endpoint": dict(each.requests)},
        "failures": [
            {"stream": one.stream, "partition": one.partition, "message": one.message}
            for one in report.failures
        ],
        "disputed": report.disputed,
        "quarantined": report.quarantined,
        "missing": report.missing,
        "lost": report.lost,
        "unserved": report.unserved,
        "waits": each.tenant.gate.waits,
        "waiting_until": each.tenant.gate.waiting_until,
        "stopped": report.stopped,
        "error": error_document(report.error) if report.error else None,
    }


def tell_person(passes: Sequence[Pass[Any]]) -> None:
    """The table and the remarks."""
    counts = ("workflows", "executions", "steps read", "requests", "time")
    made = table("connection", "result", *counts, right=counts)
    for each in passes:
        rows = each.report.rows
        read = (rows["workflows"], rows["executions"], each.report.steps_read)
        took = timedelta(seconds=each.seconds)
        state = Text(each.report.state, style=STYLES[each.report.state])
        add_row(made, each.name, state, *read, sum(each.requests.values()), took)
    out.print(made)
    for each in passes:
        for line in remarks(each):
            say(Text.assemble((f"{each.name}: ", "bold"), clean(line)))


def remarks(each: Pass[Any]) -> Iterator[str]:
    """What is to be known besides the figures, a line each."""
    report = each.report
    if report.stopped:
        yield f"{report.stopped}; the next run goes on from here"
    if report.unserved:
        yield f"the source no longer serves {report.unserved}: of that only what was copied before is there"
    for lost in report.lost:
        yield f"LOST: the source deleted {lost} before it was copied"
    failures = [one for one in report.failures if report.error is None or one.message != report.error.message]
    for one in failures[:FAILURES_SHOWN]:
        yield f"not done: {f'{one.stream} {one.partition}'.rstrip()}: {one.message}"
    if len(failures) > FAILURES_SHOWN:
        yield f"not done: {len(failures) - FAILURES_SHOWN:,} more, see `syncer status`"
    if report.disputed:
        yield f"{plural(report.disputed, 'window')} disputed: the source told another total than it listed"
    if report.quarantined:
        yield f"{plural(report.quarantined, 'record')} put aside: see `syncer quarantine list`"
    if report.missing:
        yield f"{plural(report.missing, 'record')} no longer at the source: marked, and kept"
    if each.tenant.gate.waits:
        yield f"the source asked to wait {plural(each.tenant.gate.waits, 'time')}"
