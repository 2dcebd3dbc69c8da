"""The answers of a SailPoint with an invented history: which records a request gets, in which order.

Invariant: what is served is the truth as of the clock's now, inside the horizon, seen through the switches
and the spoiled fields. It must not know HTTP.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from typing import Any

from syncer.simulator.sailpoint.asks import ListAsk
from syncer.simulator.sailpoint.events import HistoryEvent, event_key, event_record, history_of
from syncer.simulator.sailpoint.records import (
    Record,
    definition,
    execution_record,
    start_ns,
    status_of,
    trigger,
    workflow_record,
)
from syncer.simulator.sailpoint.refusals import Refused
from syncer.simulator.sailpoint.routes import Listed
from syncer.simulator.sailpoint.stamps import MS
from syncer.simulator.sailpoint.switches import Switches
from syncer.simulator.truth import DAY_MS, Execution, Workflow
from syncer.simulator.world import ABSENT, World


class InventedShelf:
    """Serves the history of a World. Raises Refused where there is nothing to serve."""

    def __init__(self, world: World) -> None:
        self._world = world

    def workflows(self, ask: ListAsk, switches: Switches) -> Listed:
        rows = [row for row in self._world.truth.workflows.values() if row.deleted_ms is None]
        counts = self._counts(switches)
        page = _cut(rows, ask)
        return Listed([self._workflow(row, counts, switches) for row in page])

    def workflow(self, workflow_id: str, switches: Switches) -> Any:
        workflow = self._find_workflow(workflow_id)
        if workflow.deleted_ms is not None:
            raise Refused(404, "no such workflow")
        return self._workflow(workflow, self._counts(switches), switches)

    def executions(self, workflow_id: str, ask: ListAsk, switches: Switches) -> Listed:
        workflow = self._find_workflow(workflow_id)
        if workflow.deleted_ms is not None and switches.gone_workflow != "executions_served":
            if switches.gone_workflow == "404":
                raise Refused(404, "no such workflow")
            return Listed([], 0 if ask.is_counted else None)
        total = sum(1 for _ in self._matching(workflow.id, ask, switches)) if ask.is_counted else None
        assert ask.limit is not None
        page = islice(self._matching(workflow.id, ask, switches), ask.offset, ask.offset + ask.limit)
        return Listed([self._execution(row, switches) for row in page], total)

    def execution(self, execution_id: str, switches: Switches) -> Any:
        record = self._execution(self._find_execution(execution_id, switches), switches)
        return [record] if switches.execution_by_id == "list" else record

    def history(self, execution_id: str, ask: ListAsk, switches: Switches) -> Any:
        if switches.history == "removed":
            raise Refused(404, "there is a second version of this")
        events = self._events(self._find_execution(execution_id, switches), switches)
        return list(_cut(events, ask))

    def history_v2(self, execution_id: str, switches: Switches) -> Any:
        execution = self._find_execution(execution_id, switches)
        workflow = self._world.truth.workflows[execution.workflow_id]
        events = self._events(execution, switches)
        shown: object = events
        if switches.history_v2 == "object" or (
            switches.history_v2 == "object_when_alone" and len(events) == 1
        ):
            shown = events[-1] if events else None
        return {"definition": definition(workflow), "history": shown, "trigger": trigger(workflow)}

    # Which records

    def _horizon_ms(self, switches: Switches) -> int:
        return self._world.clock.now_ms() - round(switches.horizon_days * DAY_MS)

    def _find_workflow(self, workflow_id: str) -> Workflow:
        workflow = self._world.truth.workflows.get(workflow_id)
        if workflow is None:
            raise Refused(404, "no such workflow")
        return workflow

    def _find_execution(self, execution_id: str, switches: Switches) -> Execution:
        execution = self._world.truth.executions.get(execution_id)
        if execution is None or not self._is_served(execution, switches):
            raise Refused(404, "no such execution, or it has been archived")
        return execution

    def _is_served(self, execution: Execution, switches: Switches) -> bool:
        workflow = self._world.truth.workflows[execution.workflow_id]
        return (
            execution.deleted_ms is None
            and (workflow.deleted_ms is None or switches.gone_workflow == "executions_served")
            and execution.visible_ms <= self._world.clock.now_ms()
            and execution.created_ms >= self._horizon_ms(switches)
        )

    def _matching(self, workflow_id: str, ask: ListAsk, switches: Switches) -> Iterator[Execution]:
        """Newest first."""
        since_ms = max(ask.since_ns // MS, self._horizon_ms(switches))
        now_ms = self._world.clock.now_ms()
        rows = self._world.truth.listed(workflow_id, since_ms, min(ask.until_ns // MS, now_ms), now_ms)
        for row in _newest_first(rows, switches):
            in_span = ask.since_ns <= start_ns(row, switches) <= ask.until_ns
            if in_span and ask.status <= {status_of(row, switches)}:
                yield row

    def _counts(self, switches: Switches) -> Counter[tuple[str, bool]]:
        """Executions that ever began, or ended, by workflow and whether they failed."""
        now_ms = self._world.clock.now_ms()
        return Counter(
            (row.workflow_id, row.outcome == "failed")
            for row in self._world.truth.executions.values()
            if row.visible_ms <= now_ms
            and (row.ended_ms is not None or switches.execution_counts == "started")
        )

    # How they look

    def _workflow(self, row: Workflow, counts: Counter[tuple[str, bool]], switches: Switches) -> Any:
        failed = counts[row.id, True]
        record = workflow_record(row, (counts[row.id, False] + failed, failed), switches)
        return self._spoiled(row.id, record)

    def _execution(self, row: Execution, switches: Switches) -> Any:
        return self._spoiled(row.id, execution_record(row, switches))

    def _events(self, execution: Execution, switches: Switches) -> list[Any]:
        events = [
            self._spoiled(event_key(execution.id, place), event_record(event, switches))
            for place, event in enumerate(self._history(execution, switches))
        ]
        return events[::-1] if switches.history_order == "newest_first" else events

    def _history(self, execution: Execution, switches: Switches) -> list[HistoryEvent]:
        if execution.created_ms < self._horizon_ms(switches) + DAY_MS:
            if switches.aged_history == "404":
                raise Refused(404, "this history has been archived")
            if switches.aged_history == "empty":
                return []
        return history_of(execution, switches)

    def _spoiled(self, key: str, record: Record) -> Any:
        lies = self._world.truth.spoiled.get(key)
        if lies is None:
            return record
        if None in lies:
            return lies[None]
        told = record | {name: value for name, value in lies.items() if name is not None}
        return {name: value for name, value in told.items() if value is not ABSENT}


def _newest_first(rows: Sequence[Execution], switches: Switches) -> Iterator[Execution]:
    """`rows` come oldest first, in the order of their milliseconds. Ties keep one order at all times."""
    for _, tied in groupby(reversed(rows), key=lambda row: row.created_ms):
        yield from sorted(tied, key=lambda row: start_ns(row, switches), reverse=True)


def _cut(rows: Sequence[Any], ask: ListAsk) -> Sequence[Any]:
    return rows if ask.limit is None else rows[ask.offset : ask.offset + ask.limit]
