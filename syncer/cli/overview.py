"""How far everything is copied, as the warehouse knows it: what `syncer status` shows.

Invariant: it only reads, in one snapshot. It must not know how it is shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection as Database
from sqlalchemy import Engine, text

Row = dict[str, Any]

_CONNECTIONS = "SELECT connection_id, platform, base_url, first_synced_at FROM history.connections"
_PARTITIONS = """
SELECT f.connection_id, f.partition, f.workflow_name, f.watermark_at, f.lag_seconds, f.complete_from,
  f.settled_until, f.open_executions, f.steps_due, b.backlog_seconds, f.last_success_at, f.last_error,
  f.last_error_at
FROM history.sync_freshness f
LEFT JOIN (
  SELECT connection_id, partition, sum(EXTRACT(epoch FROM until - position))::double precision AS backlog_seconds
  FROM syncer.backfill_windows WHERE state = 'open' GROUP BY connection_id, partition
) b ON b.connection_id = f.connection_id AND b.partition = f.partition
ORDER BY f.workflow_name, f.partition
"""
_WAITS = """
SELECT connection_id, not_before, reason FROM syncer.rate_limits WHERE not_before > clock_timestamp()
"""
_LEASES = """
SELECT connection_id, stream, partition, lane, owner, until FROM syncer.leases
WHERE owner IS NOT NULL AND until > clock_timestamp() ORDER BY stream, partition, lane
"""
_AUDIT = """
SELECT connection_id, partition, window_start, window_end, verdict, told_total, read_ids, last_seen_at
FROM syncer.window_audit WHERE resolved_at IS NULL ORDER BY verdict, partition, window_start
"""
_QUARANTINED = """
SELECT connection_id, count(*) FROM syncer.quarantine WHERE resolved_at IS NULL GROUP BY connection_id
"""
_STEPS_FAILED = """
SELECT connection_id, count(*) FROM history.executions WHERE steps_state = 'failed' GROUP BY connection_id
"""
_RUNS = """
SELECT DISTINCT ON (connection_id) connection_id, command, state, started_at, ended_at, error
FROM syncer.runs WHERE connection_id IS NOT NULL ORDER BY connection_id, started_at DESC
"""


class Standing(Struct, kw_only=True):
    """How far one connection is copied, and what stands in its way."""

    connection: str
    platform: str | None
    base_url: str | None
    is_configured: bool
    first_synced_at: datetime | None
    waiting_until: datetime | None
    waiting_reason: str | None
    quarantined: int
    steps_failed: int
    last_run: Row | None
    audit: list[Row]
    leases: list[Row]
    partitions: list[Row]


def standings(engine: Engine, configured: Iterable[str]) -> list[Standing]:
    """Every connection that is configured or has history in the warehouse; the configured ones first, by name."""
    with engine.connect() as db:
        db.execution_options(isolation_level="REPEATABLE READ")
        stored = {row["connection_id"]: row for row in _rows(db, _CONNECTIONS)}
        reader = _Reader(db, stored, set(configured))
        found = [reader.standing(name) for name in sorted({*stored, *configured})]
    return sorted(found, key=lambda each: not each.is_configured)


class _Reader:
    def __init__(self, db: Database, stored: Mapping[str, Row], configured: set[str]) -> None:
        self._stored = stored
        self._configured = configured
        self._quarantined = _counts(db, _QUARANTINED)
        self._steps_failed = _counts(db, _STEPS_FAILED)
        self._waits = _grouped(db, _WAITS)
        self._runs = _grouped(db, _RUNS)
        self._audit = _grouped(db, _AUDIT)
        self._leases = _grouped(db, _LEASES)
        self._partitions = _grouped(db, _PARTITIONS)

    def standing(self, name: str) -> Standing:
        """All that is known of one connection."""
        stored = self._stored.get(name, {})
        wait = next(iter(self._waits[name]), {})
        return Standing(
            connection=name,
            platform=stored.get("platform"),
            base_url=stored.get("base_url"),
            is_configured=name in self._configured,
            first_synced_at=stored.get("first_synced_at"),
            waiting_until=wait.get("not_before"),
            waiting_reason=wait.get("reason"),
            quarantined=self._quarantined.get(name, 0),
            steps_failed=self._steps_failed.get(name, 0),
            last_run=next(iter(self._runs[name]), None),
            audit=self._audit[name],
            leases=self._leases[name],
            partitions=self._partitions[name],
        )


def _rows(db: Database, query: str) -> list[Row]:
    return [dict(row) for row in db.execute(text(query)).mappings()]


def _counts(db: Database, query: str) -> dict[str, int]:
    return {row[0]: row[1] for row in db.execute(text(query))}


def _grouped(db: Database, query: str) -> defaultdict[str, list[Row]]:
    """Rows by their connection, which they no longer name."""
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for row in _rows(db, query):
        groups[row.pop("connection_id")].append(row)
    return groups
