"""Compares what a contestant copied with the truth: what was lost, what is stale, what should not be there.

Invariant: PostgreSQL does the comparing, the same for everybody. A contestant only says where its rows are: three
queries that give executions, events and payloads in the columns of the truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psycopg

TRUTH = """
DROP SCHEMA IF EXISTS truth CASCADE;
CREATE SCHEMA truth;
CREATE UNLOGGED TABLE truth.executions (id text PRIMARY KEY, status text, ended_ms bigint, message text);
CREATE UNLOGGED TABLE truth.events
    (execution_id text, id text, status text, ended_ms bigint, PRIMARY KEY (execution_id, id));
CREATE UNLOGGED TABLE truth.payloads
    (execution_id text, node_id text, given int, made int, PRIMARY KEY (execution_id, node_id));
CREATE UNLOGGED TABLE truth.documents (number int PRIMARY KEY, document jsonb, redacted jsonb);
"""
TABLES = ("executions", "events", "payloads", "documents")

# Counts what is in the truth alone, in both but not alike, in the copy alone or there twice. A row with nulls in it
# "IS NOT NULL" only if all of it is: hence a column that says whether there is one.
VERDICT = """
WITH copy AS (SELECT *, true AS found FROM ({copy}) AS rows),
     truth AS (SELECT *, true AS found FROM ({truth}) AS rows)
SELECT count(*) FILTER (WHERE copy.found IS NULL),
       count(*) FILTER (WHERE copy.found AND truth.found AND {differs}),
       count(*) FILTER (WHERE copy.found)
         - count(DISTINCT ({key})) FILTER (WHERE copy.found AND truth.found)
FROM truth FULL JOIN copy USING ({key})
"""
SHOWN = "(copy.status, copy.ended_ms, copy.message) IS DISTINCT FROM (truth.status, truth.ended_ms, truth.message)"
EVENT_SHOWN = "(copy.status, copy.ended_ms) IS DISTINCT FROM (truth.status, truth.ended_ms)"
CARRIED = "(copy.input, copy.output) IS DISTINCT FROM (truth.input, truth.output)"
PAYLOADS = """
SELECT execution_id, node_id, given.{form} AS input, made.{form} AS output
FROM truth.payloads JOIN truth.documents given ON given.number = given
LEFT JOIN truth.documents made ON made.number = made
"""


class Copied(NamedTuple):
    """Where a contestant's rows are: queries for (id, status, ended_ms, message), (execution_id, id, status, ended_ms)
    and (execution_id, node_id, input, output); and whether it redacts."""

    executions: str
    events: str
    payloads: str
    redacts: bool = False


@dataclass(frozen=True)
class Verdict:
    """Rows lost, rows that are not as the source shows them now, rows that the source does not have or not twice."""

    lost: int
    stale: int
    strange: int


def judge(url: str, truth: Path, copied: Copied) -> dict[str, Verdict]:
    """The verdict on each of executions, events and payloads."""
    form = "redacted" if copied.redacts else "document"
    with psycopg.connect(url) as db:
        _load(db, truth)
        found = {
            "executions": _verdict(db, copied.executions, "SELECT * FROM truth.executions", "id", SHOWN),
            "events": _verdict(
                db, copied.events, "SELECT * FROM truth.events", "execution_id, id", EVENT_SHOWN
            ),
            "payloads": _verdict(
                db, copied.payloads, PAYLOADS.format(form=form), "execution_id, node_id", CARRIED
            ),
        }
        db.execute("DROP SCHEMA truth CASCADE")
    return found


def _load(db: psycopg.Connection, truth: Path) -> None:
    db.execute(TRUTH)
    for name in TABLES:
        with (
            (truth / f"{name}.csv").open("rb") as file,
            db.cursor().copy(f"COPY truth.{name} FROM STDIN (FORMAT csv)".encode()) as copy,
        ):
            while block := file.read(1 << 16):
                copy.write(block)
    db.execute("ANALYZE truth.executions, truth.events, truth.payloads, truth.documents")


def _verdict(db: psycopg.Connection, copy: str, truth: str, key: str, differs: str) -> Verdict:
    query = VERDICT.format(copy=copy, truth=truth, key=key, differs=differs)
    row = db.execute(query.encode()).fetchone()
    assert row
    return Verdict(*row)
