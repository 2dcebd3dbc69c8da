"""One record of the truth as SecMaster puts it on the wire, and what it has that the truth does not.

Invariant: by default a record has the fields of the documents, in their order and types, and what is invented follows
from ids alone. It must not know requests, pages or who asks.
"""

from __future__ import annotations

from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

import msgspec

from syncer.simulator.payloads import Payload
from syncer.simulator.secmaster.switches import Switches
from syncer.simulator.secmaster.times import moment, written
from syncer.simulator.truth import Attempt, Execution, Workflow

Record = dict[str, Any]

UNHEARD_OF = "TIMEOUT"
"""A status that the documents do not know."""

_STATUSES = {"queued": "CREATED", "succeeded": "FINISHED", "failed": "FAILED", "canceled": "TERMINATED"}
_NODE_STATUSES = {"succeeded": "FINISHED", "failed": "FAILED", "canceled": "FAILED"}
_TRIGGERS = {"UI": "MANUAL", "PUBLIC_API": "DEBUG", "SCHEDULE": "TIMER", "EVENT": "EVENT"}


def invented(*words: str) -> str:
    """An id that follows from words."""
    return str(uuid5(NAMESPACE_OID, "/".join(words)))


def served_ms(at_ms: int, switches: Switches) -> int:
    """A time as it is served: some forms have whole seconds alone."""
    return at_ms // 1000 * 1000 if switches.times == "seconds" else at_ms


def creation_ms(execution: Execution, switches: Switches) -> int:
    """When an instance was created, which no answer tells; it began, and shows itself, some while later."""
    lead = UUID(invented("lead", execution.id)).int % 1000 / 1000 * switches.creation_lead
    return execution.created_ms - round(lead * 1000)


def status_of(execution: Execution) -> str:
    """An execution that was opened again is being retried."""
    if execution.outcome != "running":
        return _STATUSES.get(execution.outcome, UNHEARD_OF)
    is_retried = any(attempt.number > 1 and attempt.ended_ms is None for attempt in execution.attempts)
    return "RETRYING" if is_retried else "RUNNING"


def node_status_of(attempt: Attempt) -> str:
    """A node that was cut off still runs, for all SecMaster knows."""
    return "RUNNING" if attempt.ended_ms is None else _NODE_STATUSES.get(attempt.outcome, UNHEARD_OF)


def error_of(attempt: Attempt) -> str | None:
    """What an ended node says, unless it went well."""
    is_wrong = attempt.ended_ms is not None and attempt.outcome != "succeeded"
    return attempt.message if is_wrong else None


def trigger_of(execution: Execution) -> str:
    return _TRIGGERS[execution.source]


def dataobject_of(execution: Execution) -> str:
    """The alert that the execution is about."""
    return invented("dataobject", execution.id)


def name_of(workflow: Workflow, switches: Switches) -> str:
    """The name in the tenant's own language, where there is an English one beside it."""
    return workflow.name if switches.english_names == "absent" else f"剧本: {workflow.name}"


def edited_ms(workflow: Workflow) -> int:
    """When somebody changed it last; that it ran changes nothing."""
    return workflow.created_ms if workflow.edited_ms is None else workflow.edited_ms


def workflow_record(workflow: Workflow, project_id: str, workspace_id: str, switches: Switches) -> Record:
    """As the list and the details show it; neither holds a definition."""
    author, version = workflow.created_by, f"v{len(workflow.revisions)}"
    record = {
        "id": workflow.id,
        "name": name_of(workflow, switches),
        "description": workflow.description,
        "project_id": project_id,
        "owner_id": author,
        "creator_id": author,
        "creator_name": f"user-{author[:4]}",
        "create_time": written(workflow.created_ms, switches.times),
        "modifier_id": author,
        "modifier_name": f"user-{author[:4]}",
        "update_time": written(edited_ms(workflow), switches.times),
        "edit_role": "",
        "use_role": "",
        "approve_role": "",
        "enabled": workflow.active,
        "workspace_id": workspace_id,
        "version_id": invented("version", workflow.id, version),
        "aop_type": "NORMAL",
        "engine_type": "public_engine",
        **_dataclass(workflow, "dataclass_id", "dataclass_name"),
        "labels": "IP",
        "version": version,
    }
    return _with_news(record, switches)


def instance_record(execution: Execution, workflow: Workflow, switches: Switches) -> Record:
    """Without its topology."""
    end_ms = execution.ended_ms
    if switches.former_end == "told" and status_of(execution) == "RETRYING":
        end_ms = max(attempt.ended_ms or 0 for attempt in execution.attempts)
    record = {
        "dataclass": _dataclass(workflow, "id", "name") | _english("en_name", "Alert", switches),
        "dataobject_id": dataobject_of(execution),
        switches.defense_key: "",
        "end_time": None if end_ms is None else written(end_ms, switches.times),
        "id": execution.id,
        "name": f"{_initials(workflow.name)}-{moment(execution.created_ms):%Y%m%d%H%M%S}",
        "playbook": {"id": invented("playbook", workflow.id), "name": name_of(workflow, switches)}
        | _english("en_name", workflow.name, switches),
        "retry_count": max((attempt.number for attempt in execution.attempts), default=1) - 1,
        "start_time": written(execution.created_ms, switches.times),
        "status": status_of(execution),
        "trigger_type": trigger_of(execution),
        "workflow": {
            "id": workflow.id,
            "name": name_of(workflow, switches),
            **_english("name_en", workflow.name, switches),
            "version": "v1",
            "version_id": invented("version", workflow.id, "v1"),
        },
    }
    return _with_news(_with_empties(record, switches), switches)


def node_record(attempt: Attempt, at: int, switches: Switches) -> Record:
    """The `at`-th entry of the audit log of an instance."""
    end_ms = attempt.ended_ms
    record = {
        "instance_type": "TASK",
        "action_id": attempt.node_id,
        "action_name": attempt.node_name,
        "start_time": written(attempt.started_ms, switches.times),
        "end_time": None if end_ms is None else written(end_ms, switches.times),
        "error_msg": error_of(attempt),
        "input": _payload(attempt.given, switches),
        "output": _payload(attempt.made, switches),
        "parent_instance_id": attempt.execution_id,
        "status": node_status_of(attempt),
        "succeed": attempt.outcome == "succeeded",
    }
    if switches.node_instance_id:
        record["instance_id"] = invented("node", attempt.execution_id, str(at))
    return _with_news(_with_empties(record, switches), switches)


def topology_field(nodes: list[Any], switches: Switches) -> Record:
    """`topology` as a part of its instance."""
    if nodes or switches.empty_topology == "empty":
        return {"topology": {"audit_logs": nodes}}
    return {"topology": None} if switches.empty_topology == "null" else {}


def _payload(payload: Payload | None, switches: Switches) -> str | msgspec.Raw | None:
    if payload is None:
        return None
    return payload.text.decode() if switches.payloads == "string" else msgspec.Raw(payload.text)


def _dataclass(workflow: Workflow, id_name: str, name_name: str) -> Record:
    return {id_name: invented("dataclass", workflow.customer_id), name_name: "Alert"}


def _english(key: str, name: str, switches: Switches) -> Record:
    return {} if switches.english_names == "absent" else {key: name}


def _initials(name: str) -> str:
    return "".join(word[0] for word in name.split() if word[0].isalnum()).upper()


def _with_empties(record: Record, switches: Switches) -> Record:
    if switches.empty_values == "absent":
        return {name: value for name, value in record.items() if value is not None}
    empty = None if switches.empty_values == "null" else ""
    return {name: empty if value is None else value for name, value in record.items()}


def _with_news(record: Record, switches: Switches) -> Record:
    if switches.unannounced_fields:
        record["tenant_tier"] = {"name": "gold", "since": 2024}
    return record
