"""What PostgreSQL refuses in the middle of a pass: disks, locks, times, rights, connections.

The command says what is wrong and what to do, loses nothing, and the next one heals once the trouble is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import sql

from tests.torture.crash_ward import Case, Trial
from tests.torture.table import FULL, note

Trouble = Callable[[Trial], AbstractContextManager[None]]

DISK_FULL = "RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'"
SLOW = "PERFORM pg_sleep(60)"


def trigger(what: str, when: str) -> Trouble:
    """A statement of ours meets a trigger that does this."""

    @contextmanager
    def trouble(trial: Trial) -> Iterator[None]:
        trial.execute(
            f"CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {what}; END$$"
        )
        trial.execute(f"CREATE {when} EXECUTE FUNCTION public.refuse()")
        yield
        trial.execute("DROP FUNCTION public.refuse() CASCADE")

    return trouble


@contextmanager
def full_while_migrating(trial: Trial) -> Iterator[None]:
    """There is no room for the second view."""
    body = f"IF to_regclass('history.step_facts') IS NOT NULL THEN {DISK_FULL}; END IF"
    trial.execute(
        f"CREATE FUNCTION public.refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN {body}; END$$"
    )
    trial.execute("CREATE EVENT TRIGGER refuse ON ddl_command_end EXECUTE FUNCTION public.refuse()")
    yield
    trial.execute("DROP FUNCTION public.refuse() CASCADE")


def setting(name: str, value: str, meanwhile: Trouble | None = None) -> Trouble:
    """The database has this setting for every new session."""

    @contextmanager
    def trouble(trial: Trial) -> Iterator[None]:
        database = trial.url.rpartition("/")[2]
        trial.execute(f"ALTER DATABASE {database} SET {name} = '{value}'")
        if meanwhile is None:
            yield
        else:
            with meanwhile(trial):
                yield
        with psycopg.connect(trial.url, autocommit=True, options=f"-c {name}=0") as db:
            db.execute(sql.SQL("ALTER DATABASE {} RESET {}").format(sql.Identifier(database), sql.SQL(name)))

    return trouble


def locked(table: str) -> Trouble:
    """Another session keeps a table to itself."""

    @contextmanager
    def trouble(trial: Trial) -> Iterator[None]:
        with psycopg.connect(trial.url) as db:
            db.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
            yield

    return trouble


def role(*rights: str, limit: int = -1) -> Trouble:
    """The daemon is somebody who has these rights alone."""

    @contextmanager
    def trouble(trial: Trial) -> Iterator[None]:
        trial.execute(f"CREATE ROLE limited LOGIN PASSWORD 'x' CONNECTION LIMIT {limit}")
        for right in rights:
            trial.execute(f"GRANT {right} TO limited")
        before = trial.cli.warehouse["url"]
        host = str(before).rpartition("@")[2]
        trial.cli.warehouse["url"] = f"postgresql://limited:x@{host}"
        with psycopg.connect(f"postgresql://limited:x@{trial.url.rpartition('@')[2]}"):
            yield
        trial.cli.warehouse["url"] = before
        trial.execute("DROP OWNED BY limited; DROP ROLE limited")

    return trouble


@dataclass(frozen=True)
class Refusal:
    """Trouble in a pass, and words of the sentence that tells of it."""

    fault: str
    case: str
    trouble: Trouble
    words: str


ROOM = "run out of space"
BEFORE_COPY = "TRIGGER refuse BEFORE INSERT ON history.executions FOR EACH STATEMENT"
BEFORE_STEPS = "TRIGGER refuse BEFORE INSERT ON history.step_events FOR EACH STATEMENT"
BEFORE_UPSERT = "TRIGGER refuse BEFORE UPDATE ON history.executions FOR EACH ROW"
AT_COMMIT = "CONSTRAINT TRIGGER refuse AFTER INSERT ON history.{} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
ALL = "ALL ON ALL TABLES IN SCHEMA history, syncer"

FIRST, LATER, NONE = "first_case", "later_case", "no_schema_case"

REFUSALS = [
    Refusal("disk full at COPY", FIRST, trigger(DISK_FULL, BEFORE_COPY), ROOM),
    Refusal("disk full at COPY of steps", FIRST, trigger(DISK_FULL, BEFORE_STEPS), ROOM),
    Refusal("disk full at upsert", LATER, trigger(DISK_FULL, BEFORE_UPSERT), ROOM),
    Refusal("disk full at commit", FIRST, trigger(DISK_FULL, AT_COMMIT.format("executions")), ROOM),
    Refusal("disk full at commit", FIRST, trigger(DISK_FULL, AT_COMMIT.format("steps")), ROOM),
    Refusal("disk full in a migration", NONE, full_while_migrating, ROOM),
    Refusal("lock timeout at COPY", FIRST, setting("lock_timeout", "50ms", locked("history.steps")), "lock"),
    Refusal(
        "lock timeout at the watermark",
        FIRST,
        setting("lock_timeout", "50ms", locked("syncer.watermarks")),
        "lock",
    ),
    Refusal(
        "lock timeout at upsert",
        LATER,
        setting("lock_timeout", "50ms", locked("history.executions")),
        "lock",
    ),
    Refusal(
        "statement timeout",
        FIRST,
        setting("statement_timeout", "500ms", trigger(SLOW, BEFORE_STEPS)),
        "statement_timeout",
    ),
    Refusal("read-only", FIRST, setting("default_transaction_read_only", "on"), "only reads"),
    Refusal("no right to write", FIRST, role("USAGE ON SCHEMA history, syncer"), "lacks a right"),
    Refusal("no right to migrate", NONE, role(), "lacks a right"),
    Refusal(
        "connections taken",
        FIRST,
        role("USAGE ON SCHEMA history, syncer TO limited; GRANT " + ALL, limit=1),
        "connections are taken",
    ),
]
CHIEF = {"disk full at upsert", "lock timeout at COPY"}


CHOSEN = [each for each in REFUSALS if FULL or each.fault in CHIEF]


@pytest.mark.parametrize("refusal", CHOSEN, ids=lambda each: each.fault)
def test_a_refusal_is_a_sentence_and_costs_nothing(request: pytest.FixtureRequest, refusal: Refusal) -> None:
    case: Case = request.getfixturevalue(refusal.case)
    with case.trial() as trial:
        with refusal.trouble(trial):
            done = trial.start("sync").wait()
            assert_told(refusal.fault, done.code, done.err, refusal.words)
        trial.examine()
        trial.heal()
        trial.assert_healed()
        verdict = trial.verdict()
        note(refusal.fault, 1, verdict)
        assert not any(verdict)


def assert_told(fault: str, code: int, said: str, words: str) -> None:
    """The command failed with a sentence that says what is wrong, and with what to do."""
    assert code in (1, 3), (fault, code, said)
    assert words in said, (fault, said)
    assert "hint: " in said, (fault, said)
    assert "fault of syncer" not in said, (fault, said)
    assert "Traceback" not in said, (fault, said)
