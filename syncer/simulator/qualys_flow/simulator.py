"""A Qualys Flow to talk to: a tenant behind its routes, its gate and its limit.

Invariant: a refusal is an answer like any other. It must not know its clients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from syncer.simulator.clock import Clock
from syncer.simulator.history import Outline
from syncer.simulator.qualys_flow.gate import Credentials, Gate
from syncer.simulator.qualys_flow.lies import LyingShelf
from syncer.simulator.qualys_flow.refusals import Refused, rate_headers, refusal, throttled
from syncer.simulator.qualys_flow.routes import Route, Shelf, body_of, route
from syncer.simulator.qualys_flow.seeds import NOW, SeedShelf
from syncer.simulator.qualys_flow.shelf import InventedShelf
from syncer.simulator.qualys_flow.switches import Switches
from syncer.simulator.tenant import Tenant
from syncer.simulator.truth import Truth
from syncer.simulator.wire import Answer, Request


class Simulator(Tenant):
    """One tenant of Qualys Flow. `shelf` is where bodies come from."""

    endpoints = (
        "auth",
        "workflows",
        "workflow",
        "executions",
        "execution",
        "steps",
        "step",
        "input",
        "output",
    )

    switches: Switches
    credentials: Credentials

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
        outline = outline or Outline()
        super().__init__(
            replace(outline, loops=outline.loops or self.switches.loop_nodes), clock or Clock(), truth
        )
        self.credentials = credentials or Credentials()
        self._gate = Gate(self.clock, self.credentials)
        self.shelf: Shelf = shelf or InventedShelf(self)

    @classmethod
    def from_seeds(cls) -> Simulator:
        """Serves the documents' samples verbatim, in May 2025. Its truth is empty."""
        clock = Clock(NOW, frozen=True)
        return cls(Outline(workflows=0), clock=clock, truth=Truth(), shelf=SeedShelf())

    @property
    def tells_date(self) -> bool:
        """As the switch says."""
        return self.switches.date_header

    def lie(self, rates: Mapping[str, float], *, seed: int = 1) -> LyingShelf:
        """Let lists lie, by kind (see `lies`), until the shelf confesses."""
        self.shelf = lying = LyingShelf(self.shelf, seed, rates)
        return lying

    def issue_token(self) -> str:
        """A good token without asking for it over the wire."""
        with self.lock:
            return self._gate.issue(self.switches)

    def revoke_tokens(self) -> None:
        """The next call with any token issued so far gets a 401."""
        with self.lock:
            self._gate.revoke_all()

    def endpoint_of(self, request: Request) -> str:
        """workflows, workflow, executions, execution, steps, step, input, output, auth, oidc, run or other."""
        return route(request).endpoint

    def honest_answer(self, request: Request) -> Answer:
        """Limited first, then authenticated, then read, then answered."""
        found = route(request)
        now_ms = self.clock.now_ms()
        try:
            if found.endpoint in ("auth", "oidc"):
                return self._log_in(found, request)
            switches = self.switches
            is_told = switches.limit_dialect != "429_bare"
            wait = self.limiter.take(switches.rate_limit, switches.rate_window, now_ms, is_told=is_told)
            if wait:
                return throttled(switches, switches.rate_limit or 0, wait, now_ms)
            self._gate.check(request)
            body = body_of(found, request, self.shelf, switches)
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
        left = self.limiter.left(limit)
        return rate_headers(self.switches, limit, remaining=left, wait_seconds=0)
