"""What polling promises whatever the source: few requests where little happens, and nothing overlooked for that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from syncer.errors import NotFound, SyncerError, TransientError
from syncer.model import Execution, Page, Window, Workflow
from syncer.state.audit import Finding, note_window
from syncer.sync import Report, Session, history, poll, recent_steps
from tests.conformance.conftest import ToyBench
from tests.conformance.test_sync import landed
from tests.conformance.toys import NOW, Ascending, Elsewhere, Toy, Twist, World
from tests.passes import Work

EVERY = timedelta(minutes=5)
ALWAYS = timedelta(microseconds=1)
"""An interval so short that no partition counts as just read."""


def polls(*between: Callable[[], object], every: timedelta = ALWAYS) -> Work:
    """A process that polls, and between two polls something happens."""

    async def work(session: Session) -> Report:
        await poll(session, every)
        for act in between:
            act()
            await poll(session, every)
        return session.report

    return work


@pytest.fixture
def hinting(world: World) -> Ascending:
    world.shows_hints = True
    return Ascending(world)


def test_a_poll_with_steps_and_history_copies_what_a_full_pass_copies(
    bench: ToyBench, world: World, source: Toy
) -> None:
    world.fill(40)
    for lane in (polls(), history, recent_steps):
        assert bench.run(source, lane).is_complete
    assert landed(bench) == set(world.runs)
    assert bench.value("SELECT count(*) FROM history.executions WHERE settled_at IS NULL") == 0
    assert bench.value("SELECT count(*) FROM history.step_events") == 2 * len(world.runs)


def test_what_ended_just_after_the_clock_was_told_is_found_by_the_next_poll(
    bench: ToyBench, world: World, hinting: Ascending
) -> None:
    def happens() -> None:
        """The hint moves in the same second in which the window ends."""
        world.now += timedelta(minutes=5, milliseconds=700)
        world.add("w1", world.now - timedelta(milliseconds=200), lasts=timedelta(milliseconds=100))

    def later() -> None:
        world.now += timedelta(minutes=5)

    world.fill(3)
    bench.run(hinting, polls(happens, later))
    recent = {key for key, run in world.runs.items() if run.created_at > NOW}
    assert recent <= landed(bench)


def test_a_workflow_whose_hint_stands_is_not_asked_until_the_sweep(
    bench: ToyBench, world: World, hinting: Ascending
) -> None:
    def later() -> None:
        world.now += timedelta(minutes=5)
        asked.append(world.requests.count("executions"))

    asked: list[int] = []
    world.fill(3)
    bench.run(hinting, polls(later, later, later))
    assert asked[1] == asked[2], "two polls after the last change there is nothing to ask"
    world.requests.clear()
    leases = "SELECT sum(version) FROM syncer.leases WHERE stream = 'executions' AND lane = 'live'"
    taken = bench.value(leases)
    bench.run(hinting, polls())
    assert "executions" not in world.requests, "what was kept serves the next process, too"
    assert bench.value(leases) == taken, "with ten thousand workflows, leases are what a quiet poll costs"
    with bench.engine.begin() as db:
        db.exec_driver_sql("UPDATE syncer.watermarks SET swept_at = swept_at - interval '2 hours'")
    bench.run(hinting, polls())
    assert world.requests.count("executions") >= len(world.workflow_ids)


def test_a_running_execution_that_no_hint_shows_is_found_by_the_sweep(
    bench: ToyBench, world: World, hinting: Ascending
) -> None:
    def later() -> None:
        world.now += timedelta(minutes=5)

    def begins() -> None:
        later()
        world.add("w1", world.now - timedelta(seconds=30), lasts=None)

    world.fill(1)
    bench.run(hinting, polls(later, begins, later))
    assert landed(bench) != set(world.runs)
    with bench.engine.begin() as db:
        db.exec_driver_sql("UPDATE syncer.watermarks SET swept_at = swept_at - interval '2 hours'")
    bench.run(hinting, polls())
    assert landed(bench) == set(world.runs)


def test_without_a_list_of_workflows_the_known_ones_are_read_hint_or_not(
    bench: ToyBench, world: World, hinting: Ascending
) -> None:
    def fails(_number: int) -> None:
        if world.requests[-1] == "workflows":
            raise TransientError("away")

    def breaks() -> None:
        world.now += timedelta(minutes=5)
        world.add("w2", world.now - timedelta(minutes=1))
        world.twist = Twist(before_request=fails)

    def later() -> None:
        world.now += timedelta(minutes=5)

    world.fill(3)
    bench.run(hinting, polls(later, later, breaks))
    assert [key for key, run in world.runs.items() if run.created_at > NOW] == ["e00006"]
    assert "e00006" in landed(bench)


def test_a_partition_that_another_process_has_just_read_is_left_alone(
    bench: ToyBench, world: World, source: Toy
) -> None:
    world.fill(3)
    bench.run(source, polls(every=EVERY))
    world.requests.clear()
    bench.run(source, polls(every=EVERY))
    assert "executions" not in world.requests
    with bench.engine.begin() as db:
        db.exec_driver_sql(
            "UPDATE syncer.watermarks SET last_success_at = last_success_at - interval '4 minutes'"
        )
    bench.run(source, polls(every=EVERY))
    assert "executions" in world.requests


def test_running_executions_are_looked_at_the_more_rarely_the_older_they_are(
    bench: ToyBench, world: World
) -> None:
    def later() -> None:
        world.now += timedelta(minutes=30)
        with bench.engine.begin() as db:
            db.exec_driver_sql("UPDATE syncer.watermarks SET last_success_at = NULL")

    source = Ascending(world)
    old = world.add("w1", NOW - timedelta(days=5), lasts=None)
    young = world.add("w2", NOW - timedelta(hours=3), lasts=None)
    for lane in (polls(), history):
        bench.run(source, lane)
    world.looked_at.clear()
    bench.run(source, polls(*[later] * 48, every=timedelta(minutes=30)))
    looks = Counter(world.looked_at)
    assert 4 <= looks[old.execution_id] <= 7, "every four to six hours, for a day"
    assert looks[young.execution_id] > 2 * looks[old.execution_id]


def test_an_old_execution_that_has_ended_is_settled_as_soon_as_it_can_be(
    bench: ToyBench, world: World
) -> None:
    source = Ascending(world)
    run = world.add("w1", NOW - timedelta(days=5), lasts=None)
    settle = timedelta(minutes=10)
    for lane in (polls(), history):
        bench.run(source, lane, settle=settle)
    world.now += timedelta(hours=7)
    world.end(run)
    world.now += timedelta(minutes=1)
    bench.run(source, polls(every=EVERY), settle=settle)
    assert bench.value("SELECT outcome FROM history.executions") == "succeeded"
    world.requests.clear()
    bench.run(source, polls(every=EVERY), settle=settle)
    assert "execution" not in world.requests, "before its end + settle another look would settle nothing"
    world.now += settle
    bench.run(source, polls(every=EVERY), settle=settle)
    bench.run(source, history, settle=settle)
    assert bench.value("SELECT settled_at FROM history.executions") is not None


def test_the_history_of_a_deleted_workflow_is_copied_where_it_is_still_served(
    bench: ToyBench, world: World
) -> None:
    source = Ascending(world)
    world.fill(20)
    bench.run(source, polls())
    assert landed(bench) != set(world.runs), "history comes later"
    world.workflow_ids.remove("w2")
    bench.run(source, polls())
    bench.run(source, history)
    of_deleted = {key for key, run in world.runs.items() if run.workflow_id == "w2"}
    assert of_deleted <= landed(bench)
    assert bench.rows("SELECT 1 FROM syncer.backfill_windows WHERE partition = 'w2' AND state = 'open'") == []


class Refusing(Ascending):
    """Has nothing but an error for a workflow that it no longer lists."""

    def __init__(self, world: World, error: SyncerError) -> None:
        super().__init__(world)
        self._error = error

    async def list_executions(
        self, partition: str, window: Window, page: int, *, counted: bool = False
    ) -> Page[Execution]:
        if partition not in self.world.workflow_ids:
            raise self._error
        return await super().list_executions(partition, window, page, counted=counted)


def test_the_history_that_went_with_its_workflow_is_listed_as_lost_once(
    bench: ToyBench, world: World
) -> None:
    source = Refusing(world, NotFound("no such workflow"))
    world.fill(20)
    bench.run(source, polls())
    world.workflow_ids.remove("w2")
    bench.run(source, polls())
    assert [each.split()[0] for each in bench.run(source, history).lost] == ["w2"]
    audit = "SELECT partition, verdict FROM syncer.window_audit WHERE resolved_at IS NULL"
    assert bench.rows(audit) == [("w2", "lost")]
    assert bench.rows("SELECT 1 FROM syncer.backfill_windows WHERE partition = 'w2' AND state = 'open'") == []
    assert bench.run(source, history).lost == []


def test_history_of_a_deleted_workflow_that_cannot_be_read_is_named_by_its_workflow(
    bench: ToyBench, world: World
) -> None:
    source = Refusing(world, TransientError("this one coughs"))
    world.fill(5)
    bench.run(source, polls())
    world.workflow_ids.remove("w2")
    bench.run(source, polls())
    with bench.engine.begin() as db:
        db.exec_driver_sql("UPDATE syncer.watermarks SET last_error = NULL")
    report = bench.run(source, history)
    assert {(each.stream, each.partition) for each in report.failures} == {("executions", "w2")}
    noted = "SELECT partition, last_error FROM syncer.watermarks WHERE last_error IS NOT NULL"
    assert bench.rows(noted) == [("w2", "this one coughs")]
    assert bench.rows("SELECT partition FROM syncer.backfill_windows WHERE state = 'open'") == [("w2",)]


def freed_when_it_waits(
    bench: ToyBench, work: Work, at: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> tuple[Work, list[object]]:
    """Work for which another process makes room at its first pause; with it what was the case at each pause."""
    found: list[object] = []

    async def waiting(session: Session) -> Report:
        doze = session.gate.doze

        async def watched(seconds: float, check: Callable[[], None]) -> None:
            found.append(at())
            bench.free()
            await doze(seconds, check)

        monkeypatch.setattr(session.gate, "doze", watched)
        return await work(session)

    return waiting, found


@pytest.mark.parametrize("stream", ["executions", "steps"])
def test_history_that_another_process_is_at_is_waited_for_and_what_is_new_is_not(
    bench: ToyBench, world: World, monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    world.workflow_ids = ["w1"]
    world.fill(5)
    source = Ascending(world)
    bench.run(source, polls())
    bench.hold(stream, "w1" if stream == "executions" else "", "history")
    for lane in (polls(), recent_steps):
        assert bench.run(source, lane).is_complete
    assert bench.time.slept == timedelta(0)
    known, world.requests = len(landed(bench)), []

    def done() -> tuple[bool, bool]:
        return len(landed(bench)) > known, "steps" in world.requests

    work, done_before = freed_when_it_waits(bench, history, done, monkeypatch)
    assert bench.run(source, work).is_complete
    assert done_before == [(stream == "steps", False)]
    assert landed(bench) == set(world.runs)
    assert bench.value("SELECT count(*) FROM history.executions WHERE steps_state <> 'read'") == 0


def test_history_is_copied_while_another_process_is_at_what_is_new(
    bench: ToyBench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fill(5)
    world.add("w1", NOW - timedelta(days=2), lasts=None)
    source = Ascending(world)
    bench.run(source, polls())
    for workflow_id in world.workflow_ids:
        bench.hold("executions", workflow_id, "live", "open")
    bench.hold("steps", "", "live")
    work, waits = freed_when_it_waits(bench, history, bench.time.clock().now, monkeypatch)
    assert bench.run(source, work).is_complete
    assert waits == []
    assert landed(bench) == set(world.runs)
    due = "SELECT created_at FROM history.executions WHERE steps_state <> 'read'"
    assert bench.rows(due) == [(NOW - timedelta(hours=1),)] * 2, (
        "steps of what is new are for the others to read"
    )


def test_all_that_history_reads_is_kept_from_other_processes_that_copy_history(
    bench: ToyBench, world: World
) -> None:
    world.fill(5)
    world.add("w1", NOW - timedelta(days=2), lasts=None)
    source = Ascending(world)
    bench.run(source, polls())
    world.workflow_ids.remove("w2")
    bench.run(source, polls())
    owed = Finding(Window(NOW - timedelta(days=3), NOW - timedelta(days=1)), "disputed", 5, 3)
    with bench.engine.begin() as db:
        note_window(db, "toy", "w1", owed, NOW)
    held: set[tuple[str, str]] = set()

    def look(_number: int) -> None:
        held.update(bench.rows("SELECT stream, lane FROM syncer.leases WHERE owner IS NOT NULL"))

    world.requests = []
    world.twist = Twist(before_request=look)
    assert bench.run(source, history).is_complete
    assert set(world.requests) == {"counted executions", "executions", "steps"}
    assert held == {("executions", "history"), ("steps", "history")}


LEDGER = "SELECT since, until, position, state FROM syncer.backfill_windows"
LOST = "SELECT partition, window_start, window_end FROM syncer.window_audit WHERE verdict = 'lost'"
WHOLE_FROM = "SELECT complete_from FROM syncer.watermarks WHERE stream = 'executions'"


def test_what_of_a_first_history_left_the_horizon_uncopied_is_lost_and_the_rest_is_copied(
    bench: ToyBench, world: World
) -> None:
    world.workflow_ids = ["w1"]
    for day in range(1, 29):
        world.add("w1", NOW - timedelta(days=day))
    source = Ascending(world, page_size=2)
    bench.run(source, polls())

    def cut(_number: int) -> None:
        if world.requests.count("executions") > 2:
            raise TransientError("cut short")

    world.requests, world.twist = [], Twist(before_request=cut)
    bench.run(source, history)
    copied = landed(bench)
    ((since, until, position, _state),) = bench.rows(LEDGER)
    assert since < position < NOW - timedelta(days=20)
    world.now += timedelta(days=10)
    horizon = world.now - timedelta(days=30) + timedelta(minutes=1)
    report = bench.run(source, history)
    assert set(report.lost) == {f"w1 {Window(position, horizon)}"}
    assert bench.rows(LOST) == [("w1", position, horizon)]
    assert bench.rows(WHOLE_FROM) == [(until,)], "nothing after it was copied yet"
    world.twist = Twist()
    assert bench.run(source, history).is_complete
    served = {key for key, run in world.runs.items() if run.created_at >= horizon}
    assert landed(bench) == copied | served
    assert bench.rows(LOST) == [("w1", position, horizon)]
    assert bench.rows(LEDGER) == [(since, until, until, "done")]
    assert bench.rows(WHOLE_FROM) == [(horizon,)]


def test_a_first_history_that_has_left_the_horizon_whole_is_lost_and_not_asked_for(
    bench: ToyBench, world: World
) -> None:
    world.workflow_ids = ["w1"]
    world.fill(5)
    source = Ascending(world)
    bench.run(source, polls(), steps=False)
    ((since, until, *_),) = bench.rows(LEDGER)
    world.now += timedelta(days=40)
    world.requests = []
    report = bench.run(source, history, steps=False)
    assert (report.lost, world.requests) == ([f"w1 {Window(since, until)}"], [])
    assert bench.rows(LOST) == [("w1", since, until)]
    assert bench.rows(LEDGER) == [(since, until, until, "done")]
    assert bench.rows(WHOLE_FROM) == [(until,)]
    assert bench.run(source, history, steps=False).lost == []


def test_a_wait_that_another_process_was_told_is_heeded_in_the_middle_of_work(
    bench: ToyBench, world: World, source: Toy
) -> None:
    slept: list[timedelta] = []

    told = bench.elsewhere(
        "INSERT INTO syncer.rate_limits (connection_id, not_before, reason, updated_at)"
        " VALUES ('toy', clock_timestamp() + interval '1 hour', 'too often', now())"
    )

    def told_elsewhere(number: int) -> Elsewhere | None:
        slept.append(bench.time.slept)
        return told if number == 1 else None

    world.fill(3)
    world.twist = Twist(before_request=told_elsewhere)
    assert bench.run(source, polls()).is_complete
    lists = [at for at, request in zip(slept, world.requests, strict=True) if request == "executions"]
    assert lists
    assert min(lists) > timedelta(minutes=59)


@pytest.mark.parametrize("away_as", ["refused", "empty"])
def test_a_workflow_that_vanishes_for_a_poll_and_comes_back_is_copied_whole(
    bench: ToyBench, world: World, away_as: str
) -> None:
    class Hiding(Ascending):
        async def list_executions(
            self, partition: str, window: Window, page: int, *, counted: bool = False
        ) -> Page[Execution]:
            if partition not in world.workflow_ids and away_as == "refused":
                raise NotFound("no such workflow")
            if partition not in world.workflow_ids:
                return Page(rows=(), total=0)
            return await super().list_executions(partition, window, page, counted=counted)

    source = Hiding(world)
    world.fill(20)
    bench.run(source, polls())
    world.workflow_ids.remove("w2")
    bench.run(source, polls())
    bench.run(source, history)
    world.add("w2", world.now + timedelta(minutes=1))
    world.now += timedelta(minutes=5)
    world.workflow_ids.append("w2")
    for lane in (polls(), history, recent_steps):
        assert bench.run(source, lane).is_complete
    assert landed(bench) == set(world.runs)
    lost = "SELECT count(*) FROM syncer.window_audit WHERE verdict = 'lost' AND resolved_at IS NULL"
    assert bench.value(lost) == 0


def test_an_end_at_the_end_of_the_calendar_stops_nothing(bench: ToyBench, world: World) -> None:
    source = Ascending(world)
    run = world.add("w1", NOW - timedelta(hours=2), lasts=None)
    run.ended_at = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    for lane in (polls(), history):
        bench.run(source, lane)
    world.now += timedelta(hours=1)
    assert bench.run(source, polls(every=timedelta(minutes=1))).error is None


def test_history_that_could_not_be_listed_is_tried_again_before_all_steps_are_read(
    bench: ToyBench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncer.sync.steps.ROUND", 5)
    failed: list[int] = []

    class Failing(Ascending):
        async def list_executions(
            self, partition: str, window: Window, page: int, *, counted: bool = False
        ) -> Page[Execution]:
            if partition == "w2" and window.start < NOW - timedelta(days=1) and not failed:
                failed.append(world.requests.count("steps"))
                raise TransientError("once")
            return await super().list_executions(partition, window, page, counted=counted)

    source = Failing(world)
    world.fill(30)
    bench.run(source, polls())
    bench.run(source, history)
    assert failed == [0]
    assert landed(bench) == set(world.runs)


def test_a_warehouse_whose_clock_was_set_back_is_not_taken_for_fresh(
    bench: ToyBench, world: World, hinting: Ascending
) -> None:
    def later() -> None:
        world.now += timedelta(minutes=5)

    world.fill(3)
    bench.run(hinting, polls(later, later))
    with bench.engine.begin() as db:
        db.exec_driver_sql(
            "UPDATE syncer.watermarks SET last_success_at = last_success_at + interval '1 day',"
            " swept_at = swept_at + interval '1 day'"
        )
    world.requests.clear()
    bench.run(hinting, polls(every=EVERY))
    assert "executions" in world.requests


def test_definitions_that_cannot_be_read_keep_no_execution_from_being_copied(
    bench: ToyBench, world: World
) -> None:
    class Broken(Ascending):
        async def read_workflow(self, workflow_id: str) -> Workflow:
            raise TransientError("always")

    world.workflow_ids = [f"w{number}" for number in range(8)]
    for workflow_id in world.workflow_ids:
        world.add(workflow_id, NOW - timedelta(minutes=10))
    bench.run(Broken(world), polls())
    assert landed(bench) == set(world.runs)


def test_lists_that_always_fail_do_not_keep_the_others_from_being_read_for_ever(
    bench: ToyBench, world: World
) -> None:
    class Broken(Ascending):
        async def list_executions(
            self, partition: str, window: Window, page: int, *, counted: bool = False
        ) -> Page[Execution]:
            if partition in world.workflow_ids[:8]:
                raise TransientError("always")
            return await super().list_executions(partition, window, page, counted=counted)

    world.workflow_ids = [f"w{number}" for number in range(12)]
    good = {world.add(each, NOW - timedelta(minutes=10)).execution_id for each in world.workflow_ids[8:]}
    for _ in range(30):
        bench.run(Broken(world), polls())
        if good <= landed(bench):
            return
    raise AssertionError(f"of {good} only {landed(bench)} were read")
