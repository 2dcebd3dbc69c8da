"""A copy of the simulated Qualys Flow compared with what the simulator knows to be true, table by table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from syncer.config import Connection, SecretText
from syncer.simulator import Execution
from syncer.simulator.qualys_flow import Simulator
from syncer.sources.qualys_flow import Options, PasswordAuth, connect
from syncer.sync import Report, sync
from tests.passes import Bench, Work, settings


def qualys(simulator: Simulator, url: str, **changes: Any) -> Connection:
    """A connection to the simulator, without a pace of its own and final at once."""
    given = simulator.credentials
    auth = PasswordAuth(mode="password", username=given.username, password=SecretText(given.password))
    fixed = {"name": "flow", "platform": "qualys_flow", "base_url": url, "auth": auth, "options": Options()}
    return settings(**{**fixed, "requests_per_second": 0, "settle": timedelta(0), **changes})


class FlowBench(Bench):
    """Passes over a simulated Qualys Flow that is served over a socket."""

    def run(self, simulator: Simulator, url: str, work: Work = sync, **changes: Any) -> Report:
        """Make one pass."""
        return self.make(connect, qualys(simulator, url, **changes), work)

    def table(self, columns: str, table: str) -> list[tuple[Any, ...]]:
        """Rows of a history table in the order of their values."""
        return sorted((tuple(row) for row in self.rows(f"SELECT {columns} FROM history.{table}")), key=repr)


def at(ms: int | None) -> datetime | None:
    """Milliseconds since 1970 as the warehouse returns them."""
    return None if ms is None else datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=ms)


def expected(simulator: Simulator) -> list[Execution]:
    """What a perfect copy holds of executions."""
    return simulator.truth.served(simulator.clock.now_ms())


def assert_equal_to_truth(bench: FlowBench, simulator: Simulator, *, payloads: bool = True) -> None:
    """Every table equals the simulator's truth, row by row."""
    executions = expected(simulator)
    assert bench.table(
        "execution_id, workflow_id, status, outcome, created_at, started_at, ended_at, trigger, message, tags",
        "executions",
    ) == sorted(
        (
            (e.id, e.workflow_id, e.status, e.outcome, at(e.created_ms), at(e.started_ms), at(e.ended_ms), e.source,
             e.message, e.tags)
            for e in executions
        ),
        key=repr,
    )  # fmt: skip
    assert bench.table("workflow_id, name, revision, is_active", "workflows") == sorted(
        (
            (w.id, w.name, w.revision, w.active)
            for w in simulator.truth.workflows.values()
            if w.deleted_ms is None
        ),
        key=repr,
    )
    events = [event for execution in executions for event in execution.events]
    assert bench.table(
        "execution_id, event_id, node_id, event_order, status, created_at, started_at, ended_at, message",
        "step_events",
    ) == sorted(
        (
            (v.execution_id, v.id, v.node_id, v.order, v.status, at(v.created_ms), at(v.started_ms), at(v.ended_ms),
             v.message)
            for v in events
        ),
        key=repr,
    )  # fmt: skip
    attempts = [attempt for execution in executions for attempt in execution.attempts]
    assert bench.table(
        "execution_id, node_id, attempt, node_name, node_type, status, outcome, message, started_at, ended_at,"
        " event_count",
        "steps",
    ) == sorted(
        (
            (a.execution_id, a.node_id, a.number, a.node_name, a.node_type, a.status, a.outcome, a.message,
             at(a.started_ms), at(a.ended_ms), len(a.events))
            for a in attempts
        ),
        key=repr,
    )  # fmt: skip
    if payloads:
        assert_payloads(bench, attempts)


def assert_payloads(bench: FlowBench, attempts: list[Any]) -> None:
    """Inputs and outputs equal those the simulator made, with the planted secrets redacted."""
    stored = {
        tuple(row[:3]): (row[3], row[4])
        for row in bench.rows("SELECT execution_id, node_id, attempt, input, output FROM history.step_io")
    }
    for attempt in attempts:
        key = attempt.execution_id, attempt.node_id, attempt.number
        if attempt.ended_ms is None and key not in stored:
            continue  # while a step runs its payloads may not be served with the list, and are not asked for alone
        given, made = stored[key]
        assert given == attempt.given.redacted
        assert made == (None if attempt.made is None else attempt.made.redacted)
