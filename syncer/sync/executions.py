"""Executions: the live window and the open set, each page one transaction.

The watermark is the end of what has been read completely and proved. It moves with the page that proves it, never
ahead of the rows, and never back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from sqlalchemy import Connection as Database

from syncer.budget import Purpose
from syncer.errors import ContractError, Forbidden, NotFound, Postponed, TransientError
from syncer.http import doing
from syncer.load.executions import (
    OpenRow,
    age_out,
    mark_running_deleted,
    open_executions,
    partitions_with_open,
)
from syncer.model import Window
from syncer.plan import OpenExecution, believable, due_for_look, live_window, lost_span, open_looks
from syncer.state import watermarks
from syncer.state.leases import Lease
from syncer.state.watermarks import EXECUTIONS, Watermark
from syncer.sync.hints import Hint
from syncer.sync.landing import Seen, read_by_id, read_span, stay
from syncer.sync.ledger import note_lost
from syncer.sync.session import Session

FRESH = 0.75
LONGEST_FRESH = timedelta(minutes=10)
"""Part of a poll's interval, and at most, for which a partition is left alone after another process has read it."""


async def partitions_to_read(
    session: Session, partitions: Sequence[str], every: timedelta | None
) -> Sequence[str]:
    """Those that have to be read now, found out at once: most polls find most partitions as they were."""
    if every is None:
        return partitions
    marks = await session.writer.run(lambda db: watermarks.of_all(db, session.name))
    return [
        each
        for each in partitions
        if each not in session.chosen or not _may_rest(session, each, marks.get(each, Watermark()), every)
    ]


async def sync_live(session: Session, partition: str, seen: Seen, every: timedelta | None = None) -> bool:
    """Read what is new in one partition; False where another process is at it.

    Polled `every` so often, a partition is not read that another process has just read, nor one whose hint has
    not moved since its last completed read, until the next sweep. A hint moves nothing: only a completed read moves
    the watermark.
    """
    async with session.lease(EXECUTIONS, partition, "live") as lease:
        if lease is not None:
            await _sync_live(session, lease, seen, every)
        return lease is not None


async def _sync_live(session: Session, lease: Lease, seen: Seen, every: timedelta | None = None) -> None:
    partition = lease.key.partition
    if partition not in session.chosen:  # it may hold executions of several workflows
        await session.commit(lease, lambda db, now: _take_in(db, session, partition, now))
    mark = await session.writer.run(lambda db: watermarks.watermark(db, session.name, partition))
    if every and _may_rest(session, partition, mark, every):
        return
    hint = session.hints.of(partition)
    if every and hint:
        await session.let_pass(hint.shown_by)
    is_sweep = bool(every) and hint is not None and hint.text == mark.hint
    with doing(Purpose.SWEEP if is_sweep else Purpose.LIVE), suppress(Postponed):
        await _read_live(session, lease, mark, hint, seen)


def _take_in(db: Database, session: Session, partition: str, now: datetime) -> None:
    """Have a partition read again from the horizon where it holds executions that were left out and are wanted now."""
    lacking = watermarks.left_out(db, session.name, partition)
    if not (wanted := session.are_wanted(lacking)):
        return
    watermarks.take_in(db, session.name, partition, wanted)
    until = watermarks.watermark(db, session.name, partition).watermark_at
    if until is not None and (since := session.horizon_start()) < until:
        watermarks.add_entry(db, session.name, partition, Window(since, until), "initial", now)
        watermarks.restart(db, session.name, partition, until)


async def _read_live(session: Session, lease: Lease, mark: Watermark, hint: Hint | None, seen: Seen) -> None:
    """Read from the watermark less the lookback to the source's now."""
    partition, lookback = lease.key.partition, session.connection.lookback
    began, horizon, served = session.asked(), session.horizon_start(), session.certain_horizon()
    watermark = believable(mark.watermark_at, mark.asked_at, began.source_at, began.at)
    window = live_window(watermark, began.source_at, lookback, served)
    if lost := lost_span(watermark, served):
        await note_lost(session, lease, lost)
    if watermark is None and horizon < window.start:
        await _open_history(session, lease, Window(horizon, window.start))

    def move(db: Database, covered: datetime) -> None:
        watermarks.advance(
            db,
            session.name,
            partition,
            start=min(window.start, covered),
            covered=covered,
            lookback_from=covered - lookback,
            asked_at=began.at,
        )

    await read_span(session, lease, window, move, seen)
    stood = hint.text if hint and hint.shown_by <= window.end else None
    await session.commit(
        lease,
        lambda db, now: watermarks.note_success(db, session.name, EXECUTIONS, partition, now=now, hint=stood),
    )


async def _open_history(session: Session, lease: Lease, span: Window) -> None:
    """Put what lies before the first live window into the ledger."""
    await session.commit(
        lease, lambda db, now: watermarks.open_history(db, session.name, lease.key.partition, span, now)
    )


async def sync_last(session: Session, partition: str, seen: Seen) -> bool:
    """Read the partition of a deleted workflow a last time; what still runs is lost with the workflow."""

    def close(db: Database, now: datetime) -> None:
        watermarks.note_success(db, session.name, EXECUTIONS, partition, now=now)
        mark_running_deleted(db, session.name, partition, now)

    async with session.lease(EXECUTIONS, partition, "live") as lease:
        if lease is not None:
            try:
                await _sync_live(session, lease, seen)
            except NotFound:
                session.log.info("deleted with its executions", partition=partition)
            await session.commit(lease, close)
        return lease is not None


def _may_rest(session: Session, partition: str, mark: Watermark, every: timedelta) -> bool:
    return _is_fresh(session, mark, every) or _is_unmoved(session, mark, session.hints.of(partition))


def _is_fresh(session: Session, mark: Watermark, every: timedelta) -> bool:
    read_at = mark.last_success_at
    now = session.writer.now()
    return read_at is not None and now - min(FRESH * every, LONGEST_FRESH) < read_at <= now


def _is_unmoved(session: Session, mark: Watermark, hint: Hint | None) -> bool:
    swept_at = mark.swept_at
    now = session.writer.now()
    is_fresh = swept_at is not None and now - session.connection.sweep < swept_at <= now
    return hint is not None and hint.text == mark.hint and is_fresh


async def sync_open(session: Session, partition: str, seen: Seen, every: timedelta | None = None) -> bool:
    """Read the open executions of one partition again; False where another process is at it.

    Polled `every` so often, one that runs is read the more rarely the older it is, and one that has ended when it
    can be settled.
    """
    async with session.lease(EXECUTIONS, partition, "open") as lease:
        if lease is None:
            return False
        source_now = session.source_now()
        # Where changes are shown, what is older may run again, and a 404 tells when it is gone.
        if not session.source.paging.shows_changes:
            horizon = session.certain_horizon()
            await session.commit(lease, lambda db, now: age_out(db, session.name, horizon, now))
        rows = await session.writer.run(lambda db: open_executions(db, session.name, partition))
        previous = await session.writer.run(
            lambda db: watermarks.watermark(db, session.name, partition, watermarks.OPEN).swept_at
        )
        due = {
            row.ref.execution_id: row
            for row in rows
            if row.ref.execution_id not in seen.ids
            and (every is None or _is_due(session, row, previous, source_now, every))
        }
        with doing(Purpose.OPEN):
            await _look_again(session, lease, due, seen)
        if every and due:
            await session.commit(
                lease, lambda db, _now: watermarks.note_sweep(db, session.name, partition, source_now)
            )
        return True


def _is_due(
    session: Session, row: OpenRow, previous: datetime | None, now: datetime, every: timedelta
) -> bool:
    if row.ended_at is not None:
        return row.ended_at <= now - session.connection.settle  # an end in the year 9999 bears no addition
    return due_for_look(row.ref.created_at, previous, now, every)


async def _look_again(session: Session, lease: Lease, due: Mapping[str, OpenRow], seen: Seen) -> None:
    """Read open executions again with the fewest requests; lists do not reach behind the horizon."""
    horizon = session.horizon_start()
    candidates = [
        OpenExecution(execution_id=key, created_at=row.ref.created_at, rank=row.rank)
        for key, row in due.items()
        if row.ref.created_at >= horizon
    ]
    beyond = [key for key, row in due.items() if row.ref.created_at < horizon]
    for look in session.shuffled([*beyond, *open_looks(candidates, session.source.paging.page_size)]):
        try:
            if not isinstance(look, Window):
                await read_by_id(session, lease, due[look].ref)
            elif not await read_span(session, lease, look, stay, seen):
                for key, row in due.items():
                    if look.holds(row.ref.created_at) and key not in seen.ids:
                        await read_by_id(session, lease, row.ref)
            session.note_answer()
        except (TransientError, ContractError, Forbidden) as error:  # its own: the others must not grow stale
            await session.note_failure(EXECUTIONS, lease.key.partition, error)


async def partitions_to_look_at(session: Session) -> list[str]:
    """Partitions with executions whose row may still change, or that left the horizon unsettled."""
    horizon = session.certain_horizon()
    return await session.writer.run(lambda db: partitions_with_open(db, session.name, horizon))
