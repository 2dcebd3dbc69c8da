"""An invented history is the same every time, plausible, and its truth agrees with itself."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import msgspec
import pytest

from syncer.simulator import PLANTED_SECRET, REDACTED, Outline, Truth
from syncer.simulator.history import invent
from syncer.simulator.truth import outcome_of

NOW = round(datetime(2026, 3, 18, 10, tzinfo=UTC).timestamp() * 1000)
RICH = Outline(workflows=3, executions=300, running=7, queued=2, hidden=4, tied=9, loops=True, failing=0.3)
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@pytest.fixture(scope="module")
def truth() -> Truth:
    return invent(RICH, NOW)


def told(truth: Truth) -> list[str]:
    workflows = [repr(workflow) for workflow in truth.workflows.values()]
    executions = [repr((execution, execution.attempts)) for execution in truth.executions.values()]
    return workflows + executions + [repr(event) for event in truth.events]


def test_the_same_outline_gives_the_same_history(truth: Truth) -> None:
    assert told(invent(RICH, NOW)) == told(truth)


def test_another_seed_gives_another_history(truth: Truth) -> None:
    other = invent(Outline(seed=2, workflows=3, executions=300), NOW)
    assert not other.executions.keys() & truth.executions.keys()


def test_the_numbers_asked_for_are_met(truth: Truth) -> None:
    executions = truth.executions.values()
    assert Counter(execution.workflow_id for execution in executions) == dict.fromkeys(truth.workflows, 300)
    assert sum(execution.status == "Running" for execution in executions) == 7
    assert sum(execution.status == "Queued" for execution in executions) == 2
    assert sum(execution.visible_ms > NOW for execution in executions) == 4
    assert max(Counter(execution.created_ms for execution in executions).values()) >= 9
    assert len({attempt.node_id for attempt in truth.attempts if attempt.execution_id}) == 3 * 4 - 2


def test_executions_may_be_counted_per_workflow() -> None:
    truth = invent(Outline(workflows=2, executions=(3, 0), running=0), NOW)
    assert [len(truth.listed(workflow, 0, NOW, NOW)) for workflow in truth.workflows] == [3, 0]


def test_nothing_happens_after_now_or_before_the_days_asked_for(truth: Truth) -> None:
    assert max(event.created_ms for event in truth.events) <= NOW
    assert max(execution.updated_ms for execution in truth.executions.values()) <= NOW
    assert min(execution.created_ms for execution in truth.executions.values()) >= NOW - 29 * 86_400_000


def test_an_attempt_is_told_by_a_begin_and_an_end(truth: Truth) -> None:
    for attempt in truth.attempts:
        first, last = attempt.events[0], attempt.events[-1]
        assert (first.order, first.status, first.ended_ms, first.message) == (1, "Running", None, None)
        assert (first.started_ms, last.ended_ms) == (attempt.started_ms, attempt.ended_ms)
        assert (last.status, last.message) == (attempt.status, attempt.message)
        assert len(attempt.events) == (1 if attempt.ended_ms is None else 2)
        assert (attempt.made is not None) == (attempt.outcome == "succeeded")


def test_an_attempt_without_an_end_is_unknown_once_its_execution_has_ended(truth: Truth) -> None:
    open_ones = [attempt for attempt in truth.attempts if attempt.ended_ms is None]
    expected = {
        True: "running",
        False: "unknown",
    }
    assert {attempt.outcome for attempt in open_ones} == {"running", "unknown"}
    for attempt in open_ones:
        assert attempt.outcome == expected[truth.executions[attempt.execution_id].ended_ms is None]


def test_attempts_of_a_node_count_from_one_and_follow_each_other(truth: Truth) -> None:
    seen: Counter[tuple[str, str]] = Counter()
    ends: dict[tuple[str, str], int] = {}
    for attempt in truth.attempts:
        key = attempt.execution_id, attempt.node_id
        seen[key] += 1
        assert attempt.number == seen[key]
        assert attempt.started_ms > ends.get(key, 0)
        ends[key] = attempt.ended_ms or NOW
    assert set(seen.values()) == {1, 2}


def test_an_execution_outlasts_its_steps_and_fails_with_one_of_them(truth: Truth) -> None:
    ended = [execution for execution in truth.executions.values() if execution.ended_ms is not None]
    assert {execution.outcome for execution in ended} == {"succeeded", "failed", "canceled", "unknown"}
    for execution in ended:
        assert execution.ended_ms is not None
        assert execution.outcome == outcome_of(execution.status)
        assert all((attempt.ended_ms or 0) <= execution.ended_ms for attempt in execution.attempts)
        assert all(event.created_ms <= execution.ended_ms for event in execution.events)
        if execution.outcome == "failed":
            assert execution.attempts[-1].outcome == "failed"
            assert str(execution.attempts[-1].message) in str(execution.message)


def test_the_id_of_an_event_is_a_ulid_of_its_creation(truth: Truth) -> None:
    events = list(truth.events)
    assert len({event.id for event in events}) == len(events)
    for event in events[:200]:
        number = 0
        for character in event.id:
            number = number << 5 | CROCKFORD.index(character)
        assert (len(event.id), number >> 80) == (26, event.created_ms)


def test_the_oddities_of_the_samples_occur(truth: Truth) -> None:
    events = list(truth.events)
    assert any(event.updated_ms == event.created_ms - 1 for event in events)
    assert all(event.created_ms > event.started_ms for event in events)
    assert any(execution.started_ms == execution.created_ms - 1 for execution in truth.executions.values())
    assert any(attempt.node_name is None for attempt in truth.attempts)
    assert any(execution.parent_id for execution in truth.executions.values())


def test_a_definition_links_the_nodes_it_names(truth: Truth) -> None:
    for workflow in truth.workflows.values():
        components = msgspec.json.decode(workflow.definition_text)["components"]
        names = {node.id: node.name for node in workflow.nodes if node.name is not None}
        assert {component["id"]: component["name"] for component in components} == names
        assert [component["next"] for component in components] == [*list(names)[1:], None]


def test_a_workflow_shows_the_last_execution_that_ended(truth: Truth) -> None:
    for workflow in truth.workflows.values():
        ends = {
            execution.ended_ms: execution.status
            for execution in truth.executions.values()
            if execution.workflow_id == workflow.id and execution.ended_ms is not None
        }
        assert (workflow.last_ended_ms, workflow.last_status) == (max(ends), ends[max(ends)])


def test_more_happens_on_weekdays_in_office_hours() -> None:
    truth = invent(Outline(workflows=1, executions=2000), NOW)
    times = [datetime.fromtimestamp(x.created_ms / 1000, UTC) for x in truth.executions.values()]
    assert sum(time.weekday() < 5 for time in times) > 1600
    assert sum(7 <= time.hour < 18 for time in times) > 1400


def test_payloads_carry_a_secret_that_the_redacted_form_does_not(truth: Truth) -> None:
    attempt = next(iter(truth.attempts))
    assert attempt.input["credentials"] == PLANTED_SECRET
    assert attempt.given.redacted["credentials"] == REDACTED
    text = msgspec.json.encode(attempt.given.redacted).decode()
    assert text.replace(REDACTED, PLANTED_SECRET).encode() == attempt.given.text
    assert PLANTED_SECRET not in text


def test_payloads_differ_between_nodes_and_sides(truth: Truth) -> None:
    execution = max(truth.executions.values(), key=lambda execution: len(execution.attempts))
    texts = [payload.text for a in execution.attempts for payload in (a.given, a.made) if payload is not None]
    assert len(texts) > 5
    assert len(set(texts)) == len(texts)
    assert 500 < sum(map(len, texts)) / len(texts) < 4096
