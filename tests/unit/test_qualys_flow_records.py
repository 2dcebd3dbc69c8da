"""The documents' samples as hand-written rows, and every contradiction between them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

import syncer.simulator
from syncer.decode.answer import Listing, parse_items, parse_object
from syncer.decode.redact import Redactor
from syncer.errors import RecordError
from syncer.model import Execution, Node, Outcome, Role, StepEvent, Workflow
from syncer.sources.qualys_flow.records import Records

SEEDS = Path(syncer.simulator.__file__).parent / "seeds"
WORKFLOW_ID = "f516bcf4-f6fb-46ac-a54f-ddbcf2a2d24a"
STEPS_OF = "0e72b4a1-abea-45b2-9ae9-91cd87506404"
CUSTOMER = "54f50897-26f3-c9af-83f9-e71459be70d9"
CREATOR = "0ffaf046-768b-79fc-83f6-aa25be52c2a1"
CREATED = 1_746_010_380_248


def seed(name: str) -> bytes:
    return (SEEDS / f"{name}.json").read_bytes()


def records(*, with_payloads: bool = True, keys: tuple[str, ...] = ("password", "credentials")) -> Records:
    return Records(Redactor(keys), max_payload_bytes=1_000_000, with_payloads=with_payloads)


def at(year: int, month: int, day: int, hour: int, minute: int, second: int, ms: int) -> datetime:
    return datetime(year, month, day, hour, minute, second, ms * 1000, tzinfo=UTC)


def parsed(document: object) -> Any:
    assert isinstance(document, bytes)
    return msgspec.json.decode(document)


def an_execution(**changes: object) -> Execution:
    fields = {"id": "e1", "execution": "e1", "workflow": "w1", "createdAt": CREATED, "status": "Success"}
    return records().execution(_record(fields | changes))


def an_event(**changes: object) -> StepEvent:
    fields = {"id": "s1", "execution": "e1", "nodeId": "n1", "createdAt": CREATED, "status": "Success"}
    return records().event(_record(fields | changes), "e1")


def a_workflow(**changes: object) -> Workflow:
    return records().workflow(_record({"id": "w1", "name": "Stop idle instances"} | changes))


ABSENT = object()


def _record(fields: dict[str, object]) -> bytes:
    return msgspec.json.encode({name: value for name, value in fields.items() if value is not ABSENT})


# The samples


def test_the_sample_list_of_executions_is_these_rows() -> None:
    reader = records()
    page = reader.page(parse_items(seed("executions")), reader.execution)
    failed, succeeded = page.rows
    assert (page.total, page.rejects) == (17, ())
    assert isinstance(failed.message, str)
    assert failed.message.startswith("Task c2bcbbb8-c591-400e-9e5c-6735d34c547a failed with status: FAILED")
    assert parsed(failed.categories)["projects"] == [None]
    assert failed == Execution(
        execution_id="7f7f2949-3086-4298-83f8-7bf029710bb7",
        workflow_id=WORKFLOW_ID,
        created_at=at(2025, 4, 16, 7, 5, 46, 983),
        outcome=Outcome.FAILED,
        status="Error",
        execution_type="Simple",
        trigger="UI",
        parent_execution_id=None,
        linked_execution_ids=None,
        message=failed.message,
        started_at=at(2025, 4, 16, 7, 5, 46, 983),
        ended_at=at(2025, 4, 16, 7, 6, 32, 41),
        updated_at=at(2025, 4, 16, 7, 6, 32, 82),
        variables=UNSET,
        categories=failed.categories,
        tags=(f"created_by={CREATOR}",),
        extra=None,
    )
    assert (succeeded.outcome, succeeded.message) == (Outcome.SUCCEEDED, None)
    assert (succeeded.created_at, succeeded.started_at) == (
        at(2025, 4, 16, 7, 3, 13, 708),
        at(2025, 4, 16, 7, 3, 13, 707),
    )
    assert reader.facts == {"customerId": CUSTOMER}


def test_the_sample_details_of_an_execution_are_wrapped_and_carry_variables() -> None:
    execution = records().execution(parse_object(seed("execution")))
    assert execution.execution_id == "0e71f117-648f-4ad2-a3a9-8f1b857a1b70"
    assert parsed(execution.variables) == ["region=us-east-1"]
    assert parsed(execution.categories)["projects"] == [[]]
    assert execution.extra is None


def test_the_sample_workflow_is_this_row() -> None:
    workflow = records().workflow(parse_object(seed("workflow")))
    assert isinstance(workflow.hint, str)
    assert workflow == Workflow(
        workflow_id=WORKFLOW_ID,
        name="aws-action-node",
        description=" ",
        is_active=True,
        type="normal",
        revision="27653453ffa1beb74ce8d1aaabc55162377c4090ac14e3441fc900c798891ee2",
        created_by=CREATOR,
        created_at=at(2025, 4, 16, 7, 1, 18, 828),
        updated_at=at(2025, 5, 13, 5, 33, 52, 724),
        deleted_at=None,
        last_execution_status="Error",
        last_execution_ended_at=at(2025, 5, 13, 5, 33, 52, 510),
        last_execution_message="connect ECONNREFUSED 10.238.62.201:8090",
        tags=(f"created_by={CREATOR}",),
        definition=workflow.definition,
        properties=workflow.properties,
        extra=b'{"state":null}',
        nodes=workflow.nodes,
        hint=workflow.hint,
    )
    assert parsed(workflow.definition)["variables"][0] == {"key": "region", "value": ["us-east-1"]}
    assert parsed(workflow.properties)["editorVersion"] == "2.0"


def test_the_sample_workflows_nodes_are_these() -> None:
    nodes = records().workflow(parse_object(seed("workflow"))).nodes
    assert isinstance(nodes, tuple)
    assert [(node.node_id, node.name, node.node_type, node.next_node_ids, node.script) for node in nodes] == [
        ("trigger", "Trigger", "trigger", ("node-6748e0e3-resource",), "trigger"),
        ("node-6748e0e3-resource", "AWS Resource", "resource", ("node-67649155-filter",), "awsapi"),
        ("node-67649155-filter", "Filter", "filter", ("node-e3a84822-action",), "customFilter"),
        ("node-e3a84822-action", "AWS Action", "action", ("node-ea318327-action",), "awsapi"),
        ("node-ea318327-action", "AWS Action (2)", "action", (), "awsapi"),
    ]
    assert [node.position for node in nodes] == [0, 1, 2, 3, 4]
    assert parsed(nodes[2].inputs)["expression"] == "( (c1) )"


def test_the_sample_lists_of_steps_are_these_events() -> None:
    reader = records()
    page = reader.page(parse_items(seed("steps")), lambda raw: reader.event(raw, STEPS_OF))
    assert (page.total, len(page.rows), page.rejects) == (6, 6, ())
    assert page.rows[0] == StepEvent(
        execution_id=STEPS_OF,
        event_id="01JT3585YRG0DHQNS9DNN432X3",
        node_id="node-e3a84822-qualysevent",
        created_at=at(2025, 4, 30, 10, 53, 0, 248),
        outcome=Outcome.SUCCEEDED,
        role=Role.END,
        node_type="qualysevent",
        event_order=2,
        status="Success",
        updated_at=at(2025, 4, 30, 10, 53, 0, 248),
        started_at=at(2025, 4, 30, 10, 53, 0, 100),
        ended_at=at(2025, 4, 30, 10, 53, 0, 193),
        message="1 events sent",
        details=page.rows[0].details,
        tags=(f"created_by={CREATOR}",),
        extra=None,
    )
    assert parsed(page.rows[0].details) == {"message": "1 events sent"}
    earlier = page.rows[3]
    assert isinstance(earlier.updated_at, datetime)
    assert earlier.updated_at < earlier.created_at
    running = page.rows[4]
    assert (running.role, running.outcome) == (Role.BEGIN, Outcome.RUNNING)
    assert (running.ended_at, running.details, running.message) == (None, None, None)
    since = reader.page(parse_items(seed("steps_since")), lambda raw: reader.event(raw, STEPS_OF))
    assert [(event.node_id, event.event_order, event.role) for event in since.rows] == [
        ("node-e3a84822-qualysevent", 1, Role.BEGIN),
        ("node-e3a84822-post-event", 1, Role.BEGIN),
    ]


def test_the_sample_step_detail_is_bare_and_its_payloads_are_those_of_their_own_endpoints() -> None:
    reader = records(keys=())
    node = reader.node(parse_object(seed("step")), "node-e3a84822-qualysevent")
    assert node.event_id == "01JT3585YRG0DHQNS9DNN432X3"
    given, made = reader.payload(seed("step_input")), reader.payload(seed("step_output"))
    assert (node.input, node.output) == (given, made)
    assert (given.state, made.state) == ("decoded", "decoded")
    assert (given.size, made.size) == (4256, 3085)


def test_secrets_in_payloads_are_redacted_where_they_stand() -> None:
    node = records().node(parse_object(seed("step")), "node-e3a84822-qualysevent")
    assert node.input is not UNSET
    assert parsed(node.input.value)["credentials"] == "[redacted]"
    assert "/credentials" in node.input.redacted_paths


# Executions


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("Queued", Outcome.QUEUED),
        ("Pending", Outcome.QUEUED),
        ("Waiting", Outcome.QUEUED),
        ("Running", Outcome.RUNNING),
        ("Success", Outcome.SUCCEEDED),
        ("Error", Outcome.FAILED),
        ("Failed", Outcome.FAILED),
        ("Canceled", Outcome.CANCELED),
        ("Cancelled", Outcome.CANCELED),
        ("Aborted", Outcome.CANCELED),
        ("FAILED", Outcome.FAILED),
        ("success ", Outcome.SUCCEEDED),
        ("Paused by operator", Outcome.UNKNOWN),
        ("", Outcome.UNKNOWN),
    ],
)
def test_statuses_are_translated_in_any_case_and_kept_as_sent(status: str, outcome: Outcome) -> None:
    execution = an_execution(status=status)
    assert (execution.outcome, execution.status) == (outcome, status)


@pytest.mark.parametrize("status", [None, 7, ["Success"]])
def test_a_status_that_is_no_text_is_unknown_and_stands_in_extra(status: object) -> None:
    execution = an_execution(status=status)
    assert (execution.outcome, execution.status) == (Outcome.UNKNOWN, None)
    assert execution.extra == (None if status is None else msgspec.json.encode({"status": status}))


@pytest.mark.parametrize(
    ("fields", "ended"),
    [
        ({"endDate": CREATED}, CREATED),
        ({"endDate": None, "details": {"executionEndDate": CREATED}}, CREATED),
        ({"details": {"executionEndDate": CREATED}}, CREATED),
        ({"endDate": CREATED, "details": {"executionEndDate": CREATED + 5}}, CREATED),
        ({"endDate": None, "details": None}, None),
        ({"status": "Running"}, None),
        ({"status": "Queued"}, None),
        ({"status": "Success"}, UNSET),
    ],
)
def test_the_end_is_end_date_else_that_of_the_details(fields: dict[str, object], ended: Any) -> None:
    found = an_execution(**fields).ended_at
    assert (round(found.timestamp() * 1000) if isinstance(found, datetime) else found) == ended


@pytest.mark.parametrize(
    ("details", "message", "extra"),
    [
        ({"message": "no"}, "no", None),
        ({"executionEndDate": CREATED}, None, None),
        (None, None, None),
        (ABSENT, UNSET, None),
        ({"message": "no", "attempts": 3, "executionEndDate": CREATED + 1}, "no",
         {"details": {"attempts": 3, "executionEndDate": CREATED + 1}}),
        ({"message": {"text": "no"}}, None, {"details": {"message": {"text": "no"}}}),
        ("no", None, {"details": "no"}),
    ],
)  # fmt: skip
def test_details_give_the_message_and_leave_the_rest_in_extra(
    details: object, message: Any, extra: Any
) -> None:
    execution = an_execution(details=details, endDate=CREATED)
    assert execution.message == message
    assert (parsed(execution.extra) if execution.extra else None) == extra


def test_a_field_the_answer_does_not_carry_is_not_set_and_a_null_is_none() -> None:
    bare = an_execution(status=ABSENT)
    for name in (
        "status",
        "execution_type",
        "trigger",
        "started_at",
        "updated_at",
        "categories",
        "tags",
        "variables",
    ):
        assert getattr(bare, name) is UNSET
    nulls = an_execution(executionType=None, source=None, startDate=None, categories=None, tags=None)
    for name in ("execution_type", "trigger", "started_at", "categories", "tags"):
        assert getattr(nulls, name) is None


def test_linked_executions_are_texts_and_other_shapes_stand_in_extra() -> None:
    assert an_execution(linkedExecutionIds=["e2", "e3"]).linked_execution_ids == ("e2", "e3")
    odd = an_execution(linkedExecutionIds={"child": "e2"})
    assert odd.linked_execution_ids is None
    assert parsed(odd.extra) == {"linkedExecutionIds": {"child": "e2"}}


def test_numbers_in_documents_keep_their_digits() -> None:
    raw = b'{"id":"e1","workflow":"w1","createdAt":1746010380248,"categories":{"n":1.10,"big":12345678901234567890}}'
    assert records().execution(raw).categories == b'{"n":1.10,"big":12345678901234567890}'


# Repetitions


def test_repetitions_are_dropped_and_what_differs_stands_in_extra() -> None:
    day, customer = "2025-04-30T00:00:00.000Z", "c1"
    reader = records()
    reader.facts["customerId"] = customer
    fields = {"id": "e1", "workflow": "w1", "createdAt": CREATED}
    same = {"execution": "e1", "parDateKey": day, "customerId": customer}
    other = {"execution": "e2", "parDateKey": "2025-04-29T00:00:00.000Z", "customerId": "c2"}
    assert reader.execution(_record(fields | same)).extra is None
    assert parsed(reader.execution(_record(fields | other)).extra) == other


def test_the_customer_is_the_first_that_was_seen_and_is_told_once() -> None:
    reader = records()
    assert reader.facts == {}
    fields = {"id": "s1", "execution": "e1", "nodeId": "n1", "createdAt": CREATED}
    assert reader.event(_record(fields | {"customerId": "c1"}), "e1").extra is None
    assert reader.facts == {"customerId": "c1"}
    assert parsed(reader.workflow(_record({"id": "w1", "customerId": "c2"})).extra) == {"customerId": "c2"}
    assert reader.facts == {"customerId": "c1"}


# Identity


@pytest.mark.parametrize(
    "changes",
    [
        {"id": ABSENT, "execution": ABSENT},
        {"id": None, "execution": ""},
        {"id": "x" * 513, "execution": "x" * 513},
        {"workflow": ABSENT},
        {"workflow": {"id": "w1"}},
        {"createdAt": ABSENT},
        {"createdAt": None},
        {"createdAt": "yesterday"},
        {"createdAt": 10**18},
        {"createdAt": True},
    ],
)
def test_a_record_without_usable_identity_is_put_aside_and_its_page_lands(changes: dict[str, object]) -> None:
    good = {"id": "e1", "execution": "e1", "workflow": "w1", "createdAt": CREATED}
    bad = _record(good | changes)
    reader = records()
    page = reader.page(Listing(3, [_record(good), bad, _record(good | {"id": "e2"})]), reader.execution)
    assert [row.execution_id for row in page.rows] == ["e1", "e2"]
    assert [reject.raw for reject in page.rejects] == [bad]
    assert page.rejects[0].reason
    assert (page.total, page.size) == (3, 3)


def test_a_record_that_is_no_object_is_put_aside() -> None:
    reader = records()
    page = reader.page(parse_items(b'{"items":[1,null,"x",[{}]]}'), reader.execution)
    assert [reject.raw for reject in page.rejects] == [b"1", b"null", b'"x"', b"[{}]"]


def test_the_second_name_of_an_id_serves_where_the_first_is_missing() -> None:
    assert an_execution(id=ABSENT).execution_id == "e1"
    assert an_execution(id=None).execution_id == "e1"
    assert a_workflow(id=ABSENT, workflow="w9").workflow_id == "w9"


def test_a_reject_is_called_by_its_id_where_it_has_one() -> None:
    reader = records()
    page = reader.page(Listing(None, [b'{"id":"e7"}', b"{}"]), reader.execution)
    assert [reject.identity for reject in page.rejects] == ["e7", None]


@pytest.mark.parametrize(
    "changes",
    [{"nodeId": ABSENT}, {"id": ABSENT}, {"execution": ABSENT}, {"createdAt": ABSENT}, {"execution": "e2"}],
)
def test_an_event_needs_its_id_its_node_its_own_execution_and_its_time(changes: dict[str, object]) -> None:
    with pytest.raises(RecordError):
        an_event(**changes)


# Steps


@pytest.mark.parametrize(
    ("fields", "role"),
    [
        ({"status": "Running", "endDate": None}, Role.BEGIN),
        ({"status": "RUNNING"}, Role.BEGIN),
        ({"status": "Success", "endDate": CREATED}, Role.END),
        ({"status": "Aborted", "endDate": None}, Role.END),
        ({"status": "Skipped", "endDate": CREATED}, Role.END),
        ({"status": "Skipped", "endDate": None}, Role.NOTE),
        ({"status": "Waiting"}, Role.NOTE),
    ],
)
def test_an_event_begins_ends_or_notes(fields: dict[str, object], role: Role) -> None:
    assert an_event(**fields).role is role


@pytest.mark.parametrize(
    ("details", "message"),
    [
        ({"message": "ok"}, "ok"),
        ({"message": 5}, None),
        ({}, None),
        (None, None),
        (ABSENT, UNSET),
        (["x"], None),
    ],
)
def test_details_of_an_event_are_kept_as_sent_beside_the_message(details: object, message: Any) -> None:
    event = an_event(details=details)
    assert event.message == message
    if details is ABSENT:
        assert event.details is UNSET
    else:
        assert event.details == (None if details is None else msgspec.json.encode(details))
    assert event.extra is None


def test_payloads_come_with_events_only_where_they_are_copied() -> None:
    raw = _record(
        {"id": "s", "execution": "e", "nodeId": "n", "createdAt": CREATED, "input": [1], "output": None}
    )
    event = records().event(raw, "e")
    assert event.input is not UNSET
    assert event.output is not UNSET
    assert (event.input.value, event.output.state) == (b"[1]", "absent")
    without = records(with_payloads=False).event(raw, "e")
    assert (without.input, without.output, without.extra) == (UNSET, UNSET, None)


# Workflows


def test_a_definition_that_is_no_json_is_kept_as_text_unless_a_secret_may_stand_in_it() -> None:
    assert a_workflow(definition="{cut").definition == b'"{cut"'
    assert a_workflow(definition='{"password":"x').definition == b'"[redacted]"'
    assert a_workflow(definition="{cut").nodes == ()


def test_a_definition_sent_as_an_object_serves_as_well() -> None:
    workflow = a_workflow(definition={"components": [{"id": "n1"}]})
    assert workflow.definition == b'{"components":[{"id":"n1"}]}'
    assert workflow.nodes == (
        Node(node_id="n1", name=None, node_type=None, position=0, next_node_ids=(), script=None, inputs=None),
    )


def test_a_list_without_definitions_says_nothing_of_nodes() -> None:
    workflow = a_workflow()
    assert (workflow.definition, workflow.nodes) == (UNSET, UNSET)
    null = a_workflow(definition=None)
    assert (null.definition, null.nodes) == (None, UNSET)


@pytest.mark.parametrize(
    ("following", "ids"),
    [("n2", ("n2",)), (["n2", "n3"], ("n2", "n3")), (None, ()), ([], ()), ({"a": 1}, ())],
)
def test_what_follows_a_node_may_be_one_or_many(following: object, ids: tuple[str, ...]) -> None:
    text = msgspec.json.encode({"components": [{"id": "n1", "next": following}]}).decode()
    nodes = a_workflow(definition=text).nodes
    assert isinstance(nodes, tuple)
    assert nodes[0].next_node_ids == ids


def test_components_without_an_id_are_passed_over_and_of_two_alike_the_first_counts() -> None:
    components = [{"name": "lost"}, {"id": "n1", "name": "a"}, 5, {"id": "n1", "name": "b"}, {"id": "n2"}]
    text = msgspec.json.encode({"components": components}).decode()
    nodes = a_workflow(definition=text).nodes
    assert isinstance(nodes, tuple)
    assert [(node.node_id, node.name, node.position) for node in nodes] == [("n1", "a", 1), ("n2", None, 4)]


@pytest.mark.parametrize(
    "text", ["[]", "5", '{"components":5}', '{"components":{"a":1}}', "{}", '{"components":null}']
)
def test_a_definition_of_another_shape_has_no_nodes(text: str) -> None:
    workflow = a_workflow(definition=text)
    assert (workflow.definition, workflow.nodes) == (text.encode(), ())


def test_the_hint_moves_with_the_workflow_and_its_last_execution_and_with_nothing_else() -> None:
    told = {
        "updatedAt": CREATED,
        "last_execution_details": {"executionEndDate": CREATED},
        "last_execution_status": "Error",
    }
    hint = a_workflow(**told).hint
    assert hint is not None
    assert a_workflow(**told, description="new", definition="{}").hint == hint
    for change in (
        {"updatedAt": CREATED + 1},
        {"last_execution_details": {"executionEndDate": CREATED + 1}},
        {"last_execution_details": {"executionEndDate": CREATED, "message": "x"}},
        {"last_execution_status": "Success"},
    ):
        assert a_workflow(**(told | change)).hint not in (hint, None)
    assert a_workflow(createdAt=CREATED).hint is None


def test_the_creator_is_named_by_a_tag() -> None:
    assert a_workflow(tags=["team=blue", f"created_by={CREATOR}"]).created_by == CREATOR
    assert a_workflow(tags=["team=blue"]).created_by is None
    assert a_workflow().created_by is UNSET


def test_unannounced_fields_stand_in_extra_as_sent() -> None:
    news = {"tenantTier": {"name": "gold", "since": 2024}}
    for row in (a_workflow(**news), an_execution(**news), an_event(**news)):
        assert parsed(row.extra) == news


def test_text_that_postgresql_cannot_hold_is_mended_and_named() -> None:
    raw = b'{"id":"e1","workflow":"w1","createdAt":1746010380248,"source":"a\\u0000b","details":{"message":"\\ud800"}}'
    execution = records().execution(raw)
    assert (execution.trigger, execution.message) == ("a\ufffdb", "\ufffd")
    assert parsed(execution.extra) == {"_repaired": ["message", "trigger"]}
