"""A process ends while the source has said to wait: the next one waits for the rest, and asks nothing before."""

from __future__ import annotations

import signal
from datetime import datetime
from itertools import count
from random import Random

import pytest

from syncer.simulator import Answer, Request, Tenant
from tests.acceptance.service import eventually
from tests.platforms import Platform, platforms
from tests.torture.crash_ward import Trial, Ward, first_pass
from tests.torture.table import FULL, SEED, note

WAIT = 15
"""Seconds that the source asks for, long enough for a process to end and another to begin."""

TIMES = 1, 5

CHOSEN = list(platforms().values())[: None if FULL else 1]


@pytest.mark.parametrize("platform", CHOSEN, ids=lambda each: each.name)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 0)])
def test_a_wait_outlives_the_process_that_was_told_to_wait(
    ward: Ward, platform: Platform, number: signal.Signals, code: int
) -> None:
    random = Random(SEED + number)
    with first_pass(ward, platform, max_concurrency=1) as case:
        for _ in range(TIMES[FULL]):
            with case.trial() as trial:
                _limit(case.simulator, random.randint(2, case.requests - 2))
                _end_in_wait(trial, number, code)
                verdict = trial.verdict()
                note(f"{number.name} in a wait", 1, verdict)
                assert not any(verdict)


def _limit(simulator: Tenant, number: int) -> None:
    """Say at the `number`-th request that it is too much."""
    numbers = count(1)

    def fault(_request: Request, answer: Answer) -> Answer:
        return Answer(429, headers=(("Retry-After", str(WAIT)),)) if next(numbers) == number else answer

    simulator.fault = fault


def _end_in_wait(trial: Trial, number: signal.Signals, code: int) -> None:
    simulator = trial.case.simulator
    child = trial.start("sync")
    eventually(lambda: child.is_over or _told(trial), "a wait")
    asked, until = len(simulator.requests), _told(trial)[0]
    child.signal(number)
    done = child.wait()
    assert (done.code, len(simulator.requests)) == (code, asked), done
    assert _told(trial), "it did not wait for the source"
    trial.examine()
    trial.heal()
    _assert_nothing_was_asked_before(simulator, asked, until)
    trial.assert_healed()


def _told(trial: Trial) -> list[datetime]:
    """Until when the source has said to wait, if it has."""
    return trial.values("SELECT not_before FROM syncer.rate_limits WHERE not_before > clock_timestamp()")


def _assert_nothing_was_asked_before(simulator: Tenant, asked: int, until: datetime) -> None:
    later = [each.at_ms for each in simulator.requests[asked:]]
    assert later
    assert min(later) >= until.timestamp() * 1000 - 1000, "the rest of the wait was not honoured"
