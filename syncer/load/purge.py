"""Deleting what its owner no longer wants to keep: the only place that takes rows of executions out of `history`.

Invariant: an execution goes last, in the transaction that takes its steps, so that nothing is left without it; and only
when it is settled or missing, so that nothing is deleted that a source may still change. Functions never commit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection

from syncer.load.rows import driver

_OLD = """
e.connection_id = %(connection)s AND e.created_at < %(before)s
  AND (e.created_at AT TIME ZONE 'UTC')::date <= (%(before)s::timestamptz AT TIME ZONE 'UTC')::date
"""
_DONE = "(e.settled_at IS NOT NULL OR e.missing_since IS NOT NULL)"


class Place(Struct, frozen=True):
    """How far a walk over old executions has come, oldest first."""

    created_at: datetime
    execution_id: str


def old_executions(
    db: Connection, connection_id: str, before: datetime, after: Place | None, limit: int
) -> list[Place]:
    """The oldest settled or missing executions created before an instant, behind a place; locked until the end."""
    values = {
        "connection": connection_id,
        "before": before,
        "after_at": after.created_at if after else "-infinity",
        "after_id": after.execution_id if after else "",
        "limit": limit,
    }
    rows = driver(db).execute(
        f"""SELECT e.created_at, e.execution_id FROM history.executions e WHERE {_OLD} AND {_DONE}
          AND (e.created_at AT TIME ZONE 'UTC')::date >= (%(after_at)s::timestamptz AT TIME ZONE 'UTC')::date
          AND (e.created_at, e.execution_id) > (%(after_at)s::timestamptz, %(after_id)s)
        ORDER BY (e.created_at AT TIME ZONE 'UTC')::date, e.created_at, e.execution_id
        LIMIT %(limit)s FOR UPDATE""",
        values,
    )
    return [Place(*row) for row in rows]


def count_open(db: Connection, connection_id: str, before: datetime) -> int:
    """Old executions that are neither settled nor missing: they stay."""
    return _count(db, f"history.executions e WHERE {_OLD} AND NOT {_DONE}", connection_id, before)


def count_old(db: Connection, connection_id: str, before: datetime) -> Counter[str]:
    """Rows by table that would go."""
    old = f"WHERE {_OLD} AND {_DONE}"
    counts = Counter(executions=_count(db, f"history.executions e {old}", connection_id, before))
    for table in ("step_events", "steps", "step_io"):
        rows = f"history.{table} r JOIN history.executions e USING (connection_id, execution_id)"
        counts[table] = _count(db, f"{rows} {old}", connection_id, before)
    return counts


def _count(db: Connection, rows: str, connection_id: str, before: datetime) -> int:
    values = {"connection": connection_id, "before": before}
    row = driver(db).execute(f"SELECT count(*) FROM {rows}", values).fetchone()
    return int(row[0]) if row else 0


def delete_payloads(db: Connection, connection_id: str, ids: Sequence[str]) -> int:
    """Delete inputs and outputs of these executions; returns how many rows."""
    return _delete(db, "history.step_io", connection_id, ids)


def delete_executions(db: Connection, connection_id: str, ids: Sequence[str], now: datetime) -> Counter[str]:
    """Delete these executions with all that hangs on them; returns rows by table."""
    counts: Counter[str] = Counter()
    for table in ("step_io", "steps", "step_events", "executions"):
        counts[table] = _delete(db, f"history.{table}", connection_id, ids)
    driver(db).execute(
        "UPDATE syncer.quarantine SET resolved_at = %s WHERE connection_id = %s AND stream = 'steps'"
        " AND partition = ANY(%s) AND resolved_at IS NULL",
        (now, connection_id, list(ids)),
    )
    return counts


def _delete(db: Connection, table: str, connection_id: str, ids: Sequence[str]) -> int:
    cursor: Any = driver(db).execute(
        f"DELETE FROM {table} WHERE connection_id = %s AND execution_id = ANY(%s)", (connection_id, list(ids))
    )
    return int(cursor.rowcount)


def shorten_spans(db: Connection, connection_id: str, before: datetime) -> None:
    """Let no partition claim to be complete where rows are about to go."""
    driver(db).execute(
        "UPDATE syncer.watermarks SET complete_from = least(%(before)s, watermark_at)"
        " WHERE connection_id = %(connection)s AND stream = 'executions'"
        " AND complete_from < least(%(before)s, watermark_at)",
        {"before": before, "connection": connection_id},
    )


def stored_connections(db: Connection) -> list[str]:
    """All that have history here, configured or not."""
    rows = driver(db).execute("SELECT connection_id FROM history.connections ORDER BY 1")
    return [name for (name,) in rows]
