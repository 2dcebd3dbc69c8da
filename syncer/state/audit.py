"""Windows whose reading does not agree with what the source told, and spans that were lost.

Invariant: a finding stands until a reading proved its window, and a lost span ever after. Functions never commit.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, and_, update
from sqlalchemy.dialects.postgresql import insert

from syncer.model import Window
from syncer.schema import window_audit
from syncer.state.watermarks import EXECUTIONS


DIFFERS = "differs"
"""The verdict on a window of which the warehouse holds something else than the source lists."""


class Finding(Struct, frozen=True):
    """A window that is disputed, unproved or lost: the total told and the distinct ids read, where known."""

    window: Window
    verdict: str
    told: int | None = None
    read: int | None = None


def note_window(db: Connection, connection_id: str, partition: str, finding: Finding, now: datetime) -> None:
    """Record a window that is disputed, unproved or lost; the same one again only moves last_seen_at."""
    same = and_(
        window_audit.c.connection_id == connection_id,
        window_audit.c.partition == partition,
        window_audit.c.window_start == finding.window.start,
        window_audit.c.verdict == finding.verdict,
        window_audit.c.resolved_at.is_(None),
    )
    values = {
        "told_total": finding.told,
        "read_ids": finding.read,
        "window_end": finding.window.end,
        "last_seen_at": now,
    }
    if db.execute(update(window_audit).where(same).values(**values)).rowcount:
        return
    db.execute(
        insert(window_audit).values(
            connection_id=connection_id,
            stream=EXECUTIONS,
            partition=partition,
            window_start=finding.window.start,
            verdict=finding.verdict,
            first_seen_at=now,
            **values,
        )
    )


def resolve_windows(
    db: Connection, connection_id: str, partition: str, proved: Window, now: datetime
) -> None:
    """Close what a proved reading covers whole; lost spans stay."""
    db.execute(
        update(window_audit)
        .where(
            window_audit.c.connection_id == connection_id,
            window_audit.c.partition == partition,
            window_audit.c.resolved_at.is_(None),
            window_audit.c.verdict != "lost",
            window_audit.c.window_start >= proved.start,
            window_audit.c.window_end <= proved.end,
        )
        .values(resolved_at=now)
    )
