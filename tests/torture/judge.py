"""Judges a copy of the simulated Qualys Flow by what the simulator knows to be true, row by row.

Invariant: what the source does not serve any more is neither missed nor in the way, and everything else counts. It
must not know what was done to the daemon.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Engine, text

from syncer.simulator import Attempt, Execution
from syncer.simulator.qualys_flow import Simulator
from tests.integration.flows import at
from tests.torture.table import Verdict

Rows = Mapping[tuple[Any, ...], tuple[Any, ...]]

_EXECUTIONS = (
    "workflow_id, status, outcome, created_at, started_at, ended_at, trigger, message, tags, missing_reason"
)
_EVENTS = "node_id, event_order, status, created_at, started_at, ended_at, message"
_STEPS = "node_name, node_type, status, outcome, message, started_at, ended_at, event_count"


def judge(engine: Engine, simulator: Simulator, connection: str = "flow") -> Verdict:
    """Compare every table with the truth of this moment; what still runs must not be called settled."""
    return combined(*differences(engine, simulator, connection).values())


def differences(engine: Engine, simulator: Simulator, connection: str = "flow") -> dict[str, Verdict]:
    """The verdict on each table."""
    copy = _Copy(engine, connection)
    with simulator.lock:
        truth = simulator.truth
        served = truth.served(simulator.clock.now_ms())
        past = truth.executions.keys() - {each.id for each in served}
        workflows = [each for each in truth.workflows.values() if each.deleted_ms is None]
        deleted = truth.workflows.keys() - {each.id for each in workflows}
    attempts = [attempt for execution in served for attempt in execution.attempts]
    return {
        "workflows": _compared(
            copy.rows("workflows", 1, "workflow_id", "name, revision, is_active, definition"),
            {(w.id,): (w.name, w.revision, w.active, w.revisions[-1].redacted) for w in workflows},
            deleted,
        ),
        "executions": _compared(
            copy.rows("executions", 1, "execution_id", _EXECUTIONS),
            {(e.id,): _execution(e) for e in served},
            past,
        ),
        "step_events": _compared(
            copy.rows("step_events", 2, "execution_id, event_id", _EVENTS), dict(_events(served)), past
        ),
        "steps": _compared(
            copy.rows("steps", 3, "execution_id, node_id, attempt", _STEPS),
            {_key(a): _step(a) for a in attempts},
            past,
        ),
        "step_io": _payloads(copy, attempts, past),
        "settled": Verdict(
            stale=len(copy.settled().intersection(e.id for e in served if e.ended_ms is None))
        ),
    }


def combined(*verdicts: Verdict) -> Verdict:
    """Several verdicts as one."""
    return Verdict(*map(sum, zip(*verdicts, strict=True))) if verdicts else Verdict()


class _Copy:
    """What the warehouse holds of one connection."""

    def __init__(self, engine: Engine, connection: str) -> None:
        self._engine = engine
        self._connection = connection

    def rows(self, table: str, parts: int, key: str, columns: str) -> list[tuple[Any, Any]]:
        """Key and values of every row; a key has `parts` columns."""
        found = self._select(
            f"SELECT {key}, {columns} FROM history.{table} WHERE connection_id = :connection"
        )
        return [(row[:parts], row[parts:]) for row in found]

    def settled(self) -> set[str]:
        """Executions whose copy is said to be final."""
        query = "SELECT execution_id FROM history.executions WHERE connection_id = :connection"
        return {row[0] for row in self._select(f"{query} AND settled_at IS NOT NULL")}

    def _select(self, query: str) -> list[tuple[Any, ...]]:
        with self._engine.connect() as db:
            return [tuple(row) for row in db.execute(text(query), {"connection": self._connection})]


def _compared(stored: Iterable[tuple[Any, Any]], expected: Rows, past: set[str]) -> Verdict:
    """`past` are the ids that are not served any more: their rows are right as they are."""
    rows = [(key, values) for key, values in stored if key[0] not in past]
    times = Counter(key for key, _ in rows)
    wrong = sum(key in expected and expected[key] != values for key, values in rows)
    doubles = len(rows) - len(times) + len(times.keys() - expected.keys())
    return Verdict(lost=len(expected.keys() - times.keys()), doubled=doubles, stale=wrong)


def _execution(e: Execution) -> tuple[Any, ...]:
    times = at(e.created_ms), at(e.started_ms), at(e.ended_ms)
    return e.workflow_id, e.status, e.outcome, *times, e.source, e.message, e.tags, None


def _events(served: Iterable[Execution]) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    for execution in served:
        for v in execution.events:
            times = at(v.created_ms), at(v.started_ms), at(v.ended_ms)
            yield (v.execution_id, v.id), (v.node_id, v.order, v.status, *times, v.message)


def _key(attempt: Attempt) -> tuple[Any, ...]:
    return attempt.execution_id, attempt.node_id, attempt.number


def _step(a: Attempt) -> tuple[Any, ...]:
    times = at(a.started_ms), at(a.ended_ms)
    return a.node_name, a.node_type, a.status, a.outcome, a.message, *times, len(a.events)


def _payloads(copy: _Copy, attempts: Iterable[Attempt], past: set[str]) -> Verdict:
    """Inputs and outputs; while a step runs they may not be served with the list, and are not asked for alone."""
    stored = copy.rows("step_io", 3, "execution_id, node_id, attempt", "input, output")
    keys = {key for key, _ in stored}
    expected = {
        _key(a): (a.given.redacted, None if a.made is None else a.made.redacted)
        for a in attempts
        if a.ended_ms is not None or _key(a) in keys
    }
    return _compared(stored, expected, past)
