"""How a connection may stand, invented."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from syncer.state.standing import Row, Standing

NOW = datetime(2026, 3, 10, 11, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def run(state: str = "done", ended: timedelta = MINUTE, **changes: object) -> Row:
    return {
        "command": "run",
        "state": state,
        "started_at": NOW - ended - MINUTE,
        "ended_at": NOW - ended,
        "error": None,
        **changes,
    }


def stand(**changes: Any) -> Standing:
    """A connection with which all is well."""
    well: dict[str, Any] = {
        "connection": "toy", "platform": "toy", "base_url": "https://toy.example", "is_configured": True,
        "first_synced_at": NOW - 90 * DAY, "waiting_until": None, "waiting_reason": None, "quarantined": 0,
        "steps_failed": 0, "last_run": run(), "audit": [], "leases": [], "partitions": [], "failing_since": None,
        "last_success_at": NOW - MINUTE, "open_executions": 0, "steps_due": 0, "backlog_seconds": 0,
        "backlog_windows": 0, "history_began_at": None, "history_copied": None,
        "seconds_left": None, "disputed_windows": 0, "lost_windows": 0,
        "seconds_until_deletion": 29 * DAY.total_seconds(), "executions_arriving_per_hour": 0,
        "executions_copied_per_hour": 0, "falls_behind": False, "limit": None,
    }  # fmt: skip
    return Standing(**{**well, **changes})


def partition(name: str, **changes: object) -> Row:
    """One that has just been read."""
    return {
        "partition": name,
        "workflow_name": f"Workflow {name}",
        "watermark_at": NOW - MINUTE,
        "lag_seconds": 60.0,
        "open_executions": 0,
        "steps_due": 0,
        "backlog_seconds": None,
        "last_error": None,
        "last_error_at": None,
        "missing_reason": None,
        "is_followed": True,
        **changes,
    }
