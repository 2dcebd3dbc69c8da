"""Every point on which the documents of SecMaster are silent or at odds, with all its readings.

Invariant: the defaults are the documented or likeliest reading; a reader that works under every reading works
with the real thing. It must not know how a reading is carried out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from syncer.simulator.readings import readings_of


@dataclass(frozen=True, slots=True)
class Switches:
    """How the simulated SecMaster reads its documents. Numbers are no readings but sizes."""

    # Lists
    count_as: Literal["total", "page", "absent"] = "total"
    """What `count` counts: all that matches, or what stands on the page. The list of workflows tells a total."""
    instances_as: Literal["bare", "envelope"] = "bare"
    workflows_as: Literal["envelope", "bare"] = "envelope"
    long_pages: Literal["400", "clamp", "served"] = "400"
    """What happens to a limit over 100."""
    page_rows: Literal["as_asked", "two"] = "as_asked"
    """How many rows a page has that is not the last: as many as limit says, or two at most, whatever it says."""
    page_reach: Literal["sum", "sum_below", "offset"] = "sum"
    """What must not exceed 10,000: offset and limit together, or the same and not reach it, or the offset alone."""
    honour_sort: bool = True
    honour_dates: bool = True
    date_bounds: Literal["inclusive", "to_exclusive", "exclusive"] = "inclusive"
    creation_lead: float = 0.0
    """Seconds at most by which an instance was created before it started: the dates bound its creation then."""

    # Records
    times: Literal["literal_z", "colon", "seconds", "utc"] = "literal_z"
    """...04.577Z+0800, ...04.577+08:00, ...04Z+0800 or ...04.577Z; the first is always understood as well."""
    workflow_as: Literal["envelope", "bare"] = "envelope"
    instance_as: Literal["bare", "envelope"] = "bare"
    english_names: Literal["absent", "present"] = "absent"
    """Where they are absent, as in the sample, the name itself is English."""
    defense_key: Literal["defense_id", "defence_id"] = "defense_id"
    empty_values: Literal["absent", "null", "empty"] = "absent"
    """How the end of what runs, the error of what went well and an output that is none are served."""
    former_end: Literal["absent", "told"] = "absent"
    """Whether what is being retried still tells the end that it came to before."""
    unannounced_fields: bool = False
    gone_workflow: Literal["with_instances", "alone"] = "with_instances"
    """What a deleted workflow takes along."""

    # Steps and payloads
    list_topology: bool = False
    empty_topology: Literal["empty", "null", "absent"] = "empty"
    """Of an instance in which no node has run yet, or of one whose topology is late."""
    topology_delay: float = 0.0
    """Seconds after its end before an instance shows a node."""
    payloads: Literal["string", "plain"] = "string"
    """`input` and `output`: JSON inside a string, or in its place."""
    node_instance_id: bool = False
    """Whether a node's record has an id of its own, as those of the audit log of playbooks do."""

    # Access, limits and errors
    error_body: Literal["documented", "code", "error_code", "errorCode", "nested", "iam"] = "documented"
    """One form for all errors, or as documented for whoever speaks: IAM, the gateway or SecMaster."""
    limit_dialect: Literal["429_APIGW", "429_APIG", "403_APIGW", "429_bare", "403_words"] = "429_APIGW"
    """The status and the prefix of the code; or nothing but the status, or the documented words without a code."""
    date_header: bool = True

    # Sizes
    rate_limit: int | None = None
    """Requests in `rate_window` seconds; None: no limit."""
    rate_window: float = 1.0
    horizon_days: float = 30.0
    token_lifetime: float = 86_400.0


SWITCHES = readings_of(Switches)
