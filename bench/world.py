"""The tenant that everybody copies: what it holds at first, and how it goes on.

Invariant: the same size, seed and start give the same tenant and the same change. It must not know who copies it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from random import Random

from bench.packed import PackingTruth
from syncer.simulator import Clock, Execution, Outline
from syncer.simulator.history import invent
from syncer.simulator.qualys_flow import Simulator, Switches

VARIETY = 64
"""Different payloads of a node type, inputs and outputs each."""

MINUTE = 60
LONGEST_MS = 3 * 24 * 3600 * 1000
"""How long ago the oldest execution that still runs was created: somebody has not approved it yet."""


@dataclass(frozen=True)
class Size:
    """`executions` in all; `payload` is bytes of JSON in each input and in each output."""

    executions: int = 2000
    workflows: int = 10
    steps: int = 8
    payload: int = 4096
    seed: int = 1

    @property
    def running(self) -> int:
        """Half of the 1 % that will change."""
        return max(1, self.executions // 200)

    @property
    def arriving(self) -> int:
        """How many are created while a quarter of an hour goes by."""
        return max(1, self.executions // 1000)


class Tenant:
    """A simulated Qualys Flow with payloads of the chosen size. Its clock stands still until it is told to run."""

    def __init__(self, size: Size, now: datetime) -> None:
        self._size = size
        self._rng = Random(f"{size.seed}/bench")
        self._turn = 0
        self._truth = PackingTruth(size.payload)
        outline, clock = _outline(size), Clock(now, frozen=True)
        # An event that begins a step carries no payload: two for each step, not three.
        self.simulator = Simulator(
            outline,
            switches=Switches(data_on="last_event"),
            clock=clock,
            truth=invent(outline, clock.now_ms(), self._truth),
        )
        for workflow_id in self._workflows(size.running):
            self._start_long_ago(workflow_id)

    def executions(self) -> Collection[Execution]:
        """All of them."""
        return self._truth.executions.values()

    def live_on(self) -> list[Execution]:
        """A quarter of an hour goes by: what runs ends, something begins. Returns what changed."""
        running = [each for each in self.executions() if each.ended_ms is None]
        arriving = list(self._workflows(self._size.arriving))
        changed: list[Execution] = []
        for minute in range(10):
            self.simulator.clock.advance(MINUTE)
            changed += [self._end(each) for each in running[minute::10]]
            changed += [self.simulator.add_execution(each) for each in arriving[minute::10]]
        self.simulator.clock.advance(5 * MINUTE)
        return changed

    def follow(self, arriving: int) -> list[Execution]:
        """Five minutes go by, in which so many executions begin; each runs for two minutes. Returns what changed."""
        workflows = list(self._workflows(arriving))
        changed: list[Execution] = []
        for minute in range(5):
            self.simulator.clock.advance(MINUTE)
            long_ago_ms = self.simulator.clock.now_ms() - 2 * MINUTE * 1000
            running = [each for each in self.executions() if each.ended_ms is None]
            changed += [self._end(each) for each in running if each.created_ms <= long_ago_ms]
            changed += [self.simulator.add_execution(each, status="Running") for each in workflows[minute::5]]
        return changed

    def rest(self) -> None:
        """A quarter of an hour goes by, and nothing happens."""
        self.simulator.clock.advance(15 * MINUTE)

    def _workflows(self, number: int) -> Iterator[str]:
        """As many ids, from one workflow to the next, going on where the last ones ended."""
        ids = list(self.simulator.truth.workflows)
        for _ in range(number):
            yield ids[self._turn % len(ids)]
            self._turn += 1

    def _start_long_ago(self, workflow_id: str) -> None:
        ago = self._rng.randrange(10 * MINUTE * 1000, LONGEST_MS)
        self.simulator.add_execution(
            workflow_id, created_ms=self.simulator.clock.now_ms() - ago, status="Running"
        )

    def _end(self, execution: Execution) -> Execution:
        self.simulator.end_execution(execution.id, self._rng.choices(("Success", "Error"), (7, 1))[0])
        self._truth.pack(execution)
        return execution


def _outline(size: Size) -> Outline:
    """All executions but those that have run for long, half of the rest of the 1 % within the last ten minutes."""
    share, rest = divmod(size.executions - size.running, size.workflows)
    return Outline(
        seed=size.seed,
        workflows=size.workflows,
        executions=tuple(share + (at < rest) for at in range(size.workflows)),
        steps=size.steps,
        running=size.running,
        variety=VARIETY,
    )
