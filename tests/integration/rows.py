"""Executions, events and readings to write, and a look at what was stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import structs
from sqlalchemy import Engine, text

from syncer.decode.redact import Redactor
from syncer.encode import Encoder
from syncer.load.executions import Loaded, Reading, load_executions
from syncer.load.steps import StepsLoaded, StepsRead, load_steps
from syncer.model import Execution, ExecutionRef, NodePayload, Outcome, Role, StepAnswer, StepEvent

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
ENCODER = Encoder(Redactor(["password"]))


def reading(asked_at: datetime = NOW, **changes: Any) -> Reading:
    """Return how partition "w" of connection "c" was read; source and database show the same time."""
    plain = Reading(
        connection_id="c",
        partition="w",
        asked_at=asked_at,
        source_at=asked_at,
        now=asked_at,
        settle=timedelta(minutes=2),
        with_steps=True,
    )
    return structs.replace(plain, **changes)


def execution(**changes: Any) -> Execution:
    """Return one that runs since an hour."""
    plain = Execution(
        execution_id="e",
        workflow_id="w",
        created_at=NOW - timedelta(hours=1),
        outcome=Outcome.RUNNING,
        status="Running",
    )
    return structs.replace(plain, **changes)


def ended(at: datetime = NOW - HOUR / 2, **changes: Any) -> Execution:
    """Return one that succeeded at the time given, long enough ago to be final."""
    return execution(**{"outcome": Outcome.SUCCEEDED, "status": "Success", "ended_at": at, **changes})


def load(engine: Engine, *executions: Execution, at: Reading | None = None) -> Loaded:
    """Write executions in a transaction of their own."""
    with engine.begin() as db:
        return load_executions(db, [ENCODER.execution(each) for each in executions], at or reading())


def write(engine: Engine, *executions: Execution, at: Reading | None = None) -> None:
    """Write executions of which none may be refused."""
    assert load(engine, *executions, at=at).refused == []


def event(**changes: Any) -> StepEvent:
    """Return the failed end of node "n"."""
    plain = StepEvent(
        execution_id="e",
        event_id="v",
        node_id="n",
        created_at=NOW,
        outcome=Outcome.FAILED,
        role=Role.END,
        ended_at=NOW,
    )
    return structs.replace(plain, **changes)


def ref(execution_id: str = "e", **changes: Any) -> ExecutionRef:
    """Return what leads to the steps of one execution."""
    plain = ExecutionRef(
        execution_id=execution_id, workflow_id="w", partition="w", created_at=NOW - HOUR, has_ended=True
    )
    return structs.replace(plain, **changes)


def steps_read(
    *events: StepEvent,
    at: datetime = NOW,
    execution_id: str = "e",
    payloads: Sequence[NodePayload] = (),
    **changes: Any,
) -> StepsRead:
    """Return what one read of an execution's steps brought."""
    answer = StepAnswer(events=events, payloads=tuple(payloads), **changes)
    return StepsRead(ref=ref(execution_id), answer=answer, asked_at=at)


def load_reads(engine: Engine, *reads: StepsRead, at: datetime = NOW) -> StepsLoaded:
    """Write the steps of executions in a transaction of their own."""
    with engine.begin() as db:
        return load_steps(db, "c", reads, ENCODER, now=at)


def steps(engine: Engine, *events: StepEvent, at: datetime = NOW) -> list[tuple[str, str]]:
    """Write the steps of execution "e"; returns what was refused."""
    return load_reads(engine, steps_read(*events, at=at), at=at).refused


def one(engine: Engine, query: str) -> Any:
    """Return the only row."""
    with engine.connect() as db:
        return db.execute(text(query)).one()


def rows(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    """Return all rows."""
    with engine.connect() as db:
        return [tuple(row) for row in db.execute(text(query))]


def change(engine: Engine, statement: str, **values: Any) -> None:
    """Arrange what no load writes by itself."""
    with engine.begin() as db:
        db.execute(text(statement), values)
