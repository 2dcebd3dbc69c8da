"""Connections: which are used again, the ways through proxies, and ends that come too early, late or unasked."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from syncer.errors import TransientError, Unreachable
from syncer.http import Client, Gate
from tests.unit.test_http import (
    Bench,
    FakeTime,
    Manners,
    a_connection,
    a_server_certificate,
    in_turn,
    needs_openssl,
    reply,
    serving,
    with_client,
)

# Connections kept


GOOD = reply(200, b'{"a":1}')


async def asked(bench: Bench, times: int) -> int:
    """How many connections so many requests in a row took."""
    before = bench.server.connections
    for _ in range(times):
        assert await bench.get() == {"a": 1}
    return bench.server.connections - before


def test_a_connection_is_used_again_and_again() -> None:
    async def work(bench: Bench) -> None:
        assert await asked(bench, 5) == 1

    with_client(in_turn(GOOD), work, has_login=False)


@pytest.mark.parametrize(
    "said",
    [reply(200, b'{"a":1}', "Connection: close"), b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"a":1}'],
    ids=["announced", "end of an answer without a length"],
)
def test_a_connection_that_the_source_closes_is_replaced_and_no_request_lost(said: bytes) -> None:
    async def work(bench: Bench) -> None:
        assert await asked(bench, 3) == 3
        assert bench.time.sleeps == []

    with_client(in_turn(said), work, has_login=False)


def test_notes_before_the_answer_are_passed_over_and_a_header_said_twice_is_joined() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
    script = in_turn(early + reply(200, b"{}", "X-Said: once", "x-said: twice"))

    async def work(bench: Bench) -> None:
        headers = await bench.client.read("/x", endpoint="things", parse=lambda answer: answer.headers)
        assert headers["x-said"] == "once, twice"

    with_client(script, work, has_login=False)


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The address where everybody is talked to like that, until all have hung up."""
    ended: list[asyncio.Task[Any]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        ended.append(task)
        await talk(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await asyncio.gather(*ended)


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends a byte now and then, for ever."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)


def test_an_answer_that_comes_byte_by_byte_is_given_up_in_the_end() -> None:
    async def run() -> None:
        async with (
            listening(drip) as address,
            a_client(f"http://{address}", timeout=timedelta(seconds=0.02)) as client,
        ):
            with pytest.raises(TransientError, match="did not answer in time"):
                await client.get("/x", endpoint="things", parse=bytes)

    asyncio.run(run())


def test_a_name_of_several_addresses_where_nobody_listens_is_refused_like_one() -> None:
    async def run() -> None:
        async with serving(in_turn(GOOD)) as server:
            port = server.url.rpartition(":")[2]
        async with a_client(f"http://localhost:{port}") as client:
            with pytest.raises(Unreachable, match="connection refused"):
                await client.get("/x", endpoint="things", parse=bytes)

    asyncio.run(run())


# Proxies


@asynccontextmanager
async def a_client(url: str, **changes: Any) -> AsyncIterator[Client]:
    client = Client(a_connection(url, **changes), Manners(url, has_login=False), Gate(FakeTime().clock))
    try:
        yield client
    finally:
        await client.close()


@dataclass
class Tunnels:
    """A proxy that passes on whatever it is given, or refuses to."""

    status: int = 200
    heads: list[str] = field(default_factory=list)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        writer.write(b"HTTP/1.1 %d Said\r\n\r\n" % self.status)
        if self.status == 200:
            host, _, port = head.split(" ")[1].rpartition(":")
            there, back = await asyncio.open_connection(host, int(port))
            await asyncio.gather(passed_on(reader, back), passed_on(there, writer))


async def passed_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
    writer.close()


@asynccontextmanager
async def proxying(tunnels: Tunnels, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    async with listening(tunnels.answer, tls) as address:
        yield f"{'https' if tls else 'http'}://user:p%40ss@{address}"


@needs_openssl
@pytest.mark.parametrize("is_encrypted", [False, True], ids=["proxy by http", "proxy by https"])
def test_https_goes_through_a_tunnel_and_the_password_of_the_proxy_no_further(
    tmp_path: Path, is_encrypted: bool
) -> None:
    context, certificate = a_server_certificate(tmp_path)
    tunnels = Tunnels()

    async def run() -> None:
        async with (
            serving(in_turn(GOOD), context) as server,
            proxying(tunnels, context if is_encrypted else None) as proxy,
            a_client(server.url, proxy=proxy, ca_file=str(certificate)) as client,
        ):
            for _ in range(2):
                assert await client.get("/x", endpoint="things", parse=bytes) == b'{"a":1}'
            assert [line for line, _ in server.seen] == ["GET /x"] * 2
            assert not any("proxy-authorization" in headers for _, headers in server.seen)
            (head,) = tunnels.heads
            assert head.startswith(f"CONNECT {server.url.removeprefix('https://')} HTTP/1.1\r\n")
            assert f"Basic {base64.b64encode(b'user:p@ss').decode()}" in head

    asyncio.run(run())


@needs_openssl
def test_a_certificate_is_checked_through_a_tunnel_too(tmp_path: Path) -> None:
    context, _ = a_server_certificate(tmp_path)

    async def run() -> None:
        async with (
            serving(in_turn(GOOD), context) as server,
            proxying(Tunnels()) as proxy,
            a_client(server.url, proxy=proxy) as client,
        ):
            with pytest.raises(Unreachable, match="is not trusted"):
                await client.get("/x", endpoint="things", parse=bytes)
            assert server.seen == []

    asyncio.run(run())


@pytest.mark.parametrize("status", [403, 407, 502])
def test_a_proxy_that_opens_no_tunnel_is_named_without_its_password(status: int) -> None:
    async def run() -> None:
        async with (
            proxying(Tunnels(status)) as proxy,
            a_client("https://x.example", proxy=proxy) as client,
        ):
            with pytest.raises(
                Unreachable, match=r"the proxy does not connect to https://x\.example"
            ) as caught:
                await client.get("/x", endpoint="things", parse=bytes)
            assert "p%40ss" not in repr(caught.value)

    asyncio.run(run())


def test_plain_http_shows_the_proxy_its_password() -> None:
    async def run() -> None:
        async with serving(in_turn(GOOD)) as proxy:
            address = proxy.url.replace("http://", "http://user:word@")
            async with a_client("http://localhost:9", proxy=address) as client:
                await client.get("/x", endpoint="things", parse=bytes)
            assert proxy.seen[0][1]["proxy-authorization"] == "Basic dXNlcjp3b3Jk"
            assert proxy.seen[0][1]["host"] == "localhost:9"

    asyncio.run(run())
