"""One event of an execution's history as one value of the model: which step it belongs to, and what it does to it.

Invariant: the id of an event follows from the event alone, so neither the order of a history nor its growth
matters; every event is kept, whatever its type. Pure: no I/O, no HTTP. The types and their attributes are those of
Temporal (docs/sailpoint.md, History).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import NamedTuple

import msgspec
from msgspec import UNSET, UnsetType, structs

from syncer.decode.answer import Listing
from syncer.decode.payload import Payload, decode_payload
from syncer.decode.record import Record
from syncer.decode.redact import Redactor
from syncer.decode.scan import first
from syncer.errors import RecordError
from syncer.model import Document, Outcome, Page, Role, StepEvent, Text
from syncer.sources.records import to_page
from syncer.sources.sailpoint.definition import TRIGGER, step_id

EXECUTION = "WorkflowExecution"

UNKNOWN = "unknown"

LONGEST_NAME = 100
"""Characters of a type or time that an id holds: it must not grow beyond what a key may be."""

LAST = 4
"""The `event_order` of what ends the whole execution: of equal times it comes last."""


class Kind(NamedTuple):
    """What the type of an event says: family and status are its two halves, as sent."""

    family: str
    status: str
    role: Role
    outcome: Outcome
    order: int | None


class _State(NamedTuple):
    role: Role
    outcome: Outcome
    order: int


_STATES = {
    "Scheduled": _State(Role.BEGIN, Outcome.RUNNING, 1),
    "Initiated": _State(Role.BEGIN, Outcome.RUNNING, 1),
    "Started": _State(Role.BEGIN, Outcome.RUNNING, 2),
    "Completed": _State(Role.END, Outcome.SUCCEEDED, 3),
    "Failed": _State(Role.END, Outcome.FAILED, 3),
    "TimedOut": _State(Role.END, Outcome.FAILED, 3),
    "Canceled": _State(Role.END, Outcome.CANCELED, 3),
    "Terminated": _State(Role.END, Outcome.CANCELED, 3),
}
_FAILED = {word for word, state in _STATES.items() if state.outcome is Outcome.FAILED}
_TYPE = re.compile(rf"(?:Start(?=Child))?(\w+?)({'|'.join(_STATES)})", re.ASCII)
_PLAIN = re.compile(rf"\w{{1,{LONGEST_NAME}}}", re.ASCII)
_BEGINNINGS = (1, 2)
_OF_STEPS = ("ActivityTask", "ChildWorkflowExecution")
_NAMES = ("stepName", "technicalName", "displayName")


class Events:
    """Maps the events of one tenant's executions."""

    def __init__(self, redactor: Redactor, *, max_payload_bytes: int, with_payloads: bool) -> None:
        self._redactor = redactor
        self._max_payload_bytes = max_payload_bytes
        self._with_payloads = with_payloads

    def page(self, raws: Sequence[bytes], execution_id: str) -> Page[StepEvent]:
        """Read the events of one answer; those that are alike in all they say have one id (see `told_apart`)."""
        return to_page(
            Listing(None, list(raws)), lambda raw: self.event(raw, execution_id), part_of=execution_id
        )

    def event(self, raw: bytes, execution_id: str) -> StepEvent:
        """One event; RecordError where it does not say when it happened."""
        record = Record.parse(raw)
        happened_at = record.time_iso("timestamp")
        if not isinstance(happened_at, datetime):
            raise RecordError("no usable creation time: timestamp is missing or no ISO 8601 time")
        kind = kind_of(record.text("type", column="status"))
        sent = record.raw("attributes")
        attributes, names = _object(sent), _object(sent)
        node_id = _node_id(names, kind)
        given, made = self._payload(attributes, "input"), self._payload(attributes, "result", "output")
        return StepEvent(
            execution_id=execution_id,
            event_id=_event_id(Record.parse(raw)),
            node_id=node_id,
            node_name=_known(_object(sent).text("displayName")),
            node_type=kind.family,
            event_order=kind.order,
            status=kind.status,
            created_at=happened_at,
            started_at=happened_at if kind.order in _BEGINNINGS else None,
            ended_at=None if _goes_on(kind, node_id) else happened_at,
            outcome=kind.outcome,
            role=kind.role,
            message=_message(_object(sent)),
            details=_details(sent, attributes),
            extra=record.extra(),
            input=given,
            output=made,
        )

    def _payload(self, attributes: Record, *names: str) -> Payload | UnsetType:
        """The payload under the first of the names that is carried; a second one stays among the details."""
        sent = next((raw for name in names if isinstance(raw := attributes.raw(name), bytes)), None)
        if sent is None or not self._with_payloads:
            return UNSET
        return decode_payload(sent, limit=self._max_payload_bytes, redactor=self._redactor)


def kind_of(event_type: Text) -> Kind:
    """Take a type apart. What concerns the execution as a whole notes; so does what nobody knows."""
    text = event_type if isinstance(event_type, str) and event_type else UNKNOWN
    found = _TYPE.fullmatch(text)
    family, status, state = (found[1], found[2], _STATES[found[2]]) if found else (text, text, None)
    if text.startswith("Workflow"):
        return _of_execution(family, status, state)
    if state is None or family not in _OF_STEPS:
        return Kind(family, status, Role.NOTE, Outcome.UNKNOWN, None)
    return Kind(family, status, *state)


def told_apart(events: Iterable[StepEvent], known: Counter[str]) -> Iterator[StepEvent]:
    """Give of events that are alike in all they say the second an id of its own; `known` counts those before them."""
    for event in events:
        known[event.event_id] += 1
        number = known[event.event_id]
        yield event if number == 1 else structs.replace(event, event_id=f"{event.event_id}-{number}")


def last_error(events: Iterable[StepEvent]) -> Text:
    """What the last event that failed says; UNSET where none says anything."""
    failed = [event for event in events if event.message and event.status in _FAILED]
    return max(failed, key=in_time).message if failed else UNSET


def in_time(event: StepEvent) -> tuple[datetime, int, str]:
    """Order the events of an execution."""
    return event.created_at, event.event_order or 0, event.event_id


def _of_execution(family: str, status: str, state: _State | None) -> Kind:
    """A note for the trigger, which has done its work once there is any event, whatever becomes of the execution."""
    is_last = family == EXECUTION and state is not None and state.role is Role.END
    return Kind(family, status, Role.NOTE, Outcome.SUCCEEDED, LAST if is_last else state and state.order)


def _node_id(names: Record, kind: Kind) -> str:
    if kind.family.startswith("Workflow"):
        return TRIGGER
    try:
        return step_id(names.identity(*_NAMES))
    except RecordError:
        return step_id(_word(kind.family))


def _goes_on(kind: Kind, node_id: str) -> bool:
    """Whether something lasts from this event on, until another says that it ended.

    A begin without a name, or what nobody knows, is a moment: no end will ever be its own, and a step that seems
    open is read again in vain. A trigger has no end of its own: with the execution's it would be the longest step.
    """
    return node_id == TRIGGER or (kind.role is Role.BEGIN and node_id != _word(kind.family))


def _event_id(record: Record) -> str:
    """When, what, and a digest of all it says: the source gives events no id."""
    timestamp, event_type = record.text("timestamp"), record.text("type")
    said = _canonical(record.raw("attributes"))
    digest = blake2b("\0".join([str(timestamp), str(event_type), ""]).encode() + said, digest_size=8)
    return "-".join([str(timestamp)[:LONGEST_NAME], _word(event_type), digest.hexdigest()])


def _word(event_type: Text) -> str:
    """A type as part of a key, which is never redacted: only where it is the plain word that types are."""
    return event_type if isinstance(event_type, str) and _PLAIN.fullmatch(event_type) else UNKNOWN


def _canonical(raw: bytes | UnsetType) -> bytes:
    """The same bytes for the same document, in whatever order its keys came."""
    if not isinstance(raw, bytes):
        return b""
    try:
        return msgspec.json.encode(msgspec.json.decode(raw), order="sorted")
    except (msgspec.DecodeError, ValueError, RecursionError):
        return raw


def _object(raw: bytes | UnsetType) -> Record:
    """The attributes one by one; none where they are no object."""
    try:
        return Record.parse(raw) if isinstance(raw, bytes) else Record({})
    except RecordError:
        return Record({})


def _details(sent: bytes | UnsetType, attributes: Record) -> Document:
    """The attributes without the payloads taken from them."""
    if not isinstance(sent, bytes):
        return UNSET
    if first(sent) == b"{":
        return attributes.rest()
    return None if sent == b"null" else sent


def _message(attributes: Record) -> Text:
    """`error`: a text, or an object with a message."""
    inner = attributes.record("error")
    return inner.text("message") if isinstance(inner, Record) else attributes.text("error")


def _known(text: Text) -> str | None:
    return text if isinstance(text, str) else None
