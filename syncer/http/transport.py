"""One request, one whole answer: connections, TLS, proxies, and a body that is never longer than it may be.

Invariant: what is held of a body, decompressed, stays within the limit, whatever the other side sends. Faults
come out as TransientError made for people. It knows nothing of tokens, waits or retries.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from syncer import __version__
from syncer.config import Connection, is_loopback
from syncer.errors import ConfigError, TransientError, Unreachable
from syncer.http.answer import Answer, Headers, TooLarge

ERROR_BYTES = 65_536
"""Enough for any body that says why; a longer one is not read."""

KEPT_FOR = 30.0
"""Seconds for which a connection that nobody uses is kept."""

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
    """One connection for each request in flight, of httpcore, on which httpx stands.

    What httpx adds is not wanted here (redirects, cookies, a pool that is scanned at every request), and costs more
    than the request itself.
    """

    def __init__(self, connection: Connection) -> None:
        self._limit = connection.max_response_bytes
        seconds = connection.timeout.total_seconds()
        self._extensions = {"timeout": httpx.Timeout(seconds).as_dict()}
        self._patience = PATIENCE * seconds
        private = _private_context(connection.ca_file) if connection.ca_file else None
        proxy = _proxy(connection)
        self._all = [
            _Tunnel(proxy, private) if proxy else _Line(private) for _ in range(connection.max_concurrency)
        ]
        # Last in, first out: while little is asked, the same warm connection is used.
        self._idle: asyncio.LifoQueue[_Line | _Tunnel] = asyncio.LifoQueue()
        for line in self._all:
            self._idle.put_nowait(line)

    async def exchange(self, request: httpx.Request) -> Answer:
        """Send the request once a connection is free; raises TransientError, or TooLarge."""
        request.headers.update(_HEADERS)
        line = await self._idle.get()
        try:
            async with asyncio.timeout(self._patience):
                return await self._send(line, request)
        except _FAULTS as error:
            raise _explained(error, place_of(request.url)) from error
        finally:
            self._idle.put_nowait(line)

    async def close(self) -> None:
        """Close every connection."""
        for line in self._all:
            await line.aclose()

    async def _send(self, line: _Line | _Tunnel, request: httpx.Request) -> Answer:
        url = request.url
        response = await line.handle_async_request(
            httpcore.Request(
                request.method,
                _address(url),
                headers=request.headers.raw,
                content=request.stream,
                extensions=self._extensions,
            )
        )
        status, headers = response.status, _headers(response.headers)
        try:
            if status < 400:
                return Answer(status, headers, await _read(response, headers, self._limit, url))
            try:
                return Answer(status, headers, await _read(response, headers, ERROR_BYTES, url))
            except TooLarge:
                return Answer(status, headers, b"")
        finally:
            await response.aclose()


class _Line:
    """One connection at a time: that of the last request while it lasts and leads to the same place."""

    def __init__(self, private: ssl.SSLContext | None) -> None:
        self._private = private
        self._connection: httpcore.AsyncHTTPConnection | None = None

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """As httpcore's connections and pools do it."""
        known, origin = self._connection, request.url.origin
        if known and known.is_available() and not known.has_expired() and known.can_handle_request(origin):
            return await known.handle_async_request(request)
        await self.aclose()
        is_secret = origin.scheme == b"https"
        self._connection = httpcore.AsyncHTTPConnection(
            origin,
            ssl_context=(self._private or _public_context()) if is_secret else None,
            keepalive_expiry=KEPT_FOR,
        )
        return await self._connection.handle_async_request(request)

    async def aclose(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            await self._connection.aclose()


class _Tunnel:
    """One connection at a time through a proxy; a new one after every fault, for httpcore's pool may hold on to one
    whose TLS did not come about."""

    def __init__(self, proxy: httpx.Proxy, private: ssl.SSLContext | None) -> None:
        self._proxy = proxy
        self._context = private or _public_context()
        self._pool = self._new()

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """As httpcore's connections and pools do it."""
        try:
            return await self._pool.handle_async_request(request)
        except BaseException:
            await self._pool.aclose()
            self._pool = self._new()
            raise

    async def aclose(self) -> None:
        """Give the connection back."""
        await self._pool.aclose()

    def _new(self) -> httpcore.AsyncHTTPProxy:
        return httpcore.AsyncHTTPProxy(
            _address(self._proxy.url),
            proxy_auth=self._proxy.raw_auth,
            ssl_context=self._context,
            proxy_ssl_context=self._context if self._proxy.url.scheme == "https" else None,
            max_connections=1,
            keepalive_expiry=KEPT_FOR,
        )


def _address(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


def _proxy(connection: Connection) -> httpx.Proxy | None:
    """The proxy that the configuration names, or else the environment."""
    told = connection.proxy.get_secret_value() if connection.proxy else _proxy_of_environment(connection)
    try:
        return httpx.Proxy(told) if told else None
    except (ValueError, httpx.InvalidURL):  # the reason may show the proxy's password
        raise ConfigError(
            "the proxy cannot be used",
            'write it like "http://proxy.example.com:3128"; SOCKS is not supported',
        ) from None


def _proxy_of_environment(connection: Connection) -> str | None:
    url = httpx.URL(connection.base_url)
    # Plain http goes to this machine only: no proxy of the environment may see it.
    if is_loopback(url.host) or proxy_bypass(url.host):
        return None
    known = getproxies()
    return known.get(url.scheme) or known.get("all")


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for sent, value in raw:
        name, text = sent.decode("latin-1").lower(), value.decode("latin-1")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers


async def _read(response: httpcore.Response, headers: Headers, limit: int, url: httpx.URL) -> bytes:
    inflater = _inflater(headers.get("content-encoding", ""))
    chunks: list[bytes] = []
    size, came = 0, False
    async for sent in response.aiter_stream():
        came = True
        chunk = inflater.decompress(sent, limit - size + 1) if inflater else sent
        size += len(chunk)
        if size > limit:
            raise TooLarge(
                f"{place_of(url)} sent an answer of more than {limit} bytes",
                "raise max_response_bytes if such answers are wanted whole",
            )
        chunks.append(chunk)
    if inflater and not inflater.eof and came:
        raise _CutShort
    return b"".join(chunks)


class _CutShort(Exception):
    """The compressed body ended before its end."""


_FAULTS = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
    TimeoutError,
    zlib.error,
    _CutShort,
)


def _inflater(encoding: str) -> zlib._Decompress | None:
    """Decompresses with a bound, which httpx' own decoders lack; None where nothing is compressed."""
    if encoding.strip().lower() in ("", "identity"):
        return None
    return zlib.decompressobj(zlib.MAX_WBITS | 32)  # 32: gzip or zlib, by the header


def _private_context(ca_file: Path) -> ssl.SSLContext:
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
    """Made once, and only where it is needed: to read all public certificates takes as long as many requests."""
    return httpx.create_ssl_context()


def _explained(error: BaseException, place: str) -> TransientError:
    """Say what is wrong and what to do, from the cause that tells."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Unreachable(
                f"the certificate of {place} is not trusted: {cause.verify_message}",
                "set ca_file to the certificate of your private CA, or mend the server's certificate",
            )
        if isinstance(cause, httpcore.ProxyError):
            return Unreachable(f"the proxy does not connect to {place}", "check proxy")
        if isinstance(cause, socket.gaierror):
            return _unreachable(place, "its name is unknown")
        if isinstance(cause, ConnectionRefusedError):
            return _unreachable(place, "connection refused")
    if isinstance(error, httpcore.ConnectTimeout):
        return _unreachable(place, "it does not answer")
    if isinstance(error, TimeoutError | httpcore.TimeoutException):
        return TransientError(f"{place} did not answer in time", "raise timeout if it is only slow")
    if isinstance(error, httpcore.ConnectError):
        return _unreachable(place, str(error) or "no connection")
    return TransientError(f"{place} cut the connection or its answer short", "nothing to do unless it stays")


def _unreachable(place: str, reason: str) -> Unreachable:
    return Unreachable(f"cannot reach {place}: {reason}", "check base_url, the proxy and the network")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else None
        error = inner or error.__cause__ or error.__context__
