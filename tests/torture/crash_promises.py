"""What the warehouse promises at every instant, also right after a process was killed: nothing ahead of the data.

Invariant: a promise is judged by the simulator's truth and by what the warehouse says of itself, never by the code
that made it. It must not know what was done to the daemon.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Engine, Table, text

from syncer import schema
from syncer.simulator import Tenant
from tests.platforms import Table as Expected
from tests.platforms import platform_of, served

# When things were done, and what lands only where an execution happened to be read by its id.
_VOLATILE = frozenset(
    {"synced_at", "_asked_at", "first_synced_at", "first_seen_at", "last_seen_at", "variables"}
)
_WHETHER = frozenset({"settled_at", "steps_read_at", "missing_since", "removed_at", "_final_at", "_ended_at"})


LOOKBACK = timedelta(minutes=15)

Key = tuple[Any, ...]
Row = dict[str, Any]
Content = dict[str, dict[Key, Row]]


class Progress(NamedTuple):
    """How far everything is copied: by partition, and by entry of the ledger."""

    marks: dict[str, tuple[datetime | None, datetime | None]]
    entries: dict[tuple[str, datetime], datetime]


class Due(NamedTuple):
    """An execution that is served, as a perfect copy holds it."""

    id: str
    partition: str
    created_at: datetime
    status: str
    ended_at: datetime | None
    was_late: bool


def has_schema(engine: Engine) -> bool:
    """Whether the tables are there; a migration makes them all or none."""
    names = "SELECT count(*) FROM pg_namespace WHERE nspname IN ('history', 'syncer')"
    return bool(_rows(engine, names)[0][0])


def progress(engine: Engine) -> Progress:
    """Watermarks with the start of the span they end, and positions of the ledger."""
    marks = "SELECT partition, watermark_at, complete_from FROM syncer.watermarks WHERE stream = 'executions'"
    entries = "SELECT partition, since, position FROM syncer.backfill_windows"
    return Progress(
        {partition: (mark, start) for partition, mark, start in _rows(engine, marks)},
        {(partition, since): position for partition, since, position in _rows(engine, entries)},
    )


def went_back(before: Progress, after: Progress) -> list[str]:
    """What is promised less than before."""
    return [
        *(
            f"the watermark of {partition} went back from {mark} to {after.marks.get(partition)}"
            for partition, mark in before.marks.items()
            if not _is_kept(mark, after.marks.get(partition, (None, None)))
        ),
        *(
            f"the history of {entry} went back from {position} to {after.entries.get(entry)}"
            for entry, position in before.entries.items()
            if entry not in after.entries or after.entries[entry] < position
        ),
    ]


def _is_kept(
    before: tuple[datetime | None, datetime | None], after: tuple[datetime | None, datetime | None]
) -> bool:
    (mark, start), (later_mark, later_start) = before, after
    return (mark is None or (later_mark is not None and later_mark >= mark)) and (
        start is None or (later_start is not None and later_start <= start)
    )


def broken_promises(engine: Engine, simulator: Tenant) -> list[str]:
    """Sentences about everything that is promised and not true."""
    platform = platform_of(simulator)
    with simulator.lock:
        executions, events = platform.executions(simulator), platform.step_events(simulator)
        partitions = {each.id: platform.partition_of(simulator, each) for each in served(simulator)}
        late = {each.id for each in served(simulator) if each.visible_ms > each.created_ms}
    shown = _rows_of(executions)
    due = [Due(key, partitions[key], **shown[key], was_late=key in late) for key in partitions]
    return list(_Judge(engine, due, events).broken())


def _rows_of(table: Expected) -> dict[str, dict[str, Any]]:
    """What is promised by, of every execution."""
    names = table.columns.split(", ")
    places = {name: names.index(name) for name in ("created_at", "status", "ended_at")}
    return {key: {name: row[at] for name, at in places.items()} for (key,), row in table.rows.items()}


def content(engine: Engine) -> Content:
    """Every row of history by table and key, but for what differs between two good copies."""
    return {table.name: _content_of(engine, table) for table in schema.HISTORY_TABLES}


def differing(expected: Content, found: Content) -> list[str]:
    """Rows that are not the same, with the names of the columns that differ."""
    return [
        f"{table} {key}: {_differing(rows.get(key), found[table].get(key))}"
        for table, rows in expected.items()
        for key in sorted(rows.keys() | found[table].keys())
        if rows.get(key) != found[table].get(key)
    ]


def _differing(expected: Row | None, found: Row | None) -> str:
    if expected is None or found is None:
        return "missing" if found is None else "one too many"
    return ", ".join(name for name, value in expected.items() if found[name] != value)


def unfinished(engine: Engine) -> list[Any]:
    """What a finished pass leaves behind and should not: work, doubt and leases."""
    return [
        row
        for query in (
            "SELECT 'open', partition FROM syncer.backfill_windows WHERE state <> 'done'",
            # One of a dead process that nobody needed again runs out some day.
            "SELECT 'held', partition FROM syncer.leases WHERE owner IS NOT NULL AND until < 'infinity'",
            "SELECT 'doubted', partition FROM syncer.window_audit WHERE resolved_at IS NULL",
            "SELECT 'put aside', partition FROM syncer.quarantine WHERE resolved_at IS NULL",
            "SELECT 'due', execution_id FROM history.executions WHERE steps_state <> 'read'",
            "SELECT 'open', execution_id FROM history.executions WHERE (settled_at IS NULL) <> (ended_at IS NULL)",
        )
        for row in _rows(engine, query)
    ]


def _content_of(engine: Engine, table: Table) -> dict[Key, Row]:
    """The rows of a table; payloads of steps that run are read with some answers and not with others."""
    key = [column.name for column in table.primary_key.columns]
    columns = [
        f"{column.name} IS NOT NULL AS {column.name}" if column.name in _WHETHER else column.name
        for column in table.columns
        if column.name not in _VOLATILE
    ]
    query = f"SELECT {', '.join(columns)} FROM {table.schema}.{table.name}"
    if table is schema.step_io:
        ended = "SELECT execution_id, node_id, attempt FROM history.steps WHERE ended_at IS NOT NULL"
        query += f" WHERE (execution_id, node_id, attempt) IN ({ended})"
    with engine.connect() as db:
        rows = [dict(row) for row in db.execute(text(query)).mappings()]
    return {tuple(row[name] for name in key): row for row in rows}


def _rows(engine: Engine, query: str) -> list[Any]:
    with engine.connect() as db:
        return [tuple(row) for row in db.execute(text(query))]


def _by_execution(keys: Iterable[Key]) -> defaultdict[str, set[Key]]:
    found: defaultdict[str, set[Key]] = defaultdict(set)
    for key in keys:
        found[key[0]].add(key)
    return found


class _Judge:
    """The warehouse at one instant against the truth."""

    def __init__(self, engine: Engine, served: list[Due], events: Expected) -> None:
        self._engine = engine
        self._served = served
        self._events = _by_execution(events.rows.keys() - events.optional)
        self._rows = {
            row.execution_id: row
            for row in self._all(
                "SELECT execution_id, status, ended_at, settled_at, steps_state FROM history.executions"
            )
        }
        self._stored = _by_execution(
            tuple(row) for row in self._all(f"SELECT {events.key} FROM history.step_events")
        )

    def _all(self, query: str) -> list[Any]:
        with self._engine.connect() as db:
            return list(db.execute(text(query)).all())

    def broken(self) -> Iterator[str]:
        yield from self._spans(
            "the watermark", "SELECT partition, complete_from, watermark_at FROM syncer.watermarks"
        )
        yield from self._spans("the ledger", "SELECT partition, since, position FROM syncer.backfill_windows")
        settled = "SELECT partition, complete_from, settled_until FROM history.sync_freshness"
        yield from self._spans("settled_until", settled, is_settled=True)
        yield from self._steps()
        for stranger in self._stored.keys() - self._rows.keys():
            yield f"steps of {stranger} without an execution"

    def _spans(self, name: str, query: str, *, is_settled: bool = False) -> Iterator[str]:
        for partition, start, end in self._all(query):
            for each in self._served if start and end else ():
                created = each.created_at
                if each.partition != partition or not start <= created < end:
                    continue
                row = self._rows.get(each.id)
                if row is None and each.was_late and created >= end - LOOKBACK:
                    continue  # it may have shown itself since: that is what the next pass looks back for
                if row is None:
                    yield f"{name} of {partition} promises {each.id}, created {created}, in [{start}, {end})"
                elif is_settled and row.settled_at is None:
                    yield f"{name} of {partition} promises that {each.id} is final"

    def _steps(self) -> Iterator[str]:
        for each in self._served:
            row = self._rows.get(each.id)
            if row is None:
                continue
            missing = self._events[each.id] - self._stored[each.id]
            is_current = row.status == each.status and row.ended_at == each.ended_at
            if row.settled_at and (not is_current or each.ended_at is None):
                yield f"{each.id} is called settled and is not as the source shows it"
            if row.settled_at and missing:
                yield f"{each.id} is called settled without {len(missing)} events"
            if row.steps_state == "read" and row.ended_at and missing:
                yield f"the steps of {each.id} are called read without {len(missing)} events"
