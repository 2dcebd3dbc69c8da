"""What the views tell about rows small enough to be worked out by hand, in any session's time zone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, Row, Table, func, insert, select, text

from syncer import schema, warehouse
from tests.servers import Server

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)


EVERY_ZONE = pytest.mark.parametrize(
    "db", ["UTC", "America/Los_Angeles", "Pacific/Kiritimati"], indirect=True
)


@pytest.fixture
def db(engine: Engine, request: pytest.FixtureRequest) -> Iterator[Connection]:
    """A session fourteen hours ahead of UTC, where every date is another one, unless a test asks for others."""
    zone = getattr(request, "param", "Pacific/Kiritimati")
    with engine.begin() as connection:
        connection.execute(text("SELECT set_config('TimeZone', :zone, true)"), {"zone": zone})
        yield connection


def add(db: Connection, table: Table, **values: Any) -> None:
    """Insert a row; what is not said and may not be null gets something plain."""
    plain: dict[str, Any] = {
        "connection_id": "c",
        "execution_id": "e1",
        "workflow_id": "w1",
        "_partition": "w1",
        "node_id": "n1",
        "attempt": 1,
        "stream": "executions",
        "outcome": "succeeded",
        "steps_state": "read",
        "event_count": 2,
        "platform": "qualys_flow",
        "base_url": "https://x.test",
        "created_at": NOON,
        "first_synced_at": NOON,
        "synced_at": NOON,
        "_asked_at": NOON,
        "_row_hash": b"",
        "input_state": "decoded",
        "output_state": "decoded",
    }
    needed = {c.name: plain[c.name] for c in table.columns if not c.nullable and c.name in plain}
    db.execute(insert(table).values(needed | values))


def execution(
    db: Connection, execution_id: str, minutes: float = 0, seconds: float | None = None, **rest: Any
) -> None:
    """An execution created `minutes` after noon; with `seconds` it ran that long."""
    created = NOON + timedelta(minutes=minutes)
    if seconds is not None:
        rest |= {"started_at": created, "ended_at": created + timedelta(seconds=seconds)}
    add(db, schema.executions, execution_id=execution_id, created_at=created, **rest)


def view(db: Connection, name: str, columns: str = "*", order: str = "1") -> list[Row[Any]]:
    return list(db.execute(text(f"SELECT {columns} FROM history.{name} ORDER BY {order}")))


def labels(db: Connection, execution_id: str = "e1") -> set[tuple[str, str, str]]:
    rows = view(db, "execution_labels", "kind, key, value, execution_id")
    found = [(row.kind, row.key, row.value) for row in rows if row.execution_id == execution_id]
    assert len(found) == len(set(found))
    return set(found)


@EVERY_ZONE
def test_execution_facts_bucket_by_utc_day_and_hour(db: Connection) -> None:
    add(db, schema.connections)
    execution(db, "e1", minutes=-12 * 60 - 1, seconds=1.5)
    execution(db, "e2", minutes=-12 * 60)
    rows = view(db, "execution_facts", "execution_id, platform, day, hour, duration_s, created_at")
    assert [tuple(row) for row in rows] == [
        (
            "e1",
            "qualys_flow",
            date(2025, 2, 28),
            datetime(2025, 2, 28, 23, tzinfo=UTC),
            1.5,
            rows[0].created_at,
        ),
        (
            "e2",
            "qualys_flow",
            date(2025, 3, 1),
            datetime(2025, 3, 1, 0, tzinfo=UTC),
            None,
            rows[1].created_at,
        ),
    ]


def test_a_workflow_is_named_by_itself_else_by_the_execution_else_by_its_id(db: Connection) -> None:
    add(db, schema.workflows, name="Patch")
    add(db, schema.workflows, connection_id="other", workflow_id="w2", name="Not ours")
    execution(db, "e1", workflow_name="Patch (old)")
    execution(db, "e2", workflow_id="w2", workflow_name="Told")
    execution(db, "e3", workflow_id="w3")
    names = [("e1", "Patch"), ("e2", "Told"), ("e3", "w3")]
    assert [tuple(row) for row in view(db, "execution_facts", "execution_id, workflow_name")] == names
    for execution_id, _ in names:
        add(db, schema.steps, execution_id=execution_id)
    assert [tuple(row) for row in view(db, "step_facts", "execution_id, workflow_name")] == names


def test_execution_facts_show_every_column_but_the_daemons(db: Connection) -> None:
    shown = set(db.execute(text("SELECT * FROM history.execution_facts")).keys())
    public = {column.name for column in schema.executions.columns if not column.name.startswith("_")}
    assert shown == public | {"platform", "day", "hour", "duration_s"}


@EVERY_ZONE
def test_step_facts_carry_their_execution(db: Connection) -> None:
    add(db, schema.connections)
    execution(db, "e1", minutes=-12 * 60 - 1, outcome="failed", status="Error")
    started = NOON + timedelta(days=1)
    add(db, schema.steps, started_at=started, ended_at=started + timedelta(milliseconds=250), attempt=2)
    add(db, schema.steps, connection_id="other")
    (row,) = view(db, "step_facts")
    assert (row.connection_id, row.platform, row.workflow_id) == ("c", "qualys_flow", "w1")
    assert (row.attempt, row.outcome, row.execution_outcome, row.execution_status) == (
        2,
        "succeeded",
        "failed",
        "Error",
    )
    assert (row.day, row.duration_s) == (date(2025, 2, 28), 0.25)
    assert row.created_at == NOON - timedelta(hours=12, minutes=1)


def test_categories_of_any_depth_become_labels_and_empty_ones_none(db: Connection) -> None:
    execution(
        db,
        "e1",
        categories={
            "regions": ["us-east-1", "us-east-1", "eu"],
            "accounts": "@1",
            "projects": [None],
            "apps": [[]],
            "deep": [["a"], {"k": ["b", None]}],
            "count": 7,
            "on": True,
            "none": None,
            "empty": {},
            "blank": [""],
        },
    )
    assert labels(db) == {
        ("category", "regions", "us-east-1"),
        ("category", "regions", "eu"),
        ("category", "accounts", "@1"),
        ("category", "deep", "a"),
        ("category", "deep", "b"),
        ("category", "count", "7"),
        ("category", "on", "true"),
    }


@pytest.mark.parametrize(
    "variables",
    [
        ["region=us-east-1", "limit=5", "limit=5", "blank=", ""],
        {"region": ["us-east-1", None], "limit": 5, "credentials": []},
        [{"key": "region", "value": ["us-east-1"]}, {"name": "limit", "value": 5}, {"key": "x", "value": []}],
    ],
)
def test_variables_become_labels_in_every_shape_they_come_in(db: Connection, variables: Any) -> None:
    execution(db, "e1", variables=variables)
    assert labels(db) == {("variable", "region", "us-east-1"), ("variable", "limit", "5")}


def test_tags_are_split_at_the_first_equals_sign(db: Connection) -> None:
    execution(db, "e1", tags=["created_by=1", "urgent", "urgent", "query=a=b", "", None, "=x"])
    assert labels(db) == {
        ("tag", "created_by", "1"),
        ("tag", "", "urgent"),
        ("tag", "query", "a=b"),
        ("tag", "", "x"),
    }


@pytest.mark.parametrize("odd", [None, [], {}, "text", 5, [None], [[]], [{"a": 1}]])
def test_labels_of_an_unexpected_shape_fail_no_query(db: Connection, odd: Any) -> None:
    execution(db, "e1", categories=odd, variables=None)
    execution(db, "e2", categories=None, variables=odd, tags=[])
    assert labels(db) == set()


def test_a_label_carries_its_executions_time_and_workflow(db: Connection) -> None:
    execution(db, "e1", minutes=-12 * 60 - 1, tags=["a"])
    (row,) = view(db, "execution_labels", "connection_id, workflow_id, created_at, day")
    assert tuple(row) == ("c", "w1", NOON - timedelta(hours=12, minutes=1), date(2025, 2, 28))


def test_workflow_daily_counts_and_measures_what_ended(db: Connection) -> None:
    for number, seconds in enumerate([1, 2, 3, 4, 100]):
        execution(db, f"e{number}", seconds=seconds)
    execution(db, "f1", seconds=10, outcome="failed")
    execution(db, "x1", outcome="canceled")
    execution(db, "r1", outcome="running", started_at=NOON)
    (row,) = view(
        db, "workflow_daily", "day, runs, succeeded, failed, canceled, success_rate, p50_s, p95_s, max_s"
    )
    assert tuple(row)[:5] == (date(2025, 3, 1), 8, 5, 1, 1)
    assert row.success_rate == pytest.approx(5 / 6)
    assert row.p50_s == pytest.approx(3.5)  # of 1 2 3 4 10 100
    assert row.p95_s == pytest.approx(10 + 0.75 * 90)  # at 0.95 * 5 = 4.75
    assert row.max_s == 100


@EVERY_ZONE
def test_workflow_daily_has_a_row_per_utc_day_workflow_and_connection(db: Connection) -> None:
    execution(db, "e1", minutes=-12 * 60 - 1)
    execution(db, "e2", minutes=-12 * 60)
    execution(db, "e3", workflow_id="w2")
    execution(db, "e4", connection_id="d")
    rows = view(db, "workflow_daily", "connection_id, day, workflow_id, runs", "1, 2, 3")
    assert [tuple(row) for row in rows] == [
        ("c", date(2025, 2, 28), "w1", 1),
        ("c", date(2025, 3, 1), "w1", 1),
        ("c", date(2025, 3, 1), "w2", 1),
        ("d", date(2025, 3, 1), "w1", 1),
    ]


def test_a_day_without_success_or_failure_has_no_success_rate(db: Connection) -> None:
    execution(db, "e1", outcome="canceled")
    execution(db, "e2", outcome="running")
    (row,) = view(db, "workflow_daily", "runs, success_rate, p50_s, p95_s, max_s")
    assert tuple(row) == (2, None, None, None, None)


def test_failure_reasons_count_executions_and_steps_apart(db: Connection) -> None:
    failed: dict[str, Any] = {"outcome": "failed", "failure_reason": "no host"}
    execution(db, "e1", minutes=0, message="no host 1", **failed)
    execution(db, "e2", minutes=5, message="no host 2", **failed)
    execution(db, "e3", minutes=9, outcome="failed", failure_reason="quota")
    execution(db, "e4", minutes=7, workflow_id="w2", message="no host 4", **failed)
    execution(db, "e5", minutes=10, message="fine")
    db.execute(text("UPDATE history.executions SET failed_step_count = 2 WHERE execution_id = 'e1'"))
    add(db, schema.steps, execution_id="e1", message="no host 1a", **failed)
    add(db, schema.steps, execution_id="e1", attempt=2, message="no host 1b", **failed)
    rows = view(
        db,
        "failure_reasons",
        "level, failure_reason, workflow_id, count, first_seen_at, last_seen_at,"
        " example_execution_id, example_message",
        "level, failure_reason, workflow_id",
    )

    def at(minutes: int) -> datetime:
        return NOON + timedelta(minutes=minutes)

    assert [tuple(row) for row in rows] == [
        ("execution", "no host", "w1", 2, at(0), at(5), "e2", "no host 2"),
        ("execution", "no host", "w2", 1, at(7), at(7), "e4", "no host 4"),
        ("execution", "quota", "w1", 1, at(9), at(9), "e3", None),
        ("step", "no host", "w1", 2, at(0), at(0), "e1", "no host 1a"),
    ]


def test_running_now_shows_what_has_not_ended_and_is_still_there(db: Connection) -> None:
    add(db, schema.connections)
    execution(db, "running", outcome="running", started_at=NOON + timedelta(seconds=30))
    execution(db, "queued", outcome="queued")
    execution(db, "odd", outcome="unknown")
    execution(db, "ended", outcome="succeeded")
    execution(db, "dated", outcome="unknown", seconds=5)
    execution(db, "settled", outcome="unknown", settled_at=NOON)
    execution(db, "gone", outcome="running", missing_since=NOON, missing_reason="gone")
    columns = "execution_id, outcome, last_seen_at, extract(epoch FROM now())::float8 - age_s AS since"
    rows = {row.execution_id: row for row in view(db, "running_now", columns)}
    assert rows.keys() == {"running", "queued", "odd"}
    assert rows["running"].since == pytest.approx(NOON.timestamp() + 30)
    assert rows["queued"].since == pytest.approx(NOON.timestamp())
    assert rows["queued"].last_seen_at == NOON


def freshness(db: Connection) -> dict[str, Row[Any]]:
    return {row.partition: row for row in view(db, "sync_freshness")}


def test_sync_freshness_tells_how_far_each_partition_is(db: Connection) -> None:
    add(db, schema.connections)
    add(db, schema.workflows, name="Patch")
    mark = {"watermark_at": NOON, "complete_from": NOON - timedelta(days=30), "last_success_at": NOON}
    add(db, schema.watermarks, partition="w1", lookback_from=NOON - timedelta(minutes=15), **mark)
    add(db, schema.watermarks, partition="w2", lookback_from=NOON - timedelta(minutes=15), last_error="no")
    add(db, schema.watermarks, partition="", stream="workflows")
    execution(db, "old", minutes=-90, settled_at=NOON)
    execution(db, "put aside", minutes=-70, steps_state="failed")
    execution(db, "gone", minutes=-80, missing_since=NOON, missing_reason="gone")
    execution(db, "due", minutes=-60, steps_state="due")
    execution(db, "late", minutes=-5, outcome="running", steps_state="due")
    execution(db, "elsewhere", minutes=-99, connection_id="other", steps_state="due")
    found = freshness(db)
    assert found.keys() == {"w1", "w2"}
    first, second = found["w1"], found["w2"]
    assert (first.platform, first.workflow_name, first.complete_from) == (
        "qualys_flow",
        "Patch",
        mark["complete_from"],
    )
    assert first.settled_until == NOON - timedelta(minutes=70)
    assert (first.open_executions, first.steps_due) == (3, 2)
    now = db.scalar(select(func.now()))
    assert now is not None
    assert first.lag_seconds == pytest.approx((now - NOON).total_seconds())
    assert second.settled_until == NOON - timedelta(minutes=15)
    assert (second.open_executions, second.steps_due, second.last_error) == (0, 0, "no")
    assert (second.watermark_at, second.lag_seconds, second.workflow_name) == (None, None, None)


def test_nothing_is_settled_before_the_first_watermark(db: Connection) -> None:
    add(db, schema.watermarks, partition="w1")
    execution(db, "e1", steps_state="due")
    assert freshness(db)["w1"].settled_until is None


def test_no_view_reads_step_io(engine: Engine) -> None:
    used = text(
        "SELECT DISTINCT table_name FROM information_schema.view_table_usage WHERE view_schema = 'history'"
    )
    with engine.connect() as db:
        tables = set(db.scalars(used))
    assert "executions" in tables
    assert "step_io" not in tables


def test_every_relation_and_column_of_history_says_what_it_means(engine: Engine) -> None:
    silent = text(
        """
        SELECT c.relname, a.attname FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE c.relnamespace = 'history'::regnamespace AND c.relkind IN ('r', 'v')
          AND (col_description(c.oid, a.attnum) IS NULL OR obj_description(c.oid, 'pg_class') IS NULL)
        """
    )
    with engine.connect() as db:
        assert db.execute(silent).all() == []


def test_every_view_stands_in_the_database_and_begins_with_its_connection(engine: Engine) -> None:
    views = text(
        "SELECT table_name, column_name FROM information_schema.columns"
        " JOIN information_schema.views USING (table_schema, table_name)"
        " WHERE table_schema = 'history' AND ordinal_position = 1"
    )
    with engine.connect() as db:
        assert dict(tuple(row) for row in db.execute(views)) == dict.fromkeys(
            warehouse.views(), "connection_id"
        )


@pytest.fixture(scope="module")
def year(server: Server, migrated_template: str) -> Iterator[Engine]:
    """A year of ten connections: 20,000 executions of four steps, one of eleven failed. The planner has a choice."""
    with server.filled(migrated_template, _live_a_year) as engine:
        yield engine


def _live_a_year(engine: Engine) -> None:
    with engine.begin() as db:
        for statement in (A_YEAR, ITS_STEPS, ITS_EVENTS, "ANALYZE"):
            db.execute(text(statement))


A_YEAR = """
INSERT INTO history.executions (connection_id, execution_id, workflow_id, outcome, failure_reason, created_at,
  categories, steps_state, failed_step_count, settled_at, synced_at, _row_hash, _asked_at, _partition)
SELECT 'c' || n % 10, md5(n::text), (n % 7)::text, outcome, CASE outcome WHEN 'failed' THEN 'no host' END, created_at,
  '{"regions": ["eu"]}', 'read', (outcome = 'failed')::int, created_at, created_at, '', created_at, (n % 7)::text
FROM generate_series(1, 20000) AS n,
  LATERAL (SELECT CASE n % 11 WHEN 0 THEN 'failed' ELSE 'succeeded' END, now() - (20000 - n) * interval '26 min')
    AS run (outcome, created_at)
"""
ITS_STEPS = """
INSERT INTO history.steps (connection_id, execution_id, node_id, attempt, outcome, failure_reason, event_count,
  synced_at, _row_hash)
SELECT connection_id, execution_id, n::text, 1, outcome, CASE n WHEN 4 THEN failure_reason END, 2, synced_at, ''
FROM history.executions, generate_series(1, 4) AS n
"""
ITS_EVENTS = """
INSERT INTO history.step_events (connection_id, execution_id, event_id, node_id, created_at, synced_at, _row_hash,
  _outcome, _role)
SELECT connection_id, execution_id, node_id, node_id, synced_at, synced_at, '', outcome, 'end' FROM history.steps
"""
DAY = r"executions_day_idx.*\n *Index Cond: .*'UTC'.*::date >="
CREATED = r"executions_created_idx.*\n *Index Cond: .*created_at >="


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati"])
@pytest.mark.parametrize(
    ("view", "days", "index"),
    [
        ("execution_facts", "day >= CURRENT_DATE - 30", DAY),
        ("execution_facts", "day BETWEEN CURRENT_DATE - 30 AND CURRENT_DATE AND hour < now()", DAY),
        ("execution_facts", "created_at >= now() - interval '30 days'", CREATED),
        ("step_facts", "day >= CURRENT_DATE - 30", DAY),
        ("step_facts", "created_at >= now() - interval '30 days'", CREATED),
        ("execution_labels", "day >= CURRENT_DATE - 30", DAY),
        ("execution_labels", "created_at >= now() - interval '30 days'", CREATED),
        ("workflow_daily", "day >= CURRENT_DATE - 30", DAY),
        ("failure_reasons", "last_seen_at >= now() - interval '30 days'", "executions_failed_steps_idx"),
        ("running_now", "created_at >= now() - interval '30 days'", "executions_open_idx"),
        ("sync_freshness", "watermark_at >= now() - interval '30 days'", "executions_open_idx"),
    ],
)
def test_no_view_reads_all_of_a_table_for_thirty_days_of_a_connection(
    year: Engine, zone: str, view: str, days: str, index: str
) -> None:
    query = f"EXPLAIN SELECT * FROM history.{view} WHERE connection_id = 'c3' AND {days}"
    with year.begin() as db:
        db.execute(text("SELECT set_config('TimeZone', :zone, true)"), {"zone": zone})
        plan = "\n".join(db.scalars(text(query)))
    assert re.search(index, plan), plan
    assert not re.search(r"Seq Scan on (executions|steps|step_events)\b", plan), plan
