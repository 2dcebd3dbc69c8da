"""The one way asynchronous code reaches the warehouse: a transaction a call, one at a time.

What is called is synchronous, and gives way to the loop wherever it waits for PostgreSQL. It must not make requests: no
transaction is ever open while the source is waited for. Deadlocks and serialization failures are tried again whole.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

import psycopg
from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.util.concurrency import greenlet_spawn

from syncer.errors import WarehouseError
from syncer.warehouse import explain

T = TypeVar("T")

_TRIES = 5
_AGAIN = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)


class Writer:
    """Runs database work in order, one transaction each."""

    def __init__(self, engine: Engine, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._monotonic = monotonic
        # To take a connection may last: others have their turn, or the server is away.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="warehouse")
        self._turn = asyncio.Lock()
        self._anchor: tuple[datetime, float] | None = None

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run `work(db)` in a transaction of its own and return what it returns once it is committed.

        Raises WarehouseError when PostgreSQL is away or refuses; other errors come as they are.
        """
        await self._turn.acquire()
        transaction = asyncio.create_task(self._transact(work))
        transaction.add_done_callback(lambda _: self._turn.release())
        return await asyncio.shield(transaction)  # who is stopped must not cut short what is being committed

    async def start(self) -> None:
        """Reach the warehouse and learn its time."""
        self._anchor = await self.run(self._clock)

    def now(self) -> datetime:
        """The database's time, as far as known without asking: what it said at the start plus what went by."""
        if self._anchor is None:
            raise WarehouseError("the warehouse was not reached yet")
        said, at = self._anchor
        return said + timedelta(seconds=self._monotonic() - at)

    async def close(self) -> None:
        """Wait for the work at hand and give the thread back."""
        async with self._turn:
            self._thread.shutdown()

    def _clock(self, db: Connection) -> tuple[datetime, float]:
        """The database's time, and when it was asked for."""
        before = self._monotonic()
        now = db.scalar(select(func.clock_timestamp()))
        if not isinstance(now, datetime):
            raise WarehouseError("the warehouse does not tell the time")
        return now, before

    async def _transact(self, work: Callable[[Connection], T]) -> T:
        connect = partial(asyncio.get_running_loop().run_in_executor, self._thread, self._engine.connect)
        tries = 0
        while True:
            tries += 1
            try:
                return await greenlet_spawn(in_transaction, await connect(), work)
            except (DBAPIError, psycopg.Error) as error:
                original = error.orig if isinstance(error, DBAPIError) else error
                if isinstance(original, _AGAIN) and tries < _TRIES:
                    continue
                if original is not None and (mapped := explain(original, self._engine.url)) is not None:
                    raise mapped from error
                raise


def in_transaction(db: Connection, work: Callable[[Connection], T]) -> T:
    """Commit what `work(db)` does, return what it returns, and give the connection back."""
    with db, db.begin():
        return work(db)
