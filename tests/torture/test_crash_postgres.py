"""PostgreSQL dies at exact instants of a pass: `sync` says so and the next one heals, `run` recovers by itself."""

from __future__ import annotations

from random import Random

from tests.acceptance.service import eventually, running
from tests.torture.crash_ward import Case, Instant, Trial, Ward, first_pass, later_pass
from tests.torture.judge import judge
from tests.torture.table import FULL, SEED, Verdict, note

CRASHES = 3, 40
OUTAGES = 2, 15

# What a poll that finds one new execution says to the warehouse, often enough to be counted on.
IN_A_POLL = (
    ("begin", "sent"),
    ("commit", "sent"),
    ("rows", "sent"),
    ("commit", "answered"),
    ("copy", "sent"),
)


def _crash(case: Case, instant: Instant) -> None:
    ward = case.ward
    with case.trial() as trial:
        hit = trial.hurt(instant, lambda _child: ward.crash(), "sync")
        ward.postgres.start()
        if hit:
            assert trial.done.code in (1, 3), (instant, trial.done)
            assert "PostgreSQL at 127.0.0.1" in trial.done.err, (instant, trial.done.err)
        assert "fault of syncer" not in trial.done.err + trial.done.out, (instant, trial.done)
        assert "Traceback" not in trial.done.err, (instant, trial.done)
        trial.examine()
        trial.heal()
        trial.assert_healed()
        verdict = trial.verdict()
        note(f"PostgreSQL crashes in {instant.phase}", hit, verdict)
        assert not any(verdict), instant


def test_a_crash_of_the_warehouse_ends_a_pass_with_a_sentence_and_the_next_one_heals(ward: Ward) -> None:
    wanted = CRASHES[FULL]
    for situation in (first_pass, later_pass):
        with situation(ward) as case:
            for instant in case.instants(wanted if FULL else wanted // 2 + (situation is later_pass)):
                _crash(case, instant)


def test_the_service_recovers_by_itself_from_every_crash_of_the_warehouse(ward: Ward) -> None:
    random = Random(SEED)
    with first_pass(ward, poll="1s") as case, case.trial() as trial:
        trial.cli.service = {"listen": "", "log_format": "json"}
        with running(trial.cli) as service:
            eventually(lambda: _is_copied(trial), "the first copy")
            for _ in range(OUTAGES[FULL]):
                instant = Instant(*random.choice(IN_A_POLL), random.randint(1, 4))
                happened = trial.arm(instant, ward.crash)
                case.simulator.add_execution(status=random.choice(("Success", "Running")))
                eventually(happened.is_set, f"the crash at {instant}")
                ward.postgres.start()
                case.simulator.end_all_running()
                eventually(lambda: _is_copied(trial), f"the copy after a crash at {instant}")
                note("PostgreSQL crashes below the service", 1, judge(trial.engine, case.simulator))
            assert service.end() == 0
        assert "fault of syncer" not in "".join(service.said)
        trial.examine()


def _is_copied(trial: Trial) -> bool:
    return judge(trial.engine, trial.case.simulator) == Verdict()
