"""Executions by their last change: what a window of creation times cannot show without being read whole.

A source may let an execution of any age run again. Where it lists by last change, that list is read from its newest
entry down to what had ended and stood first when it was read before: below that nothing has changed since. What runs
says nothing: it may move up with its steps and look as it did. The first time there is nothing to go down to, and the
rest of the list is history's, which is read later than this.

Invariant: what stood first is kept only when everything above the former one has been committed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from itertools import count

from syncer.budget import Purpose
from syncer.http import doing
from syncer.model import Execution
from syncer.paging import Portion
from syncer.state import watermarks
from syncer.state.leases import Lease
from syncer.sync.landing import Seen, land, stay
from syncer.sync.session import Session

AT_LEAST_EVERY = timedelta(hours=1)
"""However rarely sweeps are made."""

KEPT = 20
"""Entries that are kept: any that has not changed again is found where it was left."""

NOTHING = "-"
"""Kept where nothing has ended yet: no entry is like it, so the list is read to its end the next time."""


async def sync_changed(session: Session, partition: str, seen: Seen, every: timedelta | None = None) -> bool:
    """Read what changed in one partition since it was read last; False where another process is at it.

    Polled `every` so often, it is read with each sweep, and once an hour at least.
    """
    async with session.lease(watermarks.EXECUTIONS, partition, "open") as lease:
        if lease is not None:
            mark = await session.writer.run(
                lambda db: watermarks.watermark(db, session.name, partition, watermarks.CHANGED)
            )
            if every is None or not _is_fresh(session, mark.swept_at):
                with doing(Purpose.OPEN):
                    await _read_down(session, lease, set(mark.hint.split("\n")) if mark.hint else None, seen)
        return lease is not None


def _is_fresh(session: Session, swept_at: datetime | None) -> bool:
    now = session.source_now()
    return swept_at is not None and now - min(session.connection.sweep, AT_LEAST_EVERY) < swept_at <= now


async def _read_down(session: Session, lease: Lease, former: set[str] | None, seen: Seen) -> None:
    """Read page after page until one holds an entry that stood among the first before, or the first time any."""
    partition, began = lease.key.partition, session.asked()
    newest: list[str] = []
    for number in count(1):
        asked = session.asked()
        page = await session.source.list_changed(partition, number)
        portion = Portion(rows=page.rows, rejects=page.rejects, asked=asked)
        loaded, _ = await session.commit(lease, partial(land, session, partition, portion, began, stay))
        seen.ids |= loaded.open_ids
        session.report.quarantined += len(page.rejects) + len(loaded.refused)
        ended = [_entry(session, row) for row in page.rows if row.has_ended]
        newest += ended
        if page.size == 0 or (ended if former is None else former.intersection(ended)):
            break
    kept = "\n".join(newest[:KEPT]) or NOTHING
    await session.commit(
        lease,
        lambda db, _now: watermarks.note_changes(db, session.name, partition, kept, began.source_at),
    )


def _entry(session: Session, row: Execution) -> str:
    """An execution as it stands in the list: another one once anything about it has changed."""
    row_hash: bytes = session.encoder.execution(row)["_row_hash"]
    return f"{row_hash.hex()} {row.execution_id!r}"
