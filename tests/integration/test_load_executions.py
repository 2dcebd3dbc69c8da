"""`history.executions`, state by state: what a read changes, what it settles, what it leaves alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from syncer.load.executions import (
    OpenRow,
    age_out,
    load_executions,
    mark_missing,
    mark_running_deleted,
    mark_unlisted,
    open_executions,
    partitions_with_open,
    set_variables_of,
)
from syncer.model import Execution, Outcome, Window
from tests.integration.rows import (
    ENCODER,
    HOUR,
    MINUTE,
    NOW,
    change,
    ended,
    event,
    execution,
    load,
    one,
    reading,
    ref,
    rows,
    steps,
    write,
)

LATER = reading(NOW + 5 * MINUTE)
ROW = "SELECT xmin::text, ctid::text, synced_at FROM history.executions"


def test_a_page_says_which_of_its_executions_are_still_open(engine: Engine) -> None:
    ids = ("same open", "same settled", "changed open", "changed ended")
    assert load(engine, *(execution(execution_id=name) for name in ids)).open_ids == set(ids)
    change(engine, "UPDATE history.executions SET settled_at = now() WHERE execution_id = 'same settled'")
    page = (
        execution(execution_id="same open"),
        execution(execution_id="same settled"),
        execution(execution_id="changed open", message="more"),
        ended(execution_id="changed ended"),
        ended(execution_id="new ended"),
        execution(execution_id="new open"),
    )
    loaded = load(engine, *page, at=reading(NOW + MINUTE, with_steps=False))
    assert loaded.open_ids == {"same open", "changed open", "new open"}


def test_an_execution_that_stands_twice_on_a_page_lands_once_as_it_stood_last(engine: Engine) -> None:
    write(engine, execution(message="first"), execution(message="last"))
    assert one(engine, "SELECT message FROM history.executions") == ("last",)


def test_an_empty_page_is_nothing(engine: Engine) -> None:
    loaded = load(engine)
    assert (loaded.open_ids, loaded.refused, loaded.missing) == (set(), [], 0)


def test_a_new_row_holds_whence_and_when_it_was_read(engine: Engine) -> None:
    at = reading(NOW, now=NOW + MINUTE, partition="elsewhere", source_at=NOW + HOUR)
    write(engine, execution(), at=at)
    assert one(
        engine,
        "SELECT connection_id, _partition, _asked_at, synced_at, steps_state, settled_at, _final_at, _ended_at,"
        " missing_since, missing_reason, _steps_tries, _steps_retry_at FROM history.executions",
    ) == ("c", "elsewhere", NOW, NOW + MINUTE, "due", None, None, None, None, None, 0, None)


def test_what_says_nothing_of_its_outcome_is_unknown_when_it_is_new(engine: Engine) -> None:
    write(engine, Execution(execution_id="e", workflow_id="w", created_at=NOW))
    assert one(engine, "SELECT outcome, status, _ended_at FROM history.executions") == ("unknown", None, None)


@pytest.mark.parametrize(
    ("outcome", "counts"),
    [
        (Outcome.SUCCEEDED, True),
        (Outcome.FAILED, True),
        (Outcome.CANCELED, True),
        (Outcome.QUEUED, False),
        (Outcome.RUNNING, False),
        (Outcome.UNKNOWN, False),
    ],
)
def test_a_terminal_outcome_without_an_end_ends_by_the_source_s_clock(
    engine: Engine, outcome: Outcome, counts: bool
) -> None:
    write(engine, execution(outcome=outcome), at=reading(source_at=NOW - HOUR))
    expected = NOW - HOUR if counts else None
    assert one(engine, "SELECT _ended_at, ended_at FROM history.executions") == (expected, None)


def test_the_end_that_the_source_gives_goes_before_the_read_that_said_so(engine: Engine) -> None:
    write(engine, ended(NOW - 3 * MINUTE))
    assert one(engine, "SELECT _ended_at FROM history.executions") == (NOW - 3 * MINUTE,)
    write(engine, execution(execution_id="f", outcome=Outcome.UNKNOWN, ended_at=NOW - 4 * MINUTE))
    query = "SELECT _ended_at FROM history.executions WHERE execution_id = 'f'"
    assert one(engine, query) == (NOW - 4 * MINUTE,)


@pytest.mark.parametrize(("ago", "is_final"), [(120, True), (119, False)])
def test_a_row_is_final_when_it_was_read_at_its_end_and_settle_by_the_source_s_clock(
    engine: Engine, ago: int, is_final: bool
) -> None:
    at = reading(source_at=NOW - HOUR, now=NOW + MINUTE)
    write(engine, ended(NOW - HOUR - timedelta(seconds=ago)), at=at)
    expected = NOW + MINUTE if is_final else None
    assert one(engine, "SELECT _final_at, settled_at FROM history.executions") == (expected, None)


@pytest.mark.parametrize(
    ("ended_at", "settled"), [(NOW - HOUR, NOW + MINUTE), (NOW, None)], ids=["final", "not yet"]
)
def test_without_steps_to_read_a_final_row_is_settled_as_it_lands(
    engine: Engine, ended_at: Any, settled: Any
) -> None:
    write(engine, ended(ended_at), at=reading(with_steps=False, now=NOW + MINUTE))
    query = "SELECT settled_at, steps_state FROM history.executions"
    assert one(engine, query) == (settled, "off")


def test_an_unchanged_row_is_left_as_it_is(engine: Engine) -> None:
    write(engine, execution())
    before = one(engine, ROW)
    write(engine, execution(), at=LATER)
    assert one(engine, ROW) == before


def finish(engine: Engine, at: Any = LATER) -> tuple[Any, ...]:
    write(engine, ended(NOW), at=at)
    query = "SELECT steps_state, settled_at, _final_at, synced_at FROM history.executions"
    return tuple(one(engine, query))


@pytest.mark.parametrize(
    ("state", "after", "is_settled"),
    [
        ("read", "read", True),
        ("gone", "gone", True),
        ("due", "due", False),
        ("failed", "failed", False),
    ],
)
def test_the_read_at_settle_makes_an_unchanged_row_final_and_settles_it_unless_its_steps_are_due(
    engine: Engine, state: str, after: str, is_settled: bool
) -> None:
    write(engine, ended(NOW))
    change(engine, "UPDATE history.executions SET steps_state = :state", state=state)
    settled = LATER.now if is_settled else None
    assert finish(engine) == (after, settled, LATER.now, LATER.now)


def test_an_unchanged_row_whose_steps_are_off_is_settled_by_the_read_at_settle(engine: Engine) -> None:
    write(engine, ended(NOW), at=reading(with_steps=False))
    at = reading(NOW + 5 * MINUTE, with_steps=False)
    assert finish(engine, at) == ("off", at.now, at.now, at.now)


@pytest.mark.parametrize(
    ("changes", "is_open"),
    [
        ({"outcome": "running", "ended_at": None}, True),
        ({"outcome": "queued", "ended_at": None}, True),
        ({"outcome": "unknown", "ended_at": None}, True),
        ({"outcome": "failed", "ended_at": None}, False),
        ({"outcome": "running", "ended_at": NOW}, False),
    ],
)
def test_a_row_that_becomes_final_has_steps_read_again_that_were_still_open(
    engine: Engine, changes: dict[str, Any], is_open: bool
) -> None:
    write(engine, ended(NOW))
    steps(engine, event(message="m"))
    change(engine, "UPDATE history.steps SET outcome = :outcome, ended_at = :ended_at", **changes)
    state, settled, final, _ = finish(engine)
    assert (state, settled is None, final) == (("due", True) if is_open else ("read", False)) + (LATER.now,)


def test_the_steps_of_another_execution_hold_nothing_back(engine: Engine) -> None:
    write(engine, ended(NOW), execution(execution_id="f"))
    steps(engine, event())
    change(engine, "UPDATE history.steps SET execution_id = 'f', outcome = 'running', ended_at = NULL")
    write(engine, ended(NOW), at=LATER)
    query = "SELECT steps_state, settled_at FROM history.executions WHERE execution_id = 'e'"
    assert one(engine, query) == ("read", LATER.now)


def test_a_row_is_made_final_once(engine: Engine) -> None:
    write(engine, ended(NOW))
    finish(engine)
    before = one(engine, ROW)
    finish(engine, reading(NOW + HOUR))
    assert one(engine, ROW) == before


def test_a_read_that_was_sent_before_the_stored_one_makes_nothing_final(engine: Engine) -> None:
    write(engine, ended(NOW), at=LATER)
    change(engine, "UPDATE history.executions SET _final_at = NULL")
    at = reading(NOW + 4 * MINUTE)
    assert finish(engine, at)[2] is None
    assert finish(engine, LATER)[2] == LATER.now


def test_an_unchanged_row_that_has_not_reached_settle_is_not_final(engine: Engine) -> None:
    write(engine, ended(NOW))
    before = one(engine, ROW)
    write(engine, ended(NOW), at=reading(NOW + timedelta(seconds=119)))
    assert one(engine, ROW) == before


def test_a_copy_with_other_fields_that_says_nothing_new_makes_final_as_well(engine: Engine) -> None:
    write(engine, ended(NOW))
    sparse = Execution(execution_id="e", workflow_id="w", created_at=NOW - HOUR, status="Success")
    loaded = load(engine, sparse, at=LATER)
    assert loaded.open_ids == set()
    assert one(engine, "SELECT _final_at, outcome FROM history.executions") == (LATER.now, "succeeded")


def test_a_copy_that_says_nothing_new_of_one_that_runs_leaves_it_as_it_is(engine: Engine) -> None:
    write(engine, execution())
    before = one(engine, ROW)
    write(engine, Execution(execution_id="e", workflow_id="w", created_at=NOW - HOUR), at=LATER)
    assert one(engine, ROW) == before


@pytest.mark.parametrize("again", [execution(), execution(message="changed")], ids=["unchanged", "changed"])
def test_what_reappears_is_not_missing_any_more(engine: Engine, again: Execution) -> None:
    write(engine, execution(), execution(execution_id="other"))
    with engine.begin() as db:
        assert mark_missing(db, "c", ["e", "other"], "gone", NOW) == 2
    write(engine, again, at=LATER)
    assert rows(
        engine,
        "SELECT execution_id, missing_since, missing_reason, synced_at FROM history.executions ORDER BY 1",
    ) == [
        ("e", None, None, LATER.now),
        ("other", NOW, "gone", NOW),
    ]


def test_steps_that_are_wanted_again_make_what_was_left_without_them_due(engine: Engine) -> None:
    write(engine, ended(), ended(execution_id="other"), at=reading(with_steps=False))
    write(engine, ended(), at=LATER)
    assert rows(
        engine, "SELECT execution_id, steps_state, settled_at, synced_at FROM history.executions ORDER BY 1"
    ) == [("e", "due", None, LATER.now), ("other", "off", NOW, NOW)]


def test_variables_are_compared_by_themselves_and_written_only_where_they_differ(engine: Engine) -> None:
    write(engine, execution(variables=b'["a=1"]'), execution(execution_id="f", variables=b"[]"))
    before = rows(engine, ROW + " ORDER BY execution_id")
    write(engine, execution(variables=b'[ "a=1" ]'), execution(execution_id="f"), at=LATER)
    assert rows(engine, ROW + " ORDER BY execution_id") == before
    write(engine, execution(variables=b'["a=2"]'), execution(execution_id="f", variables=None), at=LATER)
    query = "SELECT execution_id, variables, synced_at FROM history.executions ORDER BY 1"
    assert rows(engine, query) == [("e", ["a=2"], LATER.now), ("f", None, LATER.now)]


def test_variables_of_one_execution_are_written_to_it_alone(engine: Engine) -> None:
    write(engine, execution(), execution(execution_id="f"))
    write(engine, execution(), at=reading(connection_id="d"))
    with engine.begin() as db:
        set_variables_of(db, "c", "e", b"[1]", LATER.now)
    query = (
        "SELECT connection_id, execution_id, synced_at FROM history.executions WHERE variables IS NOT NULL"
    )
    assert rows(engine, query) == [("c", "e", LATER.now)]


def missing(engine: Engine) -> list[tuple[Any, ...]]:
    return rows(
        engine,
        "SELECT connection_id, execution_id, missing_reason, missing_since, synced_at FROM history.executions"
        " WHERE missing_since IS NOT NULL ORDER BY 1, 2",
    )


def test_what_is_missing_is_marked_once_with_its_reason(engine: Engine) -> None:
    write(engine, execution(), execution(execution_id="f"), execution(execution_id="g"))
    write(engine, execution(), at=reading(connection_id="d"))
    with engine.begin() as db:
        assert mark_missing(db, "c", ["f"], "gone", NOW) == 1
        assert mark_missing(db, "c", {"e", "f"}, "aged_out", NOW + HOUR) == 1
        assert mark_missing(db, "c", [], "gone", NOW) == 0
    assert missing(engine) == [
        ("c", "e", "aged_out", NOW + HOUR, NOW + HOUR),
        ("c", "f", "gone", NOW, NOW),
    ]


def test_what_had_not_ended_goes_with_its_partition(engine: Engine) -> None:
    write(engine, execution(), ended(execution_id="ended"), execution(execution_id="known"))
    write(engine, execution(execution_id="elsewhere"), at=reading(partition="x"))
    write(engine, execution(), at=reading(connection_id="d"))
    with engine.begin() as db:
        mark_missing(db, "c", ["known"], "gone", NOW)
        mark_running_deleted(db, "c", "w", LATER.now)
    assert missing(engine) == [
        ("c", "e", "workflow_deleted", LATER.now, LATER.now),
        ("c", "known", "gone", NOW, NOW),
    ]


@pytest.mark.parametrize(("end_belongs", "last"), [(True, ["end"]), (False, [])])
def test_a_proved_reading_marks_as_gone_what_it_did_not_list(
    engine: Engine, end_belongs: bool, last: list[str]
) -> None:
    span = Window(NOW - HOUR, NOW)
    times = {
        "before": NOW - HOUR - MINUTE,
        "start": NOW - HOUR,
        "inside": NOW - 2 * MINUTE,
        "listed": NOW - 2 * MINUTE,
        "end": NOW,
        "after": NOW + MINUTE,
        "known": NOW - MINUTE,
    }
    write(engine, *(execution(execution_id=key, created_at=at) for key, at in times.items()))
    write(engine, execution(execution_id="asked now", created_at=NOW - MINUTE), at=LATER)
    write(engine, execution(execution_id="elsewhere", created_at=NOW - MINUTE), at=reading(partition="x"))
    write(engine, execution(execution_id="inside", created_at=NOW - MINUTE), at=reading(connection_id="d"))
    with engine.begin() as db:
        mark_missing(db, "c", ["known"], "aged_out", NOW)
        count = mark_unlisted(db, LATER, span, end_belongs=end_belongs, ids={"listed"})
    gone = [key for _, key, reason, since, synced in missing(engine) if reason == "gone"]
    assert gone == [*last, "inside", "start"]
    assert count == len(gone)
    assert {(since, synced) for _, _, reason, since, synced in missing(engine) if reason == "gone"} == {
        (LATER.now, LATER.now)
    }


def test_what_was_not_settled_when_it_left_the_horizon_has_aged_out(engine: Engine) -> None:
    write(
        engine,
        execution(created_at=NOW - HOUR - MINUTE),
        execution(execution_id="inside", created_at=NOW - HOUR),
        execution(execution_id="known", created_at=NOW - 2 * HOUR),
    )
    write(engine, ended(execution_id="settled", created_at=NOW - 2 * HOUR), at=reading(with_steps=False))
    write(engine, execution(created_at=NOW - 2 * HOUR), at=reading(connection_id="d"))
    with engine.begin() as db:
        mark_missing(db, "c", ["known"], "gone", NOW)
        assert age_out(db, "c", NOW - HOUR, LATER.now) == 1
    assert missing(engine) == [
        ("c", "e", "aged_out", LATER.now, LATER.now),
        ("c", "known", "gone", NOW, NOW),
    ]


def test_the_open_set_is_what_needs_another_look_with_its_rank_among_all(engine: Engine) -> None:
    def at(minute: int) -> Any:
        return NOW - HOUR + minute * MINUTE

    write(
        engine,
        ended(execution_id="before all", created_at=at(0)),
        execution(execution_id="b", created_at=at(1), outcome=Outcome.QUEUED),
        ended(execution_id="between", created_at=at(2)),
        execution(execution_id="missing", created_at=at(3)),
        ended(NOW, execution_id="just ended", created_at=at(4)),
        execution(execution_id="a", created_at=at(4)),
    )
    write(engine, execution(execution_id="x", created_at=at(2)), at=reading(partition="x"))
    write(engine, execution(execution_id="y", created_at=at(2)), at=reading(connection_id="d"))
    with engine.begin() as db:
        mark_missing(db, "c", ["missing"], "gone", NOW)
        found = open_executions(db, "c", "w")

    def open_row(key: str, minute: int, rank: int, ended_at: Any = None) -> OpenRow:
        return OpenRow(ref(key, created_at=at(minute), has_ended=ended_at is not None), ended_at, rank)

    assert found == [open_row("b", 1, 1), open_row("a", 4, 4), open_row("just ended", 4, 5, NOW)]


def test_partitions_with_open_executions_need_a_look_and_those_beyond_the_horizon_an_end(
    engine: Engine,
) -> None:
    final = ended(execution_id="final", created_at=NOW - 2 * HOUR)
    write(engine, final, at=reading(partition="waits for steps"))
    write(engine, ended(execution_id="old", created_at=NOW - 9 * HOUR), at=reading(partition="old"))
    write(engine, execution(execution_id="b"), execution(execution_id="b2"), at=reading(partition="b"))
    write(engine, execution(execution_id="a"), at=reading(partition="a"))
    write(engine, execution(execution_id="m"), at=reading(partition="missing"))
    write(engine, ended(execution_id="s"), at=reading(partition="settled", with_steps=False))
    write(engine, execution(), at=reading(connection_id="d", partition="other"))
    with engine.begin() as db:
        mark_missing(db, "c", ["m"], "gone", NOW)
        assert partitions_with_open(db, "c", NOW - 3 * HOUR) == ["a", "b", "old"]


def test_a_record_that_postgresql_cannot_store_costs_nobody_else_a_place(engine: Engine) -> None:
    write(engine, execution(execution_id="2"))
    with engine.begin() as db:
        pages = [ENCODER.execution(execution(execution_id=str(number), message="m")) for number in range(5)]
        for number in (1, 2):
            pages[number]["tags"] = ["\x00"]
        loaded = load_executions(db, pages, LATER)
    assert sorted(row["execution_id"] for row, _ in loaded.refused) == ["1", "2"]
    assert {why for _, why in loaded.refused} == {"PostgreSQL cannot store it: CharacterNotInRepertoire"}
    assert rows(engine, "SELECT execution_id, message FROM history.executions ORDER BY 1") == [
        ("0", "m"),
        ("2", None),
        ("3", "m"),
        ("4", "m"),
    ]


def test_a_changed_row_has_its_steps_read_anew_and_its_failures_forgotten(engine: Engine) -> None:
    write(engine, ended(), execution(execution_id="other"))
    change(
        engine,
        "UPDATE history.executions SET steps_state = 'failed', _steps_tries = 3, _steps_retry_at = now(),"
        " settled_at = now()",
    )
    write(engine, ended(message="changed"), at=LATER)
    assert one(
        engine,
        "SELECT steps_state, _steps_tries, _steps_retry_at, settled_at, _final_at, _asked_at, synced_at"
        " FROM history.executions WHERE execution_id = 'e'",
    ) == ("due", 0, None, None, LATER.now, LATER.now, LATER.now)


def test_what_an_answer_does_not_carry_stays(engine: Engine) -> None:
    write(engine, execution(message="m", trigger="t", extra=b'{"a":1,"b":2}', tags=("x",)))
    write(engine, execution(trigger=None, extra=b'{"b":3}'), at=LATER)
    query = "SELECT message, trigger, extra, tags FROM history.executions"
    assert one(engine, query) == ("m", None, {"a": 1, "b": 3}, ["x"])


@pytest.mark.parametrize(
    ("stored", "copy", "wins"),
    [
        ((1, 5), (2, 4), True),
        ((2, 4), (1, 5), False),
        ((1, 5), (1, 5), True),
        ((1, 5), (1, 6), True),
        ((1, 5), (1, 4), False),
        ((None, 5), (2, 4), False),
        ((1, 5), (None, 6), True),
    ],
)
def test_of_two_copies_the_later_one_counts_by_its_own_time_and_else_by_when_it_was_asked_for(
    engine: Engine, stored: tuple[int | None, int], copy: tuple[int | None, int], wins: bool
) -> None:
    def arrive(message: str, updated: int | None, asked: int) -> None:
        updated_at = None if updated is None else NOW + updated * MINUTE
        write(engine, execution(message=message, updated_at=updated_at), at=reading(NOW + asked * MINUTE))

    arrive("stored", *stored)
    arrive("copy", *copy)
    assert one(engine, "SELECT message FROM history.executions") == ("copy" if wins else "stored",)
