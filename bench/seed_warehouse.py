"""Fills a warehouse with invented history, so that views and indexes can be measured at a size that matters.

Invariant: the same seed gives the same rows. Steps have no payloads: no view reads them.

    python -m bench.seed_warehouse postgresql://... [--executions 1000000] [--days 120] [--seed 1]

Two connections share the executions 7 to 3 over 200 workflows of very unequal use; rows land in order of creation, as
a daemon that has been running all the time would have written them.
"""

from __future__ import annotations

import argparse
import json
import random
import time
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import NamedTuple

import psycopg

from syncer import warehouse

STEPS = 8
WORKFLOWS = 200
OPEN_SINCE = timedelta(hours=2)
REGIONS = ("us-east-1", "us-west-2", "eu-central-1", "ap-south-1")
REASONS = tuple(f"{kind} was refused by host N: code {letter}" for kind in ("Login", "Call", "Lookup", "Copy")
                for letter in "ABCDEFGHIJ")  # fmt: skip

Line = tuple[object, ...]


class Run(NamedTuple):
    connection_id: str
    execution_id: str
    workflow_id: str
    outcome: str
    reason: str | None
    created_at: datetime
    seconds: float
    is_open: bool


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.seed_warehouse", description="Fill a warehouse with invented history."
    )
    parser.add_argument("url")
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=120)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    began = time.monotonic()
    seed(given.url, given.executions, given.days, given.seed)
    print(f"filled in {time.monotonic() - began:.0f} s")


def seed(url: str, executions: int, days: int, number: int = 1) -> None:
    """Fill an empty warehouse with so many executions, created over so many days up to now."""
    warehouse.migrate(url)
    runs = invent(executions, timedelta(days=days), random.Random(number))
    with psycopg.connect(url, autocommit=True) as db:
        copy(db, "history.connections", CONNECTION, connections())
        copy(db, "history.workflows", WORKFLOW, workflows())
        copy(db, "syncer.watermarks", WATERMARK, watermarks())
        while block := list(islice(runs, 10_000)):
            copy(db, "history.executions", EXECUTION, map(execution, block))
            copy(db, "history.steps", STEP, (line for run in block for line in steps(run)))
        db.execute("VACUUM (ANALYZE)")


def copy(db: psycopg.Connection, table: str, columns: str, lines: Iterable[Line]) -> None:
    with db.cursor().copy(f"COPY {table} ({columns}) FROM STDIN".encode()) as target:
        for line in lines:
            target.write_row(line)


def owner(workflow: int) -> str:
    return "prod" if workflow % 10 < 7 else "stage"


def invent(count: int, span: timedelta, chance: random.Random) -> Iterator[Run]:
    """`count` runs in order of creation, the last of them now."""
    now = datetime.now(UTC)
    numbers = range(WORKFLOWS)
    weights = [1 / (1 + number) ** 0.7 for number in numbers]
    for place in range(count):
        created_at = now - span * (1 - (place + chance.random()) / (count + 1))
        is_open = now - created_at < OPEN_SINCE and chance.random() < 0.3
        outcome = "running" if is_open else chance.choices(["succeeded", "failed", "canceled"], [90, 9, 1])[0]
        number = chance.choices(numbers, weights)[0]
        yield Run(
            owner(number),
            str(uuid.UUID(int=chance.getrandbits(128))),
            f"workflow-{number:03}",
            outcome,
            REASONS[int(len(REASONS) * chance.random() ** 2)] if outcome == "failed" else None,
            created_at,
            chance.lognormvariate(3, 1),
            is_open,
        )


CONNECTION = "connection_id, platform, base_url, first_synced_at"


def connections() -> Iterator[Line]:
    for name in ("prod", "stage"):
        yield name, "qualys_flow", f"https://{name}.example", datetime.now(UTC)


WORKFLOW = "connection_id, workflow_id, name, synced_at, _row_hash, _asked_at"


def workflows() -> Iterator[Line]:
    now = datetime.now(UTC)
    for number in range(WORKFLOWS):
        yield owner(number), f"workflow-{number:03}", f"Playbook {number}", now, b"", now


WATERMARK = "connection_id, stream, partition, watermark_at, complete_from, lookback_from, last_success_at"


def watermarks() -> Iterator[Line]:
    now = datetime.now(UTC)
    past, lookback = now - timedelta(days=120), now - timedelta(minutes=15)
    for number in range(WORKFLOWS):
        yield owner(number), "executions", f"workflow-{number:03}", now, past, lookback, now


EXECUTION = (
    "connection_id, execution_id, workflow_id, status, outcome, execution_type, trigger, message, failure_reason,"
    " created_at, started_at, ended_at, updated_at, categories, tags, step_count, failed_step_count, steps_state,"
    " settled_at, synced_at, _row_hash, _asked_at, _partition"
)


def execution(run: Run) -> Line:
    number = int(run.execution_id[:8], 16)
    ended_at = None if run.is_open else run.created_at + timedelta(seconds=run.seconds)
    final = ended_at and ended_at + timedelta(minutes=2)
    categories = {
        "regions": [REGIONS[number % 4]],
        "accounts": [f"@account-{number % 50}"],
        "projects": [None],
    }
    return (
        run.connection_id, run.execution_id, run.workflow_id, run.outcome.title(), run.outcome, "Simple",
        ("UI", "PUBLIC_API", "SCHEDULE")[number % 3], run.reason and f"{run.reason} ({number})", run.reason,
        run.created_at, run.created_at, ended_at, final, json.dumps(categories), [f"created_by={number % 40}"],
        None if run.is_open else STEPS, None if run.is_open else int(run.outcome == "failed"),
        "due" if run.is_open else "read", final, run.created_at, number.to_bytes(16), run.created_at,
        run.workflow_id,
    )  # fmt: skip


STEP = (
    "connection_id, execution_id, node_id, attempt, node_name, node_type, position, status, outcome, message,"
    " failure_reason, started_at, ended_at, event_count, synced_at, _row_hash"
)


def steps(run: Run) -> Iterator[Line]:
    if run.is_open:
        return
    share = timedelta(seconds=run.seconds / STEPS)
    for place in range(STEPS):
        failed = run.outcome == "failed" and place == STEPS - 1
        started_at = run.created_at + share * place
        yield (
            run.connection_id, run.execution_id, f"node-{run.workflow_id[-3:]}-{place}", 1, f"Step {place}",
            ("trigger", "resource", "filter", "action")[place % 4], place + 1, "Error" if failed else "Success",
            "failed" if failed else "succeeded", run.reason if failed else None, run.reason if failed else None,
            started_at, started_at + share, 2, run.created_at, b"0123456789abcdef",
        )  # fmt: skip


if __name__ == "__main__":
    main()
