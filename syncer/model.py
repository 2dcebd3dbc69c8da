"""The values that travel from a source to the warehouse: frozen, typed, free of any platform.

A field that an answer does not carry is `UNSET` and leaves its column as it is; `None` is a null that
was sent. JSON travels as JSON text in `bytes`, so that numbers keep their digits. Times are aware UTC
datetimes. This module must not know HTTP, SQL or a platform.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic, TypeVar

from msgspec import UNSET, Struct, UnsetType

from syncer.decode.payload import Payload
from syncer.errors import SyncerError

Json = bytes
Text = str | None | UnsetType
Time = datetime | None | UnsetType
Number = int | None | UnsetType
Flag = bool | None | UnsetType
Texts = tuple[str, ...] | None | UnsetType
Document = Json | None | UnsetType


class Outcome(StrEnum):
    """One vocabulary over all platforms; `status` keeps the source's own word."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    UNKNOWN = "unknown"

    @property
    def is_terminal(self) -> bool:
        """Whether the outcome alone says that the execution has ended."""
        return self in (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.CANCELED)


class Role(StrEnum):
    """What a step event does to an attempt when events are folded."""

    BEGIN = "begin"
    END = "end"
    NOTE = "note"


class Node(Struct, frozen=True, kw_only=True):
    """One node of a workflow's definition; `position` counts from 0 in the definition's order."""

    node_id: str
    name: str | None
    node_type: str | None
    position: int
    next_node_ids: tuple[str, ...]
    script: str | None
    inputs: Json | None


class Workflow(Struct, frozen=True, kw_only=True):
    """A workflow as one answer showed it.

    `hint` is an opaque text that moves when an execution of the workflow ends; None where the source
    gives no such sign. `nodes` goes with `definition`.
    """

    workflow_id: str
    name: Text = UNSET
    description: Text = UNSET
    is_active: Flag = UNSET
    type: Text = UNSET
    revision: Text = UNSET
    created_by: Text = UNSET
    created_at: Time = UNSET
    updated_at: Time = UNSET
    deleted_at: Time = UNSET
    last_execution_status: Text = UNSET
    last_execution_ended_at: Time = UNSET
    last_execution_message: Text = UNSET
    tags: Texts = UNSET
    definition: Document = UNSET
    properties: Document = UNSET
    extra: Document = UNSET
    nodes: tuple[Node, ...] | UnsetType = UNSET
    hint: str | None = None


class Execution(Struct, frozen=True, kw_only=True):
    """An execution as one answer showed it. `created_at` is what the source's window filter sees."""

    execution_id: str
    workflow_id: str
    created_at: datetime
    outcome: Outcome | UnsetType = UNSET
    workflow_name: Text = UNSET
    status: Text = UNSET
    execution_type: Text = UNSET
    trigger: Text = UNSET
    subject_id: Text = UNSET
    parent_execution_id: Text = UNSET
    linked_execution_ids: Texts = UNSET
    message: Text = UNSET
    started_at: Time = UNSET
    ended_at: Time = UNSET
    updated_at: Time = UNSET
    variables: Document = UNSET
    categories: Document = UNSET
    tags: Texts = UNSET
    extra: Document = UNSET

    @property
    def has_ended(self) -> bool:
        """Ended: the source gives an end time, or the outcome is terminal."""
        return isinstance(self.ended_at, datetime) or (
            isinstance(self.outcome, Outcome) and self.outcome.is_terminal
        )


class StepEvent(Struct, frozen=True, kw_only=True):
    """One event of a step, as sent; `node_name` only where the event itself carries one."""

    execution_id: str
    event_id: str
    node_id: str
    created_at: datetime
    outcome: Outcome
    role: Role
    node_name: str | None = None
    node_type: Text = UNSET
    event_order: Number = UNSET
    status: Text = UNSET
    updated_at: Time = UNSET
    started_at: Time = UNSET
    ended_at: Time = UNSET
    message: Text = UNSET
    details: Document = UNSET
    tags: Texts = UNSET
    extra: Document = UNSET
    input: Payload | UnsetType = UNSET
    output: Payload | UnsetType = UNSET


class NodePayload(Struct, frozen=True, kw_only=True):
    """Input and output served per node; they belong to the attempt that holds `event_id`, else to the last."""

    node_id: str
    event_id: str | None
    input: Payload | UnsetType = UNSET
    output: Payload | UnsetType = UNSET


class Step(Struct, frozen=True, kw_only=True):
    """One attempt of a node, folded from its events. `attempt` counts from 1."""

    node_id: str
    attempt: int
    node_name: str | None
    node_type: str | None
    position: int
    status: str | None
    outcome: Outcome
    message: str | None
    started_at: datetime | None
    ended_at: datetime | None
    event_count: int
    event_ids: tuple[str, ...]
    input: Payload | UnsetType = UNSET
    output: Payload | UnsetType = UNSET


class Reject(Struct, frozen=True, kw_only=True):
    """A record without a usable identity, as raw bytes and the reason, on its way to quarantine."""

    raw: bytes
    reason: str
    identity: str | None = None


Row = TypeVar("Row")


class Page(Struct, Generic[Row], frozen=True, kw_only=True):
    """One answer of a list: its usable records in the order sent, the others, and the total told with it.

    `lacks` are the parts of the list that could not be read, each with the reason: of what they hold nothing is told.
    """

    rows: tuple[Row, ...]
    rejects: tuple[Reject, ...] = ()
    total: int | None = None
    lacks: tuple[tuple[str, SyncerError], ...] = ()

    @property
    def size(self) -> int:
        """Records on the page, rejects included."""
        return len(self.rows) + len(self.rejects)


class StepAnswer(Struct, frozen=True, kw_only=True):
    """All step events of one execution that one read brought, with payloads served per node.

    `has_payloads` is False where the answer carried no input and output at all, `is_whole` where an execution that has
    ended lacks what its last event or step would be: more of it may show itself later.
    `variables` is set where the read brought the execution's variables too, `message` where it is the steps that
    say why the execution failed.
    """

    events: tuple[StepEvent, ...]
    payloads: tuple[NodePayload, ...] = ()
    rejects: tuple[Reject, ...] = ()
    has_payloads: bool = True
    is_whole: bool = True
    variables: Document = UNSET
    message: Text = UNSET


class Look(Struct, frozen=True, kw_only=True):
    """One execution read by its id, with its steps where the same answer carried all that is wanted."""

    execution: Execution
    steps: StepAnswer | None = None


class Window(Struct, frozen=True, order=True):
    """A span of creation time. Both ends belong to it: neighbours share their boundary instant."""

    start: datetime
    end: datetime

    @property
    def length(self) -> timedelta:
        """Its duration."""
        return self.end - self.start

    def holds(self, instant: datetime) -> bool:
        """Whether the instant lies in the window, ends included."""
        return self.start <= instant <= self.end

    def __str__(self) -> str:
        return f"[{self.start.isoformat()}, {self.end.isoformat()}]"


class ExecutionRef(Struct, frozen=True, kw_only=True):
    """What is needed to ask for one known execution again."""

    execution_id: str
    workflow_id: str
    partition: str
    created_at: datetime
    has_ended: bool
    ended_at: datetime | None = None


def carried(record: Workflow | Execution | StepEvent, names: Sequence[str]) -> dict[str, object]:
    """Return those of the named fields that the answer carried."""
    return {name: value for name in names if (value := getattr(record, name)) is not UNSET}
