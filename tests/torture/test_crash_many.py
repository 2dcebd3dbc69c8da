"""Several processes on one warehouse: begun at once, and one that sleeps while another takes over its work."""

from __future__ import annotations

import signal

import pytest

from syncer.simulator import Outline
from tests.acceptance.service import eventually
from tests.nursery import Child
from tests.platforms import Platform, platforms
from tests.torture.crash_promises import content, differing, progress, went_back
from tests.torture.crash_ward import Case, Instant, Trial, Ward, no_schema
from tests.torture.table import FULL, SEED, note

PROCESSES = 4
TOO_MANY = 1.5
"""Requests of all processes together, as a multiple of those of one that is alone."""

SLEEPS = 1, 12

CHOSEN = list(platforms().values())[: None if FULL else 1]

ENOUGH = Outline(workflows=2, executions=70, running=2, loops=True, steps=2, seed=SEED)
"""So much work that what each process must ask for itself weighs little."""


@pytest.mark.parametrize("platform", CHOSEN, ids=lambda each: each.name)
def test_processes_begun_at_once_on_an_empty_warehouse_share_its_work(ward: Ward, platform: Platform) -> None:
    with no_schema(ward, platform, ENOUGH) as case, case.trial() as trial:
        case.simulator.clear_requests()
        children = [trial.start("sync") for _ in range(PROCESSES)]
        done = [child.wait() for child in children]
        assert [each.code for each in done] == [0] * PROCESSES, [each.err for each in done]
        trial.assert_healed()
        note(f"{PROCESSES} processes at once", 1, trial.verdict())
        assert not any(trial.verdict())
        requests = len(case.simulator.requests)
        print(f"\nrequests: {requests} by {PROCESSES} processes, {case.requests} by one")  # noqa: T201
        assert requests < TOO_MANY * case.requests
        known = case.simulator.truth.executions
        # What still runs is read by every pass, whoever else does.
        again = case.pages_of_steps() - case.pages
        ended = {each: times for each, times in again.items() if known[each].ended_ms is not None}
        assert sum(ended.values()) <= PROCESSES, f"steps were read by several: {ended}"


def test_a_process_that_slept_past_its_lease_is_fenced_off_and_goes_on(first_case: Case) -> None:
    for instant in first_case.instants(SLEEPS[FULL], "fetch"):
        with first_case.trial() as trial:
            _sleep_past(trial, instant)
            verdict = trial.verdict()
            note("slept past its lease", 1, verdict)
            assert not any(verdict), instant


def _sleep_past(trial: Trial, instant: Instant) -> None:
    asleep: list[Child] = []
    happened = trial.arm(instant, lambda: asleep[0].signal(signal.SIGSTOP))
    asleep.append(trial.start("sync"))
    assert happened.wait(60), instant
    trial.case.simulator.fault = None
    eventually(lambda: _is_between_transactions(trial, asleep[0]), "a rest between two transactions")
    trial.execute("UPDATE syncer.leases SET until = now() - interval '1 second' WHERE owner IS NOT NULL")
    held = trial.values("SELECT partition FROM syncer.leases WHERE owner IS NOT NULL")
    other = trial.start("sync").wait()
    assert other.code == 0, other.err
    before, reached = content(trial.engine), progress(trial.engine)
    asleep[0].signal(signal.SIGCONT)
    late = asleep[0].wait()
    assert late.code in (0, 1), late
    assert "Traceback" not in late.err, late.err
    if held:
        assert (late.code, "took over" in late.err) == (1, True), (held, late)
    assert went_back(reached, progress(trial.engine)) == []
    assert differing(before, content(trial.engine)) == []
    trial.assert_healed()


def _is_between_transactions(trial: Trial, child: Child) -> bool:
    """Whether the sleeper holds no locks; one that does wakes up for a moment."""
    states = (
        "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    if all(state == "idle" for state in trial.values(states)):
        return True
    child.signal(signal.SIGCONT)
    child.signal(signal.SIGSTOP)
    return False
