"""Events of a history as events of steps: whose they are, what they do, and what they are called."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from syncer.decode.redact import Redactor
from syncer.errors import RecordError
from syncer.fold import fold
from syncer.model import Outcome, Role, Step, StepEvent
from syncer.sources.sailpoint.events import Events, kind_of, last_error, told_apart
from syncer.sources.sailpoint.steps import parse_history

SAMPLE = b'{"type": "WorkflowTaskScheduled", "timestamp": "2022-02-07T20:13:31.640618296Z", "attributes": {}}'
ABSENT = object()


def reader(*, with_payloads: bool = True) -> Events:
    return Events(Redactor(("password",)), max_payload_bytes=1_000_000, with_payloads=with_payloads)


def raw(event_type: object = "ActivityTaskCompleted", second: object = 0, **attributes: object) -> bytes:
    at = f"2026-03-01T12:00:{second:02}.000000001Z" if isinstance(second, int) else second
    fields = {"type": event_type, "timestamp": at, "attributes": attributes}
    return msgspec.json.encode({name: value for name, value in fields.items() if value is not ABSENT})


def an_event(event_type: object = "ActivityTaskCompleted", **attributes: object) -> StepEvent:
    return reader().event(raw(event_type, **attributes), "e1")


def events(*raws: bytes) -> list[StepEvent]:
    page = reader().page(raws, "e1")
    assert page.rejects == ()
    return list(told_apart(page.rows, Counter()))


def steps(*raws: bytes, ended: bool = True) -> list[Step]:
    return fold(events(*raws), execution_ended=ended)


def parsed(document: object) -> Any:
    assert isinstance(document, bytes)
    return msgspec.json.decode(document)


A_RUN = (
    raw("WorkflowExecutionStarted", 0, input={"identity": {"id": "i1"}}),
    raw("WorkflowTaskScheduled", 0),
    raw("WorkflowTaskStarted", 1),
    raw("WorkflowTaskCompleted", 2),
    raw("ActivityTaskScheduled", 2, stepName="getIdentity", displayName="Get Identity", input={"id": "i1"}),
    raw("ActivityTaskStarted", 3, stepName="getIdentity", displayName="Get Identity"),
    raw("ActivityTaskCompleted", 4, stepName="getIdentity", displayName="Get Identity", result={"n": 1.5}),
    raw("StartChildWorkflowExecutionInitiated", 5, stepName="loop"),
    raw("ChildWorkflowExecutionStarted", 6, stepName="loop"),
    raw("ChildWorkflowExecutionCompleted", 7, stepName="loop"),
    raw("ActivityTaskScheduled", 7, stepName="sendMail"),
    raw("ActivityTaskFailed", 8, stepName="sendMail", error="no such mailbox"),
    raw("WorkflowExecutionFailed", 9, error="step sendMail failed"),
)


# What an event is


def test_the_sample_event_is_this_one() -> None:
    event = reader().event(SAMPLE, "e1")
    assert event == StepEvent(
        execution_id="e1",
        event_id=event.event_id,
        node_id="trigger",
        node_type="WorkflowTask",
        event_order=1,
        status="Scheduled",
        created_at=datetime(2022, 2, 7, 20, 13, 31, 640618, tzinfo=UTC),
        started_at=datetime(2022, 2, 7, 20, 13, 31, 640618, tzinfo=UTC),
        ended_at=None,
        outcome=Outcome.SUCCEEDED,
        role=Role.NOTE,
        details=b"{}",
        extra=b'{"timestamp":"2022-02-07T20:13:31.640618296Z"}',
    )
    assert event.event_id.startswith("2022-02-07T20:13:31.640618296Z-WorkflowTaskScheduled-")


@pytest.mark.parametrize(
    ("event_type", "family", "status", "role", "outcome"),
    [
        ("WorkflowExecutionScheduled", "WorkflowExecution", "Scheduled", Role.NOTE, Outcome.SUCCEEDED),
        ("WorkflowExecutionStarted", "WorkflowExecution", "Started", Role.NOTE, Outcome.SUCCEEDED),
        ("WorkflowExecutionCompleted", "WorkflowExecution", "Completed", Role.NOTE, Outcome.SUCCEEDED),
        ("WorkflowExecutionFailed", "WorkflowExecution", "Failed", Role.NOTE, Outcome.SUCCEEDED),
        ("WorkflowExecutionCanceled", "WorkflowExecution", "Canceled", Role.NOTE, Outcome.SUCCEEDED),
        ("WorkflowTaskStarted", "WorkflowTask", "Started", Role.NOTE, Outcome.SUCCEEDED),
        ("WorkflowTaskFailed", "WorkflowTask", "Failed", Role.NOTE, Outcome.SUCCEEDED),
        ("WorkflowPaused", "WorkflowPaused", "WorkflowPaused", Role.NOTE, Outcome.SUCCEEDED),
        ("ActivityTaskScheduled", "ActivityTask", "Scheduled", Role.BEGIN, Outcome.RUNNING),
        ("ActivityTaskStarted", "ActivityTask", "Started", Role.BEGIN, Outcome.RUNNING),
        ("ActivityTaskCompleted", "ActivityTask", "Completed", Role.END, Outcome.SUCCEEDED),
        ("ActivityTaskFailed", "ActivityTask", "Failed", Role.END, Outcome.FAILED),
        ("ActivityTaskTimedOut", "ActivityTask", "TimedOut", Role.END, Outcome.FAILED),
        ("ActivityTaskCanceled", "ActivityTask", "Canceled", Role.END, Outcome.CANCELED),
        (
            "StartChildWorkflowExecutionInitiated",
            "ChildWorkflowExecution",
            "Initiated",
            Role.BEGIN,
            Outcome.RUNNING,
        ),
        ("ChildWorkflowExecutionStarted", "ChildWorkflowExecution", "Started", Role.BEGIN, Outcome.RUNNING),
        ("ChildWorkflowExecutionCompleted", "ChildWorkflowExecution", "Completed", Role.END, Outcome.SUCCEEDED),
        ("ChildWorkflowExecutionFailed", "ChildWorkflowExecution", "Failed", Role.END, Outcome.FAILED),
        ("TimerStarted", "Timer", "Started", Role.NOTE, Outcome.UNKNOWN),
        ("MarkerRecorded", "MarkerRecorded", "MarkerRecorded", Role.NOTE, Outcome.UNKNOWN),
        ("Failed", "Failed", "Failed", Role.NOTE, Outcome.UNKNOWN),
        ("", "unknown", "unknown", Role.NOTE, Outcome.UNKNOWN),
        (None, "unknown", "unknown", Role.NOTE, Outcome.UNKNOWN),
    ],
)  # fmt: skip
def test_a_type_says_family_status_role_and_outcome_and_an_unknown_one_notes(
    event_type: str | None, family: str, status: str, role: Role, outcome: Outcome
) -> None:
    assert kind_of(event_type)[:4] == (family, status, role, outcome)


@pytest.mark.parametrize(
    ("attributes", "node_id"),
    [
        ({"stepName": "a", "technicalName": "b", "displayName": "c"}, "a"),
        ({"technicalName": "b", "displayName": "c"}, "b"),
        ({"stepName": "", "displayName": "c"}, "c"),
        ({"stepName": None, "technicalName": "x" * 513, "displayName": "c"}, "c"),
        ({"stepName": {"a": 1}}, "ActivityTask"),
        ({}, "ActivityTask"),
    ],
)
def test_a_step_is_named_by_the_first_name_that_can_be_a_key_else_by_its_family(
    attributes: dict[str, object], node_id: str
) -> None:
    assert an_event(**attributes).node_id == node_id


def test_events_of_the_execution_as_a_whole_are_the_triggers_whatever_they_are_called() -> None:
    assert an_event("WorkflowExecutionCompleted", stepName="a", displayName="A").node_id == "trigger"


@pytest.mark.parametrize("attributes", [b"null", b"[1]", b'"x"', b"5"])
def test_attributes_of_another_shape_are_kept(attributes: bytes) -> None:
    event = reader().event(
        b'{"type":"ActivityTaskFailed","timestamp":"2026-03-01T12:00:00Z","attributes":' + attributes + b"}",
        "e1",
    )
    assert event.details == (None if attributes == b"null" else attributes)
    assert (event.node_id, event.message, event.input) == ("ActivityTask", UNSET, UNSET)


def test_payloads_leave_the_details_and_all_else_stays() -> None:
    event = an_event(stepName="a", input='{"password":"x"}', result=None, output=[1], retries=2)
    assert event.input is not UNSET
    assert event.output is not UNSET
    assert (event.input.state, parsed(event.input.value)) == ("decoded", {"password": "[redacted]"})
    assert event.output.state == "absent"
    assert parsed(event.details) == {"stepName": "a", "output": [1], "retries": 2}


def test_where_payloads_are_not_copied_they_are_nowhere() -> None:
    event = reader(with_payloads=False).event(raw(input={"a": 1}, output="secret"), "e1")
    assert (event.input, event.output, event.details, event.extra) == (
        UNSET, UNSET, b"{}", b'{"timestamp":"2026-03-01T12:00:00.000000001Z"}',
    )  # fmt: skip


@pytest.mark.parametrize(
    ("error", "message"),
    [("no", "no"), ({"message": "no", "code": 5}, "no"), ({"code": 5}, UNSET), (None, UNSET), (["no"], None)],
)
def test_the_error_is_the_message_and_stays_among_the_details(error: object, message: object) -> None:
    event = an_event("ActivityTaskFailed", stepName="a", error=error)
    assert event.message == message
    assert parsed(event.details) == {"stepName": "a", "error": error}


def test_unannounced_fields_stand_in_extra_and_details_keep_their_digits() -> None:
    event = reader().event(
        b'{"type":"T","timestamp":"2026-03-01T12:00:00Z","attributes":{"n":1.10},"id":7,"taskId":1.50}', "e1"
    )
    assert (event.details, event.extra) == (b'{"n":1.10}', b'{"id":7,"taskId":1.50}')


@pytest.mark.parametrize("second", [ABSENT, None, "today", 17])
def test_an_event_without_its_time_is_put_aside_and_the_others_land(second: object) -> None:
    bad = raw("ActivityTaskFailed", second) if second != 17 else b'{"timestamp":17}'
    page = reader().page([raw(), bad, b"5"], "e1")
    assert (len(page.rows), [reject.raw for reject in page.rejects]) == (1, [bad, b"5"])
    with pytest.raises(RecordError):
        reader().event(bad, "e1")


# Its id


def test_every_part_of_an_event_counts_for_its_id_but_the_order_of_keys() -> None:
    base = raw(a=1, b={"c": 1, "d": 2})
    same = (
        b'{"attributes":{"b":{"d":2,"c":1},"a":1},"timestamp":"2026-03-01T12:00:00.000000001Z",'
        b'"type":"ActivityTaskCompleted"}'
    )
    others = [raw(a=2, b={"c": 1, "d": 2}), raw(second=1, a=1), raw("ActivityTaskFailed", a=1), raw(), SAMPLE]
    ids = [event.event_id for event in events(base, same)]
    assert ids[1] == f"{ids[0]}-2"
    assert len({event.event_id for event in events(base, *others)}) == 1 + len(others)


def test_an_id_fits_a_key_however_long_its_parts_are() -> None:
    long = raw("X" * 5000, "2026-03-01T12:00:00." + "1" * 5000 + "Z", stepName="ü" * 5000)
    (event,) = events(long)
    assert len(event.event_id.encode()) <= 512
    assert len(event.node_id.encode()) <= 512


@pytest.mark.parametrize("event_type", ["password=x", "two words", "x" * 101, "grün"])
def test_a_type_that_is_no_plain_word_is_in_no_key(event_type: str) -> None:
    one, other = events(raw(event_type), raw(f"{event_type}!"))
    assert one.event_id != other.event_id
    assert not any(event_type in key for key in (one.event_id, one.node_id, other.event_id))
    assert (one.node_id, one.node_type, one.status) == ("unknown", event_type, event_type)
    assert one.ended_at is not None


@pytest.mark.parametrize(
    "attributes", [b"[" * 100_000 + b"]" * 100_000, b'{"a":"\\ud800"}', b'{"a":1e400}', b'{"a":"\xff"}']
)
def test_attributes_that_nobody_can_parse_have_an_id_all_the_same(attributes: bytes) -> None:
    event = b'{"type":"T","timestamp":"2026-03-01T12:00:00Z","attributes":' + attributes + b"}"
    one, other = events(event, event)
    assert other.event_id == f"{one.event_id}-2"


@given(st.permutations(range(len(A_RUN) + 2)), st.integers(1, len(A_RUN) + 2))
def test_the_order_and_the_growth_of_a_history_change_no_id_and_no_step(order: list[int], cut: int) -> None:
    history = [*A_RUN, A_RUN[5], A_RUN[5]]
    shuffled = [history[place] for place in order]
    assert {event.event_id for event in events(*shuffled)} == {event.event_id for event in events(*history)}
    assert steps(*shuffled) == steps(*history)
    assert {event.event_id for event in events(*shuffled[:cut])} <= {e.event_id for e in events(*history)}


# What they add up to


def test_a_step_that_is_called_like_the_trigger_is_a_step_of_its_own() -> None:
    trigger, step, namesake = steps(
        raw("WorkflowExecutionStarted", 0, input={"from": "outside"}),
        raw("ActivityTaskScheduled", 1, stepName="trigger", input={"from": "a step"}),
        raw("ActivityTaskFailed", 2, stepName="trigger", error="boom"),
        raw("ActivityTaskCompleted", 3, stepName="trigger (step)"),
        raw("WorkflowExecutionFailed", 4),
    )
    assert [each.node_id for each in (trigger, step, namesake)] == [
        *("trigger", "trigger (step)", "trigger (step) (step)")
    ]
    assert (trigger.outcome, trigger.message, parsed(trigger.input.value)) == (
        *(Outcome.SUCCEEDED, None),
        {"from": "outside"},
    )
    assert (step.outcome, step.message, parsed(step.input.value)) == (
        *(Outcome.FAILED, "boom"),
        {"from": "a step"},
    )


def test_a_history_folds_into_a_trigger_and_its_steps() -> None:
    trigger, identity, loop, mail = steps(*A_RUN)
    found = [
        (s.node_id, s.node_name, s.node_type, s.outcome, s.status, s.message)
        for s in (trigger, identity, loop, mail)
    ]
    assert found == [
        ("trigger", None, "WorkflowExecution", Outcome.SUCCEEDED, "Failed", "step sendMail failed"),
        ("getIdentity", "Get Identity", "ActivityTask", Outcome.SUCCEEDED, "Completed", None),
        ("loop", None, "ChildWorkflowExecution", Outcome.SUCCEEDED, "Completed", None),
        ("sendMail", None, "ActivityTask", Outcome.FAILED, "Failed", "no such mailbox"),
    ]
    assert {step.attempt for step in (trigger, identity, loop, mail)} == {1}
    assert (trigger.started_at is None, trigger.ended_at) == (False, None)
    assert trigger.input is not UNSET
    assert parsed(trigger.input.value) == {"identity": {"id": "i1"}}
    assert identity.input is not UNSET
    assert identity.output is not UNSET
    assert (identity.input.value, identity.output.value) == (b'{"id":"i1"}', b'{"n":1.5}')
    assert identity.started_at is not None
    assert identity.ended_at is not None
    assert (
        identity.started_at.second,
        identity.ended_at.second,
        mail.started_at and mail.started_at.second,
    ) == (2, 4, 7)


@pytest.mark.parametrize(
    "last", ["WorkflowExecutionStarted", "WorkflowTaskScheduled", "WorkflowTaskCompleted"]
)
@pytest.mark.parametrize("ended", [True, False])
def test_a_trigger_has_succeeded_once_it_fired_even_where_no_end_is_told(last: str, ended: bool) -> None:
    (trigger,) = steps(raw("WorkflowExecutionStarted", 0), raw(last, 1), ended=ended)
    assert trigger.outcome is Outcome.SUCCEEDED


def test_of_equal_times_the_end_of_the_execution_is_the_last_word() -> None:
    (trigger,) = steps(
        raw("WorkflowExecutionStarted", 1), raw("WorkflowTaskCompleted", 1), raw("WorkflowExecutionFailed", 1)
    )
    assert (trigger.outcome, trigger.status) == (Outcome.SUCCEEDED, "Failed")


def test_a_step_that_took_no_time_is_one_attempt() -> None:
    (step,) = steps(
        raw("ActivityTaskCompleted", 1, stepName="a"),
        raw("ActivityTaskStarted", 1, stepName="a"),
        raw("ActivityTaskScheduled", 1, stepName="a"),
    )
    assert (step.outcome, step.event_count, step.status) == (Outcome.SUCCEEDED, 3, "Completed")


def test_a_step_that_runs_again_has_another_attempt() -> None:
    again = [
        raw(f"ActivityTask{state}", second, stepName="a")
        for second, state in enumerate(
            ["Scheduled", "Started", "Failed", "Scheduled", "Started", "Completed"]
        )
    ]
    assert [(step.attempt, step.outcome) for step in steps(*again)] == [
        (1, Outcome.FAILED),
        (2, Outcome.SUCCEEDED),
    ]


def test_a_step_that_never_ended_is_unknown_once_its_execution_has() -> None:
    begun = raw("ActivityTaskStarted", 1, stepName="a")
    assert [step.outcome for step in steps(begun, ended=False)] == [Outcome.RUNNING]
    assert [step.outcome for step in steps(begun)] == [Outcome.UNKNOWN]


def test_nothing_seems_to_go_on_but_what_another_event_can_end() -> None:
    named = steps(raw("ActivityTaskStarted", 1, stepName="a"), raw("MarkerRecorded", 2))
    assert [step.ended_at is None for step in named] == [True, False]
    (nameless,) = steps(raw("ActivityTaskScheduled", 1), raw("ActivityTaskStarted", 2))
    assert (nameless.node_id, nameless.outcome) == ("ActivityTask", Outcome.UNKNOWN)
    assert nameless.ended_at is not None


def test_the_last_error_is_that_of_the_last_event_that_failed_and_says_why() -> None:
    assert last_error(events(*A_RUN)) == last_error(events(*reversed(A_RUN))) == "step sendMail failed"
    assert last_error(events(*A_RUN[:-1], raw("WorkflowExecutionFailed", 9))) == "no such mailbox"
    assert last_error(events(*A_RUN[:-2])) is UNSET
    assert last_error([]) is UNSET


# Its forms


@pytest.mark.parametrize(
    ("body", "count", "beside"),
    [
        (b"[]", 0, None),
        (b"[" + SAMPLE + b"]", 1, None),
        (SAMPLE, 1, None),
        (b'{"history":' + SAMPLE + b"}", 1, None),
        (b'{"history":[' + SAMPLE + b"," + SAMPLE + b"]}", 2, None),
        (b'{"history":null,"trigger":null}', 0, b'{"trigger":null}'),
        (b'{"definition":{"n":1.0},"history":[]}', 0, b'{"definition":{"n":1.0}}'),
        (b'{"items":[' + SAMPLE + b"]}", 1, None),
    ],
)
def test_a_history_is_a_list_or_an_object_that_holds_one_or_one_event(
    body: bytes, count: int, beside: bytes | None
) -> None:
    history = parse_history(body)
    assert (len(history.events), history.beside) == (count, beside)


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"history":5}', b'{"error":"x"}', b'"x"', b'[{"type":'])
def test_what_is_no_history_is_not_taken_for_an_empty_one(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_history(body)
