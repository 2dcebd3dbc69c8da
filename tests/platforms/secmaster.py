"""What a perfect copy of a SecMaster holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel

from syncer.simulator import Attempt, Execution, Tenant
from syncer.simulator.secmaster import Simulator
from syncer.simulator.secmaster.records import (
    dataobject_of,
    edited_ms,
    error_of,
    instance_record,
    name_of,
    node_record,
    node_status_of,
    served_ms,
    status_of,
    trigger_of,
    workflow_record,
)
from syncer.simulator.truth import Outcome
from tests.platforms import Platform, Records, Table, at, attempts, ended, listed, served

_KEY = "execution_id, node_id, attempt"


class Step(NamedTuple):
    """A node's attempts that show as one: one that was cut off runs until a later one has ended."""

    number: int
    parts: list[Attempt]


class SecMaster(Platform):
    """Its truth is the simulator's in SecMaster's words; an attempt is one record, so that it is one event."""

    steps_endpoint = "execution"
    waits = (*Platform.waits, "429-in-words")
    hard: Mapping[str, Mapping[str, Any]] = {
        "order ignored": {"honour_sort": False},
        "no totals": {"count_as": "absent"},
        "totals of pages": {"count_as": "page"},
        "bounds exclusive": {"date_bounds": "exclusive"},
    }

    def auth(self, simulator: Tenant) -> tuple[BaseModel, BaseModel]:
        assert isinstance(simulator, Simulator)
        given, spec = simulator.credentials, self.source.PLATFORM
        [password] = (m for m in spec.auth if get_args(m.model_fields["mode"].annotation) == ("password",))
        auth: BaseModel = password.model_validate(
            {
                "mode": "password",
                "iam_url": simulator.url,
                "domain": given.domain,
                "username": given.username,
                "password": given.password,
                "project": given.project,
            }
        )
        options: BaseModel = spec.options.model_validate(
            {"project_id": given.project_id, "workspaces": list(given.workspaces)}
        )
        return auth, options

    step_names = frozenset(("action_name",))
    whole: Mapping[str, Any] = {"empty_values": "null"}

    def partition_of(self, simulator: Tenant, execution: Execution) -> str:
        """The workspace of its workflow."""
        assert isinstance(simulator, Simulator)
        return simulator.workspace_of(simulator.truth.workflows[execution.workflow_id])

    def records(self, simulator: Tenant) -> dict[str, Records]:
        """An instance names its workflow in an object."""
        truth, switches, execution = simulator.truth, simulator.switches, ended(simulator)
        workflow = truth.workflows[execution.workflow_id]
        record = instance_record(execution, workflow, switches)
        node = node_record(execution.attempts[0], 0, switches)
        nodes = [attempt.events[0].id for attempt in truth.attempts]
        own, action = frozenset(("id",)), frozenset(("action_id",))
        fields = tuple(workflow_record(workflow, "", "", switches))
        return {
            "workflows": Records(list(truth.workflows), fields, ("id",), own, own),
            "executions": Records(
                list(truth.executions), tuple(record), ("id",), own, own | {"workflow", "start_time"}
            ),
            "steps": Records(nodes, tuple(node), ("action_id",), action, action | {"start_time"}),
        }

    def workflows(self, simulator: Tenant) -> Table:
        switches = simulator.switches
        rows = {
            (w.id,): (
                *(name_of(w, switches), w.active),
                *(_at(w.created_ms, simulator), _at(edited_ms(w), simulator)),
            )
            for w in listed(simulator)
        }
        return Table("workflow_id", "name, is_active, created_at, updated_at", rows)

    def executions(self, simulator: Tenant) -> Table:
        columns = (
            "workflow_id, workflow_name, status, outcome, trigger, subject_id, message, created_at,"
            " started_at, ended_at, missing_reason"
        )
        rows = {
            (e.id,): (
                *(e.workflow_id, simulator.truth.workflows[e.workflow_id].name),
                *(status_of(e), e.outcome, trigger_of(e), dataobject_of(e), _message(e)),
                *(_at(e.created_ms, simulator), _at(e.created_ms, simulator), _at(e.ended_ms, simulator)),
                None,
            )
            for e in served(simulator)
        }
        return Table("execution_id", columns, rows)

    def step_events(self, simulator: Tenant) -> Table:
        """A record has no id: it is the n-th of its node, twins in the order in which they are folded."""
        columns = "node_type, status, created_at, started_at, ended_at, message"
        rows = {
            (a.execution_id, a.node_id, a.number): (
                *("TASK", node_status_of(a)),
                *(_at(ms, simulator) for ms in (a.started_ms, a.started_ms, a.ended_ms)),
                error_of(a),
            )
            for a in attempts(simulator)
        }
        node, order = "execution_id || ' ' || node_id", "extract(epoch FROM created_at) || event_id"
        rank = f"row_number() OVER (PARTITION BY {node} ORDER BY {order})"
        return Table(f"execution_id, node_id, {rank}", columns, rows)

    def steps(self, simulator: Tenant) -> Table:
        columns = "node_name, node_type, status, outcome, message, started_at, ended_at, event_count"
        rows = {
            _key(step): (
                *(step.parts[-1].node_name, "TASK", node_status_of(step.parts[-1])),
                *(_outcome(execution, step.parts[-1]), error_of(step.parts[-1])),
                *(_at(step.parts[0].started_ms, simulator), _at(step.parts[-1].ended_ms, simulator)),
                len(step.parts),
            )
            for execution in served(simulator)
            for step in _steps(execution)
        }
        return Table(_KEY, columns, rows)

    def step_io(self, simulator: Tenant) -> Table:
        rows = {
            _key(step): (
                step.parts[0].given.redacted,
                next((a.made.redacted for a in reversed(step.parts) if a.made is not None), None),
            )
            for execution in served(simulator)
            for step in _steps(execution)
        }
        return Table(_KEY, "input, output", rows)


def _steps(execution: Execution) -> Iterator[Step]:
    """As the records of its nodes tell them: whatever follows one without an end belongs to it."""
    for node_id in dict.fromkeys(attempt.node_id for attempt in execution.attempts):
        number, parts = 1, list[Attempt]()
        for attempt in execution.attempts:
            if attempt.node_id != node_id:
                continue
            if parts and parts[-1].ended_ms is not None:
                yield Step(number, parts)
                number, parts = number + 1, []
            parts.append(attempt)
        yield Step(number, parts)


def _outcome(execution: Execution, attempt: Attempt) -> Outcome:
    if attempt.ended_ms is None:
        return "running" if execution.ended_ms is None else "unknown"
    return "failed" if node_status_of(attempt) == "FAILED" else attempt.outcome


def _message(execution: Execution) -> str | None:
    """What the node said that failed last."""
    said = [error_of(attempt) for attempt in execution.attempts if node_status_of(attempt) == "FAILED"]
    return said[-1] if said else None


def _key(step: Step) -> tuple[Any, ...]:
    return step.parts[0].execution_id, step.parts[0].node_id, step.number


def _at(at_ms: int | None, simulator: Tenant) -> Any:
    return at(None if at_ms is None else served_ms(at_ms, simulator.switches))


PLATFORM = SecMaster("secmaster")
