"""kill -9 at every kind of instant of a pass: nothing is lost, doubled or stale, and no promise runs ahead.

The instants are counted in an undisturbed run of the same command: requests at the source, messages between the
command and PostgreSQL. So each is hit whatever the machine's speed.
"""

from __future__ import annotations

from random import Random

from tests.torture.crash_ward import Case, Instant, Trial
from tests.torture.table import FULL, SEED, note

KILLS = 4, 80
"""Shared among all platforms."""

MIGRATIONS = 1, 20
TWICE = 1, 20

FAILURES = ("500", "503", "401", "reset", "cut", "json-cut", "gzip-cut", "html", "empty")
"""What the source does at a fiftieth of the requests each: what costs no wait, so that many kills fit into an hour."""


def _kill(case: Case, instant: Instant, fault: str) -> bool:
    """Kill a pass, examine what it left, and let another heal it; False where the pass was over before."""
    with case.trial() as trial:
        hit = _suffer(trial, instant)
        trial.heal()
        trial.assert_healed()
        verdict = trial.verdict()
        note(fault, hit, verdict)
        assert not any(verdict), instant
    return hit


def _suffer(trial: Trial, instant: Instant) -> bool:
    """Kill a pass at the instant and examine what it left; False where the pass was over before."""
    hit = trial.hurt(instant, lambda child: child.kill(), "sync", drop=True)
    trial.examine()
    return hit


def test_a_killed_pass_costs_nothing_but_the_work_in_hand(any_case: Case) -> None:
    instants = any_case.share(any_case.instants(KILLS[FULL]))
    hits = [_kill(any_case, each, f"kill -9 in {each.phase}") for each in instants]
    assert sum(hits) > 0.9 * len(instants) - 1


def test_a_killed_migration_leaves_all_or_nothing(no_schema_case: Case) -> None:
    for instant in no_schema_case.instants(MIGRATIONS[FULL], "definition"):
        assert _kill(no_schema_case, instant, "kill -9 in a migration")


def test_a_pass_that_is_killed_again_and_again_while_the_source_fails_gets_there(later_case: Case) -> None:
    random = Random(SEED)
    instants = [
        each for each in later_case.instants(3 * TWICE[FULL] + 3) if each.kind not in ("fetch", "list")
    ]
    for number in range(TWICE[FULL]):
        with later_case.trial() as trial:
            later_case.simulator.misbehave({"*": dict.fromkeys(FAILURES, 0.02)}, seed=SEED + number)
            hits = [_suffer(trial, each) for each in random.sample(instants, 2)]
            trial.execute("UPDATE history.executions SET _steps_retry_at = NULL")
            trial.heal()
            trial.assert_healed()
            verdict = trial.verdict()
            note("kill -9 twice, by a failing source", sum(hits), verdict)
            assert not any(verdict), number
