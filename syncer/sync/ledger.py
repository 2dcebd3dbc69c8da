"""History in the ledger, and windows that are read again: what lies behind the watermark.

Invariant: a span of the ledger is done when it is copied and proved, or listed as lost.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection as Database

from syncer.errors import NotFound
from syncer.http import doing
from syncer.model import Window
from syncer.state import audit, watermarks
from syncer.state.audit import Debt, Finding
from syncer.state.leases import Lease
from syncer.state.watermarks import EXECUTIONS, LedgerEntry
from syncer.sync.landing import read_span, stay
from syncer.sync.session import Session


async def sync_history(session: Session, entry: LedgerEntry) -> bool:
    """Copy one span of history from where it stands; False where another process is at it."""
    async with session.lease(EXECUTIONS, entry.partition, "history") as lease:
        if lease is not None:
            await _sync_history(session, lease, entry)
        return lease is not None


async def sync_history_of_deleted(session: Session, entry: LedgerEntry) -> bool:
    """Copy what is still served of a deleted workflow's history; what is not is listed as lost."""
    async with session.lease(EXECUTIONS, entry.partition, "history") as lease:
        if lease is not None:
            try:
                await _sync_history(session, lease, entry)
            except NotFound:
                await session.commit(lease, lambda db, now: _lose(db, session, entry, now))
        return lease is not None


async def _sync_history(session: Session, lease: Lease, entry: LedgerEntry) -> None:
    current = await session.writer.run(lambda db: watermarks.current_entry(db, session.name, entry))
    if current is not None:
        with doing(session.purpose_of_history(current.position)):
            await _copy_entry(session, lease, current)


def _lose(db: Database, session: Session, entry: LedgerEntry, now: datetime) -> None:
    current = watermarks.current_entry(db, session.name, entry)
    if current is None:
        return
    span = Window(current.position, current.until)
    audit.note_window(db, session.name, entry.partition, Finding(span, audit.LOST), now)
    watermarks.finish_entry(db, session.name, entry, now)
    session.report.lost.append(f"{entry.partition} {span}")


async def _copy_entry(session: Session, lease: Lease, entry: LedgerEntry) -> None:
    start, horizon = entry.position, session.certain_horizon()
    if start < session.certain_horizon(margin=timedelta(0)):
        start = min(horizon, entry.until)
        if entry.kind == "initial":
            await note_lost(session, lease, Window(entry.position, start), is_live=False)

    def move(db: Database, covered: datetime) -> None:
        watermarks.advance_entry(db, session.name, entry, covered)

    def finish(db: Database, now: datetime) -> None:
        watermarks.finish_entry(db, session.name, entry, now)
        # An earlier run may have skipped what was deleted by then; nothing after today's horizon was.
        whole_from = entry.since if start == entry.since else max(entry.since, min(start, horizon))
        watermarks.extend(db, session.name, entry.partition, Window(whole_from, entry.until))

    if start < entry.until:
        await read_span(session, lease, Window(start, entry.until), move)
    await session.commit(lease, finish)


async def read_again(session: Session, partition: str, window: Window) -> bool:
    """Read a window whatever was read before; False where another process is at its history."""
    async with session.lease(EXECUTIONS, partition, "history") as lease:
        if lease is None:
            return False
        await read_span(session, lease, window, stay, counted=True)
        return True


async def read_disputed(session: Session, debt: Debt) -> bool:
    """Read a window again of which the source told more than it listed; False where another process is at it."""
    start = max(debt.window.start, session.horizon_start())
    if start >= debt.window.end:
        await session.writer.run(lambda db: audit.write_off(db, debt))
        session.report.lost.append(f"{debt.partition} {debt.window}")
        return True
    await session.writer.run(lambda db: audit.note_reading(db, debt, session.writer.now()))
    return await read_again(session, debt.partition, Window(start, debt.window.end))


async def note_lost(session: Session, lease: Lease, span: Window, *, is_live: bool = True) -> None:
    """List a span that the source deleted before it was copied."""

    def write(db: Database, now: datetime) -> None:
        partition = lease.key.partition
        audit.note_window(db, session.name, partition, Finding(span, audit.LOST), now)
        if is_live:
            watermarks.restart(db, session.name, partition, span.end)

    await session.commit(lease, write)
    session.report.lost.append(f"{lease.key.partition} {span}")
    session.log.warning("lost", partition=lease.key.partition, window=str(span))
