"""A SecMaster to talk to: a tenant behind its routes, its gate and its limit, IAM included.

Invariant: a refusal is an answer like any other. It must not know its clients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from syncer.simulator.clock import Clock
from syncer.simulator.history import Outline
from syncer.simulator.secmaster.gate import Credentials, Gate
from syncer.simulator.secmaster.lies import LyingShelf
from syncer.simulator.secmaster.records import invented
from syncer.simulator.secmaster.refusals import Refused, refusal, throttled
from syncer.simulator.secmaster.routes import Route, Shelf, body_of, require_allowed, route
from syncer.simulator.secmaster.seeds import NOW, SeedShelf
from syncer.simulator.secmaster.shelf import InventedShelf, workspace_of
from syncer.simulator.secmaster.switches import Switches
from syncer.simulator.tenant import Tenant
from syncer.simulator.truth import Truth, Workflow
from syncer.simulator.wire import Answer, Request


class Simulator(Tenant):
    """One project of SecMaster and its workspaces. `shelf` is where bodies come from."""

    endpoints = ("auth", "projects", "workflows", "workflow", "executions", "execution")

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
        super().__init__(outline, clock, truth)
        self.switches = switches or Switches()
        self.credentials = credentials or Credentials()
        self._gate = Gate(self.clock, self.credentials)
        self.shelf: Shelf = shelf or InventedShelf(self, self.credentials)

    @classmethod
    def from_seeds(cls) -> Simulator:
        """Serves the sample of the documents verbatim, in July 2025. Its truth is empty."""
        known = Credentials()
        shelf = SeedShelf(known.workspaces[0])
        clock = Clock(NOW, frozen=True)
        return cls(Outline(workflows=0), clock=clock, credentials=known, truth=Truth(), shelf=shelf)

    @property
    def tells_date(self) -> bool:
        """As the switch says."""
        return self.switches.date_header

    def workspace_of(self, workflow: Workflow) -> str:
        """The one workspace that serves a workflow and its executions."""
        return workspace_of(workflow, self.truth, self.credentials.workspaces)

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
        """auth, projects, workflows, workflow, executions, execution or other."""
        return route(request).endpoint

    def honest_answer(self, request: Request) -> Answer:
        """Limited first, then authenticated, then read, then answered."""
        request_id = invented("request", request.method, request.target)
        try:
            answer = self._answer(request, request_id)
        except Refused as refused:
            answer = refusal(refused, self.switches, request_id)
        return replace(answer, headers=(*answer.headers, ("X-Request-Id", request_id)))

    def _answer(self, request: Request, request_id: str) -> Answer:
        found = route(request)
        if found.endpoint in ("auth", "projects"):
            return self._iam(found, request)
        switches = self.switches
        is_told = switches.limit_dialect != "429_bare"
        now_ms = self.clock.now_ms()
        if self.limiter.take(switches.rate_limit, switches.rate_window, now_ms, is_told=is_told):
            return throttled(switches, request_id)
        self._gate.check(request)
        return Answer(200, body_of(found, request, self.shelf, self.credentials, switches))

    def _iam(self, found: Route, request: Request) -> Answer:
        """IAM has no limit here."""
        require_allowed(found, request)
        if found.endpoint == "projects":
            self._gate.check(request)
            return Answer(200, self._gate.projects(request))
        token, body = self._gate.log_in(request, self.switches)
        return Answer(201, body, headers=(("X-Subject-Token", token),))
