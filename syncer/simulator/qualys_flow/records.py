"""One record of the truth as Qualys Flow puts it on the wire.

Invariant: by default a record has the fields of the documents' samples, in their order and types. It must not
know requests, pages or who asks.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from syncer.simulator.payloads import Payload
from syncer.simulator.qualys_flow.switches import Switches
from syncer.simulator.truth import Event, Execution, Workflow

Record = dict[str, Any]

_PROJECTS: dict[str, list[Any]] = {"null": [None], "nested": [[]], "empty": []}
_NULL = msgspec.Raw(b"null")


def workflow_record(workflow: Workflow, switches: Switches, *, listed: bool) -> Record:
    """`listed`: as an item of the list, which need not carry everything."""
    record: Record = {
        "id": workflow.id,
        "createdAt": workflow.created_ms,
        "updatedAt": workflow.updated_ms,
        "tags": workflow.tags,
        "workflow": workflow.id,
        "revision": workflow.revision,
        "definition": workflow.definition_text,
        "deletedAt": workflow.deleted_ms,
        "customerId": workflow.customer_id,
        "name": workflow.name,
        "description": workflow.description,
        "state": None,
        "active": workflow.active,
        "properties": _properties(workflow),
        "last_execution_details": _last_details(workflow),
        "last_execution_status": workflow.last_status,
        "type": "normal",
    }
    if listed and not switches.list_has_definition:
        del record["definition"]
    if listed and not switches.list_has_hints:
        for hint in ("updatedAt", "last_execution_details", "last_execution_status"):
            del record[hint]
    return _with_news(record, switches)


def _properties(workflow: Workflow) -> Record:
    return {
        "priority": 1,
        "severity": 1,
        "categories": _categories(workflow.region, workflow.account, []),
        "editorVersion": "2.0",
        "hidden": False,
    }


def _last_details(workflow: Workflow) -> Record | None:
    if workflow.last_ended_ms is None:
        return None
    message = {} if workflow.last_message is None else {"message": workflow.last_message}
    return {**message, "executionEndDate": workflow.last_ended_ms}


def execution_record(execution: Execution, switches: Switches, *, listed: bool) -> Record:
    """The details carry `variables` as well."""
    record: Record = {
        "execution": execution.id,
        "workflow": execution.workflow_id,
        "endDate": execution.ended_ms,
        "parDateKey": day_key(execution.created_ms),
        "executionType": execution.execution_type,
        "source": execution.source,
        "parentExecutionId": execution.parent_id,
        "tags": execution.tags,
        "createdAt": execution.created_ms,
        "customerId": execution.customer_id,
        "details": _details(execution),
        "id": execution.id,
        "categories": _categories(
            execution.region, f"@{execution.account}", _projects(switches, listed=listed)
        ),
        "startDate": execution.started_ms,
        "linkedExecutionIds": execution.linked_ids,
        "updatedAt": execution.updated_ms,
        "status": execution.status,
    }
    if not listed:
        record["variables"] = execution.variables
    return _with_news(_omitting(record, execution, switches), switches)


def _omitting(record: Record, execution: Execution, switches: Switches) -> Record:
    """Leave out, or null, what this reading of the documents does not serve."""
    if execution.ended_ms is None and switches.end_date_while_running == "absent":
        del record["endDate"]
    if execution.message is None and switches.details_null != "object":
        record["details"] = None
        if switches.details_null == "absent":
            del record["details"]
    return record


def _details(execution: Execution) -> Record | None:
    if execution.ended_ms is None:
        return None
    message = {} if execution.message is None else {"message": execution.message}
    return {"executionEndDate": execution.ended_ms, **message}


def _projects(switches: Switches, *, listed: bool) -> list[Any]:
    reading = switches.empty_project
    if reading == "as_documented":
        reading = "null" if listed else "nested"
    return _PROJECTS[reading]


def _categories(region: str, account: str, projects: list[Any]) -> Record:
    return {
        "regions": [region],
        "projects": projects,
        "solutions": ["AWS Best Practices"],
        "cloud_providers": ["AWS"],
        "services": [],
        "accounts": [account],
        "resource_groups": [],
        "apps": [],
    }


def event_record(execution: Execution, event: Event, switches: Switches) -> Record:
    attempt = event.attempt
    before = 2 * (attempt.number - 1) if switches.loop_event_order == "continue" else 0
    record = {
        "id": event.id,
        "createdAt": event.created_ms,
        "updatedAt": event.updated_ms,
        "tags": event.tags,
        "customerId": execution.customer_id,
        "eventOrder": before + event.order,
        "nodeId": attempt.node_id,
        "execution": attempt.execution_id,
        "nodeType": attempt.node_type,
        "status": event.status,
        "startDate": event.started_ms,
        "endDate": event.ended_ms,
        "details": None if event.message is None else {"message": event.message},
        "parDateKey": day_key(event.created_ms),
    }
    return _with_news(record, switches)


def event_payloads(execution: Execution, event: Event, switches: Switches) -> Record:
    """`input` and `output` as `includeData` adds them to an event; what began has made nothing yet."""
    attempt = event.attempt
    last = event is attempt.events[-1]
    if switches.include_data == "absent" or (switches.data_on == "last_event" and not last):
        return {}
    cut = switches.include_data == "broken" and attempt is execution.attempts[0]
    made = attempt.made if event.ended_ms is not None else None
    return {
        "input": broken(attempt.given) if cut else payload_field(attempt.given, switches.include_data),
        "output": payload_field(made, switches.include_data),
    }


def payload_field(payload: Payload | None, reading: str) -> msgspec.Raw:
    """One payload in the form that a reading names."""
    if payload is None:
        return _NULL
    if reading == "plain":
        return msgspec.Raw(payload.text)
    if reading in ("string", "string_of_json"):
        return msgspec.Raw(msgspec.json.encode(payload.text.decode()))
    return msgspec.Raw(payload.encoded)


def broken(payload: Payload) -> msgspec.Raw:
    """Whole base64 of half a gzip stream."""
    half = len(payload.encoded) // 8 * 4
    return msgspec.Raw(payload.encoded[: half + 1] + b'"')


def day_key(at_ms: int) -> str:
    """The partition of a record: midnight of the day it was created."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d}T00:00:00.000Z"


def _with_news(record: Record, switches: Switches) -> Record:
    if switches.unannounced_fields:
        record["tenantTier"] = {"name": "gold", "since": 2024}
    return record
