"""Signs of change that lists of workflows carry, and when one may be trusted.

A hint moves when an execution of its workflow ends. A read up to the source's now may miss what moved the hint a moment
ago, for that now is known to the second only. So a hint stands for a read that reaches beyond the instant by which
it was first shown, and for no other.

Invariant: a hint kept with a read was shown before the end of what was read.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct

MARGIN = timedelta(seconds=2)
"""Between what is known of the source's clock and what it may show: a `Date` has whole seconds."""


class Hint(Struct, frozen=True):
    """What a list showed for a workflow, and an instant of the source's clock by which it did."""

    text: str
    shown_by: datetime


class Hints:
    """The hints of a connection as last shown; of one that has not moved, when it was shown first."""

    def __init__(self) -> None:
        self._shown: dict[str, Hint] = {}

    def note(self, workflow_id: str, text: str | None, shown_by: datetime) -> None:
        """Keep what a list showed."""
        known = self._shown.get(workflow_id)
        if text is None:
            self._shown.pop(workflow_id, None)
        elif known is None or known.text != text:
            self._shown[workflow_id] = Hint(text, shown_by)

    def of(self, partition: str) -> Hint | None:
        """The hint of a workflow; None where there is none, or the partition is no workflow."""
        return self._shown.get(partition)

    def forget(self, workflow_ids: Iterable[str]) -> None:
        """Know nothing of these any more: what was shown may have moved unseen."""
        for workflow_id in workflow_ids:
            self._shown.pop(workflow_id, None)
