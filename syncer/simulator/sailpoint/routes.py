"""The paths of SailPoint: which request asks for what, of which version of the API.

Invariant: a path is known in the style of every version that has it. It must not know where the records come from.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote

from syncer.simulator.sailpoint.asks import ListAsk, executions_ask, history_ask, parameters, workflows_ask
from syncer.simulator.sailpoint.refusals import Refused
from syncer.simulator.sailpoint.switches import Switches
from syncer.simulator.wire import Request

PER_SERVICE = "per-service"
_PREFIXED = r"/(?P<version>v2024|v2025|v2026)"
_NEWER = r"/(?P<version>v2025|v2026)"

_PATHS = (
    ("workflows", f"{_PREFIXED}/workflows", "/workflows/v1"),
    ("workflow", f"{_PREFIXED}/workflows/([^/]+)", "/workflows/v1/([^/]+)"),
    ("executions", f"{_PREFIXED}/workflows/([^/]+)/executions", "/workflows/v1/([^/]+)/executions"),
    ("execution", f"{_PREFIXED}/workflow-executions/([^/]+)", "/workflow-executions/v1/([^/]+)"),
    (
        "history",
        f"{_PREFIXED}/workflow-executions/([^/]+)/history",
        "/workflow-executions/v1/([^/]+)/history",
    ),
    (
        "history_v2",
        f"{_NEWER}/workflow-executions/([^/]+)/history-v2",
        "/workflow-executions/v1/([^/]+)/history-v2",
    ),
)
_ROUTES = tuple((endpoint, re.compile(path)) for endpoint, *paths in _PATHS for path in paths)


class Listed(NamedTuple):
    """The records of one page, as JSON can hold them, and how many there are on all pages where that is told."""

    items: Any
    total: int | None = None


class Shelf(Protocol):
    """Where records come from. Every method raises Refused(404) for what it does not have."""

    def workflows(self, ask: ListAsk, switches: Switches, /) -> Listed: ...
    def workflow(self, workflow_id: str, switches: Switches, /) -> Any: ...
    def executions(self, workflow_id: str, ask: ListAsk, switches: Switches, /) -> Listed: ...
    def execution(self, execution_id: str, switches: Switches, /) -> Any: ...
    def history(self, execution_id: str, ask: ListAsk, switches: Switches, /) -> Any: ...
    def history_v2(self, execution_id: str, switches: Switches, /) -> Any: ...


class Route(NamedTuple):
    endpoint: str
    version: str
    record_id: str
    allowed: bool


def route(request: Request, switches: Switches) -> Route:
    """The endpoint of a path, its version and the id in it; "other" for a path nobody knows."""
    if request.path == "/oauth/token":
        return Route("auth", "", "", request.method == "POST")
    for endpoint, path in _ROUTES:
        if match := path.fullmatch(request.path):
            version = match.groupdict().get("version", PER_SERVICE)
            if switches.paths in ("all", version):
                ids = [part for part in match.groups() if part != version]
                return Route(endpoint, version, unquote(ids[0]) if ids else "", request.method == "GET")
    return Route("other", "", "", True)


def answer_of(found: Route, request: Request, shelf: Shelf, switches: Switches) -> Listed:
    """What is answered to an authenticated request of the API."""
    if found.endpoint == "other":
        raise Refused(404, "no such path")
    if not found.allowed:
        raise Refused(405, f"{request.method} is not allowed here")
    if found.endpoint == "workflows":
        return shelf.workflows(workflows_ask(request, switches), switches)
    if found.endpoint == "executions":
        return shelf.executions(found.record_id, executions_ask(request, switches), switches)
    if found.endpoint == "history":
        return Listed(shelf.history(found.record_id, history_ask(request, switches), switches))
    parameters(request, ())
    single = {"workflow": shelf.workflow, "execution": shelf.execution, "history_v2": shelf.history_v2}
    return Listed(single[found.endpoint](found.record_id, switches))
