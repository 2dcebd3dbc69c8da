"""The judge of the benchmark finds every row that is lost, stale or strange, and no other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from bench.judge import Copied, Verdict, judge
from bench.truth import write_truth
from bench.world import Size, Tenant

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
GOOD = Verdict(lost=0, stale=0, strange=0)
COPIED = Copied("SELECT * FROM executions", "SELECT * FROM events", "SELECT * FROM payloads")
COPY = """
CREATE TABLE executions (id text, status text, ended_ms bigint, message text);
CREATE TABLE events (execution_id text, id text, status text, ended_ms bigint);
CREATE TABLE held (execution_id text, node_id text, given int, made int);
CREATE TABLE documents (number int, document jsonb, redacted jsonb);
"""
PAYLOADS = """
CREATE TABLE payloads AS
SELECT execution_id, node_id, given.{form} AS input, made.{form} AS output
FROM held JOIN documents given ON given.number = given LEFT JOIN documents made ON made.number = made
"""
FILES = {"executions": "executions", "events": "events", "payloads": "held", "documents": "documents"}


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("truth")
    write_truth(folder, Tenant(Size(executions=30, workflows=2, steps=3, payload=500), NOW).executions())
    return folder


@pytest.fixture
def db(empty_database_url: str, truth: Path) -> Iterator[psycopg.Connection]:
    """A perfect copy."""
    with psycopg.connect(empty_database_url, autocommit=True) as db:
        db.execute(COPY)
        for file, table in FILES.items():
            with db.cursor().copy(f"COPY {table} FROM STDIN (FORMAT csv)".encode()) as copy:
                copy.write((truth / f"{file}.csv").read_bytes())
        db.execute(PAYLOADS.format(form="document").encode())
        yield db


def test_a_perfect_copy_is_found_perfect(
    db: psycopg.Connection, empty_database_url: str, truth: Path
) -> None:
    assert judge(empty_database_url, truth, COPIED) == {
        "executions": GOOD,
        "events": GOOD,
        "payloads": GOOD,
    }


def test_whoever_redacts_is_held_to_it(db: psycopg.Connection, empty_database_url: str, truth: Path) -> None:
    redacting = COPIED._replace(redacts=True)
    assert judge(empty_database_url, truth, redacting)["payloads"].stale > 0
    db.execute("DROP TABLE payloads")
    db.execute(PAYLOADS.format(form="redacted").encode())
    assert judge(empty_database_url, truth, redacting)["payloads"] == GOOD


@pytest.mark.parametrize(
    ("harm", "kind", "verdict"),
    [
        ("DELETE FROM executions WHERE message IS NULL AND id = {one}", "executions", Verdict(1, 0, 0)),
        ("UPDATE executions SET ended_ms = NULL WHERE id = {one}", "executions", Verdict(0, 1, 0)),
        ("UPDATE executions SET message = 'other' WHERE id = {one}", "executions", Verdict(0, 1, 0)),
        ("UPDATE executions SET id = 'other' WHERE id = {one}", "executions", Verdict(1, 0, 1)),
        ("UPDATE events SET status = NULL WHERE id = {event}", "events", Verdict(0, 1, 0)),
        ("DELETE FROM events WHERE id = {event}", "events", Verdict(1, 0, 0)),
        ("UPDATE payloads SET output = input WHERE ctid = {payload}", "payloads", Verdict(0, 1, 0)),
        ("UPDATE payloads SET input = NULL WHERE ctid = {payload}", "payloads", Verdict(0, 1, 0)),
        ("INSERT INTO events SELECT * FROM events WHERE id = {event}", "events", Verdict(0, 0, 1)),
        ("DELETE FROM payloads WHERE ctid = {payload}", "payloads", Verdict(1, 0, 0)),
    ],
)
def test_every_harm_is_found(
    db: psycopg.Connection, empty_database_url: str, truth: Path, harm: str, kind: str, verdict: Verdict
) -> None:
    rows = {
        "one": "(SELECT min(id) FROM executions WHERE message IS NULL AND ended_ms IS NOT NULL)",
        "event": "(SELECT min(id) FROM events)",
        "payload": "(SELECT min(ctid) FROM payloads WHERE output IS NOT NULL AND output <> input)",
    }
    assert db.execute(harm.format(**rows).encode()).rowcount == 1
    found = judge(empty_database_url, truth, COPIED)
    assert found.pop(kind) == verdict
    assert set(found.values()) == {GOOD}
