"""Runs the algorithm over a toy source and a real PostgreSQL."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from sqlalchemy import Engine

from syncer.sync import Report, sync
from syncer.writer import Writer
from tests.conformance.toys import TOYS, Elsewhere, Toy, World
from tests.passes import Bench, FakeTime, HurriedWriter, Work, settings


class ToyBench(Bench):
    """A bench whose clock moves only when somebody sleeps."""

    def __init__(self, engine: Engine) -> None:
        self.time = FakeTime()
        super().__init__(engine, self.time.clock())

    def writer(self) -> Writer:
        """The way to the warehouse in time that was slept away."""
        return HurriedWriter(self.engine, self.clock, self.time.slept)

    def run(self, source: Toy, work: Work = sync, **changes: Any) -> Report:
        """Make one pass over a toy."""
        return self.make(lambda _connection, _gate: source, settings(**changes), work)

    def leave_steps(self, source: Toy) -> None:
        """Copy everything but the steps, which are due thereafter."""
        self.run(source, steps=False)
        self.execute("UPDATE history.executions SET steps_state = 'due', settled_at = NULL")

    def execute(self, statement: str) -> int:
        """Do something to the warehouse by hand; returns how many rows it touched."""
        with self.engine.begin() as db:
            return db.exec_driver_sql(statement).rowcount

    def elsewhere(self, statement: str) -> Elsewhere:
        """What another process does to the warehouse, yet to be done."""
        return partial(self.execute, statement)

    def hold(self, stream: str, partition: str, *lanes: str) -> None:
        """Let another process be at work there."""
        with self.engine.begin() as db:
            for lane in lanes:
                db.exec_driver_sql(
                    "INSERT INTO syncer.leases (connection_id, stream, partition, lane, owner, until, version)"
                    " VALUES ('toy', %s, %s, %s, 'elsewhere:1:x', now() + interval '1 h', 1)"
                    " ON CONFLICT (connection_id, stream, partition, lane)"
                    " DO UPDATE SET owner = excluded.owner, until = excluded.until",
                    (stream, partition, lane),
                )

    def free(self) -> None:
        """Let the other process give back all that it held."""
        self.execute("UPDATE syncer.leases SET owner = NULL, until = NULL WHERE owner = 'elsewhere:1:x'")


@pytest.fixture
def bench(engine: Engine) -> ToyBench:
    return ToyBench(engine)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(params=TOYS, ids=lambda toy: toy.__name__)
def source(request: pytest.FixtureRequest, world: World) -> Toy:
    toy: Toy = request.param(world)
    return toy
