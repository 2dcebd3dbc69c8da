"""A connection's part of the budget that all processes share: taken from the warehouse, and waited for.

Invariant: where the source has told a limit, or the configuration names a pace, no request is made that the warehouse
has not granted. How a limit is shared out is `syncer.budget`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection as Database

from syncer.budget import Ask, Grant, Limit, Purpose, own_limit, stricter
from syncer.config import Connection
from syncer.errors import Postponed, Stopped
from syncer.http import Gate
from syncer.state import limits
from syncer.state.limits import Wait
from syncer.writer import Writer

LONG = 300.0
"""Seconds from which it is worth telling that a limit is used up; below, requests come free one by one."""


def heed(gate: Gate, wait: Wait | None) -> None:
    """Wait as the source has told another process, or this one before."""
    if wait:
        gate.heed(wait.until, wait.left, wait.reason or "the source said to wait")


class Budget:
    """Grants requests to one connection's gate."""

    def __init__(self, connection: Connection, gate: Gate, writer: Writer) -> None:
        self._name = connection.name
        self._own = own_limit(connection.requests_per_second)
        self._gate = gate
        self._writer = writer
        self._written: Limit | None = None
        self._most_at_once = connection.max_concurrency
        self._uncounted = 0

    async def take(self, purpose: Purpose, wanted: int) -> int:
        """Wait until requests may be made for the purpose, and return how many of those wanted.

        Raises Postponed for sweeps that would have to wait, Stopped where the wait is longer than we may, and what
        `Gate.check` raises.
        """
        while limit := stricter(self._gate.limit, self._own):
            grant = await self._ask(limit, purpose, wanted)
            if grant.requests:
                return grant.requests
            await self._sit_out(limit, purpose, grant)
        # The first answer tells the limit, and more than these cannot be on their way before it.
        self._uncounted = min(self._uncounted + wanted, self._most_at_once)
        return wanted

    async def _ask(self, limit: Limit, purpose: Purpose, wanted: int) -> Grant:
        told = self._gate.limit
        remaining = self._gate.news() if limit == told else None
        ask = Ask(purpose=purpose, wanted=wanted, made=self._uncounted, remaining=remaining)
        self._uncounted = 0

        def transact(db: Database) -> tuple[Grant, Wait | None]:
            if told and told != self._written:
                limits.note_limit(db, self._name, told)
            grant = limits.take(db, self._name, limit, ask, self._writer.now())
            return grant, limits.remaining_wait(db, self._name)

        grant, wait = await self._writer.run(transact)
        self._written = told
        heed(self._gate, wait)
        self._gate.check()
        return grant

    async def _sit_out(self, limit: Limit, purpose: Purpose, grant: Grant) -> None:
        """Sleep until there may be requests again, or a stop or a wait is heard."""
        gate = self._gate
        if purpose is Purpose.SWEEP:
            raise Postponed("sweeps have used their part of the source's limit")
        until = gate.clock.now() + timedelta(seconds=grant.wait)
        if grant.is_used_up and grant.wait >= LONG:
            self._tell(limit, purpose, until)
        if gate.deadline is not None and until >= gate.deadline:
            raise Stopped(f"the limit of {limit} is used until {until:%Y-%m-%d %H:%M:%S} UTC")
        try:
            await gate.doze(grant.wait, gate.check)
        finally:
            gate.used_up.pop(purpose, None)

    def _tell(self, limit: Limit, purpose: Purpose, until: datetime) -> None:
        self._gate.used_up[purpose] = until
        if self._gate.first_to_tell(until):
            self._gate.waits += 1
            log = structlog.get_logger().bind(connection=self._name)
            reason = f"the limit of {limit} is used"
            log.info("waiting", until=until.isoformat(timespec="seconds"), reason=reason)
