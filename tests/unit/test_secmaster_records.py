"""The document's sample as a hand-written row, every form of a field, and topologies as step events."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from syncer.decode.redact import Redactor
from syncer.errors import RecordError
from syncer.fold import fold
from syncer.model import Execution, Outcome, Role, StepAnswer, StepEvent, Workflow
from syncer.sources.records import to_page
from syncer.sources.secmaster.paging import parse_list
from syncer.sources.secmaster.records import Records

SAMPLE = (Path(__file__).parent / "data" / "secmaster" / "instances.json").read_bytes()
STARTED = "2025-07-18T15:11:03.000Z+0800"
ENDED = "2025-07-18T15:11:04.577Z+0800"
ABSENT = object()


def at(second: int, ms: int = 0) -> datetime:
    return datetime(2025, 7, 18, 7, 11, second, ms * 1000, tzinfo=UTC)


def records(*, with_payloads: bool = True) -> Records:
    return Records(Redactor(("password",)), "p1", max_payload_bytes=1_000_000, with_payloads=with_payloads)


def parsed(document: object) -> Any:
    return msgspec.json.decode(document) if isinstance(document, bytes) else document


def _record(fields: dict[str, object]) -> bytes:
    return msgspec.json.encode({name: value for name, value in fields.items() if value is not ABSENT})


def an_instance(**changes: object) -> bytes:
    workflow = {"id": "w1", "name": "Close repeated alerts"}
    fields = {"id": "e1", "workflow": workflow, "start_time": STARTED, "status": "FINISHED"}
    return _record(fields | changes)


def an_execution(**changes: object) -> Execution:
    return records().execution(an_instance(**changes))


def a_workflow(**changes: object) -> Workflow:
    return records().workflow(_record({"id": "w1", "name": "Close repeated alerts"} | changes))


def a_log(**changes: object) -> dict[str, object]:
    fields = {"action_id": "n1", "action_name": "Look up", "start_time": STARTED, "status": "FINISHED"}
    return {name: value for name, value in (fields | changes).items() if value is not ABSENT}


def steps(*logs: object, with_payloads: bool = True) -> StepAnswer:
    look = records(with_payloads=with_payloads).look(an_instance(topology={"audit_logs": [*logs]}))
    assert look.steps is not None
    assert look.execution.extra is None
    return look.steps


def an_event(**changes: object) -> StepEvent:
    [event] = steps(a_log(**changes)).events
    return event


# The sample


def test_the_sample_list_is_this_row() -> None:
    page = to_page(parse_list(SAMPLE, "instances"), records().execution, named_by=("id",))
    [execution] = page.rows
    assert (page.total, page.rejects) == (1, ())
    assert execution == Execution(
        execution_id="8eed56de-7aaf-4732-baaf-46c1bb11dc8f",
        workflow_id="4a6fe02f-b4b4-3b5f-8a11-6f22229e18db",
        created_at=datetime(2025, 7, 18, 7, 11, 3, tzinfo=UTC),
        outcome=Outcome.SUCCEEDED,
        workflow_name="Automatic closing of repeated alerts",
        status="FINISHED",
        trigger="EVENT",
        subject_id="2462e8c3-e393-4af9-93b6-fe424c0b4e39",
        started_at=datetime(2025, 7, 18, 7, 11, 3, tzinfo=UTC),
        ended_at=datetime(2025, 7, 18, 7, 11, 4, 577_000, tzinfo=UTC),
        extra=execution.extra,
    )
    assert parsed(execution.extra) == {
        "name": "ZFGJZDGB-20250718151103",
        "retry_count": 0,
        "defense_id": "",
        "dataclass": {"id": "e410ae50-43fa-343e-807a-a2a9edb8018e", "name": "Alert"},
        "playbook": {
            "id": "3e966553-f53d-3d87-835e-7697e353876a",
            "name": "Automatic closing of repeated alerts",
        },
        "workflow": {"version": "v1", "version_id": "9f436a38-5c82-312b-aaba-b91a48e99086"},
    }


@pytest.mark.parametrize(
    ("body", "total", "ids"),
    [
        (b'{"count":2,"instances":[{"id":"a"},{"id":"b"}]}', 2, ["a", "b"]),
        (b'{"count":"0","instances":null}', 0, []),
        (b'{"code":"00000000","message":"","success":true,"total":0,"data":null}', 0, []),
        (b'{"data":{"total":0,"instances":null}}', 0, []),
        (b'{"code":"SecMaster.00000000","error_code":null,"total":1,"data":[{"id":"a"}]}', 1, ["a"]),
        (b'{"code":"0","success":true,"total":7,"page":1,"data":[{"id":"a"}]}', 7, ["a"]),
        (b'{"total":7,"data":{"total":8,"instances":[{"id":"a"}]}}', 8, ["a"]),
        (b'{"instances":[{"id":"a"}]}', None, ["a"]),
        (b'[{"id":"a"}]', None, ["a"]),
        (b'{"count":0,"instances":[]}', 0, []),
    ],
)
def test_a_list_is_understood_in_every_envelope(body: bytes, total: int | None, ids: list[str]) -> None:
    listing = parse_list(body, "instances")
    assert (listing.total, [parsed(item)["id"] for item in listing.items]) == (total, ids)


@pytest.mark.parametrize(
    "body",
    [
        b'{"code":"SecMaster.1","message":"busy"}',
        b'{"code":"SecMaster.1","success":false,"data":null}',
        b'{"code":"SecMaster.90001","message":"busy","data":null}',
        b'{"success":false,"total":0,"data":[]}',
        b'{"success":"False","data":[]}',
        b'{"success":false,"total":1,"data":[{"id":"a"}]}',
        # Rows that are null though some are told, or nothing is.
        b'{"count":"2","instances":null}',
        b'{"instances":null}',
        b'{"data":{"instances":null}}',
        # Every shape of an error, beside an empty list.
        b'{"code":"SecMaster.90001","message":"busy","total":0,"data":[]}',
        b'{"error_code":"APIGW.0308","error_msg":"wait","instances":null}',
        b'{"error_code":"APIGW.0201","count":0,"instances":[]}',
        b'{"errorCode":"X","count":0,"instances":[]}',
        b'{"error":{"code":500,"message":"busy"},"count":0,"instances":[]}',
        b"<html>",
        b"",
    ],
)
def test_an_answer_that_tells_of_a_failure_is_never_an_empty_list(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - what it says is shown to nobody
        parse_list(body, "instances")


# Instances


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("CREATED", Outcome.QUEUED),
        ("RUNNING", Outcome.RUNNING),
        ("RETRYING", Outcome.RUNNING),
        ("TERMINATING", Outcome.RUNNING),
        ("FINISHED", Outcome.SUCCEEDED),
        ("FAILED", Outcome.FAILED),
        ("TERMINATED", Outcome.CANCELED),
        ("Finished", Outcome.SUCCEEDED),
        ("SUSPENDED", Outcome.UNKNOWN),
        (7, Outcome.UNKNOWN),
        (None, Outcome.UNKNOWN),
        (ABSENT, Outcome.UNKNOWN),
    ],
)
def test_every_status_is_kept_and_has_an_outcome(status: object, outcome: Outcome) -> None:
    execution = an_execution(status=status)
    assert execution.outcome is outcome
    assert execution.status == (status if isinstance(status, str) else UNSET if status is ABSENT else None)


@pytest.mark.parametrize(
    "text",
    [
        "2025-07-18T15:11:04.577Z+0800",
        "2025-07-18T15:11:04.577+08:00",
        "2025-07-18T07:11:04.577Z",
        "2025-07-18T07:11:04.577Z+0000",
        "2025-07-18T02:11:04.577Z-0500",
        "2025-07-18T15:11:04.577+0800",
    ],
)
def test_a_time_is_understood_in_every_documented_form(text: str) -> None:
    execution = an_execution(start_time=text, end_time=text)
    assert execution.created_at == execution.started_at == execution.ended_at == at(4, 577)
    assert an_execution(start_time="2024-08-27T11:00:00Z+0800").created_at == datetime(
        2024, 8, 27, 3, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("status", "end_time", "ended_at"),
    [
        ("FINISHED", ENDED, at(4, 577)),
        ("FINISHED", ABSENT, UNSET),
        ("FAILED", None, None),
        # It ran to an end before, was tried again, and has none now.
        ("RETRYING", ABSENT, None),
        ("RETRYING", "", None),
        ("RETRYING", None, None),
        ("RUNNING", None, None),
        ("CREATED", ABSENT, None),
    ],
)
def test_what_runs_again_has_no_end(status: str, end_time: object, ended_at: object) -> None:
    execution = an_execution(status=status, end_time=end_time)
    assert execution.ended_at == ended_at
    assert execution.extra is None


@pytest.mark.parametrize("status", ["RETRYING", "RUNNING", "TERMINATING", "CREATED"])
def test_the_end_that_was_told_before_is_none_while_it_runs_again_and_stands_in_extra(status: str) -> None:
    execution = an_execution(status=status, end_time=ENDED)
    assert (execution.ended_at, execution.has_ended) == (None, False)
    assert parsed(execution.extra) == {"end_time": ENDED}


def test_the_end_of_a_node_that_runs_again_is_none() -> None:
    event = an_event(status="RUNNING", end_time=ENDED)
    assert (event.role, event.ended_at) == (Role.BEGIN, None)
    assert parsed(event.extra) == {"end_time": ENDED}


@pytest.mark.parametrize(
    ("workflow", "name", "rest"),
    [
        ({"name": "关闭告警", "name_en": "Close alerts"}, "Close alerts", {"name": "关闭告警"}),
        ({"name": "关闭告警", "en_name": "Close alerts"}, "Close alerts", {"name": "关闭告警"}),
        ({"name": "关闭告警", "name_en": ""}, "关闭告警", None),
        ({"name": "关闭告警", "name_en": None}, "关闭告警", None),
        ({}, None, None),
        ({"name": 5}, None, {"name": 5}),
    ],
)
def test_the_workflows_english_name_goes_first(
    workflow: dict[str, object], name: str | None, rest: object
) -> None:
    execution = an_execution(workflow={"id": "w1"} | workflow)
    assert execution.workflow_name == name
    assert parsed(execution.extra) == (rest and {"workflow": rest})


@pytest.mark.parametrize(
    "changes",
    [
        {"id": ABSENT},
        {"id": ""},
        {"workflow": ABSENT},
        {"workflow": None},
        {"workflow": "w1"},
        {"workflow": {"name": "x"}},
        {"start_time": ABSENT},
        {"start_time": ""},
        {"start_time": 1752822663},
        {"start_time": "yesterday"},
    ],
)
def test_only_a_missing_identity_makes_an_instance_unusable(changes: dict[str, object]) -> None:
    with pytest.raises(RecordError, match="no usable"):
        an_execution(**changes)


def test_a_surprise_in_any_other_field_stands_in_extra_as_sent() -> None:
    odd = {"trigger_type": 5, "dataobject_id": ["x"], "end_time": 17, "topology": "none", "defence_id": "d"}
    execution = an_execution(**odd, status={"code": 1})
    assert (execution.trigger, execution.subject_id, execution.ended_at) == (None, None, None)
    assert parsed(execution.extra) == odd | {"status": {"code": 1}}


def test_an_instance_of_no_object_has_no_subject() -> None:
    assert an_execution(dataobject_id="").subject_id is None
    assert an_execution().subject_id is UNSET


def test_a_list_says_nothing_of_messages_and_keeps_no_topology_in_extra() -> None:
    execution = an_execution(topology={"audit_logs": [a_log(status="FAILED", error_msg="no")], "depth": 2})
    assert execution.message is UNSET
    assert parsed(execution.extra) == {"topology": {"depth": 2}}


# Topologies


def test_a_node_that_ran_is_one_event() -> None:
    event = an_event(
        instance_type="TASK",
        end_time=ENDED,
        error_msg="",
        input='{"ip":"10.0.0.1","password":"x"}',
        output="done",
        parent_instance_id="e1",
        succeed=True,
    )
    assert event == StepEvent(
        execution_id="e1",
        event_id="n1/2025-07-18T07:11:03.000Z/1",
        node_id="n1",
        created_at=at(3),
        outcome=Outcome.SUCCEEDED,
        role=Role.END,
        node_name="Look up",
        node_type="TASK",
        status="FINISHED",
        started_at=at(3),
        ended_at=at(4, 577),
        message=None,
        extra=event.extra,
        input=event.input,
        output=event.output,
    )
    assert parsed(event.extra) == {"parent_instance_id": "e1", "succeed": True}
    assert event.input is not UNSET
    assert event.output is not UNSET
    assert (event.input.state, parsed(event.input.value)) == (
        "decoded", {"ip": "10.0.0.1", "password": "[redacted]"},
    )  # fmt: skip
    assert (event.output.state, event.output.value) == ("text", b'"done"')


@pytest.mark.parametrize(
    ("changes", "role", "outcome"),
    [
        ({"status": "RUNNING"}, Role.BEGIN, Outcome.RUNNING),
        ({"status": "RUNNING", "succeed": False}, Role.BEGIN, Outcome.RUNNING),
        ({"status": "FINISHED", "end_time": ENDED}, Role.END, Outcome.SUCCEEDED),
        ({"status": "FAILED"}, Role.END, Outcome.FAILED),
        ({"status": "SKIPPED", "end_time": ENDED}, Role.END, Outcome.UNKNOWN),
        ({"status": "SKIPPED"}, Role.NOTE, Outcome.UNKNOWN),
        ({"status": ABSENT, "succeed": True}, Role.END, Outcome.SUCCEEDED),
        ({"status": None, "succeed": False}, Role.END, Outcome.FAILED),
        ({"status": ABSENT}, Role.NOTE, Outcome.UNKNOWN),
    ],
)
def test_an_event_begins_ends_or_notes(changes: dict[str, object], role: Role, outcome: Outcome) -> None:
    event = an_event(**changes)
    assert (event.role, event.outcome) == (role, outcome)


def test_an_event_keeps_its_id_from_its_start_to_its_end() -> None:
    begun = an_event(status="RUNNING")
    ended = an_event(end_time=ENDED, start_time="2025-07-18T07:11:03.000Z")
    assert begun.event_id == ended.event_id


def test_runs_of_a_node_that_begin_in_the_same_moment_are_told_apart_by_their_order() -> None:
    later = "2025-07-18T15:11:04.000Z+0800"
    found = steps(a_log(), a_log(action_id="n2"), a_log(output="x"), a_log(start_time=later)).events
    assert [event.event_id for event in found] == [
        "n1/2025-07-18T07:11:03.000Z/1",
        "n2/2025-07-18T07:11:03.000Z/1",
        "n1/2025-07-18T07:11:03.000Z/2",
        "n1/2025-07-18T07:11:04.000Z/1",
    ]


def test_runs_of_a_node_within_a_millisecond_have_ids_of_their_own() -> None:
    starts = [f"2025-07-18T15:11:03.000{rest}Z+0800" for rest in ("1", "2", "")]
    found = steps(*(a_log(start_time=start) for start in starts)).events
    assert [event.event_id for event in found] == [f"n1/2025-07-18T07:11:03.000Z/{n}" for n in (1, 2, 3)]


def test_a_node_that_was_tried_three_times_has_three_attempts() -> None:
    tries = [
        a_log(status=status, start_time=f"2025-07-18T15:11:0{n}.000Z+0800", output=f"try {n}")
        for n, status in enumerate(["FAILED", "FAILED", "FINISHED"])
    ]
    folded = fold(steps(*reversed(tries)).events, execution_ended=True)
    assert [(step.attempt, step.status, step.node_name) for step in folded] == [
        (1, "FAILED", "Look up"), (2, "FAILED", "Look up"), (3, "FINISHED", "Look up"),
    ]  # fmt: skip


def test_payloads_come_only_where_they_are_copied_and_never_stand_in_extra() -> None:
    log = a_log(input="secret", output=None)
    [event] = steps(log, with_payloads=False).events
    assert (event.input, event.output, event.extra) == (UNSET, UNSET, None)
    assert not steps(log, with_payloads=False).has_payloads
    assert steps(log).has_payloads
    assert not steps(a_log()).has_payloads


def test_a_node_without_identity_is_put_aside_and_the_others_land() -> None:
    answer = steps(a_log(action_id=ABSENT), a_log(start_time=None, action_id="n9"), 5, a_log())
    assert [event.node_id for event in answer.events] == ["n1"]
    assert [reject.identity for reject in answer.rejects] == ["e1"] * 3


@pytest.mark.parametrize("topology", [ABSENT, None, {}, {"audit_logs": None}, {"audit_logs": []}])
def test_an_instance_without_a_topology_has_no_steps_yet(topology: object) -> None:
    look = records().look(an_instance(topology=topology))
    assert look.steps is not None
    assert (look.steps.events, look.steps.rejects) == ((), ())
    assert look.execution.extra is None


@pytest.mark.parametrize("topology", [ABSENT, None, {}, {"audit_logs": None}, {"audit_logs": []}])
@pytest.mark.parametrize(
    ("status", "had_ended", "is_whole"),
    [("FINISHED", False, False), ("RUNNING", True, False), ("RUNNING", False, True)],
)
def test_an_instance_that_has_ended_is_not_whole_without_any_node(
    topology: object, status: str, *, had_ended: bool, is_whole: bool
) -> None:
    look = records().look(an_instance(status=status, topology=topology), had_ended=had_ended)
    assert look.steps is not None
    assert look.steps.is_whole is is_whole
    full = records().look(an_instance(status=status, topology={"audit_logs": [a_log()]}), had_ended=had_ended)
    assert full.steps is not None
    assert full.steps.is_whole


def test_what_is_no_list_of_nodes_stands_in_extra_as_sent() -> None:
    look = records().look(an_instance(topology={"audit_logs": {"n1": 1}}))
    assert parsed(look.execution.extra) == {"topology": {"audit_logs": {"n1": 1}}}


# Why an execution failed


@pytest.mark.parametrize(
    ("logs", "message"),
    [
        ([], None),
        ([a_log()], None),
        ([a_log(status="FAILED", error_msg="no route")], "no route"),
        ([a_log(status="FAILED", error_msg="")], None),
        ([a_log(status="FAILED", error_msg=7)], None),
        ([a_log(error_msg="a warning")], None),
        (
            [
                a_log(status="FAILED", error_msg="second", end_time=ENDED),
                a_log(status="FAILED", error_msg="first", end_time="2025-07-18T15:11:03.900Z+0800"),
                a_log(status="FINISHED", error_msg="later, and no failure", end_time=ENDED),
            ],
            "second",
        ),
        ([a_log(status="FAILED", error_msg="one"), a_log(status="FAILED", error_msg="two")], "two"),
    ],
)
def test_the_message_is_that_of_the_node_that_failed_last(
    logs: list[dict[str, object]], message: str | None
) -> None:
    look = records().look(an_instance(status="FAILED", topology={"audit_logs": logs}))
    assert look.steps is not None
    assert look.execution.message == look.steps.message == message


def test_without_a_topology_nothing_is_said_of_the_message() -> None:
    look = records().look(an_instance(topology=None))
    assert look.steps is not None
    assert look.execution.message is look.steps.message is UNSET


# Workflows


def test_a_workflow_is_this_row() -> None:
    workflow = a_workflow(
        description="for duplicates", project_id="p1", owner_id="u1", creator_id="u2", creator_name="Ann",
        create_time="2025-01-02T11:00:00.000Z+0800", update_time="2025-02-03T11:00:00Z+0800", enabled=True,
        workspace_id="ws1", version_id="v-77", version="v3", aop_type="NORMAL", engine_type="public",
        labels="a,b",
    )  # fmt: skip
    assert workflow == Workflow(
        workflow_id="w1",
        name="Close repeated alerts",
        description="for duplicates",
        is_active=True,
        type="NORMAL",
        revision="v-77",
        created_by="u2",
        created_at=datetime(2025, 1, 2, 3, tzinfo=UTC),
        updated_at=datetime(2025, 2, 3, 3, tzinfo=UTC),
        definition=None,
        extra=workflow.extra,
    )
    assert parsed(workflow.extra) == {
        "owner_id": "u1",
        "creator_name": "Ann",
        "workspace_id": "ws1",
        "version": "v3",
        "engine_type": "public",
        "labels": "a,b",
    }


def test_only_another_project_than_our_own_says_anything() -> None:
    assert a_workflow(project_id="p1").extra is None
    assert parsed(a_workflow(project_id="p2").extra) == {"project_id": "p2"}
    assert records().facts == {"project_id": "p1"}


def test_a_workflow_needs_its_id() -> None:
    with pytest.raises(RecordError):
        a_workflow(id=None)
