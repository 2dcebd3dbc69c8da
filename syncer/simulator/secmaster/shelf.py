"""The answers of a SecMaster with an invented history: which records a request gets, in which order.

Invariant: what is served is the truth as of the clock's now, inside the horizon, seen through the switches
and the spoiled fields, each workflow in one workspace alone. It must not know HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar

import msgspec

from syncer.simulator.secmaster.asks import ListAsk
from syncer.simulator.secmaster.gate import Credentials
from syncer.simulator.secmaster.records import (
    Record,
    creation_ms,
    edited_ms,
    instance_record,
    invented,
    node_record,
    topology_field,
    workflow_record,
)
from syncer.simulator.secmaster.refusals import Refused
from syncer.simulator.secmaster.switches import Switches
from syncer.simulator.truth import DAY_MS, Attempt, Execution, Truth, Workflow
from syncer.simulator.world import ABSENT, World

Row = TypeVar("Row", Workflow, Execution)
Served = Record | object
Form = Literal["bare", "envelope"]


def workspace_of(workflow: Workflow, truth: Truth, workspaces: Sequence[str]) -> str:
    """Which of its workspaces a tenant has made a workflow in: they take turns."""
    return workspaces[list(truth.workflows).index(workflow.id) % len(workspaces)]


class InventedShelf:
    """Serves the history of a World. Raises Refused where there is nothing to serve."""

    def __init__(self, world: World, known: Credentials) -> None:
        self._world = world
        self._known = known

    def workflows(self, workspace_id: str, ask: ListAsk, switches: Switches) -> bytes:
        rows = [row for row in self._workflows_in(workspace_id) if row.deleted_ms is None]
        record_of = self._workflow_record(workspace_id, switches)
        return self._page(rows, ask, switches, record_of, "workflows")

    def workflow(self, workspace_id: str, workflow_id: str, switches: Switches) -> bytes:
        for workflow in self._workflows_in(workspace_id):
            if workflow.id == workflow_id and workflow.deleted_ms is None:
                record = self._workflow_record(workspace_id, switches)(workflow)
                served = self._spoiled(record, workflow.id)
                return _single(served, switches.workflow_as)
        raise Refused(404, "no such workflow")

    def executions(self, workspace_id: str, ask: ListAsk, switches: Switches) -> bytes:
        since_ms, until_ms = self._bounds(ask, switches)
        now_ms = self._world.clock.now_ms()
        lead_ms = round(switches.creation_lead * 1000)
        rows = [
            execution
            for workflow in self._workflows_in(workspace_id)
            if self._shows_instances(workflow, switches)
            for execution in self._world.truth.listed(workflow.id, since_ms, until_ms + lead_ms, now_ms)
            if since_ms <= creation_ms(execution, switches) <= until_ms
        ]
        return self._page(rows, ask, switches, self._instance_record(switches), "instances")

    def execution(
        self, workspace_id: str, execution_id: str, with_topology: bool, switches: Switches
    ) -> bytes:
        execution = self._world.truth.executions.get(execution_id)
        if execution is None or not self._is_served(execution, workspace_id, switches):
            raise Refused(404, "no such instance")
        workflow = self._world.truth.workflows[execution.workflow_id]
        record = instance_record(execution, workflow, switches)
        if with_topology:
            record |= self._topology(execution, switches)
        return _single(self._spoiled(record, execution.id), switches.instance_as)

    # Which records

    def _workflows_in(self, workspace_id: str) -> list[Workflow]:
        workspaces = self._known.workspaces
        return list(self._world.truth.workflows.values())[workspaces.index(workspace_id) :: len(workspaces)]

    def _shows_instances(self, workflow: Workflow, switches: Switches) -> bool:
        return workflow.deleted_ms is None or switches.gone_workflow == "alone"

    def _is_served(self, execution: Execution, workspace_id: str, switches: Switches) -> bool:
        workflow = self._world.truth.workflows[execution.workflow_id]
        return (
            execution.deleted_ms is None
            and workspace_of(workflow, self._world.truth, self._known.workspaces) == workspace_id
            and self._shows_instances(workflow, switches)
            and execution.visible_ms <= self._world.clock.now_ms()
            and execution.created_ms >= self._horizon_ms(switches)
        )

    def _horizon_ms(self, switches: Switches) -> int:
        return self._world.clock.now_ms() - round(switches.horizon_days * DAY_MS)

    def _bounds(self, ask: ListAsk, switches: Switches) -> tuple[int, int]:
        """Of the creation, both inclusive, in ms. What starts is compared as it is served."""
        dates = switches.honour_dates
        since_ms = ask.since_ms if dates and ask.since_ms is not None else 0
        until_ms = ask.until_ms if dates and ask.until_ms is not None else 1 << 60
        since_ms += dates and switches.date_bounds == "exclusive"
        until_ms -= dates and switches.date_bounds != "inclusive"
        if switches.times == "seconds":
            since_ms, until_ms = -(-since_ms // 1000) * 1000, until_ms // 1000 * 1000 + 999
        return max(since_ms, self._horizon_ms(switches)), until_ms

    # How they look

    def _workflow_record(self, workspace_id: str, switches: Switches) -> Callable[[Workflow], Record]:
        project_id = self._known.project_id
        return lambda row: workflow_record(row, project_id, workspace_id, switches)

    def _instance_record(self, switches: Switches) -> Callable[[Execution], Record]:
        workflows = self._world.truth.workflows

        def record_of(row: Execution) -> Record:
            topology = self._topology(row, switches) if switches.list_topology else {}
            return instance_record(row, workflows[row.workflow_id], switches) | topology

        return record_of

    def _topology(self, execution: Execution, switches: Switches) -> Record:
        nodes = [
            self._spoiled(node_record(attempt, at, switches), *_ids(attempt))
            for at, attempt in enumerate(execution.attempts)
        ]
        return topology_field([] if self._is_late(execution, switches) else nodes, switches)

    def _is_late(self, execution: Execution, switches: Switches) -> bool:
        shown_ms = (execution.ended_ms or 0) + round(switches.topology_delay * 1000)
        return execution.ended_ms is not None and shown_ms > self._world.clock.now_ms()

    def _page(
        self,
        rows: list[Row],
        ask: ListAsk,
        switches: Switches,
        record_of: Callable[[Row], Record],
        bare_key: str,
    ) -> bytes:
        if ask.filters:
            rows = [row for row in rows if _suits(record_of(row), ask)]
        limit = ask.limit if switches.page_rows == "as_asked" else min(ask.limit, 2)
        page = _ordered(rows, ask, switches)[ask.offset : ask.offset + limit]
        items = [self._spoiled(record_of(row), row.id) for row in page]
        form: Form = switches.instances_as if bare_key == "instances" else switches.workflows_as
        count = len(items) if switches.count_as == "page" else len(rows)
        if form == "bare":
            listing = {"count": count, bare_key: items}
        else:
            listing = _envelope(ask) | {"total": count, **_place(ask, items), "data": items}
        if switches.count_as == "absent":
            del listing["count" if form == "bare" else "total"]
        return msgspec.json.encode(listing)

    def _spoiled(self, record: Record, *record_ids: str) -> Served:
        """Whatever is wrong with the record under any of its names."""
        spoiled = self._world.truth.spoiled
        lies = {name: lie for each in record_ids for name, lie in spoiled.get(each, {}).items()}
        if None in lies:
            return lies[None]
        told = record | {name: value for name, value in lies.items() if name is not None}
        return {name: value for name, value in told.items() if value is not ABSENT}


def _ids(attempt: Attempt) -> Iterable[str]:
    """A node's record is known by the events of its attempt."""
    return (event.id for event in attempt.events)


def _single(served: Served, form: Form) -> bytes:
    return msgspec.json.encode(served if form == "bare" else _envelope(served) | {"data": served})


def _envelope(about: object) -> Record:
    request_id = invented("request", repr(about))
    return {"code": "00000000", "message": "", "success": True, "request_id": request_id}


def _place(ask: ListAsk, items: Sequence[object]) -> Record:
    return {
        "offset": ask.offset,
        "limit": ask.limit,
        "size": len(items),
        "page": ask.offset // ask.limit + 1,
    }


def _suits(record: Record, ask: ListAsk) -> bool:
    return all(_text(record, place) == wanted for place, wanted in ask.filters)


def _text(record: Record, place: tuple[str, ...]) -> str:
    """A value of the record as a parameter would write it."""
    value: Any = record
    for name in place:
        value = value.get(name, "")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _ordered(rows: list[Row], ask: ListAsk, switches: Switches) -> list[Row]:
    """Ties keep one order at all times."""
    key, is_ascending = ask.sort_key, ask.is_ascending
    if not switches.honour_sort:
        key, is_ascending = "create_time", False
    time_of = _created_ms if key == "create_time" else _changed_ms
    ordered = sorted(rows, key=lambda row: time_of(row, switches))
    return ordered if is_ascending else ordered[::-1]


def _created_ms(row: Workflow | Execution, switches: Switches) -> int:
    return row.created_ms if isinstance(row, Workflow) else creation_ms(row, switches)


def _changed_ms(row: Workflow | Execution, _switches: Switches) -> int:
    return edited_ms(row) if isinstance(row, Workflow) else row.updated_ms
