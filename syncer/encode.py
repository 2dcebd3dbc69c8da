"""From the model's values to column values: redacted, fit for PostgreSQL, with the digest that says what changed.

Everything a source sent passes through here (payloads through `syncer.decode.payload`) before it is written, so that
no source can forget redaction. Rows are plain dicts that hold only the columns the answer carried.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec import UNSET

from syncer.decode import jsonb
from syncer.decode.jsonb import Safety
from syncer.decode.payload import ABSENT
from syncer.decode.redact import REDACTED, Redactor
from syncer.decode.text import fingerprint, repair
from syncer.model import Execution, Node, Outcome, Reject, Step, StepEvent, Workflow, carried

Columns = dict[str, Any]

_WORKFLOW = (
    "name", "description", "is_active", "type", "revision", "created_by", "created_at", "updated_at", "deleted_at",
    "last_execution_status", "last_execution_ended_at", "last_execution_message", "tags", "definition", "properties",
    "extra",
)  # fmt: skip
_EXECUTION = (
    "workflow_name", "status", "outcome", "execution_type", "trigger", "subject_id", "parent_execution_id",
    "linked_execution_ids", "message", "started_at", "ended_at", "updated_at", "variables", "categories", "tags",
    "extra",
)  # fmt: skip
_STEP_EVENT = (
    "node_type", "event_order", "status", "updated_at", "started_at", "ended_at", "message", "details", "tags",
    "extra",
)  # fmt: skip
_DOCUMENTS = frozenset({"definition", "properties", "extra", "variables", "categories", "details", "inputs"})
_COMPARED_BY_THEMSELVES = frozenset({"definition", "variables"})

_TOLD_OTHERWISE = frozenset({datetime, bytes})

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
"""An object whose values stay as they are written: numbers keep their digits."""

_REDACTED: dict[type, Any] = {str: REDACTED, tuple: [REDACTED], bytes: f'"{REDACTED}"'.encode()}

_AS_THEY_ARE = frozenset({datetime, int, bool})

_UNSTORABLE = b'"[nested too deeply to be stored]"'


class Encoder:
    """Turns values into columns under one redaction rule."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        names = {*_WORKFLOW, *_EXECUTION, *_STEP_EVENT, "script", "inputs"}
        self._secret = frozenset(filter(redactor.matches, names))

    def workflow(self, workflow: Workflow) -> Columns:
        """Columns of `workflows` that the answer carried, without the daemon's own."""
        columns = self._clean(carried(workflow, _WORKFLOW))
        return {"workflow_id": workflow.workflow_id, **columns, "_row_hash": digest(columns)}

    def nodes(self, nodes: Iterable[Node]) -> list[Columns]:
        """Columns of `workflow_nodes`, one dict per node."""
        return [self._node(node) for node in nodes]

    def _node(self, node: Node) -> Columns:
        columns: Columns = {
            "name": self._text(node.name),
            "node_type": self._text(node.node_type),
            "position": node.position,
            "next_node_ids": [self._text(each) for each in node.next_node_ids],
            "script": self._value("script", node.script, []),
            "inputs": self._value("inputs", node.inputs, []),
        }
        return {"node_id": node.node_id, **columns, "_row_hash": digest(columns)}

    def execution(self, execution: Execution) -> Columns:
        """Columns of `executions` that the answer carried, without the daemon's own."""
        columns = self._clean(carried(execution, _EXECUTION))
        if "outcome" in columns and "message" in columns:
            columns["failure_reason"] = failure_reason(columns["outcome"], columns["message"])
        key = {"execution_id": execution.execution_id, "workflow_id": execution.workflow_id}
        columns = {**key, "created_at": execution.created_at, **columns}
        return {**columns, "_row_hash": digest(columns)}

    def document(self, raw: bytes | None) -> bytes | None:
        """One JSON document fit for jsonb, redacted."""
        return None if raw is None else self._document(raw)

    def message(self, text: str | None) -> str | None:
        """An execution's message that its steps brought, redacted."""
        message: str | None = self._value("message", text, [])
        return message

    def step_event(self, event: StepEvent, execution_tags: list[str] | None) -> Columns:
        """Columns of `step_events`; tags equal to the execution's are null."""
        columns = self._clean(dict.fromkeys(_STEP_EVENT) | carried(event, _STEP_EVENT))
        if columns["tags"] == execution_tags:
            columns["tags"] = None
        columns = {
            "event_id": event.event_id,
            "node_id": event.node_id,
            "created_at": event.created_at,
            **columns,
            "_outcome": event.outcome.value,
            "_role": event.role.value,
            "_node_name": self._text(event.node_name),
        }
        return {**columns, "_row_hash": digest(columns)}

    def step(self, step: Step) -> Columns:
        """Columns of `steps`."""
        message = self._value("message", step.message, [])
        columns = {
            "node_id": step.node_id,
            "attempt": step.attempt,
            "node_name": self._text(step.node_name),
            "node_type": self._text(step.node_type),
            "position": step.position,
            "status": self._text(step.status),
            "outcome": step.outcome.value,
            "message": message,
            "failure_reason": failure_reason(step.outcome.value, message),
            "started_at": step.started_at,
            "ended_at": step.ended_at,
            "event_count": step.event_count,
        }
        compared = {name: value for name, value in columns.items() if name != "node_name"}
        return {**columns, "_row_hash": digest(compared)}

    def step_io(self, step: Step) -> Columns | None:
        """Columns of `step_io`; None where no payload was carried."""
        if step.input is UNSET and step.output is UNSET:
            return None
        given = ABSENT if isinstance(step.input, msgspec.UnsetType) else step.input
        result = ABSENT if isinstance(step.output, msgspec.UnsetType) else step.output
        paths = [f"/input{path}" for path in given.redacted_paths]
        paths += [f"/output{path}" for path in result.redacted_paths]
        columns = {
            "node_id": step.node_id,
            "attempt": step.attempt,
            "input": given.value,
            "output": result.value,
            "input_state": str(given.state),
            "output_state": str(result.state),
            "input_bytes": given.size,
            "output_bytes": result.size,
            "input_raw": given.raw,
            "output_raw": result.raw,
            "redacted_paths": paths,
        }
        return {**columns, "_row_hash": _hash_of(columns)}

    def reject(self, reject: Reject) -> Columns:
        """Columns of `quarantine`; raw bytes only as far as they are surely free of secrets."""
        return {
            "record_id": blake2b(reject.raw, digest_size=16).hexdigest(),
            "identity": self._text(reject.identity),
            "reason": self._text(reject.reason),
            "raw": self._redactor.record(reject.raw),
        }

    def _clean(self, columns: Mapping[str, object]) -> Columns:
        mended: list[str] = []
        cleaned: Columns = {name: self._value(name, value, mended) for name, value in columns.items()}
        if mended:
            cleaned["extra"] = _note_repaired(cleaned.get("extra"), mended)
        return cleaned

    def _value(self, name: str, value: object, mended: list[str]) -> Any:
        kind = type(value)
        if value is None or kind in _AS_THEY_ARE:
            return value
        if isinstance(value, Outcome):
            return value.value
        if name in self._secret and kind in _REDACTED:
            return _REDACTED[kind]
        if isinstance(value, str):
            return self._mended(name, value, mended)
        if isinstance(value, tuple):
            return [self._mended(name, item, mended) for item in value]
        if isinstance(value, bytes) and name in _DOCUMENTS:
            mended += [name] if jsonb.check(value) is not Safety.SAFE else []
            return self._document(value)
        return value

    def _mended(self, name: str, text: str, mended: list[str]) -> str:
        clean = repair(text)
        if clean is not text:
            mended.append(name)
        return self._redactor.text(clean)

    def _text(self, text: str | None) -> str | None:
        return None if text is None else self._redactor.text(repair(text))

    def _document(self, raw: bytes) -> bytes:
        if jsonb.check(raw) is not Safety.SAFE:
            raw = jsonb.repair(raw) or _UNSTORABLE
        return self._redactor.json(raw)[0]


def failure_reason(outcome: str, message: str | None) -> str | None:
    """The fingerprint of a failure's message; None unless it failed and says why."""
    return fingerprint(message) if outcome == Outcome.FAILED and message else None


def digest(columns: Mapping[str, Any]) -> bytes:
    """Digest of the source's fields in canonical form, without those that are compared by themselves.

    Documents count by their parsed form with sorted keys; null and nested empty entries of `categories` are left
    out, because Qualys writes an empty project as [null] in lists and [[]] in details (docs/qualys-flow.md,
    Records).
    """
    return _hash_of(
        {
            name: _canonical(name, value) if type(value) in _TOLD_OTHERWISE else value
            for name, value in columns.items()
            if name not in _COMPARED_BY_THEMSELVES
        }
    )


def _hash_of(columns: Mapping[str, Any]) -> bytes:
    return blake2b(msgspec.msgpack.encode(columns, order="sorted"), digest_size=16).digest()


def _canonical(name: str, value: Any) -> Any:
    """A time or a document in the one form that counts."""
    if isinstance(value, datetime):
        return value.timestamp()
    try:
        parsed = msgspec.json.decode(value)
        if name == "categories":
            parsed = _without_empties(parsed)
        return msgspec.json.encode(parsed, order="sorted")
    except RecursionError:  # the depth jsonb takes is more than Python's stack does
        return value


def _without_empties(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_empties(item) for key, item in value.items()}
    if isinstance(value, list):
        return [item for item in map(_without_empties, value) if item not in (None, [], {}, "")]
    return value


def _note_repaired(extra: bytes | None, names: list[str]) -> bytes:
    try:
        document = _OBJECT.decode(extra or b"{}")
    except msgspec.ValidationError:  # too deep as a whole: what stands there is no object
        document = {}
    noted = msgspec.Raw(msgspec.json.encode(sorted({*_names(document.get("_repaired")), *names})))
    return msgspec.json.encode({**document, "_repaired": noted})


def _names(noted: msgspec.Raw | None) -> list[str]:
    """The columns noted before; none where a source has a field of this name for something else."""
    try:
        return msgspec.json.decode(noted or b"[]", type=list[str])
    except msgspec.ValidationError:
        return []
