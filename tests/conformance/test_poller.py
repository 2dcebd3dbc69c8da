"""When a connection is polled again, and what a poll leaves behind, whatever becomes of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from syncer.errors import TransientError
from syncer.model import Execution, Page, Window, Workflow
from syncer.service.poller import Poller
from tests.conformance.conftest import ToyBench
from tests.conformance.toys import Ascending, World
from tests.passes import Bench, settings

DAILY = "0 3 * * *"


class HalfAway(Ascending):
    """Cannot list the executions of one workflow."""

    async def list_executions(
        self, partition: str, window: Window, page: int, *, counted: bool = False
    ) -> Page[Execution]:
        if partition == "w1":
            raise TransientError("this one coughs")
        return await super().list_executions(partition, window, page, counted=counted)


class Faulty(Ascending):
    """Meets a fault of ours."""

    async def list_workflows(self, page: int) -> Page[Workflow]:
        raise KeyError("nobody thought of this", page)


def polled(bench: ToyBench, source: Ascending, **changes: Any) -> datetime | None:
    """Poll once; returns when it is tried again before its time, if that is planned."""

    async def once() -> datetime | None:
        scheduler = AsyncIOScheduler(timezone=UTC)
        scheduler.start(paused=True)
        connection = settings(**changes)
        async with Bench(bench.engine).tenant(lambda _connection, _gate: source, connection) as tenant:
            poller = Poller(tenant, scheduler)
            await poller.poll()
            job = scheduler.get_job(f"{connection.name} again")
            poller.stop("the test is over")
            await poller.close()
            scheduler.shutdown(wait=False)
            planned: datetime | None = job and job.trigger.run_date
            return planned

    return asyncio.run(once())


def test_parts_that_failed_do_not_wait_a_day_for_the_next_poll(bench: ToyBench, world: World) -> None:
    world.fill(2)
    again = polled(bench, HalfAway(world), poll=DAILY)
    assert again is not None
    assert again < datetime.now(UTC) + timedelta(minutes=3)


def test_where_the_next_poll_is_near_parts_wait_for_it(bench: ToyBench, world: World) -> None:
    world.fill(2)
    assert polled(bench, HalfAway(world), poll="5m") is None


def test_after_a_whole_poll_the_next_one_comes_at_its_time(bench: ToyBench, world: World) -> None:
    world.fill(2)
    assert polled(bench, Ascending(world), poll=DAILY) is None


def test_a_poll_that_ends_by_a_fault_of_ours_does_not_stand_as_running_for_ever(
    bench: ToyBench, world: World
) -> None:
    assert polled(bench, Faulty(world)) is not None
    assert bench.rows("SELECT state, ended_at IS NULL FROM syncer.runs") == [("failed", False)]
