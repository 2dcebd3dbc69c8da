"""One request, one whole answer: connections, TLS, proxies, and a body that is never longer than it may be.

Invariant: what is held of a body, decompressed, stays within the limit, whatever the other side sends. Faults
come out as TransientError made for people. It knows nothing of tokens, waits or retries.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import httpx

from syncer import __version__
from syncer.config import Connection, is_loopback
from syncer.errors import ConfigError, TransientError, Unreachable
from syncer.http.answer import Answer, TooLarge

ERROR_BYTES = 65_536
"""Enough for any body that says why; a longer one is not read."""

PATIENCE = 10
"""Timeouts that a whole exchange may take: a byte now and then keeps no worker for ever."""

_HEADERS = {
    "User-Agent": f"syncer/{__version__}",
    "Accept": "application/json, text/plain;q=0.9, */*;q=0.1",
    "Accept-Encoding": "gzip",  # "deflate" means two things, and one of them cannot be told from noise
}


def place_of(url: httpx.URL) -> str:
    """The address as messages name it: without a path."""
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


class Transport:
    """A client with one connection for each request in flight.

    One shared client scans its pool at every request, which costs more than the request itself.
    """

    def __init__(self, connection: Connection) -> None:
        self._limit = connection.max_response_bytes
        seconds = connection.timeout.total_seconds()
        self._timeout = httpx.Timeout(seconds).as_dict()
        self._patience = PATIENCE * seconds
        context = _ssl_context(connection.ca_file)
        self._all = [_new_client(connection, context) for _ in range(connection.max_concurrency)]
        # Last in, first out: while little is asked, the same warm connection is used.
        self._idle: asyncio.LifoQueue[httpx.AsyncClient] = asyncio.LifoQueue()
        for client in self._all:
            self._idle.put_nowait(client)

    async def exchange(self, request: httpx.Request) -> Answer:
        """Send the request once a connection is free; raises TransientError, or TooLarge."""
        request.headers.update(_HEADERS)
        request.extensions["timeout"] = self._timeout
        client = await self._idle.get()
        try:
            async with asyncio.timeout(self._patience):
                return await self._send(client, request)
        except (httpx.HTTPError, TimeoutError, zlib.error, _CutShort) as error:
            raise _explained(error, place_of(request.url)) from error
        finally:
            self._idle.put_nowait(client)

    async def close(self) -> None:
        """Close every connection."""
        for client in self._all:
            await client.aclose()

    async def _send(self, client: httpx.AsyncClient, request: httpx.Request) -> Answer:
        response = await client.send(request, stream=True)
        status, headers = response.status_code, dict(response.headers)
        try:
            if status < 400:
                return Answer(status, headers, await self._read(response, self._limit))
            try:
                return Answer(status, headers, await self._read(response, ERROR_BYTES))
            except TooLarge:
                return Answer(status, headers, b"")
        finally:
            await response.aclose()

    async def _read(self, response: httpx.Response, limit: int) -> bytes:
        inflater = _inflater(response.headers.get("content-encoding", ""))
        chunks: list[bytes] = []
        size = 0
        async for sent in response.aiter_raw():
            chunk = inflater.decompress(sent, limit - size + 1) if inflater else sent
            size += len(chunk)
            if size > limit:
                raise TooLarge(
                    f"{place_of(response.url)} sent an answer of more than {limit} bytes",
                    "raise max_response_bytes if such answers are wanted whole",
                )
            chunks.append(chunk)
        if inflater and not inflater.eof and response.num_bytes_downloaded:
            raise _CutShort
        return b"".join(chunks)


class _CutShort(Exception):
    """The compressed body ended before its end."""


def _inflater(encoding: str) -> zlib._Decompress | None:
    """Decompresses with a bound, which httpx' own decoders lack; None where nothing is compressed."""
    if encoding.strip().lower() in ("", "identity"):
        return None
    return zlib.decompressobj(zlib.MAX_WBITS | 32)  # 32: gzip or zlib, by the header


def _ssl_context(ca_file: Path | None) -> ssl.SSLContext:
    if ca_file is None:
        return _public_context()
    context = httpx.create_ssl_context()
    try:
        context.load_verify_locations(ca_file)
    except OSError as error:
        raise ConfigError(
            f"ca_file {ca_file} cannot be used: {error.strerror or error}",
            "it must be a readable file of certificates in PEM",
        ) from error
    return context


@cache
def _public_context() -> ssl.SSLContext:
    """Made once: to read all public certificates takes longer than several requests."""
    return httpx.create_ssl_context()


def _new_client(connection: Connection, context: ssl.SSLContext) -> httpx.AsyncClient:
    try:
        return httpx.AsyncClient(
            verify=context,
            proxy=connection.proxy.get_secret_value() if connection.proxy else None,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=30),
            follow_redirects=False,
            # Plain http goes to this machine only: no proxy of the environment may see it.
            trust_env=not is_loopback(httpx.URL(connection.base_url).host),
        )
    except (ImportError, ValueError, httpx.InvalidURL):  # the reason may show the proxy's password
        raise ConfigError(
            "the proxy cannot be used",
            'write it like "http://proxy.example.com:3128"; SOCKS is not supported',
        ) from None


def _explained(error: BaseException, place: str) -> TransientError:
    """Say what is wrong and what to do, from the cause that tells."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Unreachable(
                f"the certificate of {place} is not trusted: {cause.verify_message}",
                "set ca_file to the certificate of your private CA, or mend the server's certificate",
            )
        if isinstance(cause, httpx.ProxyError):
            return Unreachable(f"the proxy does not connect to {place}", "check proxy")
        if isinstance(cause, socket.gaierror):
            return _unreachable(place, "its name is unknown")
        if isinstance(cause, ConnectionRefusedError):
            return _unreachable(place, "connection refused")
    if isinstance(error, httpx.ConnectTimeout):
        return _unreachable(place, "it does not answer")
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return TransientError(f"{place} did not answer in time", "raise timeout if it is only slow")
    if isinstance(error, httpx.ConnectError):
        return _unreachable(place, str(error) or "no connection")
    return TransientError(f"{place} cut the connection or its answer short", "nothing to do unless it stays")


def _unreachable(place: str, reason: str) -> Unreachable:
    return Unreachable(f"cannot reach {place}: {reason}", "check base_url, the proxy and the network")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else None
        error = inner or error.__cause__ or error.__context__
