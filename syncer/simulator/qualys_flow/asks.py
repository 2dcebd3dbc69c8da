"""What a request asks for, read as strictly as the parameter tables of the documents allow.

Invariant: a request that the documents do not describe is refused with 400, so that a client's misreading
shows. The samples of the documents are no authority. It must not know the truth.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from syncer.simulator.qualys_flow.refusals import Refused
from syncer.simulator.qualys_flow.switches import Switches
from syncer.simulator.wire import Request

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")
_FILTERS = ("query", "startAt", "endAt", "order")

_SHARED_FIELDS = frozenset(("id", "createdAt", "updatedAt", "customerId"))
_RUN_FIELDS = _SHARED_FIELDS | {"execution", "status", "startDate", "endDate", "parDateKey"}

# What a list can be sorted by.
WORKFLOW_FIELDS = _SHARED_FIELDS | {
    "workflow",
    "name",
    "description",
    "active",
    "type",
    "revision",
    "deletedAt",
}
EXECUTION_FIELDS = _RUN_FIELDS | {"workflow", "executionType", "source", "parentExecutionId"}
STEP_FIELDS = _RUN_FIELDS | {"eventOrder", "nodeId", "nodeType"}


@dataclass(frozen=True, slots=True)
class ListAsk:
    """One page of a list, or all of it where `page_size` is None. Times in ms, both ends as sent."""

    page_size: int | None
    offset: int
    since_ms: int | None
    until_ms: int | None
    order: str | None
    query: tuple[str, str] | None
    include_data: bool = False


def uuid_in(text: str, what: str) -> str:
    if not _UUID.fullmatch(text):
        raise Refused(400, f"{what} is not a UUID")
    return text


def page_ask(request: Request, switches: Switches, *, fields: Collection[str], token: str) -> ListAsk:
    """The parameters of GET /workflows and GET .../executions; `token` is the one QQL token they know."""
    size_name, number_name = switches.paging.split("_")
    given = parameters(request, (size_name, number_name, *_FILTERS))
    size = _page_size(_whole(given, size_name, least=1), switches)
    if number_name == "offset":
        offset = _whole(given, number_name, least=0)
    else:
        offset = (_whole(given, number_name, least=1) - 1) * size
    return ListAsk(
        page_size=size,
        offset=offset,
        since_ms=_time(given, "startAt"),
        until_ms=_time(given, "endAt"),
        order=_order(given.get("order"), fields),
        query=_query(given.get("query"), token),
    )


def steps_ask(request: Request) -> ListAsk:
    """The parameters of GET .../steps, which has no pages."""
    given = parameters(request, ("startAt", "endAt", "includeData", "order"))
    return ListAsk(
        page_size=None,
        offset=0,
        since_ms=_time(given, "startAt"),
        until_ms=_time(given, "endAt"),
        order=_order(given.get("order"), STEP_FIELDS),
        query=None,
        include_data=flag(given, "includeData"),
    )


def parameters(request: Request, known: Collection[str]) -> dict[str, str]:
    """The query as a dict; unknown and repeated names are refused."""
    given: dict[str, str] = {}
    for name, value in request.query:
        if name not in known or name in given:
            raise Refused(400, f"parameter {name} is unknown here or given twice")
        given[name] = value
    return given


def flag(given: dict[str, str], name: str) -> bool:
    value = given.get(name, "false")
    if value not in ("true", "false"):
        raise Refused(400, f"{name} must be true or false")
    return value == "true"


def _whole(given: dict[str, str], name: str, *, least: int) -> int:
    value = given.get(name, "")
    if not re.fullmatch(r"\d{1,9}", value) or int(value) < least:
        raise Refused(400, f"{name} is mandatory and must be a whole number from {least}")
    return int(value)


def _page_size(size: int, switches: Switches) -> int:
    if switches.max_page_size == "400" and size > switches.page_cap:
        raise Refused(400, f"pageSize must not exceed {switches.page_cap}")
    return min(size, switches.page_cap) if switches.max_page_size == "clamp" else size


def _time(given: dict[str, str], name: str) -> int | None:
    text = given.get(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text) if _TIME.fullmatch(text) else None
    except ValueError:
        moment = None
    if moment is None:
        raise Refused(400, f"{name} must be like 2025-05-12T01:45:36.220Z")
    return round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)


def _order(text: str | None, fields: Collection[str]) -> str | None:
    if text is not None and text.removeprefix("-") not in fields:
        raise Refused(400, "order names no field that can be sorted by")
    return text


def _query(text: str | None, token: str) -> tuple[str, str] | None:
    """QQL, of which the documents show `token: value` alone."""
    if text is None:
        return None
    name, colon, value = text.partition(":")
    if not colon or name.strip() != token or not value.strip():
        raise Refused(400, f"query must be like {token}: value")
    return name.strip(), value.strip()
