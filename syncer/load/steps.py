"""Step events, folded steps and their payloads: one execution lands whole or not at all.

An execution whose steps were never read is copied without asking. Read again, its events are folded together with
those already stored, and only what differs is replaced.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import UNSET, Struct, field
from sqlalchemy import Connection, Table

from syncer.encode import Columns, Encoder
from syncer.fold import fold
from syncer.load.due import LONGER, mark_gone
from syncer.load.executions import set_message_of, set_variables_of
from syncer.load.rows import bisect, copy, delete, driver
from syncer.load.workflows import node_names
from syncer.model import ExecutionRef, Outcome, Role, Step, StepAnswer, StepEvent
from syncer.schema import step_events, step_io, steps

# A join may come in any order, and rows are locked in that of their keys.
_MARK_READ = f"""
WITH locked AS MATERIALIZED (
    SELECT execution_id FROM history.executions
    WHERE connection_id = %(connection)s AND execution_id = ANY(%(ids)s) ORDER BY execution_id FOR NO KEY UPDATE
)
UPDATE history.executions e SET
    step_count = r.steps, failed_step_count = r.failed, steps_read_at = %(now)s, synced_at = %(now)s,
    steps_state = CASE WHEN r.pause IS NOT NULL THEN 'due'
        WHEN _asked_at <= r.asked_at THEN 'read' ELSE steps_state END,
    settled_at = CASE WHEN r.pause IS NOT NULL THEN NULL
        WHEN _asked_at <= r.asked_at AND _final_at IS NOT NULL
        THEN coalesce(settled_at, %(now)s) ELSE settled_at END,
    _steps_tries = CASE WHEN r.pause IS NULL THEN 0 ELSE _steps_tries + 1 END,
    _steps_retry_at = %(now)s + r.pause * {LONGER}
FROM locked JOIN unnest(%(ids)s::text[], %(steps)s::int[], %(failed)s::int[], %(asked)s::timestamptz[],
        %(pauses)s::interval[]) AS r (execution_id, steps, failed, asked_at, pause)
    ON locked.execution_id = r.execution_id
WHERE e.connection_id = %(connection)s AND e.execution_id = locked.execution_id
"""


class StepsRead(Struct, frozen=True, kw_only=True):
    """The steps of one execution as read; `answer` is None where the source no longer has them.

    `again_after` is the pause before they are read once more, where some may not show themselves yet; it grows
    fourfold with each time.
    """

    ref: ExecutionRef
    answer: StepAnswer | None
    asked_at: datetime
    again_after: timedelta | None = None


class StepsLoaded(Struct, kw_only=True):
    """What became of the steps of several executions: rows written by table, and those refused with the reason."""

    rows: Counter[str] = field(default_factory=Counter)
    refused: list[tuple[str, str]] = field(default_factory=list)


class _Owner(Struct, frozen=True):
    """What the execution's row says that matters for its steps."""

    workflow_id: str
    steps_state: str
    was_read: bool
    has_ended: bool
    is_final: bool
    is_settled: bool
    tags: list[str] | None


class _Folded(Struct, kw_only=True):
    """One execution's rows to write and keys to replace, per table."""

    execution_id: str
    read: StepsRead
    rows: dict[str, list[Columns]]
    stale: dict[str, list[tuple[Any, ...]]]
    step_count: int
    failed_step_count: int

    @property
    def is_unchanged(self) -> bool:
        return not any(self.rows.values()) and not any(self.stale.values())


_TABLES: tuple[Table, ...] = (step_events, steps, step_io)


def load_steps(
    db: Connection, connection_id: str, reads: Sequence[StepsRead], encoder: Encoder, *, now: datetime
) -> StepsLoaded:
    """Write the steps of several executions. One whose row changed after its steps were asked for stays due."""
    owners = _owners(db, connection_id, [read.ref.execution_id for read in reads])
    latest = {read.ref.execution_id: read for read in reads if read.ref.execution_id in owners}
    folder = _Folder(db, connection_id, owners, encoder, now)
    gone = [key for key, read in latest.items() if read.answer is None]
    folded = [folder.fold(read, read.answer) for read in latest.values() if read.answer is not None]
    loaded = StepsLoaded()
    bisect(
        db,
        folded,
        lambda part: _write(db, connection_id, part, owners, now),
        lambda item, why: loaded.refused.append((item.execution_id, why)),
    )
    refused = {execution_id for execution_id, _ in loaded.refused}
    for item in folded:
        if item.execution_id not in refused:
            loaded.rows.update({table: len(rows) for table, rows in item.rows.items()})
    mark_gone(db, connection_id, gone, now)
    for item in folded:
        if item.read.answer is not None:
            _set_beside(db, connection_id, item.execution_id, item.read.answer, encoder, now)
    return loaded


def _set_beside(
    db: Connection, connection_id: str, execution_id: str, answer: StepAnswer, encoder: Encoder, now: datetime
) -> None:
    """Write what the steps' answer says of the execution itself."""
    if not isinstance(answer.variables, msgspec.UnsetType):
        set_variables_of(db, connection_id, execution_id, encoder.document(answer.variables), now)
    if not isinstance(answer.message, msgspec.UnsetType):
        set_message_of(db, connection_id, execution_id, encoder.message(answer.message), now)


def _owners(db: Connection, connection_id: str, ids: list[str]) -> dict[str, _Owner]:
    rows = driver(db).execute(
        # Steps may have outlived a row that somebody deleted by hand.
        "SELECT execution_id, workflow_id, steps_state, steps_read_at IS NOT NULL"
        " OR EXISTS (SELECT FROM history.step_events v"
        "  WHERE v.connection_id = e.connection_id AND v.execution_id = e.execution_id)"
        " OR EXISTS (SELECT FROM history.steps s"
        "  WHERE s.connection_id = e.connection_id AND s.execution_id = e.execution_id)"
        " OR EXISTS (SELECT FROM history.step_io i"
        "  WHERE i.connection_id = e.connection_id AND i.execution_id = e.execution_id),"
        " _ended_at IS NOT NULL, _final_at IS NOT NULL, settled_at IS NOT NULL, tags"
        " FROM history.executions e WHERE connection_id = %s AND execution_id = ANY(%s)",
        (connection_id, ids),
    )
    return {key: _Owner(*rest) for key, *rest in rows}


class _Folder:
    """Turns what was read into rows to write, beside what is already stored."""

    def __init__(
        self,
        db: Connection,
        connection_id: str,
        owners: Mapping[str, _Owner],
        encoder: Encoder,
        now: datetime,
    ) -> None:
        self._db = db
        self._connection_id = connection_id
        self._owners = owners
        self._encoder = encoder
        self._now = now
        known = [key for key, owner in owners.items() if owner.was_read]
        self._events = _stored_events(db, connection_id, known)
        self._written_names = _stored_names(db, connection_id, known)
        self._names = node_names(db, connection_id, {owner.workflow_id for owner in owners.values()})

    def fold(self, read: StepsRead, answer: StepAnswer) -> _Folded:
        execution_id = read.ref.execution_id
        owner = self._owners[execution_id]
        own = {"connection_id": self._connection_id, "execution_id": execution_id, "synced_at": self._now}
        known = self._events[execution_id]
        fresh = {e.event_id: e for e in answer.events if not _is_older(e, known.get(e.event_id))}
        stored = [event for key, event in known.items() if key not in fresh]
        attempts = fold([*fresh.values(), *stored], answer.payloads, execution_ended=owner.has_ended)
        named = [self._named(execution_id, owner.workflow_id, step) for step in attempts]
        events = [self._encoder.step_event(event, owner.tags) for event in fresh.values()]
        io = [row for step in named if (row := self._encoder.step_io(step)) is not None]
        rows: dict[str, list[Columns]] = {
            step_events.name: [{**own, **row} for row in events],
            steps.name: [{**own, **self._encoder.step(step)} for step in named],
            step_io.name: [{**own, **row} for row in io],
        }
        stale: dict[str, list[tuple[Any, ...]]] = {}
        if owner.was_read:
            rows, stale = _differences(self._db, self._connection_id, execution_id, rows, named)
        return _Folded(
            execution_id=execution_id,
            read=read,
            rows=rows,
            stale=stale,
            step_count=len(named),
            failed_step_count=sum(step.outcome is Outcome.FAILED for step in named),
        )

    def _named(self, execution_id: str, workflow_id: str, step: Step) -> Step:
        """The step under the name its node had when first written: the definition may be edited after the run."""
        name = (
            self._written_names.get((execution_id, step.node_id))
            or step.node_name
            or self._names.get((workflow_id, step.node_id))
        )
        return msgspec.structs.replace(step, node_name=name)


def _is_older(event: StepEvent, stored: StepEvent | None) -> bool:
    """Whether the stored copy of an event is newer than this one."""
    if stored is None or not event.updated_at or not stored.updated_at:
        return False
    return event.updated_at < stored.updated_at


def _differences(
    db: Connection,
    connection_id: str,
    execution_id: str,
    rows: Mapping[str, list[Columns]],
    attempts: Sequence[Step],
) -> tuple[dict[str, list[Columns]], dict[str, list[tuple[Any, ...]]]]:
    """Keep only rows that differ from the stored ones, and name the stored ones that go.

    Events never go; attempts that no longer exist do. Payloads that this answer did not carry stay.
    """
    kept: dict[str, list[Columns]] = {}
    stale: dict[str, list[tuple[Any, ...]]] = {}
    uncarried = {(s.node_id, s.attempt) for s in attempts if s.input is UNSET or s.output is UNSET}
    for table in _TABLES:
        key = [column.name for column in table.primary_key.columns][2:]
        stored = _hashes(db, table, key, connection_id, execution_id)
        current = {tuple(row[name] for name in key): row for row in rows[table.name]}
        if table is step_io:
            current = {k: row for k, row in current.items() if k not in uncarried or k not in stored}
        kept[table.name] = [row for k, row in current.items() if stored.get(k) != row["_row_hash"]]
        changed = [k for k, row in current.items() if k in stored and stored[k] != row["_row_hash"]]
        attempts_now = {(s.node_id, s.attempt) for s in attempts}
        vanished = [] if table is step_events else [k for k in stored if k not in attempts_now]
        stale[table.name] = [(connection_id, execution_id, *k) for k in (*changed, *vanished)]
    return kept, stale


def _hashes(
    db: Connection, table: Table, key: Sequence[str], connection_id: str, execution_id: str
) -> dict[tuple[Any, ...], bytes]:
    rows = driver(db).execute(
        f"SELECT {', '.join(key)}, _row_hash FROM {table.schema}.{table.name}"
        " WHERE connection_id = %s AND execution_id = %s",
        (connection_id, execution_id),
    )
    return {tuple(row[:-1]): row[-1] for row in rows}


def _write(
    db: Connection,
    connection_id: str,
    folded: Sequence[_Folded],
    owners: Mapping[str, _Owner],
    now: datetime,
) -> None:
    for table in _TABLES:
        delete(db, table, [key for item in folded for key in item.stale.get(table.name, ())])
        copy(db, table, [row for item in folded for row in item.rows[table.name]])
    _mark_read(db, connection_id, [item for item in folded if _is_news(item, owners[item.execution_id])], now)


def _is_news(item: _Folded, owner: _Owner) -> bool:
    """Whether the execution's row does not say already what was read."""
    is_known = owner.steps_state == "read" and (owner.is_settled or not owner.is_final)
    return not (item.is_unchanged and is_known and item.read.again_after is None)


def _mark_read(db: Connection, connection_id: str, items: Sequence[_Folded], now: datetime) -> None:
    if not items:
        return
    driver(db).execute(
        _MARK_READ,
        {
            "connection": connection_id,
            "now": now,
            "ids": [item.execution_id for item in items],
            "steps": [item.step_count for item in items],
            "failed": [item.failed_step_count for item in items],
            "asked": [item.read.asked_at for item in items],
            "pauses": [item.read.again_after for item in items],
        },
    )


def _stored_events(db: Connection, connection_id: str, ids: Sequence[str]) -> dict[str, dict[str, StepEvent]]:
    """The events already stored, as far as folding needs them."""
    stored: dict[str, dict[str, StepEvent]] = defaultdict(dict)
    if not ids:
        return stored
    rows = driver(db).execute(
        "SELECT execution_id, event_id, node_id, node_type, event_order, status, created_at, updated_at,"
        " started_at, ended_at, message, _outcome, _role, _node_name FROM history.step_events"
        " WHERE connection_id = %s AND execution_id = ANY(%s)",
        (connection_id, list(ids)),
    )
    names = ("execution_id", "event_id", "node_id", "node_type", "event_order", "status", "created_at",
             "updated_at", "started_at", "ended_at", "message", "outcome", "role", "node_name")  # fmt: skip
    for values in rows:
        fields = dict(zip(names, values, strict=True))
        fields["outcome"], fields["role"] = Outcome(fields["outcome"]), Role(fields["role"])
        stored[fields["execution_id"]][fields["event_id"]] = StepEvent(**fields)
    return stored


def _stored_names(db: Connection, connection_id: str, ids: Sequence[str]) -> dict[tuple[str, str], str]:
    """Names of nodes as they were written, by execution and node."""
    if not ids:
        return {}
    rows = driver(db).execute(
        "SELECT execution_id, node_id, node_name FROM history.steps"
        " WHERE connection_id = %s AND execution_id = ANY(%s) AND node_name IS NOT NULL",
        (connection_id, list(ids)),
    )
    return {(execution_id, node_id): name for execution_id, node_id, name in rows}
