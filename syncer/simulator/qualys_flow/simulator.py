"""A Qualys Flow to talk to: a World behind its routes, its gate and its limit.

Invariant: every request is recorded with what was answered. It must not know its clients.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from syncer.simulator.bustle import Bustle
from syncer.simulator.clock import Clock
from syncer.simulator.faults import Faults, Rates
from syncer.simulator.history import Outline, invent
from syncer.simulator.qualys_flow.gate import Credentials, Gate, Limiter
from syncer.simulator.qualys_flow.lies import LyingShelf
from syncer.simulator.qualys_flow.refusals import Refused, rate_headers, refusal, throttled
from syncer.simulator.qualys_flow.routes import Route, Shelf, body_of, route
from syncer.simulator.qualys_flow.seeds import NOW, SeedShelf
from syncer.simulator.qualys_flow.shelf import InventedShelf
from syncer.simulator.qualys_flow.switches import Switches
from syncer.simulator.server import serving
from syncer.simulator.truth import Truth
from syncer.simulator.wire import Answer, Request, Seen
from syncer.simulator.world import World

Fault = Callable[[Request, Answer], Answer]


class Simulator(World):
    """One tenant of Qualys Flow.

    `fault` sees every request with its answer and gives the answer to send instead (see Answer for what
    can go wrong on the way). `after_page` is called after every page of executions has been put together,
    before it is sent. Both run in the server's thread. `shelf` is where bodies come from.
    """

    def __init__(
        self,
        outline: Outline | None = None,
        *,
        switches: Switches | None = None,
        clock: Clock | None = None,
        credentials: Credentials | None = None,
        truth: Truth | None = None,
        shelf: Shelf | None = None,
    ) -> None:
        self.switches = switches or Switches()
        outline, clock = outline or Outline(), clock or Clock()
        outline = replace(outline, loops=outline.loops or self.switches.loop_nodes)
        super().__init__(invent(outline, clock.now_ms()) if truth is None else truth, clock, outline)
        self.credentials = credentials or Credentials()
        self.fault: Fault | None = None
        self.after_page: Callable[[Seen], None] | None = None
        self.requests: list[Seen] = []
        self._gate = Gate(clock, self.credentials)
        self._limiter = Limiter()
        self.shelf: Shelf = shelf or InventedShelf(self)

    @classmethod
    def from_seeds(cls) -> Simulator:
        """Serves the documents' samples verbatim, in May 2025. Its truth is empty."""
        clock = Clock(NOW, frozen=True)
        return cls(Outline(workflows=0), clock=clock, truth=Truth(), shelf=SeedShelf())

    @contextmanager
    def serve(self, port: int = 0) -> Iterator[str]:
        """Answer on 127.0.0.1; gives the base URL."""
        with serving(self.answer, self.http_date, port=port) as url:
            yield url

    @property
    def counts(self) -> Counter[str]:
        """Requests by endpoint: workflows, workflow, executions, execution, steps, step, input, output, auth,
        oidc, run, and other for paths nobody knows."""
        with self.lock:
            return Counter(seen.endpoint for seen in self.requests)

    @property
    def impolite(self) -> int:
        """Requests made while the client had been told to wait."""
        return self._limiter.impolite

    def misbehave(self, rates: Rates, *, seed: int = 1) -> Faults:
        """Let answers go wrong, by endpoint and kind (see `Faults`), until that is told to be calm."""
        faults = Faults(seed, rates, endpoint_of=lambda request: route(request).endpoint, clock=self.clock)
        self.fault = faults
        return faults

    def lie(self, rates: Mapping[str, float], *, seed: int = 1) -> LyingShelf:
        """Let lists lie, by kind (see `lies`), until the shelf confesses."""
        self.shelf = lying = LyingShelf(self.shelf, seed, rates)
        return lying

    def bustle(self, rates: Mapping[str, float], *, seed: int = 1) -> Bustle:
        """Let things happen between pages, by kind (see `Bustle`), until that is told to be calm."""
        self.after_page = bustle = Bustle(self, seed, rates)
        return bustle

    def clear_requests(self) -> None:
        with self.lock:
            self.requests.clear()

    def issue_token(self) -> str:
        """A good token without asking for it over the wire."""
        with self.lock:
            return self._gate.issue(self.switches)

    def revoke_tokens(self) -> None:
        """The next call with any token issued so far gets a 401."""
        with self.lock:
            self._gate.revoke_all()

    def answer(self, request: Request) -> Answer:
        """What the server sends, faults included."""
        with self.lock:
            found = route(request)
            answer = self._answer(found, request)
            if self.fault is not None:
                answer = self.fault(request, answer)
            seen = self._record(found, request, answer)
            if found.endpoint == "executions" and answer.status == 200 and self.after_page is not None:
                self.after_page(seen)
            return answer

    def _answer(self, found: Route, request: Request) -> Answer:
        now_ms = self.clock.now_ms()
        try:
            if found.endpoint in ("auth", "oidc"):
                return self._log_in(found, request)
            wait = self._limiter.take(self.switches, now_ms)
            if wait:
                return throttled(self.switches, self.switches.rate_limit or 0, wait, now_ms)
            self._gate.check(request)
            body = body_of(found, request, self.shelf, self.switches)
            return Answer(200, body, headers=self._rate_headers())
        except Refused as refused:
            return refusal(refused, self.switches, now_ms)

    def _log_in(self, found: Route, request: Request) -> Answer:
        if not found.allowed:
            raise Refused(405, "POST the credentials")
        if found.endpoint == "auth":
            return Answer(201, self._gate.log_in(request, self.switches).encode(), "text/plain")
        token = self._gate.log_in_client(request, self.switches)
        return Answer(self.switches.oidc_status, token.encode(), "text/plain")

    def _rate_headers(self) -> tuple[tuple[str, str], ...]:
        limit = self.switches.rate_limit
        if limit is None or not self.switches.rate_headers:
            return ()
        left = self._limiter.left(limit)
        return rate_headers(self.switches, limit, remaining=left, wait_seconds=0)

    def _record(self, found: Route, request: Request, answer: Answer) -> Seen:
        spoken = answer.conduct in ("send", "cut", "reset_in_body")
        seen = Seen(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            status=answer.status if spoken else 0,
            endpoint=found.endpoint,
            at_ms=self.clock.now_ms(),
        )
        self.requests.append(seen)
        return seen

    def http_date(self) -> str | None:
        """The `Date` of every answer."""
        return self.clock.http_date() if self.switches.date_header else None
