"""The to-do list of steps, which is a state of executions: what is due, what is put off, what is wanted no more.

Steps that land strike their execution from the list themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from syncer.load.rows import driver
from syncer.model import ExecutionRef

PUT_ASIDE_AFTER = 3
"""Failed attempts to read an execution's steps before it is put aside as `failed`."""

LONGER = "(4 ^ least(_steps_tries, 6))"
"""How many times the first pause goes by before steps are asked for again: it grows fourfold with each time."""

_STRIKE = (
    "UPDATE history.executions SET steps_state = %(state)s, synced_at = %(now)s,"
    " settled_at = CASE WHEN _final_at IS NOT NULL THEN coalesce(settled_at, %(now)s) END"
    " WHERE connection_id = %(connection)s"
)


def mark_failed(
    db: Connection, connection_id: str, execution_id: str, *, retry_after: timedelta, now: datetime
) -> None:
    """Count a failed attempt to read an execution's steps; it is tried again ever more rarely."""
    driver(db).execute(
        "UPDATE history.executions SET _steps_tries = _steps_tries + 1, synced_at = %(now)s,"
        f" _steps_retry_at = %(now)s + %(pause)s::interval * {LONGER},"
        " steps_state = CASE WHEN _steps_tries + 1 >= %(limit)s THEN 'failed' ELSE steps_state END"
        " WHERE connection_id = %(connection)s AND execution_id = %(id)s",
        {
            "now": now,
            "pause": retry_after,
            "limit": PUT_ASIDE_AFTER,
            "connection": connection_id,
            "id": execution_id,
        },
    )


def turn_off_steps(db: Connection, connection_id: str, now: datetime) -> None:
    """Strike all executions from the to-do list: their steps are not wanted any more."""
    driver(db).execute(
        f"{_STRIKE} AND steps_state IN ('due', 'failed')",
        {"state": "off", "now": now, "connection": connection_id},
    )


def mark_gone(db: Connection, connection_id: str, ids: Sequence[str], now: datetime) -> None:
    """Strike executions whose steps the source no longer has."""
    if not ids:
        return
    driver(db).execute(
        f"{_STRIKE} AND execution_id = ANY(%(ids)s)",
        {"state": "gone", "now": now, "connection": connection_id, "ids": sorted(ids)},
    )


def due_steps(
    db: Connection,
    connection_id: str,
    *,
    running: bool,
    limit: int,
    partitions: Sequence[str] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[ExecutionRef]:
    """Executions whose steps are to be read, oldest first: those that have ended, or those that still run."""
    rows = driver(db).execute(
        """SELECT execution_id, workflow_id, _partition, created_at, _ended_at IS NOT NULL,
          _ended_at
        FROM history.executions
        WHERE connection_id = %(connection)s AND steps_state IN ('due', 'failed') AND missing_since IS NULL
          AND (_ended_at IS NULL) = %(running)s
          AND (_steps_retry_at IS NULL OR _steps_retry_at <= clock_timestamp())
          AND (%(partitions)s::text[] IS NULL OR _partition = ANY(%(partitions)s))
          AND (%(since)s::timestamptz IS NULL OR created_at >= %(since)s)
          AND (%(until)s::timestamptz IS NULL OR created_at < %(until)s)
        ORDER BY created_at, execution_id LIMIT %(limit)s""",
        {
            "connection": connection_id,
            "running": running,
            "partitions": None if partitions is None else list(partitions),
            "since": since,
            "until": until,
            "limit": limit,
        },
    )
    names = ("execution_id", "workflow_id", "partition", "created_at", "has_ended", "ended_at")
    return [ExecutionRef(**dict(zip(names, row, strict=True))) for row in rows]
