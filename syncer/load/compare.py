"""What the warehouse holds of a span, counted and looked at, to be held against the source.

The loader leaves alone what bears the digest it knows. To compare every value, or to mend one, it is given rows it
does not trust: a stand-in under another connection's name to be thrown away, or the rows themselves.

Invariant: what is counted, looked at or stood in for stays as it is, down to its xmax. It must not know what a source
told.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from msgspec import Struct
from psycopg import sql
from sqlalchemy import Connection

from syncer.load.rows import driver, key_of, name_of
from syncer.model import ExecutionRef, Window
from syncer.schema import executions, step_events, step_io, steps

_IN_SPAN = "connection_id = %(connection)s AND _partition = %(partition)s"
_TABLES = (executions, step_events, steps, step_io)
_OWN = frozenset(
    {"connection_id", "synced_at", "settled_at", "steps_state", "steps_read_at", "missing_since", "missing_reason",
     "duration_ms"}
)  # fmt: skip
"""Columns of which the source says nothing, besides those that begin with `_`."""

Rows = Mapping[tuple[Any, ...], Mapping[str, Any]]
Snapshot = Mapping[str, Rows]
"""One execution's rows by table and key, as far as the source says what they hold, values as text."""


class Count(Struct, frozen=True):
    """Rows in a window that the source should have, and those of the ticks before and after it."""

    rows: int
    before: int
    after: int

    def agrees(self, told: int) -> bool:
        """Whether a total is right; whether bounds belong to a window is up to the source."""
        sums = (0, self.before, self.after, self.before + self.after)
        return told - self.rows in sums


class Held(Struct, frozen=True):
    """What is to be known of a stored execution: when it was created and asked for, whether it is marked missing."""

    created_at: datetime
    asked_at: datetime
    is_missing: bool


def cuts(db: Connection, connection_id: str, partition: str, span: Window, rows: int) -> list[Window]:
    """Part a span into windows of about so many stored rows; neighbours share their boundary instant."""
    found = driver(db).execute(
        f"""SELECT DISTINCT created_at FROM (
            SELECT created_at, row_number() OVER (ORDER BY created_at) AS number FROM history.executions
            WHERE {_IN_SPAN} AND missing_since IS NULL AND created_at > %(start)s AND created_at < %(end)s
        ) numbered WHERE number %% %(rows)s = 0 ORDER BY 1""",
        {
            "connection": connection_id,
            "partition": partition,
            "start": span.start,
            "end": span.end,
            "rows": rows,
        },
    )
    bounds = [span.start, *(instant for (instant,) in found), span.end]
    return [Window(start, end) for start, end in pairwise(bounds)]


def count_rows(db: Connection, connection_id: str, partition: str, window: Window, tick: timedelta) -> Count:
    """Count what the source should list in a window: everything that is not marked missing."""
    row = (
        driver(db)
        .execute(
            f"""SELECT count(*) FILTER (WHERE created_at BETWEEN %(start)s AND %(end)s),
            count(*) FILTER (WHERE created_at < %(start)s), count(*) FILTER (WHERE created_at > %(end)s)
        FROM history.executions WHERE {_IN_SPAN} AND missing_since IS NULL
          AND created_at BETWEEN %(start)s - %(tick)s AND %(end)s + %(tick)s""",
            {
                "connection": connection_id,
                "partition": partition,
                "start": window.start,
                "end": window.end,
                "tick": tick,
            },
        )
        .fetchone()
    )
    return Count(*row) if row else Count(0, 0, 0)


def held_rows(
    db: Connection, connection_id: str, partition: str, window: Window, ids: Collection[str]
) -> dict[str, Held]:
    """The stored executions of a window, and others with these ids wherever they stand."""
    rows = driver(db).execute(
        f"""SELECT execution_id, created_at, _asked_at, missing_since IS NOT NULL FROM history.executions
        WHERE {_IN_SPAN} AND created_at BETWEEN %(start)s AND %(end)s
        UNION
        SELECT execution_id, created_at, _asked_at, missing_since IS NOT NULL FROM history.executions
        WHERE connection_id = %(connection)s AND execution_id = ANY(%(ids)s)""",
        {
            "connection": connection_id,
            "partition": partition,
            "start": window.start,
            "end": window.end,
            "ids": sorted(ids),
        },
    )
    return {key: Held(*rest) for key, *rest in rows}


def refused_ids(db: Connection, connection_id: str, stream: str, ids: Collection[str]) -> set[str]:
    """Of these ids those whose record waits in quarantine: PostgreSQL could not store it."""
    rows = driver(db).execute(
        "SELECT identity FROM syncer.quarantine WHERE connection_id = %s AND stream = %s AND resolved_at IS NULL"
        " AND identity = ANY(%s)",
        (connection_id, stream, sorted(ids)),
    )
    return {identity for (identity,) in rows}


class Candidate(Struct, frozen=True):
    """An execution to be compared; `has_steps` where its steps were read and are still served."""

    ref: ExecutionRef
    has_steps: bool


_CANDIDATE = (
    "SELECT e.execution_id, e.workflow_id, e._partition, e.created_at, e._ended_at IS NOT NULL,"
    " e.steps_state = 'read' FROM history.executions e"
)
_IN_SPANS = """
JOIN unnest(%(partitions)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
  AS span (partition, starts, ends)
  ON span.partition COLLATE "C" = e._partition AND e.created_at BETWEEN span.starts AND span.ends
"""
_COUNTED = """
CROSS JOIN LATERAL (
  SELECT count(*) AS attempts, count(*) FILTER (WHERE s.outcome = 'failed') AS failed,
    coalesce(sum(s.event_count), 0) AS events
  FROM history.steps s WHERE s.connection_id = e.connection_id AND s.execution_id = e.execution_id) s
CROSS JOIN LATERAL (
  SELECT count(*) AS events
  FROM history.step_events v WHERE v.connection_id = e.connection_id AND v.execution_id = e.execution_id) v
"""
_LACKING = """
e.steps_state = 'read' AND e.missing_since IS NULL
  AND (s.attempts, s.failed, s.events) IS DISTINCT FROM (e.step_count, e.failed_step_count, v.events)
"""
"""Counts written with the steps say how many there were."""


def a_sample(
    db: Connection, connection_id: str, spans: Mapping[str, Window], size: int, seed: str
) -> list[Candidate]:
    """Settled executions of these spans by partition, drawn by chance: the same seed draws the same."""
    rows = driver(db).execute(
        f"""{_CANDIDATE} {_IN_SPANS}
        WHERE e.connection_id = %(connection)s AND e.settled_at IS NOT NULL AND e.missing_since IS NULL
        ORDER BY md5(e.execution_id || %(seed)s), e.execution_id LIMIT %(size)s""",
        {**_spans(spans), "connection": connection_id, "seed": seed, "size": size},
    )
    return [_candidate(row) for row in rows]


def lacking_steps(
    db: Connection, connection_id: str, spans: Mapping[str, Window], after: ExecutionRef | None, limit: int
) -> list[Candidate]:
    """Executions whose steps were read and are not all there, by creation, those after one of them."""
    rows = driver(db).execute(
        f"""{_CANDIDATE} {_IN_SPANS} {_COUNTED}
        WHERE e.connection_id = %(connection)s AND {_LACKING}
          AND (e.created_at, e.execution_id) > (%(after_at)s::timestamptz, %(after_id)s)
        ORDER BY e.created_at, e.execution_id LIMIT %(limit)s""",
        {
            **_spans(spans),
            "connection": connection_id,
            "after_at": after.created_at if after else "-infinity",
            "after_id": after.execution_id if after else "",
            "limit": limit,
        },
    )
    return [_candidate(row) for row in rows]


def lacks_steps(db: Connection, connection_id: str, ref: ExecutionRef) -> bool:
    """Whether the steps of an execution are not all there."""
    rows = driver(db).execute(
        f"{_CANDIDATE} {_COUNTED} WHERE e.connection_id = %s AND e.execution_id = %s AND {_LACKING}",
        (connection_id, ref.execution_id),
    )
    return rows.fetchone() is not None


def _candidate(row: tuple[Any, ...]) -> Candidate:
    names = ("execution_id", "workflow_id", "partition", "created_at", "has_ended")
    *values, has_steps = row
    return Candidate(ExecutionRef(**dict(zip(names, values, strict=True))), has_steps)


def _spans(spans: Mapping[str, Window]) -> dict[str, list[Any]]:
    return {
        "partitions": list(spans),
        "starts": [span.start for span in spans.values()],
        "ends": [span.end for span in spans.values()],
    }


def snapshot(db: Connection, connection_id: str, execution_id: str) -> Snapshot:
    """All that is stored of one execution and that its source could tell."""
    return {str(table.name): _rows_of(db, table, connection_id, execution_id) for table in _TABLES}


def _rows_of(db: Connection, table: Any, connection_id: str, execution_id: str) -> Rows:
    key = key_of(table)[2:]
    names = [str(each.name) for each in table.columns if each.name not in _OWN and each.name[0] != "_"]
    columns = [sql.SQL("{}::text").format(sql.Identifier(name)) for name in names]
    statement = sql.SQL("SELECT {} FROM {} WHERE connection_id = %s AND execution_id = %s").format(
        sql.SQL(", ").join(columns), name_of(table)
    )
    rows = driver(db).execute(statement, (connection_id, execution_id))
    found = [dict(zip(names, row, strict=True)) for row in rows]
    return {tuple(row[name] for name in key): row for row in found}


_UNTRUSTED: Mapping[str, Mapping[str, sql.SQL]] = {
    "executions": {
        "_row_hash": sql.SQL("''"),
        "updated_at": sql.SQL("'-infinity'"),
        "_asked_at": sql.SQL("'-infinity'"),
    },
    "step_events": {"_row_hash": sql.SQL("''"), "updated_at": sql.SQL("NULL")},
    "steps": {"_row_hash": sql.SQL("''")},
    "step_io": {"_row_hash": sql.SQL("''")},
}
"""What a row holds that differs from, and is older than, whatever the source says, by table and column."""

Trust = Mapping[str, Sequence[Mapping[str, Any]]]
"""What those columns held, with the keys of the rows, by table."""

_ONE = sql.SQL("WHERE connection_id = %s AND execution_id = %s")


def _trust(db: Connection, connection_id: str, execution_id: str) -> Trust:
    held: dict[str, list[Mapping[str, Any]]] = {}
    for table in _TABLES:
        names = (*key_of(table), *_UNTRUSTED[table.name])
        statement = sql.SQL("SELECT {} FROM {} {}").format(
            sql.SQL(", ").join(map(sql.Identifier, names)), name_of(table), _ONE
        )
        rows = driver(db).execute(statement, (connection_id, execution_id))
        held[table.name] = [dict(zip(names, row, strict=True)) for row in rows]
    return held


def stand_in(db: Connection, connection_id: str, execution_id: str, name: str) -> Trust:
    """Copy an execution with its steps under another connection's name, as rows the loader does not trust."""
    for table in _TABLES:
        names = [column.name for column in table.columns if column.computed is None]
        changed = {"connection_id": sql.Literal(name), **_UNTRUSTED[table.name]}
        statement = sql.SQL("INSERT INTO {table} ({names}) SELECT {values} FROM {table} {one}").format(
            table=name_of(table),
            names=sql.SQL(", ").join(map(sql.Identifier, names)),
            values=sql.SQL(", ").join(changed.get(each, sql.Identifier(each)) for each in names),
            one=_ONE,
        )
        driver(db).execute(statement, (connection_id, execution_id))
    return {
        table: [{**row, "connection_id": name} for row in rows]
        for table, rows in _trust(db, connection_id, execution_id).items()
    }


def distrust(db: Connection, connection_id: str, execution_id: str) -> Trust:
    """Let what is written next of this execution be compared value by value."""
    held = _trust(db, connection_id, execution_id)
    for table in _TABLES:
        changes = (
            sql.SQL("{} = {}").format(sql.Identifier(name), value)
            for name, value in _UNTRUSTED[table.name].items()
        )
        statement = sql.SQL("UPDATE {} SET {} {}").format(name_of(table), sql.SQL(", ").join(changes), _ONE)
        driver(db).execute(statement, (connection_id, execution_id))
    return held


def trust_again(db: Connection, trust: Trust) -> None:
    """Give rows that were not written since they were distrusted what was taken from them."""
    for table in _TABLES:
        key, columns = key_of(table), tuple(_UNTRUSTED[table.name])
        statement = sql.SQL("UPDATE {} SET {} WHERE {} AND _row_hash = ''").format(
            name_of(table), _equals(columns, ", "), _equals(key, " AND ")
        )
        for row in trust[table.name]:
            driver(db).execute(statement, row)


def _equals(names: Sequence[str], glue: str) -> sql.Composable:
    pairs = (sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in names)
    return sql.SQL(glue).join(pairs)
