"""The paths of Qualys Flow: which request asks for what, and who may ask.

Invariant: a request is limited first, then authenticated, then read, then answered; so a client that may not
come in learns nothing. It must not know where the records come from.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Protocol
from urllib.parse import unquote

from syncer.simulator.payloads import Side
from syncer.simulator.qualys_flow.asks import (
    EXECUTION_FIELDS,
    WORKFLOW_FIELDS,
    ListAsk,
    flag,
    page_ask,
    parameters,
    steps_ask,
    uuid_in,
)
from syncer.simulator.qualys_flow.refusals import Refused
from syncer.simulator.qualys_flow.seeds import seed
from syncer.simulator.qualys_flow.switches import Switches
from syncer.simulator.wire import Request

PREFIX = "/qflowapi/v1"

_ROUTES = tuple(
    (endpoint, method, re.compile(path))
    for endpoint, method, path in (
        ("auth", "POST", "/auth"),
        ("oidc", "POST", "/auth/oidc"),
        ("workflows", "GET", f"{PREFIX}/workflows"),
        ("workflow", "GET", f"{PREFIX}/workflows/([^/]+)"),
        ("run", "POST", f"{PREFIX}/workflows/([^/]+)/run"),
        ("executions", "GET", f"{PREFIX}/workflows/([^/]+)/executions"),
        ("execution", "GET", f"{PREFIX}/executions/([^/]+)"),
        ("steps", "GET", f"{PREFIX}/executions/([^/]+)/steps"),
        ("step", "GET", f"{PREFIX}/executions/([^/]+)/steps/([^/]+)"),
        ("input", "GET", f"{PREFIX}/executions/([^/]+)/steps/([^/]+)/input"),
        ("output", "GET", f"{PREFIX}/executions/([^/]+)/steps/([^/]+)/output"),
    )
)


class Shelf(Protocol):
    """Where bodies come from. Every method raises Refused(404) for what it does not have."""

    def workflows(self, ask: ListAsk, switches: Switches, /) -> bytes: ...
    def workflow(self, workflow_id: str, switches: Switches, /) -> bytes: ...
    def executions(self, workflow_id: str, ask: ListAsk, switches: Switches, /) -> bytes: ...
    def execution(self, execution_id: str, include_steps: bool, switches: Switches, /) -> bytes: ...
    def steps(self, execution_id: str, ask: ListAsk, switches: Switches, /) -> bytes: ...
    def step(self, execution_id: str, node_id: str, switches: Switches, /) -> bytes: ...
    def payload(self, execution_id: str, node_id: str, side: Side, switches: Switches, /) -> bytes: ...


class Route(NamedTuple):
    endpoint: str
    ids: tuple[str, ...]
    allowed: bool


def route(request: Request) -> Route:
    """The endpoint of a path and the ids in it; "other" for a path nobody knows."""
    for endpoint, method, path in _ROUTES:
        if match := path.fullmatch(request.path):
            ids = tuple(unquote(part) for part in match.groups())
            return Route(endpoint, ids, request.method == method)
    return Route("other", (), True)


def body_of(found: Route, request: Request, shelf: Shelf, switches: Switches) -> bytes:
    """The answer to an authenticated request of the API."""
    if not found.allowed:
        raise Refused(405, f"{request.method} is not allowed here")
    if found.endpoint == "workflows":
        ask = page_ask(request, switches, fields=WORKFLOW_FIELDS, token="qflow.name")  # noqa: S106 - a QQL token
        return shelf.workflows(ask, switches)
    if found.endpoint in ("workflow", "executions", "run"):
        return _of_workflow(found, request, shelf, switches)
    if found.endpoint in ("execution", "steps", "step", "input", "output"):
        return _of_execution(found, request, shelf, switches)
    raise Refused(404, "no such path")


def _of_workflow(found: Route, request: Request, shelf: Shelf, switches: Switches) -> bytes:
    workflow_id = uuid_in(found.ids[0], "workflowId")
    if found.endpoint == "executions":
        ask = page_ask(request, switches, fields=EXECUTION_FIELDS, token="status")  # noqa: S106 - a QQL token
        return shelf.executions(workflow_id, ask, switches)
    parameters(request, ())
    return seed("run") if found.endpoint == "run" else shelf.workflow(workflow_id, switches)


def _of_execution(found: Route, request: Request, shelf: Shelf, switches: Switches) -> bytes:
    execution_id = uuid_in(found.ids[0], "executionId")
    if found.endpoint == "execution":
        include_steps = flag(parameters(request, ("includeSteps",)), "includeSteps")
        return shelf.execution(execution_id, include_steps, switches)
    if found.endpoint == "steps":
        return shelf.steps(execution_id, steps_ask(request), switches)
    parameters(request, ())
    if found.endpoint == "step":
        return shelf.step(execution_id, found.ids[1], switches)
    side: Side = "input" if found.endpoint == "input" else "output"
    return shelf.payload(execution_id, found.ids[1], side, switches)
