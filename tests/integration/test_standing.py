"""How far everything is copied, told from a warehouse in many states."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sqlalchemy import Connection as Database
from sqlalchemy import Engine, text

from syncer.config import Connection
from syncer.simulator import Outline
from syncer.simulator.qualys_flow import Simulator
from syncer.state import standing
from syncer.state.standing import Left, Standing, falls_behind, standings
from tests.integration.flows import FlowBench, connected
from tests.passes import settings

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
NOW = datetime(2026, 3, 10, 11, 0, tzinfo=UTC)


@pytest.fixture
def db(engine: Engine) -> Iterator[Database]:
    """One transaction: `now()` stands still in it, so ages are exact."""
    with engine.connect() as db:
        yield db


def put(db: Database, table: str, **values: object) -> None:
    """A row; an age (timedelta) becomes the instant that long ago."""
    columns = ", ".join(values)
    given = ", ".join(f"now() - CAST(:{name} AS interval)" if isinstance(value, timedelta) else f":{name}"
                      for name, value in values.items())  # fmt: skip
    db.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({given})"), values)


def workflow(db: Database, name: str, **changes: object) -> None:
    values = {"connection_id": "toy", "workflow_id": name, "name": name.title(), "synced_at": HOUR}
    put(db, "history.workflows", **values, _row_hash=b"", _asked_at=HOUR, **changes)


def partition(db: Database, name: str, **changes: object) -> None:
    """A partition that has just been read and is complete for a month."""
    values = {"connection_id": "toy", "stream": "executions", "partition": name, "watermark_at": timedelta(0)}
    put(db, "syncer.watermarks", **{**values, "complete_from": 30 * DAY, **changes})


def execution(db: Database, name: str, age: timedelta, state: str = "due", **changes: object) -> None:
    """One that ended as soon as it was created, and landed then."""
    fixed = {"connection_id": "toy", "execution_id": name, "workflow_id": "w", "outcome": "succeeded"}
    times = {"created_at": age, "_ended_at": age, "synced_at": age, "_asked_at": age}
    own = {"_partition": "w", "_row_hash": b"", "steps_state": state}
    put(db, "history.executions", **{**fixed, **times, **own, **changes})


def history(db: Database, name: str, since: timedelta, until: timedelta, **changes: object) -> None:
    """A span of the ledger that nothing has been copied of."""
    fixed = {
        "connection_id": "toy",
        "stream": "executions",
        "partition": name,
        "since": since,
        "until": until,
    }
    put(
        db,
        "syncer.backfill_windows",
        **{
            **fixed,
            "position": since,
            "kind": "initial",
            "state": "open",
            "created_at": timedelta(0),
            **changes,
        },
    )


def run(db: Database, name: str, began: timedelta, state: str, **changes: object) -> None:
    values = {"run_id": name, "command": "run", "connection_id": "toy", "started_at": began}
    put(db, "syncer.runs", **{**values, "state": state, "ended_at": began, **changes})


def stand(db: Database, **changes: Any) -> Standing:
    """How far the one connection is."""
    (found,) = standings(db, {"toy": settings(horizon=30 * DAY, **changes)})
    return found


def left(db: Database, **changes: Any) -> float | None:
    return stand(db, **changes).seconds_until_deletion


def partitions(found: Standing) -> dict[str, bool]:
    return {row["partition"]: row["is_followed"] for row in found.partitions}


# What is told of a connection


def test_a_connection_without_history_has_a_standing_that_says_so(db: Database) -> None:
    found = stand(db)
    assert found.is_configured
    assert found.partitions == []
    assert [found.last_run, found.seconds_until_deletion, found.last_success_at] == [None, None, None]
    assert not found.falls_behind


def test_a_copy_of_a_platform_is_told_workflow_by_workflow(engine: Engine) -> None:
    simulator = Simulator(Outline(workflows=3, executions=30, running=3))
    with simulator.serve() as url:
        FlowBench(engine).run(simulator, url)
        connection = connected(simulator, url)
    with engine.connect() as db:
        (found,) = standings(db, {"flow": connection})
    assert partitions(found) == dict.fromkeys(simulator.truth.workflows, True)
    assert found.open_executions == 3
    assert (found.steps_failed, found.backlog_windows, found.quarantined, found.lost_windows) == (0, 0, 0, 0)
    assert found.seconds_until_deletion is not None
    assert found.seconds_until_deletion > (connection.horizon - DAY).total_seconds()


def test_it_only_reads(db: Database) -> None:
    db.execute(text("SET TRANSACTION READ ONLY"))
    stand(db)


def test_the_configured_come_first_and_the_others_are_told_on_request(db: Database) -> None:
    for name in ("a", "z"):
        put(
            db,
            "history.connections",
            connection_id=name,
            platform="toy",
            base_url="https://x",
            first_synced_at=DAY,
        )
    configured = {"m": settings(name="m"), "z": settings(name="z")}
    told = [(each.connection, each.is_configured) for each in standings(db, configured)]
    assert told == [("m", True), ("z", True), ("a", False)]
    assert [each.connection for each in standings(db, configured, others=False)] == ["m", "z"]


def test_what_is_deleted_or_not_chosen_any_more_is_not_followed(db: Database) -> None:
    workflow(db, "alpha")
    workflow(db, "beta")
    workflow(db, "gone", missing_since=HOUR, missing_reason="workflow_deleted")
    for name in ("alpha", "beta", "gone", "workspace"):
        partition(db, name)
    assert partitions(stand(db)) == {"alpha": True, "beta": True, "gone": False, "workspace": True}
    assert partitions(stand(db, workflows=("Al*", "gone"))) == {
        "alpha": True,
        "beta": False,
        "gone": False,
        "workspace": True,
    }
    assert partitions(stand(db, workflows=("beta",)))["beta"]


def test_a_wait_or_a_lease_that_is_over_is_not_told(db: Database) -> None:
    lease = {"connection_id": "toy", "stream": "executions", "partition": "w", "version": 1}
    put(db, "syncer.leases", **lease, lane="live", owner="host/1/2", until=timedelta(seconds=1))
    put(db, "syncer.leases", **lease, lane="open", owner="host/1/2", until=-HOUR)
    put(db, "syncer.rate_limits", connection_id="toy", not_before=timedelta(seconds=1), updated_at=HOUR)
    found = stand(db)
    assert [row["lane"] for row in found.leases] == ["open"]
    assert found.waiting_until is None


def test_failing_counts_from_the_first_failure_since_something_was_copied(db: Database) -> None:
    run(db, "1", 9 * HOUR, "failed")
    run(db, "2", 8 * HOUR, "partial")
    run(db, "3", 7 * HOUR, "failed")
    run(db, "4", 6 * HOUR, "failed")
    run(db, "5", 5 * HOUR, "stopped")
    found = stand(db)
    now = db.execute(text("SELECT now()")).scalar_one()
    assert found.failing_since == now - 7 * HOUR
    assert found.last_success_at == now - 8 * HOUR
    assert found.last_run
    assert found.last_run["state"] == "stopped"


def test_a_success_ends_the_failing(db: Database) -> None:
    run(db, "1", 9 * HOUR, "failed")
    run(db, "2", 8 * HOUR, "done")
    assert stand(db).failing_since is None


def test_the_backlog_is_that_of_partitions_still_followed(db: Database) -> None:
    workflow(db, "gone", missing_since=HOUR, missing_reason="workflow_deleted")
    for name in ("w", "gone"):
        partition(db, name)
        history(db, name, 20 * DAY, 10 * DAY, position=12 * DAY)
    history(db, "w", 29 * DAY, 20 * DAY, state="done", position=20 * DAY)
    found = stand(db)
    assert (found.backlog_windows, found.backlog_seconds) == (1, 2 * DAY.total_seconds())


# Seconds until the source deletes what is not copied


def test_nothing_is_about_to_be_deleted_where_nothing_is_left(db: Database) -> None:
    execution(db, "read", 29 * DAY, "read")
    assert left(db) is None


def test_the_oldest_of_history_steps_and_watermarks_counts(db: Database) -> None:
    partition(db, "w", watermark_at=DAY)
    assert left(db) == 29 * DAY.total_seconds()
    history(db, "w", 25 * DAY, 20 * DAY, position=22 * DAY)
    assert left(db) == 8 * DAY.total_seconds()
    execution(db, "due", 23 * DAY)
    assert left(db) == 7 * DAY.total_seconds()
    execution(db, "failed", 24 * DAY, "failed")
    assert left(db) == 6 * DAY.total_seconds()


def test_what_runs_is_gone_or_is_beyond_the_horizon_does_not_count(db: Database) -> None:
    execution(db, "runs", 28 * DAY, _ended_at=None)
    execution(db, "gone", 28 * DAY, missing_since=HOUR)
    execution(db, "beyond", 31 * DAY)
    execution(db, "beyond as well", 31 * DAY, "failed")
    found = stand(db)
    assert found.seconds_until_deletion is None
    assert found.steps_failed == 0


def test_a_workflow_that_is_not_followed_does_not_count(db: Database) -> None:
    workflow(db, "other")
    partition(db, "other", watermark_at=29 * DAY)
    history(db, "other", 29 * DAY, 20 * DAY)
    assert left(db, workflows=("mine",)) is None


def test_what_is_being_deleted_has_no_time_left_and_not_less(db: Database) -> None:
    partition(db, "w")
    history(db, "w", 40 * DAY, 20 * DAY)
    assert left(db) == 0


# Executions an hour


def test_arrivals_are_counted_over_a_day(db: Database) -> None:
    partition(db, "w")
    for number in range(48):
        execution(db, str(number), number * HOUR / 2 + timedelta(seconds=1), "read")
    for number in range(48, 60):
        execution(db, str(number), 25 * HOUR, "read")
    assert stand(db).executions_arriving_per_hour == 2


def test_arrivals_of_a_first_copy_are_counted_where_it_is_complete(db: Database) -> None:
    partition(db, "w", complete_from=2 * HOUR)
    for number in range(10):
        execution(db, str(number), number * HOUR / 5 + timedelta(seconds=1), "read")
    execution(db, "history", 10 * HOUR, "read")
    assert stand(db).executions_arriving_per_hour == 5


def test_the_pace_is_that_since_there_is_something_left(db: Database) -> None:
    partition(db, "w")
    history(db, "w", 20 * DAY, 10 * DAY, created_at=2 * HOUR)
    for number in range(6):
        copied = number * HOUR / 3 + timedelta(seconds=1)
        execution(db, str(number), 25 * DAY, "read", steps_read_at=copied, synced_at=copied)
    execution(db, "before", 25 * DAY, "read", steps_read_at=3 * HOUR, synced_at=3 * HOUR)
    execution(db, "seen again", 25 * DAY, "read", steps_read_at=9 * HOUR, synced_at=timedelta(minutes=5))
    execution(db, "not yet", 25 * DAY, "due", synced_at=timedelta(minutes=5))
    assert stand(db).executions_copied_per_hour == 3


def test_without_steps_an_execution_is_copied_with_its_row(db: Database) -> None:
    partition(db, "w")
    for number in range(4):
        execution(db, str(number), 25 * DAY, "off", synced_at=timedelta(minutes=5))
    assert stand(db).executions_copied_per_hour == 4


def test_a_source_that_allows_too_little_is_told_before_anything_is_lost(db: Database) -> None:
    partition(db, "w")
    history(db, "w", 28 * DAY, 2 * DAY, created_at=2 * HOUR)
    for number in range(2):
        execution(db, f"new {number}", timedelta(minutes=30), "read")
    assert stand(db).executions_copied_per_hour == 1
    assert not stand(db).falls_behind  # 52 are expected in that history, and there are 28 days for them
    for number in range(24 * 20):
        execution(db, f"more {number}", 20 * HOUR, "due")
    assert stand(db).falls_behind


def test_what_is_new_does_not_make_it_fall_behind(db: Database) -> None:
    partition(db, "w")
    for number in range(50):
        execution(db, str(number), timedelta(hours=20), "due")
    assert not stand(db).falls_behind


def test_history_that_is_not_listed_yet_counts_as_dense_as_the_last_day(db: Database) -> None:
    partition(db, "w")
    history(db, "w", 28 * DAY, 2 * DAY, created_at=2 * HOUR)
    for number in range(48):
        execution(db, f"new {number}", number * HOUR / 2 + timedelta(seconds=1), "read")
    for number in range(2):
        execution(db, f"old {number}", 29 * DAY, "read", synced_at=HOUR)
    found = stand(db)
    assert (found.executions_arriving_per_hour, found.executions_copied_per_hour) == (2, 3)
    assert found.falls_behind  # 26 days with 48 each, and 24 a day more than arrive for 28 days


@pytest.mark.parametrize(("age", "state"), [(31 * DAY, "due"), (20 * DAY, "failed")])
def test_what_is_gone_or_put_aside_does_not_make_it_fall_behind(
    db: Database, age: timedelta, state: str
) -> None:
    partition(db, "w")
    for number in range(50):
        execution(db, str(number), age, state)
    assert not stand(db).falls_behind


RATES = st.floats(0, 1000)


def verdict(executions: int, newest: timedelta, arriving: float, copied: float) -> bool:
    late = Left(late=executions, history_hours=0, since=NOW - DAY, newest_at=NOW - newest)
    return falls_behind(late, arriving, copied, NOW, 30 * DAY)


@given(st.integers(1, 500), st.integers(0, 600), st.integers(1, 100), st.floats(0.05, 20))
def test_the_verdict_is_whether_something_is_lost_when_it_is_played_through(
    executions: int, oldest: int, span: int, pace: float
) -> None:
    """Executions evenly spread over `span` hours, copied oldest first, each deleted when it leaves the horizon."""
    horizon = oldest + span + 1
    spacing = span / executions
    deleted = [1 + number * spacing for number in range(executions)]
    copied = [(number + 1) / pace for number in range(executions)]
    assume(copied[0] <= deleted[0])
    lost = any(when > deadline for when, deadline in zip(copied, deleted, strict=True))
    assume(abs(copied[-1] - deleted[-1]) > 1e-6)
    newest = horizon - deleted[-1]
    state = Left(late=executions, history_hours=0, since=NOW - DAY, newest_at=NOW - newest * HOUR)
    assert falls_behind(state, 0, pace, NOW, horizon * HOUR) is lost


@given(st.integers(0, 10_000), st.integers(1, 700), RATES, RATES, RATES)
def test_a_higher_pace_never_makes_it_worse(
    executions: int, newest: int, arriving: float, copied: float, more: float
) -> None:
    faster = verdict(executions, newest * HOUR, arriving, copied + more)
    assert not faster or verdict(executions, newest * HOUR, arriving, copied)


def test_what_arrives_as_fast_as_it_is_copied_leaves_no_time_for_what_is_late() -> None:
    assert verdict(1, DAY, 100, 100)
    assert not verdict(1, DAY, 100, 101)


def test_there_is_no_verdict_before_the_pace_was_measured_for_an_hour() -> None:
    young = Left(late=10**6, history_hours=0, since=NOW - HOUR / 2, newest_at=NOW - DAY)
    assert not falls_behind(young, 0, 1, NOW, 30 * DAY)


# Size


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (standing._PENDING, "executions_steps_due_idx"),
        (standing._PARTITIONS, "executions_open_idx"),
        (standing._ARRIVED, "executions_created_idx"),
        (standing._COPIED, "executions_synced_idx"),
    ],
)
def test_no_question_needs_the_whole_history(db: Database, query: str, index: str) -> None:
    for number in range(300):
        execution(
            db, str(number), number * HOUR, "read" if number else "due", settled_at=HOUR if number else None
        )
    db.execute(text("ANALYZE history.executions"))
    db.execute(text("SET LOCAL enable_seqscan = off"))
    values = {"connection": "toy", **dict.fromkeys(("served", "recent", "since"), datetime.now(UTC))}
    wanted = {name: value for name, value in values.items() if f":{name}" in query}
    plan = "\n".join(db.execute(text(f"EXPLAIN {query}"), wanted).scalars())
    assert index in plan
    assert "Seq Scan on executions" not in plan


def test_a_connection_of_its_own_answers_for_itself(db: Database) -> None:
    partition(db, "w")
    partition(db, "w", connection_id="other", watermark_at=29 * DAY)
    execution(db, "due", 28 * DAY, connection_id="other")
    connections: dict[str, Connection] = {name: settings(name=name) for name in ("toy", "other")}
    other, toy = standings(db, connections)
    assert (other.steps_due, toy.steps_due) == (1, 0)
    assert toy.seconds_until_deletion == 30 * DAY.total_seconds()
