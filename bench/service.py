"""syncer as a service: what a poll takes that finds nothing, and many connections in one process.

Invariant: a poll is counted by the requests that it sends, so none is taken for another's.
"""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.field import ROOT, SYNCER, Contestant, configure, syncer
from bench.processes import cpu_seconds, peak_kb
from bench.trial import Taken, Trial, trial
from bench.world import Size

WARM = 3
"""Polls before it counts: the first one reads everything, as after every start."""

LISTED = 100
"""Workflows in a page of their list."""

POLLS = 20
LOOK = 0.05
PATIENCE = 300
"""Seconds for all polls that are waited for."""


@dataclass(frozen=True)
class Poll:
    """One poll in the mean of several. Seconds; `rows` written in all of them, `peak_kb` of the service."""

    cpu: float
    postgres_cpu: float
    requests: float
    rows: int
    peak_kb: int


def quiet_polls(workflows: int) -> Poll:
    """Polls of a tenant with so many workflows, of which each has run once and none runs now."""
    size = Size(executions=workflows, workflows=workflows, steps=2)
    with trial(size, concurrency=4) as tried:
        tried.upstream.do("live_on")
        tried.run(SYNCER)
        configure(tried.environment, poll="1s")
        with _running(tried) as pid:
            pages = -(-workflows // LISTED)
            _await_polls(tried, WARM * pages)
            return _polls(tried, pid, pages)


def _polls(tried: Trial, pid: int, pages: int) -> Poll:
    cpu, postgres = cpu_seconds(pid), tried.warehouse.meters_in_use()
    seen = _await_polls(tried, POLLS * pages)
    polls = seen["workflows"] / pages
    took = tried.warehouse.meters_in_use().since(postgres)
    return Poll(
        cpu=(cpu_seconds(pid) - cpu) / polls,
        postgres_cpu=took.cpu / polls,
        requests=seen.total() / polls,
        rows=took.rows,
        peak_kb=peak_kb(pid),
    )


def _await_polls(tried: Trial, pages: int) -> Counter[str]:
    """What was asked until so many pages of the list of workflows had been."""
    tried.upstream.do("traffic")
    seen: Counter[str] = Counter()
    until = time.monotonic() + PATIENCE
    while seen["workflows"] < pages:
        if time.monotonic() > until:
            raise SystemExit(f"the service asked for {dict(seen)} in {PATIENCE} s: {tried.said()}")
        time.sleep(LOOK)
        seen += Counter(tried.upstream.do("traffic")["requests"])
    return seen


@contextmanager
def _running(tried: Trial) -> Iterator[int]:
    """The service's process id."""
    environment = dict(tried.environment)
    with (
        tried.said_in.open("wb") as said,
        subprocess.Popen(syncer("run"), cwd=ROOT, env=environment, stderr=said) as service,
    ):
        try:
            yield service.pid
        finally:
            service.terminate()


def connections(number: int, executions: int) -> Taken:
    """First copies by so many connections in one process, each of a tenant with so many executions."""
    contestant = Contestant(
        SYNCER.name, SYNCER.command, prepare=lambda environment: configure(environment, number)
    )
    with trial(Size(executions=executions), concurrency=4) as tried:
        return tried.measured(contestant)
