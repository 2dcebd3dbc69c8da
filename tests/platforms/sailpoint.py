"""What a perfect copy of a SailPoint holds.

Invariant: columns on which the promised mapping is silent are not looked at; what it says of begins and ends alone
is looked at for actions alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel

from syncer.simulator import REDACTED, Execution, Tenant
from syncer.simulator.sailpoint.events import TRIGGER, HistoryEvent, event_key, event_record, history_of
from syncer.simulator.sailpoint.records import (
    close_ns,
    created_ns,
    definition,
    execution_record,
    modified_ns,
    start_ns,
    status_of,
    workflow_record,
)
from tests.platforms import Key, Platform, Records, Table, Values, ended, listed, served

_STEP = "execution_id, node_id, attempt"


def _of_actions(column: str) -> str:
    return f"CASE WHEN node_id <> '{TRIGGER}' THEN {column} END"


class SailPoint(Platform):
    """Its truth is the simulator's in SailPoint's words, its steps are told by the events of histories."""

    reopens = False  # a history only grows: after its last event there is none
    steps_endpoint = "history"
    tells_totals = False
    names_events = False  # all that an event says is its name
    hard: Mapping[str, Mapping[str, Any]] = {
        "no totals, all of a millisecond tied": {"total_count": "refused", "time_digits": "three"},
        "second histories": {"history": "removed"},
        "ends counted": {"execution_counts": "ended"},
    }
    by_number: Mapping[str, Any] = {"time_digits": "three"}

    def auth(self, simulator: Tenant) -> tuple[BaseModel, BaseModel]:
        known = simulator.credentials
        platform = self.source.PLATFORM
        given = {"mode": "client", "client_id": known.client_id, "client_secret": known.client_secret}
        return platform.auth[0].model_validate(given), platform.options.model_validate(_path(simulator))

    def records(self, simulator: Tenant) -> dict[str, Records]:
        truth, switches, execution = simulator.truth, simulator.switches, ended(simulator)
        workflow = workflow_record(truth.workflows[execution.workflow_id], (1, 0), switches)
        record = execution_record(execution, switches)
        event = event_record(history_of(execution, switches)[0], switches)
        events = [
            event_key(each.id, place)
            for each in truth.executions.values()
            for place in range(len(history_of(each, switches)))
        ]
        own, names = frozenset(("id",)), frozenset(("id", "workflowId"))
        return {
            "workflows": Records(list(truth.workflows), tuple(workflow), ("id",), own, own),
            "executions": Records(
                list(truth.executions), tuple(record), ("id",), names, names | {"startTime"}
            ),
            "steps": Records(events, tuple(event), (), frozenset(), frozenset(("timestamp",))),
        }

    def workflows(self, simulator: Tenant) -> Table:
        switches = simulator.switches
        rows = {
            (w.id,): (
                *(w.name, w.description, w.active),
                *(_at(created_ns(w, switches)), _at(modified_ns(w, switches))),
                definition(w, REDACTED),
            )
            for w in listed(simulator)
        }
        columns = "name, description, is_active, created_at, updated_at, definition"
        return Table("workflow_id", columns, rows)

    def executions(self, simulator: Tenant) -> Table:
        rows = {(e.id,): _execution(simulator, e) for e in served(simulator)}
        columns = "workflow_id, status, outcome, created_at, started_at, ended_at, message, missing_reason"
        return Table("execution_id", columns, rows)

    def step_events(self, simulator: Tenant) -> Table:
        rows = {
            (e.id, event.node_id, _at(event.at_ns)): _event(event)
            for e in served(simulator)
            for event in _history(simulator, e)
        }
        begun = _of_actions("CASE WHEN ended_at IS NULL THEN started_at END")
        return Table(
            "execution_id, node_id, created_at", f"{begun}, {_of_actions('ended_at')}, message", rows
        )

    def steps(self, simulator: Tenant) -> Table:
        rows = {key: _step(execution, events) for execution, key, events in _attempts(simulator)}
        own = ("node_name", "outcome", "started_at", "ended_at")
        return Table(_STEP, ", ".join((*map(_of_actions, own), "message", "event_count")), rows)

    def step_io(self, simulator: Tenant) -> Table:
        """A step that was given and has made nothing need not have a row."""
        rows = {
            key: tuple(
                next((payload.redacted for payload in payloads if payload is not None), None)
                for payloads in ([event.given for event in events], [event.made for event in events])
            )
            for _, key, events in _attempts(simulator)
        }
        return Table(
            _STEP, "input, output", rows, frozenset(key for key in rows if rows[key] == (None, None))
        )


def _path(simulator: Tenant) -> dict[str, str]:
    """The style of paths that this tenant serves, one with the second history where the first is gone."""
    switches = simulator.switches
    if switches.paths != "all":
        return {"api_path": switches.paths}
    return {"api_path": "v2025"} if switches.history == "removed" else {}


def _execution(simulator: Tenant, e: Execution) -> Values:
    """Its message is the error of the last event that failed."""
    switches = simulator.switches
    started_at = _at(start_ns(e, switches))
    errors = [event.error for event in _history(simulator, e) if event.error is not None]
    return (
        *(e.workflow_id, status_of(e, switches), e.outcome),
        *(started_at, started_at, _at(close_ns(e, switches))),
        *(errors[-1] if errors else None, None),
    )


def _event(event: HistoryEvent) -> Values:
    if event.attempt is None:
        return None, None, None
    at = _at(event.at_ns)
    return (None, at, event.error) if event.type.endswith(("Completed", "Failed")) else (at, None, None)


def _step(execution: Execution, events: list[HistoryEvent]) -> Values:
    """The whole workflow's one, of which little is promised, or an attempt of an action."""
    attempt = events[0].attempt
    if attempt is None:
        return None, None, None, None, None, len(events)
    if attempt.ended_ms is not None:
        outcome = "succeeded" if attempt.outcome == "succeeded" else "failed"
    else:
        outcome = "running" if execution.ended_ms is None else "unknown"
    ended_at = None if attempt.ended_ms is None else _at(events[-1].at_ns)
    return attempt.node_name, outcome, _at(events[0].at_ns), ended_at, events[-1].error, len(events)


def _attempts(simulator: Tenant) -> Iterator[tuple[Execution, Key, list[HistoryEvent]]]:
    """The events of each attempt; all events of the workflow as a whole are one."""
    for execution in served(simulator):
        for key, events in _parted(_history(simulator, execution)).items():
            yield execution, (execution.id, *key), events


def _parted(events: Iterable[HistoryEvent]) -> dict[tuple[str, int], list[HistoryEvent]]:
    found: defaultdict[tuple[str, int], list[HistoryEvent]] = defaultdict(list)
    for event in events:
        found[event.node_id, 1 if event.attempt is None else event.attempt.number].append(event)
    return found


def _history(simulator: Tenant, execution: Execution) -> list[HistoryEvent]:
    """What is served of it: nothing of the oldest ones where the tenant keeps no history of them."""
    switches = simulator.switches
    kept_ms = simulator.clock.now_ms() - round((switches.horizon_days - 1) * 86_400_000)
    is_aged = execution.created_ms < kept_ms and switches.aged_history != "served"
    return [] if is_aged else history_of(execution, switches)


def _at(at_ns: int | None) -> Any:
    """Nanoseconds since 1970 as the warehouse returns them: rounded down to microseconds."""
    return None if at_ns is None else datetime.fromtimestamp(0, UTC) + timedelta(microseconds=at_ns // 1000)


PLATFORM = SailPoint("sailpoint")
