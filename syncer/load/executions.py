"""Rows of `history.executions`: which are new, which changed, which became final, which are missing.

An execution changes at the source after it was created, so every copy is compared with the stored one. The older of
two copies never overwrites the other, and a row that has not changed is not touched.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import psycopg
from msgspec import Struct
from psycopg import sql
from sqlalchemy import Connection

from syncer.encode import Columns, failure_reason
from syncer.load.rows import EXTRA, bisect, copy, distinct, driver, upsert
from syncer.model import ExecutionRef, Outcome, Window
from syncer.schema import executions

_GUARD = "CASE WHEN s.updated_at <> t.updated_at THEN s.updated_at > t.updated_at ELSE s._asked_at >= t._asked_at END"
"""Of two copies the one with the greater updated_at wins; equal or missing, the one asked for later."""

_ENDED_AT = sql.SQL(
    "CASE WHEN excluded._ended_at IS NULL THEN NULL "
    "WHEN excluded.ended_at IS NULL THEN coalesce(t._ended_at, excluded._ended_at) ELSE excluded._ended_at END"
)
"""An end the source does not date counts from the first read that said so."""

_NOT_COMPARED = frozenset(
    {"connection_id", "execution_id", "synced_at", "_row_hash", "_asked_at", "_ended_at", "_final_at", "settled_at",
     "steps_state", "missing_since", "missing_reason", "_steps_tries", "_steps_retry_at"}
)  # fmt: skip

_OPEN_STEP = """EXISTS (
    SELECT FROM history.steps s
    WHERE s.connection_id = e.connection_id AND s.execution_id = e.execution_id
      AND s.ended_at IS NULL AND s.outcome IN ('queued', 'running', 'unknown')
)"""


_UNLISTED = (
    "connection_id = %(connection)s AND _partition = %(partition)s AND missing_since IS NULL"
    " AND created_at >= %(start)s AND (created_at < %(end)s OR (%(end_belongs)s AND created_at = %(end)s))"
    " AND _asked_at < %(asked)s AND NOT execution_id = ANY(%(ids)s)"
)


class Reading(Struct, frozen=True, kw_only=True):
    """The circumstances under which a page was read and is written.

    `asked_at` and `now` are the database's clock, `source_at` a lower bound of the source's when it was asked.
    """

    connection_id: str
    partition: str
    asked_at: datetime
    source_at: datetime
    now: datetime
    settle: timedelta
    with_steps: bool

    def is_settling(self, ended_at: datetime | None) -> bool:
        """Whether a row read now was read at end + settle or later; an end may be the last day of the calendar."""
        return ended_at is not None and ended_at <= self.source_at - self.settle


class Loaded(Struct, kw_only=True):
    """What became of a page: the ids that are still open, the rows refused, how many are missing, and which may be."""

    open_ids: set[str] = set()
    refused: list[tuple[Columns, str]] = []
    missing: int = 0
    doubted: list[ExecutionRef] = []


class _Stored(Struct, frozen=True):
    row_hash: bytes
    outcome: str
    ended_at: datetime | None
    is_final: bool
    is_settled: bool
    is_missing: bool
    is_without_steps: bool


def load_executions(db: Connection, rows: Sequence[Columns], reading: Reading) -> Loaded:
    """Write what is new or changed, settle what may be, clear what reappeared."""
    latest = {row["execution_id"]: row for row in rows}
    stored = _stored(db, reading.connection_id, list(latest))
    loaded = Loaded()
    new = [_complete(row, reading) for key, row in latest.items() if key not in stored]
    seeming = [
        _complete(row, reading, stored[key])
        for key, row in latest.items()
        if key in stored and stored[key].row_hash != row["_row_hash"]
    ]
    written: set[str] = set()
    bisect(db, new, lambda part: _insert(db, part), lambda row, why: loaded.refused.append((row, why)))
    bisect(
        db,
        seeming,
        lambda part: written.update(_merge(db, part)),
        lambda row, why: loaded.refused.append((row, why)),
    )
    changed = [row for row in seeming if row["execution_id"] in written]
    same = [key for key in latest if key in stored and stored[key].row_hash == latest[key]["_row_hash"]]
    # Details may carry other fields than the list and say nothing new: such a copy makes final as well.
    idle = {row["execution_id"] for row in seeming if row["_ended_at"] is not None} - written
    idle -= {row["execution_id"] for row, _ in loaded.refused}
    _touch(db, reading, {key: stored[key] for key in (*same, *sorted(idle))})
    set_variables(db, reading, {key: latest[key]["variables"] for key in same if "variables" in latest[key]})
    loaded.open_ids = {row["execution_id"] for row in (*new, *changed) if row["settled_at"] is None}
    loaded.open_ids |= {key for key in same if not stored[key].is_settled}
    return loaded


def _stored(db: Connection, connection_id: str, ids: list[str]) -> dict[str, _Stored]:
    rows = driver(db).execute(
        "SELECT execution_id, _row_hash, outcome, _ended_at, _final_at IS NOT NULL, settled_at IS NOT NULL,"
        " missing_since IS NOT NULL, steps_state = 'off'"
        " FROM history.executions WHERE connection_id = %s AND execution_id = ANY(%s)",
        (connection_id, ids),
    )
    return {key: _Stored(*rest) for key, *rest in rows}


def _complete(row: Columns, reading: Reading, stored: _Stored | None = None) -> Columns:
    """Add the daemon's own columns; an answer that says nothing of outcome and end leaves them as stored."""
    ended_at = row.get("ended_at")
    if ended_at is None and row.get("outcome") in ("succeeded", "failed", "canceled"):
        ended_at = reading.source_at
    if stored and "outcome" not in row and "ended_at" not in row:
        ended_at = stored.ended_at
    is_final = reading.is_settling(ended_at)
    return {
        "outcome": stored.outcome if stored else "unknown",
        **row,
        "connection_id": reading.connection_id,
        "steps_state": "due" if reading.with_steps else "off",
        "settled_at": reading.now if is_final and not reading.with_steps else None,
        "missing_since": None,
        "missing_reason": None,
        "synced_at": reading.now,
        "_asked_at": reading.asked_at,
        "_partition": reading.partition,
        "_ended_at": ended_at,
        "_final_at": reading.now if is_final else None,
        "_steps_tries": 0,
        "_steps_retry_at": None,
    }


def _insert(db: Connection, rows: Sequence[Columns]) -> None:
    """COPY rows that seemed new; where one exists after all, merge them instead."""
    try:
        with db.begin_nested():
            copy(db, executions, rows)
    except psycopg.errors.UniqueViolation:
        _merge(db, rows)


def _merge(db: Connection, rows: Sequence[Columns]) -> set[str]:
    overrides = {"_ended_at": _ENDED_AT, "extra": EXTRA}
    return {str(key[1]) for key in upsert(db, executions, rows, changed=_is_newer, overrides=overrides)}


def _is_newer(columns: Sequence[str], new: str) -> sql.Composable:
    compared = [name for name in columns if name not in _NOT_COMPARED]
    return sql.SQL("{guard} AND ({distinct} OR t.missing_since IS NOT NULL)").format(
        guard=sql.SQL(_GUARD.replace("s.", f"{new}.")), distinct=distinct(compared, new)
    )


def _touch(db: Connection, reading: Reading, same: Mapping[str, _Stored]) -> None:
    final = [key for key, row in same.items() if not row.is_final and reading.is_settling(row.ended_at)]
    back = [key for key, row in same.items() if row.is_missing]
    bare = [key for key, row in same.items() if row.is_without_steps and reading.with_steps]
    if final:
        driver(db).execute(
            f"""UPDATE history.executions e SET
                _final_at = %(now)s, synced_at = %(now)s,
                steps_state = CASE WHEN e.steps_state = 'read' AND {_OPEN_STEP} THEN 'due' ELSE e.steps_state END,
                settled_at = CASE WHEN e.steps_state IN ('gone', 'off')
                    OR (e.steps_state = 'read' AND NOT {_OPEN_STEP}) THEN %(now)s::timestamptz END
            WHERE e.connection_id = %(connection)s AND e.execution_id = ANY(%(ids)s) AND e._final_at IS NULL
              AND e._ended_at IS NOT NULL AND e._asked_at <= %(asked)s""",
            {
                "now": reading.now,
                "connection": reading.connection_id,
                "ids": sorted(final),
                "asked": reading.asked_at,
            },
        )
    if back:
        driver(db).execute(
            "UPDATE history.executions SET missing_since = NULL, missing_reason = NULL, synced_at = %s,"
            " steps_state = CASE steps_state WHEN 'gone' THEN 'due' ELSE steps_state END,"
            " settled_at = CASE steps_state WHEN 'gone' THEN NULL ELSE settled_at END"
            " WHERE connection_id = %s AND execution_id = ANY(%s) AND missing_since IS NOT NULL",
            (reading.now, reading.connection_id, sorted(back)),
        )
    if bare:
        driver(db).execute(
            "UPDATE history.executions SET steps_state = 'due', settled_at = NULL, synced_at = %s"
            " WHERE connection_id = %s AND execution_id = ANY(%s) AND steps_state = 'off'",
            (reading.now, reading.connection_id, sorted(bare)),
        )


def set_variables(db: Connection, reading: Reading, documents: Mapping[str, bytes | None]) -> None:
    """Write variables that a page carried, where they differ from the stored ones."""
    for execution_id, document in sorted(documents.items()):
        set_variables_of(db, reading.connection_id, execution_id, document, reading.now)


def set_variables_of(
    db: Connection, connection_id: str, execution_id: str, document: bytes | None, now: datetime
) -> None:
    """Write one execution's variables where they differ from the stored ones."""
    text = None if document is None else document.decode()
    driver(db).execute(
        "UPDATE history.executions SET variables = %(document)s::jsonb, synced_at = %(now)s"
        " WHERE connection_id = %(connection)s AND execution_id = %(id)s"
        " AND variables IS DISTINCT FROM %(document)s::jsonb",
        {"document": text, "now": now, "connection": connection_id, "id": execution_id},
    )


def set_message_of(
    db: Connection, connection_id: str, execution_id: str, message: str | None, now: datetime
) -> None:
    """Write one execution's message, and its fingerprint where it failed, if they differ from the stored ones."""
    driver(db).execute(
        "UPDATE history.executions SET message = %(message)s, synced_at = %(now)s,"
        " failure_reason = CASE outcome WHEN 'failed' THEN %(reason)s END"
        " WHERE connection_id = %(connection)s AND execution_id = %(id)s AND (message, failure_reason)"
        " IS DISTINCT FROM (%(message)s, CASE outcome WHEN 'failed' THEN %(reason)s END)",
        {
            "message": message,
            "reason": failure_reason(Outcome.FAILED, message),
            "now": now,
            "connection": connection_id,
            "id": execution_id,
        },
    )


def mark_missing(db: Connection, connection_id: str, ids: Collection[str], reason: str, now: datetime) -> int:
    """Note that the source no longer has these executions; returns how many were not known to be missing."""
    cursor = driver(db).execute(
        "UPDATE history.executions SET missing_since = %s, missing_reason = %s, synced_at = %s"
        " WHERE connection_id = %s AND execution_id = ANY(%s) AND missing_since IS NULL",
        (now, reason, now, connection_id, sorted(ids)),
    )
    return cursor.rowcount


def mark_running_deleted(db: Connection, connection_id: str, partition: str, now: datetime) -> None:
    """Note that the executions of a partition that had not ended went with their workflow."""
    driver(db).execute(
        "UPDATE history.executions SET missing_since = %s, missing_reason = 'workflow_deleted', synced_at = %s"
        " WHERE connection_id = %s AND _partition = %s AND _ended_at IS NULL AND missing_since IS NULL",
        (now, now, connection_id, partition),
    )


def mark_unlisted(
    db: Connection, reading: Reading, span: Window, *, end_belongs: bool, ids: Collection[str]
) -> int:
    """Mark as gone what a proved reading of the span did not list; returns how many.

    Rows asked for after that reading began are left alone: they may have been created meanwhile.
    """
    cursor = driver(db).execute(
        "UPDATE history.executions SET missing_since = %(now)s, missing_reason = 'gone', synced_at = %(now)s"
        f" WHERE {_UNLISTED}",
        _unlisted_by(reading, span, end_belongs, ids),
    )
    return cursor.rowcount


def unlisted(
    db: Connection, reading: Reading, span: Window, *, end_belongs: bool, ids: Collection[str]
) -> list[ExecutionRef]:
    """What `mark_unlisted` would mark."""
    rows = driver(db).execute(
        "SELECT execution_id, workflow_id, created_at, _ended_at FROM history.executions"
        f" WHERE {_UNLISTED} ORDER BY created_at, execution_id",
        _unlisted_by(reading, span, end_belongs, ids),
    )
    return [
        ExecutionRef(
            execution_id=execution_id,
            workflow_id=workflow_id,
            partition=reading.partition,
            created_at=created_at,
            has_ended=ended_at is not None,
            ended_at=ended_at,
        )
        for execution_id, workflow_id, created_at, ended_at in rows
    ]


def _unlisted_by(reading: Reading, span: Window, end_belongs: bool, ids: Collection[str]) -> dict[str, Any]:
    return {
        "now": reading.now,
        "connection": reading.connection_id,
        "partition": reading.partition,
        "start": span.start,
        "end": span.end,
        "end_belongs": end_belongs,
        "asked": reading.asked_at,
        "ids": sorted(ids),
    }


def age_out(db: Connection, connection_id: str, horizon_start: datetime, now: datetime) -> int:
    """Mark as aged_out what was not settled when it left the horizon; returns how many."""
    cursor = driver(db).execute(
        "UPDATE history.executions SET missing_since = %s, missing_reason = 'aged_out', synced_at = %s"
        " WHERE connection_id = %s AND created_at < %s AND settled_at IS NULL AND missing_since IS NULL",
        (now, now, connection_id, horizon_start),
    )
    return cursor.rowcount


class OpenRow(Struct, frozen=True):
    """An open execution, when it ended if it has, and its rank by creation among all of its partition."""

    ref: ExecutionRef
    ended_at: datetime | None
    rank: int


def open_executions(db: Connection, connection_id: str, partition: str) -> list[OpenRow]:
    """The open set of a partition: neither settled nor missing, oldest first.

    Those that have ended and wait only for their steps are left out: their row needs no other look.
    """
    rows = driver(db).execute(
        """WITH open AS (
            SELECT execution_id, workflow_id, created_at, _ended_at
            FROM history.executions
            WHERE connection_id = %(connection)s AND _partition = %(partition)s
              AND settled_at IS NULL AND missing_since IS NULL AND _final_at IS NULL
        ), ranked AS (
            SELECT execution_id, row_number() OVER (ORDER BY created_at, execution_id) AS rank
            FROM history.executions
            WHERE connection_id = %(connection)s AND _partition = %(partition)s
              AND created_at BETWEEN (SELECT min(created_at) FROM open) AND (SELECT max(created_at) FROM open)
        )
        SELECT o.execution_id, o.workflow_id, o.created_at, o._ended_at, r.rank
        FROM open o JOIN ranked r USING (execution_id) ORDER BY r.rank""",
        {"connection": connection_id, "partition": partition},
    )
    return [
        OpenRow(
            ExecutionRef(
                execution_id=execution_id,
                workflow_id=workflow_id,
                partition=partition,
                created_at=created_at,
                has_ended=ended_at is not None,
            ),
            ended_at,
            rank,
        )
        for execution_id, workflow_id, created_at, ended_at, rank in rows
    ]


def partitions_with_open(db: Connection, connection_id: str, horizon_start: datetime) -> list[str]:
    """Partitions that hold open executions whose row needs another look, or that have left the horizon."""
    rows = driver(db).execute(
        "SELECT DISTINCT _partition FROM history.executions WHERE connection_id = %s"
        " AND settled_at IS NULL AND missing_since IS NULL AND (_final_at IS NULL OR created_at < %s) ORDER BY 1",
        (connection_id, horizon_start),
    )
    return [partition for (partition,) in rows]
