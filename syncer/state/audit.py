"""Windows whose reading does not agree with what the source told, and spans that were lost.

What goes on from pass to pass is one row: a finding that meets an open one of its kind joins it. The newest window of
a partition slides, and so does what is found of it, unless something may be missing: that is a debt, and is read again
until it is proved.

Invariant: a finding stands until a reading proved its window (of a window that slides and misses nothing, its newest
part), and a lost span ever after. Functions never commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, and_, delete, select, text, update
from sqlalchemy.dialects.postgresql import insert

from syncer.model import Window
from syncer.schema import window_audit
from syncer.state.watermarks import EXECUTIONS, watermark

LOST = "lost"
"""The verdict on a span that the source deleted before it was copied."""

DISPUTED = "disputed"
"""The verdict on a window of which the source tells another total than it lists."""

DIFFERS = "differs"
"""The verdict on a window of which the warehouse holds something else than the source lists."""


class Finding(Struct, frozen=True):
    """A window and what was found of it: the total told and the distinct ids read, where known."""

    window: Window
    verdict: str
    told: int | None = None
    read: int | None = None

    @property
    def is_debt(self) -> bool:
        """Whether something may be missing here: the source told of more than it listed."""
        return self.verdict == DISPUTED and (self.told or 0) > (self.read or 0)


class Debt(Struct, frozen=True):
    """A finding that is to be read again."""

    audit_id: int
    partition: str
    window: Window


class _Noted(Struct, frozen=True):
    """A finding that is open."""

    audit_id: int
    finding: Finding


def note_window(db: Connection, connection_id: str, partition: str, finding: Finding, now: datetime) -> bool:
    """Record a finding, in the transaction that moves the watermark and before that; returns whether it is news."""
    mark = watermark(db, connection_id, partition).watermark_at
    joined = [
        each
        for each in _open(db, connection_id, partition)
        if each.finding.verdict == finding.verdict and _goes_on(each.finding.window, finding, mark)
    ]
    values = {
        "told_total": finding.told,
        "read_ids": finding.read,
        "last_seen_at": now,
        **_bounds(_joint([each.finding for each in joined], finding.window, mark)),
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
    noted = [each for each in _open(db, connection_id, partition) if each.finding.verdict != LOST]
    mark = watermark(db, connection_id, partition).watermark_at if noted else None
    closed = 0
    for each in noted:
        rest = _rest(each.finding, proved, mark)
        values = {"resolved_at": now} if rest is None else _bounds(rest)
        if rest != each.finding.window:
            db.execute(update(window_audit).where(window_audit.c.audit_id == each.audit_id).values(**values))
        closed += rest is None
    return closed


def debts(db: Connection, connection_id: str, before: datetime) -> list[Debt]:
    """Windows in which something may be missing and that were due to be read again before the instant.

    The first time at once, then after as long as it has lasted by then: a source may lie for ever.
    """
    rows = db.execute(
        text(
            """SELECT audit_id, partition, window_start, window_end FROM syncer.window_audit
            WHERE connection_id = :connection AND resolved_at IS NULL AND verdict = :disputed
              AND told_total > read_ids
              AND coalesce(read_again_at + (read_again_at - first_seen_at), first_seen_at) <= :before
            ORDER BY window_start, audit_id"""
        ),
        {"connection": connection_id, "disputed": DISPUTED, "before": before},
    )
    return [Debt(audit_id, partition, Window(start, end)) for audit_id, partition, start, end in rows]


def note_reading(db: Connection, debt: Debt, now: datetime) -> None:
    """Note that a window is read again."""
    db.execute(update(window_audit).where(window_audit.c.audit_id == debt.audit_id).values(read_again_at=now))


def write_off(db: Connection, debt: Debt) -> None:
    """Call lost what is no longer served."""
    db.execute(update(window_audit).where(window_audit.c.audit_id == debt.audit_id).values(verdict=LOST))


def _open(db: Connection, connection_id: str, partition: str) -> list[_Noted]:
    table = window_audit.c
    rows = db.execute(
        select(
            table.audit_id,
            table.verdict,
            table.window_start,
            table.window_end,
            table.told_total,
            table.read_ids,
        )
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
    return [
        _Noted(audit_id, Finding(Window(start, end), verdict, told, read))
        for audit_id, verdict, start, end, told, read in rows
    ]


def _goes_on(old: Window, finding: Finding, mark: datetime | None) -> bool:
    """Whether a finding is what was noted of an old window.

    What ends at the watermark was found of the newest window, and goes on in the next one. That one joins nothing
    else it does not hold, lest a span of long ago grew with every pass.
    """
    new = finding.window
    if finding.verdict == LOST:
        return old.start == new.start
    if not (old.start <= new.end and new.start <= old.end):
        return False
    is_newest = mark is not None and new.start < mark <= new.end
    return _holds(new, old) or _holds(old, new) or (old.end == mark) or not is_newest


def _joint(joined: Sequence[Finding], new: Window, mark: datetime | None) -> Window:
    """The window of findings that are one: the new one alone where it slid on, else all of them."""
    slid = any(_slides(each, new, mark) for each in joined)
    if slid and not any(each.is_debt for each in joined):
        return new
    windows = [new, *(each.window for each in joined)]
    return Window(min(each.start for each in windows), max(each.end for each in windows))


def _rest(finding: Finding, proved: Window, mark: datetime | None) -> Window | None:
    """What of a finding's window stands after a reading was proved."""
    window = finding.window
    if _holds(proved, window) or (_slides(finding, proved, mark) and not finding.is_debt):
        return None
    if proved.start <= window.start < proved.end:
        return Window(proved.end, window.end)
    if proved.start < window.end <= proved.end:
        return Window(window.start, proved.start)
    return window


def _slides(finding: Finding, following: Window, mark: datetime | None) -> bool:
    """Whether a finding was of the newest window, and the following one goes on where that ended."""
    end = finding.window.end
    return end == mark and following.start < end <= following.end


def _holds(outer: Window, inner: Window) -> bool:
    return outer.start <= inner.start and inner.end <= outer.end


def _bounds(window: Window) -> dict[str, datetime]:
    return {"window_start": window.start, "window_end": window.end}
