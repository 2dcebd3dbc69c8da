"""One record of SecMaster as one value of the model: which field goes where.

Invariant: every field is mapped, or dropped as a repetition, or stands in `extra` as sent. Only a missing
identity makes a record unusable. Pure: no I/O, no HTTP. The fields: docs/secmaster.md, Records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from msgspec import UNSET, UnsetType, structs

from syncer.decode.answer import Listing
from syncer.decode.payload import Payload, decode_payload
from syncer.decode.record import Record
from syncer.decode.redact import Redactor
from syncer.decode.times import to_iso_ms
from syncer.errors import RecordError
from syncer.model import Execution, Look, Outcome, Page, Role, StepAnswer, StepEvent, Text, Time, Workflow
from syncer.sources.records import to_page

OUTCOMES = {
    "created": Outcome.QUEUED,
    "running": Outcome.RUNNING,
    "retrying": Outcome.RUNNING,
    "terminating": Outcome.RUNNING,
    "finished": Outcome.SUCCEEDED,
    "failed": Outcome.FAILED,
    "terminated": Outcome.CANCELED,
}

PROJECT = "project_id"

Twins = Counter[str]
"""How many runs there were so far of a node with a start, as ids write it."""


class Records:
    """Maps the records of one project. `facts` holds its id, which records repeat."""

    def __init__(
        self, redactor: Redactor, project_id: str, *, max_payload_bytes: int, with_payloads: bool
    ) -> None:
        self.facts: Mapping[str, str] = {PROJECT: project_id}
        self._redactor = redactor
        self._max_payload_bytes = max_payload_bytes
        self._with_payloads = with_payloads

    def workflow(self, raw: bytes) -> Workflow:
        """A workflow; the list and its own endpoint tell the same, and neither its definition."""
        record = Record.parse(raw)
        workflow_id = record.identity("id")
        record.drop(PROJECT, equal_to=self.facts[PROJECT])
        return Workflow(
            workflow_id=workflow_id,
            name=record.text("name"),
            description=record.text("description"),
            is_active=record.boolean("enabled"),
            type=record.text("aop_type", column="type"),
            revision=record.text("version_id", column="revision"),
            created_by=record.text("creator_id", column="created_by"),
            created_at=record.time_iso("create_time"),
            updated_at=record.time_iso("update_time"),
            definition=None,  # not unset: to ask for the details would bring no more
            extra=record.extra(),
        )

    def execution(self, raw: bytes) -> Execution:
        """An instance of a list; a topology that comes with it is read with the instance itself."""
        record = Record.parse(raw)
        _take_logs(record)
        return self._execution(record)

    def look(self, raw: bytes, *, had_ended: bool = False) -> Look:
        """An instance from its own endpoint, with the steps of its topology; with none where there is none yet.

        One that has ended, or `had_ended` by another answer, and shows no node is not shown whole: the topology may
        be written after the end. One that was terminated before its first node looks the same for good.
        """
        record = Record.parse(raw)
        logs = _take_logs(record)
        execution = self._execution(record)
        steps = self._steps(logs, execution.execution_id)
        is_whole = bool(logs) or not (had_ended or execution.has_ended)
        return Look(
            execution=structs.replace(execution, message=steps.message),
            steps=structs.replace(steps, is_whole=is_whole),
        )

    def _execution(self, record: Record) -> Execution:
        execution_id = record.identity("id")
        workflow_id, workflow_name = _workflow_of(record)
        started_at = _start(record)
        status = record.text("status")
        outcome = outcome_of(status)
        return Execution(
            execution_id=execution_id,
            workflow_id=workflow_id,
            created_at=started_at,
            outcome=outcome,
            workflow_name=workflow_name,
            status=status,
            trigger=record.text("trigger_type", column="trigger"),
            subject_id=_words(record, "dataobject_id", column="subject_id"),
            started_at=started_at,
            ended_at=_end(record, outcome),
            extra=record.extra(),
        )

    def _steps(self, logs: list[bytes] | None, execution_id: str) -> StepAnswer:
        """The events of a topology; what it says of a failure only where there was one to be asked."""
        twins: Twins = Counter()
        page: Page[StepEvent] = to_page(
            Listing(None, logs or []),
            lambda log: self._event(log, execution_id, twins),
            part_of=execution_id,
        )
        return StepAnswer(
            events=page.rows,
            rejects=page.rejects,
            has_payloads=any(event.input is not UNSET or event.output is not UNSET for event in page.rows),
            message=UNSET if logs is None else _last_failure(page.rows),
        )

    def _event(self, raw: bytes, execution_id: str, twins: Twins) -> StepEvent:
        """One run of a node. It has no id of its own: the node, its start, and the how manieth of these it is."""
        record = Record.parse(raw)
        node_id = record.identity("action_id")
        started_at = _start(record)
        run = f"{node_id}/{to_iso_ms(started_at)}"
        twins[run] += 1
        node_name = record.text("action_name", column="node_name")
        given, made = self._payload(record, "input"), self._payload(record, "output")
        status = record.text("status")
        outcome = outcome_of(status) if isinstance(status, str) else _by_success(record)
        ended_at = _end(record, outcome)
        return StepEvent(
            execution_id=execution_id,
            event_id=f"{run}/{twins[run]}",
            node_id=node_id,
            created_at=started_at,
            outcome=outcome,
            role=_role(outcome, ended_at),
            node_name=node_name if isinstance(node_name, str) else None,
            node_type=record.text("instance_type", column="node_type"),
            status=status,
            started_at=started_at,
            ended_at=ended_at,
            message=_words(record, "error_msg", column="message"),
            extra=record.extra(),
            input=given,
            output=made,
        )

    def _payload(self, record: Record, name: str) -> Payload | UnsetType:
        raw = record.raw(name)
        if not isinstance(raw, bytes) or not self._with_payloads:
            return UNSET
        return decode_payload(raw, limit=self._max_payload_bytes, redactor=self._redactor)


def outcome_of(status: Text) -> Outcome:
    """Translate a status, in whatever case it is written."""
    return (
        OUTCOMES.get(status.strip().lower(), Outcome.UNKNOWN) if isinstance(status, str) else Outcome.UNKNOWN
    )


def _take_logs(record: Record) -> list[bytes] | None:
    """The JSON texts of the topology's nodes; None where it came without any list of them."""
    topology = record.record("topology")
    logs = topology.array("audit_logs") if isinstance(topology, Record) else None
    return logs if isinstance(logs, list) else None


def _workflow_of(record: Record) -> tuple[str, Text]:
    """Id and name of the workflow; the English name where there is one, the other then stays for `extra`."""
    workflow = record.record("workflow")
    if not isinstance(workflow, Record):
        raise RecordError("no usable identity: workflow is missing")
    workflow_id = workflow.identity("id")
    for name in ("name_en", "en_name", "name"):
        if isinstance(found := workflow.text(name, column="workflow_name"), str) and found:
            return workflow_id, found
    return workflow_id, None


def _start(record: Record) -> datetime:
    started_at = record.time_iso("start_time")
    if not isinstance(started_at, datetime):
        raise RecordError("no usable creation time: start_time is missing or no time")
    return started_at


def _end(record: Record, outcome: Outcome) -> Time:
    """What runs, perhaps once more, has no end, whatever is told of a former one: that stays for `extra`."""
    record.drop("end_time", equal_to="")
    if outcome not in (Outcome.RUNNING, Outcome.QUEUED):
        return record.time_iso("end_time")
    record.drop("end_time", equal_to=None)
    return None


def _words(record: Record, name: str, *, column: str) -> Text:
    """A text; an empty one is how the platform says that there is none."""
    found = record.text(name, column=column)
    return None if found == "" else found


def _by_success(record: Record) -> Outcome:
    match record.boolean("succeed"):
        case True:
            return Outcome.SUCCEEDED
        case False:
            return Outcome.FAILED
    return Outcome.UNKNOWN


def _role(outcome: Outcome, ended_at: Time) -> Role:
    if outcome is Outcome.RUNNING:
        return Role.BEGIN
    return Role.END if outcome.is_terminal or isinstance(ended_at, datetime) else Role.NOTE


def _last_failure(events: tuple[StepEvent, ...]) -> Text:
    """Why the node failed that did so last, None where none has."""
    failed = [event for event in events if event.outcome is Outcome.FAILED and isinstance(event.message, str)]
    last = max(reversed(failed), key=_when, default=None)
    return last.message if last else None


def _when(event: StepEvent) -> datetime:
    return event.ended_at if isinstance(event.ended_at, datetime) else event.created_at
