"""A shelf that lies about what stands on it: totals, pages, their order, and signs of change.

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

from syncer.simulator.sailpoint.asks import ListAsk
from syncer.simulator.sailpoint.routes import Listed, Shelf
from syncer.simulator.sailpoint.switches import Switches

Ask = Callable[[ListAsk], Listed]


class Tale(NamedTuple):
    """One list about to be lied about: how to ask for it, and what was answered before to nearly the same."""

    ask: Ask
    asked: ListAsk
    former: Listed
    rng: Random

    @property
    def honest(self) -> Listed:
        return self.ask(self.asked)


def _total(change: Callable[[int, Random], int]) -> Callable[[Tale], Listed]:
    def lie(tale: Tale) -> Listed:
        items, total = tale.honest
        return Listed(items, None if total is None else max(0, change(total, tale.rng)))

    return lie


def _items(change: Callable[[list[Any], Random], list[Any]]) -> Callable[[Tale], Listed]:
    def lie(tale: Tale) -> Listed:
        items, total = tale.honest
        return Listed(change(items, tale.rng), total)

    return lie


def _repeated(tale: Tale) -> Listed:
    return tale.former


def _clamped(tale: Tale) -> Listed:
    return tale.ask(replace(tale.asked, limit=tale.rng.randint(1, tale.asked.limit or 1)))


def _still(items: list[Any], _rng: Random) -> list[Any]:
    """Signs of change as if nothing had ever happened."""
    return [item | {"executionCount": 0, "failureCount": 0} for item in items]


def _restless(items: list[Any], rng: Random) -> list[Any]:
    """Signs of change where nothing has changed."""
    return [item | {"executionCount": rng.getrandbits(31)} for item in items]


def _shuffled(items: list[Any], rng: Random) -> list[Any]:
    return rng.sample(items, len(items))


_OF_BOTH: Mapping[str, Callable[[Tale], Listed]] = {
    "unsorted": _items(_shuffled),
    "reversed": _items(lambda items, _rng: items[::-1]),
}
_OF_EXECUTIONS: Mapping[str, Callable[[Tale], Listed]] = {
    "total-more": _total(lambda total, rng: total + rng.randint(1, 9)),
    "total-less": _total(lambda total, rng: total - rng.randint(1, 9)),
    "repeated": _repeated,
    "clamped": _clamped,
}
_OF_WORKFLOWS: Mapping[str, Callable[[Tale], Listed]] = {
    "hints-still": _items(_still),
    "hints-restless": _items(_restless),
}
KINDS: Mapping[str, Callable[[Tale], Listed]] = {**_OF_EXECUTIONS, **_OF_BOTH, **_OF_WORKFLOWS}
"""Every lie by its name. The last two are told of workflows alone, the first four of executions: a list without pages
or a total could not be found out."""


class LyingShelf:
    """Serves what another shelf serves. `rates`: the probability of each lie about a list.

    `told` counts the lies. Histories are never lied about.
    """

    def __init__(self, shelf: Shelf, seed: int, rates: Mapping[str, float]) -> None:
        if unknown := rates.keys() - KINDS.keys():
            raise ValueError(f"no such lies: {', '.join(sorted(unknown))}")
        self.told: Counter[str] = Counter()
        self._shelf = shelf
        self._rates = rates
        self._rng = Random(f"{seed}/lies")
        self._former: dict[object, Listed] = {}
        self._is_honest = False

    def confess(self) -> None:
        """Tell nothing but the truth from now on."""
        self._is_honest = True

    def workflows(self, ask: ListAsk, switches: Switches) -> Listed:
        return self._listed("", ask, lambda asked: self._shelf.workflows(asked, switches))

    def workflow(self, workflow_id: str, switches: Switches) -> Any:
        return self._shelf.workflow(workflow_id, switches)

    def executions(self, workflow_id: str, ask: ListAsk, switches: Switches) -> Listed:
        return self._listed(
            workflow_id, ask, lambda asked: self._shelf.executions(workflow_id, asked, switches)
        )

    def execution(self, execution_id: str, switches: Switches) -> Any:
        return self._shelf.execution(execution_id, switches)

    def history(self, execution_id: str, ask: ListAsk, switches: Switches) -> Any:
        return self._shelf.history(execution_id, ask, switches)

    def history_v2(self, execution_id: str, switches: Switches) -> Any:
        return self._shelf.history_v2(execution_id, switches)

    def _listed(self, workflow_id: str, asked: ListAsk, ask: Ask) -> Listed:
        honest = ask(asked)
        # The page before, and no other list: a whole answer to another question could not be found out.
        place = workflow_id, replace(asked, offset=0)
        former = self._former.get(place, honest)
        self._former[place] = honest
        kind = None if self._is_honest else self._drawn(_OF_EXECUTIONS if workflow_id else _OF_WORKFLOWS)
        if kind is None:
            return honest
        told = KINDS[kind](Tale(ask, asked, former, self._rng))
        self.told[kind] += told != honest
        return told

    def _drawn(self, own: Mapping[str, object]) -> str | None:
        left = self._rng.random()
        for kind, rate in self._rates.items():
            if kind in own or kind in _OF_BOTH:
                left -= rate
                if left < 0:
                    return kind
        return None
