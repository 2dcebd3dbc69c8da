"""One workflow or execution of SailPoint as one value of the model: which field goes where.

Invariant: every field is mapped or stands in `extra` as sent; a time finer than a microsecond does both. Only a
missing identity makes a record unusable. Pure: no I/O, no HTTP. The fields: docs/sailpoint.md, Records.
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import blake2b

from msgspec import UNSET

from syncer.decode.record import Record
from syncer.errors import RecordError
from syncer.model import Execution, Outcome, Text, Time, Workflow
from syncer.sources.sailpoint.definition import read_nodes

OUTCOMES = {
    "queued": Outcome.QUEUED,
    "running": Outcome.RUNNING,
    "executing": Outcome.RUNNING,
    "completed": Outcome.SUCCEEDED,
    "failed": Outcome.FAILED,
    "canceled": Outcome.CANCELED,
    "cancelled": Outcome.CANCELED,
}

_NO_TIME = datetime(1, 1, 2, tzinfo=UTC)


def read_workflow(raw: bytes) -> Workflow:
    """A workflow, from the list or from its own endpoint: both carry all of it."""
    record = Record.parse(raw)
    hint = _hint(raw)
    definition = record.json("definition")
    trigger = Record.parse(raw).raw("trigger")
    return Workflow(
        workflow_id=record.identity("id"),
        name=record.text("name"),
        description=record.text("description"),
        is_active=record.boolean("enabled"),
        type=_inside(record, "trigger", "type"),
        created_by=_inside(record, "creator", "id", column="created_by"),
        created_at=record.time_iso("created"),
        updated_at=record.time_iso("modified"),
        definition=definition,
        extra=record.extra(),
        nodes=read_nodes(definition, trigger or b"") if isinstance(definition, bytes) else UNSET,
        hint=hint,
    )


def read_execution(raw: bytes) -> Execution:
    """An execution, from a list or from its own endpoint."""
    record = Record.parse(raw)
    execution_id, workflow_id = record.identity("id"), record.identity("workflowId")
    started_at = record.time_iso("startTime")
    if not isinstance(started_at, datetime):
        raise RecordError("no usable creation time: startTime is missing or no ISO 8601 time")
    status = record.text("status")
    outcome = outcome_of(status)
    return Execution(
        execution_id=execution_id,
        workflow_id=workflow_id,
        created_at=started_at,
        outcome=outcome,
        status=status,
        started_at=started_at,
        ended_at=_ended_at(record, outcome),
        extra=record.extra(),
    )


def outcome_of(status: Text) -> Outcome:
    """Translate a status, in whatever case it is written."""
    return (
        OUTCOMES.get(status.strip().lower(), Outcome.UNKNOWN) if isinstance(status, str) else Outcome.UNKNOWN
    )


def _ended_at(record: Record, outcome: Outcome) -> Time:
    """`closeTime`: absent, null or the first instant of the calendar while it runs."""
    ended_at = record.time_iso("closeTime")
    if isinstance(ended_at, datetime) and ended_at < _NO_TIME:
        return None
    return None if outcome in (Outcome.RUNNING, Outcome.QUEUED) and ended_at is UNSET else ended_at


def _inside(record: Record, name: str, field: str, *, column: str | None = None) -> Text:
    """A text of an object inside the record; the object sent without it says there is none."""
    inner = record.record(name)
    if not isinstance(inner, Record):
        return inner
    value = inner.text(field, column=column)
    return value if isinstance(value, str) else None


def _hint(raw: bytes) -> str | None:
    """How often it ran and failed and when it was edited; None where it is not told how often it ran."""
    told = Record.parse(raw)
    runs, failures, modified = (
        told.integer("executionCount"),
        told.integer("failureCount"),
        told.text("modified"),
    )
    if not isinstance(runs, int):
        return None
    return blake2b(f"{runs} {failures} {modified}".encode(), digest_size=16).hexdigest()
