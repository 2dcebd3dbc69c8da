"""Whether a request may be made now: the one place that says so, for all workers of a connection.

Invariant: a wait is only ever prolonged, never shortened, until it is over. It knows nothing of HTTP; times
and sleep come in with the Clock, and who shares the source's limit with other processes comes in as a Supply.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from syncer.budget import Limit, Purpose
from syncer.errors import RateLimited, Stopped
from syncer.http.answer import Rate
from syncer.http.slots import Slots

SAME_WAIT = timedelta(minutes=1)
"""Requests refused together name ends that differ a little: less than this later is the same wait."""


NEWS_FOR = 60.0
"""Seconds for which what the source told of the rest of its limit is worth anything."""

Supply = Callable[[Purpose, int], Awaitable[int]]
"""Waits for requests of the budget that all processes share, and returns how many of those wanted may be made now."""

_purpose: ContextVar[Purpose] = ContextVar("purpose", default=Purpose.LIVE)


@contextmanager
def doing(purpose: Purpose) -> Iterator[None]:
    """Let requests made in the body, and in tasks begun there, count as made for this purpose."""
    token = _purpose.set(purpose)
    try:
        yield
    finally:
        _purpose.reset(token)


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Time, sleep and chance: `now` is aware UTC by the local clock, the others are in seconds or [0, 1)."""

    now: Callable[[], datetime] = _utc_now
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random


@dataclass
class _Ration:
    """Requests granted for one purpose and not made yet, and how many want one."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    wanted: int = 0
    left: int = 0


class Gate:
    """Says no while the source has said to wait or we were asked to stop, spaces and rations requests.

    `not_before` is UTC by the local clock, None when there is no wait; `waits` counts them, one that is prolonged
    once. `requests_per_second` 0 means no pace. At most `at_once` requests are in flight. `limit` is what the source
    told, and `supply` shares it out; without one there is no limit. `used_up` says until when it is, for whom. No
    request is made after the `deadline`.
    """

    def __init__(self, clock: Clock, requests_per_second: float = 0.0, at_once: int = 1) -> None:
        self.clock = clock
        self.not_before: datetime | None = None
        self.reason = ""
        self.waits = 0
        self.slots = Slots(at_once, clock.monotonic)
        self.limit: Limit | None = None
        self.supply: Supply | None = None
        self.used_up: dict[Purpose, datetime] = {}
        self.deadline: datetime | None = None
        self._remaining: tuple[int, float] | None = None
        self._rations: defaultdict[Purpose, _Ration] = defaultdict(_Ration)
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
        if not self.is_waiting:
            self.waits += 1
            self.slots.complained((instant - self.clock.now()).total_seconds())
            for ration in self._rations.values():  # granted for now, not for after the wait
                ration.left = 0
        if self.not_before is None or instant > self.not_before:
            self.not_before = instant
            self.reason = reason

    def note_rate(self, rate: Rate) -> None:
        """Keep what an answer told of limits."""
        if rate.limit and rate.window:
            self.limit = Limit(rate.limit, rate.window.total_seconds())
            if rate.remaining is not None:
                self._remaining = rate.remaining, self.clock.monotonic()
        if rate.concurrency:
            self.slots.bound(rate.concurrency)

    def news(self) -> int | None:
        """What the source told last of the rest of its limit; None where that is old or was asked for before."""
        told, self._remaining = self._remaining, None
        return told[0] if told and self.clock.monotonic() < told[1] + NEWS_FOR else None

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
    def waiting_until(self) -> datetime | None:
        """The end of the wait that is on, or when the first of those may go on for whom the limit is used up."""
        return self.not_before if self.is_waiting else min(self.used_up.values(), default=None)

    @property
    def is_waiting(self) -> bool:
        """Whether the source has said to wait."""
        return self.not_before is not None and self.clock.now() < self.not_before

    def check(self) -> None:
        """Return if a request may be made now; raises Stopped, or RateLimited with the end of the wait."""
        if self._stopped is None and self.deadline is not None and self.clock.now() >= self.deadline:
            self.stop("the time given is over")
        if self._stopped is not None:
            raise Stopped(self._stopped)
        if self.not_before is None:
            return
        if self.is_waiting:
            end = self.not_before.isoformat(timespec="seconds")
            raise RateLimited(f"waiting until {end}: {self.reason}", self.not_before)
        self.not_before, self.reason = None, ""

    async def doze(self, seconds: float, check: Callable[[], None]) -> None:
        """Sleep in small pieces, so that what `check` raises is raised soon; what was slept counts, for the clock may
        be set meanwhile."""
        check()
        while seconds > 0:
            await self.clock.sleep(min(seconds, 1.0))
            seconds -= 1.0
            check()

    @asynccontextmanager
    async def request(self) -> AsyncIterator[None]:
        """Let one request through once it is its turn; the body makes it. Raises as `check` does, and Postponed."""
        purpose = _purpose.get()
        self.check()
        await self._obtain(purpose)
        async with self.slots.one(purpose):
            await self._pace()
            self.check()
            yield

    async def _obtain(self, purpose: Purpose) -> None:
        """Take a request of the shared budget, with others that want one for the same purpose."""
        if self.supply is None:
            return
        ration = self._rations[purpose]
        ration.wanted += 1
        try:
            async with ration.lock:
                if not ration.left:
                    self.check()
                    ration.left = await self.supply(purpose, ration.wanted)
                ration.left -= 1
        finally:
            ration.wanted -= 1

    async def _pace(self) -> None:
        if not self._spacing:
            return
        now = self.clock.monotonic()
        turn = max(now, self._next_turn)
        self._next_turn = turn + self._spacing
        if turn > now:
            await self.clock.sleep(turn - now)
