"""The sample of the documents, byte for byte, at the path it is a sample of.

Invariant: its body is never parsed and written anew; what the documents do not show is cut out of it. It must not know
the switches.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from syncer.simulator.secmaster.asks import ListAsk
from syncer.simulator.secmaster.refusals import Refused
from syncer.simulator.secmaster.switches import Switches
from syncer.simulator.secmaster.times import read

WORKFLOW_ID = "4a6fe02f-b4b4-3b5f-8a11-6f22229e18db"
EXECUTION_ID = "8eed56de-7aaf-4732-baaf-46c1bb11dc8f"
NAME = "ZFGJZDGB-20250718151103"
# The sample lies less than 30 days before.
NOW = datetime(2025, 7, 19, 6, tzinfo=UTC)

_FOLDER = Path(__file__).parent / "seeds"
_START_MS = read("2025-07-18T15:11:03.000Z+0800", "literal_z") or 0
_NAMED = {("id",): EXECUTION_ID, ("workflow", "id"): WORKFLOW_ID, ("name",): NAME}


def seed(name: str) -> bytes:
    """One body of the documents; see the folder `seeds` for the names."""
    return (_FOLDER / f"{name}.json").read_bytes()


class SeedShelf:
    """Serves the sample in one workspace; anything else does not exist."""

    def __init__(self, workspace_id: str) -> None:
        self._workspace_id = workspace_id

    def workflows(self, workspace_id: str, ask: ListAsk, _switches: Switches) -> bytes:
        """The documents show no sample of this list: one page with the workflow of the instance."""
        total = int(workspace_id == self._workspace_id)
        inner = _workflow() if total and not ask.offset else b""
        return _envelope(b'"total":%d,"data":[%s]' % (total, inner))

    def workflow(self, workspace_id: str, workflow_id: str, _switches: Switches) -> bytes:
        self._only(workspace_id, workflow_id, WORKFLOW_ID)
        return _envelope(b'"data":' + _workflow())

    def executions(self, workspace_id: str, ask: ListAsk, _switches: Switches) -> bytes:
        if workspace_id != self._workspace_id or not _is_asked_for(ask):
            return b'{"count":0,"instances":[]}'
        return seed("instances") if ask.offset == 0 else b'{"count":1,"instances":[]}'

    def execution(
        self, workspace_id: str, execution_id: str, _with_topology: bool, _switches: Switches
    ) -> bytes:
        self._only(workspace_id, execution_id, EXECUTION_ID)
        return seed("instances").partition(b"[")[2].rpartition(b"]")[0].strip()

    def _only(self, workspace_id: str, given: str, sampled: str) -> None:
        if (workspace_id, given) != (self._workspace_id, sampled):
            raise Refused(404, "the documents show no sample of this")


def _is_asked_for(ask: ListAsk) -> bool:
    since_ms = 0 if ask.since_ms is None else ask.since_ms
    until_ms = 1 << 60 if ask.until_ms is None else ask.until_ms
    is_named = all(_NAMED.get(place, wanted) == wanted for place, wanted in ask.filters)
    return since_ms <= _START_MS <= until_ms and is_named


def _workflow() -> bytes:
    """The last object of the sample."""
    return b"{" + seed("instances").rpartition(b"{")[2].partition(b"}")[0] + b"}"


def _envelope(fields: bytes) -> bytes:
    return b'{"code":"00000000","message":"","success":true,"request_id":"sample",' + fields + b"}"
