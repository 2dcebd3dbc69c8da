"""Steps on their way into the warehouse: one execution whole or not at all, and nothing rewritten in vain."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec import UNSET, structs
from sqlalchemy import Engine, text

from syncer.decode.payload import ABSENT, Payload
from syncer.load.due import due_steps, mark_failed, turn_off_steps
from syncer.load.executions import load_executions, mark_missing
from syncer.load.steps import StepsRead, load_steps
from syncer.model import Execution, NodePayload, Outcome, Role, StepEvent
from tests.integration.rows import (
    ENCODER,
    HOUR,
    MINUTE,
    NOW,
    change,
    ended,
    event,
    execution,
    load_reads,
    one,
    reading,
    ref,
    rows,
    steps,
    steps_read,
    write,
)

LATER = NOW + 5 * MINUTE
STATE = "SELECT steps_state, steps_read_at, settled_at, synced_at FROM history.executions WHERE execution_id = 'e'"
TRACES = """SELECT 'e', xmin::text, ctid::text FROM history.executions
    UNION ALL SELECT 'v', xmin::text, ctid::text FROM history.step_events
    UNION ALL SELECT 's', xmin::text, ctid::text FROM history.steps
    UNION ALL SELECT 'p', xmin::text, ctid::text FROM history.step_io ORDER BY 1, 2, 3"""


def payload(number: int) -> Payload:
    return Payload(value=b"%d" % number, state="decoded", size=1, raw=None, redacted_paths=())


def begin(**changes: Any) -> StepEvent:
    return event(
        **{"event_id": "b", "role": Role.BEGIN, "outcome": Outcome.RUNNING, "ended_at": None, **changes}
    )


def test_an_execution_whose_steps_are_read_says_so_and_is_settled_when_its_row_is_final(
    engine: Engine,
) -> None:
    write(engine, ended())
    loaded = load_reads(engine, steps_read(event(), event(event_id="w", node_id="m")), at=LATER)
    assert one(engine, STATE) == ("read", LATER, LATER, LATER)
    assert one(engine, "SELECT step_count, failed_step_count FROM history.executions") == (2, 2)
    assert dict(loaded.rows) == {"step_events": 2, "steps": 2, "step_io": 0}
    assert loaded.refused == []


def test_only_failed_steps_count_as_failed(engine: Engine) -> None:
    write(engine, ended())
    steps(
        engine,
        event(),
        event(event_id="w", node_id="m", outcome=Outcome.SUCCEEDED),
        event(event_id="x", node_id="o", outcome=Outcome.CANCELED),
    )
    assert one(engine, "SELECT step_count, failed_step_count FROM history.executions") == (3, 1)


def test_an_execution_without_steps_is_read_as_well(engine: Engine) -> None:
    write(engine, ended())
    steps(engine, at=LATER)
    assert one(engine, STATE) == ("read", LATER, LATER, LATER)
    assert one(engine, "SELECT step_count, failed_step_count FROM history.executions") == (0, 0)


def test_reading_steps_settles_nothing_before_the_row_is_final(engine: Engine) -> None:
    write(engine, ended(NOW))
    steps(engine, event())
    assert one(engine, STATE) == ("read", NOW, None, NOW)


def test_an_execution_that_was_settled_stays_settled_since_then(engine: Engine) -> None:
    write(engine, ended())
    steps(engine, event())
    steps(engine, event(message="more"), at=LATER)
    assert one(engine, STATE) == ("read", LATER, NOW, LATER)


def test_a_row_that_changed_after_its_steps_were_asked_for_stays_due(engine: Engine) -> None:
    write(engine, ended(), at=reading(LATER))
    steps(engine, event(), at=LATER - MINUTE)
    assert one(engine, STATE)[:3] == ("due", LATER - MINUTE, None)
    assert one(engine, "SELECT count(*) FROM history.steps") == (1,)
    steps(engine, event(), at=LATER)
    assert one(engine, STATE)[:3] == ("read", LATER, LATER)


def test_steps_that_were_read_forget_the_failures_before(engine: Engine) -> None:
    write(engine, ended())
    with engine.begin() as db:
        mark_failed(db, "c", "e", retry_after=MINUTE, now=NOW)
    steps(engine, event())
    assert one(engine, "SELECT _steps_tries, _steps_retry_at FROM history.executions") == (0, None)


def test_steps_of_an_execution_that_is_not_stored_go_nowhere(engine: Engine) -> None:
    write(engine, ended(execution_id="other"))
    write(engine, ended(), at=reading(connection_id="d"))
    loaded = load_reads(engine, steps_read(event()))
    assert not loaded.rows
    assert one(engine, "SELECT count(*) FROM history.step_events") == (0,)


def test_several_executions_land_together_each_with_its_own(engine: Engine) -> None:
    write(engine, ended(), execution(execution_id="f"), ended(execution_id="untouched"))
    running = begin(execution_id="f", event_id="x")
    loaded = load_reads(engine, steps_read(running, execution_id="f"), steps_read(begin(), event()))
    assert dict(loaded.rows) == {"step_events": 3, "steps": 2, "step_io": 0}
    query = "SELECT execution_id, outcome, event_count FROM history.steps ORDER BY 1"
    assert rows(engine, query) == [("e", "failed", 2), ("f", "running", 1)]
    query = "SELECT execution_id, steps_state FROM history.executions ORDER BY 1"
    assert rows(engine, query) == [("e", "read"), ("f", "read"), ("untouched", "due")]


def test_an_execution_read_twice_in_a_bundle_lands_as_it_was_read_last(engine: Engine) -> None:
    write(engine, ended())
    load_reads(engine, steps_read(event(message="first")), steps_read(event(message="last")))
    assert one(engine, "SELECT message FROM history.step_events") == ("last",)


def test_an_open_attempt_is_unknown_once_its_execution_has_ended(engine: Engine) -> None:
    write(engine, ended(), execution(execution_id="f"))
    load_reads(engine, steps_read(begin()), steps_read(begin(execution_id="f"), execution_id="f"))
    query = "SELECT execution_id, outcome FROM history.steps ORDER BY 1"
    assert rows(engine, query) == [("e", "unknown"), ("f", "running")]


def with_payloads() -> tuple[StepEvent, ...]:
    return (
        begin(input=payload(1)),
        event(output=payload(2), updated_at=NOW, details=b'{"a": 1}', message="m"),
    )


def test_reading_steps_again_that_did_not_change_touches_nothing(engine: Engine) -> None:
    write(engine, ended())
    steps(engine, *with_payloads())
    before = rows(engine, TRACES)
    loaded = load_reads(engine, steps_read(*with_payloads(), at=LATER), at=LATER)
    assert rows(engine, TRACES) == before
    assert dict(loaded.rows) == {"step_events": 0, "steps": 0, "step_io": 0}


def test_unchanged_steps_of_a_row_that_was_due_again_are_noted_as_read(engine: Engine) -> None:
    write(engine, ended())
    steps(engine, *with_payloads())
    write(engine, ended(message="changed"), at=reading(NOW + MINUTE))
    steps(engine, *with_payloads(), at=LATER)
    assert one(engine, STATE) == ("read", LATER, LATER, LATER)


def test_unchanged_steps_of_a_row_that_became_final_settle_it(engine: Engine) -> None:
    write(engine, ended())
    steps(engine, *with_payloads())
    change(engine, "UPDATE history.executions SET settled_at = NULL")
    steps(engine, *with_payloads(), at=LATER)
    assert one(engine, STATE) == ("read", LATER, LATER, LATER)


def test_unchanged_steps_of_one_that_still_runs_are_left_alone(engine: Engine) -> None:
    write(engine, execution())
    steps(engine, begin())
    before = rows(engine, TRACES)
    steps(engine, begin(), at=LATER)
    assert rows(engine, TRACES) == before


def test_what_comes_later_is_folded_with_what_is_stored(engine: Engine) -> None:
    write(engine, execution(tags=("t",)))
    first = begin(
        started_at=NOW,
        node_type="action",
        node_name="Stop",
        status="Running",
        event_order=1,
        message="m",
        updated_at=NOW,
    )
    steps(engine, first)
    query = (
        "SELECT node_id, attempt, outcome, node_type, node_name, event_count, started_at FROM history.steps"
    )
    assert rows(engine, query) == [("n", 1, "running", "action", "Stop", 1, NOW)]
    steps(engine, event(event_id="a", started_at=NOW, event_order=2), at=LATER)
    assert rows(engine, query) == [("n", 1, "failed", "action", "Stop", 2, NOW)]
    assert one(engine, "SELECT count(*) FROM history.step_events") == (2,)


def test_a_stored_event_keeps_its_place_among_those_that_come_later(engine: Engine) -> None:
    write(engine, execution())
    steps(engine, event(event_id="z", created_at=NOW, event_order=2))
    steps(engine, begin(event_id="y", created_at=NOW + MINUTE, started_at=NOW, event_order=1), at=LATER)
    query = "SELECT attempt, event_count, outcome FROM history.steps"
    assert rows(engine, query) == [(1, 2, "failed")]


def test_attempts_that_no_longer_exist_go_with_their_payloads(engine: Engine) -> None:
    write(engine, ended())
    first = event(event_id="1", created_at=NOW, input=payload(1))
    second = event(event_id="3", created_at=NOW + MINUTE, input=payload(3))
    steps(engine, first, second)
    query = "SELECT attempt, event_count FROM history.steps ORDER BY 1"
    assert rows(engine, query) == [(1, 1), (2, 1)]
    opened = begin(event_id="0", created_at=NOW - MINUTE)
    # The first event turns out to be no end: both are of one attempt now.
    steps(
        engine,
        opened,
        event(event_id="1", created_at=NOW, role=Role.NOTE, input=payload(1)),
        second,
        at=LATER,
    )
    assert rows(engine, query) == [(1, 3)]
    assert rows(engine, "SELECT attempt, input FROM history.step_io") == [(1, 1)]
    assert one(engine, "SELECT count(*) FROM history.step_events") == (3,)


def test_payloads_that_an_answer_did_not_carry_stay(engine: Engine) -> None:
    write(engine, ended())
    steps(engine, event(input=payload(1), output=payload(2)))
    steps(engine, event(message="more", input=UNSET, output=UNSET), at=LATER)
    steps(engine, event(message="still more", input=payload(3), output=UNSET), at=LATER + MINUTE)
    assert rows(engine, "SELECT input, output, synced_at FROM history.step_io") == [(1, 2, NOW)]


def test_payloads_carried_for_the_first_time_land_and_changed_ones_replace_the_former(engine: Engine) -> None:
    write(engine, ended())
    steps(engine, event())
    assert rows(engine, "SELECT 1 FROM history.step_io") == []
    steps(engine, event(output=payload(2)), at=LATER)
    query = "SELECT input, output, input_state, output_state, synced_at FROM history.step_io"
    assert rows(engine, query) == [(None, 2, "absent", "decoded", LATER)]
    steps(engine, event(input=payload(1), output=ABSENT), at=LATER + MINUTE)
    assert rows(engine, query) == [(1, None, "decoded", "absent", LATER + MINUTE)]


def test_a_payload_served_per_node_lands_with_the_attempt_of_its_event(engine: Engine) -> None:
    write(engine, ended())
    served = NodePayload(node_id="n", event_id="1", input=payload(7), output=payload(8))
    both = (event(event_id="1"), event(event_id="2", created_at=NOW + MINUTE))
    load_reads(engine, steps_read(*both, payloads=[served]))
    assert rows(engine, "SELECT attempt, input, output FROM history.step_io") == [(1, 7, 8)]


@pytest.mark.parametrize(
    ("stored", "arriving", "replaces"),
    [
        (NOW, NOW + MINUTE, True),
        (NOW, NOW, True),
        (NOW, NOW - MINUTE, False),
        (None, NOW - MINUTE, True),
        (NOW, None, True),
    ],
)
def test_an_older_copy_of_an_event_never_replaces_a_newer_one(
    engine: Engine, stored: datetime | None, arriving: datetime | None, replaces: bool
) -> None:
    write(engine, ended())
    steps(engine, event(updated_at=stored, message="stored"))
    steps(engine, event(updated_at=arriving, message="arriving"), at=LATER)
    expected = ("arriving",) if replaces else ("stored",)
    assert rows(engine, "SELECT message FROM history.step_events") == [expected]
    if arriving is not None or stored is None:
        assert rows(engine, "SELECT message FROM history.steps") == [expected]


def test_tags_of_an_event_that_are_those_of_its_execution_are_not_repeated(engine: Engine) -> None:
    write(engine, ended(tags=("a", "b")))
    steps(engine, event(tags=("a", "b")), event(event_id="w", tags=("a",)))
    query = "SELECT event_id, tags FROM history.step_events ORDER BY 1"
    assert rows(engine, query) == [("v", None), ("w", ["a"])]


def define(engine: Engine, node: str, name: str, workflow: str = "w", connection: str = "c") -> None:
    change(
        engine,
        "INSERT INTO history.workflow_nodes (connection_id, workflow_id, node_id, name, synced_at, _row_hash)"
        " VALUES (:connection, :workflow, :node, :name, now(), '')"
        " ON CONFLICT (connection_id, workflow_id, node_id) DO UPDATE SET name = excluded.name",
        connection=connection,
        workflow=workflow,
        node=node,
        name=name,
    )


def names(engine: Engine) -> dict[str, str | None]:
    return {str(node): name for node, name in rows(engine, "SELECT node_id, node_name FROM history.steps")}


def test_a_step_is_named_by_its_event_or_else_by_the_definition_of_its_workflow(engine: Engine) -> None:
    define(engine, "n", "Defined")
    define(engine, "m", "Overruled")
    define(engine, "o", "Of another workflow", workflow="x")
    define(engine, "o", "Of another connection", connection="d")
    write(engine, ended())
    given = event(event_id="2", node_id="m", node_name="Given")
    steps(engine, event(), given, event(event_id="3", node_id="o"))
    assert names(engine) == {"n": "Defined", "m": "Given", "o": None}


def test_a_step_keeps_the_name_that_was_first_written(engine: Engine) -> None:
    define(engine, "n", "Old")
    write(engine, ended())
    steps(engine, event(), event(event_id="2", node_id="m"))
    define(engine, "n", "New")
    define(engine, "m", "Late")
    more = (event(message="more", node_name="Other"), event(event_id="2", node_id="m", message="more"))
    steps(engine, *more, at=LATER)
    assert names(engine) == {"n": "Old", "m": "Late"}


def test_variables_that_came_with_the_steps_land_with_them(engine: Engine) -> None:
    write(engine, ended(variables=b"[0]"), ended(execution_id="f", variables=b"[0]"), ended(execution_id="g"))
    load_reads(
        engine,
        steps_read(event(), variables=b'["password=x"]'),
        steps_read(execution_id="f", variables=None),
        steps_read(execution_id="g"),
        at=LATER,
    )
    query = "SELECT execution_id, variables FROM history.executions ORDER BY 1"
    assert rows(engine, query) == [("e", ["password=[redacted]"]), ("f", None), ("g", None)]


def test_variables_that_no_read_carried_stay(engine: Engine) -> None:
    write(engine, ended(variables=b"[0]"))
    steps(engine, event())
    assert one(engine, "SELECT variables FROM history.executions") == ([0],)


@pytest.mark.parametrize("at", [NOW, NOW - HOUR / 2], ids=["not final", "final"])
def test_steps_that_the_source_no_longer_has_are_gone(engine: Engine, at: datetime) -> None:
    write(engine, ended(at), ended(execution_id="f"))
    write(engine, ended(), at=reading(connection_id="d"))
    load_reads(
        engine, StepsRead(ref=ref(), answer=None, asked_at=NOW), steps_read(execution_id="f"), at=LATER
    )
    settled = None if at == NOW else LATER
    assert rows(
        engine,
        "SELECT connection_id, execution_id, steps_state, settled_at, synced_at FROM history.executions ORDER BY 1, 2",
    ) == [
        ("c", "e", "gone", settled, LATER),
        ("c", "f", "read", LATER, LATER),
        ("d", "e", "due", None, NOW),
    ]


def test_steps_that_are_gone_leave_an_execution_settled_when_it_was(engine: Engine) -> None:
    write(engine, ended())
    steps(engine, event())
    load_reads(engine, StepsRead(ref=ref(), answer=None, asked_at=NOW), at=LATER)
    assert one(engine, STATE) == ("gone", NOW, NOW, LATER)


def test_one_execution_whose_steps_cannot_be_stored_holds_up_no_other(engine: Engine) -> None:
    ids = ["a", "b", "c", "d"]
    write(engine, *(ended(execution_id=key) for key in ids))
    broken = Payload(value=b'"\\u0000"', state="decoded", size=1, raw=None, redacted_paths=())
    loaded = load_reads(
        engine,
        *(
            steps_read(event(execution_id=key, input=broken if key == "c" else payload(1)), execution_id=key)
            for key in ids
        ),
    )
    assert loaded.refused == [("c", "PostgreSQL cannot store it: UntranslatableCharacter")]
    assert dict(loaded.rows) == {"step_events": 3, "steps": 3, "step_io": 3}
    query = "SELECT execution_id, steps_state FROM history.executions ORDER BY 1"
    assert rows(engine, query) == [("a", "read"), ("b", "read"), ("c", "due"), ("d", "read")]


def fail(engine: Engine, times: int, execution_id: str = "e") -> list[tuple[Any, ...]]:
    for _ in range(times):
        with engine.begin() as db:
            mark_failed(db, "c", execution_id, retry_after=MINUTE, now=NOW)
    return rows(
        engine,
        "SELECT steps_state, _steps_tries, _steps_retry_at, synced_at FROM history.executions"
        f" WHERE connection_id = 'c' AND execution_id = '{execution_id}'",
    )


def test_steps_that_cannot_be_read_are_put_off_four_times_as_long_each_time_and_failed_after_three(
    engine: Engine,
) -> None:
    write(engine, ended(), ended(execution_id="f"))
    write(engine, ended(), at=reading(connection_id="d"))
    found = [fail(engine, 1)[0] for _ in range(8)]
    states = ["due", "due", *["failed"] * 6]
    pauses = [1, 4, 16, 64, 256, 1024, 4096, 4096]
    assert found == [
        (state, tries, NOW + pause * MINUTE, NOW)
        for tries, (state, pause) in enumerate(zip(states, pauses, strict=True), start=1)
    ]
    others = "SELECT DISTINCT _steps_tries, steps_state FROM history.executions WHERE _steps_tries < 8"
    assert rows(engine, others) == [(0, "due")]


def test_turning_steps_off_strikes_what_is_due_and_settles_what_was_final(engine: Engine) -> None:
    write(engine, ended(), ended(NOW, execution_id="not final"), ended(execution_id="failed"))
    write(engine, ended(execution_id="read"), ended(execution_id="gone"))
    write(engine, ended(), at=reading(connection_id="d"))
    fail(engine, 3, "failed")
    load_reads(engine, steps_read(execution_id="read"))
    load_reads(engine, StepsRead(ref=ref("gone"), answer=None, asked_at=NOW))
    change(engine, "UPDATE history.executions SET settled_at = NULL WHERE execution_id = 'read'")
    change(
        engine, "UPDATE history.executions SET settled_at = :at WHERE execution_id = 'failed'", at=NOW - HOUR
    )
    with engine.begin() as db:
        turn_off_steps(db, "c", LATER)
    assert rows(
        engine,
        "SELECT connection_id, execution_id, steps_state, settled_at, synced_at FROM history.executions ORDER BY 1, 2",
    ) == [
        ("c", "e", "off", LATER, LATER),
        ("c", "failed", "off", NOW - HOUR, LATER),
        ("c", "gone", "gone", NOW, NOW),
        ("c", "not final", "off", None, LATER),
        ("c", "read", "read", None, NOW),
        ("d", "e", "due", None, NOW),
    ]


def due(engine: Engine, **changes: Any) -> list[str]:
    with engine.begin() as db:
        found = due_steps(db, "c", **{"running": False, "limit": 9, **changes})
    return [each.execution_id for each in found]


def at(hours: int, **changes: Any) -> Execution:
    return ended(created_at=NOW - hours * HOUR, **changes)


def test_what_is_due_comes_oldest_first_and_says_where_to_find_it(engine: Engine) -> None:
    write(engine, at(1, execution_id="b"), at(2, execution_id="c"), at(1, execution_id="a", workflow_id="v"))
    with engine.begin() as db:
        found = due_steps(db, "c", running=False, limit=9)
    assert found == [
        ref("c", created_at=NOW - 2 * HOUR, ended_at=NOW - HOUR / 2),
        ref("a", created_at=NOW - HOUR, ended_at=NOW - HOUR / 2, workflow_id="v"),
        ref("b", created_at=NOW - HOUR, ended_at=NOW - HOUR / 2),
    ]
    assert due(engine, limit=2) == ["c", "a"]


def test_those_that_have_ended_and_those_that_run_are_asked_for_apart(engine: Engine) -> None:
    write(engine, ended(), execution(execution_id="f"))
    assert due(engine) == ["e"]
    with engine.begin() as db:
        assert due_steps(db, "c", running=True, limit=9) == [ref("f", has_ended=False)]


def test_what_is_read_off_gone_or_missing_is_not_due_and_what_failed_is(engine: Engine) -> None:
    write(engine, *(ended(execution_id=key) for key in ("read", "gone", "off", "failed", "due", "missing")))
    write(engine, ended(execution_id="elsewhere"), at=reading(connection_id="d"))
    change(engine, "UPDATE history.executions SET steps_state = execution_id WHERE execution_id <> 'missing'"
           " AND connection_id = 'c'")  # fmt: skip
    with engine.begin() as db:
        mark_missing(db, "c", ["missing"], "gone", NOW)
    assert due(engine) == ["due", "failed"]


@pytest.mark.parametrize(("wait", "is_due"), [(timedelta(hours=-1), True), (timedelta(hours=1), False)])
def test_what_failed_is_due_again_when_its_wait_is_over(
    engine: Engine, wait: timedelta, is_due: bool
) -> None:
    write(engine, ended())
    change(engine, "UPDATE history.executions SET _steps_retry_at = clock_timestamp() + :wait", wait=wait)
    assert due(engine) == (["e"] if is_due else [])


def test_the_to_do_list_narrows_to_partitions_and_to_a_span(engine: Engine) -> None:
    write(engine, at(3, execution_id="3"), at(2, execution_id="2"), at(1, execution_id="1"))
    write(engine, at(2, execution_id="x"), at=reading(partition="x"))
    write(engine, at(2, execution_id="y"), at=reading(partition="y"))
    assert due(engine, partitions=["w"]) == ["3", "2", "1"]
    assert due(engine, partitions=("x", "y")) == ["x", "y"]
    assert due(engine, partitions=[]) == []
    assert due(engine, since=NOW - 2 * HOUR) == ["2", "x", "y", "1"]
    assert due(engine, until=NOW - 2 * HOUR) == ["3"]
    assert due(engine, since=NOW - 2 * HOUR, until=NOW - HOUR, partitions=["w"]) == ["2"]


def test_reads_of_no_execution_write_nothing(engine: Engine) -> None:
    with engine.begin() as db:
        loaded = load_steps(db, "c", [], ENCODER, now=NOW)
    assert (dict(loaded.rows), loaded.refused) == ({}, [])


MESSAGE = "SELECT message, failure_reason FROM history.executions"


def test_a_message_that_came_with_the_steps_lands_with_them_and_stays_when_the_row_is_read_again(
    engine: Engine,
) -> None:
    failed = ended(outcome=Outcome.FAILED, status="Failed")
    write(engine, failed)
    load_reads(engine, steps_read(event(), message="task 17 failed: password=x"), at=LATER)
    assert one(engine, MESSAGE) == ("task 17 failed: password=[redacted]", "task failed: password=[redacted]")
    write(engine, structs.replace(failed, tags=("new",)), at=reading(LATER))
    assert one(engine, MESSAGE).message == "task 17 failed: password=[redacted]"


def test_a_message_of_an_execution_that_has_not_failed_is_no_reason_until_it_has(engine: Engine) -> None:
    write(engine, execution())
    load_reads(engine, steps_read(event(), message="no answer"))
    assert one(engine, MESSAGE) == ("no answer", None)
    write(engine, ended(outcome=Outcome.FAILED, status="Failed"), at=reading(LATER))
    load_reads(engine, steps_read(event(), message="no answer", at=LATER))
    assert one(engine, MESSAGE) == ("no answer", "no answer")


def test_the_same_message_again_leaves_the_row_as_it_is(engine: Engine) -> None:
    write(engine, ended(outcome=Outcome.FAILED, status="Failed"))
    load_reads(engine, steps_read(event(), message="no"))
    before = rows(engine, TRACES)
    load_reads(engine, steps_read(event(), message="no"), at=LATER)
    assert rows(engine, TRACES) == before
    load_reads(engine, steps_read(event()), at=LATER)
    assert one(engine, MESSAGE).message == "no"


def test_of_several_executions_read_at_once_each_is_marked_by_what_was_read_of_it(engine: Engine) -> None:
    write(engine, *(ended(execution_id=each) for each in "abc"))
    write(engine, ended(execution_id="b", message="later"), at=reading(LATER))
    failed = event(execution_id="c")
    done = event(execution_id="c", event_id="w", node_id="m", outcome=Outcome.SUCCEEDED)
    load_reads(
        engine,
        steps_read(failed, done, execution_id="c"),
        steps_read(event(execution_id="b"), execution_id="b"),
        structs.replace(steps_read(execution_id="a"), again_after=MINUTE),
        at=LATER,
    )
    assert rows(
        engine,
        "SELECT execution_id, step_count, failed_step_count, steps_state, settled_at, _steps_tries, _steps_retry_at"
        " FROM history.executions ORDER BY 1",
    ) == [
        ("a", 0, 0, "due", None, 1, LATER + MINUTE),
        ("b", 1, 1, "due", None, 0, None),
        ("c", 2, 1, "read", LATER, 0, None),
    ]


def test_an_execution_that_another_process_changes_while_its_steps_are_written_stays_due(
    engine: Engine,
) -> None:
    write(engine, ended())
    late = threading.Thread(target=steps, args=(engine, event()), kwargs={"at": LATER})
    with engine.begin() as db:
        load_executions(db, [ENCODER.execution(ended(message="later"))], reading(NOW + HOUR))
        late.start()
        with engine.connect() as other:
            while not other.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one():
                pass
    late.join()
    assert one(engine, "SELECT message, steps_state, settled_at, step_count FROM history.executions") == (
        "later",
        "due",
        None,
        1,
    )
