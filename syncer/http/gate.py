"""Whether a request may be made now: the one place that says so, for all workers of a connection.

Invariant: a wait is only ever prolonged, never shortened, until it is over. It knows nothing of HTTP; times
and sleep come in with the Clock.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from syncer.errors import RateLimited, Stopped

SAME_WAIT = timedelta(minutes=1)
"""Requests refused together name ends that differ a little: less than this later is the same wait."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Time, sleep and chance: `now` is aware UTC by the local clock, the others are in seconds or [0, 1)."""

    now: Callable[[], datetime] = _utc_now
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random


class Gate:
    """Says no while the source has said to wait or we were asked to stop, and spaces requests evenly.

    `not_before` is UTC by the local clock, None when there is no wait; `waits` counts them, one that is prolonged
    once. `requests_per_second` 0 means no pace.
    """

    def __init__(self, clock: Clock, requests_per_second: float = 0.0) -> None:
        self.clock = clock
        self.not_before: datetime | None = None
        self.reason = ""
        self.waits = 0
        self._told: datetime | None = None
        self._heeded: datetime | None = None
        self._stopped: str | None = None
        self._spacing = 1 / requests_per_second if requests_per_second else 0.0
        self._next_turn = 0.0

    def stop(self, reason: str) -> None:
        """Let no further request through."""
        self._stopped = reason

    def wait_until(self, instant: datetime, reason: str) -> None:
        """Let no request through before the instant; an earlier one than that known changes nothing."""
        self.waits += not self.is_waiting
        if self.not_before is None or instant > self.not_before:
            self.not_before = instant
            self.reason = reason

    def heed(self, written: datetime, left: timedelta, reason: str) -> None:
        """Wait as long as is `left` of what was written down for all processes, unless that was heeded before.

        `written` is its end by the clock of whoever keeps it, and only compared with others of that clock.
        """
        if self.is_news(written):
            self._heeded = written
            self.wait_until(self.clock.now() + left, reason)

    def is_news(self, written: datetime) -> bool:
        """Whether a wait that was written down has not been heeded yet."""
        return self._heeded is None or written > self._heeded

    def clock_set_back(self, by: timedelta) -> None:
        """Let the wait end when it would have ended, had the local clock not been set back."""
        if self.not_before is not None:
            self.not_before -= by

    def first_to_tell(self, instant: datetime) -> bool:
        """Whether nobody has told yet of a wait until about this instant; from now on somebody has."""
        told = self._told
        if told is not None and told > self.clock.now() and instant < told + SAME_WAIT:
            return False
        self._told = instant
        return True

    @property
    def is_waiting(self) -> bool:
        """Whether a wait is on."""
        return self.not_before is not None and self.clock.now() < self.not_before

    def check(self) -> None:
        """Return if a request may be made now; raises Stopped, or RateLimited with the end of the wait."""
        if self._stopped is not None:
            raise Stopped(self._stopped)
        if self.not_before is None:
            return
        if self.is_waiting:
            end = self.not_before.isoformat(timespec="seconds")
            raise RateLimited(f"waiting until {end}: {self.reason}", self.not_before)
        self.not_before, self.reason = None, ""

    async def admit(self) -> None:
        """Wait for this request's turn in the pace; raises as `check` does, before the turn and after it."""
        self.check()
        if not self._spacing:
            return
        now = self.clock.monotonic()
        turn = max(now, self._next_turn)
        self._next_turn = turn + self._spacing
        if turn > now:
            await self.clock.sleep(turn - now)
            self.check()
