"""What a person may rely on in `history.steps`, event by event."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from syncer.decode.payload import Payload
from syncer.fold import fold
from syncer.model import NodePayload, Outcome, Role, Step, StepEvent

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ABSENT = Payload(value=None, state="absent", size=None, raw=None, redacted_paths=())
ROLES = {"Running": Role.BEGIN, "Waiting": Role.NOTE, "Skipped": Role.NOTE}
OUTCOMES = {
    "Running": Outcome.RUNNING,
    "Waiting": Outcome.QUEUED,
    "Success": Outcome.SUCCEEDED,
    "Failed": Outcome.FAILED,
}


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def payload(text: str) -> Payload:
    return Payload(value=text.encode(), state="decoded", size=len(text), raw=None, redacted_paths=())


def event(event_id: str, second: float, status: str, node: str = "node", **fields: object) -> StepEvent:
    role = ROLES.get(status, Role.END)
    made = StepEvent(
        execution_id="execution",
        event_id=event_id,
        node_id=node,
        created_at=at(second),
        outcome=OUTCOMES.get(status, Outcome.UNKNOWN),
        role=role,
        status=status,
        started_at=at(second),
        ended_at=at(second + 0.5) if role is Role.END else None,
        message=f"{status} {event_id}",
    )
    return msgspec.structs.replace(made, **fields)


def attempts(steps: list[Step]) -> list[tuple[int, tuple[str, ...]]]:
    return [(step.attempt, step.event_ids) for step in steps]


def test_a_begin_and_its_end_are_one_attempt() -> None:
    events = [
        event("1", 0, "Running", node_type="action", node_name="Stop instance"),
        event("2", 3, "Success", message="done"),
    ]
    assert fold(events, execution_ended=True) == [
        Step(
            node_id="node",
            attempt=1,
            node_name="Stop instance",
            node_type="action",
            position=1,
            status="Success",
            outcome=Outcome.SUCCEEDED,
            message="done",
            started_at=at(0),
            ended_at=at(3.5),
            event_count=2,
            event_ids=("1", "2"),
        )
    ]


def test_nothing_folds_into_nothing() -> None:
    assert (
        fold([], [NodePayload(node_id="node", event_id="1", input=payload("1"))], execution_ended=True) == []
    )


def test_every_begin_after_an_end_is_a_further_attempt() -> None:
    statuses = ["Running", "Failed", "Running", "Failed", "Running", "Success"]
    steps = fold([event(str(i), i, status) for i, status in enumerate(statuses)], execution_ended=True)
    assert attempts(steps) == [(1, ("0", "1")), (2, ("2", "3")), (3, ("4", "5"))]
    assert [step.outcome for step in steps] == [Outcome.FAILED, Outcome.FAILED, Outcome.SUCCEEDED]
    assert [step.started_at for step in steps] == [at(0), at(2), at(4)]


def test_a_begin_while_an_attempt_is_open_opens_no_other() -> None:
    events = [event("1", 0, "Running"), event("2", 1, "Running"), event("3", 2, "Success")]
    assert attempts(fold(events, execution_ended=True)) == [(1, ("1", "2", "3"))]


def test_an_end_without_a_begin_is_an_attempt_of_its_own() -> None:
    events = [event("1", 0, "Success"), event("2", 1, "Failed"), event("3", 2, "Running")]
    assert attempts(fold(events, execution_ended=False)) == [(1, ("1",)), (2, ("2",)), (3, ("3",))]


def test_a_note_that_comes_first_is_joined_by_what_follows() -> None:
    events = [event("1", 0, "Waiting"), event("2", 1, "Running"), event("3", 2, "Success")]
    (step,) = fold(events, execution_ended=True)
    assert (step.event_ids, step.started_at, step.outcome) == (("1", "2", "3"), at(0), Outcome.SUCCEEDED)
    assert attempts(fold([events[0], events[2]], execution_ended=True)) == [(1, ("1", "3"))]


def test_a_note_joins_the_open_attempt_or_else_the_last_one() -> None:
    statuses = ["Running", "Waiting", "Failed", "Waiting", "Running"]
    steps = fold([event(str(i), i, status) for i, status in enumerate(statuses)], execution_ended=False)
    assert attempts(steps) == [(1, ("0", "1", "2", "3")), (2, ("4",))]
    assert (steps[0].status, steps[0].message, steps[0].ended_at) == ("Waiting", "Waiting 3", None)


def test_an_attempt_that_ended_keeps_the_outcome_of_its_last_event() -> None:
    statuses = ["Running", "Failed", "Waiting"]
    (step,) = fold([event(str(i), i, status) for i, status in enumerate(statuses)], execution_ended=True)
    assert step.outcome is Outcome.QUEUED


def test_an_attempt_that_never_ended_is_unknown_once_its_execution_has_ended() -> None:
    events = [event("1", 0, "Running")]
    assert fold(events, execution_ended=False)[0].outcome is Outcome.RUNNING
    assert fold(events, execution_ended=True)[0].outcome is Outcome.UNKNOWN
    assert fold(events, execution_ended=True)[0].status == "Running"


def test_a_terminal_outcome_stands_even_where_no_event_was_an_end() -> None:
    events = [event("1", 0, "Running", outcome=Outcome.FAILED)]
    assert fold(events, execution_ended=True)[0].outcome is Outcome.FAILED


def test_positions_rank_nodes_by_their_first_events() -> None:
    events = [
        event("1", 0, "Running", node="b"),
        event("2", 1, "Running", node="a"),
        event("3", 2, "Success", node="b"),
        event("4", 3, "Running", node="b"),
        event("5", 4, "Running", node="c"),
    ]
    steps = fold(events, execution_ended=False)
    assert [(s.node_id, s.attempt, s.position) for s in steps] == [
        ("b", 1, 1),
        ("b", 2, 1),
        ("a", 1, 2),
        ("c", 1, 3),
    ]


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"started_at": at(1)}, {"started_at": at(2), "event_order": 1, "created_at": at(0)}),
        ({"started_at": None}, {"started_at": at(5.1), "created_at": at(0)}),
        ({"started_at": at(4.9), "created_at": at(9)}, {"started_at": UNSET}),
        ({"started_at": UNSET, "event_order": 2}, {"event_order": 3, "created_at": at(0)}),
        ({"event_order": 0, "created_at": at(9)}, {"event_order": 1, "created_at": at(0)}),
        ({"event_order": 0}, {"event_order": None, "created_at": at(0)}),
        ({"event_order": 1}, {"event_order": UNSET, "created_at": at(0)}),
        ({"created_at": at(1)}, {"created_at": at(2)}),
        ({"event_id": "10"}, {"event_id": "9"}),
    ],
    ids=[
        "start",
        "creation for a null start",
        "creation for no start",
        "order",
        "order 0 before 1",
        "null order last",
        "no order last",
        "creation",
        "id",
    ],
)
def test_events_are_ordered_by_start_then_order_then_creation_then_id(
    first: dict[str, object], then: dict[str, object]
) -> None:
    begin = msgspec.structs.replace(event("z", 5, "Running"), **first)
    end = msgspec.structs.replace(event("a", 5, "Success"), **then)
    for events in ([begin, end], [end, begin]):
        assert attempts(fold(events, execution_ended=True)) == [(1, (begin.event_id, end.event_id))]


def test_what_the_source_left_out_is_null() -> None:
    bare = event("1", 0, "Success", message=UNSET, started_at=UNSET, ended_at=UNSET)
    (step,) = fold([msgspec.structs.replace(bare, status=UNSET)], execution_ended=True)
    assert (step.status, step.message, step.started_at, step.ended_at) == (None, None, None, None)
    assert (step.node_type, step.node_name, step.input, step.output) == (None, None, UNSET, UNSET)


def test_name_and_type_are_the_last_ones_that_any_event_gives() -> None:
    events = [
        event("1", 0, "Running", node_type="old", node_name="Old"),
        event("2", 1, "Running", node_type="action", node_name="New"),
        event("3", 2, "Failed", node_type=None),
        event("4", 3, "Running", node_type=UNSET),
    ]
    steps = fold(events, execution_ended=False)
    assert [(step.node_type, step.node_name) for step in steps] == [("action", "New")] * 2


def test_of_two_copies_of_an_event_the_one_updated_later_counts() -> None:
    old = event("1", 0, "Running", updated_at=at(1))
    new = event("1", 0, "Success", updated_at=at(2))
    undated = event("1", 0, "Failed", updated_at=UNSET)
    for events in ([old, new, undated], [undated, new, old]):
        (step,) = fold(events, execution_ended=True)
        assert (step.outcome, step.event_count) == (Outcome.SUCCEEDED, 1)


@pytest.mark.parametrize("messages", [("a", "z"), ("z", "a")])
def test_a_copy_updated_later_counts_even_where_it_takes_an_end_back(messages: tuple[str, str]) -> None:
    ended = event("1", 0, "Success", updated_at=at(1), message=messages[0], output=payload("1"))
    reopened = event("1", 0, "Running", updated_at=at(2), message=messages[1])
    for events in ([ended, reopened], [reopened, ended]):
        assert fold(events, execution_ended=False)[0].outcome is Outcome.RUNNING


@pytest.mark.parametrize("messages", [("a", "z"), ("z", "a")])
def test_of_two_copies_updated_at_once_the_one_with_an_end_counts(messages: tuple[str, str]) -> None:
    begun = event("1", 0, "Running", updated_at=at(1), message=messages[0], input=payload("1"))
    ended = event("1", 0, "Success", updated_at=at(1), message=messages[1])
    for events in ([begun, ended], [ended, begun]):
        (step,) = fold(events, execution_ended=False)
        assert (step.outcome, step.ended_at) == (Outcome.SUCCEEDED, at(0.5))


@pytest.mark.parametrize("messages", [("a", "z"), ("z", "a")])
@pytest.mark.parametrize("carried", [{"input": payload("1")}, {"output": payload("1")}])
def test_of_two_copies_updated_at_once_the_one_that_carries_more_counts(
    carried: dict[str, Any], messages: tuple[str, str]
) -> None:
    bare = event("1", 0, "Success", updated_at=at(1), message=messages[0])
    full = event("1", 0, "Success", updated_at=at(1), message=messages[1], **carried)
    for events in ([bare, full], [full, bare]):
        assert fold(events, execution_ended=False)[0].message == messages[1]


@pytest.mark.parametrize("spellings", [(b'{"b": 1}', b'{"b":1}'), (b'{"b":1}', b'{"b": 1}')])
def test_a_copy_without_payloads_does_not_hide_those_of_another(spellings: tuple[bytes, bytes]) -> None:
    stored = event("1", 0, "Success", updated_at=at(1), details=spellings[0])
    read = event("1", 0, "Success", updated_at=at(1), details=spellings[1], output=payload("1"))
    for events in ([stored, read], [read, stored]):
        assert fold(events, execution_ended=True)[0].output == payload("1")


def test_input_is_the_first_and_output_the_last_that_is_not_absent() -> None:
    events = [
        event("1", 0, "Running", input=ABSENT, output=payload("10")),
        event("2", 1, "Running", input=payload("2"), output=payload("20")),
        event("3", 2, "Success", input=payload("3"), output=ABSENT),
    ]
    (step,) = fold(events, execution_ended=True)
    assert (step.input, step.output) == (payload("2"), payload("20"))


def test_payloads_are_absent_where_they_were_carried_empty_and_unset_where_not_carried() -> None:
    (step,) = fold([event("1", 0, "Running", input=ABSENT), event("2", 1, "Success")], execution_ended=True)
    assert (step.input, step.output) == (ABSENT, UNSET)


def test_each_attempt_keeps_its_own_payloads() -> None:
    statuses = ["Running", "Failed", "Running", "Success"]
    events = [event(str(i), i, status, output=payload(str(i))) for i, status in enumerate(statuses)]
    assert [step.output for step in fold(events, execution_ended=True)] == [payload("1"), payload("3")]


@pytest.mark.parametrize(("event_id", "holder"), [("0", 0), ("1", 0), ("2", 1), ("other", 1), (None, 1)])
def test_a_payload_served_per_node_goes_to_the_attempt_of_its_event_or_to_the_last(
    event_id: str | None, holder: int
) -> None:
    events = [event(str(i), i, status) for i, status in enumerate(["Running", "Failed", "Running"])]
    events.append(event("other", 9, "Success", node="another"))
    served = [NodePayload(node_id="node", event_id=event_id, input=payload("1"), output=payload("2"))]
    steps = [step for step in fold(events, served, execution_ended=True) if step.node_id == "node"]
    assert (steps[holder].input, steps[holder].output) == (payload("1"), payload("2"))
    assert (steps[1 - holder].input, steps[1 - holder].output) == (UNSET, UNSET)


def test_a_payload_served_per_node_mends_one_that_an_event_carried_broken() -> None:
    broken = Payload(value=None, state="undecodable", size=None, raw=b'"H4sI"', redacted_paths=())
    events = [event("1", 0, "Running", input=broken), event("2", 1, "Success", output=broken)]
    served = [NodePayload(node_id="node", event_id="2", input=payload("1"), output=ABSENT)]
    (step,) = fold(events, served, execution_ended=True)
    assert (step.input, step.output) == (payload("1"), broken)


def test_several_payloads_served_for_one_attempt_count_in_the_order_of_their_events() -> None:
    events = [event("b", 0, "Running"), event("a", 1, "Success")]
    served = [
        NodePayload(
            node_id="node", event_id=event_id, input=payload(f'"{event_id}"'), output=payload(f'"{event_id}"')
        )
        for event_id in ("a", "b")
    ]
    for order in (served, served[::-1]):
        (step,) = fold(events, order, execution_ended=True)
        assert (step.input, step.output) == (payload('"b"'), payload('"a"'))


def test_thousands_of_events_of_one_looping_node_fold_into_as_many_attempts() -> None:
    statuses = ("Running", "Success")
    events = [event(f"{i:06}", i, statuses[i % 2]) for i in range(20_000)]
    served = [
        NodePayload(node_id="node", event_id=one.event_id, output=payload(str(i)))
        for i, one in enumerate(events)
    ]
    steps = fold(events[::-1], served, execution_ended=True)
    assert [step.attempt for step in steps] == list(range(1, 10_001))
    assert [step.output for step in steps] == [payload(str(i)) for i in range(1, 20_000, 2)]


# Few values of everything, so that ties, copies that differ and clocks out of order are common.
SECONDS = st.integers(0, 3)
PAYLOADS = st.sampled_from([UNSET, ABSENT, payload("1"), payload("2")])
EVENTS = st.builds(
    event,
    st.sampled_from("abcdef"),
    SECONDS,
    st.sampled_from(["Running", "Waiting", "Success", "Failed"]),
    st.sampled_from(["x", "y"]),
    started_at=st.one_of(st.none(), st.just(UNSET), SECONDS.map(at)),
    updated_at=st.one_of(st.just(UNSET), SECONDS.map(at)),
    event_order=st.one_of(st.none(), st.integers(0, 2)),
    node_type=st.sampled_from([UNSET, None, "action"]),
    input=PAYLOADS,
    output=PAYLOADS,
)
SERVED = st.builds(
    NodePayload,
    node_id=st.sampled_from(["x", "y", "z"]),
    event_id=st.one_of(st.none(), st.sampled_from("abcdefg")),
    input=PAYLOADS,
    output=PAYLOADS,
)


@given(st.data(), st.lists(EVENTS, max_size=8), st.lists(SERVED, max_size=4), st.booleans())
def test_neither_order_nor_repetition_changes_the_steps(
    data: st.DataObject, events: list[StepEvent], served: list[NodePayload], ended: bool
) -> None:
    expected = fold(events, served, execution_ended=ended)
    again = data.draw(st.lists(st.sampled_from(events), max_size=4)) if events else []
    shuffled = data.draw(st.permutations([*events, *again]))
    assert fold(shuffled, data.draw(st.permutations([*served, *served])), execution_ended=ended) == expected


@given(st.lists(EVENTS, max_size=12), st.booleans())
def test_every_event_stands_in_exactly_one_attempt_and_attempts_count_from_one(
    events: list[StepEvent], ended: bool
) -> None:
    steps = fold(events, execution_ended=ended)
    assert sorted(i for step in steps for i in step.event_ids) == sorted({one.event_id for one in events})
    assert all(step.event_count == len(step.event_ids) for step in steps)
    for node in {step.node_id for step in steps}:
        numbers = [step.attempt for step in steps if step.node_id == node]
        assert numbers == list(range(1, len(numbers) + 1))


@given(st.lists(EVENTS, max_size=12, unique_by=lambda one: one.event_id))
def test_only_an_end_parts_attempts(events: list[StepEvent]) -> None:
    roles = {one.event_id: one.role for one in events}
    steps = fold(events, execution_ended=False)
    for step in steps:
        after_end = [roles[i] for i in step.event_ids]
        while after_end and after_end[0] is not Role.END:
            after_end.pop(0)
        assert set(after_end[1:]) <= {Role.NOTE}
        has_later = any(other.node_id == step.node_id and other.attempt > step.attempt for other in steps)
        assert after_end or not has_later
