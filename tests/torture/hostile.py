"""Passes over a simulated platform that lies, breaks and dawdles, in time that runs as fast as it is slept away.

Invariant: while it is slept, time passes at the source as it does here, so a wait that is kept costs milliseconds and
one that is not is seen. It must not know which faults there are.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Engine

from syncer.http import Clock
from syncer.simulator import Tenant as Simulated
from syncer.sync import Report, backfill, sync
from syncer.writer import Writer
from tests.integration.flows import FlowBench
from tests.passes import HurriedWriter, Work
from tests.torture.crash_promises import broken_promises, progress, went_back
from tests.torture.judge import combined, differences
from tests.torture.table import note

HASTE = 0.005
"""Real seconds for a slept one, and at most."""

MOST_PASSES = 20
"""Passes within which everything that is to happen does."""


PAYLOADS = ("step", "input", "output")
"""What endpoints are called that serve one payload."""


def everywhere(simulator: Simulated, kinds: Collection[str], rate: float) -> dict[str, dict[str, float]]:
    """Faults at this rate together, on every endpoint.

    But nothing too long where one payload is asked for: that it is too large is then all there is to know of it.
    """
    short = [kind for kind in kinds if kind not in ("flood", "bomb")]
    return {
        endpoint: dict.fromkeys(short if endpoint in PAYLOADS else kinds, rate / len(kinds))
        for endpoint in simulator.endpoints
    }


class Hurried:
    """A clock that sleeping moves forward, at the source as well."""

    def __init__(self, simulator: Simulated) -> None:
        self._simulator = simulator
        self.slept = 0.0

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self._simulator.clock.advance(max(seconds, 0.0))
        await asyncio.sleep(HASTE * min(seconds, 1.0))

    def clock(self) -> Clock:
        return Clock(
            now=lambda: datetime.now(UTC) + timedelta(seconds=self.slept),
            monotonic=lambda: time.monotonic() + self.slept,
            sleep=self.sleep,
        )


class HostileBench(FlowBench):
    """One warehouse and one source that cannot be relied on."""

    def __init__(self, engine: Engine, simulator: Simulated, url: str, **changes: Any) -> None:
        self.time = Hurried(simulator)
        super().__init__(engine, self.time.clock())
        self._simulator = simulator
        self._url = url
        self._changes = {"page_size": 3, "max_response_bytes": 1 << 22, **changes}

    def passes(self, number: int, **changes: Any) -> list[Report]:
        """Passes one after the other; after each no promise is broken unnoticed, and none is taken back."""
        reports = []
        for _ in range(number):
            before = progress(self.engine)
            reports.append(self.once(**changes))
            broken = broken_promises(self.engine, self._simulator)
            assert self.disputes or not broken, "\n".join(broken)
            taken_back = went_back(before, progress(self.engine))
            assert not taken_back, "\n".join(taken_back)
        return reports

    def once(self, work: Work = sync, **changes: Any) -> Report:
        """One pass, without a crash: what goes wrong stands in its report."""
        with structlog.testing.capture_logs():
            return self.run(self._simulator, self._url, work, **{**self._changes, **changes})

    def writer(self) -> Writer:
        """The way to the warehouse in hurried time."""
        return HurriedWriter(self.engine, self.clock, timedelta(seconds=self.time.slept))

    def until(self, happened: Callable[[], bool], *, at_least: int = 1, **changes: Any) -> list[Report]:
        """Passes until everything that is to happen has happened, and so many at least."""
        reports = self.passes(at_least, **changes)
        while not happened():
            assert len(reports) < MOST_PASSES, "it does not happen"
            self.live()
            reports += self.passes(1, **changes)
        return reports

    @property
    def disputes(self) -> int:
        """Windows of which somebody is told that they may lack something."""
        return self._disputes_since(self._before_horizon(days=10))

    def _before_horizon(self, days: float) -> datetime:
        horizon_days = self._simulator.switches.horizon_days
        return self.clock.now() - timedelta(days=horizon_days + days)

    def _disputes_since(self, instant: datetime) -> int:
        found = "SELECT count(*) FROM syncer.window_audit WHERE verdict = 'disputed' AND resolved_at IS NULL"
        return int(self.value(f"{found} AND window_end > '{instant.isoformat()}'"))

    def live(self) -> None:
        """A minute at the source, in which every workflow runs and starts to run."""
        for workflow_id in self._simulator.truth.workflows:
            for status in ("Success", "Error", "Running"):
                self._simulator.add_execution(workflow_id, status=status)
        self.let_pass(60)

    def let_pass(self, seconds: float) -> None:
        """Time goes by, here and at the source."""
        self.time.slept += seconds
        self._simulator.clock.advance(seconds)

    def heal(self) -> Report:
        """Everything has ended, what was put off is due, disputes are looked into, and a last pass is made in calm."""
        self._simulator.end_all_running()
        self.let_pass(1200)
        self.end_pauses()
        if self.disputes:
            since = self._before_horizon(days=1)
            self.once(lambda session: backfill(session, since, None))
            assert self._disputes_since(self._before_horizon(days=-1)) == 0
        return self.once()

    def conclude(self, fault: str, injected: int, stale: Mapping[str, int] | None = None) -> None:
        """Put the verdict on the copy into the table; it must be flawless, and the fault must have happened.

        `stale` is how many rows of a table may differ at most, where that is as promised.
        """
        allowed = stale or {}
        verdicts = {
            table: verdict if verdict.stale > allowed.get(table, 0) else verdict._replace(stale=0)
            for table, verdict in differences(self.engine, self._simulator).items()
        }
        note(fault, injected, combined(*verdicts.values()))
        assert injected > 0, f"{fault} never happened"
        assert {table: verdict for table, verdict in verdicts.items() if any(verdict)} == {}, fault
