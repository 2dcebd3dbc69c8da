"""Platforms that behave as their documents say, and misbehave on request.

Serves the demo, the tests and the benchmarks. It is written from the documents alone and imports nothing of
the rest of syncer, so that it cannot share its misunderstandings.

    from syncer.simulator.qualys_flow import Simulator, Switches

    simulator = Simulator(Outline(workflows=2, executions=50), switches=Switches(total_as="number"))
    with simulator.serve() as url:
        ...
    assert simulator.truth.executions.keys() == what_was_read

Every platform is a folder beside this file with a `Simulator`, its `Switches` with their readings in `SWITCHES`,
and the `Credentials` it accepts.
"""

from __future__ import annotations

from syncer.simulator.clock import Clock
from syncer.simulator.faults import KINDS, Faults, mixture
from syncer.simulator.history import Outline
from syncer.simulator.payloads import PLANTED_SECRET, REDACTED
from syncer.simulator.tenant import Tenant
from syncer.simulator.truth import Attempt, Event, Execution, Truth, Workflow
from syncer.simulator.wire import Answer, Request, Seen
from syncer.simulator.world import ABSENT

__all__ = [
    "ABSENT",
    "KINDS",
    "PLANTED_SECRET",
    "REDACTED",
    "Answer",
    "Attempt",
    "Clock",
    "Event",
    "Execution",
    "Faults",
    "Outline",
    "Request",
    "Seen",
    "Tenant",
    "Truth",
    "Workflow",
    "mixture",
]
