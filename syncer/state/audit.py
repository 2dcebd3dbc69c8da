"""Windows whose reading does not agree with what the source told, and spans that were lost.

What goes on from pass to pass is one row: a finding that meets an open one of its kind joins it. The newest window of
a partition slides, and so does what is found of it.

Invariant: a finding stands until a reading proved its window (of a window that slides, its newest part), and a lost
span ever after. Functions never commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, and_, delete, select, update
from sqlalchemy.dialects.postgresql import insert

from syncer.model import Window
from syncer.schema import window_audit
from syncer.state.watermarks import EXECUTIONS, watermark

LOST = "lost"
"""The verdict on a span that the source deleted before it was copied."""

DIFFERS = "differs"
"""The verdict on a window of which the warehouse holds something else than the source lists."""


class Finding(Struct, frozen=True):
    """A window and what was found of it: the total told and the distinct ids read, where known."""

    window: Window
    verdict: str
    told: int | None = None
    read: int | None = None


class _Noted(Struct, frozen=True):
    """A finding that is open."""

    audit_id: int
    verdict: str
    window: Window


def note_window(db: Connection, connection_id: str, partition: str, finding: Finding, now: datetime) -> bool:
    """Record a finding, in the transaction that moves the watermark and before that; returns whether it is news."""
    mark = watermark(db, connection_id, partition).watermark_at
    noted = [each for each in _open(db, connection_id, partition) if each.verdict == finding.verdict]
    joined = [each for each in noted if _goes_on(each, finding, mark)]
    values = {
        "told_total": finding.told,
        "read_ids": finding.read,
        "last_seen_at": now,
        **_bounds(_joint(joined, finding, mark)),
    }
    if not joined:
        own = {"connection_id": connection_id, "stream": EXECUTIONS, "partition": partition}
        first = {"verdict": finding.verdict, "first_seen_at": now}
        db.execute(insert(window_audit).values(**own, **first, **values))
        return True
    oldest, *others = (each.audit_id for each in joined)
    db.execute(update(window_audit).where(window_audit.c.audit_id == oldest).values(**values))
    db.execute(delete(window_audit).where(window_audit.c.audit_id.in_(others)))
    return False


def resolve_windows(db: Connection, connection_id: str, partition: str, proved: Window, now: datetime) -> int:
    """Close what a proved reading covers, and shorten what it covers in part; returns how many were closed.

    Like `note_window` it comes before the watermark moves. Lost spans stay.
    """
    noted = [each for each in _open(db, connection_id, partition) if each.verdict != LOST]
    mark = watermark(db, connection_id, partition).watermark_at if noted else None
    closed = 0
    for each in noted:
        rest = _rest(each.window, proved, mark)
        values = {"resolved_at": now} if rest is None else _bounds(rest)
        if rest != each.window:
            db.execute(update(window_audit).where(window_audit.c.audit_id == each.audit_id).values(**values))
        closed += rest is None
    return closed


def _open(db: Connection, connection_id: str, partition: str) -> list[_Noted]:
    table = window_audit.c
    rows = db.execute(
        select(table.audit_id, table.verdict, table.window_start, table.window_end)
        .where(
            and_(
                table.connection_id == connection_id,
                table.partition == partition,
                table.resolved_at.is_(None),
            )
        )
        .order_by(table.audit_id)
        .with_for_update()
    )
    return [_Noted(audit_id, verdict, Window(start, end)) for audit_id, verdict, start, end in rows]


def _goes_on(noted: _Noted, finding: Finding, mark: datetime | None) -> bool:
    """Whether a finding is what was noted before.

    What ends at the watermark was found of the newest window, and goes on in the next one. That one joins nothing
    else it does not hold, lest a span of long ago grew with every pass.
    """
    old, new = noted.window, finding.window
    if finding.verdict == LOST:
        return old.start == new.start
    if not (old.start <= new.end and new.start <= old.end):
        return False
    is_newest = mark is not None and new.start < mark <= new.end
    return _holds(new, old) or _holds(old, new) or (old.end == mark) or not is_newest


def _joint(joined: Sequence[_Noted], finding: Finding, mark: datetime | None) -> Window:
    """The window of findings that are one: the new one alone where it slid on, else all of them."""
    new = finding.window
    slid = any(each.window.end == mark and new.start < each.window.end <= new.end for each in joined)
    if slid:
        return new
    windows = [new, *(each.window for each in joined)]
    return Window(min(each.start for each in windows), max(each.end for each in windows))


def _rest(window: Window, proved: Window, mark: datetime | None) -> Window | None:
    """What of a finding's window stands after a reading was proved."""
    is_newest = window.end == mark and proved.start < window.end <= proved.end
    if is_newest or _holds(proved, window):
        return None
    if proved.start <= window.start < proved.end:
        return Window(proved.end, window.end)
    if proved.start < window.end <= proved.end:
        return Window(window.start, proved.start)
    return window


def _holds(outer: Window, inner: Window) -> bool:
    return outer.start <= inner.start and inner.end <= outer.end


def _bounds(window: Window) -> dict[str, datetime]:
    return {"window_start": window.start, "window_end": window.end}
