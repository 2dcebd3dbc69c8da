"""One workflow or execution of the truth as SailPoint puts it on the wire.

Invariant: what the truth does not have follows from an id, so that it can be computed again. It must not know
requests, pages or who asks.
"""

from __future__ import annotations

import hashlib
from typing import Any
from zlib import crc32

from syncer.simulator.payloads import PLANTED_SECRET
from syncer.simulator.sailpoint.stamps import nanoseconds, told
from syncer.simulator.sailpoint.switches import Switches
from syncer.simulator.truth import Execution, Outcome, Workflow

Record = dict[str, Any]

_WORDS: dict[Outcome, str] = {
    "queued": "Queued",
    "succeeded": "Completed",
    "failed": "Failed",
    "canceled": "Canceled",
    "unknown": "TimedOut",  # which the documents do not know
}
_PEOPLE = ("Michael Michaels", "Thomas Edison", "William Wilson", "Zoë Ångström")
_TRIGGERS: tuple[Record, ...] = (
    {
        "type": "EVENT",
        "displayName": "Identity Attributes Changed",
        "attributes": {
            "id": "idn:identity-attributes-changed",
            "filter.$": "$.changes[?(@.attribute == 'manager')]",
            "description": "Triggered when an identity's manager attribute changes",
        },
    },
    {
        "type": "EXTERNAL",
        "displayName": None,
        "attributes": {"name": "search-and-notify", "description": "Run a search and notify the results"},
    },
    {"type": "SCHEDULED", "displayName": "Daily", "attributes": {"frequency": "daily", "timeZone": "UTC"}},
)


# Workflows


def workflow_record(workflow: Workflow, counts: tuple[int, int], switches: Switches) -> Record:
    """`counts`: how many executions there were, and how many of them failed."""
    person = identity(workflow.created_by)
    record: Record = {
        "id": workflow.id,
        "name": workflow.name,
        "description": workflow.description,
        "enabled": workflow.active,
        "created": told(created_ns(workflow, switches), switches),
        "modified": told(modified_ns(workflow, switches), switches),
        "modifiedBy": person,
        "creator": person,
        "owner": person,
        "executionCount": counts[0],
        "failureCount": counts[1],
        "definition": definition(workflow),
        "trigger": trigger(workflow),
    }
    if switches.execution_counts == "absent":
        del record["executionCount"], record["failureCount"]
    return _with_news(record, switches)


def identity(key: str) -> Record:
    """A person with that key."""
    return {"type": "IDENTITY", "id": hexadecimal(key), "name": _PEOPLE[crc32(key.encode()) % len(_PEOPLE)]}


def definition(workflow: Workflow, secret: str = PLANTED_SECRET) -> Record:
    """The steps by name, linked in their order; `secret` stands where readers must not leave it."""
    nodes = [node for node in workflow.nodes if node.name is not None and node.type != "trigger"]
    following = [*(node.id for node in nodes[1:]), "success"]
    steps: Record = {
        node.id: {
            "actionId": technical_name(node.type),
            "type": "ACTION",
            "displayName": node.name,
            "attributes": {
                "credentials": secret,
                "revision": len(workflow.revisions),
                "region": workflow.region,
            },
            "nextStep": next_step,
            "selectResult": None,
        }
        for node, next_step in zip(nodes, following, strict=bool(nodes))
    }
    return {"start": next(iter(steps), "success"), "steps": {**steps, "success": {"type": "success"}}}


def trigger(workflow: Workflow) -> Record:
    """What starts a workflow: each kind in turn."""
    return _TRIGGERS[crc32(workflow.id.encode()) % len(_TRIGGERS)]


def created_ns(workflow: Workflow, switches: Switches) -> int:
    return nanoseconds(workflow.created_ms, f"{workflow.id}/created", switches)


def modified_ns(workflow: Workflow, switches: Switches) -> int:
    """An execution that ends does not modify its workflow."""
    if workflow.edited_ms is None:
        return created_ns(workflow, switches)
    return nanoseconds(workflow.edited_ms, f"{workflow.id}/modified", switches)


# Executions


def execution_record(execution: Execution, switches: Switches) -> Record:
    """As lists and single answers carry it alike."""
    closed_ns = close_ns(execution, switches)
    record: Record = {
        "id": execution.id,
        "workflowId": execution.workflow_id,
        "requestId": hexadecimal(execution.id),
        "startTime": told(start_ns(execution, switches), switches),
        "closeTime": None if closed_ns is None else told(closed_ns, switches),
        "status": status_of(execution, switches),
    }
    if closed_ns is None and switches.close_time_while_open == "absent":
        del record["closeTime"]
    return _with_news(record, switches)


def status_of(execution: Execution, switches: Switches) -> str:
    """SailPoint's own word."""
    return switches.running_word if execution.outcome == "running" else _WORDS[execution.outcome]


def start_ns(execution: Execution, switches: Switches) -> int:
    """Its `startTime`: what lists are sorted and filtered by."""
    return nanoseconds(execution.created_ms, execution.id, switches)


def close_ns(execution: Execution, switches: Switches) -> int | None:
    """Its `closeTime`, never before its start."""
    if execution.ended_ms is None:
        return None
    ended_ns = nanoseconds(execution.ended_ms, f"{execution.id}/close", switches)
    return max(ended_ns, start_ns(execution, switches))


def technical_name(node_type: str) -> str:
    """What SailPoint calls an action that does this."""
    return f"sp:{node_type}"


def hexadecimal(key: str) -> str:
    """32 digits that belong to a key."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _with_news(record: Record, switches: Switches) -> Record:
    if switches.unannounced_fields:
        record["tenantTier"] = {"name": "gold", "since": 2024}
    return record
