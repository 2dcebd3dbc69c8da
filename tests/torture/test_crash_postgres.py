"""PostgreSQL dies at exact instants of a pass: `sync` says so and the next one heals, `run` recovers by itself."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from threading import Event

import pytest

from tests.acceptance.service import eventually, running
from tests.platforms import Platform, platforms
from tests.torture.crash_ward import Case, Instant, Trial, Ward, first_pass
from tests.torture.judge import judge
from tests.torture.table import FULL, SEED, Verdict, note

CRASHES = 1, 20
CUTS = 1, 10
OUTAGES = 2, 10

# What a poll that finds a new execution says to the warehouse.
IN_A_POLL = (
    ("begin", "sent"),
    ("commit", "sent"),
    ("rows", "sent"),
    ("commit", "answered"),
    ("copy", "sent"),
)


CHOSEN = list(platforms().values())[: None if FULL else 1]


def _crash(case: Case, instant: Instant) -> None:
    _suffer(case, instant, lambda _trial: case.ward.crash(), f"PostgreSQL crashes in {instant.phase}")


def _cut(case: Case, instant: Instant) -> None:
    def end_sessions(trial: Trial) -> None:
        trial.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    _suffer(case, instant, end_sessions, f"sessions ended in {instant.phase}")


def _suffer(case: Case, instant: Instant, act: Callable[[Trial], object], fault: str) -> None:
    """Let a pass meet trouble with the warehouse, and the next one heal it."""
    with case.trial() as trial:
        hit = trial.hurt(instant, lambda _child: act(trial), "sync")
        case.ward.postgres.start()
        if hit and trial.done.code:  # the last words of a pass may be said already
            assert trial.done.code in (1, 3), (instant, trial.done)
            assert "PostgreSQL at 127.0.0.1" in trial.done.err, (instant, trial.done.err)
        assert "fault of syncer" not in trial.done.err + trial.done.out, (instant, trial.done)
        assert "Traceback" not in trial.done.err, (instant, trial.done)
        trial.examine()
        trial.heal()
        trial.assert_healed()
        verdict = trial.verdict()
        note(fault, hit, verdict)
        assert not any(verdict), instant


def test_a_warehouse_that_goes_away_ends_a_pass_with_a_sentence_and_the_next_one_heals(case: Case) -> None:
    for number, suffer in ((CRASHES[FULL], _crash), (CUTS[FULL], _cut)):
        instants = case.instants(number)
        for instant in case.share(instants) if FULL else instants:
            suffer(case, instant)


@pytest.mark.parametrize("platform", CHOSEN, ids=lambda each: each.name)
def test_the_service_recovers_by_itself_from_every_crash_of_the_warehouse(
    ward: Ward, platform: Platform
) -> None:
    random = Random(SEED)
    with first_pass(ward, platform, poll="1s") as case, case.trial() as trial:
        trial.cli.service = {"listen": "", "log_format": "json"}
        with running(trial.cli) as service:
            eventually(lambda: _is_copied(trial), "the first copy")
            for _ in range(OUTAGES[FULL]):
                instant = Instant(*random.choice(IN_A_POLL), random.randint(1, 4))
                happened = trial.arm(instant, ward.crash)
                while not happened.is_set():
                    case.simulator.add_execution(status=random.choice(("Success", "Running")))
                    _await_poll(case, happened)
                ward.postgres.start()
                case.simulator.end_all_running()
                eventually(lambda: _is_copied(trial), f"the copy after a crash at {instant}")
                note("PostgreSQL crashes below the service", 1, judge(trial.engine, case.simulator))
            assert service.end() == 0
        assert "fault of syncer" not in "".join(service.said)
        trial.examine()


def _await_poll(case: Case, happened: Event) -> None:
    """Until a whole poll has gone by since now, or the crash has come."""
    polls = case.simulator.counts["workflows"]
    eventually(lambda: happened.is_set() or case.simulator.counts["workflows"] > polls + 1, "the next poll")


def _is_copied(trial: Trial) -> bool:
    return judge(trial.engine, trial.case.simulator) == Verdict()
