"""G11: what the source has deleted stays here and says why; what only seems deleted is not marked, and what reappears
is cleared. A row of `history` is never deleted.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import pytest
from msgspec import structs

from syncer.errors import TransientError
from syncer.model import Execution, Page, Reject, Window
from syncer.sync import Report, Session, backfill
from tests.conformance.conftest import ToyBench
from tests.conformance.toys import NOW, TOYS, Ascending, OffsetCapped, Run, Toy, Twist, World

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
MISSING = (
    "SELECT execution_id, missing_reason FROM history.executions WHERE missing_since IS NOT NULL ORDER BY 1"
)
ROWS = "SELECT (SELECT count(*) FROM history.executions) + (SELECT count(*) FROM history.step_events)"


@pytest.fixture
def source(world: World) -> Toy:
    return Ascending(world)


@pytest.fixture(autouse=True)
def nothing_is_deleted(bench: ToyBench, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Watch over every pass: rows never become fewer."""
    rows, run = [0], ToyBench.run

    def watched(bench: ToyBench, *arguments: object, **options: object) -> object:
        report = run(bench, *arguments, **options)  # type: ignore[arg-type]
        rows.append(bench.value(ROWS))
        return report

    monkeypatch.setattr(ToyBench, "run", watched)
    yield
    assert rows == sorted(rows)


def recent(world: World, count: int = 4, workflow: str = "w1") -> list[Run]:
    """Executions that ended and that the next pass lists again, the newest first."""
    return [world.add(workflow, world.now - (5 + number) * MINUTE) for number in range(count)]


def vanish(world: World, *runs: Run) -> None:
    for run in runs:
        del world.runs[run.execution_id]


def marked(bench: ToyBench) -> dict[str, str]:
    return {str(execution_id): str(reason) for execution_id, reason in bench.rows(MISSING)}


# Each reason, and its end


@pytest.mark.parametrize("toy", TOYS)
def test_a_404_inside_the_horizon_means_gone_until_it_is_listed_again(
    bench: ToyBench, world: World, toy: type[Toy]
) -> None:
    source = toy(world)
    running = world.add("w1", NOW - 3 * DAY, lasts=None)
    other = world.add("w1", NOW - 9 * DAY, lasts=None)
    bench.run(source)
    vanish(world, running)
    world.looked_at.clear()
    assert bench.run(source).missing == 1
    assert marked(bench) == {running.execution_id: "gone"}
    assert bench.run(source).missing == 0, "it is told once"
    world.runs[running.execution_id] = running
    bench.run(source, lambda session: backfill(session, NOW - 4 * DAY, NOW))
    assert marked(bench) == {}
    world.end(running)
    world.end(other)
    world.now += timedelta(hours=1)
    bench.run(source)
    assert bench.value("SELECT count(*) FROM history.executions WHERE settled_at IS NOT NULL") == 2


@pytest.mark.parametrize("toy", TOYS)
@pytest.mark.parametrize("lasts", [MINUTE, None], ids=["settled", "running"])
def test_what_a_proved_window_lists_no_more_is_gone_until_it_does(
    bench: ToyBench, world: World, toy: type[Toy], lasts: timedelta | None
) -> None:
    source = toy(world)
    kept, lost = (world.add("w1", NOW - minutes * MINUTE, lasts=lasts) for minutes in (5, 6))
    bench.run(source)
    vanish(world, lost)
    assert bench.run(source).missing == 1
    assert marked(bench) == {lost.execution_id: "gone"}
    world.runs[lost.execution_id] = lost
    bench.run(source)
    assert marked(bench) == {}
    assert kept.execution_id not in marked(bench)


def test_a_backfill_finds_what_is_gone_however_long_it_has_been_settled(
    bench: ToyBench, world: World, source: Toy
) -> None:
    world.fill(4)
    bench.run(source)
    lost = [run for run in world.runs.values() if run.created_at < NOW - 5 * DAY and run.workflow_id == "w1"]
    vanish(world, *lost)
    bench.run(source)
    assert marked(bench) == {}, "nobody has looked"
    bench.run(source, lambda session: backfill(session, NOW - 29 * DAY, NOW))
    assert marked(bench) == dict.fromkeys((run.execution_id for run in lost), "gone")
    assert bench.value("SELECT count(*) FROM history.executions WHERE settled_at IS NULL") == 0


def test_a_deleted_workflow_is_marked_and_of_its_executions_those_that_were_not_settled(
    bench: ToyBench, world: World, source: Toy
) -> None:
    settled = [world.add(each, NOW - 2 * DAY) for each in ("w1", "w2")]
    running = [world.add(each, NOW - 2 * DAY, lasts=None) for each in ("w1", "w2")]
    bench.run(source)
    world.workflow_ids.remove("w2")
    bench.run(source)
    assert marked(bench) == {running[1].execution_id: "workflow_deleted"}
    gone = "SELECT workflow_id, missing_reason FROM history.workflows WHERE missing_since IS NOT NULL"
    assert bench.rows(gone) == [("w2", "workflow_deleted")]
    world.workflow_ids.append("w2")
    bench.run(source)
    assert (marked(bench), bench.rows(gone)) == ({}, [])
    assert settled[1].execution_id not in marked(bench)


def test_what_still_runs_when_its_workflow_is_read_for_the_last_time_went_with_it(
    bench: ToyBench, world: World
) -> None:
    world.add("w2", NOW - 2 * DAY)
    bench.run(Ascending(world))
    ended = world.add("w2", world.now + timedelta(minutes=1))
    running = world.add("w2", world.now + timedelta(minutes=1), lasts=None)
    world.workflow_ids.remove("w2")
    world.now += timedelta(hours=1)
    bench.run(Ascending(world))
    assert bench.value(f"SELECT outcome FROM history.executions WHERE execution_id = '{ended.execution_id}'")
    assert marked(bench) == {running.execution_id: "workflow_deleted"}
    world.requests.clear()
    bench.run(Ascending(world))
    assert world.requests.count("executions") == 1, "that of the workflow that is left"


def test_what_shows_itself_after_its_workflow_was_deleted_is_copied(
    bench: ToyBench, world: World, source: Toy
) -> None:
    bench.run(source)
    late = world.add("w2", NOW)
    world.now += MINUTE
    late.visible_at = NOW + 10 * MINUTE
    world.workflow_ids.remove("w2")
    bench.run(source)
    for minutes, asked in ((9, 1), (6, 2), (9, 1)):
        world.now += minutes * MINUTE
        with bench.engine.begin() as db:  # by whose clock deletions are found and partitions are read
            for table, column in (
                ("history.workflows", "missing_since"),
                ("syncer.watermarks", "last_success_at"),
            ):
                db.exec_driver_sql(f"UPDATE {table} SET {column} = {column} - interval '{minutes} minutes'")
        world.requests.clear()
        assert bench.run(source).is_complete
        assert world.requests.count("executions") == asked
    assert bench.value("SELECT settled_at IS NOT NULL FROM history.executions")


def test_only_what_was_not_settled_ages_out(bench: ToyBench, world: World, source: Toy) -> None:
    world.add("w1", NOW - 29 * DAY)
    world.add("w2", NOW - 29 * DAY)
    running = world.add("w1", NOW - 29 * DAY, lasts=None)
    inside = world.add("w1", NOW - 20 * DAY, lasts=None)
    bench.run(source)
    world.now += 2 * DAY
    vanish(world, running)
    bench.run(source)
    assert marked(bench) == {running.execution_id: "aged_out"}
    world.end(inside)
    world.now += 40 * DAY
    vanish(world, inside)
    bench.run(source)
    assert marked(bench) == {running.execution_id: "aged_out", inside.execution_id: "aged_out"}
    assert bench.value("SELECT count(*) FROM history.executions WHERE settled_at IS NOT NULL") == 2


def test_what_aged_out_is_cleared_when_the_source_serves_more_than_was_thought(
    bench: ToyBench, world: World, source: Toy
) -> None:
    running = world.add("w1", NOW - 29 * DAY, lasts=None)
    bench.run(source)
    world.now += 2 * DAY
    vanish(world, running)
    bench.run(source)
    assert marked(bench) == {running.execution_id: "aged_out"}
    world.runs[running.execution_id] = running
    world.end(running)
    since = NOW - 40 * DAY
    bench.run(source, lambda session: backfill(session, since, None), horizon=60 * DAY)
    assert marked(bench) == {}
    assert bench.value("SELECT outcome FROM history.executions") == "succeeded"


# What must not be marked


def test_a_disputed_window_marks_nothing(bench: ToyBench, world: World) -> None:
    runs, source = recent(world), OffsetCapped(world)
    bench.run(source)
    vanish(world, runs[1])
    world.twist = Twist(total=lambda total: total + 1)
    assert bench.run(source).disputed > 0
    assert marked(bench) == {}
    world.twist = Twist()
    bench.run(source)
    assert marked(bench) == {runs[1].execution_id: "gone"}


def test_a_window_that_is_never_the_same_twice_marks_nothing(bench: ToyBench, world: World) -> None:
    runs, source = recent(world, 8), OffsetCapped(world)
    bench.run(source)
    away: list[Run] = []

    def flicker(world: World) -> None:
        world.runs.update({run.execution_id: run for run in away})
        away[:] = [runs[len(world.requests) % len(runs)]]
        vanish(world, *away)

    world.twist = Twist(after_page=flicker, total=lambda total: total + 5)
    report = bench.run(source)
    assert any("differs from pass to pass" in failure.message for failure in report.failures)
    assert marked(bench) == {}


@pytest.mark.parametrize("number", [1, 3, 4])
def test_a_reading_that_is_cut_short_marks_nothing(
    bench: ToyBench, world: World, source: Toy, number: int
) -> None:
    runs = recent(world, 8)
    small = Ascending(world, page_size=3)
    bench.run(small)
    vanish(world, runs[0], runs[7])
    world.requests.clear()
    lists = [0]

    def cut(_count: int) -> None:
        lists[0] += world.requests[-1] == "executions"
        if lists[0] >= number:
            raise TransientError("cut short")

    world.twist = Twist(before_request=cut)
    assert not bench.run(small).is_complete
    read = {runs[7].execution_id} if marked(bench) else set()
    assert set(marked(bench)) <= read, "what lies behind the cut was not read"
    world.twist = Twist()
    bench.run(small)
    assert set(marked(bench)) == {runs[0].execution_id, runs[7].execution_id}


class Named(Ascending):
    """Tells the id of a record that cannot be used."""

    async def list_executions(
        self, partition: str, window: Window, page: int, *, counted: bool = False
    ) -> Page[Execution]:
        answer = await super().list_executions(partition, window, page, counted=counted)
        rejects = tuple(_named(reject) for reject in answer.rejects)
        return structs.replace(answer, rejects=rejects)


def _named(reject: Reject) -> Reject:
    return structs.replace(reject, identity=reject.raw.decode().split('"')[3])


def test_a_row_in_quarantine_is_not_gone_though_its_neighbour_is(bench: ToyBench, world: World) -> None:
    runs = recent(world)
    source = Named(world)
    bench.run(source)
    runs[1].is_broken = True
    vanish(world, runs[2])
    assert bench.run(source).quarantined > 0
    assert marked(bench) == {runs[2].execution_id: "gone"}


def test_where_a_record_has_no_name_nobody_can_say_which_is_gone(bench: ToyBench, world: World) -> None:
    runs = recent(world)
    source = Ascending(world)
    bench.run(source)
    runs[1].is_broken = True
    vanish(world, runs[2])
    bench.run(source)
    assert marked(bench) == {}


def test_a_partition_says_nothing_of_another(bench: ToyBench, world: World, source: Toy) -> None:
    recent(world, workflow="w1")
    others = recent(world, workflow="w2")
    bench.run(source)
    vanish(world, *others)
    bench.run(source, partial(_only, "w1"))
    assert marked(bench) == {}
    bench.run(source, partial(_only, "w2"))
    assert set(marked(bench)) == {run.execution_id for run in others}


async def _only(workflow: str, session: Session) -> Report:
    return await backfill(session, NOW - DAY, NOW, [workflow])


def test_a_window_says_nothing_of_what_lies_outside(bench: ToyBench, world: World, source: Toy) -> None:
    world.fill(6)
    bench.run(source)
    lost = sorted(world.runs.values(), key=lambda run: run.created_at)
    vanish(world, *lost)
    bounds = lost[4].created_at, lost[7].created_at
    bench.run(source, lambda session: backfill(session, *bounds))
    assert set(marked(bench)) == {
        run.execution_id for run in lost if bounds[0] <= run.created_at <= bounds[1]
    }


def test_what_comes_while_a_window_is_read_is_not_gone(bench: ToyBench, world: World) -> None:
    recent(world, 6)
    source = Ascending(world, page_size=2)
    born: list[Run] = []

    def bear(world: World) -> None:
        if len(born) < 4:
            born.append(world.add("w1", NOW - 7 * MINUTE - len(born) * timedelta(seconds=1)))

    world.twist = Twist(after_page=bear)
    bench.run(source)
    bench.run(source)
    assert marked(bench) == {}
