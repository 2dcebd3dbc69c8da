"""The paths of SecMaster and IAM: which request asks for what, and who may ask.

Invariant: a request is limited first, then authenticated, then read, then answered; so a client that may not
come in learns nothing. It must not know where the records come from.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Protocol
from urllib.parse import unquote

from syncer.simulator.secmaster.asks import (
    ListAsk,
    instances_ask,
    parameters,
    topology_ask,
    workflows_ask,
)
from syncer.simulator.secmaster.gate import Credentials, require_json
from syncer.simulator.secmaster.refusals import Refused, unknown_api
from syncer.simulator.secmaster.switches import Switches
from syncer.simulator.wire import Request

_WORKSPACE = "/v1/([^/]+)/workspaces/([^/]+)/soc"

# The first that matches counts: "instances" is no id of a workflow.
_ROUTES = tuple(
    (endpoint, method, re.compile(path))
    for endpoint, method, path in (
        ("auth", "POST", "/v3/auth/tokens"),
        ("projects", "GET", "/v3/projects"),
        ("workflows", "GET", f"{_WORKSPACE}/workflows"),
        ("executions", "GET", f"{_WORKSPACE}/workflows/instances"),
        ("workflow", "GET", f"{_WORKSPACE}/workflows/([^/]+)"),
        ("execution", "GET", f"{_WORKSPACE}/workflows/instances/([^/]+)"),
    )
)


class Shelf(Protocol):
    """Where bodies come from. Every method raises Refused(404) for what it does not have."""

    def workflows(self, workspace_id: str, ask: ListAsk, switches: Switches, /) -> bytes: ...
    def workflow(self, workspace_id: str, workflow_id: str, switches: Switches, /) -> bytes: ...
    def executions(self, workspace_id: str, ask: ListAsk, switches: Switches, /) -> bytes: ...
    def execution(
        self, workspace_id: str, execution_id: str, with_topology: bool, switches: Switches, /
    ) -> bytes: ...


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


def require_allowed(found: Route, request: Request) -> None:
    if not found.allowed:
        raise Refused(405, f"{request.method} is not allowed here", code="APIGW.0101", speaker="gateway")


def body_of(found: Route, request: Request, shelf: Shelf, known: Credentials, switches: Switches) -> bytes:
    """The answer to an authenticated request to SecMaster."""
    if found.endpoint == "other":
        raise unknown_api()
    require_allowed(found, request)
    require_json(request)
    workspace_id = _workspace(found, known)
    if found.endpoint == "workflows":
        return shelf.workflows(workspace_id, workflows_ask(request, switches), switches)
    if found.endpoint == "executions":
        return shelf.executions(workspace_id, instances_ask(request, switches), switches)
    if found.endpoint == "execution":
        return shelf.execution(workspace_id, found.ids[2], topology_ask(request), switches)
    parameters(request, ())
    return shelf.workflow(workspace_id, found.ids[2], switches)


def _workspace(found: Route, known: Credentials) -> str:
    project_id, workspace_id = found.ids[:2]
    if project_id != known.project_id:
        message = "the token is not for this project"
        raise Refused(403, message, code="APIGW.0302", speaker="gateway")
    if workspace_id not in known.workspaces:
        raise Refused(404, "no such workspace")
    return workspace_id
