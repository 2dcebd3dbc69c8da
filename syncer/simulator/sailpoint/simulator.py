"""A SailPoint to talk to: a tenant behind its routes, its gate and its limits.

Invariant: a request is limited first, then authenticated, then read, then answered; a refusal is an answer like any
other. It must not know its clients.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from syncer.simulator.clock import Clock
from syncer.simulator.history import Outline
from syncer.simulator.sailpoint.gate import Credentials, Gate
from syncer.simulator.sailpoint.lies import LyingShelf
from syncer.simulator.sailpoint.limits import Limits
from syncer.simulator.sailpoint.refusals import Refused, refusal, throttled
from syncer.simulator.sailpoint.routes import Listed, Route, Shelf, answer_of, route
from syncer.simulator.sailpoint.sampled import NOW, SeedShelf
from syncer.simulator.sailpoint.shelf import InventedShelf
from syncer.simulator.sailpoint.switches import Switches
from syncer.simulator.tenant import Tenant
from syncer.simulator.truth import Truth
from syncer.simulator.wire import Answer, Request


class Simulator(Tenant):
    """One tenant of SailPoint. `shelf` is where records come from."""

    endpoints = ("auth", "workflows", "workflow", "executions", "execution", "history", "history_v2")

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
        super().__init__(outline, clock, truth)
        self.switches = switches or Switches()
        self.credentials = credentials or Credentials()
        self._gate = Gate(self.clock, self.credentials)
        self._limits = Limits()
        self.shelf: Shelf = shelf or InventedShelf(self)

    @classmethod
    def from_seeds(cls) -> Simulator:
        """Serves the documents' samples verbatim, in February 2022. Its truth is empty."""
        clock = Clock(NOW, frozen=True)
        samples = Switches(error_body="sample")
        return cls(Outline(workflows=0), switches=samples, clock=clock, truth=Truth(), shelf=SeedShelf())

    @property
    def tells_date(self) -> bool:
        """As the switch says."""
        return bool(self.switches.date_header)

    @property
    def impolite(self) -> int:
        """Requests made while the client had been told to wait."""
        return self._limits.impolite

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
        """workflows, workflow, executions, execution, history, history_v2, auth or other."""
        return route(request, self.switches).endpoint

    def honest_answer(self, request: Request) -> Answer:
        """Limited first, then authenticated, then read, then answered."""
        switches = self.switches
        found = route(request, switches)
        try:
            if found.endpoint == "auth":
                return self._log_in(found, request)
            wait = self._limits.take(found.version, found.endpoint, switches, self.clock.now_ms())
            if wait:
                return throttled(switches, wait)
            self._gate.check(request)
            self._gate.allow(found.endpoint, switches)
            listed = answer_of(found, request, self.shelf, switches)
            return Answer(200, msgspec.json.encode(listed.items), headers=_headers(found, listed, switches))
        except Refused as refused:
            return refusal(refused, switches)

    def _log_in(self, found: Route, request: Request) -> Answer:
        if not found.allowed:
            raise Refused(405, "POST the credentials")
        return Answer(200, msgspec.json.encode(self._gate.log_in(request, self.switches)))


def _headers(found: Route, listed: Listed, switches: Switches) -> tuple[tuple[str, str], ...]:
    told = () if listed.total is None else (("X-Total-Count", str(listed.total)),)
    is_deprecated = found.endpoint == "executions" or (
        found.endpoint == "history" and switches.history == "deprecated"
    )
    return (*told, ("X-Deprecated", "true")) if is_deprecated and switches.deprecated_header else told
