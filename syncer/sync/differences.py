"""What a comparison of source and warehouse found, kept bounded.

Invariant: every difference is counted once, however many are kept. It must not know how they are found or shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct, field

from syncer.model import Window

LISTED = 1000
"""Differences kept one by one; of the others only the number."""


class Kind(StrEnum):
    """How the warehouse differs from the source.

    `missing`: listed there, not here. `gone`: here, no longer listed there. `marked`: listed there, marked missing
    here. `steps`: not all there that were once written. `values`: columns hold something else. `count`: the source
    tells another total than it lists.
    """

    MISSING = "missing"
    GONE = "gone"
    MARKED = "marked"
    STEPS = "steps"
    VALUES = "values"
    COUNT = "count"


class Difference(Struct, frozen=True, kw_only=True):
    """One thing that is otherwise at the source.

    `identity` is an id of the table's; None for a count, of which `told` and `listed` are the figures. `columns` names
    what holds something else, with the table in front where that is not `table`.
    """

    kind: Kind
    table: str
    partition: str
    identity: str | None = None
    window: Window | None = None
    columns: tuple[str, ...] = ()
    told: int | None = None
    listed: int | None = None
    is_repaired: bool = False


class Verified(Struct, kw_only=True):
    """What was compared and what differs.

    `counts` has the number of differences by kind, `repaired` of those that are mended; `differences` holds the first
    LISTED of them. `not_copied` are spans by partition that wait to be copied: they were not compared.
    """

    windows: int = 0
    executions: int = 0
    sampled: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)
    not_copied: dict[str, Window] = field(default_factory=dict)

    @property
    def remaining(self) -> int:
        """Differences that are not repaired."""
        return self.counts.total() - self.repaired.total()

    def note(self, differences: Iterable[Difference]) -> None:
        """Add differences whose fate is known."""
        for each in differences:
            self.counts[each.kind] += 1
            self.repaired[each.kind] += each.is_repaired
            if len(self.differences) < LISTED:
                self.differences.append(each)
