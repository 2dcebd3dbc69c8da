"""The status page, /healthz, /readyz and /metrics, answered from a thread of their own.

Invariant: they answer while the service's loop is stuck or the warehouse hangs, and nothing asked here keeps the
process from ending. It must not know how anything is synced: it reads `Vitals`.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Thread
from typing import Generic, TypeVar

import structlog
import uvicorn
from sqlalchemy import Connection, Engine, text
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from syncer.errors import SyncerError, WarehouseError, unexpected
from syncer.service.metrics import CONTENT_TYPE, Metrics
from syncer.service.page import HOURS, SCRIPT, STYLE, Look, rendered
from syncer.service.vitals import Vitals
from syncer.state.standing import Standing, landed, standings
from syncer.warehouse import check_version

STUCK_AFTER = 30.0
"""Seconds without a turn after which the service's loop counts as stuck; it turns once a second."""

READY_WITHIN = 4.0
"""Seconds in which the warehouse must answer. Probes often give up after 5, and some by default after 1."""

METRICS_WITHIN = 8.0
"""Seconds that figures from the warehouse are waited for; Prometheus gives up after 10."""

PAGE_WITHIN = 8.0
"""Seconds after which the page shows what is known without the warehouse."""

ABANDONED_AFTER = 20
"""Seconds after which PostgreSQL gives up a statement of ours."""

KEPT = 5.0
"""Seconds for which what the warehouse said is told again, or ten times as long as it took to say."""

STOP_WITHIN = 2.0
"""Seconds after which a server that does not end is left behind."""

INDEX = """\
syncer
  /         in a browser: how far everything is copied, and what there is to do
  /healthz  whether the process lives and its loop turns
  /readyz   whether the warehouse answers and its schema is current
  /metrics  figures for Prometheus
"""

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

T = TypeVar("T")
log = structlog.get_logger()


def bind(address: tuple[str, int]) -> socket.socket | None:
    """A listening socket; None, with a warning, where the address cannot be had."""
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server(address, family=family)
    except OSError as error:
        log.warning(
            "not listening",
            address=f"{host}:{port}",
            reason=error.strerror or "no such address",
            hint="no health, no metrics: choose another service.listen, or end what uses the port",
        )
        return None


@contextmanager
def serving(vitals: Vitals, address: tuple[str, int] | None) -> Iterator[str | None]:
    """Answer while the body runs; gives the address as a URL, None where nothing listens."""
    listener = bind(address) if address else None
    if listener is None:
        yield None
        return
    server = _server(application(vitals))
    thread = Thread(target=server.run, args=([listener],), name="web", daemon=True)
    thread.start()
    try:
        yield _url(listener)
    finally:
        server.should_exit = server.force_exit = True
        thread.join(STOP_WITHIN)
        listener.close()


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _server(app: ASGIApp) -> uvicorn.Server:
    """A server that is silent: it would log each request cut off at the end as an error of the application."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
    )


def application(vitals: Vitals) -> ASGIApp:
    """What is answered under which path."""
    answers = _Answers(vitals)
    routes = [
        Route("/", answers.index),
        Route("/page.css", answers.style),
        Route("/page.js", answers.script),
        Route("/healthz", answers.healthz),
        Route("/readyz", answers.readyz),
        Route("/metrics", answers.metrics),
    ]
    return _Guarded(Starlette(routes=routes, exception_handlers={Exception: _fault}))


def _fault(_request: Request, error: Exception) -> Response:
    told = unexpected(error)
    log.error("unexpected", error=told.message, hint=told.hint)
    return _sentence(500, told.message)


class _Guarded:
    """Puts HEADERS on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, receive, guarded)


class _Answers:
    def __init__(self, vitals: Vitals) -> None:
        self._vitals = vitals
        self._metrics = Metrics(vitals)
        self._ready = Kept(lambda: check(vitals))
        self._standings = Kept(lambda: look(vitals))
        self._landed = Kept(lambda: look_back(vitals))

    async def index(self, request: Request) -> Response:
        if "text/html" not in request.headers.get("accept", ""):
            return PlainTextResponse(INDEX)
        try:
            page = rendered(self._vitals, datetime.now(UTC), await self._look())
        except SyncerError as error:
            page = rendered(self._vitals, datetime.now(UTC), trouble=error)
        return HTMLResponse(page)

    async def _look(self) -> Look:
        try:
            return Look(
                *await asyncio.gather(self._standings.value(PAGE_WITHIN), self._landed.value(PAGE_WITHIN))
            )
        except TimeoutError:
            raise WarehouseError(f"it does not answer within {PAGE_WITHIN:.0f} seconds") from None

    async def style(self, _request: Request) -> Response:
        return Response(STYLE, media_type="text/css")

    async def script(self, _request: Request) -> Response:
        return Response(SCRIPT, media_type="text/javascript")

    async def healthz(self, _request: Request) -> Response:
        idle = self._vitals.idle()
        if idle < STUCK_AFTER:
            return _sentence(200, "ok")
        return _sentence(503, f"the service has been stuck for {idle:.0f} seconds: restart it")

    async def readyz(self, _request: Request) -> Response:
        try:
            await self._ready.value(READY_WITHIN)
        except SyncerError as error:
            return _sentence(503, "\n".join(filter(None, (error.message, error.hint))))
        except TimeoutError:
            return _sentence(503, f"the warehouse does not answer within {READY_WITHIN:.0f} seconds")
        return _sentence(200, "ok")

    async def metrics(self, _request: Request) -> Response:
        try:
            known = await self._standings.value(METRICS_WITHIN)
        except (SyncerError, TimeoutError):
            known = None
        return Response(self._metrics.exposition(known), media_type=CONTENT_TYPE)


def _sentence(status: int, sentence: str) -> Response:
    return PlainTextResponse(f"{sentence}\n", status)


def check(vitals: Vitals) -> None:
    """Return if the warehouse answers and its schema is current; raises WarehouseError with the reason."""
    engine = _engine(vitals)
    with engine.connect() as db:
        db.execute(text(f"SET LOCAL statement_timeout = {1000 * ABANDONED_AFTER}"))
        db.execute(text("SELECT 1"))
    check_version(engine)


def look(vitals: Vitals) -> list[Standing]:
    """How far every connection is copied; raises WarehouseError where the warehouse does not say."""
    connections = {each.name: each.connection for each in vitals.pollers()}
    with _snapshot(vitals) as db:
        return standings(db, connections, others=False)


def look_back(vitals: Vitals) -> dict[str, list[int]]:
    """What has landed by hour, of every connection; raises WarehouseError where the warehouse does not say."""
    with _snapshot(vitals) as db:
        return landed(db, [each.name for each in vitals.pollers()], HOURS)


@contextmanager
def _snapshot(vitals: Vitals) -> Iterator[Connection]:
    with _engine(vitals).connect() as db:
        db.execution_options(isolation_level="REPEATABLE READ")
        db.execute(text(f"SET LOCAL statement_timeout = {1000 * ABANDONED_AFTER}"))
        yield db


def _engine(vitals: Vitals) -> Engine:
    if vitals.engine is None:
        raise vitals.trouble or WarehouseError(
            "the warehouse was not reached yet", "see the log if it stays so"
        )
    return vitals.engine


class Kept(Generic[T]):
    """What a look brought, errors included, for all who ask meanwhile and for a while after.

    A look runs in a thread that ends with the process: one that hangs holds up nobody, and there is never a second.
    """

    def __init__(self, look: Callable[[], T], clock: Callable[[], float] = time.monotonic) -> None:
        self._look = look
        self._clock = clock
        self._latest: Future[T] | None = None
        self._until = 0.0

    async def value(self, within: float) -> T:
        """The latest look, or a new one; raises what it raised, TimeoutError if it takes longer than `within`."""
        if self._latest is None or (self._latest.done() and self._clock() >= self._until):
            self._latest = self._begun()
        return await asyncio.wait_for(asyncio.wrap_future(self._latest), within)

    def _begun(self) -> Future[T]:
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # from now on nobody who stops waiting can cancel it for the others
        Thread(target=self._fulfil, args=(future,), name="look", daemon=True).start()
        return future

    def _fulfil(self, future: Future[T]) -> None:
        began = self._clock()
        try:
            found = self._look()
        except SyncerError as error:
            self._until = self._clock() + KEPT
            future.set_exception(error)
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            self._until = self._clock() + KEPT
            future.set_exception(unexpected(error))
        else:
            now = self._clock()
            self._until = now + max(KEPT, 10 * (now - began))
            future.set_result(found)
