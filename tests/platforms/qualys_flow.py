"""What a perfect copy of a Qualys Flow holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from syncer.config import SecretText
from syncer.simulator import Attempt, Execution, Tenant
from syncer.simulator.qualys_flow.records import event_record, execution_record, workflow_record
from syncer.sources.qualys_flow import Options, PasswordAuth
from tests.platforms import Key, Platform, Records, Table, at, ended, listed, served


class QualysFlow(Platform):
    """Its truth is the simulator's, word for word."""

    steps_endpoint = "steps"
    waits = (*Platform.waits, "409-too-often", "409-too-many", "409-to-wait")
    silent: Mapping[str, Any] = {"rate_headers": False}
    hard: Mapping[str, Mapping[str, Any]] = {
        "order ignored": {"honour_order": False},
        "no totals": {"total_as": "absent"},
        "end exclusive": {"end_at": "exclusive"},
    }
    by_number: Mapping[str, Any] = {"honour_order": False}

    def auth(self, simulator: Tenant) -> tuple[BaseModel, BaseModel]:
        given = simulator.credentials
        auth = PasswordAuth(mode="password", username=given.username, password=SecretText(given.password))
        return auth, Options()

    def records(self, simulator: Tenant) -> dict[str, Records]:
        """An unusable `id` is repeated under another name, but for steps."""
        truth, switches, execution = simulator.truth, simulator.switches, ended(simulator)
        names = frozenset(("id", "workflow", "execution", "nodeId"))
        workflow = workflow_record(truth.workflows[execution.workflow_id], switches, listed=True)
        event = event_record(execution, execution.events[0], switches)
        record = execution_record(execution, switches, listed=True)
        of_executions = frozenset(("workflow", "createdAt"))
        of_steps = frozenset(("id", "execution", "nodeId", "createdAt"))
        events = [each.id for each in truth.events]
        return {
            "workflows": Records(
                list(truth.workflows), tuple(workflow), ("id", "workflow"), names, frozenset()
            ),
            "executions": Records(
                list(truth.executions), tuple(record), ("id", "execution"), names, of_executions
            ),
            "steps": Records(events, tuple(event), ("id",), names, of_steps),
        }

    def workflows(self, simulator: Tenant) -> Table:
        rows = {(w.id,): (w.name, w.revision, w.active, w.revisions[-1].redacted) for w in listed(simulator)}
        return Table("workflow_id", "name, revision, is_active, definition", rows)

    def executions(self, simulator: Tenant) -> Table:
        columns = (
            "workflow_id, status, outcome, created_at, started_at, ended_at, trigger, message, tags,"
            " missing_reason"
        )
        rows = {
            (e.id,): (
                e.workflow_id,
                e.status,
                e.outcome,
                *(at(e.created_ms), at(e.started_ms), at(e.ended_ms)),
                *(e.source, e.message, e.tags, None),
            )
            for e in served(simulator)
        }
        return Table("execution_id", columns, rows)

    def step_events(self, simulator: Tenant) -> Table:
        rows = {
            (v.execution_id, v.id): (
                *(v.node_id, v.order, v.status),
                *(at(v.created_ms), at(v.started_ms), at(v.ended_ms), v.message),
            )
            for execution in _told(simulator)
            for v in execution.events
        }
        columns = "node_id, event_order, status, created_at, started_at, ended_at, message"
        return Table("execution_id, event_id", columns, rows, _unserved(simulator, rows))

    def steps(self, simulator: Tenant) -> Table:
        columns = "node_name, node_type, status, outcome, message, started_at, ended_at, event_count"
        rows = {
            _key(a): (
                *(a.node_name, a.node_type, a.status, a.outcome, a.message),
                *(at(a.started_ms), at(a.ended_ms), len(a.events)),
            )
            for a in _attempts(simulator)
        }
        return Table("execution_id, node_id, attempt", columns, rows, _unserved(simulator, rows))

    def step_io(self, simulator: Tenant) -> Table:
        """While a step runs its payloads may not be served with the list, and are not asked for alone."""
        rows = {
            _key(a): (a.given.redacted, None if a.made is None else a.made.redacted)
            for a in _attempts(simulator)
        }
        running = frozenset(_key(a) for a in _attempts(simulator) if a.ended_ms is None)
        unserved = _unserved(simulator, rows)
        return Table("execution_id, node_id, attempt", "input, output", rows, running | unserved)


def _told(simulator: Tenant) -> list[Execution]:
    """What is served with its steps: the oldest may be without."""
    if simulator.switches.aged_steps == "served":
        return served(simulator)
    kept_ms = simulator.clock.now_ms() - round((simulator.switches.horizon_days - 1) * 86_400_000)
    return [execution for execution in served(simulator) if execution.created_ms >= kept_ms]


def _attempts(simulator: Tenant) -> list[Attempt]:
    return [attempt for execution in _told(simulator) for attempt in execution.attempts]


def _unserved(simulator: Tenant, rows: Iterable[Key]) -> frozenset[Key]:
    """Steps of what runs, where they are served only once it has ended."""
    if simulator.switches.running_steps_served:
        return frozenset()
    running = {e.id for e in served(simulator) if e.ended_ms is None}
    return frozenset(key for key in rows if key[0] in running)


def _key(attempt: Attempt) -> tuple[Any, ...]:
    return attempt.execution_id, attempt.node_id, attempt.number


PLATFORM = QualysFlow("qualys_flow")
