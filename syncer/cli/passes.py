"""One pass per connection at the same time, and what stops them: a signal, the time given, a fault.

Invariant: a pass that fails does not stop the others, and whatever ends a pass, what is complete has been
committed: every transaction is whole or not at all.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Generic, TypeVar
from uuid import uuid4

import structlog
from sqlalchemy import Engine

from syncer.cli.platforms import open_tenant
from syncer.cli.progress import showing
from syncer.cli.stopping import Stop, listening
from syncer.config import Connection
from syncer.errors import Stopped, SyncerError, unexpected
from syncer.http import Clock
from syncer.state import runs
from syncer.sync import Report, Session, new_room

T = TypeVar("T")

OVER = "the time given is over"
ABANDONED = "abandoned while an answer was waited for"


class Pass(Generic[T]):
    """One connection's part of a command: what it works with, and what became of it.

    `command` names it in `syncer.runs`; None leaves it out there. `result` is what the work returned.
    """

    def __init__(
        self,
        connection: Connection,
        engine: Engine,
        room: asyncio.Semaphore,
        *,
        command: str | None,
        deadline: datetime | None,
    ) -> None:
        self.tenant = open_tenant(connection, engine, room)
        self.run_id = uuid4().hex[:12]
        self.result: T | None = None
        self.seconds = 0.0
        self.session = Session(self.tenant, deadline=deadline)
        self._command = command
        self._writer = self.tenant.writer

    @property
    def name(self) -> str:
        """The connection's name."""
        return self.tenant.connection.name

    @property
    def report(self) -> Report:
        """What has been done so far."""
        return self.session.report

    @property
    def requests(self) -> Mapping[str, int]:
        """Requests sent so far by endpoint, those that failed included."""
        sent: Counter[str] = Counter()
        for (endpoint, _status), count in self.tenant.source.traffic.answers.items():
            sent[endpoint] += count
        return sent

    async def run(self, work: Callable[[Session], Awaitable[T]]) -> None:
        """Do the work; what ends it early stands in the report."""
        clock = self.tenant.gate.clock
        began = clock.monotonic()
        structlog.contextvars.bind_contextvars(run_id=self.run_id)
        with self._explained():
            await self._writer.start()
            await self._begin_run()
            with self._explained():
                self.result = await work(self.session)
            await self._end_run()
        self.seconds = clock.monotonic() - began
        await self.tenant.source.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Put what ends the body into the report."""
        try:
            yield
        except asyncio.CancelledError:
            self.report.stopped = ABANDONED
        except Stopped as stop:
            self.report.stopped = stop.message
        except SyncerError as error:
            self.report.error = error.at(connection=self.name)
        except Exception as error:  # noqa: BLE001 - one connection's fault must not end the others' passes
            structlog.get_logger().debug("unexpected", connection=self.name, exc_info=True)
            self.report.error = unexpected(error).at(connection=self.name)

    async def close(self) -> None:
        """Wait for the transaction at hand."""
        await self._writer.close()

    async def _begin_run(self) -> None:
        if command := self._command:
            owner = self.tenant.owner
            await self._writer.run(lambda db: runs.begin_run(db, self.run_id, command, self.name, owner))

    async def _end_run(self) -> None:
        if self._command:
            counts = {"requests": dict(self.requests), "rows": dict(self.report.rows)}
            error = self.report.error.message if self.report.error else None
            await self._writer.run(lambda db: runs.end_run(db, self.run_id, self.report.state, counts, error))


def conduct(
    engine: Engine,
    connections: Sequence[Connection],
    work: Callable[[Session], Awaitable[T]],
    *,
    command: str | None = None,
    limit: timedelta | None = None,
) -> tuple[list[Pass[T]], Stop]:
    """Do the same work for every connection at once; returns the passes and what stopped them, if anything did."""
    return asyncio.run(_conduct(engine, connections, work, command, limit))


async def _conduct(
    engine: Engine,
    connections: Sequence[Connection],
    work: Callable[[Session], Awaitable[T]],
    command: str | None,
    limit: timedelta | None,
) -> tuple[list[Pass[T]], Stop]:
    deadline = Clock().now() + limit if limit else None
    room = new_room()
    passes: list[Pass[T]] = [
        Pass(each, engine, room, command=command, deadline=deadline) for each in connections
    ]
    tasks = [asyncio.create_task(each.run(work)) for each in passes]
    with listening(partial(_stop, passes), partial(_abandon, tasks)) as stop:
        if limit:
            asyncio.get_running_loop().call_later(limit.total_seconds(), _stop, passes, OVER)
        async with showing(passes):
            await asyncio.gather(*tasks)
        for each in passes:
            await each.close()
    return passes, stop


def _stop(passes: Sequence[Pass[T]], reason: str) -> None:
    for each in passes:
        each.tenant.gate.stop(reason)


def _abandon(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
