"""Values become columns: redacted, storable, whatever a source has sent."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest

from syncer.decode.redact import Redactor
from syncer.encode import Encoder
from syncer.model import Execution, Node, Reject

SECRET = "hunter2-hunter2"
ENCODER = Encoder(Redactor(["password", "token"]))
DOCUMENT = json.dumps({"password": SECRET})
AT = datetime(2026, 1, 1, tzinfo=UTC)


def kept(raw: bytes) -> bytes | None:
    """What quarantine keeps of a record."""
    found: bytes | None = ENCODER.reject(Reject(raw=raw, reason="no usable identity"))["raw"]
    return found


@pytest.mark.parametrize("depth", [5_000, 100_000])
def test_a_record_of_any_depth_can_be_put_aside(depth: int) -> None:
    deep = b'{"x":' + b"[" * depth + b"]" * depth + b"}"
    assert kept(deep) == deep
    assert kept(deep.replace(b'"x"', b'"token"')) is None


@pytest.mark.parametrize(
    "payload",
    [DOCUMENT, json.dumps(DOCUMENT), base64.b64encode(DOCUMENT.encode()).decode(), f"HTTP 400: {DOCUMENT}"],
    ids=["as a string", "quoted twice", "in base64", "in a message"],
)
def test_a_record_put_aside_keeps_no_secret_of_its_payload(payload: str) -> None:
    found = kept(json.dumps({"createdAt": 1, "input": payload}).encode())
    assert found is not None
    assert SECRET.encode() not in found
    assert base64.b64encode(DOCUMENT.encode()) not in found
    assert json.loads(found)["createdAt"] == 1


def test_the_first_of_two_equal_keys_hides_no_secret_from_quarantine() -> None:
    raw = json.dumps({"password": SECRET}).encode().replace(b"}", b', "password": null}')
    assert kept(raw) == b'{"password":null}'


def test_a_record_without_a_secret_is_put_aside_as_it_was_sent() -> None:
    raw = b' {"a": 1.50, "a": [NaN]}'
    assert kept(raw) is raw


def test_a_field_of_the_source_called_repaired_does_no_harm() -> None:
    execution = Execution(
        execution_id="e", workflow_id="w", created_at=AT, message="a\x00b", extra=b'{"_repaired":5}'
    )
    columns = ENCODER.execution(execution)
    assert columns["message"] == "a\ufffdb"
    assert json.loads(columns["extra"]) == {"_repaired": ["message"]}


def test_a_column_whose_field_is_an_entry_is_redacted_like_a_key() -> None:
    encoder = Encoder(Redactor(["message", "script", "inputs", "variables", "tags", "workflow name"]))
    columns = encoder.execution(
        Execution(
            execution_id="e",
            workflow_id="w",
            created_at=AT,
            message=SECRET,
            variables=json.dumps({"a": SECRET}).encode(),
            tags=(SECRET, "b"),
            workflow_name=SECRET,
            status="Failed",
        )
    )
    assert (columns["message"], columns["tags"]) == ("[redacted]", ["[redacted]"])
    assert (columns["variables"], columns["workflow_name"]) == (b'"[redacted]"', "[redacted]")
    assert columns["status"] == "Failed"
    node = Node(
        node_id="n", name="x", node_type=None, position=0, next_node_ids=(), script=SECRET, inputs=None
    )
    assert [(row["script"], row["inputs"]) for row in encoder.nodes([node])] == [("[redacted]", None)]
