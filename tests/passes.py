"""Passes over a source and a real PostgreSQL, made in this process as the command line makes them in its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, text

from syncer.config import Connection, Section
from syncer.decode.redact import Redactor
from syncer.encode import Encoder
from syncer.http import Clock, Gate
from syncer.sources import Source
from syncer.sync import Report, Session, Tenant, new_room, sync
from syncer.writer import Writer

HISTORY = (
    "connections",
    "workflows",
    "workflow_revisions",
    "workflow_nodes",
    "executions",
    "step_events",
    "steps",
    "step_io",
)

Work = Callable[[Session], Coroutine[Any, Any, Report]]
Connect = Callable[[Connection, Gate], Source]


class Nothing(Section):
    """Options or credentials of a source that needs none."""


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
        return Clock(now=lambda: self.now, sleep=self.sleep, monotonic=self.monotonic)

    def monotonic(self) -> float:
        return time.monotonic() + self.slept.total_seconds()


def settings(**changes: Any) -> Connection:
    """A connection's settings with everything at its default."""
    fixed = {"name": "toy", "platform": "toy", "base_url": "https://toy.example"}
    return Connection(**{**fixed, "auth": Nothing(), "options": Nothing(), **changes})


class HurriedWriter(Writer):
    """The warehouse, whose time passes with that of everybody else, from one pass to the next as well."""

    def __init__(self, engine: Engine, clock: Clock, slept: timedelta) -> None:
        super().__init__(engine, clock.monotonic)
        self._before = slept

    def now(self) -> datetime:
        return super().now() + self._before


class Bench:
    """One warehouse, and as many passes over a source as a test wants, each as a process of its own would make it."""

    def __init__(self, engine: Engine, clock: Clock | None = None) -> None:
        self.engine = engine
        self.clock = clock or Clock()

    def make(self, connect: Connect, connection: Connection, work: Work = sync) -> Report:
        """Make one pass."""

        async def once() -> Report:
            async with self.tenant(connect, connection) as tenant:
                return await work(Session(tenant))

        return asyncio.run(once())

    @asynccontextmanager
    async def tenant(self, connect: Connect, connection: Connection) -> AsyncIterator[Tenant]:
        """A tenant with a writer and a gate of its own, closed afterwards."""
        writer = self.writer()
        await writer.start()
        gate = Gate(self.clock, at_once=connection.max_concurrency)
        tenant = Tenant(
            connection=connection,
            source=connect(connection, gate),
            gate=gate,
            writer=writer,
            encoder=Encoder(Redactor(connection.redact_keys)),
            room=new_room(),
        )
        try:
            yield tenant
        finally:
            await tenant.close()

    def writer(self) -> Writer:
        """The way to the warehouse, not started yet."""
        return Writer(self.engine, self.clock.monotonic)

    def end_pauses(self) -> None:
        """Let steps that were put off be due: the warehouse measures that by its own clock, which nobody can hurry."""
        with self.engine.begin() as db:
            db.execute(text("UPDATE history.executions SET _steps_retry_at = NULL"))

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
            for name in HISTORY
        }
