"""A little world that lives by chance: things happen in it, also while it is read, and it remembers all it showed.

Invariant: what happens depends on the seed alone, and nothing that a source promises is broken: what becomes visible
late does so within LOOKBACK, what belongs to an execution that has ended changes with its `updated_at` or within
SETTLE. It must not know how anything is copied.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from random import Random
from typing import NamedTuple

from tests.conformance.toys import Run, World

LOOKBACK = timedelta(minutes=15)
SETTLE = timedelta(minutes=2)
HORIZON = timedelta(days=30)
SECOND = timedelta(seconds=1)
INSTANT = timedelta(milliseconds=5)

EVENTS = (
    *(
        "begins",
        "begins",
        "ran",
        "ran",
        "burst",
        "late",
        "late",
        "ends",
        "ends",
        "ends_early",
        "reopens",
        "grows",
    ),
    *("deleted", "hidden", "hidden", "broken", "edited", "workflow_goes", "workflow_comes", "workflow_new"),
)


class Version(NamedTuple):
    """What of an execution was to be seen from an instant on, by the source's clock."""

    since: datetime
    ended_at: datetime | None
    updated_at: datetime | None
    events: frozenset[str]


class LivingWorld(World):
    """A world whose executions begin, grow, end, hide and vanish; `happened` counts what it did."""

    def __init__(self, chance: Random, now: datetime, *, hides_deleted: bool) -> None:
        super().__init__(now=now, shows_hints=chance.random() < 0.5)
        self.chance = chance
        self.hides_deleted = hides_deleted
        self.happened: Counter[str] = Counter()
        self.versions: dict[str, list[Version]] = {}
        self.deleted: set[str] = set()
        self.absent: set[str] = set()
        self.late: set[str] = set()
        self.went: set[str] = set()
        self.may_come: set[str] = set()
        self._closing: list[tuple[datetime, Run]] = []

    def visible(self) -> list[Run]:
        return [run for run in self.runs.values() if self.is_served(run)]

    def find(self, execution_id: str) -> Run | None:
        run = self.runs.get(execution_id)
        return run if run and self.is_served(run) else None

    def is_served(self, run: Run) -> bool:
        """Whether a request would find the execution now."""
        is_shown = run.visible_at is None or run.visible_at <= self.now
        is_away = self.hides_deleted and run.workflow_id not in self.workflow_ids
        is_there = run.execution_id not in self.deleted and run.created_at >= self.now - HORIZON
        return is_shown and is_there and not is_away

    def advance(self, length: timedelta) -> None:
        """Let time pass; steps that were still under way when their execution ended come to their end."""
        self.now += length
        for at, run in [each for each in self._closing if each[0] <= self.now]:
            self._closing.remove((at, run))
            run.steps[-1] = (run.steps[-1][0], run.steps[-1][1] or at)
            self._record(run)

    def fill_by_chance(self, size: int) -> None:
        """Invent a past: executions of the last twenty days, some of one instant, most of them ended."""
        tie = self.now - timedelta(days=3)
        for _ in range(size):
            age = timedelta(minutes=5) + timedelta(days=20) * self.chance.random() ** 3
            created_at = tie if self.chance.random() < 0.3 else self.now - age
            run = self._create(created_at)
            if self.chance.random() < 0.8:
                run.ended_at = created_at + timedelta(seconds=30)
                run.steps = [(created_at, run.ended_at)]
            self._record(run)

    def live(self, times: int = 1) -> None:
        """Let things happen."""
        for _ in range(times):
            event = self.chance.choice(EVENTS)
            if getattr(self, f"_{event}")():
                self.happened[event] += 1
            self.advance(INSTANT)

    def _create(self, created_at: datetime, workflow_id: str | None = None) -> Run:
        run = self.add(workflow_id or self.chance.choice(self.workflow_ids), created_at, lasts=None)
        run.steps = [(created_at, None)]
        self._record(run)
        return run

    def _record(self, run: Run) -> None:
        events = frozenset(
            f"{run.execution_id}-{2 * number + part}"
            for number, (_, ended_at) in enumerate(run.steps)
            for part in ((1, 2) if ended_at else (1,))
        )
        version = Version(self.now, run.ended_at, run.updated_at, events)
        self.versions.setdefault(run.execution_id, []).append(version)

    def _any(self, *, ended: bool, since: timedelta = HORIZON) -> Run | None:
        runs = [
            run
            for run in self.visible()
            if (run.ended_at is not None) == ended
            and run.created_at > self.now - since
            and run.workflow_id in self.workflow_ids
        ]
        return self.chance.choice(runs) if runs else None

    def _begins(self) -> bool:
        self._create(self.now)
        return True

    def _ran(self) -> bool:
        return self._end(self._create(self.now))

    def _burst(self) -> bool:
        workflow_id = self.chance.choice(self.workflow_ids)
        for _ in range(self.chance.randint(3, 25)):
            self._create(self.now, workflow_id)
        return True

    def _late(self) -> bool:
        run = self._create(self.now - (LOOKBACK - 5 * SECOND) * self.chance.random())
        self.late.add(run.execution_id)
        return self._end(run) if self.chance.random() < 0.5 else True

    def _end(self, run: Run | None, *, with_steps: bool = True) -> bool:
        if run is None:
            return False
        run.ended_at = run.updated_at = self.now
        last = len(run.steps) - (0 if with_steps else 1)
        run.steps = [
            (began_at, ended_at or (self.now if number < last else None))
            for number, (began_at, ended_at) in enumerate(run.steps)
        ]
        self._record(run)
        return True

    def _ends(self) -> bool:
        return self._end(self._any(ended=False))

    def _ends_early(self) -> bool:
        """An execution ends a little before its last step says so."""
        run = self._any(ended=False)
        if run is None or run.steps[-1][1] is not None:
            return False
        self._closing.append((self.now + (SETTLE - SECOND) * self.chance.random(), run))
        return self._end(run, with_steps=False)

    def _reopens(self) -> bool:
        run = self._any(ended=True, since=timedelta(hours=1))
        if run is None:
            return False
        run.ended_at, run.updated_at = None, self.now
        run.steps = [*run.steps, (self.now, None)]
        self._record(run)
        return True

    def _grows(self) -> bool:
        run = self._any(ended=self.chance.random() < 0.3)
        if run is None:
            return False
        if run.ended_at is not None or self.chance.random() < 0.5:
            run.updated_at = self.now
        began_at, ended_at = run.steps[-1]
        run.steps = [*run.steps[:-1], (began_at, ended_at or self.now), (self.now, run.ended_at and self.now)]
        self._record(run)
        return True

    def _deleted(self) -> bool:
        run = self._any(ended=self.chance.random() < 0.5)
        if run is None:
            return False
        self.deleted.add(run.execution_id)
        self.absent.add(run.execution_id)
        return True

    def _hidden(self) -> bool:
        """One vanishes for a while, and is back before the lookback forgets it."""
        run = self._any(ended=self.chance.random() < 0.5, since=LOOKBACK - 10 * SECOND)
        if run is None:
            return False
        left = run.created_at + LOOKBACK - 5 * SECOND - self.now
        run.visible_at = self.now + left * self.chance.random()
        self.absent.add(run.execution_id)
        self.late.add(run.execution_id)
        return True

    def _broken(self) -> bool:
        self._create(self.now).is_broken = True
        return True

    def _edited(self) -> bool:
        workflow_id = self.chance.choice(self.workflow_ids)
        self.revisions[workflow_id] = self.revision(workflow_id) + 1
        return True

    def _workflow_goes(self) -> bool:
        if len(self.workflow_ids) < 2 or self.chance.random() < 0.5:
            return False
        workflow_id = self.chance.choice(self.workflow_ids)
        self.workflow_ids.remove(workflow_id)
        self.may_come.discard(workflow_id)
        self.went.add(workflow_id)
        if self.hides_deleted:
            self.absent |= {run.execution_id for run in self.runs.values() if run.workflow_id == workflow_id}
        return True

    def _workflow_comes(self) -> bool:
        """A deleted workflow is back; only one that was found deleted, for else its executions would come late."""
        if not self.may_come:
            return False
        workflow_id = self.chance.choice(sorted(self.may_come))
        self.may_come.remove(workflow_id)
        self.workflow_ids.append(workflow_id)
        return True

    def _workflow_new(self) -> bool:
        if len(self.workflow_ids) + len(self.went) > 5:
            return False
        number = 1 + max(int(each[1:]) for each in (*self.workflow_ids, *self.went))
        self.workflow_ids.append(f"w{number}")
        return True
