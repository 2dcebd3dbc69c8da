"""Any history of a world, of mishaps and of races between processes: every promise holds at every moment.

Each example is a tenant of its own in one warehouse. After every step the copy is held against what the world has
shown so far; in the end all is calm, and the copy must be the world.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Any
from uuid import uuid4

from hypothesis import HealthCheck, Phase
from hypothesis import seed as with_seed
from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Engine

from tests.conformance.copies import Copy
from tests.conformance.living import EVENTS, LOOKBACK, SETTLE, LivingWorld
from tests.conformance.processes import LANES, MISHAPS, Mishap, Neighbours, Plan
from tests.conformance.toys import NOW, TOYS, Toy, Twist
from tests.torture.table import FULL, SEED

EPOCHS = (NOW, NOW - timedelta(days=4000))
"""The source's clock may be months or years behind the warehouse's."""

SERVICE: Plan = (("poll",), ("poll", "steps", "history"))
PLANS: dict[str, Plan] = {lane: ((lane,),) for lane in LANES} | {"service": SERVICE}

TWISTS: dict[str, Twist] = {
    "order ignored": Twist(ignores_order=True),
    "clamped to 1": Twist(clamps_pages_to=1),
    "clamped to 3": Twist(clamps_pages_to=3),
    "start ignored": Twist(ignores_start=True),
    "rows repeated": Twist(repeats=3),
    "pages mixed": Twist(mixes_pages=True),
    "no total": Twist(total=lambda true: None),
    "total too high": Twist(total=lambda true: true + 3),
    "total too low": Twist(total=lambda true: max(0, true - 2)),
}

COUNT = 400 if FULL else 12
EVERYTHING = (
    *(*MISHAPS, *TWISTS, *PLANS, *EVENTS, "read again", "a long time passes", "fenced off"),
    *(f"{one} beside {other}" for one in PLANS for other in PLANS if one <= other),
)

seeds = st.integers(0, 2**32 - 1)
troubles = st.builds(Mishap, st.sampled_from(MISHAPS), st.integers(1, 40))
mishaps = st.one_of(st.none(), troubles, troubles)
plans = st.sampled_from(sorted(PLANS))


class History(RuleBasedStateMachine):
    """A world that lives, and processes that copy it."""

    engine: Engine
    happened: Counter[str]

    @initialize(
        toy=st.sampled_from(TOYS),
        epoch=st.sampled_from(EPOCHS),
        seed=seeds,
        hides=st.booleans(),
        size=st.integers(0, 60),
        page_size=st.sampled_from((2, 5, 10)),
    )
    def begin(
        self, toy: type[Toy], epoch: datetime, seed: int, hides: bool, size: int, page_size: int
    ) -> None:
        is_parted = toy(LivingWorld(Random(0), epoch, hides_deleted=False)).partitions(["w1"]) == ["w1"]
        self.world = LivingWorld(Random(seed), epoch, hides_deleted=hides and is_parted)
        self.world.fill_by_chance(size)
        name = uuid4().hex
        paged = partial(toy, page_size=page_size)
        self.shared = Neighbours(self.engine, self.world, paged, name)
        self.copy = Copy(self.engine, name, self.world, paged(self.world))
        self.state = self.copy.state()
        self.is_broken = False

    @rule(times=st.integers(1, 12), minutes=st.sampled_from([0, 1, 4, 20]))
    def lives(self, times: int, minutes: int) -> None:
        self.world.live(times)
        self._passes(timedelta(minutes=minutes))

    @rule(length=st.sampled_from([timedelta(hours=2), timedelta(days=3), timedelta(days=12)]))
    def long_afterwards(self, length: timedelta) -> None:
        self.happened["a long time passes"] += 1
        self._passes(length)

    @precondition(lambda self: self.world.may_come)
    @rule()
    def workflow_comes_back(self) -> None:
        self.world.happened["workflow_comes"] += self.world._workflow_comes()

    @rule(name=st.sampled_from([None, *sorted(TWISTS)]))
    def misbehaves(self, name: str | None) -> None:
        self.world.twist = TWISTS[name] if name else Twist()
        self.happened[name or "behaves"] += 1

    @rule(plan=plans, mishap=mishaps, seed=seeds, lively=st.booleans())
    def works(self, plan: str, mishap: Mishap | None, seed: int, lively: bool) -> None:
        self.happened[plan] += 1
        self._run([PLANS[plan]], [mishap], seed, lively)

    @rule(pair=st.tuples(plans, plans), mishap=mishaps, other=mishaps, seed=seeds, lively=st.booleans())
    def races(
        self, pair: tuple[str, str], mishap: Mishap | None, other: Mishap | None, seed: int, lively: bool
    ) -> None:
        if mishap and other and mishap.kind == other.kind == "suspended":
            other = None
        self.happened[f"{min(pair)} beside {max(pair)}"] += 1
        self._run([PLANS[each] for each in pair], [mishap, other], seed, lively)

    @rule()
    def reads_again_what_has_not_changed(self) -> None:
        self.world.twist = Twist()
        self._calm()
        if self.world.went:  # what still runs of a deleted workflow may be found again, once
            self._calm()
        before = self.copy.fingerprints()
        self._clean_pass()  # the pauses go on: steps that the source does not have yet are not asked for each time
        assert self.copy.fingerprints() == before
        self.happened["read again"] += 1

    @invariant()
    def holds(self) -> None:
        self.is_broken = True
        now = self.copy.state()
        self.copy.check(self.state, now)
        self.is_broken = False
        self.state = now
        self.world.may_come = set(now.away) - set(self.world.workflow_ids)

    def teardown(self) -> None:
        if self.is_broken or not hasattr(self, "copy"):
            return
        self.world.twist = Twist()
        self._passes(LOOKBACK + SETTLE)
        before = self.copy.state()
        self._calm()
        self._calm()
        now = self.copy.state()
        self.copy.check(before, now)
        self.copy.check_calm(before, now)
        self.happened += self.world.happened + self.shared.happened

    def _calm(self) -> None:
        """One clean pass, the wait and the pauses being over."""
        self._passes(timedelta(0))
        self._clean_pass()

    def _clean_pass(self) -> None:
        self.shared.skew = timedelta(0)
        reports = self._run([PLANS["sync"]], [None], 0, lively=False)
        assert all(report.is_complete for report in reports), reports

    def _run(
        self, work: Sequence[Plan], befalls: Sequence[Mishap | None], seed: int, lively: bool
    ) -> list[Any]:
        self.shared.liveliness = 0.05 if lively else 0.0
        self.is_broken = True
        reports = self.shared.run(work, befalls, seed)
        self.is_broken = False
        return reports

    def _passes(self, length: timedelta) -> None:
        """Let time pass, also that of waits and pauses, which the warehouse's clock measures."""
        self.world.advance(length)
        self.shared.execute("DELETE FROM syncer.rate_limits WHERE {own}")
        self.shared.execute(
            "UPDATE history.executions SET _steps_retry_at = NULL WHERE {own} AND _steps_retry_at > now()"
        )
        self.shared.execute(
            "UPDATE syncer.watermarks SET swept_at = swept_at - interval '2 hours' WHERE {own}"
        )
        if length:
            seconds = length.total_seconds()
            for table, column in (
                ("history.workflows", "missing_since"),
                ("syncer.watermarks", "last_success_at"),
            ):
                self.shared.execute(
                    f"UPDATE {table} SET {column} = {column} - {seconds} * interval '1 second' WHERE {{own}}"
                )


def explored(engine: Engine, *, count: int, seed: int, length: int = 8) -> Counter[str]:
    """Try so many histories of so many steps; returns what happened in them how often."""
    happened: Counter[str] = Counter()
    machine = with_seed(seed)(type("Machine", (History,), {"engine": engine, "happened": happened}))
    run_state_machine_as_test(
        machine,
        settings=examples(
            max_examples=count,
            stateful_step_count=length,
            deadline=None,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )
    print("\n".join(f"{times:6} {what}" for what, times in sorted(happened.items())))  # noqa: T201
    return happened


def test_every_promise_holds_whatever_happens(engine: Engine) -> None:
    happened = explored(engine, count=COUNT, seed=SEED)
    assert not FULL or all(happened[each] for each in EVERYTHING), "every mishap and every race happened"
