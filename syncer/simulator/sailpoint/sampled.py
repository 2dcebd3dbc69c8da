"""The samples of the documents, byte for byte, at the paths they are samples of.

Invariant: what the documents show is served as it stands there, and only the workflow, of which no sample belongs to
the sampled execution, is made up. It must not know the switches.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from msgspec import Raw

from syncer.simulator.sailpoint.asks import ListAsk
from syncer.simulator.sailpoint.refusals import Refused
from syncer.simulator.sailpoint.routes import Listed
from syncer.simulator.sailpoint.switches import Switches
from syncer.simulator.sailpoint.texts import seed

WORKFLOW_ID = "d201c5d9-d37b-4a2f-af14-66414f39d568"
EXECUTION_ID = "b393f4e2-4785-4d7f-ab27-3a6b8ded4c81"
# The sampled execution lies less than 90 days before.
NOW = datetime(2022, 2, 8, 6, tzinfo=UTC)

_WORKFLOW = {"id": WORKFLOW_ID, "name": "Send Email", "enabled": True}


class SeedShelf:
    """Serves the samples; anything else does not exist."""

    def workflows(self, ask: ListAsk, _switches: Switches) -> Listed:
        return Listed([] if ask.offset else [_WORKFLOW])

    def workflow(self, workflow_id: str, _switches: Switches) -> Any:
        _only(workflow_id, WORKFLOW_ID)
        return _WORKFLOW

    def executions(self, workflow_id: str, ask: ListAsk, _switches: Switches) -> Listed:
        _only(workflow_id, WORKFLOW_ID)
        return Listed([] if ask.offset else Raw(seed("executions")), 1 if ask.is_counted else None)

    def execution(self, execution_id: str, _switches: Switches) -> Any:
        _only(execution_id, EXECUTION_ID)
        return Raw(seed("execution"))

    def history(self, execution_id: str, ask: ListAsk, _switches: Switches) -> Any:
        _only(execution_id, EXECUTION_ID)
        return [] if ask.offset else [Raw(seed("event"))]

    def history_v2(self, execution_id: str, _switches: Switches) -> Any:
        _only(execution_id, EXECUTION_ID)
        return {"definition": None, "history": [Raw(seed("event"))], "trigger": None}


def _only(given: str, sampled: str) -> None:
    if given != sampled:
        raise Refused(404, "the documents show no sample of this")
