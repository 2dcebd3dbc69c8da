"""A shelf that lies about what stands on it: totals, pages and their order.

Invariant: no lie hides a record for good, and none is told together with another in one answer, so that an honest
total, order or repetition is always left to find it out by. Lies are counted when they differ from the truth. It must
not know HTTP.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Any, NamedTuple

import msgspec

from syncer.simulator.secmaster.asks import ListAsk
from syncer.simulator.secmaster.routes import Shelf
from syncer.simulator.secmaster.switches import Switches

Ask = Callable[[ListAsk], bytes]

_TOTALS = ("count", "total")
_ITEMS = ("instances", "workflows", "data")


class Tale(NamedTuple):
    """One list about to be lied about: how to ask for it, and what was answered before to nearly the same."""

    ask: Ask
    asked: ListAsk
    former: bytes
    rng: Random

    @property
    def honest(self) -> bytes:
        return self.ask(self.asked)


def _changed(names: tuple[str, ...], change: Callable[[Any, Random], Any]) -> Callable[[Tale], bytes]:
    """The one field of these that an answer has, changed."""

    def lie(tale: Tale) -> bytes:
        fields = msgspec.json.decode(tale.honest)
        told = {name: change(fields[name], tale.rng) for name in names if name in fields}
        return msgspec.json.encode(fields | told)

    return lie


def _repeated(tale: Tale) -> bytes:
    return tale.former


def _clamped(tale: Tale) -> bytes:
    return tale.ask(replace(tale.asked, limit=tale.rng.randint(1, tale.asked.limit)))


KINDS: Mapping[str, Callable[[Tale], bytes]] = {
    "total-more": _changed(_TOTALS, lambda total, rng: total + rng.randint(1, 9)),
    "total-less": _changed(_TOTALS, lambda total, rng: max(0, total - rng.randint(1, 9))),
    "repeated": _repeated,
    "unsorted": _changed(_ITEMS, lambda items, rng: rng.sample(items, len(items))),
    "reversed": _changed(_ITEMS, lambda items, _rng: items[::-1]),
    "clamped": _clamped,
}
"""Every lie by its name."""


class LyingShelf:
    """Serves what another shelf serves. `rates`: the probability of each lie about a list.

    `told` counts the lies. Single records are never lied about: they have no pages to find it out by.
    """

    def __init__(self, shelf: Shelf, seed: int, rates: Mapping[str, float]) -> None:
        if unknown := rates.keys() - KINDS.keys():
            raise ValueError(f"no such lies: {', '.join(sorted(unknown))}")
        self.told: Counter[str] = Counter()
        self._shelf = shelf
        self._rates = rates
        self._rng = Random(f"{seed}/lies")
        self._former: dict[object, bytes] = {}
        self._is_honest = False

    def confess(self) -> None:
        """Tell nothing but the truth from now on."""
        self._is_honest = True

    def workflows(self, workspace_id: str, ask: ListAsk, switches: Switches) -> bytes:
        return self._listed(
            ("workflows", workspace_id),
            ask,
            lambda asked: self._shelf.workflows(workspace_id, asked, switches),
        )

    def workflow(self, workspace_id: str, workflow_id: str, switches: Switches) -> bytes:
        return self._shelf.workflow(workspace_id, workflow_id, switches)

    def executions(self, workspace_id: str, ask: ListAsk, switches: Switches) -> bytes:
        return self._listed(
            ("executions", workspace_id),
            ask,
            lambda asked: self._shelf.executions(workspace_id, asked, switches),
        )

    def execution(
        self, workspace_id: str, execution_id: str, with_topology: bool, switches: Switches
    ) -> bytes:
        return self._shelf.execution(workspace_id, execution_id, with_topology, switches)

    def _listed(self, listed: tuple[str, str], asked: ListAsk, ask: Ask) -> bytes:
        honest = ask(asked)
        # The page before, and no other list: a whole answer to another question could not be found out.
        place = listed, replace(asked, offset=0)
        former = self._former.get(place, honest)
        self._former[place] = honest
        kind = None if self._is_honest else self._drawn()
        if kind is None:
            return honest
        told = KINDS[kind](Tale(ask, asked, former, self._rng))
        self.told[kind] += msgspec.json.decode(told) != msgspec.json.decode(honest)
        return told

    def _drawn(self) -> str | None:
        left = self._rng.random()
        for kind, rate in self._rates.items():
            left -= rate
            if left < 0:
                return kind
        return None
