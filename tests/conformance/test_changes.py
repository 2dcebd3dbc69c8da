"""What runs again long after it was settled is seen where the source lists by last change."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from syncer.sync import Report, Session, poll, sync
from tests.conformance.conftest import ToyBench
from tests.conformance.toys import NOW, OffsetCapped, Run, World

HOUR = timedelta(hours=1)
EVERY = timedelta(minutes=5)


async def polled(session: Session) -> Report:
    return await poll(session, EVERY)


def outcome(bench: ToyBench, execution_id: str) -> tuple[str, bool]:
    query = "SELECT outcome, settled_at IS NULL FROM history.executions WHERE execution_id"
    return tuple(bench.rows(f"{query} = '{execution_id}'")[0])


def asked(world: World) -> int:
    """How often the list by last change was asked for, since this was last called."""
    times = world.requests.count("changed")
    world.requests.clear()
    return times


@pytest.fixture
def copied(bench: ToyBench, world: World) -> OffsetCapped:
    """A source of which everything was copied and settled a day ago."""
    world.fill(30)
    source = OffsetCapped(world)
    assert bench.run(source).is_complete
    world.now += timedelta(days=1)
    assert bench.run(source).is_complete
    asked(world)
    return source


def test_an_old_execution_that_runs_again_is_open_again_and_its_end_is_copied(
    bench: ToyBench, world: World, copied: OffsetCapped
) -> None:
    again = world.runs["e00029"]
    assert outcome(bench, again.execution_id) == ("succeeded", False)
    again.ended_at, again.updated_at = None, world.now
    world.now += HOUR
    bench.run(copied, polled)
    assert outcome(bench, again.execution_id) == ("running", True)
    world.end(again)
    world.now += HOUR
    bench.run(copied)
    assert outcome(bench, again.execution_id) == ("succeeded", False)


def test_it_is_seen_behind_pages_of_newer_changes_that_are_copied_already(
    bench: ToyBench, world: World, copied: OffsetCapped
) -> None:
    again = world.runs["e00029"]
    again.ended_at, again.updated_at = None, world.now
    world.now += timedelta(seconds=1)
    for _ in range(25):
        world.now += timedelta(minutes=1)
        world.add("w1", world.now)
        bench.run(copied, polled)
    world.now += HOUR
    bench.run(copied, polled)
    assert outcome(bench, again.execution_id) == ("running", True)


class Touching(OffsetCapped):
    """What runs moves up in the list by last change as its steps go on, and looks as it did."""

    def changed_at(self, run: Run) -> tuple[datetime, str]:
        return super().changed_at(run) if run.ended_at else (self.world.now, run.execution_id)


def test_what_moves_up_unchanged_does_not_hide_what_changed(bench: ToyBench, world: World) -> None:
    world.fill(30)
    world.add("w1", NOW - HOUR, lasts=None)
    source = Touching(world)
    bench.run(source)
    world.now += HOUR
    again = world.runs["e00029"]
    again.updated_at = world.now
    for _ in range(25):
        world.now += timedelta(seconds=1)
        world.add("w2", world.now - timedelta(minutes=1))
    world.now += HOUR
    again.ended_at = again.updated_at
    bench.run(source, polled)
    assert bench.value("SELECT updated_at FROM history.executions WHERE execution_id = 'e00029'")


def test_a_page_of_nothing_but_broken_records_does_not_hide_what_changed(
    bench: ToyBench, world: World, copied: OffsetCapped
) -> None:
    again = world.runs["e00029"]
    again.ended_at, again.updated_at = None, world.now
    for _ in range(12):
        world.now += timedelta(minutes=1)
        world.add("w1", world.now).is_broken = True
    world.now += HOUR
    bench.run(copied, polled)
    assert outcome(bench, again.execution_id) == ("running", True)
    asked(world)
    world.now += 2 * HOUR
    bench.run(copied, polled)
    assert asked(world) == 2, "what stood below them is remembered"


def test_where_nothing_has_ended_the_whole_list_is_read(bench: ToyBench, world: World) -> None:
    for _ in range(25):
        world.add("w1", NOW - HOUR, lasts=None)
    source = OffsetCapped(world)
    bench.run(source)
    asked(world)
    world.now += HOUR
    bench.run(source, polled)
    assert asked(world) == 4


def test_where_nothing_changed_one_page_an_hour_is_asked_for(
    bench: ToyBench, world: World, copied: OffsetCapped
) -> None:
    for _ in range(24):
        world.now += EVERY
        bench.run(copied, polled)
    assert asked(world) == 2
    bench.run(copied, polled, sweep=timedelta(minutes=1))
    world.now += EVERY
    bench.run(copied, polled, sweep=timedelta(minutes=1))
    assert asked(world) == 1


def test_the_first_time_one_page_is_enough_and_history_brings_the_rest(bench: ToyBench, world: World) -> None:
    world.fill(30)
    assert bench.run(OffsetCapped(world)).is_complete
    assert asked(world) == 1
    assert bench.value("SELECT count(*) FROM history.executions") == 60


def test_a_list_that_failed_half_way_is_read_again_from_its_beginning(
    bench: ToyBench, world: World, copied: OffsetCapped
) -> None:
    changed = [world.runs[f"e{number:05}"] for number in range(25)]
    for run in changed:
        run.ended_at, run.updated_at = None, world.now
    whole = copied.list_changed

    async def failing(partition, page):  # type: ignore[no-untyped-def]
        if page == 2:
            raise OSError("the cable was pulled")
        return await whole(partition, page)

    copied.list_changed = failing  # type: ignore[method-assign]
    world.now += HOUR
    with pytest.raises(OSError, match="cable"):
        bench.run(copied, polled)
    copied.list_changed = whole  # type: ignore[method-assign]
    bench.run(copied, polled)
    assert {outcome(bench, run.execution_id) for run in changed} == {("running", True)}


def test_what_runs_again_beyond_the_horizon_is_followed_by_its_id_while_the_source_knows_it(
    bench: ToyBench, world: World, copied: OffsetCapped
) -> None:
    again = world.runs["e00029"]
    world.now = again.created_at + timedelta(days=31)
    again.ended_at, again.updated_at = None, world.now
    state = "SELECT outcome, missing_reason, steps_state, settled_at IS NULL FROM history.executions"
    for _ in range(2):
        world.now += HOUR
        bench.run(copied)
        assert bench.rows(f"{state} WHERE execution_id = 'e00029'") == [("running", None, "read", True)]
    world.end(again)
    world.now += HOUR
    bench.run(copied)
    assert bench.rows(f"{state} WHERE execution_id = 'e00029'") == [("succeeded", None, "read", False)]
    other = world.runs["e00028"]
    other.ended_at, other.updated_at = None, world.now
    bench.run(copied)
    del world.runs["e00028"]
    world.now += HOUR
    bench.run(copied)
    assert bench.value("SELECT missing_reason FROM history.executions WHERE execution_id = 'e00028'")


def test_a_workflow_that_is_chosen_later_is_copied_with_its_history(bench: ToyBench, world: World) -> None:
    world.fill(10)
    source = OffsetCapped(world)
    count = "SELECT workflow_id, count(*) FROM history.executions GROUP BY 1 ORDER BY 1"
    bench.run(source, workflows=("w1",))
    world.now += HOUR
    assert bench.run(source).is_complete
    assert bench.rows(count) == [("w1", 10), ("w2", 10)]
    complete = "SELECT complete_from FROM syncer.watermarks WHERE stream = 'executions'"
    assert bench.value(complete) < NOW - timedelta(days=20)
    # And what came while it was left out once more.
    world.add("w2", world.now)
    world.now += HOUR
    bench.run(source, workflows=("w1",))
    world.now += HOUR
    bench.run(source, workflows=("W?",))
    assert bench.rows(count) == [("w1", 10), ("w2", 11)]
    world.now += HOUR
    world.requests.clear()
    bench.run(source, workflows=("W?",))
    assert world.requests.count("executions") == 1, "history is read once"


def test_executions_of_workflows_that_are_not_chosen_are_not_copied(bench: ToyBench, world: World) -> None:
    world.fill(10)
    assert bench.run(OffsetCapped(world), workflows=("w1",)).is_complete
    assert bench.rows("SELECT DISTINCT workflow_id FROM history.executions") == [("w1",)]
    assert bench.value("SELECT count(*) FROM history.executions") == 10
    world.now = NOW + HOUR
    assert bench.run(OffsetCapped(world), sync, workflows=("w1",)).is_complete
    assert bench.value("SELECT count(*) FROM history.executions") == 10
