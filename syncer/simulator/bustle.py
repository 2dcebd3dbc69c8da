"""Users who will not wait until a list has been read: things begin, end, vanish and show themselves late meanwhile.

Invariant: what happens is chance from a seed, is counted, and is nothing that a tenant's users could not do. It must
not know how a platform serves it.

    bustle = Bustle(simulator, seed=7, rates={"begins": 0.2, "vanishes": 0.1})
    simulator.after_page = bustle
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from random import Random

from syncer.simulator.truth import Execution
from syncer.simulator.world import World

LATEST = 600.0
"""Seconds after its creation by which even the latest record has shown itself."""


class Bustle:
    """Happens between two pages. `rates`: the probability of each event then. `happened` counts them."""

    def __init__(self, world: World, seed: int, rates: Mapping[str, float]) -> None:
        if unknown := rates.keys() - EVENTS.keys():
            raise ValueError(f"no such events: {', '.join(sorted(unknown))}")
        self.happened: Counter[str] = Counter()
        self.world = world
        self.rng = Random(f"{seed}/bustle")
        self._rates = rates
        self._is_calm = False

    def calm(self) -> None:
        """Nothing happens any more."""
        self._is_calm = True

    def __call__(self, _seen: object) -> None:
        for event, rate in self._rates.items():
            if not self._is_calm and self.rng.random() < rate:
                self.happened[event] += EVENTS[event](self)

    def workflow_id(self) -> str:
        """Any workflow."""
        workflows = self.world.truth.workflows.values()
        return self.rng.choice([each.id for each in workflows if each.deleted_ms is None])

    def one(self, suits: Callable[[Execution], bool]) -> Execution | None:
        """Any execution that is served and suits."""
        now_ms = self.world.clock.now_ms()
        found = [each for each in self.world.truth.served(now_ms) if suits(each)]
        return self.rng.choice(found) if found else None


def _runs(bustle: Bustle) -> bool:
    status = bustle.rng.choice(("Success", "Success", "Error"))
    bustle.world.add_execution(bustle.workflow_id(), status=status)
    return True


def _begins(bustle: Bustle) -> bool:
    bustle.world.add_execution(bustle.workflow_id(), status=bustle.rng.choice(("Running", "Queued")))
    return True


def _ends(bustle: Bustle) -> bool:
    execution = bustle.one(lambda each: each.ended_ms is None)
    if execution is not None:
        bustle.world.end_execution(execution.id, bustle.rng.choice(("Success", "Error", "Canceled")))
    return execution is not None


def _vanishes(bustle: Bustle) -> bool:
    execution = bustle.one(lambda _each: True)
    if execution is not None:
        bustle.world.delete_execution(execution.id)
    return execution is not None


def _shows_late(bustle: Bustle) -> bool:
    """It ended some minutes ago, and no list shows it for some minutes more."""
    now_ms = bustle.world.clock.now_ms()
    age_ms = round(bustle.rng.uniform(0.2, 0.6) * LATEST * 1000)
    wait_ms = round(bustle.rng.uniform(0.0, 0.4) * LATEST * 1000)
    bustle.world.add_execution(
        bustle.workflow_id(), created_ms=now_ms - age_ms, visible_ms=now_ms + wait_ms, status="Success"
    )
    return True


EVENTS: Mapping[str, Callable[[Bustle], bool]] = {
    "runs": _runs,
    "begins": _begins,
    "ends": _ends,
    "vanishes": _vanishes,
    "shows-late": _shows_late,
}
"""What can happen, by its name; each says whether it did."""
