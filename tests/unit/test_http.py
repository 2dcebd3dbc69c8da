"""The client against a real socket: what every status, header and fault of the wire becomes."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import ssl
import subprocess
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec
import pytest

from syncer.budget import Purpose
from syncer.config import Connection, Section
from syncer.errors import (
    AuthError,
    ConfigError,
    ContractError,
    NotFound,
    RateLimited,
    Stopped,
    SyncerError,
    TransientError,
    Unreachable,
)
from syncer.http import (
    Answer,
    Client,
    Clock,
    Gate,
    Incomplete,
    Rate,
    Refused,
    Token,
    TooLarge,
    doing,
    jwt_lifetime,
)
from syncer.http.answer import http_date, retry_after

T = TypeVar("T")
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = "hunter2-hunter2"


class FakeTime:
    """A clock that moves only when someone sleeps or a test says so."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.sleeps: list[float] = []
        self.during_sleep: Callable[[], None] = lambda: None

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.elapsed += seconds
        self.during_sleep()

    @property
    def clock(self) -> Clock:
        return Clock(
            now=lambda: START + timedelta(seconds=self.elapsed),
            monotonic=lambda: self.elapsed,
            sleep=self.sleep,
            random=lambda: 0.5,
        )


@dataclass
class Manners:
    """A platform that gives tokens at /login, or none where `has_login` is off."""

    url: str
    has_login: bool = True
    lifetime: timedelta = timedelta(hours=1)
    rights: str = "ask for the right to read"
    credentials: str = "check auth.password"

    def token_request(self) -> httpx.Request | None:
        return httpx.Request("POST", f"{self.url}/login", content=SECRET.encode()) if self.has_login else None

    def token_from(self, answer: Answer, now: datetime | None) -> Token:
        if not answer.body.startswith(b"token"):
            raise ValueError(f"no token in {answer.body!r}")
        return Token(answer.body.decode(), self.lifetime)

    def sign(self, request: httpx.Request, token: str | None) -> None:
        request.headers["Authorization"] = f"Bearer {token or SECRET}"

    def wait(self, answer: Answer, rate: Rate | None, retry_after: timedelta | None) -> timedelta | None:
        if rate and rate.remaining == 0 and rate.to_wait:
            return rate.to_wait
        return None


Scripted = Callable[["Server", bytes], bytes | None]


@dataclass
class Server:
    """Answers every request with the bytes `script` returns; None closes the connection, b"" says nothing."""

    script: Scripted
    url: str = ""
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def connections(self) -> int:
        return len(self.writers)

    @property
    def lines(self) -> list[str]:
        return [line for line, _ in self.seen]

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                line, *rest = head.decode("latin-1").rstrip("\r\n").split("\r\n")
                headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in rest)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.seen.append((line.removesuffix(" HTTP/1.1"), headers))
                sent = self.script(self, body)
                if sent is None:
                    break
                writer.write(sent)
                await writer.drain()
                if b"connection: close" in sent.lower():
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def reply(status: int = 200, body: bytes = b"{}", *headers: str) -> bytes:
    length = (
        ()
        if any(each.lower().startswith(("content-length", "transfer")) for each in headers)
        else (f"Content-Length: {len(body)}",)
    )
    head = "\r\n".join([f"HTTP/1.1 {status} Said", *length, *headers])
    return head.encode() + b"\r\n\r\n" + body


def in_turn(*answers: bytes | None) -> Scripted:
    """Each answer once, the last one for ever; POST gets a token."""
    left = list(answers)

    def script(server: Server, body: bytes) -> bytes | None:
        if server.lines[-1].startswith("POST"):
            return reply(201, b"token-%d" % sum(line.startswith("POST") for line in server.lines))
        return left.pop(0) if len(left) > 1 else left[0]

    return script


def a_connection(url: str, **changes: Any) -> Connection:
    settings: dict[str, Any] = {"timeout": timedelta(seconds=60), "requests_per_second": 0} | changes
    return Connection(name="t", platform="p", base_url=url, auth=Section(), options=Section(), **settings)


@asynccontextmanager
async def serving(script: Scripted, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(script)
    listening = await asyncio.start_server(server.answer, "127.0.0.1", 0, ssl=tls)
    scheme = "https" if tls else "http"
    server.url = f"{scheme}://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()


@dataclass
class Bench:
    """A server, a client that talks to it and the time they live in."""

    server: Server
    client: Client
    time: FakeTime

    async def get(self, path: str = "/things", endpoint: str = "things") -> Any:
        return await self.client.get(path, endpoint=endpoint, parse=msgspec_decode)


def msgspec_decode(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        raise ValueError(f"not JSON: {body!r}") from None


def with_client(
    script: Scripted, work: Callable[[Bench], Awaitable[T]], *, rate: float = 0, **changes: Any
) -> T:
    """Run `work` with a client for a server that answers as scripted."""

    async def run() -> T:
        async with serving(script) as server:
            time = FakeTime()
            manners = Manners(
                server.url,
                has_login=changes.pop("has_login", True),
                lifetime=changes.pop("lifetime", timedelta(hours=1)),
            )
            client = Client(a_connection(server.url, **changes), manners, Gate(time.clock, rate))
            try:
                return await work(Bench(server, client, time))
            finally:
                await client.close()

    return asyncio.run(run())


def raised(script: Scripted, kind: type[SyncerError], **changes: Any) -> SyncerError:
    """The error that one GET ends with."""

    async def work(bench: Bench) -> SyncerError:
        with pytest.raises(kind) as caught:
            await bench.get()
        assert SECRET not in str(caught.value)
        assert SECRET not in repr(caught.value)
        return caught.value

    return with_client(script, work, **changes)


# The gate


def test_gate_says_no_until_the_wait_is_over_and_then_forgets_it() -> None:
    time = FakeTime()
    gate = Gate(time.clock)
    gate.check()
    gate.wait_until(START + timedelta(seconds=60), "too often")
    time.elapsed = 59.9
    with pytest.raises(RateLimited, match="too often") as caught:
        gate.check()
    assert caught.value.until == START + timedelta(seconds=60)
    time.elapsed = 60
    gate.check()
    assert gate.not_before is None
    assert not gate.reason


def test_gate_never_shortens_a_wait() -> None:
    gate = Gate(FakeTime().clock)
    gate.wait_until(START + timedelta(hours=1), "long")
    gate.wait_until(START + timedelta(seconds=1), "short")
    assert (gate.not_before, gate.reason) == (START + timedelta(hours=1), "long")


def test_gate_spaces_requests_evenly_and_saves_up_no_turns() -> None:
    time = FakeTime()
    gate = Gate(time.clock, requests_per_second=4)

    async def work() -> None:
        for pause in (0, 0, 100, 0, 0):
            async with gate.request():
                time.elapsed += pause

    asyncio.run(work())
    assert time.sleeps == [0.25, 0.25, 0.25]


def test_requests_of_the_shared_budget_are_asked_for_together_and_forgotten_in_a_wait() -> None:
    time = FakeTime()
    gate = Gate(time.clock, at_once=8)
    wanted: list[tuple[Purpose, int]] = []

    async def supply(purpose: Purpose, number: int) -> int:
        await asyncio.sleep(0)
        wanted.append((purpose, number))
        return number + 1

    async def request(purpose: Purpose) -> None:
        with doing(purpose):
            async with gate.request():
                pass

    async def work() -> None:
        await asyncio.gather(*(request(Purpose.LIVE) for _ in range(5)), request(Purpose.HISTORY))
        gate.wait_until(START + timedelta(seconds=1), "slow down")
        time.elapsed += 2
        await request(Purpose.LIVE)

    gate.supply = supply
    asyncio.run(work())
    assert wanted == [(Purpose.LIVE, 1), (Purpose.HISTORY, 1), (Purpose.LIVE, 3), (Purpose.LIVE, 1)]


def test_a_stop_or_wait_that_comes_while_waiting_for_the_turn_holds() -> None:
    time = FakeTime()
    gate = Gate(time.clock, requests_per_second=1)
    time.during_sleep = lambda: gate.stop("a signal came")

    async def work() -> None:
        for _ in range(2):
            async with gate.request():
                pass

    with pytest.raises(Stopped, match="a signal came"):
        asyncio.run(work())


# Headers


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "17"}, 17),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "9" * 400}, 366 * 86_400),
        ({"retry-after": "Sun, 01 Mar 2026 12:02:00 GMT"}, 120),
        ({"retry-after": "Sun, 01 Mar 2026 11:00:00 GMT"}, 0),
        # The source's clock is an hour behind ours: its own Date says how long it means.
        ({"retry-after": "Sun, 01 Mar 2026 11:02:00 GMT", "date": "Sun, 01 Mar 2026 11:00:30 GMT"}, 90),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date_by_the_sources_clock(
    headers: dict[str, str], seconds: float | None
) -> None:
    wait = retry_after(headers, START)
    assert (wait.total_seconds() if wait is not None else None) == seconds


def test_rate_headers_are_read_under_both_names_and_nonsense_is_absent() -> None:
    rate = Rate.of(
        {
            "x-ratelimit-limit": "300",
            "x-ratelimit-window-sec": "3600",
            "x-ratelimit-remaining": "298",
            "x-ratelimit-towait-sec": "-",
            "x-concurrencylimit-limit": "2",
        }
    )
    assert rate == Rate(limit=300, window=timedelta(hours=1), remaining=298, concurrency=2)
    assert Rate.of({"content-type": "application/json"}) is None


@pytest.mark.parametrize("text", ["", "yesterday", "Sun, 99 Mar 2026 12:00:00 GMT", "-0000"])
def test_what_is_no_http_date_is_none(text: str) -> None:
    assert http_date(text) is None


def _jwt(**claims: object) -> str:
    import base64

    body = base64.urlsafe_b64encode(msgspec.json.encode(claims)).rstrip(b"=").decode()
    return f"eyJhbGciOiJub25lIn0.{body}.c2ln"


@pytest.mark.parametrize(
    ("token", "now", "seconds"),
    [
        (_jwt(iat=1000, exp=15_400), None, 14_400),
        (_jwt(exp=START.timestamp() + 600), START, 600),
        (_jwt(exp=START.timestamp() + 600), None, None),
        (_jwt(iat=2000, exp=1000), START, None),
        (_jwt(iat=2000), START, None),
        (_jwt(exp="soon"), START, None),
        ("opaque", START, None),
        ("a.b.c", START, None),
        ("a.é.c", START, None),
    ],
)
def test_a_jwts_lifetime_is_its_own_span_and_else_measured_by_the_sources_clock(
    token: str, now: datetime | None, seconds: float | None
) -> None:
    lifetime = jwt_lifetime(token, now)
    assert (lifetime.total_seconds() if lifetime is not None else None) == seconds


# Answers


def test_get_asks_for_exactly_the_path_and_query_with_the_token() -> None:
    async def work(bench: Bench) -> None:
        query = [("startAt", "2026-01-01T00:00:00.000Z"), ("order", "a b&c")]
        found = await bench.client.get("/x/y%2Fz", query, endpoint="things", parse=msgspec_decode)
        assert found == {"a": 1}
        assert bench.server.lines == [
            "POST /login",
            "GET /x/y%2Fz?startAt=2026-01-01T00%3A00%3A00.000Z&order=a%20b%26c",
        ]
        assert bench.server.seen[1][1]["authorization"] == "Bearer token-1"
        assert bench.client.traffic.answers == {("auth", 201): 1, ("things", 200): 1}

    with_client(in_turn(reply(body=b'{"a":1}')), work)


def test_compressed_and_chunked_answers_are_read() -> None:
    packed = gzip.compress(b'{"a":1}')
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(packed), packed)
    script = in_turn(
        reply(200, packed, "Content-Encoding: gzip"),
        reply(200, chunked, "Content-Encoding: gzip", "Transfer-Encoding: chunked"),
    )

    async def work(bench: Bench) -> None:
        assert [await bench.get(), await bench.get()] == [{"a": 1}, {"a": 1}]

    with_client(script, work)


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (400, Refused, "refused the request for things (400)"),
        (403, AuthError, "does not allow to read things (403) (ask for the right to read)"),
        (404, NotFound, "has no such things (404)"),
        (405, Refused, "(405)"),
        (409, Refused, "(409)"),
        (302, Refused, "redirects are not followed"),
    ],
)
def test_a_status_that_will_not_pass_is_asked_once_and_says_what_to_do(
    status: int, kind: type[SyncerError], says: str
) -> None:
    async def work(bench: Bench) -> None:
        with pytest.raises(kind) as caught:
            await bench.get()
        assert says in str(caught.value)
        assert bench.time.sleeps == []
        assert bench.client.traffic.answers["things", status] == 1
        assert len(bench.server.lines) == 2

    body = f"the body holds {SECRET}".encode()
    with_client(in_turn(reply(status, body, "Location: /elsewhere")), work)


@pytest.mark.parametrize("status", [408, 425, 500, 502, 503, 504, 520])
def test_a_status_that_may_pass_is_tried_three_times_with_growing_pauses(status: int) -> None:
    async def work(bench: Bench) -> None:
        with pytest.raises(TransientError, match=f"answered {status} to things"):
            await bench.get()
        assert bench.time.sleeps == [0.5, 2.0]
        assert bench.client.traffic.answers["things", status] == 3

    with_client(in_turn(reply(status)), work)


BROKEN = {
    "connection closed": None,
    "body cut": reply(200, b'{"a":', "Content-Length: 500", "Connection: close"),
    "HTML with 200": reply(200, b"<html>maintenance</html>", "Content-Type: text/html"),
    "JSON cut": reply(200, b'{"items":[{"a":1},'),
    "gzip cut": reply(200, gzip.compress(b'{"a":1}' * 99)[:-12], "Content-Encoding: gzip"),
    "gzip without its checksum": reply(200, gzip.compress(b'{"a":2}')[:-4], "Content-Encoding: gzip"),
    "no gzip at all": reply(200, b"{}", "Content-Encoding: gzip"),
    "unknown encoding": reply(200, b"\x0b\x02\x80{}\x03", "Content-Encoding: br"),
    "not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
}


@pytest.mark.parametrize("fault", BROKEN)
def test_one_broken_answer_is_got_over(fault: str) -> None:
    async def work(bench: Bench) -> None:
        assert await bench.get() == {"a": 1}
        assert bench.time.sleeps == [0.5]

    with_client(in_turn(BROKEN[fault], reply(200, b'{"a":1}')), work)


@pytest.mark.parametrize("fault", BROKEN)
def test_an_answer_that_stays_broken_is_transient_and_never_quoted(fault: str) -> None:
    error = raised(in_turn(BROKEN[fault]), TransientError)
    assert "127.0.0.1" in error.message
    assert "maintenance" not in error.message
    assert "items" not in error.message


def test_a_server_that_stays_silent_is_given_up() -> None:
    error = raised(in_turn(b""), TransientError, timeout=timedelta(milliseconds=50))
    assert "did not answer in time" in error.message


def test_what_an_answer_says_to_be_missing_is_told() -> None:
    def parse(body: bytes) -> None:
        raise Incomplete("5 of 6 steps")

    async def work(bench: Bench) -> None:
        with pytest.raises(TransientError, match="answered steps in part: 5 of 6 steps"):
            await bench.client.get("/steps", endpoint="steps", parse=parse)
        assert bench.client.traffic.answers["steps", 200] == 3

    with_client(in_turn(reply()), work)


def test_an_address_where_nobody_listens_names_the_setting_to_check() -> None:
    async def run() -> None:
        async with serving(in_turn(reply())) as server:
            url = server.url
        client = Client(a_connection(url), Manners(url, has_login=False), Gate(FakeTime().clock))
        with pytest.raises(Unreachable) as caught:
            await client.get("/x", endpoint="things", parse=bytes)
        assert str(caught.value).startswith(f"cannot reach {url}: connection refused (check base_url")
        assert client.traffic.answers == {("things", 0): 3}
        await client.close()

    asyncio.run(run())


def test_a_name_nobody_knows_is_called_that() -> None:
    async def run() -> None:
        url = "https://nowhere.invalid"
        client = Client(a_connection(url), Manners(url, has_login=False), Gate(FakeTime().clock))
        with pytest.raises(Unreachable, match=r"cannot reach https://nowhere\.invalid: its name is unknown"):
            await client.get("/x", endpoint="things", parse=bytes)
        await client.close()

    asyncio.run(run())


def test_a_request_given_up_on_the_way_leaves_its_place_to_the_next() -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    def silent_thrice(server: Server, body: bytes) -> bytes:
        heard.put_nowait(server.lines[-1])
        return b"" if len(server.lines) <= 3 else reply(200, b'{"a":1}')

    async def work(bench: Bench) -> None:
        for _ in range(3):
            task = asyncio.create_task(bench.get())
            await heard.get()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await bench.get() == {"a": 1}

    with_client(silent_thrice, work, max_concurrency=1, has_login=False)


# Bounds

LIMIT = 1_000_000
TOO_LONG = {
    "announced": reply(200, b"[", f"Content-Length: {LIMIT + 1}") + b" " * LIMIT,
    "chunked": reply(200, b"%x\r\n" % (LIMIT + 1) + b" " * (LIMIT + 1), "Transfer-Encoding: chunked"),
    "bomb": reply(200, gzip.compress(b" " * 100_000_000), "Content-Encoding: gzip"),
}


@pytest.mark.parametrize("way", TOO_LONG)
def test_a_longer_answer_than_allowed_is_abandoned_at_once_and_not_asked_for_again(way: str) -> None:
    async def work(bench: Bench) -> None:
        tracemalloc.start()
        try:
            with pytest.raises(TooLarge, match=f"more than {LIMIT} bytes"):
                await bench.get()
            assert tracemalloc.get_traced_memory()[1] < 4 * LIMIT
        finally:
            tracemalloc.stop()
        assert bench.time.sleeps == []
        assert await bench.get() == {"a": 1}

    with_client(in_turn(TOO_LONG[way], reply(200, b'{"a":1}')), work, max_response_bytes=LIMIT)


def test_an_answer_of_exactly_the_limit_is_read() -> None:
    async def work(bench: Bench) -> None:
        assert await bench.get() == "xxxxxxxx"

    with_client(in_turn(reply(200, b'"xxxxxxxx"')), work, max_response_bytes=10)


def test_an_error_with_an_endless_body_is_still_that_error() -> None:
    raised(in_turn(reply(404, b"x" * 500_000)), NotFound)


# Waits


def wait_after(script: Scripted) -> tuple[float, str]:
    """Seconds until which the first GET says to wait; nothing is sent until then, and then again."""

    async def work(bench: Bench) -> tuple[float, str]:
        with pytest.raises(RateLimited) as caught:
            await bench.get()
        assert bench.time.sleeps == []
        asked = len(bench.server.lines)
        wait = (caught.value.until - START).total_seconds()
        bench.time.elapsed = wait - 0.01
        with pytest.raises(RateLimited):
            await bench.get()
        assert len(bench.server.lines) == asked
        bench.time.elapsed = wait
        assert await bench.get() == {"a": 1}
        return wait, caught.value.message

    return with_client(script, work)


@pytest.mark.parametrize(
    ("refusal", "seconds"),
    [
        (reply(429, b"", "Retry-After: 17"), 17),
        (reply(503, b"", "Retry-After: 60"), 60),
        (
            reply(
                429, b"", "Retry-After: Sun, 01 Mar 2026 12:00:20 GMT", "Date: Sun, 01 Mar 2026 12:00:05 GMT"
            ),
            15,
        ),
        (reply(429, b"x" * 100_000, "X-RateLimit-Remaining: 0", "X-RateLimit-ToWait-Sec: 33"), 33),
        (reply(429, b""), 10),
        (reply(429, b"", "Retry-After: 0"), 10),
    ],
)
def test_no_request_is_made_while_the_source_has_said_to_wait(refusal: bytes, seconds: float) -> None:
    assert wait_after(in_turn(refusal, reply(200, b'{"a":1}')))[0] == seconds


def test_the_wait_says_what_was_asked_and_until_when() -> None:
    _, message = wait_after(in_turn(reply(429, b"", "Retry-After: 17"), reply(200, b'{"a":1}')))
    assert message.startswith("waiting until 2026-03-01T12:00:17+00:00: http://127.0.0.1:")
    assert message.endswith("limits requests (429 on things)")


def test_limits_without_a_time_wait_longer_each_time_until_an_answer_comes() -> None:
    async def work(bench: Bench) -> None:
        waits = []
        for _ in range(3):
            with pytest.raises(RateLimited) as caught:
                await bench.get()
            waits.append((caught.value.until - bench.client.gate.clock.now()).total_seconds())
            bench.time.elapsed += waits[-1]
        await bench.get()
        with pytest.raises(RateLimited) as caught:
            await bench.get()
        waits.append((caught.value.until - bench.client.gate.clock.now()).total_seconds())
        assert waits == [10, 20, 40, 10]

    bare = reply(429, b"")
    with_client(in_turn(bare, bare, bare, reply(), bare), work)


def test_workers_refused_together_count_as_one_refusal() -> None:
    async def work(bench: Bench) -> None:
        results = await asyncio.gather(*(bench.get() for _ in range(4)), return_exceptions=True)
        assert {type(result) for result in results} == {RateLimited}
        assert bench.client.gate.not_before == START + timedelta(seconds=10)

    with_client(in_turn(reply(429, b"")), work)


def test_a_refusal_without_a_time_that_comes_in_the_middle_of_a_wait_adds_nothing() -> None:
    async def work(bench: Bench) -> None:
        def refuse(_server: Server, _body: bytes) -> bytes:
            bench.client.gate.wait_until(START + timedelta(seconds=60), "another request was told to wait")
            return reply(429, b"")

        bench.server.script = refuse
        with pytest.raises(RateLimited):
            await bench.get()
        assert bench.client.gate.not_before == START + timedelta(seconds=60)

    with_client(in_turn(reply()), work, has_login=False)


def test_a_good_answer_that_says_nothing_is_left_holds_the_next_request() -> None:
    script = in_turn(reply(200, b"1", "X-RateLimit-Remaining: 0", "X-RateLimit-ToWait-Sec: 33"))

    async def work(bench: Bench) -> None:
        assert await bench.get() == 1
        with pytest.raises(RateLimited) as caught:
            await bench.get()
        assert caught.value.until == START + timedelta(seconds=33)
        assert bench.client.traffic.rate == Rate(remaining=0, to_wait=timedelta(seconds=33))

    with_client(script, work)


def test_nothing_is_asked_after_a_stop_not_even_for_a_token() -> None:
    async def work(bench: Bench) -> None:
        bench.client.gate.stop("the time given is over")
        with pytest.raises(Stopped, match="the time given is over"):
            await bench.get()
        assert bench.server.lines == []

    with_client(in_turn(reply()), work)


def test_a_stop_between_two_tries_ends_the_tries() -> None:
    async def work(bench: Bench) -> None:
        bench.time.during_sleep = lambda: bench.client.gate.stop("a signal came")
        with pytest.raises(Stopped):
            await bench.get()
        assert bench.client.traffic.answers["things", 500] == 1

    with_client(in_turn(reply(500)), work)


def test_requests_keep_the_pace_and_the_token_is_exempt() -> None:
    async def work(bench: Bench) -> None:
        for _ in range(3):
            await bench.get()
        assert bench.time.sleeps == [0.5, 0.5]

    with_client(in_turn(reply()), work, rate=2)


# Tokens


def needs_token(good: Callable[[Server], str]) -> Scripted:
    """Only the token that `good` names is let in; every POST gets the next one."""

    def script(server: Server, body: bytes) -> bytes:
        line, headers = server.seen[-1]
        if line.startswith("POST"):
            return reply(200, b"token-%d" % sum(each.startswith("POST") for each in server.lines))
        return reply(200, b"1") if headers["authorization"] == f"Bearer {good(server)}" else reply(401, b"no")

    return script


def posts(server: Server) -> int:
    return sum(line.startswith("POST") for line in server.lines)


def test_eight_workers_refused_at_once_renew_the_token_once() -> None:
    async def work(bench: Bench) -> None:
        await bench.get()
        revoked.append(True)
        found = await asyncio.gather(*(bench.get(f"/{number}") for number in range(8)))
        assert found == [1] * 8
        assert posts(bench.server) == 2

    revoked: list[bool] = []
    with_client(needs_token(lambda server: "token-2" if revoked else "token-1"), work, max_concurrency=8)


def test_eight_workers_that_begin_at_once_obtain_one_token() -> None:
    async def work(bench: Bench) -> None:
        await asyncio.gather(*(bench.get() for _ in range(8)))
        assert posts(bench.server) == 1

    with_client(in_turn(reply()), work, max_concurrency=8)


def test_a_token_that_is_refused_after_its_renewal_is_an_auth_error() -> None:
    async def work(bench: Bench) -> None:
        with pytest.raises(AuthError, match="does not accept the token") as caught:
            await bench.get()
        assert caught.value.hint == "check auth.password"
        assert posts(bench.server) == 2
        assert bench.client.traffic.answers["things", 401] == 2

    with_client(needs_token(lambda server: "none"), work)


def test_a_fixed_token_that_is_refused_is_an_auth_error_at_once() -> None:
    async def work(bench: Bench) -> None:
        with pytest.raises(AuthError):
            await bench.get()
        assert bench.server.lines == ["GET /things"]

    with_client(in_turn(reply(401)), work, has_login=False)


def test_a_token_is_renewed_before_it_ends() -> None:
    async def work(bench: Bench) -> None:
        await bench.get()
        bench.time.elapsed = 0.89 * 600
        await bench.get()
        assert posts(bench.server) == 1
        bench.time.elapsed = 0.91 * 600
        await bench.get()
        assert posts(bench.server) == 2
        assert bench.server.seen[-1][1]["authorization"] == "Bearer token-2"

    with_client(in_turn(reply()), work, lifetime=timedelta(minutes=10))


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_refused_credentials_are_tried_once_for_all_workers_and_not_again_soon(status: int) -> None:
    async def work(bench: Bench) -> None:
        results = await asyncio.gather(*(bench.get() for _ in range(8)), return_exceptions=True)
        assert {type(result) for result in results} == {AuthError}
        assert SECRET not in str(results)
        assert len(bench.server.lines) == 1
        bench.time.elapsed += 61
        with pytest.raises(AuthError):
            await bench.get()
        assert len(bench.server.lines) == 2

    with_client(lambda server, body: reply(status, body), work, max_concurrency=8)


def test_faults_of_the_token_request_are_got_over_and_its_limits_are_kept() -> None:
    answers = [
        reply(503),
        None,
        reply(200, b"<html>"),
        reply(429, b"", "Retry-After: 9"),
        reply(200, b"token"),
    ]

    async def work(bench: Bench) -> None:
        with pytest.raises(TransientError, match="answered auth with something else"):
            await bench.get()
        assert bench.time.sleeps == [0.5, 2.0]
        with pytest.raises(RateLimited):
            await bench.get()
        with pytest.raises(RateLimited):
            await bench.get()
        assert len(bench.server.lines) == 4
        bench.time.elapsed += 9
        assert await bench.get() == {}
        assert bench.server.lines[-2:] == ["POST /login", "GET /things"]

    with_client(lambda server, body: answers.pop(0) if answers else reply(), work)


def test_a_token_shows_itself_nowhere() -> None:
    assert SECRET not in repr(Token(SECRET, timedelta(hours=1)))


# The source's clock


def test_now_is_the_last_date_plus_the_time_since_it_came() -> None:
    first = reply(200, b"1", "Date: Sun, 01 Mar 2020 10:00:00 GMT")
    script = in_turn(
        first, first, reply(404, b"", "Date: Tue, 01 Jan 2030 00:00:00 GMT"),
        reply(200, b"1", "Date: Sun, 01 Mar 2020 10:00:09 GMT"),
    )  # fmt: skip
    dawn = datetime(2020, 3, 1, 10, tzinfo=UTC)

    async def work(bench: Bench) -> None:
        assert bench.client.now() is None
        await bench.get()
        bench.time.elapsed = 0.75
        await bench.get()
        assert bench.client.now() == dawn + timedelta(seconds=0.75), "the same second, told again, is no news"
        with pytest.raises(NotFound):
            await bench.get()
        assert bench.client.now() == dawn + timedelta(seconds=0.75), "whoever refused may have another clock"
        await bench.get()
        bench.time.elapsed += 5
        assert bench.client.now() == dawn + timedelta(seconds=14)

    with_client(script, work, has_login=False)


# TLS and proxies


def a_server_certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """What a server on this machine shows, and the file to trust it by."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl for a certificate")


@needs_openssl
def test_a_certificate_is_trusted_only_with_its_ca_file(tmp_path: Path) -> None:
    context, certificate = a_server_certificate(tmp_path)

    async def get(url: str, **changes: Any) -> bytes:
        client = Client(a_connection(url, **changes), Manners(url, has_login=False), Gate(FakeTime().clock))
        try:
            return await client.get("/x", endpoint="things", parse=bytes)
        finally:
            await client.close()

    async def run() -> None:
        async with serving(in_turn(reply(200, b"{}", "Connection: close")), context) as server:
            with pytest.raises(TransientError, match=r"is not trusted: .*ca_file"):
                await get(server.url)
            assert server.seen == []
            assert await get(server.url, ca_file=str(certificate)) == b"{}"

    asyncio.run(run())


def test_a_ca_file_that_holds_no_certificate_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(ConfigError, match=r"ca\.pem cannot be used"):
        Client(
            a_connection("https://x.example", ca_file=str(tmp_path / "ca.pem")),
            Manners(""),
            Gate(FakeTime().clock),
        )


def test_a_proxy_of_the_environment_never_sees_plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    async def work(bench: Bench) -> None:
        assert await bench.get() == {}

    with_client(in_turn(reply()), work)


def test_a_proxy_that_was_configured_is_used() -> None:
    async def run() -> None:
        async with serving(in_turn(reply())) as proxy:
            url = "http://localhost:9"
            client = Client(
                a_connection(url, proxy=proxy.url), Manners(url, has_login=False), Gate(FakeTime().clock)
            )
            assert await client.get("/x", endpoint="things", parse=bytes) == b"{}"
            assert proxy.lines == ["GET http://localhost:9/x"]
            await client.close()

    asyncio.run(run())


@pytest.mark.parametrize(("passed_by", "asked"), [("", ["CONNECT x.invalid:443"]), (".invalid", [])])
def test_a_proxy_of_the_environment_is_asked_for_https_but_for_hosts_that_pass_it_by(
    passed_by: str, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "all_proxy", "no_proxy", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", passed_by)

    async def run() -> None:
        async with serving(in_turn(reply(502))) as proxy:
            monkeypatch.setenv("https_proxy", proxy.url.replace("://", "://me:hidden@"))
            url = "https://x.invalid"
            client = Client(a_connection(url), Manners(url, has_login=False), Gate(FakeTime().clock))
            with pytest.raises(
                TransientError, match="proxy does not connect" if asked else "name is unknown"
            ):
                await client.get("/x", endpoint="things", parse=bytes)
            assert set(proxy.lines) == set(asked)
            await client.close()

    asyncio.run(run())


def test_every_error_of_an_answer_is_a_contract_error_to_those_who_need_not_tell() -> None:
    assert issubclass(Refused, ContractError)
    assert issubclass(TooLarge, ContractError)


def test_a_wait_ends_in_time_although_the_clock_was_set_back() -> None:
    shown = [datetime(2026, 3, 10, tzinfo=UTC)]
    gate = Gate(Clock(now=lambda: shown[0]))
    gate.wait_until(shown[0] + timedelta(minutes=1), "too often")
    shown[0] -= timedelta(days=1)
    gate.clock_set_back(timedelta(days=1))
    shown[0] += timedelta(seconds=59)
    assert gate.is_waiting
    shown[0] += timedelta(seconds=1)
    assert not gate.is_waiting
