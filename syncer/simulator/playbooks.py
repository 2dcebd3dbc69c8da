"""What a security team automates: names of workflows, their definitions, and how they fail.

Invariant: everything follows from the random numbers passed in. It must not know executions or the wire.
"""

from __future__ import annotations

import hashlib
from random import Random
from typing import Any
from uuid import UUID

import msgspec

from syncer.simulator.payloads import REDACTED
from syncer.simulator.truth import Node, Revision

NAMES = (
    ("Stop idle EC2 instances", "Stops what has been under 2 % CPU for a day and takes a snapshot first"),
    ("Quarantine host on critical QID", "Moves the host into the isolation group until it is patched"),
    ("Notify Slack on public S3 bucket", "Tells the owner, and the security channel after an hour"),
    ("Rotate exposed access key", "Disables the key, makes a new one, opens a ticket"),
    ("Close fixed vulnerability tickets", ""),
    ("Tag untagged resources", "Owner and cost centre from the account table"),
    ("Publicly accessible RDS DB Instances", "Removes public access, keeps the former settings"),
    ("Revoke unused IAM roles", "After 90 days without use and one warning"),
    ("Patch window: staging", "Starts the patch job and reports hosts that did not come back"),
    ("Certificate expires in 14 days", ""),
    ("Block brute-force sources", "Adds the address to the deny list for a day"),
    ("Encrypt unencrypted EBS volumes", "Snapshot, copy with key, swap"),
)

SOURCES = ("UI", "PUBLIC_API", "SCHEDULE", "EVENT")

# (type, name in the definition, script); a workflow runs the first N of them, then actions.
CHAIN = (
    ("trigger", "Trigger", "trigger"),
    ("resource", "AWS Resource", "awsapi"),
    ("filter", "Filter", "customFilter"),
    ("action", "AWS Action", "awsapi"),
    ("action", "AWS Action (2)", "awsapi"),
    ("qualysevent", "Qualys Event", "qualysEvent"),
    ("post-event", "Post event", "postEvent"),
    ("post-workflow-trigger", "Run workflow", "workflowTrigger"),
)

_DENIED = (
    '{{"failed":[{{"error":"You are not authorized to perform this operation. User: '
    "arn:aws:sts::{account}:assumed-role/QFLOW_1/qualys is not authorized to perform: ec2:StopInstances "
    "on resource: arn:aws:ec2:{region}:{account}:instance/{instance} because no identity-based policy "
    "allows the ec2:StopInstances action. Encoded authorization failure message: {blob}"
)

FAILURES = (
    _DENIED,
    "connect ECONNREFUSED 10.{a}.{b}.201:8090",
    "Rate exceeded (Service: Ec2, Status Code: 503, Request ID: {uuid})",
    "Task timed out after {a}.00 seconds",
    "QID {qid} not found in knowledge base",
    "The instance ID '{instance}' does not exist",
    "Cannot read property 'InstanceId' of undefined",
)


def uuid_of(rng: Random) -> str:
    return str(UUID(int=rng.getrandbits(128), version=4))


def path_of(rng: Random, steps: int) -> list[Node]:
    """The nodes of a workflow in the order they run."""
    kinds = [*CHAIN, *(("action", f"AWS Action ({n})", "awsapi") for n in range(3, steps))][:steps]
    return [
        Node("trigger" if kind == "trigger" else f"node-{rng.getrandbits(32):08x}-{kind}", kind, name)
        for kind, name, _ in kinds
    ]


def revision_of(nodes: list[Node], region: str, account: str, note: str = "") -> Revision:
    """The definition of those nodes that have a name, linked in their order."""
    known = [node for node in nodes if node.name is not None]
    ids = [None, *(node.id for node in known), None]
    components = [
        _component(node, previous=ids[at], following=ids[at + 2], note=note) for at, node in enumerate(known)
    ]

    def document(credentials: Any) -> dict[str, Any]:
        variables = [{"key": "region", "value": [region]}, {"key": "credentials", "value": credentials}]
        return {"variables": variables, "components": components}

    text = msgspec.json.encode(document([f"@{account}"]))
    return Revision(hashlib.sha256(text).hexdigest(), text.decode(), document(REDACTED))


def _component(node: Node, *, previous: str | None, following: str | None, note: str) -> dict[str, Any]:
    return {
        "name": node.name,
        "id": node.id,
        "type": node.type,
        "next": following,
        "previous": previous,
        "inputs": _inputs(node.type, note),
        "target": {"script": next(script for kind, _, script in CHAIN if kind == node.type)},
        "selectedResource": None,
        "conditionalSettings": {"conditions": [], "expression": ""},
        "advanceOptions": {},
    }


def _inputs(node_type: str, note: str) -> dict[str, Any]:
    if node_type == "trigger":
        return {"event": {"active": False}, "schedule": {"active": bool(note), "value": [note]}}
    if node_type == "filter":
        condition = {"id": "c1", "type": "tag", "key": "stop-instance", "value": "true", "operator": "has"}
        return {"conditions": [condition], "expression": "( (c1) )"}
    return {
        "service": "EC2",
        "resourceType": "EC2_INSTANCE",
        "method": "describeInstances" if node_type == "resource" else "stopInstances",
        "params": {"InstanceIds": ["obj.InstanceId"], "Force": " "},
        "waitForAction": "true",
    }


def failure_of(rng: Random, region: str) -> str:
    """What the platform says of a step that failed."""
    return rng.choice(FAILURES).format(
        account=rng.randrange(10**11, 10**12),
        region=region,
        instance=f"i-{rng.getrandbits(68):017x}",
        blob=f"{rng.getrandbits(400):x}",
        a=rng.randint(1, 250),
        b=rng.randint(1, 250),
        qid=rng.randrange(10_000, 400_000),
        uuid=uuid_of(rng),
    )


def success_of(rng: Random, node_type: str) -> str:
    """What the platform says of a step that went well."""
    if node_type in ("post-event", "post-workflow-trigger", "trigger"):
        return "Success"
    if node_type == "qualysevent":
        return f"{rng.randint(1, 3)} events sent"
    return f"{rng.randint(1, 40)} Instances {'acted on' if node_type == 'action' else 'filtered'}"
