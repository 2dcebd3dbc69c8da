"""Limits as the warehouse keeps them: one budget for all processes, over restarts, whatever the source tells."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from syncer.budget import Ask, Limit, Purpose
from syncer.http import Clock
from syncer.simulator import Clock as SourceClock
from syncer.simulator import Outline
from syncer.simulator.qualys_flow import Simulator, Switches
from syncer.state import limits
from syncer.sync import Report, Session, backfill, poll, recent_steps, sync
from tests.integration.flows import FlowBench, assert_equal_to_truth

NOW = datetime(2026, 3, 10, 11, 0, tzinfo=UTC)
HOURLY = Limit(60, 3600.0)
EVERY = timedelta(minutes=5)


@pytest.fixture
def simulator() -> Simulator:
    return limited(rate_limit=60)


def limited(**switches: Any) -> Simulator:
    outline = Outline(workflows=2, executions=40, running=0)
    return Simulator(outline, switches=Switches(**switches), clock=SourceClock(NOW, frozen=True))


@pytest.fixture
def bench(engine: Engine) -> FlowBench:
    return FlowBench(engine)


def sleeping_with(simulator: Simulator, meanwhile: Callable[[], None] = lambda: None) -> Clock:
    """Our time passes as the source's does: a pause lets it pass at once, and something happen meanwhile."""

    async def sleep(seconds: float) -> None:
        simulator.clock.advance(seconds)
        meanwhile()

    def now() -> datetime:
        return datetime.fromtimestamp(simulator.clock.now_ms() / 1000, UTC)

    return Clock(now=now, monotonic=lambda: simulator.clock.now_ms() / 1000, sleep=sleep)


def take(engine: Engine, purpose: Purpose, wanted: int, now: datetime = NOW) -> int:
    with engine.begin() as db:
        grant = limits.take(db, "flow", HOURLY, Ask(purpose=purpose, wanted=wanted), now)
    return grant.requests


def test_processes_take_from_one_budget(engine: Engine) -> None:
    taken = [take(engine, Purpose.LIVE, 25) for _process in range(4)]
    assert taken == [25, 25, 10, 0]
    assert take(engine, Purpose.LIVE, 25, NOW + timedelta(minutes=62)) == 25


def test_spending_that_cannot_be_read_counts_as_none(engine: Engine) -> None:
    take(engine, Purpose.LIVE, 60)
    with engine.begin() as db:
        db.exec_driver_sql("""UPDATE syncer.rate_limits SET spending = '{"spent": "nonsense"}'""")
    assert take(engine, Purpose.LIVE, 1) == 1


def test_a_limit_that_is_told_is_never_run_into(bench: FlowBench, simulator: Simulator) -> None:
    bench.clock = sleeping_with(simulator)
    with simulator.serve() as url:
        assert bench.run(simulator, url, max_concurrency=4).is_complete
        assert_equal_to_truth(bench, simulator)
    assert {seen.status for seen in simulator.requests} <= {200, 201}, "no request was refused"
    assert busiest_hour(simulator) <= 60


def busiest_hour(simulator: Simulator) -> int:
    """Most requests in any span of an hour, those for tokens aside."""
    times = [seen.at_ms for seen in simulator.requests if seen.endpoint != "auth"]
    return max(sum(begin <= at < begin + 3_600_000 for at in times) for begin in times)


def test_a_limit_costs_no_more_time_than_it_must(bench: FlowBench, simulator: Simulator) -> None:
    bench.clock = sleeping_with(simulator)
    with simulator.serve() as url:
        assert bench.run(simulator, url).is_complete
    asked = sum(seen.endpoint != "auth" for seen in simulator.requests)
    hours = (simulator.clock.now_ms() - NOW.timestamp() * 1000) / 3_600_000
    assert hours <= 1.1 * asked / 60


def test_a_budget_that_is_used_holds_for_the_next_process(bench: FlowBench, simulator: Simulator) -> None:
    bench.clock = sleeping_with(simulator)
    until = bench.clock.now() + timedelta(minutes=20)

    def for_twenty_minutes(session: Session) -> Any:
        session.gate.deadline = until
        return sync(session)

    with simulator.serve() as url:
        first: Report = bench.run(simulator, url, for_twenty_minutes)
        asked = len(simulator.requests)
        second: Report = bench.run(simulator, url, for_twenty_minutes)
    assert first.stopped
    assert second.stopped
    assert asked <= 62
    assert len(simulator.requests) <= 63


def test_a_backfill_leaves_live_work_its_requests(bench: FlowBench, simulator: Simulator) -> None:
    """The service polls every quarter of an hour while another process copies history; both share the limit."""
    granted: list[int] = []
    due = [0]

    def look() -> None:
        if simulator.clock.now_ms() >= due[0]:
            due[0] = simulator.clock.now_ms() + 900_000
            granted.append(take(bench.engine, Purpose.LIVE, 1, bench_now(simulator)))

    bench.clock = sleeping_with(simulator, meanwhile=look)

    def copied(session: Session) -> Any:
        session.gate.deadline = NOW + timedelta(hours=4)
        return backfill(session, NOW - timedelta(days=29), NOW)

    with simulator.serve() as url:
        bench.run(simulator, url, copied)
    assert len(granted) >= 6
    assert set(granted) == {1}, "no poll was refused its request"


def bench_now(simulator: Simulator) -> datetime:
    """The warehouse's time as the passes count it: what is real, and what was slept."""
    slept = simulator.clock.now_ms() / 1000 - NOW.timestamp()
    return datetime.now(UTC) + timedelta(seconds=slept)


def test_sweeps_that_have_used_their_quarter_are_put_off(bench: FlowBench) -> None:
    simulator = limited(rate_limit=24)
    bench.clock = sleeping_with(simulator)
    at_once = timedelta(microseconds=1)
    with simulator.serve() as url:
        bench.run(simulator, url, lambda session: poll(session, EVERY), max_concurrency=1)
        simulator.clear_requests()
        for _ in range(6):
            report = bench.run(simulator, url, lambda session: poll(session, at_once), sweep=at_once)
            assert report.is_complete
    assert simulator.counts == {"auth": 6, "workflows": 6, "executions": 6}


def test_a_copy_asks_hardly_more_than_it_must(bench: FlowBench) -> None:
    """At the least: every page of a list, the steps of every execution, once more what was open."""
    simulator = Simulator(Outline(workflows=3, executions=300, steps=1, running=5))
    with simulator.serve() as url:
        assert bench.run(simulator, url).is_complete
        counts = simulator.counts
        assert counts["steps"] <= 900 + 5, "those that run are asked for, too"
        pages = 1 + 3 * 3  # of workflows and of executions, a hundred on each
        assert counts["workflows"] + counts["executions"] <= pages + 3 * 3, (
            "a live window and an end for each"
        )
        simulator.clear_requests()
        running = simulator.end_all_running()
        simulator.add_execution()
        assert bench.run(simulator, url, lambda session: poll(session, EVERY)).is_complete
        assert bench.run(simulator, url, recent_steps).is_complete
    counts = simulator.counts
    assert counts["execution"] <= len(running)
    assert counts["steps"] <= len(running) + 1
    assert counts["workflows"] + counts["executions"] <= 1 + 3
