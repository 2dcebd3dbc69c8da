"""Every point on which the documents of Qualys Flow are silent or at odds, with all its readings.

Invariant: the defaults are the documented or likeliest reading; a reader that works under every reading works
with the real thing. It must not know how a reading is carried out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from syncer.simulator.readings import readings_of


@dataclass(frozen=True, slots=True)
class Switches:
    """How the simulated Qualys Flow reads its documents. Numbers are no readings but sizes."""

    # Lists
    total_as: Literal["string", "number", "absent"] = "string"
    """Of workflows and executions; the steps' total is a number in the documents, unless absent here."""
    items_key: Literal["items", "data"] = "items"
    default_order: Literal["desc", "asc"] = "desc"
    honour_order: bool = True
    honour_start_at: bool = True
    honour_end_at: bool = True
    end_at: Literal["inclusive", "exclusive"] = "inclusive"
    horizon_reaction: Literal["clamp", "400"] = "clamp"
    """What happens to a startAt that is older than the horizon."""
    max_page_size: Literal["none", "clamp", "400"] = "none"
    page_cap: int = 50
    paging: Literal["pageSize_pageNumber", "limit_page", "pageSize_offset"] = "pageSize_pageNumber"
    """The parameter tables demand the first alone; the samples show the others. Offsets count from 0."""

    # Records
    wrap_single: bool = True
    list_has_definition: bool = True
    list_has_hints: bool = True
    details_null: Literal["object", "null", "absent"] = "object"
    """`details` of executions that did not fail."""
    empty_project: Literal["as_documented", "null", "nested", "empty"] = "as_documented"
    """`projects` is [null] in lists and [[]] in details; or always one of them; or []."""
    end_date_while_running: Literal["null", "absent"] = "null"
    unannounced_fields: bool = False
    gone_workflow: Literal["404", "soft", "executions_served"] = "404"
    """A deleted one: gone with its executions; listed with `deletedAt`; gone, its executions still served."""

    # Steps and payloads
    include_data: Literal["encoded", "plain", "string", "absent", "broken"] = "encoded"
    """With "broken" the input of the first step of every execution is cut short."""
    data_on: Literal["every_event", "last_event"] = "every_event"
    include_steps: Literal["steps", "items", "absent"] = "steps"
    include_steps_data: bool = False
    step_detail_wrapped: bool = False
    step_detail_payload: Literal["encoded", "plain"] = "encoded"
    io_endpoint: Literal["string_of_json", "plain"] = "string_of_json"
    running_steps_served: bool = True
    aged_steps: Literal["served", "404", "empty"] = "served"
    """Steps of executions in the last day of the horizon."""
    loop_nodes: bool = False
    loop_event_order: Literal["restart", "continue"] = "restart"

    # Access, limits and errors
    oidc_status: Literal[200, 201] = 200
    token_format: Literal["jwt", "opaque"] = "jwt"  # noqa: S105 - a format
    error_body: Literal["json", "text", "xml", "envelope", "empty"] = "json"
    limit_dialect: Literal["429_retry_after", "429_retry_date", "429_towait", "409_xml", "429_bare"] = (
        "429_retry_after"
    )
    rate_headers: bool = True
    """Whether answers within the limit tell what is left of it."""
    date_header: bool = True

    # Sizes
    rate_limit: int | None = None
    """Requests in `rate_window` seconds; None: no limit."""
    rate_window: float = 3600.0
    horizon_days: float = 30.0
    token_lifetime: float = 14_400.0


SWITCHES = readings_of(Switches)
