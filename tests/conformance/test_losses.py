"""Ways in which a copy could be lost, stale or wrongly called gone, each told as a user would meet it."""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec import UNSET, structs

from syncer.errors import Forbidden, LeaseLost, NotFound, RateLimited, TransientError
from syncer.model import Execution, ExecutionRef, Look, Page, Reject, StepAnswer, Workflow
from syncer.sync import Report, Session, backfill, sync
from syncer.sync.steps import Span, sync_steps
from tests.conformance.conftest import ToyBench
from tests.conformance.toys import NOW, Ascending, Run, Toy, Twist, World

STATES = "SELECT execution_id, missing_reason FROM history.executions WHERE missing_since IS NOT NULL"


def die_at(number: int) -> Callable[[int], None]:
    def die(request: int) -> None:
        if request >= number:
            raise MemoryError("as if killed")

    return die


def test_history_goes_on_after_a_wait_where_it_stood(bench: ToyBench, world: World) -> None:
    world.fill(150)

    def limit(number: int) -> None:
        assert number < 2000, "the same pages are read after every wait"
        if number % 9 == 0:
            raise RateLimited("slow down", bench.time.now + timedelta(minutes=1))

    world.twist = Twist(before_request=limit)
    assert bench.run(Ascending(world), steps=False).is_complete
    assert bench.value("SELECT count(*) FROM history.executions") == len(world.runs)


class SparseDetails(Ascending):
    """Its details lack a field that its list carries."""

    async def read_execution(self, ref: ExecutionRef) -> Look:
        look = await super().read_execution(ref)
        return Look(execution=structs.replace(look.execution, updated_at=UNSET, extra=UNSET))


def test_an_execution_becomes_final_though_details_carry_less_than_the_list(
    bench: ToyBench, world: World
) -> None:
    world.add("w1", NOW - timedelta(minutes=20), lasts=timedelta(minutes=19, seconds=30))
    bench.run(SparseDetails(world))
    assert bench.value("SELECT settled_at FROM history.executions") is None
    world.now += timedelta(minutes=10)
    assert bench.run(SparseDetails(world)).is_complete
    assert bench.value("SELECT settled_at FROM history.executions") is not None


class Unstorable(Ascending):
    """One of its executions cannot be stored as long as `refuses` names it."""

    refuses = ""

    def _execution(self, run: Run) -> Execution:
        execution = super()._execution(run)
        if run.execution_id != self.refuses:
            return execution
        noise = "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=9000))
        return structs.replace(execution, workflow_id=noise)


def test_a_row_that_postgresql_refuses_is_listed_until_a_good_copy_lands(
    bench: ToyBench, world: World
) -> None:
    for minutes in range(5, 12):
        world.add("w1", NOW - timedelta(minutes=minutes))
    source = Unstorable(world)
    source.refuses = "e00003"
    bench.run(source)
    assert bench.value("SELECT count(*) FROM history.executions") == len(world.runs) - 1
    assert bench.rows("SELECT identity, resolved_at FROM syncer.quarantine") == [("e00003", None)]
    source.refuses = ""
    bench.run(source)
    assert bench.value("SELECT count(*) FROM history.executions") == len(world.runs)
    assert bench.value("SELECT count(*) FROM syncer.quarantine WHERE resolved_at IS NULL") == 0


class TwiceListed(Ascending):
    """A page of its workflows names one twice."""

    async def list_workflows(self, page: int) -> Page[Workflow]:
        listed = await super().list_workflows(page)
        return structs.replace(listed, rows=(*listed.rows, *listed.rows[:1]))


def test_a_workflow_named_twice_on_one_page_costs_nothing(bench: ToyBench, world: World) -> None:
    world.fill(3)
    bench.run(TwiceListed(world))
    assert bench.value("SELECT count(*) FROM history.workflows") == 2
    assert bench.value("SELECT count(*) FROM history.executions") == len(world.runs)


def test_executions_of_a_workflow_that_comes_back_are_followed_to_their_end(
    bench: ToyBench, world: World, source: Toy
) -> None:
    run = world.add("w2", NOW - timedelta(hours=3), lasts=None)
    bench.run(source)
    world.workflow_ids.remove("w2")
    bench.run(source)
    # A list by last change shows what outlived its workflow: that is not missing.
    gone = [] if source.shows_changes else [(run.execution_id, "workflow_deleted")]
    assert bench.rows(STATES) == gone
    world.workflow_ids.append("w2")
    world.end(run)
    world.now += timedelta(minutes=10)
    assert bench.run(source).is_complete
    assert bench.rows(STATES) == []
    assert bench.value("SELECT count(*) FROM history.executions WHERE settled_at IS NOT NULL") == 1


def test_an_execution_whose_record_breaks_later_is_not_gone(
    bench: ToyBench, world: World, source: Toy
) -> None:
    for minutes in range(5, 9):
        world.add("w1", NOW - timedelta(minutes=minutes))
    bench.run(source)
    world.runs["e00002"].is_broken = True
    bench.run(source)
    assert bench.rows(STATES) == []


class BrokenWorkflow(Ascending):
    """The record of its second workflow cannot be used, though its id can be read."""

    async def list_workflows(self, page: int) -> Page[Workflow]:
        listed = await super().list_workflows(page)
        bad = tuple(Reject(raw=b"{", reason="broken", identity="w2") for row in listed.rows[1:])
        return structs.replace(listed, rows=listed.rows[:1], rejects=bad)


def test_a_workflow_whose_record_breaks_is_not_deleted(bench: ToyBench, world: World) -> None:
    bench.run(Ascending(world))
    bench.run(BrokenWorkflow(world))
    assert bench.value("SELECT count(*) FROM history.workflows WHERE missing_since IS NOT NULL") == 0


def test_what_leaves_the_horizon_while_its_window_is_read_is_not_gone(
    bench: ToyBench, world: World, source: Toy
) -> None:
    for hours in range(6):
        world.add("w1", NOW - timedelta(days=29, hours=23, minutes=50) + timedelta(hours=hours))
    bench.run(source)
    totals = iter([1])

    def hours_go_by(world: World) -> None:
        for _ in totals:
            world.now += timedelta(hours=2)
            for key in [
                key for key, run in world.runs.items() if run.created_at < world.now - timedelta(days=30)
            ]:
                del world.runs[key]

    world.twist = Twist(after_page=hours_go_by)
    since = NOW - timedelta(days=29, hours=23, minutes=55)
    bench.run(source, lambda session: backfill(session, since, NOW))
    assert len(world.runs) < 6
    assert bench.rows(STATES) == []


def test_an_execution_whose_steps_cannot_be_had_ages_out_too(bench: ToyBench, world: World) -> None:
    world.add("w1", NOW - timedelta(days=29))
    source = Ascending(world)
    original = source.read_steps

    async def failing(ref: ExecutionRef) -> StepAnswer:
        raise TransientError("no steps today")

    source.read_steps = failing  # type: ignore[method-assign]
    bench.run(source)
    source.read_steps = original  # type: ignore[method-assign]
    world.now += timedelta(days=2)
    bench.run(source)
    assert bench.rows(STATES) == [("e00000", "aged_out")]


def test_one_execution_that_cannot_be_read_does_not_keep_the_others_stale(
    bench: ToyBench, world: World
) -> None:
    running = [world.add("w1", NOW - timedelta(days=day), lasts=None) for day in (18, 10, 2)]
    world.fill(60)
    source = Ascending(world)
    bench.run(source)
    for run in running:
        world.end(run)
    world.now += timedelta(minutes=10)
    original = source.read_execution

    async def failing(ref: ExecutionRef) -> Look:
        if ref.execution_id == running[0].execution_id:
            raise TransientError("this one coughs")
        return await original(ref)

    source.read_execution = failing  # type: ignore[method-assign]
    report = bench.run(source)
    assert [failure.message for failure in report.failures] == ["this one coughs"]
    assert bench.value("SELECT count(*) FROM history.executions WHERE outcome = 'running'") == 1


def test_one_workflow_whose_definition_cannot_be_read_does_not_keep_the_others_from_landing(
    bench: ToyBench, world: World
) -> None:
    world.fill(3)
    source = Ascending(world)
    original = source.read_workflow

    async def failing(workflow_id: str) -> Workflow:
        if workflow_id == "w1":
            raise TransientError("this one coughs")
        return await original(workflow_id)

    source.read_workflow = failing  # type: ignore[method-assign]
    report = bench.run(source)
    assert not report.is_complete
    assert bench.value("SELECT count(*) FROM history.executions") == len(world.runs)
    source.read_workflow = original  # type: ignore[method-assign]
    assert bench.run(source).is_complete
    assert bench.value("SELECT count(*) FROM history.workflows WHERE definition IS NULL") == 0


def test_the_unbroken_span_does_not_reach_over_what_was_lost(bench: ToyBench, world: World) -> None:
    world.fill(150)
    since = NOW - timedelta(days=60)

    def again(session: Session):  # type: ignore[no-untyped-def]
        return backfill(session, since, NOW)

    bench.run(Ascending(world), steps=False)
    world.twist = Twist(before_request=die_at(len(world.requests) + 12))
    with pytest.raises(MemoryError):
        bench.run(Ascending(world), again, steps=False)
    world.twist = Twist()
    assert bench.run(Ascending(world), again, steps=False).is_complete
    assert bench.value("SELECT min(complete_from) FROM syncer.watermarks") >= NOW - timedelta(days=30)


def test_backfills_that_share_their_start_do_not_meet(bench: ToyBench, world: World) -> None:
    world.fill(60)
    bench.run(Ascending(world), steps=False)
    since = NOW - timedelta(days=20)

    def upto(days: int | None) -> Callable[[Session], object]:
        until = None if days is None else NOW - timedelta(days=days)
        return lambda session: backfill(session, since, until)

    for days in (10, 5):
        world.twist = Twist(before_request=die_at(len(world.requests) + 3))
        with pytest.raises(MemoryError):
            bench.run(Ascending(world), upto(days), steps=False)  # type: ignore[arg-type]
    world.twist = Twist()
    assert bench.run(Ascending(world), upto(None), steps=False).is_complete  # type: ignore[arg-type]


def test_a_source_whose_clock_was_ahead_for_a_while_costs_no_row(bench: ToyBench, world: World) -> None:
    world.add("w1", NOW - timedelta(hours=3))
    source = Ascending(world)
    bench.run(source)
    told = source.now
    source.now = lambda: NOW + timedelta(hours=5)  # type: ignore[method-assign]
    bench.run(source)
    source.now = told  # type: ignore[method-assign]
    world.now += timedelta(hours=4)
    world.add("w1", NOW + timedelta(hours=1))
    bench.time.slept += timedelta(hours=4)
    with bench.engine.begin() as db:  # four hours go by here, too
        db.exec_driver_sql("UPDATE syncer.watermarks SET asked_at = asked_at - interval '4 hours'")
    bench.run(source)
    assert bench.value("SELECT count(*) FROM history.executions") == len(world.runs)


def test_one_execution_that_we_may_not_read_keeps_nothing_else_from_being_read(
    bench: ToyBench, world: World
) -> None:
    world.fill(6)
    source = Ascending(world)
    original = source.read_steps
    hidden = next(iter(world.runs))

    async def refuse(ref: ExecutionRef) -> StepAnswer:
        if ref.execution_id == hidden:
            raise Forbidden("not this one", "mend the rights")
        return await original(ref)

    source.read_steps = refuse  # type: ignore[method-assign]
    report = bench.run(source)
    assert [failure.message for failure in report.failures] == ["not this one"]
    assert bench.rows("SELECT execution_id FROM history.executions WHERE steps_state <> 'read'") == [
        (hidden,)
    ]


def test_rights_that_are_missing_altogether_end_the_pass(bench: ToyBench, world: World) -> None:
    world.fill(30)
    source = Ascending(world)

    async def refuse(ref: ExecutionRef) -> StepAnswer:
        raise Forbidden("not one", f"mend the rights to {ref.partition}")

    source.read_steps = refuse  # type: ignore[method-assign]
    report = bench.run(source)
    assert isinstance(report.error, Forbidden)
    assert world.requests.count("steps") == 0
    assert len(report.failures) <= 8


def test_what_was_deleted_beside_a_record_without_an_id_is_found_out_by_id(
    bench: ToyBench, world: World, source: Toy
) -> None:
    running = [world.add("w1", NOW - timedelta(minutes=30, seconds=place), lasts=None) for place in range(5)]
    bench.run(source)
    running[2].is_broken = True
    del world.runs[running[1].execution_id]
    world.now += timedelta(hours=2)
    bench.run(source)
    assert bench.rows(STATES) == [(running[1].execution_id, "gone")]


def test_steps_that_show_themselves_after_their_execution_are_read(bench: ToyBench, world: World) -> None:
    world.add("w1", NOW - timedelta(minutes=1), lasts=timedelta(seconds=50))
    source = Ascending(world)
    original = source.read_steps

    async def not_yet(ref: ExecutionRef) -> StepAnswer:
        raise NotFound(f"{ref.execution_id} has no steps yet")

    source.read_steps = not_yet  # type: ignore[method-assign]
    bench.run(source)
    source.read_steps = original  # type: ignore[method-assign]
    world.now += timedelta(minutes=5)
    bench.end_pauses()
    assert bench.run(source).is_complete
    assert bench.rows("SELECT steps_state, settled_at IS NULL FROM history.executions") == [("read", False)]


@pytest.mark.parametrize("ago", [timedelta(minutes=1), timedelta(minutes=30)], ids=["young", "old"])
def test_steps_that_are_not_all_there_yet_are_read_again_while_they_may_be_late(
    bench: ToyBench, world: World, ago: timedelta
) -> None:
    world.add("w1", NOW - ago, lasts=timedelta(seconds=20))
    source = Ascending(world)
    original = source.read_steps
    state = "SELECT steps_state, settled_at IS NULL, step_count FROM history.executions"

    async def begun(ref: ExecutionRef) -> StepAnswer:
        whole = await original(ref)
        return structs.replace(whole, events=whole.events[:1], is_whole=False)

    def read() -> list[Any]:
        world.requests.clear()
        bench.end_pauses()
        assert bench.run(source).is_complete
        return bench.rows(state)

    source.read_steps = begun  # type: ignore[method-assign]
    world.now += timedelta(minutes=5)
    is_young = ago < timedelta(minutes=10)
    assert read() == ([("due", True, 1)] if is_young else [("read", False, 1)])
    assert bench.run(source).is_complete
    assert world.requests.count("steps") == 1, "the next time is a while away"
    source.read_steps = original  # type: ignore[method-assign]
    assert read() == [("read", False, 1)]
    events = 2 if is_young else 1
    assert bench.value("SELECT count(*) FROM history.step_events") == events


def test_steps_that_stay_incomplete_are_taken_as_they_are_when_they_cannot_be_late(
    bench: ToyBench, world: World
) -> None:
    world.add("w1", NOW - timedelta(minutes=1), lasts=timedelta(seconds=20))
    source = Ascending(world)

    async def nothing(ref: ExecutionRef) -> StepAnswer:
        del ref
        await world.note("steps")
        return StepAnswer(events=(), is_whole=False)

    source.read_steps = nothing  # type: ignore[method-assign]
    states = []
    for _ in range(5):
        bench.run(source)
        states += bench.rows("SELECT steps_state, settled_at IS NULL FROM history.executions")
        world.now += timedelta(minutes=5)
        bench.end_pauses()
    assert states == [("due", True)] * 3 + [("read", False)] * 2
    assert world.requests.count("steps") == 4


def test_steps_of_an_execution_that_comes_back_are_read(bench: ToyBench, world: World) -> None:
    run = world.add("w1", NOW - timedelta(hours=2))
    source = Ascending(world)
    original = source.read_steps

    async def vanish(ref: ExecutionRef) -> StepAnswer:
        world.runs.pop(run.execution_id, None)
        return await original(ref)

    source.read_steps = vanish  # type: ignore[method-assign]
    bench.run(source)
    bench.run(source, lambda session: backfill(session, NOW - timedelta(days=1), NOW))
    assert bench.rows(STATES) == [(run.execution_id, "gone")]
    source.read_steps = original  # type: ignore[method-assign]
    world.runs[run.execution_id] = run
    bench.run(source, lambda session: backfill(session, NOW - timedelta(days=1), NOW))
    assert bench.rows("SELECT steps_state, missing_since, settled_at IS NULL FROM history.executions") == [
        ("read", None, False)
    ]


def test_steps_put_aside_are_resolved_when_they_land(bench: ToyBench, world: World) -> None:
    run = world.add("w1", NOW - timedelta(minutes=5), lasts=None)
    source = Ascending(world)
    original = source.read_steps

    async def with_reject(ref: ExecutionRef) -> StepAnswer:
        answer = await original(ref)
        bad = Reject(raw=b"{}", reason="it has no time", identity=f"{ref.execution_id}-2")
        return structs.replace(answer, rejects=(bad,))

    source.read_steps = with_reject  # type: ignore[method-assign]
    bench.run(source)
    assert bench.value("SELECT count(*) FROM syncer.quarantine WHERE resolved_at IS NULL") == 1
    source.read_steps = original  # type: ignore[method-assign]
    world.end(run)
    world.now += timedelta(minutes=5)
    bench.run(source)
    assert bench.value("SELECT count(*) FROM syncer.quarantine WHERE resolved_at IS NULL") == 0


def test_work_whose_lease_was_taken_lands_nothing_and_asks_no_more(bench: ToyBench, world: World) -> None:
    world.fill(200)
    source = Ascending(world)
    bench.leave_steps(source)
    world.requests.clear()

    steal = bench.elsewhere(
        "UPDATE syncer.leases SET version = version + 1, owner = 'other' WHERE owner IS NOT NULL"
    )
    world.twist = Twist(before_request=lambda _: steal if world.requests.count("steps") == 30 else None)

    async def steps_alone(session: Session) -> Report:
        async with session.running():
            with pytest.raises(LeaseLost):
                await sync_steps(session, Span())
        return session.report

    bench.run(source, steps_alone)
    assert world.requests.count("steps") < 150
    read = bench.value("SELECT count(*) FROM history.executions WHERE steps_state = 'read'")
    assert read < 30


def test_a_page_read_under_a_lease_that_was_taken_lands_nothing(bench: ToyBench, world: World) -> None:
    world.fill(60)
    steal = bench.elsewhere(
        "UPDATE syncer.leases SET version = version + 1, owner = 'other' WHERE stream = 'executions'"
    )
    world.twist = Twist(after_page=lambda _: steal)
    report: Report = bench.run(Ascending(world), sync)
    assert report.failures
    assert bench.value("SELECT count(*) FROM history.executions") == 0
    assert bench.value("SELECT count(watermark_at) FROM syncer.watermarks") == 0


def test_an_execution_whose_row_was_deleted_by_hand_comes_back_with_its_steps(
    bench: ToyBench, world: World
) -> None:
    world.fill(6)
    bench.run(Ascending(world))
    with bench.engine.begin() as db:
        db.exec_driver_sql("DELETE FROM history.executions WHERE execution_id = 'e00002'")
    again = bench.run(
        Ascending(world), lambda session: backfill(session, NOW - timedelta(days=30), NOW + timedelta(1))
    )
    assert again.is_complete
    assert bench.value("SELECT count(*) FROM history.executions WHERE steps_state = 'read'") == len(
        world.runs
    )
    assert bench.value("SELECT count(*) FROM history.step_events") == 2 * len(world.runs)
