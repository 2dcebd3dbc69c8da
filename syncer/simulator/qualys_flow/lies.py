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

import msgspec

from syncer.simulator.payloads import Side
from syncer.simulator.qualys_flow.asks import ListAsk
from syncer.simulator.qualys_flow.routes import Shelf
from syncer.simulator.qualys_flow.switches import Switches

Ask = Callable[[ListAsk], bytes]

_HINTS = ("updatedAt", "last_execution_details", "last_execution_status")


class Tale(NamedTuple):
    """One list about to be lied about: how to ask for it, and what was answered before to nearly the same."""

    ask: Ask
    asked: ListAsk
    former: bytes
    rng: Random

    @property
    def honest(self) -> bytes:
        return self.ask(self.asked)


def _total(change: Callable[[int, Random], int]) -> Callable[[Tale], bytes]:
    def lie(tale: Tale) -> bytes:
        fields = msgspec.json.decode(tale.honest)
        total = fields.get("total")
        if total is not None:
            fields["total"] = type(total)(max(0, change(int(total), tale.rng)))
        return msgspec.json.encode(fields)

    return lie


def _items(change: Callable[[list[Any], Random], list[Any]]) -> Callable[[Tale], bytes]:
    def lie(tale: Tale) -> bytes:
        fields = msgspec.json.decode(tale.honest)
        name = next(name for name in ("items", "data") if name in fields)
        return msgspec.json.encode({**fields, name: change(fields[name], tale.rng)})

    return lie


def _repeated(tale: Tale) -> bytes:
    return tale.former


def _clamped(tale: Tale) -> bytes:
    size = tale.asked.page_size or 1
    return tale.ask(replace(tale.asked, page_size=tale.rng.randint(1, size)))


def _still(items: list[Any], _rng: Random) -> list[Any]:
    """Signs of change as if nothing had ever happened."""
    return [item | dict.fromkeys(_HINTS[1:]) | {"updatedAt": item["createdAt"]} for item in items]


def _restless(items: list[Any], rng: Random) -> list[Any]:
    """Signs of change where nothing has changed."""
    return [item | {"last_execution_details": {"executionEndDate": rng.getrandbits(40)}} for item in items]


def _shuffled(items: list[Any], rng: Random) -> list[Any]:
    return rng.sample(items, len(items))


KINDS: Mapping[str, Callable[[Tale], bytes]] = {
    "total-more": _total(lambda total, rng: total + rng.randint(1, 9)),
    "total-less": _total(lambda total, rng: total - rng.randint(1, 9)),
    "repeated": _repeated,
    "unsorted": _items(_shuffled),
    "reversed": _items(lambda items, _rng: items[::-1]),
    "clamped": _clamped,
    "hints-still": _items(_still),
    "hints-restless": _items(_restless),
}
"""Every lie by its name. The last two are told of workflows alone."""


class LyingShelf:
    """Serves what another shelf serves. `rates`: the probability of each lie about a list.

    `told` counts the lies. Lists of steps are never lied about: they have no pages to find it out by.
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

    def workflows(self, ask: ListAsk, switches: Switches) -> bytes:
        return self._listed("", ask, lambda asked: self._shelf.workflows(asked, switches))

    def workflow(self, workflow_id: str, switches: Switches) -> bytes:
        return self._shelf.workflow(workflow_id, switches)

    def executions(self, workflow_id: str, ask: ListAsk, switches: Switches) -> bytes:
        return self._listed(
            workflow_id, ask, lambda asked: self._shelf.executions(workflow_id, asked, switches)
        )

    def execution(self, execution_id: str, include_steps: bool, switches: Switches) -> bytes:
        return self._shelf.execution(execution_id, include_steps, switches)

    def steps(self, execution_id: str, ask: ListAsk, switches: Switches) -> bytes:
        return self._shelf.steps(execution_id, ask, switches)

    def step(self, execution_id: str, node_id: str, switches: Switches) -> bytes:
        return self._shelf.step(execution_id, node_id, switches)

    def payload(self, execution_id: str, node_id: str, side: Side, switches: Switches) -> bytes:
        return self._shelf.payload(execution_id, node_id, side, switches)

    def _listed(self, workflow_id: str, asked: ListAsk, ask: Ask) -> bytes:
        honest = ask(asked)
        # The page before, and no other list: a whole answer to another question could not be found out.
        place = workflow_id, replace(asked, offset=0)
        former = self._former.get(place, honest)
        self._former[place] = honest
        kind = None if self._is_honest else self._drawn(is_of_workflows=not workflow_id)
        if kind is None:
            return honest
        told = KINDS[kind](Tale(ask, asked, former, self._rng))
        self.told[kind] += msgspec.json.decode(told) != msgspec.json.decode(honest)
        return told

    def _drawn(self, *, is_of_workflows: bool) -> str | None:
        left = self._rng.random()
        for kind, rate in self._rates.items():
            if is_of_workflows or not kind.startswith("hints"):
                left -= rate
                if left < 0:
                    return kind
        return None
