"""Retention: a connection's old history deleted, oldest first, a bounded transaction at a time.

Payloads go first over the whole span, because they are what takes the room; then executions with their steps. It may
be stopped or killed anywhere, and run again.

Invariant: what is deleted was created before the instant given. It must not know why that instant was chosen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from msgspec import Struct, field
from sqlalchemy import Connection as Database

from syncer.load import purge as rows
from syncer.load.purge import Place
from syncer.writer import Writer

BUNDLE = 1000
"""Executions whose rows are deleted in one transaction."""

Delete = Callable[[Database, Sequence[str]], Counter[str]]


class Purged(Struct, kw_only=True):
    """What was deleted of a connection, rows by table, and how many open executions were kept."""

    connection_id: str
    counts: Counter[str] = field(default_factory=Counter)
    kept_open: int = 0


async def would_purge(writer: Writer, connection_id: str, before: datetime, *, payloads_only: bool) -> Purged:
    """Count what `purge` would delete."""
    counts = await writer.run(lambda db: rows.count_old(db, connection_id, before))
    if payloads_only:
        counts = Counter(step_io=counts["step_io"])
    kept = await writer.run(lambda db: rows.count_open(db, connection_id, before))
    return Purged(connection_id=connection_id, counts=counts, kept_open=kept)


async def purge(writer: Writer, done: Purged, before: datetime, *, payloads_only: bool) -> None:
    """Delete what is old, adding to `done` with each transaction."""
    name = done.connection_id
    done.kept_open = await writer.run(lambda db: rows.count_open(db, name, before))
    if not payloads_only:
        await writer.run(lambda db: rows.shorten_spans(db, name, before))

    def payloads(db: Database, ids: Sequence[str]) -> Counter[str]:
        return Counter(step_io=rows.delete_payloads(db, name, ids))

    def executions(db: Database, ids: Sequence[str]) -> Counter[str]:
        return rows.delete_executions(db, name, ids, writer.now())

    for delete in (payloads,) if payloads_only else (payloads, executions):
        place: Place | None = None
        while True:
            counts, place = await writer.run(partial(_bundle, name, before, place, delete))
            done.counts.update(counts)
            if place is None:
                break


def _bundle(
    connection_id: str, before: datetime, after: Place | None, delete: Delete, db: Database
) -> tuple[Counter[str], Place | None]:
    """Delete from the next executions; returns rows by table and how far that came, None at the end."""
    places = rows.old_executions(db, connection_id, before, after, BUNDLE)
    if not places:
        return Counter(), None
    return delete(db, [place.execution_id for place in places]), places[-1]
