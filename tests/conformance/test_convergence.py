"""Whatever happens on the way, one clean pass makes the copy equal to what the source has."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import Connection as Database
from sqlalchemy import Engine

from syncer.errors import RateLimited, Stopped, TransientError
from syncer.sync import Session, sync
from tests.conformance.conftest import ToyBench
from tests.conformance.toys import NOW, TICK, TOYS, Toy, Twist, World

FAULTS = ("kill", "limit", "fault", "stop")

twists = st.builds(
    Twist,
    ignores_order=st.booleans(),
    clamps_pages_to=st.sampled_from([None, None, 1, 3]),
    total=st.sampled_from([None, None, lambda true: None]),
)
ages = st.one_of(
    st.integers(0, 25 * 24 * 60).map(lambda minutes: timedelta(minutes=minutes)),
    st.integers(0, 3).map(lambda ticks: timedelta(days=3) + ticks * TICK),
)
runs = st.lists(st.tuples(st.sampled_from(["w1", "w2"]), ages, st.booleans()), max_size=45)
accidents = st.lists(st.tuples(st.sampled_from(FAULTS), st.integers(1, 40)), max_size=3)
crashes = st.lists(st.integers(1, 30), max_size=2)


class Killed(BaseException):
    """The process dies between two commits."""


class Tenant:
    """One connection of a database that is shared by all examples."""

    def __init__(self, engine: Engine, toy: type[Toy], world: World) -> None:
        self.bench = ToyBench(engine)
        self.world = world
        self.source = toy(world)
        self.name = uuid4().hex

    def run(self, dies_at: int | None = None) -> Any:
        async def work(session: Session) -> Any:
            if dies_at is not None:
                _die_at_commit(session, dies_at)
            return await sync(session)

        return self.bench.run(self.source, work, name=self.name)

    def accident(self, kind: str, after: int) -> None:
        last = len(self.world.requests) + after

        def happen(number: int) -> None:
            if number == last or (number > last and kind != "limit"):
                raise {
                    "kill": Killed(),
                    "limit": RateLimited("wait", self.bench.time.now + timedelta(minutes=50)),
                    "fault": TransientError("cough"),
                    "stop": Stopped("asked to"),
                }[kind]

        self.world.twist.before_request = happen

    def rows(self, query: str) -> list[Any]:
        return self.bench.rows(query.format(name=f"connection_id = '{self.name}'"))

    def watermarks(self) -> dict[str, datetime]:
        query = (
            "SELECT partition, watermark_at FROM syncer.watermarks WHERE {name} AND watermark_at IS NOT NULL"
        )
        return {row[0]: row[1] for row in self.rows(query)}

    def let_leases_run_out(self) -> None:
        """Let the minute be over for which a process that died holds what it held."""
        with self.bench.engine.begin() as db:
            db.exec_driver_sql("UPDATE syncer.leases SET until = now() - interval '1 second'")


def _die_at_commit(session: Session, number: int) -> None:
    """Let the process die before its n-th transaction is committed."""
    original = session.writer.run
    done = 0

    async def dying(work: Any) -> Any:
        def whole(db: Database) -> Any:
            nonlocal done
            done += 1
            result = work(db)
            if done >= number:
                raise Killed
            return result

        return await original(whole)

    session.writer.run = dying  # type: ignore[method-assign]


@pytest.mark.parametrize("toy", TOYS, ids=lambda toy: toy.__name__)
@examples(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(runs=runs, twist=twists, accidents=accidents, crashes=crashes)
def test_every_world_is_copied_whatever_happened_on_the_way(
    engine: Engine,
    toy: type[Toy],
    runs: list[tuple[str, timedelta, bool]],
    twist: Twist,
    accidents: list[tuple[str, int]],
    crashes: list[int],
) -> None:
    world = World(twist=twist)
    tenant = Tenant(engine, toy, world)
    for workflow, age, has_ended in runs:
        created = NOW - timedelta(minutes=5) - age
        world.add(workflow, created, lasts=timedelta(seconds=30) if has_ended else None)
    passes: list[tuple[str, int]] = [*accidents, *(("crash", each) for each in crashes)]
    before: dict[str, datetime] = {}
    for place, (kind, number) in enumerate(passes):
        if kind != "crash":
            tenant.accident(kind, number)
        with suppress(Killed):
            tenant.run(number if kind == "crash" else None)
        tenant.let_leases_run_out()
        after = tenant.watermarks()
        assert all(after[partition] >= mark for partition, mark in before.items())
        before = after
        world.twist.before_request = None
        for run in [run for run in world.runs.values() if run.ended_at is None][:3]:
            world.end(run)
        world.now += timedelta(minutes=3)
        world.add("w1", world.now - timedelta(minutes=place % 3, seconds=1))
    world.now += timedelta(minutes=10)
    tenant.bench.end_pauses()
    report = tenant.run()
    assert (report.error, report.stopped, report.failures) == (None, None, []), report
    assert_copied(tenant)


def assert_copied(tenant: Tenant) -> None:
    truth = {
        run.execution_id: (run.created_at, run.ended_at, 1 if run.ended_at is None else 2)
        for run in tenant.world.runs.values()
    }
    query = """SELECT execution_id, created_at, ended_at, settled_at IS NOT NULL, missing_since IS NULL, steps_state,
        (SELECT count(*) FROM history.step_events v WHERE v.{name} AND v.execution_id = e.execution_id)
        FROM history.executions e WHERE {name}"""
    copied = {row[0]: row for row in tenant.rows(query)}
    assert {key: (row[1], row[2], row[6]) for key, row in copied.items()} == truth
    assert all(row[3] == (row[2] is not None) and row[4] and row[5] == "read" for row in copied.values())
