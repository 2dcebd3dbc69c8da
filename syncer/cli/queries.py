"""Questions a BI tool would ask, for the demo to answer: title, SQL, result.

Invariant: every query reads the views of `history` alone, as a dashboard would.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Engine, func, select, text

from syncer.schema import HISTORY_TABLES


class Query(NamedTuple):
    """A question and the SQL that answers it."""

    title: str
    sql: str


class Answer(NamedTuple):
    """What a query returned."""

    query: Query
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


QUERIES = (
    Query(
        "How much runs where, and how well?",
        """\
SELECT platform, count(DISTINCT workflow_id) AS workflows, count(*) AS runs,
  round(100.0 * count(*) FILTER (WHERE outcome = 'succeeded')
    / nullif(count(*) FILTER (WHERE outcome IN ('succeeded', 'failed')), 0), 1)::float AS success_percent
FROM history.execution_facts
GROUP BY platform
ORDER BY platform""",
    ),
    Query(
        "Why do steps fail?",
        """\
SELECT failure_reason, sum(count)::int AS times, max(last_seen_at) AS last_seen
FROM history.failure_reasons
WHERE level = 'step'
GROUP BY failure_reason
ORDER BY times DESC
LIMIT 5""",
    ),
    Query(
        "Which workflows are slow?",
        """\
SELECT workflow_name, count(*) AS runs,
  percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_s) AS median_s,
  percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_s) AS p95_s
FROM history.execution_facts
GROUP BY workflow_name
ORDER BY p95_s DESC NULLS LAST
LIMIT 5""",
    ),
    Query(
        "How did the last week go?",
        """\
SELECT day, sum(runs)::int AS runs, sum(failed)::int AS failed,
  round(100.0 * sum(succeeded) / nullif(sum(succeeded + failed), 0), 1)::float AS success_percent
FROM history.workflow_daily
WHERE day > (now() AT TIME ZONE 'UTC')::date - 7
GROUP BY day
ORDER BY day""",
    ),
    Query(
        "Which steps fail most?",
        """\
SELECT workflow_name, node_name, count(*) AS runs,
  count(*) FILTER (WHERE outcome = 'failed') AS failed
FROM history.step_facts
GROUP BY workflow_name, node_name
ORDER BY failed DESC
LIMIT 5""",
    ),
    Query(
        "What runs now?",
        """\
SELECT workflow_name, status, started_at, round(age_s)::int AS seconds
FROM history.running_now
ORDER BY started_at
LIMIT 5""",
    ),
)


def answers(engine: Engine) -> list[Answer]:
    """Ask all of them."""
    with engine.connect() as db:
        asked = [(query, db.execute(text(query.sql))) for query in QUERIES]
        return [Answer(query, list(found.keys()), [tuple(row) for row in found]) for query, found in asked]


def rows_by_table(engine: Engine) -> dict[str, int]:
    """How many rows each table of `history` holds."""
    with engine.connect() as db:
        counted = {each.name: db.scalar(select(func.count()).select_from(each)) for each in HISTORY_TABLES}
    return {name: count or 0 for name, count in counted.items()}
