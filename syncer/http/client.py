"""Asks one tenant for things and gives back what was asked for, or the error that says what is to be done.

Invariant: every request passes the Gate first, and what an answer says about waiting reaches the Gate before
anything else is done. A wait is raised, not slept: the layer above decides what to do meanwhile. No message
holds a token or a body.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol, TypeVar
from urllib.parse import quote, urlencode

import httpx
from msgspec import Struct, field

from syncer.config import Connection
from syncer.errors import AuthError, Forbidden, NotFound, RateLimited, SyncerError, TransientError
from syncer.http.answer import Answer, Incomplete, Rate, Refused, http_date, retry_after
from syncer.http.gate import Gate
from syncer.http.session import Held, Session, Token
from syncer.http.transport import Transport, place_of

TRIES = 3
"""How often a request is sent whose fault may pass."""

FIRST_PAUSE = 0.5
"""Seconds before the second try, about; the third waits four times as long."""

FIRST_WAIT = timedelta(seconds=10)
LAST_WAIT = timedelta(minutes=15)
"""Where a limit comes without a time: the first wait, doubled each time up to the last."""

NO_ANSWER = 0
"""Stands for the status in `Traffic.answers` where no usable answer came."""

_TYPES = ("application/json", "application/xml", "text/html", "text/plain", "text/xml")

Query = Mapping[str, str] | Sequence[tuple[str, str]]
T = TypeVar("T")


class Traffic(Struct):
    """What went over the wire so far: answers by (endpoint, status), and what was last told of limits."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    rate: Rate | None = None


class Manners(Protocol):
    """How a platform wants to be addressed. Pure: builds requests and reads answers, does no I/O."""

    @property
    def rights(self) -> str:
        """What the user's role needs, for the one who reads a 403."""

    @property
    def credentials(self) -> str:
        """Which keys of the configuration hold the credentials, for the one who reads a 401."""

    def token_request(self) -> httpx.Request | None:
        """The POST that obtains a token; None where none has to be obtained."""

    def token_from(self, answer: Answer, now: datetime | None) -> Token:
        """The token in the answer, `now` by the source's clock; ValueError where there is none."""

    def sign(self, request: httpx.Request, token: str | None) -> None:
        """Put the proof of who asks into the request's headers."""

    def wait(self, answer: Answer, rate: Rate | None, retry_after: timedelta | None) -> timedelta | None:
        """How long this answer asks to wait, zero for a limit without a time, None where it is no limit.

        `rate` and `retry_after` are what its headers tell. 429, and 503 with Retry-After, are limits in any
        case. An answer that can be used may ask for a wait before the next request, never for one of zero.
        """


def segment(text: str) -> str:
    """An id as one segment of a path: not even ".." leads elsewhere."""
    return "%2E" * len(text) if text in (".", "..") else quote(text, safe="")


class _Unauthorized(Exception):
    """The source did not accept the token."""

    def __init__(self, held: Held | None) -> None:
        super().__init__()
        self.held = held


class Client:
    """Reads from one tenant."""

    def __init__(self, connection: Connection, manners: Manners, gate: Gate) -> None:
        self.gate = gate
        self.traffic = Traffic()
        self._base_url = connection.base_url
        self._place = place_of(httpx.URL(connection.base_url))
        self._manners = manners
        self._clock = gate.clock
        self._transport = Transport(connection)
        self._session = Session(self._obtain, gate.clock) if manners.token_request() else None
        self._date: tuple[str, datetime, float] | None = None
        self._bare_limits = 0
        # Answers are parsed one by one, and between two of them whatever else waits for the loop has its turn: a
        # transaction would have to sit through all that came in the meantime, at each of its statements.
        self._turn = asyncio.Lock()

    async def get(self, path: str, query: Query = (), *, endpoint: str, parse: Callable[[bytes], T]) -> T:
        """Read the body that stands at the path (see `read`)."""
        return await self.read(path, query, endpoint=endpoint, parse=lambda answer: parse(answer.body))

    async def read(self, path: str, query: Query = (), *, endpoint: str, parse: Callable[[Answer], T]) -> T:
        """Read what stands at the path, headers included. `endpoint` names it in counts and messages.

        `parse` raises ValueError for a body that is not what was asked for, such as a page of HTML or JSON
        cut short; that is tried again like any fault that may pass. Raises as `syncer.errors` says, TooLarge
        and Refused included.
        """
        url = self._url(path, query)
        try:
            return await self._persevere(lambda: self._get_once(url, self._held, endpoint, parse))
        except _Unauthorized as refused:
            used = refused.held
        try:
            return await self._persevere(
                lambda: self._get_once(url, lambda: self._renewed(used), endpoint, parse)
            )
        except _Unauthorized:
            raise AuthError(
                f"{self._place} does not accept the token (401)", self._manners.credentials
            ) from None

    def now(self) -> datetime | None:
        """A lower bound of the source's clock; None before an answer carried a Date."""
        if self._date is None:
            return None
        _, told, received = self._date
        return told + timedelta(seconds=self._clock.monotonic() - received)

    async def close(self) -> None:
        """Give the connections back."""
        await self._transport.close()

    def _url(self, path: str, query: Query) -> str:
        encoded = urlencode(query, quote_via=quote)
        return f"{self._base_url}{path}{'?' if encoded else ''}{encoded}"

    async def _held(self) -> Held | None:
        return await self._session.current() if self._session else None

    async def _renewed(self, held: Held | None) -> Held:
        if self._session is None:
            raise _Unauthorized(held)
        return await self._session.renewed(held)

    async def _persevere(self, attempt: Callable[[], Awaitable[T]]) -> T:
        for tries_before in range(TRIES - 1):
            try:
                return await attempt()
            except TransientError:
                pause = FIRST_PAUSE * 4**tries_before
            await self._clock.sleep(pause * (0.5 + self._clock.random()))
        return await attempt()

    async def _get_once(
        self,
        url: str,
        hold: Callable[[], Awaitable[Held | None]],
        endpoint: str,
        parse: Callable[[Answer], T],
    ) -> T:
        async with self.gate.request():
            held = await hold()
            request = httpx.Request("GET", url)
            self._manners.sign(request, held.token.value if held else None)
            answer = await self._exchange(request, endpoint)
            if answer.status == 401:
                raise _Unauthorized(held)
            self._judge(answer, endpoint)
        async with self._turn:
            await asyncio.sleep(0)
            return self._parsed(answer, endpoint, parse)

    async def _obtain(self) -> Token:
        self.gate.check()
        request = self._manners.token_request()
        assert request is not None
        place = place_of(request.url)  # a platform may give its tokens elsewhere
        answer = await self._exchange(request, "auth")
        if answer.status in (400, 401, 403):
            raise AuthError(f"{place} refused the credentials", self._manners.credentials)
        if answer.status == 404:
            hint = "check base_url" if place == self._place else self._manners.credentials
            raise AuthError(f"{place} gives no tokens at {request.url.path} (404)", hint)
        self._judge(answer, "auth")
        return self._parsed(answer, "auth", lambda _: self._manners.token_from(answer, self.now()))

    async def _exchange(self, request: httpx.Request, endpoint: str) -> Answer:
        try:
            answer = await self._transport.exchange(request)
        except SyncerError:
            self.traffic.answers[endpoint, NO_ANSWER] += 1
            raise
        self.traffic.answers[endpoint, answer.status] += 1
        if answer.status < 300:
            self._note_date(answer.headers.get("date", ""))
        return answer

    def _note_date(self, text: str) -> None:
        """Keep the Date with when it came; of the same second the first one says most."""
        if self._date is not None and self._date[0] == text:
            return
        told = http_date(text)
        if told is not None:
            self._date = (text, told, self._clock.monotonic())

    def _judge(self, answer: Answer, endpoint: str) -> None:
        """Return if the answer can be used; raises what else it means. Waits reach the gate first."""
        rate = Rate.of(answer.headers)
        if rate is not None:
            self.traffic.rate = rate
            self.gate.note_rate(rate)
        wait = self._wait(answer, rate)
        if wait is not None:
            reason = f"{self._place} limits requests ({answer.status} on {endpoint})"
            until = self._clock.now() + (wait or self._next_wait())
            self.gate.wait_until(until, reason)
            if answer.status >= 300:
                raise RateLimited(f"waiting until {until.isoformat(timespec='seconds')}: {reason}", until)
        if answer.status >= 300:
            raise self._refusal(answer.status, endpoint)
        self._bare_limits = 0

    def _wait(self, answer: Answer, rate: Rate | None) -> timedelta | None:
        told = retry_after(answer.headers, self._clock.now())
        wait = self._manners.wait(answer, rate, told)
        if wait is None and answer.status in (429, 503):
            return told if told is not None or answer.status == 503 else timedelta()
        return wait

    def _next_wait(self) -> timedelta:
        """The wait for a limit without a time: longer each time, once for all workers refused together."""
        if not self.gate.is_waiting or not self._bare_limits:
            self._bare_limits += 1
        return min(FIRST_WAIT * (1 << min(self._bare_limits - 1, 10)), LAST_WAIT)

    def _refusal(self, status: int, endpoint: str) -> SyncerError:
        place = self._place
        if status == 403:
            return Forbidden(f"{place} does not allow to read {endpoint} (403)", self._manners.rights)
        if status == 404:
            return NotFound(f"{place} has no such {endpoint} (404)")
        if status >= 500 or status in (408, 425):
            return TransientError(f"{place} answered {status} to {endpoint}", "nothing to do unless it stays")
        if status < 400:
            return Refused(
                f"{place} redirects {endpoint} elsewhere ({status})",
                "redirects are not followed: base_url must be the address of the API itself",
                status=status,
            )
        return Refused(
            f"{place} refused the request for {endpoint} ({status})",
            "its API may have changed: see whether a newer version of syncer knows it",
            status=status,
        )

    def _parsed(self, answer: Answer, endpoint: str, parse: Callable[[Answer], T]) -> T:
        try:
            return parse(answer)
        except Incomplete as missing:
            raise TransientError(f"{self._place} answered {endpoint} in part: {missing}") from None
        except ValueError:  # its text may hold what was sent
            kind = _known_type(answer.headers.get("content-type"))
            raise TransientError(
                f"{self._place} answered {endpoint} with something else ({answer.status}, {kind})",
                "a proxy or a maintenance page may stand in between; see what the address answers",
            ) from None


def _known_type(told: str | None) -> str:
    """A content type as messages show it: a header that the source makes up may hold anything."""
    kind = (told or "").partition(";")[0].strip().lower()
    return kind if kind in _TYPES else "an unusual content type" if kind else "no content type"
