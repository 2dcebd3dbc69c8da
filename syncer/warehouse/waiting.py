"""A connection whose synchronous callers wait for the server without holding up the event loop they run in.

Code that runs inside `greenlet_spawn` gives way to the loop where it would block; everywhere else the connection is
psycopg's own. Two threads that decode and load hand the interpreter to and fro, which takes a quarter of the
processor's time; one thread that gives way does not.
"""

from __future__ import annotations

from asyncio import CancelledError
from contextlib import suppress
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.waiting import wait_async
from sqlalchemy.util.concurrency import await_, in_greenlet

T = TypeVar("T")

_INTERVAL = 0.1
"""Seconds after which psycopg looks whether the socket was closed from here."""

in_greenlet()  # what the first call sets up, two threads must not set up at once


class Connection(psycopg.Connection[Any]):
    """Every statement, COPY and commit of psycopg's goes through `wait`."""

    def wait(self, gen: PQGen[T], *bounds: Any, **named_bounds: Any) -> T:
        """Drive what talks to the server to its end, and return what it returns; within bounds, it is psycopg's own."""
        if bounds or named_bounds or not in_greenlet():
            return super().wait(gen, *bounds, **named_bounds)
        try:
            return await_(wait_async(gen, self.pgconn.socket, _INTERVAL))
        except CancelledError:
            # The loop ends before the statement does: what it left behind must be over before anything else is asked.
            self.cancel_safe()
            with suppress(psycopg.errors.QueryCanceled):
                super().wait(gen)
            raise
