"""The documents' samples as hand-written rows, and every field that may be there, not there or something else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from syncer.decode.answer import parse_items
from syncer.errors import RecordError
from syncer.model import Execution, Node, Outcome, Workflow
from syncer.sources.records import to_page
from syncer.sources.sailpoint.records import read_execution, read_workflow

EXECUTIONS = b"""[
{
"id": "b393f4e2-4785-4d7f-ab27-3a6b8ded4c81",
"workflowId": "d201c5d9-d37b-4a2f-af14-66414f39d568",
"requestId": "41e12a74fa7b4a6a98ae47887b64acdb",
"startTime": "2022-02-07T20:13:29.356648026Z",
"closeTime": "2022-02-07T20:13:31.682410165Z",
"status": "Completed"
}
]"""
WORKFLOW = b"""{
"id": "d201c5e9-d37b-4aff-af14-66414f39d569",
"executionCount": 2,
"failureCount": 0,
"created": "2022-01-10T16:06:16.636381447Z",
"modified": "2023-12-05T15:18:27.699132301Z",
"modifiedBy": {"type": "IDENTITY", "id": "2c9180a46faadee4016fb4e018c20639", "name": "Thomas Edison"},
"creator": {"type": "IDENTITY", "id": "2c7180a46faadee4016fb4e018c20642", "name": "Michael Michaels"},
"name": "Send Email",
"owner": {"type": "IDENTITY", "id": "2c91808568c529c60168cca6f90c1313", "name": "William Wilson"},
"description": "Send an email to the identity who's attributes changed.",
"definition": {
  "start": "Send Email Test",
  "steps": {
    "Send Email": {
      "actionId": "sp:send-email",
      "attributes": {"body": "This is a test", "from": "sailpoint@sailpoint.com", "recipientId.$": "$.identity.id",
        "subject": "test"},
      "nextStep": "success", "selectResult": null, "type": "ACTION"
    },
    "success": {"type": "success"}
  }
},
"enabled": false,
"trigger": {"type": "EVENT", "displayName": null, "attributes": {"id": "idn:identity-attributes-changed"}}
}"""

STARTED = "2026-03-01T12:00:00.5Z"
ABSENT = object()


def an_execution(**changes: object) -> Execution:
    return read_execution(_record({"id": "e1", "workflowId": "w1", "startTime": STARTED} | changes))


def a_workflow(**changes: object) -> Workflow:
    return read_workflow(_record({"id": "w1"} | changes))


def _record(fields: dict[str, object]) -> bytes:
    return msgspec.json.encode({name: value for name, value in fields.items() if value is not ABSENT})


def parsed(document: object) -> Any:
    assert isinstance(document, bytes)
    return msgspec.json.decode(document)


# The samples


def test_the_sample_list_of_executions_is_this_row() -> None:
    page = to_page(parse_items(EXECUTIONS), read_execution, named_by=("id",))
    (row,) = page.rows
    assert (page.total, page.rejects) == (None, ())
    assert row == Execution(
        execution_id="b393f4e2-4785-4d7f-ab27-3a6b8ded4c81",
        workflow_id="d201c5d9-d37b-4a2f-af14-66414f39d568",
        created_at=datetime(2022, 2, 7, 20, 13, 29, 356648, tzinfo=UTC),
        outcome=Outcome.SUCCEEDED,
        status="Completed",
        started_at=datetime(2022, 2, 7, 20, 13, 29, 356648, tzinfo=UTC),
        ended_at=datetime(2022, 2, 7, 20, 13, 31, 682410, tzinfo=UTC),
        extra=row.extra,
    )
    assert parsed(row.extra) == {
        "requestId": "41e12a74fa7b4a6a98ae47887b64acdb",
        "startTime": "2022-02-07T20:13:29.356648026Z",
        "closeTime": "2022-02-07T20:13:31.682410165Z",
    }


def test_the_sample_workflow_is_this_row() -> None:
    workflow = read_workflow(WORKFLOW)
    assert workflow == Workflow(
        workflow_id="d201c5e9-d37b-4aff-af14-66414f39d569",
        name="Send Email",
        description="Send an email to the identity who's attributes changed.",
        is_active=False,
        type="EVENT",
        created_by="2c7180a46faadee4016fb4e018c20642",
        created_at=datetime(2022, 1, 10, 16, 6, 16, 636381, tzinfo=UTC),
        updated_at=datetime(2023, 12, 5, 15, 18, 27, 699132, tzinfo=UTC),
        definition=workflow.definition,
        extra=workflow.extra,
        nodes=workflow.nodes,
        hint=workflow.hint,
    )
    assert parsed(workflow.definition) == parsed(WORKFLOW)["definition"]
    assert parsed(workflow.extra) == {
        "executionCount": 2,
        "failureCount": 0,
        "created": "2022-01-10T16:06:16.636381447Z",
        "modified": "2023-12-05T15:18:27.699132301Z",
        "modifiedBy": {"type": "IDENTITY", "id": "2c9180a46faadee4016fb4e018c20639", "name": "Thomas Edison"},
        "creator": {"type": "IDENTITY", "name": "Michael Michaels"},
        "owner": {"type": "IDENTITY", "id": "2c91808568c529c60168cca6f90c1313", "name": "William Wilson"},
        "trigger": {"displayName": None, "attributes": {"id": "idn:identity-attributes-changed"}},
    }


def test_the_sample_workflows_steps_are_these_nodes() -> None:
    mail, end = nodes_of(read_workflow(WORKFLOW))
    assert mail == Node(
        node_id="Send Email",
        name="Send Email",
        node_type="ACTION",
        position=1,
        next_node_ids=("success",),
        script="sp:send-email",
        inputs=mail.inputs,
    )
    assert parsed(mail.inputs)["recipientId.$"] == "$.identity.id"
    assert (end.node_id, end.node_type, end.position, end.next_node_ids, end.script, end.inputs) == (
        "success", "success", 2, (), None, None,
    )  # fmt: skip


# Executions


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("Queued", Outcome.QUEUED),
        ("Running", Outcome.RUNNING),
        ("Executing", Outcome.RUNNING),
        ("Completed", Outcome.SUCCEEDED),
        ("Failed", Outcome.FAILED),
        ("Canceled", Outcome.CANCELED),
        ("Cancelled", Outcome.CANCELED),
        ("COMPLETED ", Outcome.SUCCEEDED),
        ("Paused by operator", Outcome.UNKNOWN),
        ("", Outcome.UNKNOWN),
    ],
)
def test_statuses_are_translated_in_any_case_and_kept_as_sent(status: str, outcome: Outcome) -> None:
    execution = an_execution(status=status)
    assert (execution.outcome, execution.status) == (outcome, status)


@pytest.mark.parametrize("status", [None, 7, ABSENT])
def test_a_status_that_is_no_text_is_unknown_and_stands_in_extra(status: object) -> None:
    execution = an_execution(status=status)
    assert execution.outcome is Outcome.UNKNOWN
    assert execution.extra == (b'{"status":7}' if status == 7 else None)


@pytest.mark.parametrize(
    ("status", "closed", "ended"),
    [
        ("Completed", STARTED, datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)),
        ("Executing", None, None),
        ("Executing", ABSENT, None),
        ("Queued", ABSENT, None),
        ("Running", "0001-01-01T00:00:00Z", None),
        ("Completed", ABSENT, UNSET),
        ("Whatever", ABSENT, UNSET),
    ],
)
def test_the_end_is_the_close_time_and_what_runs_has_none(status: str, closed: object, ended: object) -> None:
    assert an_execution(status=status, closeTime=closed).ended_at == ended


def test_a_close_time_that_is_none_stands_in_extra() -> None:
    execution = an_execution(closeTime="soon")
    assert (execution.ended_at, execution.extra) == (None, b'{"closeTime":"soon"}')


@pytest.mark.parametrize(
    "changes",
    [
        {"id": ABSENT},
        {"id": None},
        {"id": "x" * 513},
        {"workflowId": ABSENT},
        {"workflowId": {"id": "w1"}},
        {"startTime": ABSENT},
        {"startTime": None},
        {"startTime": "yesterday"},
        {"startTime": 1_746_010_380_248},
    ],
)
def test_an_execution_without_usable_identity_is_put_aside_and_its_page_lands(
    changes: dict[str, object],
) -> None:
    good: dict[str, object] = {"id": "e1", "workflowId": "w1", "startTime": STARTED}
    bad = _record(good | changes)
    listing = parse_items(b"[" + b",".join([_record(good), bad, _record(good | {"id": "e2"})]) + b"]")
    page = to_page(listing, read_execution, named_by=("id",))
    assert [row.execution_id for row in page.rows] == ["e1", "e2"]
    assert [reject.raw for reject in page.rejects] == [bad]


def test_fields_that_the_answer_does_not_carry_are_not_set() -> None:
    bare = an_execution()
    assert {name for name in bare.__struct_fields__ if getattr(bare, name) is UNSET} == {
        "workflow_name", "execution_type", "trigger", "subject_id", "parent_execution_id", "linked_execution_ids",
        "message", "ended_at", "updated_at", "variables", "categories", "tags", "status",
    }  # fmt: skip


# Workflows


def nodes_of(workflow: Workflow) -> tuple[Node, ...]:
    """The nodes of the definition, which come after the trigger."""
    assert isinstance(workflow.nodes, tuple)
    trigger, *nodes = workflow.nodes
    assert (trigger.node_id, trigger.position) == ("trigger", 0)
    return tuple(nodes)


def with_steps(steps: object) -> tuple[Node, ...]:
    return nodes_of(a_workflow(definition={"start": "a", "steps": steps}))


@pytest.mark.parametrize(
    ("step", "following"),
    [
        ({"nextStep": "b"}, ("b",)),
        ({"nextStep": None}, ()),
        ({"choiceList": [{"nextStep": "b"}, 7, {"nextStep": "c"}], "defaultStep": "d"}, ("b", "c", "d")),
        ({"choiceList": [{"nextStep": "b"}, {"nextStep": "c"}], "defaultStep": "b"}, ("b", "c")),
        ({"choiceList": {"nextStep": "b"}, "defaultStep": "d"}, ("d",)),
    ],
)
def test_what_follows_a_step_is_the_next_one_and_every_choice(
    step: dict[str, object], following: tuple[str, ...]
) -> None:
    (node,) = with_steps({"a": step})
    assert node.next_node_ids == following


@pytest.mark.parametrize("steps", [None, [], "x", {"": {}}, {"a": 5}, {"a" * 513: {}}])
def test_steps_that_cannot_be_read_cost_no_more_than_themselves(steps: object) -> None:
    assert with_steps(steps) == ()
    if isinstance(steps, dict):
        assert [node.node_id for node in with_steps({**steps, "good": {}})] == ["good"]


@pytest.mark.parametrize("definition", ['"text"', "[1]", "5", '{"steps":5}', "{}"])
def test_a_definition_of_another_shape_is_kept_and_has_no_nodes(definition: str) -> None:
    workflow = read_workflow(b'{"id":"w1","definition":' + definition.encode() + b"}")
    assert (workflow.definition, nodes_of(workflow)) == (definition.encode(), ())


@pytest.mark.parametrize(
    ("told", "name", "node_type"),
    [
        ({"type": "EVENT", "displayName": "Somebody joined"}, "Somebody joined", "EVENT"),
        ({"type": "", "displayName": None}, "Trigger", None),
        ("none", "Trigger", None),
    ],
)
def test_what_starts_a_workflow_is_its_first_node(told: object, name: str, node_type: str | None) -> None:
    workflow = a_workflow(definition={"start": "a", "steps": {"a": {}}}, trigger=told)
    assert isinstance(workflow.nodes, tuple)
    trigger, following = workflow.nodes
    assert (trigger.name, trigger.node_type, trigger.next_node_ids) == (name, node_type, (following.node_id,))


def test_a_step_that_is_called_like_the_trigger_is_a_node_of_its_own() -> None:
    told = {"start": "trigger", "steps": {"trigger": {"nextStep": "a"}, "a": {"nextStep": "trigger"}}}
    workflow = a_workflow(definition=told, trigger={"type": "EVENT"})
    assert isinstance(workflow.nodes, tuple)
    assert [(node.node_id, node.name, node.next_node_ids) for node in workflow.nodes] == [
        ("trigger", "Trigger", ("trigger (step)",)),
        ("trigger (step)", "trigger", ("a",)),
        ("a", "a", ("trigger (step)",)),
    ]


def test_a_list_without_definitions_says_nothing_of_nodes() -> None:
    assert (a_workflow().definition, a_workflow().nodes) == (UNSET, UNSET)
    assert (a_workflow(definition=None).definition, a_workflow(definition=None).nodes) == (None, UNSET)


def test_the_hint_moves_with_every_count_and_there_is_none_without_the_number_of_runs() -> None:
    told = {"executionCount": 2, "failureCount": 1, "modified": STARTED}
    hint = a_workflow(**told).hint
    assert hint is not None
    assert a_workflow(**told, description="new").hint == hint
    for change in ({"executionCount": 3}, {"failureCount": 2}, {"modified": "2026-03-02T00:00:00Z"}):
        assert a_workflow(**(told | change)).hint not in (hint, None)
    assert a_workflow(failureCount=1, modified=STARTED).hint is None
    assert a_workflow(executionCount="many").hint is None


def test_a_workflow_needs_its_id_alone() -> None:
    assert a_workflow().workflow_id == "w1"
    with pytest.raises(RecordError):
        read_workflow(b'{"name":"x"}')


@pytest.mark.parametrize(
    ("creator", "created_by", "extra"),
    [
        (ABSENT, UNSET, None),
        (None, None, None),
        ({"id": "i1"}, "i1", None),
        ({"name": "Ann"}, None, {"creator": {"name": "Ann"}}),
        ("i1", None, {"creator": "i1"}),
    ],
)
def test_the_creator_is_the_id_of_an_identity(creator: object, created_by: object, extra: Any) -> None:
    workflow = a_workflow(creator=creator)
    assert workflow.created_by == created_by
    assert (parsed(workflow.extra) if workflow.extra else None) == extra


def test_unannounced_fields_stand_in_extra_as_sent() -> None:
    news = {"tenantTier": {"name": "gold", "since": 2024}}
    assert parsed(a_workflow(**news).extra) == parsed(an_execution(**news).extra) == news
