"""Every point on which the documents of SailPoint are silent or at odds, with all its readings.

Invariant: the defaults are the documented or likeliest reading; a reader that works under every reading works
with the real thing. It must not know how a reading is carried out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from syncer.simulator.readings import readings_of


@dataclass(frozen=True, slots=True)
class Switches:
    """How the simulated SailPoint reads its documents. Numbers are no readings but sizes."""

    # Paths
    paths: Literal["all", "v2024", "v2025", "v2026", "per-service"] = "all"
    """The styles that are served: `/v2024/workflows` and its like, or `/workflows/v1`."""
    deprecated_header: bool = True

    # Lists
    workflow_paging: Literal["refused", "ignored", "honoured", "clamped"] = "refused"
    """`limit` and `offset` of the list of workflows, which its description lacks. With "clamped" both are honoured,
    but no page has more than `workflow_cap` rows."""
    workflow_cap: int = 1
    total_count: Literal["served", "ignored", "refused"] = "served"
    """What `count=true` does, which was documented once and is no more."""
    filter_precision: Literal["ns", "ms"] = "ns"
    """How finely start_time is compared."""
    max_offset: Literal["none", "400"] = "none"
    offset_cap: int = 1000

    # Records
    running_word: Literal["Running", "Executing"] = "Running"
    """The second is not documented; tenants say it."""
    close_time_while_open: Literal["null", "absent"] = "null"
    time_digits: Literal["nine", "trimmed", "three"] = "nine"
    """Of every time: nanoseconds, those without the zeros at their end, or milliseconds."""
    execution_by_id: Literal["object", "list"] = "object"
    execution_counts: Literal["started", "ended", "absent"] = "started"
    """Whether `executionCount` moves when an execution begins or when it ends."""
    unannounced_fields: bool = False
    gone_workflow: Literal["404", "empty", "executions_served"] = "404"
    """The executions of a deleted one: gone with it, a list without any, or served still."""

    # Histories
    history: Literal["served", "deprecated", "removed"] = "served"
    """The first version of it."""
    history_paging: Literal["honoured", "ignored"] = "honoured"
    history_order: Literal["oldest_first", "newest_first"] = "oldest_first"
    history_v2: Literal["list", "object_when_alone", "object"] = "list"
    """Its `history`: all events; all, but a single one without its list; the last alone, as declared."""
    step_payloads: Literal["input_and_result", "absent"] = "input_and_result"
    """Whether events carry what an action was given and made."""
    workflow_tasks: bool = False
    """Whether the workflow's own turns between the actions show."""
    unlisted_events: bool = False
    """Whether an end that is neither success nor failure is told, in words that are not documented."""
    aged_history: Literal["served", "404", "empty"] = "served"
    """Histories of executions in the last day of the horizon."""

    # Access, limits and errors
    execution_scope: Literal["sp:workflow-execution:read", "sp:workflow:read"] = "sp:workflow-execution:read"
    """What a client needs to read executions; the older document names the second."""
    error_body: Literal["documented", "sample", "text", "empty"] = "documented"
    """With "sample" every error is word for word its sample."""
    backoff_tiers: bool = False
    """Whether a route that was asked too often again and again stays closed for minutes."""
    date_header: bool = True

    # Sizes
    rate_limit: int | None = None
    """Requests in `rate_window` seconds for each version of the API (the documents say 100); None: no limit."""
    rate_window: float = 10.0
    horizon_days: float = 90.0
    token_lifetime: float = 749.0


SWITCHES = readings_of(Switches)
