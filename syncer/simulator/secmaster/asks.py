"""What a request asks for, read as strictly as the parameter tables of the documents allow.

Invariant: a request that the documents do not describe is refused with 400, so that a client's misreading
shows. It must not know the truth.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from syncer.simulator.secmaster.refusals import Refused
from syncer.simulator.secmaster.switches import Switches
from syncer.simulator.secmaster.times import read
from syncer.simulator.wire import Request

REACH = 10_000
"""How many rows deep a list can be read."""
LONGEST_PAGE = 100

_KEYS = ("create_time", "update_time")
_DIRECTIONS = ("DESC", "ASC")
_STATUSES = ("CREATED", "RUNNING", "FAILED", "FINISHED", "RETRYING", "TERMINATING", "TERMINATED")
_TRIGGERS = ("DEBUG", "TIMER", "EVENT", "MANUAL")

# Where in a record a filter looks.
INSTANCE_FILTERS: Mapping[str, tuple[str, ...]] = {
    "workflow_id": ("workflow", "id"),
    "id": ("id",),
    "name": ("name",),
    "dataobject_id": ("dataobject_id",),
    "dataclass_id": ("dataclass", "id"),
    "playbook_id": ("playbook", "id"),
    "defence_id": ("defense_id",),
    "status": ("status",),
    "trigger_type": ("trigger_type",),
}
WORKFLOW_FILTERS: Mapping[str, tuple[str, ...]] = {
    name: (name,) for name in ("enabled", "name", "description", "dataclass_id", "dataclass_name", "aop_type")
}


@dataclass(frozen=True, slots=True)
class ListAsk:
    """One page of a list. Times in ms as sent, filters by where they look."""

    offset: int
    limit: int
    sort_key: str
    is_ascending: bool
    filters: tuple[tuple[tuple[str, ...], str], ...]
    since_ms: int | None = None
    until_ms: int | None = None


def instances_ask(request: Request, switches: Switches) -> ListAsk:
    """The parameters of GET .../workflows/instances."""
    dates = ("from_date", "to_date")
    given = parameters(request, ("offset", "limit", "sort_key", "sort_dir", *dates, *INSTANCE_FILTERS))
    _one_of(given, "status", _STATUSES)
    _one_of(given, "trigger_type", _TRIGGERS)
    offset, limit = _page(given, switches)
    return ListAsk(
        offset=offset,
        limit=limit,
        sort_key=_one_of(given, "sort_key", _KEYS),
        is_ascending=_one_of(given, "sort_dir", _DIRECTIONS) == "ASC",
        filters=_filters(given, INSTANCE_FILTERS),
        since_ms=_time(given, "from_date", switches),
        until_ms=_time(given, "to_date", switches),
    )


def workflows_ask(request: Request, switches: Switches) -> ListAsk:
    """The parameters of GET .../workflows, which says in other words how to sort."""
    given = parameters(request, ("offset", "limit", "order", "sortby", *WORKFLOW_FILTERS))
    _one_of(given, "enabled", ("true", "false"))
    offset, limit = _page(given, switches)
    return ListAsk(
        offset=offset,
        limit=limit,
        sort_key=_one_of(given, "sortby", _KEYS),
        is_ascending=_one_of(given, "order", _DIRECTIONS) == "ASC",
        filters=_filters(given, WORKFLOW_FILTERS),
    )


def topology_ask(request: Request) -> bool:
    """The one parameter of GET .../workflows/instances/{id}."""
    return _one_of(parameters(request, ("show_topology",)), "show_topology", ("false", "true")) == "true"


def parameters(request: Request, known: Collection[str]) -> dict[str, str]:
    """The query as a dict; unknown and repeated names are refused."""
    given: dict[str, str] = {}
    for name, value in request.query:
        if name not in known or name in given:
            raise Refused(400, f"parameter {name} is unknown here or given twice")
        given[name] = value
    return given


def _page(given: dict[str, str], switches: Switches) -> tuple[int, int]:
    offset = _whole(given, "offset", 0)
    limit = _whole(given, "limit", 10)
    if limit < 1 or (limit > LONGEST_PAGE and switches.long_pages == "400"):
        raise Refused(400, f"limit must be from 1 to {LONGEST_PAGE}")
    if switches.long_pages == "clamp":
        limit = min(limit, LONGEST_PAGE)
    reach = offset if switches.page_reach == "offset" else offset + limit
    if reach > REACH - (switches.page_reach == "sum_below"):
        raise Refused(400, f"offset and limit must not exceed {REACH}")
    return offset, limit


def _whole(given: dict[str, str], name: str, usual: int) -> int:
    value = given.get(name, str(usual))
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise Refused(400, f"{name} must be a whole number")
    return int(value)


def _one_of(given: dict[str, str], name: str, known: Collection[str]) -> str:
    """The first is usual."""
    value = given.get(name, next(iter(known)))
    if value not in known:
        raise Refused(400, f"{name} must be one of {', '.join(known)}")
    return value


def _time(given: dict[str, str], name: str, switches: Switches) -> int | None:
    if name not in given:
        return None
    at_ms = read(given[name], switches.times)
    if at_ms is None:
        raise Refused(400, f"{name} must be like 2025-07-18T15:11:03.000Z+0800")
    return at_ms


def _filters(
    given: dict[str, str], known: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[tuple[str, ...], str], ...]:
    return tuple((place, given[name]) for name, place in known.items() if name in given)
