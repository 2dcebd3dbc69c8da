"""One tenant of a simulated platform: a World that is served, watched and made to misbehave.

Invariant: every request is recorded with what was answered. It must not know a platform; each platform's `Simulator`
says which endpoint a request is for and what the honest answer is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from syncer.simulator.bustle import Bustle
from syncer.simulator.clock import Clock
from syncer.simulator.faults import Faults, Rates
from syncer.simulator.history import Outline, invent
from syncer.simulator.limiter import Limiter
from syncer.simulator.server import serving
from syncer.simulator.truth import Truth
from syncer.simulator.wire import Answer, Request, Seen
from syncer.simulator.world import World

Fault = Callable[[Request, Answer], Answer]


class Liar(Protocol):
    """What tells lies; `told` counts them by kind."""

    told: Counter[str]

    def confess(self) -> None:
        """Tell nothing but the truth from now on."""


class Tenant(World, ABC):
    """What is common to all simulated platforms.

    `url` is where it was served last, tokens included. `fault` sees every request with its answer and gives the
    answer to send instead (see Answer for what can go wrong on the way). `after_page` is called after every page of
    executions has been put together, before it is sent. Both run in the server's thread. `switches` and `credentials`
    are each platform's own: how it reads its documents, and what it accepts; `endpoints` are the words of
    `endpoint_of`, but for "other".
    """

    switches: Any
    credentials: Any
    endpoints: tuple[str, ...]

    def __init__(self, outline: Outline | None, clock: Clock | None, truth: Truth | None) -> None:
        outline, clock = outline or Outline(), clock or Clock()
        super().__init__(invent(outline, clock.now_ms()) if truth is None else truth, clock, outline)
        self.fault: Fault | None = None
        self.after_page: Callable[[Seen], None] | None = None
        self.requests: list[Seen] = []
        self.limiter = Limiter()
        self.url = ""

    @abstractmethod
    def endpoint_of(self, request: Request) -> str:
        """What is asked for, in a word; "executions" is the list of executions, "other" a path nobody knows."""

    @abstractmethod
    def honest_answer(self, request: Request) -> Answer:
        """What the platform answers, refusals included, at the clock's now."""

    @property
    @abstractmethod
    def tells_date(self) -> bool:
        """Whether answers carry a `Date`."""

    @abstractmethod
    def revoke_tokens(self) -> None:
        """The next call with any token issued so far gets a 401."""

    @abstractmethod
    def lie(self, rates: Mapping[str, float], *, seed: int = 1) -> Liar:
        """Let lists lie, by kind, until what is returned is told to confess."""

    @contextmanager
    def serve(self, port: int = 0) -> Iterator[str]:
        """Answer on 127.0.0.1; gives the base URL."""
        with serving(self.answer, self.http_date, port=port) as self.url:
            yield self.url

    @property
    def counts(self) -> Counter[str]:
        """Requests by endpoint."""
        with self.lock:
            return Counter(seen.endpoint for seen in self.requests)

    @property
    def impolite(self) -> int:
        """Requests made while the client had been told to wait."""
        return self.limiter.impolite

    def misbehave(self, rates: Rates, *, seed: int = 1) -> Faults:
        """Let answers go wrong, by endpoint and kind (see `Faults`), until that is told to be calm."""
        faults = Faults(seed, rates, endpoint_of=self.endpoint_of, clock=self.clock)
        self.fault = faults
        return faults

    def bustle(self, rates: Mapping[str, float], *, seed: int = 1) -> Bustle:
        """Let things happen between pages, by kind (see `Bustle`), until that is told to be calm."""
        self.after_page = bustle = Bustle(self, seed, rates)
        return bustle

    def clear_requests(self) -> None:
        with self.lock:
            self.requests.clear()

    def answer(self, request: Request) -> Answer:
        """What the server sends, faults included."""
        with self.lock:
            endpoint = self.endpoint_of(request)
            answer = self.honest_answer(request)
            if self.fault is not None:
                answer = self.fault(request, answer)
            seen = self._record(endpoint, request, answer)
            if endpoint == "executions" and answer.status == 200 and self.after_page is not None:
                self.after_page(seen)
            return answer

    def _record(self, endpoint: str, request: Request, answer: Answer) -> Seen:
        spoken = answer.conduct in ("send", "cut", "reset_in_body")
        seen = Seen(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            status=answer.status if spoken else 0,
            endpoint=endpoint,
            at_ms=self.clock.now_ms(),
        )
        self.requests.append(seen)
        return seen

    def http_date(self) -> str | None:
        """The `Date` of every answer."""
        return self.clock.http_date() if self.tells_date else None
