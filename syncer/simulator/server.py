"""HTTP/1.1 over a real socket, in a thread of its own, for any simulated platform.

Invariant: a connection is answered one request at a time, in order, and does exactly what the Answer says.
It must not know what is asked or answered; the handler runs in this thread and is asked once per request.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import h11

from syncer.simulator.wire import Answer, Request

Handler = Callable[[Request], Answer]
HttpDate = Callable[[], str | None]

_BREATH = 0.02
"""Seconds between the last byte sent and a reset, so that the byte arrives."""


@contextmanager
def serving(
    handler: Handler, http_date: HttpDate, *, port: int = 0, host: str = "127.0.0.1"
) -> Iterator[str]:
    """Serve in the background and give the URL. An error of the handler shows when the block is left."""
    server = _Server(handler, http_date)
    thread = threading.Thread(target=server.run, args=(host, port), name="simulator", daemon=True)
    thread.start()
    try:
        yield server.url()
    finally:
        server.stop()
        thread.join()
    if server.failure is not None:
        raise server.failure


class _Server:
    """The event loop, its connections and the first error met."""

    def __init__(self, handler: Handler, http_date: HttpDate) -> None:
        self.handler = handler
        self.http_date = http_date
        self.failure: BaseException | None = None
        self.connections: set[asyncio.Transport] = set()
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._interrupted = asyncio.Event()
        self._closed_for: float | None = None
        self._url = ""

    def url(self) -> str:
        """Where it listens; waits until it does."""
        self._started.wait()
        if not self._url:
            raise OSError("the simulator could not listen") from self.failure
        return self._url

    def stop(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._interrupt, None)

    def refuse(self, seconds: float) -> None:
        """Reset every connection, and let nobody in for so long."""
        self._interrupt(seconds)

    def _interrupt(self, closed_for: float | None) -> None:
        self._closed_for = closed_for
        self._interrupted.set()

    def run(self, host: str, port: int) -> None:
        try:
            self._loop.run_until_complete(self._serve(host, port))
        except OSError as error:
            self.failure = error
        finally:
            self._loop.close()
            self._started.set()

    async def _serve(self, host: str, port: int) -> None:
        port = await self._listen(host, port)
        while self._closed_for is not None:
            if await self._stay_closed(host, port, self._closed_for):
                port = await self._listen(host, port)

    async def _listen(self, host: str, port: int) -> int:
        """Let clients in until told to stop or to refuse; returns the port."""
        server = await self._loop.create_server(lambda: _Connection(self), host, port, backlog=512)
        port = server.sockets[0].getsockname()[1]
        self._url = f"http://{host}:{port}"
        self._started.set()
        await self._interrupted.wait()
        self._interrupted.clear()
        # asyncio leaves a connection open whose acceptance it has only begun when the server is closed.
        while accepting := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.gather(*accepting, return_exceptions=True)
        server.close()
        for transport in tuple(self.connections):
            if self._closed_for is None:
                transport.abort()
            else:
                reset(transport)
        await server.wait_closed()
        await asyncio.sleep(0)
        return port

    async def _stay_closed(self, host: str, port: int, seconds: float) -> bool:
        """Refuse for so long, and let nobody else take the port meanwhile; False when told to stop."""
        with socket.socket() as holder:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind((host, port))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._interrupted.wait(), seconds)
        return self._closed_for is not None

    def answer(self, request: Request) -> Answer:
        try:
            return self.handler(request)
        except Exception as error:  # noqa: BLE001 - told to the client and raised when the server stops
            self.failure = self.failure or error
            return Answer(500, f"the simulator failed: {error!r}".encode(), "text/plain")


class _Connection(asyncio.Protocol):
    """One client's connection, kept alive between requests."""

    transport: asyncio.Transport

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        self._head: h11.Request | None = None
        self._body = bytearray()
        self._sending: Answer | None = None
        self._parts: Iterator[bytes] = iter(())
        self._is_full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._server.connections.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._server.connections.discard(self.transport)
        self._sending = None

    def data_received(self, data: bytes) -> None:
        self._http.receive_data(data)
        self._read()

    def _read(self) -> None:
        try:
            while self._take(self._http.next_event()):
                pass
        except h11.RemoteProtocolError as error:
            self._act(Answer(error.error_status_hint, b"this is not HTTP", "text/plain"))
            self.transport.close()

    def _take(self, event: object) -> bool:
        """Use one event of the request; False when there is nothing more to take for now."""
        if isinstance(event, h11.Request):
            self._head = event
        elif isinstance(event, h11.Data):
            self._body += event.data
        elif isinstance(event, h11.EndOfMessage):
            self._answer()
            return False
        elif isinstance(event, h11.ConnectionClosed):
            self.transport.close()
            return False
        return event is not h11.NEED_DATA and event is not h11.PAUSED

    def _answer(self) -> None:
        assert self._head is not None
        head, body = self._head, bytes(self._body)
        self._head, self._body = None, bytearray()
        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
        answer = self._server.answer(
            Request(head.method.decode("ascii"), head.target.decode("ascii"), headers, body)
        )
        if answer.delay:
            asyncio.get_running_loop().call_later(answer.delay, self._act, answer)
        else:
            self._act(answer)

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._pour()

    def _act(self, answer: Answer) -> None:
        if answer.conduct == "silent" or self.transport.is_closing():
            return
        if answer.conduct == "reset":
            reset(self.transport)
        elif answer.conduct == "refuse":
            self._server.refuse(answer.closed_for)
        elif self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._send(answer)
        else:
            self.transport.close()

    def _send(self, answer: Answer) -> None:
        head = self._http.send(h11.Response(status_code=answer.status, headers=self._headers(answer))) or b""
        if answer.conduct == "reset_in_head":
            self.transport.write(head[: len(head) // 2])
            self._reset_soon()
            return
        self._sending = answer
        self._parts = answer.parts()
        self._pour(head)

    def _pour(self, head: bytes = b"") -> None:
        """Send as much of the body as the client takes, and go on when it has taken that."""
        if self._sending is None:
            return
        for part in self._parts:
            self.transport.write(head + (self._http.send(h11.Data(data=part)) or b""))
            head = b""
            if self._is_full or self.transport.is_closing():
                return
        ending, self._sending = self._sending, None
        self._end(ending)

    def _end(self, answer: Answer) -> None:
        if answer.conduct == "reset_in_body":
            self._reset_soon()
        elif answer.conduct == "cut":
            self.transport.close()
        else:
            self.transport.write(self._http.send(h11.EndOfMessage()) or b"")
            self._next()

    def _next(self) -> None:
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self._read()
        else:
            self.transport.close()

    def _headers(self, answer: Answer) -> list[tuple[str, str]]:
        """Without a Content-Length h11 sends chunks."""
        headers = [] if answer.chunked else [("Content-Length", str(answer.length))]
        if answer.content_type:
            headers.append(("Content-Type", answer.content_type))
        date = self._server.http_date()
        if date is not None and not any(name.lower() == "date" for name, _ in answer.headers):
            headers.append(("Date", date))
        return [*headers, *answer.headers]

    def _reset_soon(self) -> None:
        asyncio.get_running_loop().call_later(_BREATH, reset, self.transport)


def reset(transport: asyncio.Transport) -> None:
    """Close with a TCP RST: the other side sees a broken connection, not an end."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
