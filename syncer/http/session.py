"""The token that all workers of a connection share: obtained once, renewed before it ends.

Invariant: however many workers are refused at once, one request for a new token is made. It does no I/O
itself and never shows a token; lifetimes run on the monotonic clock, so a wrong local clock changes nothing.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from syncer.errors import AuthError
from syncer.http.gate import Clock

RENEW_AT = 0.9
"""Part of its lifetime after which a token is renewed, so that none ends on the way."""

REFUSED_FOR = 60.0
"""Seconds for which refused credentials are not tried again: workers in a queue must not lock the account."""


class Token(Struct, frozen=True):
    """A token and how long it lives from when it was issued."""

    value: str
    lifetime: timedelta

    def __repr__(self) -> str:
        return f"Token(lifetime={self.lifetime})"


class _Claims(Struct):
    exp: float | None = None
    iat: float | None = None


def jwt_lifetime(token: str, now: datetime | None) -> timedelta | None:
    """How long a JWT lives from its issue, or from `now` by the source's clock; else None."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        text = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        claims = msgspec.json.decode(text, type=_Claims)
        begin = claims.iat if claims.iat is not None else now.timestamp() if now else None
        if claims.exp is None or begin is None or claims.exp <= begin:
            return None
        return timedelta(seconds=claims.exp - begin)
    except (binascii.Error, ValueError, OverflowError, msgspec.MsgspecError):
        return None


class Held(Struct, frozen=True):
    """A token in use, and when on the monotonic clock it is to be renewed."""

    token: Token
    renew_at: float


class Session:
    """Hands out the token in use; `obtain` asks the source for a new one."""

    def __init__(self, obtain: Callable[[], Awaitable[Token]], clock: Clock) -> None:
        self._obtain = obtain
        self._clock = clock
        self._held: Held | None = None
        self._lock = asyncio.Lock()
        self._refused: tuple[float, AuthError] | None = None

    async def current(self) -> Held:
        """The token to use now."""
        held = self._held
        if held is not None and self._clock.monotonic() < held.renew_at:
            return held
        return await self.renewed(held)

    async def renewed(self, used: Held | None) -> Held:
        """A token other than the one used; that of another worker if one has renewed it meanwhile."""
        async with self._lock:
            if self._held is None or self._held is used:
                self._held = await self._new()
            return self._held

    async def _new(self) -> Held:
        asked = self._clock.monotonic()
        if self._refused is not None and asked < self._refused[0] + REFUSED_FOR:
            raise AuthError(self._refused[1].message, self._refused[1].hint)
        try:
            token = await self._obtain()
        except AuthError as error:
            self._refused = (asked, error)
            raise
        return Held(token, asked + RENEW_AT * token.lifetime.total_seconds())
