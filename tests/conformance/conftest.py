"""Runs the algorithm over a toy source and a real PostgreSQL."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from syncer.sync import Report, sync
from tests.conformance.toys import TOYS, Toy, World
from tests.passes import Bench, FakeTime, Work, settings


class ToyBench(Bench):
    """A bench whose clock moves only when somebody sleeps."""

    def __init__(self, engine: Engine) -> None:
        self.time = FakeTime()
        super().__init__(engine, self.time.clock())

    def run(self, source: Toy, work: Work = sync, **changes: Any) -> Report:
        """Make one pass over a toy."""
        return self.make(lambda _connection, _gate: source, settings(**changes), work)


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
