"""`syncer purge` as an owner uses it: what it refuses, what it asks, what it says, and what is left."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from typing import Any

import psycopg
import pytest

from syncer.simulator import Outline
from syncer.simulator.qualys_flow import Simulator
from tests.acceptance.conftest import SYNCER, Cli
from tests.nursery import TIMEOUT

TABLES = ("executions", "step_events", "steps", "step_io")


@pytest.fixture
def simulator() -> Simulator:
    return Simulator(Outline(workflows=1, executions=6, running=1))


@pytest.fixture
def stocked(cli: Cli, db: psycopg.Connection[Any]) -> Cli:
    """A command whose warehouse holds old executions of its connection and of a former one."""
    assert cli.run("sync").code == 0
    db.execute(
        "INSERT INTO history.connections VALUES ('former', 'qualys_flow', 'https://former.example', now(), NULL)"
    )
    for connection, settled in (("flow", "now()"), ("former", "now()"), ("flow", "NULL")):
        db.execute(
            f"""INSERT INTO history.executions (connection_id, execution_id, workflow_id, outcome, created_at,
              steps_state, synced_at, settled_at, _row_hash, _asked_at, _partition)
            SELECT '{connection}', 'old-{settled}-' || n, 'w', 'succeeded', now() - n * interval '1 day', 'read',
              now(), {settled}, '', now(), 'w' FROM generate_series(401, 404) n"""
        )
        db.execute(
            f"""INSERT INTO history.step_io (connection_id, execution_id, node_id, attempt, input_state, output_state,
              synced_at, _row_hash)
            SELECT connection_id, execution_id, 'n', 1, 'absent', 'absent', now(), '' FROM history.executions
            WHERE execution_id LIKE 'old-{settled}-%%' AND connection_id = '{connection}'"""
        )
    return cli


def old(db: psycopg.Connection[Any], connection: str = "flow", table: str = "executions") -> int:
    row = db.execute(
        f"SELECT count(*) FROM history.{table} WHERE connection_id = %s AND execution_id LIKE 'old-%%'",
        [connection],
    ).fetchone()
    assert row
    return int(row[0])


@pytest.mark.parametrize(
    ("age", "code"), [("1d", 2), ("36d", 2), ("37d", 0), ("36d23h", 2), ("a year", 2), ("0d", 2)]
)
def test_what_a_source_may_still_serve_is_refused(cli: Cli, age: str, code: int) -> None:
    done = cli.run("purge", "--older-than", age, "--dry-run")
    assert done.code == code, done.err
    assert "Traceback" not in done.err


def test_the_refusal_names_the_longest_horizon_and_the_least_age(
    cli: Cli, simulator: Simulator, url: str
) -> None:
    cli.connect("archive", simulator, url, horizon="90d")
    done = cli.run("purge", "--older-than", "60d", "--connection", "flow")
    assert done.code == 2
    assert "archive serves 90d" in done.err
    assert "the least is 97d" in done.err


def test_old_executions_go_and_all_else_stays(stocked: Cli, db: psycopg.Connection[Any]) -> None:
    before = db.execute(
        "SELECT count(*) FROM history.executions WHERE execution_id NOT LIKE 'old-%'"
    ).fetchone()
    planned = stocked.run("purge", "--older-than", "400d", "--dry-run", "--json")
    assert planned.code == 0
    assert old(db) == 8
    done = stocked.run("purge", "--older-than", "400d", "--json")
    assert done.code == 0, done.err
    assert (
        done.document["connections"]
        == planned.document["connections"]
        == [
            {
                "connection": "flow",
                "rows": {"executions": 4, "step_events": 0, "steps": 0, "step_io": 4},
                "kept_open": 4,
            }
        ]
    )
    assert old(db) == 4
    assert old(db, "former") == 4, "a connection that is not configured was not named"
    left = db.execute(
        "SELECT count(*) FROM history.executions WHERE execution_id NOT LIKE 'old-%'"
    ).fetchone()
    assert left == before
    assert stocked.run("purge", "--older-than", "400d").code == 0


def test_payloads_may_go_alone(stocked: Cli, db: psycopg.Connection[Any]) -> None:
    done = stocked.run("purge", "--older-than", "400d", "--payloads-only")
    assert done.code == 0, done.err
    assert (old(db), old(db, table="step_io")) == (8, 4)
    assert "4 rows" in done.out
    assert "autovacuum" in done.out


def test_a_former_connection_goes_by_name_and_an_unknown_one_is_refused(
    stocked: Cli, db: psycopg.Connection[Any]
) -> None:
    assert stocked.run("purge", "--older-than", "400d", "--connection", "former").code == 0
    assert (old(db, "former"), old(db)) == (0, 8)
    done = stocked.run("purge", "--older-than", "400d", "--connection", "nobody")
    assert done.code == 2
    assert "known: flow, former" in done.err


@pytest.mark.parametrize(("answer", "left"), [(b"n\n", 8), (b"y\n", 4)])
def test_a_person_is_asked(stocked: Cli, db: psycopg.Connection[Any], answer: bytes, left: int) -> None:
    stocked.write()
    ours, theirs = pty.openpty()
    asked = subprocess.Popen(
        [*SYNCER, "purge", "--older-than", "400d"],
        env={**stocked.env, "TERM": "xterm", "COLUMNS": "200"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    seen = _read_until(ours, b"[y/N]")
    assert b"Delete 4 executions, 4 step_io older than" in seen
    assert old(db) == 8
    os.write(ours, answer)
    _read_until(ours, None)
    assert asked.wait(TIMEOUT) == (0 if left == 4 else 1)
    os.close(ours)
    assert old(db) == left


def _read_until(terminal: int, mark: bytes | None) -> bytes:
    """What appears up to a mark, or to the end."""
    seen, end = b"", time.monotonic() + TIMEOUT
    while (mark is None or mark not in seen) and time.monotonic() < end:
        if select.select([terminal], [], [], 1)[0]:
            try:
                piece = os.read(terminal, 4096)
            except OSError:  # how Linux says that nobody has the other end open any more
                return seen
            seen += piece
    return seen
