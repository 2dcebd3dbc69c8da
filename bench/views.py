"""Times the questions of docs/views-performance.md, and tells what each had to read.

    python -m bench.views [postgresql://...] [--executions 1000000] [--days 120] [--rounds 5] [--json FILE]

Without a URL an embedded PostgreSQL with its own defaults is filled by bench.seed_warehouse and removed; a URL names a
warehouse that was filled so today. Times move with whatever else a machine does. Therefore right before each question
all of `executions` is read, by one process, and the ratio of the two tells what the times alone would not. Pages are
those of shared buffers that the plan touched, some of them often: they hardly change from run to run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from bench.seed_warehouse import seed
from bench.warehouse import new_warehouse

FACTS = ("executions", "steps", "step_events")
SETTINGS = ("server_version", "shared_buffers", "work_mem", "random_page_cost")
SCAN = "SELECT sum(duration_ms) FROM history.executions"
"""No index holds duration_ms: every page is read, with little work on each row."""


class Question(NamedTuple):
    """What somebody asks of a view."""

    view: str
    words: str
    sql: str


ASKED_OF = "connection_id = 'prod'"
"""In every question; another connection's name takes its place."""
PROD = f"{ASKED_OF} AND"
MONTH = f"{PROD} day >= CURRENT_DATE - 30"
ASKED_FOR = f"SELECT count(*) FROM history.execution_facts WHERE {MONTH}"
BY_NODE = """
SELECT workflow_id, node_id, min(workflow_name), count(*), avg(duration_s) FROM history.step_facts
WHERE connection_id = 'prod' AND day >= CURRENT_DATE - {days} GROUP BY workflow_id, node_id
"""
QUESTIONS = (
    Question("steps", "all of the table, to compare with", "SELECT sum(duration_ms) FROM history.steps"),
    Question(
        "execution_facts",
        "executions and mean duration by day and outcome",
        f"""
        SELECT day, outcome, count(*), avg(duration_s) FROM history.execution_facts
        WHERE {MONTH} GROUP BY day, outcome
        """,
    ),
    Question(
        "execution_facts",
        "the same by hour",
        f"""
        SELECT hour, outcome, count(*), avg(duration_s) FROM history.execution_facts
        WHERE {MONTH} GROUP BY hour, outcome
        """,
    ),
    Question(
        "execution_facts",
        "the same by day, filtered by `created_at`",
        f"""
        SELECT day, outcome, count(*), avg(duration_s) FROM history.execution_facts
        WHERE {PROD} created_at >= now() - interval '30 days' GROUP BY day, outcome
        """,
    ),
    Question(
        "step_facts", "attempts and mean duration by workflow id and node, 1 day", BY_NODE.format(days=1)
    ),
    Question("step_facts", "the same, 7 days", BY_NODE.format(days=7)),
    Question("step_facts", "the same, 30 days", BY_NODE.format(days=30)),
    Question(
        "step_facts",
        "by workflow name and node, 30 days",
        f"""
        SELECT workflow_name, node_id, count(*), avg(duration_s) FROM history.step_facts
        WHERE {MONTH} GROUP BY workflow_name, node_id
        """,
    ),
    Question(
        "execution_labels",
        "how often each label occurs",
        f"SELECT kind, key, value, count(*) FROM history.execution_labels WHERE {MONTH} GROUP BY 1, 2, 3",
    ),
    Question(
        "execution_labels",
        "how often each value of one category occurs",
        f"""
        SELECT value, count(*) FROM history.execution_labels
        WHERE {MONTH} AND kind = 'category' AND key = 'regions' GROUP BY value
        """,
    ),
    Question("workflow_daily", "every row", f"SELECT * FROM history.workflow_daily WHERE {MONTH}"),
    Question(
        "failure_reasons",
        "reasons last seen within 30 days",
        f"SELECT * FROM history.failure_reasons WHERE {PROD} last_seen_at >= now() - interval '30 days'",
    ),
    Question("running_now", "every row", "SELECT * FROM history.running_now WHERE connection_id = 'prod'"),
    Question(
        "sync_freshness", "every row", "SELECT * FROM history.sync_freshness WHERE connection_id = 'prod'"
    ),
)
"""Of every view; those of the facts for the last 30 days of one connection."""


@dataclass(frozen=True)
class Answered:
    """How a question was answered: seconds of each round, and what the plan did."""

    view: str
    words: str
    seconds: list[float]
    scan_seconds: list[float]
    pages: int
    read_whole: list[str]

    @property
    def milliseconds(self) -> float:
        """In the median."""
        return 1000 * statistics.median(self.seconds)

    @property
    def ratio(self) -> float:
        """The median of what it took in scans, each the one just before."""
        pairs = zip(self.seconds, self.scan_seconds, strict=True)
        return statistics.median(took / scan for took, scan in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.views", description="Time the views.")
    parser.add_argument("url", nargs="?", help="a warehouse filled by bench.seed_warehouse")
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with warehouse(given) as url, psycopg.connect(url, autocommit=True, prepare_threshold=None) as db:
        asked_for = value(db, ASKED_FOR)
        if not asked_for:
            raise SystemExit("No execution of 'prod' in the last 30 days: fill it with bench.seed_warehouse.")
        about = circumstances(db) | {"asked_for": asked_for}
        answers = asked(db, given.rounds)
    tell(about, answers)
    if given.json:
        told = {"about": about, "answers": [asdict(each) for each in answers]}
        given.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


@contextmanager
def warehouse(given: argparse.Namespace) -> Iterator[str]:
    """The one that was named, or a new one for the time being."""
    if given.url:
        yield given.url
        return
    with new_warehouse() as made:
        seed(made.url, given.executions, given.days)
        yield made.url


def asked(db: psycopg.Connection, rounds: int, connection: str = "prod") -> list[Answered]:
    """Every question once in every round, so that a busy minute of the machine meets all of them."""
    of = ASKED_OF.replace("prod", connection)
    questions = [each._replace(sql=each.sql.replace(ASKED_OF, of)) for each in QUESTIONS]
    taken: list[list[tuple[float, float]]] = [[] for _ in questions]
    db.execute("SET jit = off")
    for _ in range(rounds):
        for question, times in zip(questions, taken, strict=True):
            times.append((scan(db), seconds(db, question.sql)))
    return [answered(db, *each) for each in zip(questions, taken, strict=True)]


def scan(db: psycopg.Connection) -> float:
    """Seconds to read all of `executions`. How many processes the planner gets depends on who else asks: one it is."""
    with db.transaction():
        db.execute("SET LOCAL max_parallel_workers_per_gather = 0")
        return seconds(db, SCAN)


def seconds(db: psycopg.Connection, sql: str) -> float:
    """From asking to the last row."""
    began = time.perf_counter()
    db.execute(sql.encode()).fetchall()
    return time.perf_counter() - began


def answered(db: psycopg.Connection, question: Question, times: list[tuple[float, float]]) -> Answered:
    """What the rounds took, and what one more time tells of the plan."""
    told = db.execute(
        f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {question.sql}".encode()
    ).fetchone()
    assert told
    plan = told[0][0]["Plan"]
    scans = {node["Relation Name"] for node in nodes(plan) if node["Node Type"] == "Seq Scan"}
    return Answered(
        view=question.view,
        words=question.words,
        seconds=[took for _, took in times],
        scan_seconds=[whole for whole, _ in times],
        pages=plan["Shared Hit Blocks"] + plan["Shared Read Blocks"],
        read_whole=sorted(scans.intersection(FACTS)),
    )


def nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The plan's node with all below it."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def circumstances(db: psycopg.Connection) -> dict[str, object]:
    """The machine, the server and the size of the warehouse."""
    about: dict[str, object] = {"processors": os.cpu_count()}
    for name in SETTINGS:
        about[name] = value(db, f"SHOW {name}")
    about["database"] = value(db, "SELECT pg_size_pretty(pg_database_size(current_database()))")
    for table in FACTS[:2]:
        about[table] = value(db, f"SELECT count(*) FROM history.{table}")
        about[f"pages_of_{table}"] = value(
            db, f"SELECT relpages FROM pg_class WHERE oid = 'history.{table}'::regclass"
        )
    return about


def value(db: psycopg.Connection, sql: str) -> Any:
    """The one that a query gives."""
    row = db.execute(sql.encode()).fetchone()
    assert row
    return row[0]


def tell(about: Mapping[str, object], answers: list[Answered]) -> None:
    """What it was measured on, and a row for each question as the document has them."""
    scans = [took for each in answers for took in each.scan_seconds]
    for name, each in about.items():
        print(f"- {name}: {each}")
    print(f"- scan of executions: {1000 * statistics.median(scans):,.0f} ms\n")
    print("| view | question | median | scans | pages | read whole |")
    print("| --- | --- | ---: | ---: | ---: | --- |")
    for each in answers:
        whole = ", ".join(f"`{name}`" for name in each.read_whole)
        print(
            f"| `{each.view}` | {each.words} | {each.milliseconds:,.0f} ms | {each.ratio:.2f} |"
            f" {each.pages:,} | {whole} |"
        )


if __name__ == "__main__":
    main()
