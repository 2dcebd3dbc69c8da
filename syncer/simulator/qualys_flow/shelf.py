"""The answers of a Qualys Flow with an invented history: which records a request gets, in which order.

Invariant: what is served is the truth as of the clock's now, inside the horizon, seen through the switches
and the spoiled fields. It must not know HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from syncer.simulator.payloads import Payload, Side
from syncer.simulator.qualys_flow.asks import ListAsk
from syncer.simulator.qualys_flow.records import (
    Record,
    event_payloads,
    event_record,
    execution_record,
    payload_field,
    workflow_record,
)
from syncer.simulator.qualys_flow.refusals import Refused
from syncer.simulator.qualys_flow.switches import Switches
from syncer.simulator.truth import DAY_MS, Attempt, Event, Execution, Workflow
from syncer.simulator.world import ABSENT, World

Row = TypeVar("Row", Workflow, Execution, Event)
Served = Record | object


class InventedShelf:
    """Serves the history of a World. Raises Refused where there is nothing to serve."""

    def __init__(self, world: World) -> None:
        self._world = world

    def workflows(self, ask: ListAsk, switches: Switches) -> bytes:
        kept = [row for row in self._world.truth.workflows.values() if self._is_listed(row, switches)]
        rows = [row for row in kept if _created_within(row.created_ms, ask, switches)]
        if ask.query is not None:
            rows = [row for row in rows if row.name == ask.query[1]]
        rows.sort(key=lambda row: row.created_ms)
        return self._page(rows, ask, switches, lambda row: workflow_record(row, switches, listed=True))

    def workflow(self, workflow_id: str, switches: Switches) -> bytes:
        workflow = self._find_workflow(workflow_id)
        if not self._is_listed(workflow, switches):
            raise Refused(404, "no such workflow")
        return self._single(workflow_record(workflow, switches, listed=False), switches)

    def executions(self, workflow_id: str, ask: ListAsk, switches: Switches) -> bytes:
        workflow = self._find_workflow(workflow_id)
        if workflow.deleted_ms is not None and switches.gone_workflow == "404":
            raise Refused(404, "no such workflow")
        rows = self._span(workflow.id, ask, switches)
        if ask.query is not None:
            rows = [row for row in rows if row.status == ask.query[1]]
        return self._page(rows, ask, switches, lambda row: execution_record(row, switches, listed=True))

    def execution(self, execution_id: str, include_steps: bool, switches: Switches) -> bytes:
        execution = self._find_execution(execution_id, switches)
        record = execution_record(execution, switches, listed=False)
        if include_steps and switches.include_steps != "absent":
            with_data = switches.include_steps_data
            record[switches.include_steps] = [
                self._event(execution, event, switches, with_data)
                for event in self._events(execution, switches)
            ]
        return self._single(record, switches)

    def steps(self, execution_id: str, ask: ListAsk, switches: Switches) -> bytes:
        execution = self._find_execution(execution_id, switches)
        found = self._events(execution, switches)
        rows = [row for row in found if _created_within(row.created_ms, ask, switches)]
        items = [
            self._event(execution, event, switches, ask.include_data)
            for event in _ordered(rows, ask, switches, lambda event: event_record(execution, event, switches))
        ]
        return _listing(len(rows), items, switches)

    def step(self, execution_id: str, node_id: str, switches: Switches) -> bytes:
        execution = self._find_execution(execution_id, switches)
        attempt = self._last_attempt(execution, node_id, switches)
        record = event_record(execution, attempt.events[-1], switches)
        record["input"] = payload_field(attempt.given, switches.step_detail_payload)
        record["output"] = payload_field(attempt.made, switches.step_detail_payload)
        served = self._spoiled(record)
        return msgspec.json.encode({"data": served} if switches.step_detail_wrapped else served)

    def payload(self, execution_id: str, node_id: str, side: Side, switches: Switches) -> bytes:
        execution = self._find_execution(execution_id, switches)
        attempt = self._last_attempt(execution, node_id, switches)
        payload: Payload | None = attempt.given if side == "input" else attempt.made
        return msgspec.json.encode(payload_field(payload, switches.io_endpoint))

    # Which records

    def _horizon_ms(self, switches: Switches) -> int:
        return self._world.clock.now_ms() - round(switches.horizon_days * DAY_MS)

    def _is_listed(self, workflow: Workflow, switches: Switches) -> bool:
        return workflow.deleted_ms is None or switches.gone_workflow == "soft"

    def _find_workflow(self, workflow_id: str) -> Workflow:
        workflow = self._world.truth.workflows.get(workflow_id)
        if workflow is None:
            raise Refused(404, "no such workflow")
        return workflow

    def _find_execution(self, execution_id: str, switches: Switches) -> Execution:
        execution = self._world.truth.executions.get(execution_id)
        if execution is None or not self._is_served(execution, switches):
            raise Refused(404, "no such execution")
        return execution

    def _is_served(self, execution: Execution, switches: Switches) -> bool:
        workflow = self._world.truth.workflows[execution.workflow_id]
        return (
            execution.deleted_ms is None
            and (workflow.deleted_ms is None or switches.gone_workflow != "404")
            and execution.visible_ms <= self._world.clock.now_ms()
            and execution.created_ms >= self._horizon_ms(switches)
        )

    def _span(self, workflow_id: str, ask: ListAsk, switches: Switches) -> list[Execution]:
        horizon_ms = self._horizon_ms(switches)
        since_ms, until_ms = _bounds(ask, switches)
        if ask.since_ms is not None and ask.since_ms < horizon_ms and switches.horizon_reaction == "400":
            raise Refused(400, f"startAt must lie within the last {switches.horizon_days:g} days")
        now_ms = self._world.clock.now_ms()
        return self._world.truth.listed(workflow_id, max(since_ms, horizon_ms), until_ms, now_ms)

    def _events(self, execution: Execution, switches: Switches) -> list[Event]:
        if execution.ended_ms is None and not switches.running_steps_served:
            return []
        if execution.created_ms < self._horizon_ms(switches) + DAY_MS:
            if switches.aged_steps == "404":
                raise Refused(404, "the steps of this execution are no longer kept")
            if switches.aged_steps == "empty":
                return []
        return execution.events

    def _last_attempt(self, execution: Execution, node_id: str, switches: Switches) -> Attempt:
        attempts = {event.node_id: event.attempt for event in self._events(execution, switches)}
        if node_id not in attempts:
            raise Refused(404, "no such step")
        return attempts[node_id]

    # How they look

    def _page(
        self, rows: list[Row], ask: ListAsk, switches: Switches, record_of: Callable[[Row], Record]
    ) -> bytes:
        assert ask.page_size is not None
        ordered = _ordered(rows, ask, switches, record_of)
        page = ordered[ask.offset : ask.offset + ask.page_size]
        total: int | str = str(len(rows)) if switches.total_as == "string" else len(rows)
        return _listing(total, [self._spoiled(record_of(row)) for row in page], switches)

    def _single(self, record: Record, switches: Switches) -> bytes:
        served = self._spoiled(record)
        return msgspec.json.encode({"data": served} if switches.wrap_single else served)

    def _event(self, execution: Execution, event: Event, switches: Switches, with_data: bool) -> Served:
        record = event_record(execution, event, switches)
        if with_data:
            record |= event_payloads(execution, event, switches)
        return self._spoiled(record)

    def _spoiled(self, record: Record) -> Served:
        lies = self._world.truth.spoiled.get(record["id"])
        if lies is None:
            return record
        if None in lies:
            return lies[None]
        told = record | {name: value for name, value in lies.items() if name is not None}
        return {name: value for name, value in told.items() if value is not ABSENT}


def _listing(total: int | str, items: Sequence[Served], switches: Switches) -> bytes:
    told = {} if switches.total_as == "absent" else {"total": total}
    return msgspec.json.encode({**told, switches.items_key: items})


def _bounds(ask: ListAsk, switches: Switches) -> tuple[int, int]:
    """Both inclusive, in ms."""
    since_ms = ask.since_ms if ask.since_ms is not None and switches.honour_start_at else 0
    until_ms = ask.until_ms if ask.until_ms is not None and switches.honour_end_at else 1 << 60
    return since_ms, until_ms - (switches.end_at == "exclusive")


def _created_within(created_ms: int, ask: ListAsk, switches: Switches) -> bool:
    since_ms, until_ms = _bounds(ask, switches)
    return since_ms <= created_ms <= until_ms


def _ordered(
    rows: list[Row], ask: ListAsk, switches: Switches, record_of: Callable[[Row], Record]
) -> list[Row]:
    """`rows` come oldest first. Ties keep one order at all times."""
    order = ask.order if ask.order is not None and switches.honour_order else None
    order = order or ("createdAt" if switches.default_order == "asc" else "-createdAt")
    if order == "createdAt":
        return rows
    if order == "-createdAt":
        return rows[::-1]
    field = order.removeprefix("-")
    return sorted(rows, key=lambda row: _sortable(record_of(row).get(field)), reverse=order[0] == "-")


def _sortable(value: Any) -> tuple[bool, Any]:
    """Nulls first."""
    return (value is not None, 0 if value is None else value)
