"""How many requests are in flight, and whose turn is next: fewer after the source has complained, live work first.

Invariant: never more than `allowed` at once, and of the kinds of work that wait none is passed over for ever. It knows
nothing of HTTP.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from syncer.budget import SHARES, Purpose

QUIET = 60.0
"""Seconds without a complaint after which one more request may be in flight."""


class Slots:
    """At most `most` requests in flight; halved at each complaint, and one more again after each quiet minute."""

    def __init__(self, most: int, monotonic: Callable[[], float]) -> None:
        self.in_flight = 0
        self._most = most
        self._monotonic = monotonic
        self._allowed = most
        self._quiet_since = monotonic()
        self._waiting: list[tuple[Purpose, asyncio.Future[None]]] = []
        self._passed: Counter[Purpose] = Counter()

    @property
    def allowed(self) -> int:
        """How many may be in flight now."""
        minutes = int((self._monotonic() - self._quiet_since) / QUIET)
        if minutes > 0:
            self._allowed = min(self._allowed + minutes, self._most)
            self._quiet_since += minutes * QUIET
        return self._allowed

    def complained(self, quiet_in: float) -> None:
        """The source says it is too much; it is quiet in so many seconds at the earliest."""
        self._allowed = max(1, self.allowed // 2)
        self._quiet_since = self._monotonic() + quiet_in

    def bound(self, most: int) -> None:
        """The source says how many it takes at once."""
        self._most = min(self._most, max(1, most))
        self._allowed = min(self._allowed, self._most)

    @asynccontextmanager
    async def one(self, purpose: Purpose) -> AsyncIterator[None]:
        """One request in flight while the body runs, once it is its turn."""
        if self._waiting or self.in_flight >= self.allowed:
            await self._turn(purpose)
        else:
            self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1
            self._wake()

    async def _turn(self, purpose: Purpose) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((purpose, turn))
        self._wake()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.in_flight -= 1
            self._waiting = [each for each in self._waiting if each[1] is not turn]
            self._wake()
            raise

    def _wake(self) -> None:
        while self._waiting and self.in_flight < self.allowed:
            purpose, turn = self._next()
            self._waiting.remove((purpose, turn))
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)

    def _next(self) -> tuple[Purpose, asyncio.Future[None]]:
        """The first in the order of purposes, unless another has been passed over so often that its share is due."""
        kinds = sorted({purpose for purpose, _ in self._waiting}, key=lambda purpose: purpose.rank)
        chosen = next((kind for kind in kinds if self._passed[kind] >= _patience(kind)), kinds[0])
        self._passed.update(kind for kind in kinds if kind != chosen)
        self._passed[chosen] = 0
        return next(each for each in self._waiting if each[0] is chosen)


def _patience(purpose: Purpose) -> float:
    """How often others may go before one that waits."""
    share = SHARES.get(purpose, 0.1)
    return round(1 / share) - 1
