"""Records put aside, tried again: decoded anew from what was kept of them, and landed as if just read.

Invariant: a record is resolved in the transaction that lands it. Nothing is asked of the source: steps are put
back on the to-do list, where the next pass finds them. What was kept is redacted, and so is what lands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct, field
from sqlalchemy import Connection as Database
from sqlalchemy import update

from syncer.errors import LeaseLost, RecordError
from syncer.load.executions import load_executions
from syncer.load.workflows import load_workflows
from syncer.model import Execution, Workflow
from syncer.paging import Asked
from syncer.schema import executions
from syncer.state.quarantine import resolve_record
from syncer.state.watermarks import WORKFLOWS
from syncer.sync.session import Session
from syncer.sync.steps import STEPS
from syncer.sync.workflows import to_row

Record = Mapping[str, Any]
"""One row of `syncer.quarantine`."""

Write = Callable[[Database, datetime], None]


class Remaining(Struct, frozen=True, kw_only=True):
    """A record that still cannot be used, and why."""

    record_id: str
    reason: str


class Replayed(Struct, kw_only=True):
    """What became of the records: the ids of those resolved, and those that stay."""

    resolved: list[str] = field(default_factory=list)
    remaining: list[Remaining] = field(default_factory=list)


async def replay(session: Session, records: Sequence[Record]) -> Replayed:
    """Try records of this connection again, a transaction each; one that fails does not stop the others."""
    replayed = Replayed()
    async with session.running():
        for record in records:
            try:
                await _replay(session, record)
                replayed.resolved.append(record["record_id"])
            except (RecordError, LeaseLost) as error:
                replayed.remaining.append(Remaining(record_id=record["record_id"], reason=error.message))
    return replayed


async def _replay(session: Session, record: Record) -> None:
    stream, partition = record["stream"], record["partition"]
    if stream == STEPS:
        await _land(session, record, "", "live", lambda db, now: _put_back(session, db, partition, now))
        return
    if record["raw"] is None:
        raise RecordError("nothing of it was kept, because it might have held a secret")
    if stream == WORKFLOWS:
        workflow = session.source.decode_workflow(record["raw"])
        write = _workflow_writer(session, record, workflow)
        await _land(session, record, partition, "live", write)
    else:
        execution = session.source.decode_execution(record["raw"])
        write = _execution_writer(session, record, execution)
        await _land(session, record, partition, "open", write)


async def _land(session: Session, record: Record, partition: str, lane: str, write: Write) -> None:
    """Write and resolve in one transaction under the lease of whoever else writes such records."""
    async with session.lease(record["stream"], partition, lane) as lease:
        if lease is None:
            raise LeaseLost("another process is at work there: try again in a moment")

        def land(db: Database, now: datetime) -> None:
            write(db, now)
            resolve_record(db, session.name, record["stream"], record["record_id"], now)

        await session.commit(lease, land)


def _execution_writer(session: Session, record: Record, execution: Execution) -> Write:
    def write(db: Database, now: datetime) -> None:
        # The copy is as old as the answer that carried it, and by the source's clock perhaps older.
        read_at = record["last_seen_at"]
        asked = Asked(at=read_at, source_at=read_at - session.connection.lookback)
        reading = session.reading(record["partition"], asked, now)
        loaded = load_executions(db, [session.encoder.execution(execution)], reading)
        if loaded.refused:
            raise RecordError(loaded.refused[0][1])

    return write


def _workflow_writer(session: Session, record: Record, workflow: Workflow) -> Write:
    def write(db: Database, now: datetime) -> None:
        row = to_row(session.encoder, workflow)
        load_workflows(db, session.name, [row], asked_at=record["last_seen_at"], now=now)

    return write


def _put_back(session: Session, db: Database, execution_id: str, now: datetime) -> None:
    """Let the next pass read the execution's steps again."""
    put_back = db.scalar(
        update(executions)
        .where(executions.c.connection_id == session.name, executions.c.execution_id == execution_id)
        .values({"steps_state": "due", "_steps_tries": 0, "_steps_retry_at": None, "synced_at": now})
        .returning(executions.c.execution_id)
    )
    if put_back is None:
        raise RecordError("its execution is not in the warehouse")
