"""How far each partition is copied, and the ledger of history.

A watermark is the end of what has been read completely and proved; it never goes back by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, and_, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from syncer.model import Window
from syncer.schema import backfill_windows, watermarks

EXECUTIONS = "executions"
WORKFLOWS = "workflows"
OPEN = "open"
CHANGED = "changed"
LEFT_OUT = "left out"
"""Streams with a row per partition; that of OPEN says when its open executions were last looked at, that of CHANGED
how far its list by last change was read, that of LEFT_OUT of which workflows executions were seen and not wanted."""


class Watermark(Struct, frozen=True):
    """What is known about a partition from earlier passes."""

    watermark_at: datetime | None = None
    complete_from: datetime | None = None
    hint: str | None = None
    swept_at: datetime | None = None
    last_success_at: datetime | None = None
    asked_at: datetime | None = None


_COLUMNS = tuple(watermarks.c[name] for name in Watermark.__struct_fields__)


def watermark(db: Connection, connection_id: str, partition: str, stream: str = EXECUTIONS) -> Watermark:
    """The partition's watermark, empty before its first pass."""
    row = db.execute(select(*_COLUMNS).where(_is(connection_id, stream, partition))).first()
    return Watermark(*row) if row else Watermark()


def of_all(db: Connection, connection_id: str) -> dict[str, Watermark]:
    """The watermarks of all partitions that have one."""
    rows = db.execute(
        select(watermarks.c.partition, *_COLUMNS).where(
            watermarks.c.connection_id == connection_id, watermarks.c.stream == EXECUTIONS
        )
    )
    return {partition: Watermark(*row) for partition, *row in rows}


def advance(
    db: Connection,
    connection_id: str,
    partition: str,
    *,
    start: datetime,
    covered: datetime,
    lookback_from: datetime,
    asked_at: datetime,
) -> None:
    """Move the watermark to the end of what has been proved; it starts a span where there was none.

    `asked_at` is when the window's end was the source's now.
    """
    statement = insert(watermarks).values(
        connection_id=connection_id,
        stream=EXECUTIONS,
        partition=partition,
        watermark_at=covered,
        complete_from=start,
        lookback_from=lookback_from,
        asked_at=asked_at,
    )
    excluded = statement.excluded
    db.execute(
        statement.on_conflict_do_update(
            index_elements=list(watermarks.primary_key.columns),
            set_={
                "watermark_at": func.greatest(watermarks.c.watermark_at, excluded.watermark_at),
                "lookback_from": func.greatest(watermarks.c.lookback_from, excluded.lookback_from),
                "complete_from": func.coalesce(watermarks.c.complete_from, excluded.complete_from),
                "asked_at": excluded.asked_at,
            },
        )
    )


def restart(db: Connection, connection_id: str, partition: str, complete_from: datetime) -> None:
    """Begin the unbroken span anew after a part was lost at the source."""
    db.execute(
        update(watermarks)
        .where(_is(connection_id, EXECUTIONS, partition))
        .values(
            complete_from=complete_from, watermark_at=func.greatest(watermarks.c.watermark_at, complete_from)
        )
    )


def extend(db: Connection, connection_id: str, partition: str, span: Window) -> None:
    """Let the unbroken span begin earlier where a finished piece of history joins it."""
    db.execute(
        update(watermarks)
        .where(
            _is(connection_id, EXECUTIONS, partition),
            watermarks.c.complete_from > span.start,
            watermarks.c.complete_from <= span.end,
        )
        .values(complete_from=span.start)
    )


def note_success(
    db: Connection, connection_id: str, stream: str, partition: str, *, now: datetime, hint: str | None = None
) -> None:
    """Note that a pass over the partition was completed, and the sign of change it began with."""
    _put(
        db,
        connection_id,
        stream,
        partition,
        {"hint": hint, "swept_at": now, "last_success_at": now, "last_error": None, "last_error_at": None},
    )


def note_sweep(db: Connection, connection_id: str, partition: str, at: datetime) -> None:
    """Note that the partition's open executions were looked at, by the source's clock."""
    _put(db, connection_id, OPEN, partition, {"swept_at": at})


def note_changes(db: Connection, connection_id: str, partition: str, newest: str, at: datetime) -> None:
    """Note that the list by last change was read, by the source's clock, and what stood first in it."""
    _put(db, connection_id, CHANGED, partition, {"swept_at": at, "hint": newest})


def left_out(db: Connection, connection_id: str, partition: str) -> set[str]:
    """Workflows of which executions were seen in the partition and not copied, for nobody wanted them."""
    told = watermark(db, connection_id, partition, LEFT_OUT).hint
    return set(msgspec.json.decode(told, type=list[str])) if told else set()


def leave_out(db: Connection, connection_id: str, partition: str, workflow_ids: Collection[str]) -> None:
    """Add workflows of which the partition's copy lacks executions; several lanes may do so at once."""
    db.execute(text(_LEAVE_OUT), _told(connection_id, partition, workflow_ids))


def take_in(db: Connection, connection_id: str, partition: str, workflow_ids: Collection[str]) -> None:
    """Forget that executions of these workflows were left out."""
    db.execute(text(_TAKE_IN), _told(connection_id, partition, workflow_ids))


def _told(connection_id: str, partition: str, workflow_ids: Collection[str]) -> dict[str, str]:
    ids = msgspec.json.encode(sorted(workflow_ids)).decode()
    return {"connection": connection_id, "stream": LEFT_OUT, "partition": partition, "ids": ids}


_LEAVE_OUT = """
INSERT INTO syncer.watermarks AS w (connection_id, stream, partition, hint)
VALUES (:connection, :stream, :partition, :ids)
ON CONFLICT (connection_id, stream, partition) DO UPDATE SET hint = (
    SELECT jsonb_agg(id ORDER BY id)::text FROM (
        SELECT jsonb_array_elements_text(w.hint::jsonb) AS id
        UNION SELECT jsonb_array_elements_text(excluded.hint::jsonb)
    ) ids
) WHERE NOT w.hint::jsonb @> excluded.hint::jsonb
"""
_TAKE_IN = """
UPDATE syncer.watermarks SET hint = (
    SELECT coalesce(jsonb_agg(id ORDER BY id), '[]')::text FROM jsonb_array_elements_text(hint::jsonb) AS id
    WHERE NOT CAST(:ids AS jsonb) @> to_jsonb(id)
) WHERE connection_id = :connection AND stream = :stream AND partition = :partition
"""


def note_error(
    db: Connection, connection_id: str, stream: str, partition: str, *, now: datetime, error: str
) -> None:
    """Note what went wrong with the partition."""
    _put(db, connection_id, stream, partition, {"last_error": error, "last_error_at": now})


def _put(db: Connection, connection_id: str, stream: str, partition: str, values: dict[str, object]) -> None:
    db.execute(
        insert(watermarks)
        .values(connection_id=connection_id, stream=stream, partition=partition, **values)
        .on_conflict_do_update(index_elements=list(watermarks.primary_key.columns), set_=values)
    )


class LedgerEntry(Struct, frozen=True):
    """A span of history, [since, until), and how far it has been copied."""

    partition: str
    since: datetime
    until: datetime
    position: datetime
    kind: str


_ENTRY = (
    backfill_windows.c.partition,
    backfill_windows.c.since,
    backfill_windows.c.until,
    backfill_windows.c.position,
    backfill_windows.c.kind,
)


def current_entry(db: Connection, connection_id: str, entry: LedgerEntry) -> LedgerEntry | None:
    """The entry as it stands now; None where it is finished."""
    row = db.execute(
        select(*_ENTRY).where(_is_entry(connection_id, entry), backfill_windows.c.state == "open")
    ).first()
    return LedgerEntry(*row) if row else None


def open_entries(db: Connection, connection_id: str, kind: str) -> list[LedgerEntry]:
    """Spans of history that are not finished, oldest first."""
    rows = db.execute(
        select(*_ENTRY)
        .where(
            backfill_windows.c.connection_id == connection_id,
            backfill_windows.c.kind == kind,
            backfill_windows.c.state == "open",
        )
        .order_by(backfill_windows.c.position, backfill_windows.c.partition)
    )
    return [LedgerEntry(*row) for row in rows]


def add_entry(
    db: Connection, connection_id: str, partition: str, span: Window, kind: str, now: datetime
) -> None:
    """Put a span into the ledger; an unfinished one of the same span goes on, a finished one begins anew."""
    statement = insert(backfill_windows).values(
        connection_id=connection_id,
        stream=EXECUTIONS,
        partition=partition,
        since=span.start,
        until=span.end,
        kind=kind,
        position=span.start,
        state="open",
        created_at=now,
    )
    db.execute(
        statement.on_conflict_do_update(
            index_elements=list(backfill_windows.primary_key.columns),
            set_={"position": span.start, "state": "open", "finished_at": None},
            where=backfill_windows.c.state == "done",
        )
    )


def open_history(db: Connection, connection_id: str, partition: str, span: Window, now: datetime) -> None:
    """Put what lies before the first live window into the ledger.

    Where an earlier first pass died after it did so, its entry goes on and ends where the live window begins now, or
    where it ended before: the source's clock is known to a second, and what is copied stays copied.
    """
    grown = db.execute(
        update(backfill_windows)
        .where(
            backfill_windows.c.connection_id == connection_id,
            backfill_windows.c.partition == partition,
            backfill_windows.c.kind == "initial",
        )
        .values(until=func.greatest(backfill_windows.c.until, span.end), state="open", finished_at=None)
    )
    if not grown.rowcount:
        add_entry(db, connection_id, partition, span, "initial", now)


def prolong_entries(db: Connection, connection_id: str, partitions: Sequence[str], span: Window) -> None:
    """Let the longest unfinished span with the same start end later: an open-ended backfill goes on where it was."""
    same_start = and_(
        backfill_windows.c.connection_id == connection_id,
        backfill_windows.c.since == span.start,
        backfill_windows.c.until <= span.end,
    )
    rows = db.execute(
        select(backfill_windows.c.partition, func.max(backfill_windows.c.until))
        .where(same_start, backfill_windows.c.partition.in_(partitions))
        .group_by(backfill_windows.c.partition)
        .order_by(backfill_windows.c.partition)
    )
    for partition, until in rows.all():
        db.execute(
            update(backfill_windows)
            .where(
                same_start,
                backfill_windows.c.partition == partition,
                backfill_windows.c.until == until,
                backfill_windows.c.kind == "backfill",
                backfill_windows.c.state == "open",
            )
            .values(until=span.end)
        )


def advance_entry(db: Connection, connection_id: str, entry: LedgerEntry, position: datetime) -> None:
    """Move a span's position to the end of what has been proved."""
    db.execute(
        update(backfill_windows)
        .where(_is_entry(connection_id, entry))
        .values(position=func.greatest(backfill_windows.c.position, position))
    )


def finish_entry(db: Connection, connection_id: str, entry: LedgerEntry, now: datetime) -> None:
    """Close a span that is copied and proved."""
    db.execute(
        update(backfill_windows)
        .where(_is_entry(connection_id, entry))
        .values(position=entry.until, state="done", finished_at=now)
    )


def _is(connection_id: str, stream: str, partition: str) -> ColumnElement[bool]:
    return and_(
        watermarks.c.connection_id == connection_id,
        watermarks.c.stream == stream,
        watermarks.c.partition == partition,
    )


def _is_entry(connection_id: str, entry: LedgerEntry) -> ColumnElement[bool]:
    return and_(
        backfill_windows.c.connection_id == connection_id,
        backfill_windows.c.partition == entry.partition,
        backfill_windows.c.since == entry.since,
        backfill_windows.c.until == entry.until,
    )
