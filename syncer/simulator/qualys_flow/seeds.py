"""The samples of the documents, byte for byte, at the paths they are samples of.

Invariant: a body is never parsed and written anew. Two samples of one path: the second answers requests that
name a startAt, as its own request did. It must not know the switches.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from syncer.simulator.payloads import Side
from syncer.simulator.qualys_flow.asks import ListAsk
from syncer.simulator.qualys_flow.refusals import Refused
from syncer.simulator.qualys_flow.switches import Switches

WORKFLOW_ID = "f516bcf4-f6fb-46ac-a54f-ddbcf2a2d24a"
EXECUTION_ID = "0e71f117-648f-4ad2-a3a9-8f1b857a1b70"
STEPS_EXECUTION_ID = "0e72b4a1-abea-45b2-9ae9-91cd87506404"
NODE_ID = "node-e3a84822-qualysevent"
# All samples lie less than 30 days before.
NOW = datetime(2025, 5, 13, 6, tzinfo=UTC)

_FOLDER = Path(__file__).parent.parent / "seeds"


def seed(name: str) -> bytes:
    """One body of the documents; see the folder `seeds` for the names."""
    return (_FOLDER / f"{name}.json").read_bytes()


class SeedShelf:
    """Serves the samples; anything else does not exist."""

    def workflows(self, ask: ListAsk, _switches: Switches) -> bytes:
        """The documents show no sample of this list: one page with the workflow of the details."""
        inner = seed("workflow").strip().removeprefix(b"{").removesuffix(b"}").partition(b":")[2].strip()
        return b'{"total":"1","items":[' + (inner if ask.offset == 0 else b"") + b"]}"

    def workflow(self, workflow_id: str, _switches: Switches) -> bytes:
        _only(workflow_id, WORKFLOW_ID)
        return seed("workflow")

    def executions(self, workflow_id: str, ask: ListAsk, _switches: Switches) -> bytes:
        _only(workflow_id, WORKFLOW_ID)
        name, total = ("executions", 17) if ask.since_ms is None else ("executions_since", 9)
        return seed(name) if ask.offset == 0 else b'{"total":"%d","items":[]}' % total

    def execution(self, execution_id: str, _include_steps: bool, _switches: Switches) -> bytes:
        _only(execution_id, EXECUTION_ID)
        return seed("execution")

    def steps(self, execution_id: str, ask: ListAsk, _switches: Switches) -> bytes:
        _only(execution_id, STEPS_EXECUTION_ID)
        return seed("steps" if ask.since_ms is None else "steps_since")

    def step(self, execution_id: str, node_id: str, _switches: Switches) -> bytes:
        _only(execution_id, STEPS_EXECUTION_ID)
        _only(node_id, NODE_ID)
        return seed("step")

    def payload(self, execution_id: str, node_id: str, side: Side, _switches: Switches) -> bytes:
        _only(execution_id, STEPS_EXECUTION_ID)
        _only(node_id, NODE_ID)
        return seed(f"step_{side}")


def _only(given: str, sampled: str) -> None:
    if given != sampled:
        raise Refused(404, "the documents show no sample of this")
