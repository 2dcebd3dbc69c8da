"""The history of one execution in SailPoint's words.

Invariant: what has happened keeps its place, and no two events share a microsecond (or a millisecond, where times are
no finer). It must not know requests, pages or who asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from msgspec import Raw

from syncer.simulator.payloads import Payload
from syncer.simulator.sailpoint.records import start_ns, technical_name
from syncer.simulator.sailpoint.stamps import MS, nanoseconds, told
from syncer.simulator.sailpoint.switches import Switches
from syncer.simulator.truth import Attempt, Execution

TRIGGER = "trigger"
"""The node that events of the whole workflow belong to; it runs as no action of its own."""

_ACTIVITY = ("ActivityTaskScheduled", "ActivityTaskStarted", "ActivityTask")
_CHILD = ("StartChildWorkflowExecutionInitiated", "ChildWorkflowExecutionStarted", "ChildWorkflowExecution")
_TURN = ("WorkflowTaskScheduled", "WorkflowTaskStarted", "WorkflowTaskCompleted")
_ENDS = {"succeeded": "WorkflowExecutionCompleted", "failed": "WorkflowExecutionFailed"}
_UNLISTED = {"canceled": "WorkflowExecutionCanceled", "unknown": "WorkflowExecutionTimedOut"}


class HistoryEvent(NamedTuple):
    """One event; `attempt` is None where it is of the workflow as a whole. `given` and `made` as it carries them."""

    type: str
    at_ns: int
    attempt: Attempt | None = None
    given: Payload | None = None
    made: Payload | None = None

    @property
    def node_id(self) -> str:
        return TRIGGER if self.attempt is None else self.attempt.node_id

    @property
    def error(self) -> str | None:
        """What a failed action said."""
        failed = self.attempt is not None and self.type.endswith("Failed")
        return self.attempt.message if self.attempt is not None and failed else None


class _Happening(NamedTuple):
    at_ms: int
    event: HistoryEvent


def history_of(execution: Execution, switches: Switches) -> list[HistoryEvent]:
    """All events so far, oldest first, with their times in ns."""
    happenings = sorted(_happenings(execution, switches), key=lambda each: each.at_ms)
    tick = MS if switches.time_digits == "three" else 1000
    told_so_far: list[HistoryEvent] = []
    for place, (at_ms, event) in enumerate(happenings):
        own_ns = nanoseconds(at_ms, f"{execution.id}/{place}", switches)
        least_ns = told_so_far[-1].at_ns + tick if told_so_far else start_ns(execution, switches)
        told_so_far.append(event._replace(at_ns=max(own_ns, least_ns)))
    return told_so_far


def event_record(event: HistoryEvent, switches: Switches) -> dict[str, Any]:
    """As it is served."""
    attributes = _names(event) | {
        name: Raw(payload.text)
        for name, payload in (("input", event.given), ("result", event.made))
        if payload is not None
    }
    if event.error is not None:
        attributes["error"] = event.error
    record = {"type": event.type, "timestamp": told(event.at_ns, switches), "attributes": attributes}
    if switches.unannounced_fields:
        record["tenantTier"] = {"name": "gold", "since": 2024}
    return record


def event_key(execution_id: str, place: int) -> str:
    """What an event is spoiled by, which has no id: its place in the history, from 0."""
    return f"{execution_id}#{place}"


def _names(event: HistoryEvent) -> dict[str, Any]:
    attempt = event.attempt
    if attempt is None:
        return {}
    shown = {} if attempt.node_name is None else {"displayName": attempt.node_name}
    return {**shown, "stepName": attempt.node_id, "technicalName": technical_name(attempt.node_type)}


def _happenings(execution: Execution, switches: Switches) -> Iterator[_Happening]:
    yield _Happening(execution.created_ms, HistoryEvent("WorkflowExecutionScheduled", 0))
    if execution.started_ms is None:
        return
    given = next((each.given for each in execution.attempts if each.node_type == TRIGGER), None)
    yield _Happening(execution.created_ms, HistoryEvent("WorkflowExecutionStarted", 0, given=given))
    for attempt in execution.attempts:
        if attempt.node_type != TRIGGER:
            yield from _turn(attempt.started_ms, switches)
            yield from _attempted(attempt, switches)
    yield from _ended(execution, switches)


def _turn(at_ms: int, switches: Switches) -> Iterator[_Happening]:
    """The workflow decides what comes next."""
    for kind in _TURN if switches.workflow_tasks else ():
        yield _Happening(at_ms, HistoryEvent(kind, 0))


def _attempted(attempt: Attempt, switches: Switches) -> Iterator[_Happening]:
    scheduled, started, family = _CHILD if attempt.node_type == "post-workflow-trigger" else _ACTIVITY
    has_payloads = switches.step_payloads == "input_and_result"
    given = attempt.given if has_payloads else None
    yield _Happening(attempt.started_ms, HistoryEvent(scheduled, 0, attempt, given))
    yield _Happening(attempt.started_ms, HistoryEvent(started, 0, attempt))
    if attempt.ended_ms is not None:
        well = attempt.outcome == "succeeded"
        made = attempt.made if has_payloads else None
        end = HistoryEvent(f"{family}{'Completed' if well else 'Failed'}", 0, attempt, made=made)
        yield _Happening(attempt.ended_ms, end)


def _ended(execution: Execution, switches: Switches) -> Iterator[_Happening]:
    words = _ENDS | (_UNLISTED if switches.unlisted_events else {})
    if execution.ended_ms is not None and execution.outcome in words:
        yield _Happening(execution.ended_ms, HistoryEvent(words[execution.outcome], 0))
