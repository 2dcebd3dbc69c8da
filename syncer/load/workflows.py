"""Rows of `history.workflows`, their revisions and their nodes.

A workflow is never deleted here: what the source no longer lists is marked, what a later definition drops keeps its
row, and every definition stays in `workflow_revisions`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct
from psycopg import sql
from sqlalchemy import Connection

from syncer.encode import Columns
from syncer.load.rows import EXTRA, distinct, driver, upsert
from syncer.model import Workflow
from syncer.schema import workflow_nodes, workflows

_GUARD = sql.SQL("{}._asked_at >= t._asked_at")
_OWN = frozenset({"connection_id", "workflow_id", "node_id", "synced_at", "_row_hash", "_asked_at"})


class WorkflowRow(Struct, frozen=True, kw_only=True):
    """One workflow ready to be written; `nodes` is None where the answer carried no definition."""

    columns: Columns
    nodes: list[Columns] | None
    revision_id: str | None


def load_workflows(
    db: Connection, connection_id: str, rows: Sequence[WorkflowRow], *, asked_at: datetime, now: datetime
) -> int:
    """Write workflows that are new or changed with their revisions and nodes; returns how many were sent."""
    latest = {str(row.columns["workflow_id"]): row for row in rows}
    stored = _stored(db, connection_id, list(latest))
    changed = [row for key, row in latest.items() if _differs(row, stored.get(key))]
    _follow_again(db, connection_id, [key for key, known in stored.items() if known.is_missing], now)
    own = {
        "connection_id": connection_id,
        "missing_since": None,
        "missing_reason": None,
        "synced_at": now,
        "_asked_at": asked_at,
    }
    upsert(
        db,
        workflows,
        [{**row.columns, **own} for row in changed],
        changed=_is_newer,
        overrides={"extra": EXTRA},
    )
    for row in changed:
        if row.nodes is not None:
            _load_revision(db, connection_id, row, now)
            _load_nodes(db, connection_id, row.columns["workflow_id"], row.nodes, now)
    return len(changed)


def _follow_again(db: Connection, connection_id: str, workflow_ids: Sequence[str], now: datetime) -> None:
    """Put executions of workflows that came back among the open ones again, and have these workflows read anew.

    What was read while they were away, or could not be, says nothing of what there is: their watermarks and their
    history in the ledger begin again, and what was called lost, or steps gone, meanwhile no longer is.
    """
    if not workflow_ids:
        return
    ids = sorted(workflow_ids)
    driver(db).execute(
        "UPDATE history.executions SET missing_since = NULL, missing_reason = NULL, synced_at = %s"
        " WHERE connection_id = %s AND workflow_id = ANY(%s) AND missing_reason = 'workflow_deleted'",
        (now, connection_id, ids),
    )
    driver(db).execute(
        "UPDATE history.executions e SET steps_state = 'due', settled_at = NULL, synced_at = %s"
        " FROM history.workflows w WHERE e.connection_id = %s AND e.workflow_id = ANY(%s) AND e.steps_state = 'gone'"
        " AND w.connection_id = e.connection_id AND w.workflow_id = e.workflow_id AND e.synced_at >= w.missing_since",
        (now, connection_id, ids),
    )
    driver(db).execute(
        "UPDATE syncer.window_audit a SET resolved_at = %s FROM history.workflows w"
        " WHERE a.connection_id = %s AND a.partition = ANY(%s) AND a.resolved_at IS NULL AND a.verdict = 'lost'"
        " AND w.connection_id = a.connection_id AND w.workflow_id = a.partition AND a.first_seen_at >= w.missing_since",
        (now, connection_id, ids),
    )
    for statement in (
        "DELETE FROM syncer.backfill_windows WHERE connection_id = %s AND partition = ANY(%s) AND kind = 'initial'",
        "DELETE FROM syncer.watermarks WHERE connection_id = %s AND partition = ANY(%s) AND stream = 'executions'",
    ):
        driver(db).execute(statement, (connection_id, ids))


class _Stored(Struct, frozen=True):
    row_hash: bytes
    is_missing: bool
    definition: bytes | None


def _stored(db: Connection, connection_id: str, ids: list[str]) -> dict[str, _Stored]:
    rows = driver(db).execute(
        "SELECT workflow_id, _row_hash, missing_since IS NOT NULL, convert_to(definition::text, 'UTF8')"
        " FROM history.workflows WHERE connection_id = %s AND workflow_id = ANY(%s)",
        (connection_id, ids),
    )
    return {key: _Stored(*rest) for key, *rest in rows}


def _differs(row: WorkflowRow, stored: _Stored | None) -> bool:
    if stored is None or stored.is_missing or stored.row_hash != row.columns["_row_hash"]:
        return True
    definition = row.columns.get("definition")
    return definition is not None and _parsed(definition) != _parsed(stored.definition)


def _parsed(document: bytes | None) -> Any:
    return None if document is None else msgspec.json.decode(document)


def _is_newer(columns: Sequence[str], new: str) -> sql.Composable:
    guard = _GUARD.format(sql.Identifier(new))
    return sql.SQL("{} AND {}").format(guard, _differing(columns, new))


def _differing(columns: Sequence[str], new: str) -> sql.Composable:
    return distinct((name for name in columns if name not in _OWN), new)


def _load_revision(db: Connection, connection_id: str, row: WorkflowRow, now: datetime) -> None:
    """Keep the definition under its revision; the one it replaces was last seen at the pass before this one.

    A revision may come back: the one seen last is the one in force.
    """
    key = {"connection": connection_id, "workflow": row.columns["workflow_id"], "revision": row.revision_id}
    definition = row.columns.get("definition")
    in_force = driver(db).execute(
        "SELECT revision FROM history.workflow_revisions WHERE connection_id = %(connection)s"
        " AND workflow_id = %(workflow)s ORDER BY last_seen_at DESC, first_seen_at DESC LIMIT 1",
        key,
    )
    former = in_force.fetchone()
    if former == (row.revision_id,):
        return
    driver(db).execute(
        "INSERT INTO history.workflow_revisions"
        " (connection_id, workflow_id, revision, definition, first_seen_at, last_seen_at)"
        " VALUES (%(connection)s, %(workflow)s, %(revision)s, %(definition)s::jsonb, %(now)s, %(now)s)"
        " ON CONFLICT (connection_id, workflow_id, revision) DO UPDATE SET last_seen_at = excluded.last_seen_at",
        {**key, "definition": None if definition is None else definition.decode(), "now": now},
    )
    if former is not None:
        driver(db).execute(
            "UPDATE history.workflow_revisions r SET last_seen_at = w.last_success_at FROM syncer.watermarks w"
            " WHERE w.connection_id = r.connection_id AND w.stream = 'workflows' AND w.partition = ''"
            " AND r.connection_id = %(connection)s AND r.workflow_id = %(workflow)s AND r.revision = %(former)s"
            " AND r.last_seen_at < w.last_success_at",
            {**key, "former": former[0]},
        )


def _load_nodes(
    db: Connection, connection_id: str, workflow_id: str, nodes: Sequence[Columns], now: datetime
) -> None:
    own = {"connection_id": connection_id, "workflow_id": workflow_id, "removed_at": None, "synced_at": now}
    latest = {node["node_id"]: {**node, **own} for node in nodes}
    upsert(
        db,
        workflow_nodes,
        list(latest.values()),
        changed=_differing,
    )
    driver(db).execute(
        "UPDATE history.workflow_nodes SET removed_at = %s, synced_at = %s WHERE connection_id = %s"
        " AND workflow_id = %s AND removed_at IS NULL AND NOT node_id = ANY(%s)",
        (now, now, connection_id, workflow_id, sorted(latest)),
    )


def known_workflows(
    db: Connection, connection_id: str
) -> Mapping[str, tuple[str | None, bool, datetime | None]]:
    """Per stored workflow: its revision, whether its definition is stored, and updated_at."""
    rows = driver(db).execute(
        "SELECT workflow_id, revision, definition IS NOT NULL, updated_at FROM history.workflows"
        " WHERE connection_id = %s",
        (connection_id,),
    )
    return {key: (revision, has_definition, updated_at) for key, revision, has_definition, updated_at in rows}


def present_workflows(db: Connection, connection_id: str) -> list[Workflow]:
    """Stored workflows that the source still had when they were last listed: id and name."""
    rows = driver(db).execute(
        "SELECT workflow_id, name FROM history.workflows WHERE connection_id = %s AND missing_since IS NULL",
        (connection_id,),
    )
    return [Workflow(workflow_id=workflow_id, name=name) for workflow_id, name in rows]


def deleted_workflows(db: Connection, connection_id: str) -> list[str]:
    """Workflows that are no longer listed."""
    rows = driver(db).execute(
        "SELECT workflow_id FROM history.workflows WHERE connection_id = %s AND missing_since IS NOT NULL ORDER BY 1",
        (connection_id,),
    )
    return [workflow_id for (workflow_id,) in rows]


def unread_deletions(db: Connection, connection_id: str, lookback: timedelta, now: datetime) -> list[str]:
    """Deleted workflows whose executions were not read since they were found deleted, or since the lookback after
    that is over: until then some may still show themselves."""
    rows = driver(db).execute(
        "SELECT w.workflow_id FROM history.workflows w LEFT JOIN syncer.watermarks m"
        " ON m.connection_id = w.connection_id AND m.stream = 'executions' AND m.partition = w.workflow_id"
        " WHERE w.connection_id = %(connection)s AND w.missing_since IS NOT NULL"
        " AND coalesce(m.last_success_at < w.missing_since OR (m.last_success_at < w.missing_since + %(lookback)s"
        "  AND w.missing_since + %(lookback)s <= %(now)s), true) ORDER BY 1",
        {"connection": connection_id, "lookback": lookback, "now": now},
    )
    return [workflow_id for (workflow_id,) in rows]


def node_names(
    db: Connection, connection_id: str, workflow_ids: Collection[str]
) -> dict[tuple[str, str], str]:
    """Names of nodes by workflow and node id."""
    rows = driver(db).execute(
        "SELECT workflow_id, node_id, name FROM history.workflow_nodes"
        " WHERE connection_id = %s AND workflow_id = ANY(%s) AND name IS NOT NULL",
        (connection_id, sorted(workflow_ids)),
    )
    return {(workflow_id, node_id): name for workflow_id, node_id, name in rows}


def mark_deleted(db: Connection, connection_id: str, listed: Collection[str], now: datetime) -> list[str]:
    """Mark workflows that a proved listing did not contain, and their unsettled executions; returns their ids."""
    rows = driver(db).execute(
        "UPDATE history.workflows SET missing_since = %s, missing_reason = 'workflow_deleted', synced_at = %s"
        " WHERE connection_id = %s AND missing_since IS NULL AND NOT workflow_id = ANY(%s) RETURNING workflow_id",
        (now, now, connection_id, sorted(listed)),
    )
    deleted = [workflow_id for (workflow_id,) in rows]
    if deleted:
        driver(db).execute(
            "UPDATE history.executions SET missing_since = %s, missing_reason = 'workflow_deleted', synced_at = %s"
            " WHERE connection_id = %s AND workflow_id = ANY(%s) AND settled_at IS NULL AND missing_since IS NULL",
            (now, now, connection_id, sorted(deleted)),
        )
    return deleted
