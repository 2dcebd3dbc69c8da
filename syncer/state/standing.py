"""How far everything is copied, as the warehouse knows it: what `syncer status` and /metrics show.

Invariant: it only reads, and asks nothing that grows with the settled history. It must not know how it is shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection as Database
from sqlalchemy import text

from syncer.budget import Limit, Purpose
from syncer.config import Connection
from syncer.plan import is_chosen
from syncer.state.limits import read_spending

Row = dict[str, Any]

ARRIVALS_OVER = timedelta(days=1)
"""How far back arrivals are counted: load differs by the hour."""

PACE_OVER = (timedelta(hours=1), timedelta(hours=6))
"""How far back the pace is measured, at least and at most: limits are often told by the hour."""

SOON = 60.0
"""Seconds that are no wait worth telling: requests come free one by one."""

RECENT = timedelta(days=1)
"""Age up to which executions are live work, which comes before all else; what is older and not copied is late."""


class Standing(Struct, kw_only=True):
    """How far one connection is copied, and what stands in its way.

    Partitions whose workflow is deleted at the source, or not chosen by the configuration any more, are not followed:
    they stand in `partitions` and count nowhere else. `seconds_until_deletion` is that of the oldest that is not
    copied: history, ended executions whose steps are due or failed, the rows behind a watermark; None if there is
    nothing, or no configuration that says how far back the source serves. `limit` is what the source told, with the
    requests made of it lately by purpose. `history_began_at` is when the oldest open span of history was found,
    `history_copied` the share (0 to 1) of the open spans that is copied, None without any. `seconds_left` is how long
    what is late takes at the present pace; None where nothing is late, before the pace was measured for an hour, and
    where it does not get less. `failing_since` is when the first of the runs began that have failed since one got on.
    """

    connection: str
    platform: str | None
    base_url: str | None
    is_configured: bool
    first_synced_at: datetime | None
    waiting_until: datetime | None
    waiting_reason: str | None
    limit: Row | None
    quarantined: int
    steps_failed: int
    last_run: Row | None
    audit: list[Row]
    leases: list[Row]
    partitions: list[Row]
    last_success_at: datetime | None
    failing_since: datetime | None
    open_executions: int
    steps_due: int
    backlog_seconds: float
    backlog_windows: int
    history_began_at: datetime | None
    history_copied: float | None
    seconds_left: float | None
    disputed_windows: int
    lost_windows: int
    seconds_until_deletion: float | None
    executions_arriving_per_hour: float
    executions_copied_per_hour: float
    falls_behind: bool

    @property
    def quarantined_records(self) -> int:
        """Records put aside."""
        return self.quarantined

    @property
    def followed(self) -> list[Row]:
        """The partitions that are still read."""
        return [row for row in self.partitions if row["is_followed"]]


_NOW = "SELECT now()"
_CONNECTIONS = "SELECT connection_id, platform, base_url, first_synced_at FROM history.connections"
_LIMITS = """
SELECT connection_id, CASE WHEN not_before > clock_timestamp() THEN not_before END AS not_before, reason,
  limit_requests, limit_seconds, spending
FROM syncer.rate_limits
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
SELECT connection_id, count(*) AS quarantined FROM syncer.quarantine
WHERE resolved_at IS NULL GROUP BY connection_id
"""
_LAST_RUNS = """
SELECT DISTINCT ON (connection_id) connection_id, command, state, started_at, ended_at, error
FROM syncer.runs WHERE connection_id IS NOT NULL ORDER BY connection_id, started_at DESC
"""
_SUCCESSES = """
SELECT s.connection_id, s.last_success_at, min(f.started_at) AS failing_since
FROM (
  SELECT connection_id, max(ended_at) FILTER (WHERE state IN ('done', 'partial')) AS last_success_at,
    max(started_at) FILTER (WHERE state IN ('done', 'partial')) AS started_at
  FROM syncer.runs WHERE connection_id IS NOT NULL GROUP BY connection_id
) s
LEFT JOIN syncer.runs f ON f.connection_id = s.connection_id AND f.state = 'failed'
  AND f.started_at > coalesce(s.started_at, '-infinity')
GROUP BY s.connection_id, s.last_success_at
"""
_PARTITIONS = """
SELECT f.partition, f.workflow_name, f.watermark_at, f.lag_seconds, f.complete_from, f.settled_until,
  f.open_executions, f.steps_due, b.backlog_seconds, f.last_success_at, f.last_error, f.last_error_at,
  w.missing_reason, coalesce(b.backlog_windows, 0) AS backlog_windows, b.backlog_from, b.backlog_until,
  b.backlog_began_at, b.backlog_copied_seconds
FROM history.sync_freshness f
LEFT JOIN history.workflows w ON w.connection_id = f.connection_id AND w.workflow_id = f.partition
LEFT JOIN (
  SELECT partition, sum(EXTRACT(epoch FROM until - position))::double precision AS backlog_seconds,
    sum(EXTRACT(epoch FROM position - since))::double precision AS backlog_copied_seconds,
    count(*) AS backlog_windows, min(position) AS backlog_from, max(until) AS backlog_until,
    min(created_at) AS backlog_began_at
  FROM syncer.backfill_windows WHERE connection_id = :connection AND state = 'open' GROUP BY partition
) b ON b.partition = f.partition
WHERE f.connection_id = :connection
ORDER BY f.workflow_name, f.partition
"""
_PENDING = """
SELECT count(*) FILTER (WHERE steps_state = 'due') AS steps_due,
  count(*) FILTER (WHERE steps_state = 'failed' AND created_at > :served) AS steps_failed,
  min(created_at) FILTER (WHERE _ended_at IS NOT NULL AND created_at > :served) AS oldest_at,
  count(*) FILTER (WHERE is_late) AS late,
  max(created_at) FILTER (WHERE is_late) AS newest_late_at,
  min(synced_at) FILTER (WHERE is_late) AS late_since
FROM (
  SELECT steps_state, created_at, synced_at, _ended_at,
    steps_state = 'due' AND _ended_at IS NOT NULL AND created_at > :served AND created_at < :recent AS is_late
  FROM history.executions
  WHERE connection_id = :connection AND steps_state IN ('due', 'failed') AND missing_since IS NULL
) pending
"""
_ARRIVED = """
SELECT count(*) FROM history.executions
WHERE connection_id = :connection AND created_at >= :since
"""
_LANDED = """
SELECT connection_id, floor(EXTRACT(epoch FROM now() - synced_at) / 3600)::int AS hours_ago, count(*) AS landed
FROM history.executions
WHERE connection_id = ANY(:connections) AND synced_at > now() - make_interval(hours => :hours) AND synced_at <= now()
GROUP BY 1, 2
"""
_COPIED = """
SELECT count(*) FROM history.executions
WHERE connection_id = :connection AND synced_at >= :since AND coalesce(steps_read_at, synced_at) >= :since
  AND steps_state IN ('read', 'gone', 'off')
"""


def standings(db: Database, connections: Mapping[str, Connection], *, others: bool = True) -> list[Standing]:
    """How far every connection is copied; the configured ones first, by name.

    `others` adds those that have history in the warehouse and no configuration. For figures that agree with each
    other `db` should read one snapshot.
    """
    reader = _Reader(db, connections)
    names = sorted({*connections, *reader.stored} if others else connections)
    return sorted((reader.standing(name) for name in names), key=lambda each: not each.is_configured)


def landed(db: Database, connections: Iterable[str], hours: int) -> dict[str, list[int]]:
    """How many executions of each were written last in each of the last hours, the oldest first."""
    counts = {name: [0] * hours for name in connections}
    for row in _rows(db, _LANDED, connections=list(counts), hours=hours):
        counts[row["connection_id"]][-1 - row["hours_ago"]] = row["landed"]
    return counts


class _Reader:
    def __init__(self, db: Database, connections: Mapping[str, Connection]) -> None:
        self._db = db
        self._connections = connections
        self._now: datetime = db.execute(text(_NOW)).scalar_one()
        self.stored = self._single(_CONNECTIONS)
        self._limits = self._single(_LIMITS)
        self._quarantined = self._single(_QUARANTINED)
        self._last_runs = self._single(_LAST_RUNS)
        self._successes = self._single(_SUCCESSES)
        self._audit = _grouped(_rows(db, _AUDIT))
        self._leases = _grouped(_rows(db, _LEASES))

    def standing(self, name: str) -> Standing:
        """All that is known of one connection."""
        stored = self.stored.get(name, {})
        success = self._successes.get(name, {})
        verdicts = [row["verdict"] for row in self._audit[name]]
        return Standing(
            connection=name,
            platform=stored.get("platform"),
            base_url=stored.get("base_url"),
            is_configured=name in self._connections,
            first_synced_at=stored.get("first_synced_at"),
            **_limited(self._limits.get(name), self._now),
            quarantined=self._quarantined.get(name, {}).get("quarantined", 0),
            last_run=self._last_runs.get(name),
            audit=self._audit[name],
            leases=self._leases[name],
            last_success_at=success.get("last_success_at"),
            failing_since=success.get("failing_since"),
            disputed_windows=verdicts.count("disputed"),
            lost_windows=verdicts.count("lost"),
            **self._work(name),
        )

    def _work(self, name: str) -> Row:
        """What is still to be copied, and how fast that goes."""
        connection = self._connections.get(name)
        partitions = self._partitions(name, connection)
        followed = [row for row in partitions if row["is_followed"]]
        pending = self._pending(name, connection)
        ledger = [row for row in followed if row["backlog_windows"]]
        began_at = _first(row["backlog_began_at"] for row in ledger)
        left = Left(
            late=pending["late"],
            history_hours=_mean_hours(followed),
            since=_first((pending["late_since"], began_at)),
            newest_at=_last((pending["newest_late_at"], *(row["backlog_until"] for row in ledger))),
        )
        arriving, copied = self._arriving(name, followed), self._copied(name, left.since)
        oldest = (pending["oldest_at"], *(row["backlog_from"] for row in ledger), *_marks(followed))
        return {
            "partitions": partitions,
            "open_executions": sum(row["open_executions"] for row in partitions),
            "steps_due": pending["steps_due"],
            "steps_failed": pending["steps_failed"],
            "backlog_seconds": sum(row["backlog_seconds"] for row in ledger),
            "backlog_windows": sum(row["backlog_windows"] for row in ledger),
            "history_began_at": began_at,
            "history_copied": _copied_share(ledger),
            "seconds_left": seconds_left(left, arriving, copied, self._now),
            "seconds_until_deletion": self._until_deletion(connection, _first(oldest)),
            "executions_arriving_per_hour": arriving,
            "executions_copied_per_hour": copied,
            "falls_behind": connection is not None
            and falls_behind(left, arriving, copied, self._now, connection.horizon),
        }

    def _partitions(self, name: str, connection: Connection | None) -> list[Row]:
        rows = _rows(self._db, _PARTITIONS, connection=name)
        for row in rows:
            row["is_followed"] = row["missing_reason"] is None and (
                connection is None
                or row["workflow_name"] is None  # no workflow, or one that was never listed
                or is_chosen(row["partition"], row["workflow_name"], connection.workflows)
            )
        return rows

    def _pending(self, name: str, connection: Connection | None) -> Row:
        served = (
            self._now - connection.horizon if connection else datetime.min.replace(tzinfo=self._now.tzinfo)
        )
        recent = self._now - min(RECENT, connection.horizon / 4 if connection else RECENT)
        return _rows(self._db, _PENDING, connection=name, served=served, recent=recent)[0]

    def _arriving(self, name: str, followed: Sequence[Row]) -> float:
        """Executions an hour, counted where all partitions are complete: a new one begins with its last hour."""
        whole_from = _last(row["complete_from"] for row in followed)
        day, hour = self._now - ARRIVALS_OVER, self._now - timedelta(hours=1)
        return self._hourly(_ARRIVED, name, min(max(day, whole_from or day), hour))

    def _copied(self, name: str, backlog_since: datetime | None) -> float:
        """Executions an hour since there is a backlog, so that idle hours do not count."""
        latest, earliest = (self._now - span for span in PACE_OVER)
        return self._hourly(_COPIED, name, min(max(earliest, backlog_since or latest), latest))

    def _hourly(self, query: str, name: str, since: datetime) -> float:
        count: int = self._db.execute(text(query), {"connection": name, "since": since}).scalar_one()
        return count / ((self._now - since) / timedelta(hours=1))

    def _until_deletion(self, connection: Connection | None, oldest: datetime | None) -> float | None:
        if connection is None or oldest is None:
            return None
        return max((oldest + connection.horizon - self._now).total_seconds(), 0.0)

    def _single(self, query: str) -> dict[str, Row]:
        return {row.pop("connection_id"): row for row in _rows(self._db, query)}


def _limited(row: Row | None, now: datetime) -> Row:
    """The wait that is on, if there is one, and how much of the source's limit is used by what."""
    if row is None:
        return {"waiting_until": None, "waiting_reason": None, "limit": None}
    spending = read_spending(row["spending"])
    used = {purpose.value: count for purpose, count in spending.usage(now.timestamp()).items()}
    limit = Limit(row["limit_requests"], row["limit_seconds"]) if row["limit_requests"] else None
    told = limit and {"requests": limit.requests, "seconds": limit.seconds, "used": used}
    if row["not_before"] is not None:
        return {"waiting_until": row["not_before"], "waiting_reason": row["reason"], "limit": told}
    waiting = {
        purpose: until for purpose, until in spending.used_up_until.items() if until > now.timestamp() + SOON
    }
    if not waiting or limit is None:
        return {"waiting_until": None, "waiting_reason": None, "limit": told}
    until = datetime.fromtimestamp(min(waiting.values()), now.tzinfo)
    kinds = ", ".join(purpose for purpose in Purpose if purpose in waiting)
    return {
        "waiting_until": until,
        "waiting_reason": f"the limit of {limit} is used by now ({kinds})",
        "limit": told,
    }


class Left(Struct, frozen=True, kw_only=True):
    """What is late: executions listed, hours of history not listed (a mean over all partitions), how long, how new."""

    late: int
    history_hours: float
    since: datetime | None
    newest_at: datetime | None


def falls_behind(left: Left, arriving: float, copied: float, now: datetime, horizon: timedelta) -> bool:
    """Whether the source will delete some of what is left before it is copied; `arriving` and `copied` are an hour.

    What is new comes first, so `copied - arriving` an hour remains for what is left: the executions that are late,
    and as many in an hour of history as arrive in one now. It is copied oldest first while the source deletes from
    the same end, so nothing is lost if the newest of it is copied before its time is over. There is no verdict
    before the pace has been measured for an hour.
    """
    if left.newest_at is None or not _is_measured(left, now):
        return False
    hours = max((left.newest_at + horizon - now) / timedelta(hours=1), 0)
    return _executions(left, arriving) > (copied - arriving) * hours


def seconds_left(left: Left, arriving: float, copied: float, now: datetime) -> float | None:
    """How long what is late takes at this pace; None without a pace, or where it does not get less."""
    if not _is_measured(left, now) or copied <= arriving:
        return None
    return _executions(left, arriving) / (copied - arriving) * 3600


def _is_measured(left: Left, now: datetime) -> bool:
    return left.since is not None and left.since <= now - PACE_OVER[0]


def _executions(left: Left, arriving: float) -> float:
    """What is late, and what history is likely to bring: as many in an hour as arrive in one now."""
    return left.late + left.history_hours * arriving


def _copied_share(ledger: Sequence[Row]) -> float | None:
    copied = sum(row["backlog_copied_seconds"] for row in ledger)
    whole = copied + sum(row["backlog_seconds"] for row in ledger)
    return copied / whole if whole else None


def _mean_hours(partitions: Sequence[Row]) -> float:
    return sum(row["backlog_seconds"] or 0 for row in partitions) / 3600 / max(len(partitions), 1)


def _marks(partitions: Sequence[Row]) -> list[datetime | None]:
    return [row["watermark_at"] for row in partitions]


def _first(instants: Iterable[datetime | None]) -> datetime | None:
    return min((each for each in instants if each is not None), default=None)


def _last(instants: Iterable[datetime | None]) -> datetime | None:
    return max((each for each in instants if each is not None), default=None)


def _rows(db: Database, query: str, **values: object) -> list[Row]:
    return [dict(row) for row in db.execute(text(query), values).mappings()]


def _grouped(rows: Iterable[Row]) -> defaultdict[str, list[Row]]:
    """Rows by their connection, which they no longer name."""
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.pop("connection_id")].append(row)
    return groups
