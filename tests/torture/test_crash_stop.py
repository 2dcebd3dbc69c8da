"""SIGTERM at the instants at which others are killed: the command ends in good order, with what was complete."""

from __future__ import annotations

import json
import time

from tests.nursery import Child
from tests.torture.crash_ward import Case, Instant, Trial
from tests.torture.table import FULL, note

STOPS = 1, 25

PROMISED = 10.0
"""Seconds until the process is gone."""

PATIENCE = 6 * PROMISED
"""Seconds that two busy cores may make of it."""


class _Signal:
    """Sends SIGTERM, and remembers when, and which executions' steps had been read whole by then."""

    def __init__(self, case: Case, instant: Instant) -> None:
        self.at = 0.0
        self._cut = instant.number if instant.when == "half answered" else None
        self.read: set[str] = set()
        self._case = case

    def __call__(self, child: Child) -> None:
        with self._case.simulator.lock:
            pages = self._case.pages_of_steps(self._cut)
        self.read = {
            execution for execution, number in pages.items() if number >= self._case.pages[execution]
        }
        self.at = time.monotonic()
        child.terminate()


def _stop(trial: Trial, instant: Instant) -> bool:
    trial.case.simulator.clear_requests()
    told = _Signal(trial.case, instant)
    hit = trial.hurt(instant, told, "sync", "--json")
    took = time.monotonic() - told.at
    assert trial.done.code == 0, trial.done.err
    assert "Traceback" not in trial.done.err
    if hit:
        assert took < PATIENCE, f"it took {took:.1f} s to end after {instant}"
    trial.examine()
    assert trial.values("SELECT owner FROM syncer.leases WHERE owner IS NOT NULL") == []
    if trial.done.out:  # a command that has not begun to work has nothing to report
        _assert_complete_is_committed(trial, told.read)
    return hit


def _assert_complete_is_committed(trial: Trial, read: set[str]) -> None:
    """What was answered before the signal has landed, and the run knows how it ended."""
    (state,) = {each["state"] for each in json.loads(trial.done.out)["connections"]}
    assert state in ("stopped", "done")
    assert trial.values("SELECT state FROM syncer.runs ORDER BY started_at DESC LIMIT 1") == [state]
    # Not by their state: steps that may not be whole yet land and are due again.
    began = "SELECT max(started_at) FROM syncer.runs"
    landed = trial.values(f"SELECT execution_id FROM history.executions WHERE steps_read_at >= ({began})")
    assert read <= set(landed)


def test_a_pass_that_is_told_to_end_does_so_in_good_order(case: Case) -> None:
    instants = case.instants(STOPS[FULL])
    for instant in case.share(instants) if FULL else instants:
        with case.trial() as trial:
            hit = _stop(trial, instant)
            trial.heal()
            trial.assert_healed()
            verdict = trial.verdict()
            note(f"SIGTERM in {instant.phase}", hit, verdict)
            assert not any(verdict), instant
