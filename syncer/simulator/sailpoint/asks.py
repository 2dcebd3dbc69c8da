"""What a request asks for, read as strictly as the parameter tables of the documents allow.

Invariant: a request that the documents do not describe is refused with 400, so that a client's misreading
shows. It must not know the truth.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from syncer.simulator.sailpoint.refusals import Refused
from syncer.simulator.sailpoint.stamps import MS, read
from syncer.simulator.sailpoint.switches import Switches
from syncer.simulator.wire import Request

LIMIT = 250
"""The most records on a page, and how many there are where nothing is said."""

_TERM = r'(\w+) (\w+) ("[^"]*"|[^\s"()]+)'
_FILTERS = re.compile(f"{_TERM}(?: and {_TERM})*")
_EVER = 1 << 80


@dataclass(frozen=True, slots=True)
class ListAsk:
    """One page of a list, or all of it where `limit` is None. Both ends in ns, inclusive."""

    limit: int | None
    offset: int = 0
    since_ns: int = 0
    until_ns: int = _EVER
    status: frozenset[str] = frozenset()
    """The words that a status must be, all of them."""
    is_counted: bool = False


def workflows_ask(request: Request, switches: Switches) -> ListAsk:
    """GET /workflows, for which the documents show no parameter."""
    if switches.workflow_paging == "refused":
        parameters(request, ())
        return ListAsk(None)
    given = parameters(request, ("limit", "offset"))
    if switches.workflow_paging == "ignored":
        return ListAsk(None)
    most = switches.workflow_cap if switches.workflow_paging == "clamped" else LIMIT
    return _page(given, most)


def executions_ask(request: Request, switches: Switches) -> ListAsk:
    """GET .../executions: limit, offset, filters and, once, count."""
    known = ("limit", "offset", "filters", *(("count",) if switches.total_count != "refused" else ()))
    given = parameters(request, known)
    page = _page(given)
    if switches.max_offset == "400" and page.offset > switches.offset_cap:
        raise Refused(400, f"offset must not exceed {switches.offset_cap}")
    counted = _flag(given, "count") and switches.total_count == "served"
    return _filtered(page.limit, page.offset, counted, given.get("filters"), switches)


def history_ask(request: Request, switches: Switches) -> ListAsk:
    """GET .../history: limit and offset."""
    page = _page(parameters(request, ("limit", "offset")))
    return page if switches.history_paging == "honoured" else ListAsk(None)


def parameters(request: Request, known: Collection[str]) -> dict[str, str]:
    """The query as a dict; unknown and repeated names are refused."""
    given: dict[str, str] = {}
    for name, value in request.query:
        if name not in known or name in given:
            raise Refused(400, f"parameter {name} is unknown here or given twice")
        given[name] = value
    return given


def _page(given: dict[str, str], most: int = LIMIT) -> ListAsk:
    limit = _whole(given, "limit", LIMIT)
    if limit > LIMIT:
        raise Refused(400, f"limit must not exceed {LIMIT}")
    return ListAsk(min(limit, most), _whole(given, "offset", 0))


def _whole(given: dict[str, str], name: str, default: int) -> int:
    value = given.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,10}", value) or int(value) >= 1 << 31:
        raise Refused(400, f"{name} must be a whole number from 0")
    return int(value)


def _flag(given: dict[str, str], name: str) -> bool:
    value = given.get(name, "false")
    if value not in ("true", "false"):
        raise Refused(400, f"{name} must be true or false")
    return value == "true"


def _filtered(
    limit: int | None, offset: int, is_counted: bool, filters: str | None, switches: Switches
) -> ListAsk:
    since_ns, until_ns, status = 0, _EVER, set[str]()
    for field, operator, value in _terms(filters):
        if (field, operator) == ("status", "eq") and value.startswith('"'):
            status.add(value.strip('"'))
        elif field == "start_time" and operator in ("eq", "lt", "le", "gt", "ge"):
            first, last = _span(operator, _time(value.strip('"')), switches)
            since_ns, until_ns = max(since_ns, first), min(until_ns, last)
        else:
            raise Refused(400, f"no filter on {field} with {operator} {value}")
    return ListAsk(limit, offset, since_ns, until_ns, frozenset(status), is_counted)


def _terms(filters: str | None) -> list[tuple[str, str, str]]:
    if filters is None:
        return []
    if not _FILTERS.fullmatch(filters):
        raise Refused(400, 'filters must be like start_time ge "2022-02-07T20:13:29Z" and status eq "Failed"')
    return re.findall(f"{_TERM}(?: and |$)", filters)


def _span(operator: str, at_ns: int, switches: Switches) -> tuple[int, int]:
    """What an operator leaves of all time, both ends inclusive."""
    tick = MS if switches.filter_precision == "ms" else 1
    first = at_ns - at_ns % tick
    return {
        "eq": (first, first + tick - 1),
        "lt": (0, first - 1),
        "le": (0, first + tick - 1),
        "gt": (first + tick, _EVER),
        "ge": (first, _EVER),
    }[operator]


def _time(text: str) -> int:
    try:
        return read(text)
    except ValueError:
        raise Refused(
            400, "start_time must be compared with a date-time such as 2022-02-07T20:13:29Z"
        ) from None
