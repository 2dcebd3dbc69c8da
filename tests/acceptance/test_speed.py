"""What a copy takes does not grow unnoticed: requests, rows written, processor.

The processor is told in rounds of a fixed piece of work that is done right before and after, on the same machine. So it
means the same on a slow machine and on one that has much else to do; what only waits does not count.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import replace

import pytest

from bench import yardstick
from bench.economy import lower_bound
from bench.field import SYNCER
from bench.figures import asked
from bench.trial import CHANGED, FIRST, HAPPENS, QUIET, Taken, trial
from bench.world import Size

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what processes took is read from /proc")

SIZE = Size(executions=400, workflows=2)
CONTESTANT = replace(SYNCER, copied=None)  # whether a copy is right is for other tests

ROUNDS = {"cpu": 13.5, "postgres_cpu": 6.0}
"""What an execution of eight steps takes, of the command and of PostgreSQL, in rounds of the yardstick: 13.0 to 13.8
and, with lz4, 4.4 to 5.5 in four runs, without it a third more; busy neighbours add a fifth."""

GROSS = 2.5
"""How many times as much fails. Smaller changes are for `make bench` to find."""


@pytest.fixture(scope="module")
def jobs() -> dict[str, tuple[Taken, float]]:
    """What each job took, and milliseconds that a round of the yardstick took meanwhile."""
    found = {}
    with trial(SIZE, concurrency=16) as tried:
        for job in (FIRST, CHANGED, QUIET):
            if job in HAPPENS:
                tried.upstream.do(HAPPENS[job])
            before = yardstick.milliseconds()
            taken = tried.measured(CONTESTANT)
            found[job] = taken, statistics.mean((before, yardstick.milliseconds()))
    return found


@pytest.mark.parametrize("job", [FIRST, CHANGED, QUIET])
def test_no_request_is_made_that_a_right_copy_can_do_without(
    jobs: dict[str, tuple[Taken, float]], job: str
) -> None:
    taken, _ = jobs[job]
    assert lower_bound(SIZE, job) <= asked(taken.requests) <= 1.02 * lower_bound(SIZE, job)


def test_where_nothing_changed_nothing_is_written(jobs: dict[str, tuple[Taken, float]]) -> None:
    taken, _ = jobs[QUIET]
    assert taken.rows_written == 0


@pytest.mark.parametrize("whose", ROUNDS)
def test_an_execution_takes_no_more_processor_than_it_did(
    jobs: dict[str, tuple[Taken, float]], whose: str
) -> None:
    first, quiet = (1000 * getattr(taken, whose) / round_ms for taken, round_ms in (jobs[FIRST], jobs[QUIET]))
    each = (first - quiet) / SIZE.executions  # without what every command costs
    assert each < GROSS * ROUNDS[whose], f"{each:.1f} rounds of the yardstick"
