"""One record of Qualys Flow as one value of the model: which field goes where.

Invariant: every field is mapped, or dropped as a repetition, or stands in `extra` as sent. Only a missing
identity makes a record unusable. Pure: no I/O, no HTTP. The fields: docs/qualys-flow.md, Records.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache, partial
from hashlib import blake2b
from typing import TypeVar

from msgspec import UNSET, UnsetType

from syncer.decode.answer import Listing
from syncer.decode.payload import Payload, decode_payload
from syncer.decode.record import Record
from syncer.decode.redact import Redactor
from syncer.errors import RecordError
from syncer.model import (
    Execution,
    NodePayload,
    Outcome,
    Page,
    Role,
    StepEvent,
    Text,
    Texts,
    Time,
    Workflow,
)
from syncer.sources.qualys_flow.definition import read_definition, read_nodes
from syncer.sources.records import to_page

OUTCOMES = {
    "queued": Outcome.QUEUED,
    "pending": Outcome.QUEUED,
    "waiting": Outcome.QUEUED,
    "running": Outcome.RUNNING,
    "success": Outcome.SUCCEEDED,
    "error": Outcome.FAILED,
    "failed": Outcome.FAILED,
    "canceled": Outcome.CANCELED,
    "cancelled": Outcome.CANCELED,
    "aborted": Outcome.CANCELED,
}

CUSTOMER = "customerId"
_CREATOR = "created_by="

Row = TypeVar("Row")
Value = TypeVar("Value")


class Records:
    """Maps the records of one subscription. `facts` holds its customer id once a record has named it."""

    def __init__(self, redactor: Redactor, *, max_payload_bytes: int, with_payloads: bool) -> None:
        self.facts: dict[str, str] = {}
        self._redactor = redactor
        self._with_payloads = with_payloads
        # Every event of a step brings its input again.
        self._decoded = lru_cache(maxsize=4)(
            partial(decode_payload, limit=max_payload_bytes, redactor=redactor)
        )

    def page(self, listing: Listing, read: Callable[[bytes], Row]) -> Page[Row]:
        """Read every record of a list; those without a usable identity become rejects."""
        return to_page(listing, read, named_by=("id", "execution", "workflow"))

    def workflow(self, raw: bytes) -> Workflow:
        """A workflow, from the list or from its own endpoint."""
        record = Record.parse(raw)
        workflow_id = record.identity("id", "workflow")
        record.drop("workflow", equal_to=workflow_id)
        self._drop_customer(record)
        last = record.record("last_execution_details")
        updated_at = record.time_ms("updatedAt")
        status = record.text("last_execution_status")
        ended_at = _within(last, lambda inner: inner.time_ms("executionEndDate"))
        message = _within(last, lambda inner: inner.text("message", column="last_execution_message"))
        tags = record.strings("tags")
        definition = read_definition(record, self._redactor)
        return Workflow(
            workflow_id=workflow_id,
            name=record.text("name"),
            description=record.text("description"),
            is_active=record.boolean("active"),
            type=record.text("type"),
            revision=record.text("revision"),
            created_by=_creator(tags),
            created_at=record.time_ms("createdAt"),
            updated_at=updated_at,
            deleted_at=record.time_ms("deletedAt"),
            last_execution_status=status,
            last_execution_ended_at=ended_at,
            last_execution_message=message,
            tags=tags,
            definition=definition,
            properties=record.json("properties"),
            extra=record.extra(),
            nodes=read_nodes(definition) if isinstance(definition, bytes) else UNSET,
            hint=_hint(updated_at, ended_at, status, message),
        )

    def execution(self, raw: bytes) -> Execution:
        """An execution, from a list or from its own endpoint."""
        return self._execution(Record.parse(raw))

    def execution_with_steps(self, raw: bytes) -> tuple[Execution, bytes | None]:
        """An execution and the JSON text of the steps in it, None where it holds none."""
        record = Record.parse(raw)
        nested = [record.raw(name) for name in ("steps", "items")]
        steps = next((value for value in nested if isinstance(value, bytes) and value[:1] in b"[{"), None)
        return self._execution(record), steps

    def _execution(self, record: Record) -> Execution:
        execution_id = record.identity("id", "execution")
        record.drop("execution", equal_to=execution_id)
        workflow_id = record.identity("workflow")
        created_at = _created_at(record)
        self._drop_repetitions(record, created_at)
        details = record.record("details")
        status = record.text("status")
        outcome = outcome_of(status)
        return Execution(
            execution_id=execution_id,
            workflow_id=workflow_id,
            created_at=created_at,
            outcome=outcome,
            status=status,
            execution_type=record.text("executionType", column="execution_type"),
            trigger=record.text("source", column="trigger"),
            parent_execution_id=record.text("parentExecutionId", column="parent_execution_id"),
            linked_execution_ids=record.strings("linkedExecutionIds", column="linked_execution_ids"),
            message=_within(details, lambda inner: inner.text("message")),
            started_at=record.time_ms("startDate"),
            ended_at=_ended_at(record, details, outcome),
            updated_at=record.time_ms("updatedAt"),
            variables=record.json("variables"),
            categories=record.json("categories"),
            tags=record.strings("tags"),
            extra=record.extra(),
        )

    def event(self, raw: bytes, execution_id: str) -> StepEvent:
        """An event of a step of the execution."""
        record = Record.parse(raw)
        event_id = record.identity("id")
        node_id = record.identity("nodeId")
        if record.identity("execution") != execution_id:
            raise RecordError("it belongs to another execution than the one asked for")
        created_at = _created_at(record)
        self._drop_repetitions(record, created_at)
        given, made = self._payload(record, "input"), self._payload(record, "output")
        details = record.json("details")
        status = record.text("status")
        outcome = outcome_of(status)
        ended_at = record.time_ms("endDate")
        return StepEvent(
            execution_id=execution_id,
            event_id=event_id,
            node_id=node_id,
            created_at=created_at,
            outcome=outcome,
            role=_role(outcome, ended_at),
            node_type=record.text("nodeType", column="node_type"),
            event_order=record.integer("eventOrder"),
            status=status,
            updated_at=record.time_ms("updatedAt"),
            started_at=record.time_ms("startDate"),
            ended_at=ended_at,
            message=_message(details),
            details=details,
            tags=record.strings("tags"),
            extra=record.extra(),
            input=given,
            output=made,
        )

    def node(self, raw: bytes, node_id: str) -> NodePayload:
        """Input and output from the details of one node; UNSET for what they do not carry."""
        record = Record.parse(raw)
        try:
            event_id = record.identity("id")
        except RecordError:
            event_id = None
        return NodePayload(
            node_id=node_id,
            event_id=event_id,
            input=self._payload(record, "input"),
            output=self._payload(record, "output"),
        )

    def payload(self, raw: bytes | None) -> Payload:
        """One input or output as it was sent; None where there is none."""
        return self._decoded(raw)

    def _payload(self, record: Record, name: str) -> Payload | UnsetType:
        raw = record.raw(name)
        return self.payload(raw) if isinstance(raw, bytes) and self._with_payloads else UNSET

    def _drop_repetitions(self, record: Record, created_at: datetime) -> None:
        day = created_at.replace(hour=0, minute=0, second=0, microsecond=0)
        record.drop("parDateKey", equal_to=day)
        self._drop_customer(record)

    def _drop_customer(self, record: Record) -> None:
        """The first customer id seen is the subscription's; only another one says anything."""
        if CUSTOMER not in self.facts and isinstance(customer := record.text(CUSTOMER), str):
            self.facts[CUSTOMER] = customer
        record.drop(CUSTOMER, equal_to=self.facts.get(CUSTOMER))


def outcome_of(status: Text) -> Outcome:
    """Translate a status, in whatever case it is written."""
    return (
        OUTCOMES.get(status.strip().lower(), Outcome.UNKNOWN) if isinstance(status, str) else Outcome.UNKNOWN
    )


def _role(outcome: Outcome, ended_at: Time) -> Role:
    if outcome is Outcome.RUNNING:
        return Role.BEGIN
    return Role.END if outcome.is_terminal or isinstance(ended_at, datetime) else Role.NOTE


def _created_at(record: Record) -> datetime:
    created_at = record.time_ms("createdAt")
    if not isinstance(created_at, datetime):
        raise RecordError("no usable creation time: createdAt is missing or no time in milliseconds")
    return created_at


def _ended_at(record: Record, details: Record | UnsetType | None, outcome: Outcome) -> Time:
    """`endDate`, else `details.executionEndDate`; what still runs and names no end has none."""
    ended_at = record.time_ms("endDate")
    if isinstance(ended_at, datetime):
        if isinstance(details, Record):
            details.drop("executionEndDate", equal_to=ended_at)
        return ended_at
    within = _within(details, lambda inner: inner.time_ms("executionEndDate"))
    if isinstance(within, datetime):
        return within
    return None if outcome in (Outcome.RUNNING, Outcome.QUEUED) else ended_at


def _within(
    inner: Record | UnsetType | None, take: Callable[[Record], Value | UnsetType | None]
) -> Value | UnsetType | None:
    """A field of an object inside the record; the object sent without the field says there is none."""
    if not isinstance(inner, Record):
        return inner
    value = take(inner)
    return None if isinstance(value, UnsetType) else value


def _message(details: bytes | UnsetType | None) -> Text:
    if not isinstance(details, bytes):
        return details
    try:
        return _within(Record.parse(details), lambda inner: inner.text("message"))
    except RecordError:
        return None


def _creator(tags: Texts) -> Text:
    if not isinstance(tags, tuple):
        return tags
    return next((tag.removeprefix(_CREATOR) for tag in tags if tag.startswith(_CREATOR)), None)


def _hint(updated_at: Time, ended_at: Time, status: Text, message: Text) -> str | None:
    """A text that moves when the workflow or its last execution does; None where neither is told."""
    if not isinstance(updated_at, datetime) and not isinstance(ended_at, datetime):
        return None
    parts = [
        value.astimezone(UTC).isoformat() for value in (updated_at, ended_at) if isinstance(value, datetime)
    ]
    parts += [value for value in (status, message) if isinstance(value, str)]
    return blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()
