"""Runs the algorithm over a toy source and a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from syncer.config import Connection, Section
from syncer.decode.redact import Redactor
from syncer.encode import Encoder
from syncer.http import Clock, Gate
from syncer.sync import Report, Session, sync
from syncer.writer import Writer
from tests.conformance.toys import TOYS, Toy, World

FACTS = (
    "connections",
    "workflows",
    "workflow_revisions",
    "workflow_nodes",
    "executions",
    "step_events",
    "steps",
    "step_io",
)


class Empty(Section):
    """A toy needs neither options nor credentials."""


class FakeTime:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 10, 11, 0, tzinfo=UTC)
        self.slept = timedelta(0)

    async def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.slept += timedelta(seconds=seconds)
        await asyncio.sleep(0)

    def clock(self) -> Clock:
        return Clock(now=lambda: self.now, sleep=self.sleep)


def connection(**changes: Any) -> Connection:
    """A connection's settings with everything at its default."""
    fixed = {"name": "toy", "platform": "toy", "base_url": "https://toy.example"}
    return Connection(**{**fixed, "auth": Empty(), "options": Empty(), **changes})


class Bench:
    """One warehouse, and as many passes over it as a test wants."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.time = FakeTime()

    def run(
        self, source: Toy, work: Callable[[Session], Coroutine[Any, Any, Report]] = sync, **changes: Any
    ) -> Report:
        """Make one pass as a process of its own would."""
        settings = connection(**{"settle": timedelta(minutes=2), **changes})
        deadline = None

        async def once() -> Report:
            writer = Writer(self.engine)
            await writer.start()
            gate = Gate(self.time.clock())
            encoder = Encoder(Redactor(settings.redact_keys))
            session = Session(settings, source, writer, gate, encoder, deadline=deadline)
            try:
                return await work(session)
            finally:
                writer.close()

        return asyncio.run(once())

    def rows(self, query: str) -> list[Any]:
        """What a query returns."""
        with self.engine.connect() as db:
            return list(db.execute(text(query)).all())

    def value(self, query: str) -> Any:
        """The single value a query returns."""
        return self.rows(query)[0][0]

    def fingerprints(self) -> dict[str, list[Any]]:
        """xmin, xmax and ctid of every row of every history table."""
        return {
            name: self.rows(f"SELECT xmin::text, xmax::text, ctid::text FROM history.{name} ORDER BY ctid")
            for name in FACTS
        }


@pytest.fixture
def bench(engine: Engine) -> Bench:
    return Bench(engine)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(params=TOYS, ids=lambda toy: toy.__name__)
def source(request: pytest.FixtureRequest, world: World) -> Toy:
    toy: Toy = request.param(world)
    return toy
