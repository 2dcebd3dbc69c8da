"""What a pass promises whatever the source's way of paging: complete, final, idempotent, in bounded requests."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from syncer.errors import RateLimited, TransientError
from syncer.sync import backfill
from tests.conformance.conftest import ToyBench
from tests.conformance.toys import NOW, TICK, Ascending, NewestFirst, Toy, Twist, World


def landed(bench: ToyBench) -> set[str]:
    return {row[0] for row in bench.rows("SELECT execution_id FROM history.executions")}


def test_everything_the_source_serves_is_copied_with_its_steps_and_final(
    bench: ToyBench, world: World, source: Toy
) -> None:
    world.fill(57)
    report = bench.run(source)
    assert report.is_complete, report
    assert landed(bench) == set(world.runs)
    assert bench.value("SELECT count(*) FROM history.executions WHERE settled_at IS NULL") == 0
    assert bench.value("SELECT count(*) FROM history.step_events") == 2 * len(world.runs)
    assert bench.value("SELECT count(*) FROM history.steps WHERE outcome = 'succeeded'") == len(world.runs)
    assert bench.value("SELECT count(*) FROM history.step_io WHERE output = '[1]'") == len(world.runs)


def test_reading_again_what_has_not_changed_touches_no_row_and_reads_no_steps(
    bench: ToyBench, world: World, source: Toy
) -> None:
    world.fill(25)
    world.add("w1", NOW - timedelta(minutes=5), lasts=None)
    bench.run(source)
    before = bench.fingerprints()
    world.requests.clear()
    assert bench.run(source).is_complete
    assert bench.fingerprints() == before
    assert "steps" not in world.requests


def test_an_instant_with_more_rows_than_a_page_lands_whole(
    bench: ToyBench, world: World, source: Toy
) -> None:
    for _ in range(35):
        world.add("w1", NOW - timedelta(days=2))
    world.fill(12)
    assert bench.run(source).is_complete
    assert landed(bench) == set(world.runs)


def test_running_executions_become_final_after_they_end(bench: ToyBench, world: World, source: Toy) -> None:
    world.fill(30)
    running = [world.add("w1", NOW - timedelta(hours=hour), lasts=None) for hour in range(1, 40)]
    bench.run(source)
    assert bench.value("SELECT count(*) FROM history.executions WHERE outcome = 'running'") == len(running)
    for run in running:
        world.end(run)
    world.now += timedelta(minutes=10)
    assert bench.run(source).is_complete
    assert bench.value("SELECT count(*) FROM history.executions WHERE settled_at IS NULL") == 0
    assert bench.value("SELECT count(*) FROM history.steps WHERE ended_at IS NULL") == 0


def test_an_execution_is_not_final_before_settle_has_passed(
    bench: ToyBench, world: World, source: Toy
) -> None:
    run = world.add("w1", NOW - timedelta(minutes=1), lasts=timedelta(seconds=50))
    bench.run(source)
    assert bench.value("SELECT settled_at FROM history.executions") is None
    assert bench.value("SELECT steps_state FROM history.executions") == "read"
    world.now += timedelta(minutes=5)
    run.updated_at = world.now
    bench.run(source)
    assert bench.value("SELECT settled_at FROM history.executions") is not None


def test_a_row_that_becomes_visible_late_is_found_within_the_lookback(
    bench: ToyBench, world: World, source: Toy
) -> None:
    world.fill(5)
    late = world.add("w1", NOW - timedelta(minutes=3))
    late.visible_at = NOW + timedelta(minutes=5)
    bench.run(source)
    assert late.execution_id not in landed(bench)
    world.now += timedelta(minutes=8)
    bench.run(source)
    assert late.execution_id in landed(bench)


def test_rows_deleted_while_pages_are_read_cost_nothing_else(
    bench: ToyBench, world: World, source: Toy
) -> None:
    world.fill(60)

    def delete_some(world: World) -> None:
        read = sorted(world.runs.values(), key=lambda run: run.created_at)[:3]
        for run in read if len(world.runs) > 40 else ():
            del world.runs[run.execution_id]

    world.twist = Twist(after_page=delete_some)
    bench.run(source)
    bench.run(source)
    assert set(world.runs) <= landed(bench)


def test_what_a_proved_reading_no_longer_lists_is_gone(bench: ToyBench, world: World, source: Toy) -> None:
    run = world.add("w1", NOW - timedelta(minutes=5))
    world.add("w1", NOW - timedelta(minutes=6))
    bench.run(source)
    del world.runs[run.execution_id]
    bench.run(source)
    assert bench.rows("SELECT execution_id FROM history.executions WHERE missing_reason = 'gone'") == [
        (run.execution_id,)
    ]
    world.runs[run.execution_id] = run
    bench.run(source)
    assert bench.value("SELECT count(*) FROM history.executions WHERE missing_since IS NOT NULL") == 0


def test_a_running_execution_the_source_no_longer_has_is_gone(
    bench: ToyBench, world: World, source: Toy
) -> None:
    run = world.add("w1", NOW - timedelta(days=3), lasts=None)
    bench.run(source)
    del world.runs[run.execution_id]
    bench.run(source)
    assert bench.value("SELECT missing_reason FROM history.executions") == "gone"


def test_an_execution_that_leaves_the_horizon_unsettled_ages_out(
    bench: ToyBench, world: World, source: Toy
) -> None:
    run = world.add("w1", NOW - timedelta(days=29), lasts=None)
    bench.run(source)
    world.now += timedelta(days=2)
    del world.runs[run.execution_id]
    bench.run(source)
    assert bench.value("SELECT missing_reason FROM history.executions") == "aged_out"


def test_a_deleted_workflow_keeps_its_history_and_is_marked(
    bench: ToyBench, world: World, source: Toy
) -> None:
    world.fill(3)
    world.add("w2", NOW - timedelta(hours=3), lasts=None)
    bench.run(source)
    world.workflow_ids.remove("w2")
    bench.run(source)
    assert bench.rows("SELECT workflow_id, missing_reason FROM history.workflows ORDER BY 1") == [
        ("w1", None),
        ("w2", "workflow_deleted"),
    ]
    # A list by last change shows what outlived its workflow: that is not missing.
    assert bench.rows(
        "SELECT outcome, count(*) FROM history.executions WHERE missing_reason = 'workflow_deleted' GROUP BY 1"
    ) == ([] if source.shows_changes else [("running", 1)])


def test_a_record_without_identity_costs_one_record(bench: ToyBench, world: World, source: Toy) -> None:
    world.fill(25)
    broken = next(iter(world.runs.values()))
    broken.is_broken = True
    report = bench.run(source)
    assert report.is_complete, report
    assert landed(bench) == set(world.runs) - {broken.execution_id}
    assert bench.value("SELECT count(*) FROM syncer.quarantine WHERE resolved_at IS NULL") == 1


@pytest.mark.parametrize("fails_at", [1, 2, 3, 5, 8, 13, 21, 34])
def test_a_pass_that_dies_anywhere_goes_on_to_the_same_tables(
    bench: ToyBench, world: World, source: Toy, fails_at: int
) -> None:
    world.fill(30)

    def die(number: int) -> None:
        if number >= fails_at:
            raise MemoryError("as if killed")

    world.twist = Twist(before_request=die)
    with pytest.raises(MemoryError):
        bench.run(source)
    world.twist = Twist()
    assert bench.run(source).is_complete
    assert landed(bench) == set(world.runs)
    assert bench.value("SELECT count(*) FROM history.executions WHERE settled_at IS NULL") == 0


def test_a_wait_is_slept_out_in_full_and_nothing_is_lost(bench: ToyBench, world: World, source: Toy) -> None:
    world.fill(20)
    limits = iter([4, 9, 15, 40])
    next_limit = next(limits)

    def limit(number: int) -> None:
        nonlocal next_limit
        if number >= next_limit:
            next_limit = next(limits, 10**9)
            raise RateLimited("slow down", bench.time.now + timedelta(minutes=55))

    world.twist = Twist(before_request=limit)
    report = bench.run(source)
    assert report.is_complete, report
    assert landed(bench) == set(world.runs)
    assert bench.time.slept >= timedelta(minutes=4 * 55)
    assert bench.value("SELECT count(*) FROM syncer.rate_limits") == 1


def test_one_partition_that_fails_does_not_stop_the_others(bench: ToyBench, world: World) -> None:
    source = Ascending(world)
    world.fill(10)
    original = source.list_executions

    async def failing(partition, window, page, **how):  # type: ignore[no-untyped-def]
        if partition == "w1":
            raise TransientError("the gateway coughed")
        return await original(partition, window, page, **how)

    source.list_executions = failing  # type: ignore[method-assign]
    report = bench.run(source)
    assert {failure.partition for failure in report.failures} == {"w1"}
    assert landed(bench) == {key for key, run in world.runs.items() if run.workflow_id == "w2"}
    assert (
        bench.value("SELECT last_error FROM syncer.watermarks WHERE partition = 'w1'")
        == "the gateway coughed"
    )


def test_a_total_that_keeps_disagreeing_is_disputed_and_the_watermark_moves(
    bench: ToyBench, world: World
) -> None:
    source = Ascending(world)
    world.fill(15)
    world.twist = Twist(total=lambda true: true + 3)
    report = bench.run(source)
    assert report.disputed > 0
    assert not report.is_complete
    assert landed(bench) == set(world.runs)
    assert bench.value("SELECT count(*) FROM syncer.window_audit WHERE verdict = 'disputed'") > 0
    assert bench.value("SELECT count(*) FROM syncer.watermarks WHERE watermark_at IS NOT NULL") == 2


@pytest.mark.parametrize(
    "twist",
    [
        Twist(ignores_order=True),
        Twist(clamps_pages_to=4),
        Twist(ignores_start=True),
        Twist(ignores_order=True, clamps_pages_to=3),
        Twist(total=lambda true: None),
    ],
    ids=["order ignored", "page clamped", "start ignored", "order ignored and page clamped", "no total"],
)
def test_a_server_that_ignores_what_it_is_asked_loses_nothing(
    bench: ToyBench, world: World, source: Toy, twist: Twist
) -> None:
    world.fill(33)
    for _ in range(25):
        world.add("w2", NOW - timedelta(days=4))
    world.twist = twist
    report = bench.run(source)
    if twist.ignores_start and source.max_rows is not None:
        assert report.failures, "more rows than page numbers reach, and no window to part: this must be said"
        assert bench.value("SELECT count(watermark_at) FROM syncer.watermarks") == 0
        return
    assert landed(bench) == set(world.runs)
    assert not report.failures, report


def test_a_quiet_pass_makes_no_more_requests_than_it_must(bench: ToyBench, world: World) -> None:
    source = Ascending(world)
    world.fill(95)
    bench.run(source)
    first = Counter(world.requests)
    assert first["steps"] == len(world.runs)
    assert first["executions"] <= 2 * (10 + 2)
    world.requests.clear()
    bench.run(source)
    assert Counter(world.requests) == {"workflows": 1, "executions": 2}


def test_newest_first_is_walked_down_without_losing_ties(bench: ToyBench, world: World) -> None:
    source = NewestFirst(world, page_size=5)
    for number in range(40):
        world.add("w1", NOW - timedelta(days=1) + TICK * (number // 7))
    assert bench.run(source).is_complete
    assert landed(bench) == set(world.runs)


def test_a_new_connection_under_an_old_name_is_refused(bench: ToyBench, world: World) -> None:
    bench.run(Ascending(world))
    report = bench.run(Ascending(world), base_url="https://other.example")
    assert report.error is not None
    assert "base_url" in str(report.error)


def test_steps_may_be_turned_off_and_on_again(bench: ToyBench, world: World, source: Toy) -> None:
    world.add("w1", NOW - timedelta(minutes=5))
    bench.run(source, steps=False)
    assert bench.rows("SELECT steps_state, settled_at IS NOT NULL FROM history.executions") == [("off", True)]
    bench.run(source)
    assert bench.rows("SELECT steps_state, settled_at IS NOT NULL FROM history.executions") == [
        ("read", True)
    ]
    world.add("w1", NOW - timedelta(minutes=4))
    world.twist = Twist(before_request=lambda _: None if "steps" not in world.requests[-1:] else _fail())
    bench.run(source)
    world.twist = Twist()
    assert bench.value("SELECT count(*) FROM history.executions WHERE steps_state = 'due'") == 1
    bench.run(source, steps=False)
    assert bench.value("SELECT count(*) FROM history.executions WHERE settled_at IS NULL") == 0


def _fail() -> None:
    raise TransientError("the gateway coughed")


def test_a_backfill_says_what_the_source_no_longer_serves(bench: ToyBench, world: World, source: Toy) -> None:
    world.fill(5)
    report = bench.run(source, lambda session: backfill(session, NOW - timedelta(days=60), None))
    assert report.is_complete, report
    assert report.unserved is not None
    assert report.unserved.startswith("[2026-01-09T12:00:00+00:00, 2026-02-08T12:01:00")
    assert landed(bench) == set(world.runs)
    assert (
        bench.run(source, lambda session: backfill(session, NOW - timedelta(days=2), None)).unserved is None
    )
