"""What a backfill would cost: the plan that `syncer backfill --dry-run` prints.

Invariant: nothing is copied for it but the list of workflows. What the source no longer serves is always said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, text

from syncer.cli.app import Exit
from syncer.cli.output import add_row, error_document, out, say, say_error, say_json, shown, table
from syncer.cli.passes import Pass
from syncer.cli.stopping import Stop
from syncer.config import Connection
from syncer.errors import SyncerError
from syncer.model import Window
from syncer.plan import days
from syncer.sources import Source
from syncer.sync import Estimate
from syncer.words import length, plural

_NAMES = text("SELECT workflow_id, name FROM history.workflows WHERE connection_id = :connection")


def tell_plan(passes: Sequence[Pass[Estimate]], stop: Stop, engine: Engine, *, as_json: bool) -> Exit:
    """Say what the backfill would do, and return the exit code."""
    code = _exit_code(passes, stop)
    if as_json:
        plans = [_document(each) for each in passes]
        say_json({"command": "backfill", "dry_run": True, "exit_code": int(code), "connections": plans})
    for each in passes:
        if each.result is not None and not as_json:
            _tell_person(each, each.result, _names(engine, each.name))
        if error := _error(each):
            say_error(error)
    return code


def _exit_code(passes: Sequence[Pass[Estimate]], stop: Stop) -> Exit:
    if stop.exit is not None:
        return stop.exit
    planned = [each.result is not None for each in passes]
    return Exit.DONE if all(planned) else Exit.PARTLY if any(planned) else Exit.NOTHING


def _error(each: Pass[Estimate]) -> SyncerError | None:
    """Why there is no plan."""
    if each.report.error is None and each.report.stopped:
        return SyncerError(each.report.stopped).at(connection=each.name)
    return each.report.error


def requests_per_hour(connection: Connection, source: Source) -> float | None:
    """The present budget: our own limit or the one the source told, whichever is less; None where there is none."""
    rate = source.traffic.rate
    limits = (connection.requests_per_second * 3600, rate.per_hour if rate else None)
    return min((limit for limit in limits if limit), default=None)


def _budget(each: Pass[Any]) -> float | None:
    return requests_per_hour(each.tenant.connection, each.tenant.source)


def _hours(each: Pass[Any], plan: Estimate) -> float | None:
    budget = _budget(each)
    return plan.requests / budget if budget else None


def _document(each: Pass[Estimate]) -> dict[str, Any]:
    plan, error = each.result, _error(each)
    failed = {"connection": each.name, "error": error_document(error) if error else None}
    if plan is None:
        return failed
    return failed | {
        "served": _span(plan.served),
        "unserved": _span(plan.unserved),
        "days": _days(plan.served),
        "days_unserved": _days(plan.unserved),
        "windows": len(plan.executions),
        "executions": _total(plan),
        "executions_by_workflow": dict(plan.executions),
        "list_requests": plan.list_requests,
        "step_requests": plan.step_requests,
        "requests": plan.requests,
        "requests_per_hour": _budget(each),
        "hours": _hours(each, plan),
    }


def _tell_person(each: Pass[Estimate], plan: Estimate, names: Mapping[str, str]) -> None:
    if plan.served is None:
        say(f"{each.name}: the source serves nothing of this span.")
    else:
        count, windows = plural(_days(plan.served), "day"), plural(len(plan.executions), "window")
        say(f"{each.name}: {_shown(plan.served)} UTC, {count}, {windows}")
        made = table("workflow", "executions", right=("executions",))
        for partition, told in sorted(plan.executions.items(), key=lambda item: names.get(item[0], item[0])):
            add_row(made, names.get(partition, partition), told)
        add_row(made, "all", _total(plan))
        out.print(made)
        say(_cost(each, plan))
    if plan.unserved:
        count = plural(_days(plan.unserved), "day")
        say(f"The source no longer serves {_shown(plan.unserved)} UTC ({count}): lost to us.", "yellow")


def _cost(each: Pass[Estimate], plan: Estimate) -> str:
    budget, hours = _budget(each), _hours(each, plan)
    lists, steps = f"{plan.list_requests:,} for lists", f"{plan.step_requests:,} for steps"
    if budget is None or hours is None:
        took = "how long that takes is not known: requests_per_second is 0 and the source tells no limit"
    else:
        took = f"{length(timedelta(hours=hours))} at {budget:,.0f} an hour"
    return f"{plural(plan.requests, 'request')} ({lists}, {steps}): {took}."


def _total(plan: Estimate) -> int:
    return sum(told or 0 for told in plan.executions.values())


def _days(span: Window | None) -> int:
    """UTC days that the span touches."""
    return len(days(span.start, span.end)) if span else 0


def _span(window: Window | None) -> dict[str, Any] | None:
    return {"since": window.start, "until": window.end} if window else None


def _shown(window: Window) -> str:
    return f"{shown(window.start)} to {shown(window.end)}"


def _names(engine: Engine, connection: str) -> dict[str, str]:
    with engine.connect() as db:
        rows = db.execute(_NAMES, {"connection": connection})
        return {workflow_id: name for workflow_id, name in rows if name}
