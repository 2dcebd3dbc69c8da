"""What really happened at the simulated source, in the simulator's own form.

Invariant: it is written down while a history is invented or changed, never derived from what is served; that
is why a copy may be judged by it. It must not know how any platform puts it on the wire.

Times are milliseconds since 1970, UTC.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from syncer.simulator.payloads import Payload

Outcome = Literal["queued", "running", "succeeded", "failed", "canceled", "unknown"]

DAY_MS = 86_400_000

# The source's words and what they mean. Other words are for seeing what a reader does with them: "unknown".
OUTCOMES: dict[str, Outcome] = {
    "Queued": "queued",
    "Pending": "queued",
    "Waiting": "queued",
    "Running": "running",
    "Success": "succeeded",
    "Error": "failed",
    "Failed": "failed",
    "Canceled": "canceled",
    "Cancelled": "canceled",
    "Aborted": "canceled",
}


def outcome_of(status: str) -> Outcome:
    return OUTCOMES.get(status, "unknown")


@dataclass(slots=True)
class Node:
    """A step as the workflow runs it; `name` is None where the definition does not hold it (any more)."""

    id: str
    type: str
    name: str | None


@dataclass(slots=True)
class Revision:
    """One definition of a workflow: the JSON text as served inside a string, and its SHA-256.

    `redacted` is the document as the default `redact_keys` leave it.
    """

    revision: str
    definition_text: str
    redacted: Any


@dataclass(slots=True)
class Workflow:
    id: str
    name: str
    description: str
    created_by: str
    created_ms: int
    updated_ms: int
    customer_id: str
    region: str
    account: str
    nodes: list[Node]
    revisions: list[Revision]
    tags: list[str]
    active: bool = True
    edited_ms: int | None = None
    deleted_ms: int | None = None
    last_status: str | None = None
    last_ended_ms: int | None = None
    last_message: str | None = None

    @property
    def definition_text(self) -> str:
        return self.revisions[-1].definition_text

    @property
    def revision(self) -> str:
        return self.revisions[-1].revision


@dataclass(slots=True)
class Event:
    """One record of a step: that it began, or that it ended."""

    id: str
    attempt: Attempt = field(repr=False, compare=False)
    order: int
    status: str
    created_ms: int
    updated_ms: int
    started_ms: int
    ended_ms: int | None
    message: str | None
    tags: list[str]

    @property
    def execution_id(self) -> str:
        return self.attempt.execution_id

    @property
    def node_id(self) -> str:
        return self.attempt.node_id


@dataclass(slots=True)
class Attempt:
    """One run of one node: what a reader of the events has to find out."""

    execution_id: str
    node_id: str
    node_type: str
    node_name: str | None
    number: int
    status: str
    outcome: Outcome
    started_ms: int
    ended_ms: int | None
    message: str | None
    given: Payload
    made: Payload | None
    events: list[Event] = field(default_factory=list, repr=False)

    @property
    def input(self) -> Any:
        return self.given.value

    @property
    def output(self) -> Any:
        return None if self.made is None else self.made.value


@dataclass(slots=True, eq=False)
class Execution:
    id: str
    workflow_id: str
    customer_id: str
    status: str
    outcome: Outcome
    created_ms: int
    started_ms: int | None
    ended_ms: int | None
    updated_ms: int
    message: str | None
    source: str
    tags: list[str]
    variables: list[str]
    region: str
    account: str
    execution_type: str = "Simple"
    parent_id: str | None = None
    linked_ids: list[str] | None = None
    visible_ms: int = 0
    deleted_ms: int | None = None
    attempts: list[Attempt] = field(default_factory=list, repr=False)

    @property
    def events(self) -> list[Event]:
        """In the order of their creation."""
        events = [event for attempt in self.attempts for event in attempt.events]
        return sorted(events, key=lambda event: (event.created_ms, event.id))


class Truth:
    """Everything that ever was, deleted records included, and which records are served with a lie in them."""

    def __init__(self) -> None:
        self.workflows: dict[str, Workflow] = {}
        self.executions: dict[str, Execution] = {}
        self.spoiled: dict[str, dict[str | None, object]] = {}
        self._listed: dict[str, list[Execution]] = {}
        self._last_visible_ms = 0

    @property
    def attempts(self) -> Iterator[Attempt]:
        return (attempt for execution in self.executions.values() for attempt in execution.attempts)

    @property
    def events(self) -> Iterator[Event]:
        return (event for attempt in self.attempts for event in attempt.events)

    def add_workflow(self, workflow: Workflow) -> None:
        self.workflows[workflow.id] = workflow
        self._listed[workflow.id] = []

    def add_execution(self, execution: Execution) -> None:
        self.executions[execution.id] = execution
        self._last_visible_ms = max(self._last_visible_ms, execution.visible_ms)
        insort(self._listed[execution.workflow_id], execution, key=_created)

    def hide(self, execution: Execution, until_ms: int) -> None:
        """It exists, but no list and no id shows it before `until_ms`."""
        execution.visible_ms = until_ms
        self._last_visible_ms = max(self._last_visible_ms, until_ms)

    def delete_execution(self, execution: Execution, at_ms: int) -> None:
        """It is no longer served; what it was stays on record."""
        execution.deleted_ms = at_ms
        self._listed[execution.workflow_id].remove(execution)

    def listed(self, workflow_id: str, since_ms: int, until_ms: int, now_ms: int) -> list[Execution]:
        """The visible executions created in [since, until], oldest first, in a stable order within a tie."""
        rows = self._listed[workflow_id]
        span = rows[bisect_left(rows, since_ms, key=_created) : bisect_right(rows, until_ms, key=_created)]
        if now_ms >= self._last_visible_ms:
            return span
        return [execution for execution in span if execution.visible_ms <= now_ms]

    def served(self, now_ms: int, horizon_ms: int = 30 * DAY_MS) -> list[Execution]:
        """What a perfect reader finds at this moment."""
        return [
            execution
            for workflow in self.workflows.values()
            if workflow.deleted_ms is None
            for execution in self.listed(workflow.id, now_ms - horizon_ms, now_ms, now_ms)
        ]


def _created(execution: Execution) -> int:
    return execution.created_ms
