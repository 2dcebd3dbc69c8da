"""Step inputs and outputs: 1 to 4 KB of JSON as a security playbook passes along, each with a planted secret.

Invariant: a payload follows from its name alone, so a history of any length holds none of them in memory,
and `redacted` is composed beside `value`, never computed from it. It must not know how a payload is served.
"""

from __future__ import annotations

import base64
import gzip
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any, Literal, Protocol

import msgspec

Side = Literal["input", "output"]

# What no database, log or error message may ever show. Stands under the key `credentials`.
PLANTED_SECRET = "pl4nted-s3cret-hunter2"  # noqa: S105 - guards nothing, tests look for it
REDACTED = "[redacted]"
MASKED = "********************"


class Payload(Protocol):
    """One step's input or output."""

    @property
    def value(self) -> Any:
        """The document."""

    @property
    def redacted(self) -> Any:
        """The document as the default `redact_keys` leave it."""

    @property
    def text(self) -> bytes:
        """The document as JSON."""

    @property
    def encoded(self) -> bytes:
        """A JSON string holding base64(gzip(text))."""


@dataclass(frozen=True, slots=True)
class Composed:
    """A plausible payload of a node type; `variant` chooses among as many as one likes."""

    node_type: str
    side: Side
    variant: int

    @property
    def value(self) -> Any:
        return self._compose(PLANTED_SECRET)

    @property
    def redacted(self) -> Any:
        return self._compose(REDACTED)

    @property
    def text(self) -> bytes:
        return _text(self)

    @property
    def encoded(self) -> bytes:
        return _encoded(self)

    def _compose(self, secret: str) -> Any:
        rng = Random(f"{self.node_type}/{self.side}/{self.variant}")
        return _input(rng, self.node_type, secret) if self.side == "input" else _output(rng, self.node_type)


@dataclass(frozen=True, slots=True)
class Given:
    """A payload chosen by a test: any JSON text, however hostile, with nothing in it to redact."""

    text: bytes

    @property
    def value(self) -> Any:
        return msgspec.json.decode(self.text)

    @property
    def redacted(self) -> Any:
        return self.value

    @property
    def encoded(self) -> bytes:
        return encode(self.text)


def encode(text: bytes) -> bytes:
    """As Qualys serves a payload in the details of a step: a quoted base64(gzip(text))."""
    return b'"' + base64.b64encode(gzip.compress(text, 6, mtime=0)) + b'"'


@lru_cache(maxsize=4096)
def _text(payload: Composed) -> bytes:
    return msgspec.json.encode(payload.value)


@lru_cache(maxsize=4096)
def _encoded(payload: Composed) -> bytes:
    return encode(_text(payload))


def _input(rng: Random, node_type: str, secret: str) -> dict[str, Any]:
    """The frame every node gets: who runs it, where, with what, and the former node's output."""
    region = rng.choice(("us-east-1", "eu-central-1", "ap-south-1"))
    collection = [_resource(rng, node_type, region) for _ in range(rng.randint(1, 4))]
    return {
        "selectedResource": {"label": "Filter.Instances", "path": "", "context": {"outputPath": ""}},
        "resourceGroup": [],
        "previousOutputPath": "",
        "method": rng.choice(("describeInstances", "stopInstances", "RunWorkflow", "createSnapshots")),
        "credentials": secret,
        "credentials_azure": MASKED,
        "previousOutputIsModified": rng.random() < 0.5,
        "waitForCompletion": True,
        "cloudType": "AWS",
        "service": rng.choice(("EC2", "S3", "IAM", "RDS", "QFLOW")),
        "conditionalSettings": {"expression": "", "conditions": []},
        "region": region,
        "collection": collection,
        "stepMessage": f"{len(collection)} resources passed on",
        "success": True,
        "meta": {"inputMeta": {"length": len(collection)}, "outputMeta": {"length": 0}},
        "globalVariables": {"region": region, "credentials": secret, "taskQueue": "soar_conductor_task"},
    }


def _output(rng: Random, node_type: str) -> Any:
    region = rng.choice(("us-east-1", "eu-central-1", "ap-south-1"))
    found = [_resource(rng, node_type, region) for _ in range(rng.randint(1, 5))]
    if node_type in ("resource", "filter", "trigger"):
        return found
    return {
        "successful": found,
        "failed": [],
        "stepMessage": f"{len(found)} acted on",
        "ratio": round(rng.random(), 6),
    }


def _resource(rng: Random, node_type: str, region: str) -> dict[str, Any]:
    return _detection(rng) if node_type in ("trigger", "qualysevent") else _instance(rng, region)


def _instance(rng: Random, region: str) -> dict[str, Any]:
    instance_id = f"i-{rng.getrandbits(68):017x}"
    day = f"2025-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
    return {
        "InstanceId": instance_id,
        "Arn": f"arn:aws:ec2:{region}:{rng.randrange(10**11, 10**12)}:instance/{instance_id}",
        "InstanceType": rng.choice(("t3.micro", "m5.large", "c6i.xlarge")),
        "PrivateIpAddress": f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}",
        "State": {"Code": rng.choice((16, 64, 80)), "Name": rng.choice(("running", "stopping", "stopped"))},
        "LaunchTime": f"{day}T{rng.randrange(24):02}:15:00.000Z",
        "Tags": [
            {"Key": "Name", "Value": rng.choice(("web", "batch", "étl-nœud")) + f"-{rng.randrange(100)}"},
            {"Key": "owner", "Value": rng.choice(("payments", "platform", "data", "旅行"))},
        ],
        "SecurityGroups": [{"GroupId": f"sg-{rng.getrandbits(68):017x}", "GroupName": "default"}],
        "CpuUtilization": round(rng.random() * 100, 3),
    }


def _detection(rng: Random) -> dict[str, Any]:
    return {
        "QID": rng.randrange(10_000, 400_000),
        "TITLE": rng.choice(
            (
                "OpenSSH regreSSHion Vulnerability",
                "Public S3 bucket policy",
                "Apache HTTP Server < 2.4.62 Multiple Issues",
            )
        ),
        "SEVERITY": rng.randint(1, 5),
        "HOST_ID": rng.randrange(10**8),
        "DNS": f"host-{rng.randrange(10_000)}.corp.example",
        "STATUS": rng.choice(("New", "Active", "Re-Opened", "Fixed")),
        "CVSS": round(rng.uniform(1, 10), 1),
        "RESULTS": " ".join(f"{rng.getrandbits(32):08x}" for _ in range(rng.randint(10, 40))),
        "FIRST_FOUND": rng.randrange(1_600_000_000_000, 1_700_000_000_000),
    }
