"""Steps: a to-do list in the executions table, worked off by several readers and one committer.

Readers fetch, the committer writes bundles of executions; an execution's events, steps, payloads, counts and state
land together. What waits between them is little, in all connections of a process together, so that memory stays bounded
and little is lost when the process is.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from msgspec import Struct
from sqlalchemy import Connection as Database

from syncer.budget import Purpose
from syncer.encode import Encoder
from syncer.errors import ContractError, Forbidden, NotFound, TransientError, Unreachable
from syncer.http import doing
from syncer.load.due import due_steps, mark_failed
from syncer.load.steps import StepsRead, load_steps
from syncer.model import ExecutionRef, Reject, StepAnswer
from syncer.state.leases import Lease
from syncer.state.quarantine import put_aside, resolve_identities
from syncer.sync.session import Session

STEPS = "steps"

BUNDLE = 50
"""Executions whose steps are committed in one transaction. More of them cost as much each."""

GATHER = 0.1
"""Seconds for which an execution's steps wait for those of others to be committed with them."""

ROUND = 1000
"""Executions taken from the to-do list at a time."""

RETRY_AFTER = timedelta(minutes=1)
"""Pause after the first failed attempt at an execution's steps; it grows fourfold with each."""


class Span(Struct, frozen=True, kw_only=True):
    """Which due steps to read; None means all."""

    partitions: Sequence[str] | None = None
    since: datetime | None = None
    until: datetime | None = None


async def sync_steps(
    session: Session,
    span: Span,
    *,
    running: bool = False,
    lane: str = "live",
    is_one_round: bool = False,
) -> bool:
    """Read all due steps of executions that have ended (or that still run); False where another process is at it."""
    if not await session.writer.run(lambda db: _due(db, session.name, span, running, 1)):
        return True
    async with session.lease(STEPS, "", lane) as lease:
        if lease is None:
            return False
        former: list[ExecutionRef] = []
        while refs := await session.writer.run(lambda db: _due(db, session.name, span, running, ROUND)):
            if refs == former:  # they changed after they were asked for: the next pass sees why
                return True
            former = refs
            session.report.steps_expected = session.report.steps_read + len(refs)
            oldest = refs[0].created_at
            with doing(session.purpose_of_history(oldest) if lane == "history" else Purpose.STEPS):
                await _work_off(session, lease, refs)
            if is_one_round:
                return True
        return True


def _due(db: Database, connection_id: str, span: Span, running: bool, limit: int) -> list[ExecutionRef]:
    return due_steps(
        db,
        connection_id,
        running=running,
        limit=limit,
        partitions=span.partitions,
        since=span.since,
        until=span.until,
    )


async def _work_off(session: Session, lease: Lease, refs: Sequence[ExecutionRef]) -> None:
    committer = _Committer(session, lease)
    committing = asyncio.create_task(committer.run())

    async def read(ref: ExecutionRef) -> bool:
        if not committer.is_broken and (answer := await _read(session, lease, ref)) is not None:
            await committer.take(answer)
        return True

    try:
        await session.each(
            STEPS,
            refs,
            read,
            workers=session.connection.max_concurrency,
            name=lambda ref: f"{ref.partition}/{ref.execution_id}",
            waits=False,
        )
    finally:
        committer.finish()
        await committing


class _Committer:
    """Writes what the readers bring, until they are done."""

    def __init__(self, session: Session, lease: Lease) -> None:
        self._session = session
        self._lease = lease
        self._room = session.room
        self._own_room = asyncio.Semaphore(2 * BUNDLE)  # one bundle that is written, and the next
        self._held = 0
        self._results: asyncio.Queue[StepsRead | None] = asyncio.Queue()
        self._error: Exception | None = None

    @property
    def is_broken(self) -> bool:
        """Whether nothing more can land, so that nothing more is worth a request; `run` raises why."""
        return self._error is not None

    async def take(self, read: StepsRead) -> None:
        """Accept one execution's steps, when there is room for them."""
        await self._own_room.acquire()
        await self._room.acquire()
        self._held += 1
        self._results.put_nowait(read)

    def finish(self) -> None:
        """Say that no more will come; never waits, for `run` may have been ended from without."""
        self._results.put_nowait(None)

    async def run(self) -> None:
        """Commit until `finish`; after an error only empty the queue, so that no reader hangs, and raise it."""
        is_last = False
        try:
            while not is_last:
                bundle = await self._bundle()
                is_last = bundle[-1] is None
                reads = [read for read in bundle if read is not None]
                try:
                    if self._error is None:
                        await self._commit(reads)
                except Exception as error:  # noqa: BLE001 - kept for the readers and raised at the end
                    self._error = error
                self._give_back(len(reads))
        finally:
            self._give_back(self._held)
        if self._error is not None:
            raise self._error

    def _give_back(self, number: int) -> None:
        self._held -= number
        for _ in range(number):
            self._room.release()
            self._own_room.release()

    async def _bundle(self) -> list[StepsRead | None]:
        """What the readers bring within GATHER, at most BUNDLE."""
        bundle = [await self._results.get()]
        with suppress(TimeoutError):
            async with asyncio.timeout(GATHER):
                while bundle[-1] is not None and len(bundle) < BUNDLE:
                    bundle.append(await self._results.get())
        return bundle

    async def _commit(self, reads: Sequence[StepsRead]) -> None:
        if not reads:
            return
        session = self._session
        rows = await session.commit(
            self._lease, lambda db, now: land_steps(db, session.name, reads, session.encoder, now)
        )
        session.report.rows.update(rows)
        session.report.steps_read += len(reads)


def _may_be_late(session: Session, ref: ExecutionRef) -> bool:
    """Whether the execution is so young that its steps may become visible after itself."""
    return (ref.ended_at or ref.created_at) > session.source_now() - session.connection.lookback


def steps_read(session: Session, ref: ExecutionRef, answer: StepAnswer, asked_at: datetime) -> StepsRead:
    """What a request brought, to be asked for again where it is not whole and the rest may be late."""
    is_early = not answer.is_whole and _may_be_late(session, ref)
    return StepsRead(ref=ref, answer=answer, asked_at=asked_at, again_after=RETRY_AFTER if is_early else None)


async def _read(session: Session, lease: Lease, ref: ExecutionRef) -> StepsRead | None:
    """Fetch one execution's steps; a failure that is its own puts it back on the list for later."""
    asked = session.writer.now()
    try:
        answer = await session.source.read_steps(ref)
    except NotFound:
        if _may_be_late(session, ref):
            await session.commit(lease, lambda db, now: _put_off(db, session.name, ref, now))
            return None
        return StepsRead(ref=ref, answer=None, asked_at=asked)
    except Unreachable:
        raise
    except (TransientError, ContractError, Forbidden):
        await session.commit(lease, lambda db, now: _put_off(db, session.name, ref, now))
        raise
    return steps_read(session, ref, answer, asked)


def _put_off(db: Database, connection_id: str, ref: ExecutionRef, now: datetime) -> None:
    mark_failed(db, connection_id, ref.execution_id, retry_after=RETRY_AFTER, now=now)


def land_steps(
    db: Database, connection_id: str, reads: Sequence[StepsRead], encoder: Encoder, now: datetime
) -> Counter[str]:
    """Write the steps of several executions; what PostgreSQL refuses waits for another attempt, and is listed.

    Returns the rows written by table.
    """
    resolve_identities(db, connection_id, STEPS, _identities(reads), now)
    for read in reads:
        if read.answer is not None and read.answer.rejects:
            rejects = [encoder.reject(reject) for reject in read.answer.rejects]
            put_aside(db, connection_id, STEPS, read.ref.execution_id, rejects, now)
    loaded = load_steps(db, connection_id, reads, encoder, now=now)
    for execution_id, reason in loaded.refused:
        record = encoder.reject(Reject(raw=execution_id.encode(), reason=reason, identity=execution_id))
        put_aside(db, connection_id, STEPS, execution_id, [record], now)
        mark_failed(db, connection_id, execution_id, retry_after=RETRY_AFTER, now=now)
    return loaded.rows


def _identities(reads: Sequence[StepsRead]) -> set[str]:
    """What these reads bring a good copy of, as far as records put aside may bear its name."""
    events = {event.event_id for read in reads if read.answer is not None for event in read.answer.events}
    return events | {read.ref.execution_id for read in reads}
