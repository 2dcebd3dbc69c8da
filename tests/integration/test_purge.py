"""Retention: what is old goes whole or not at all, stays away, and nothing else is touched."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from syncer.load import purge as rows
from syncer.simulator import Outline
from syncer.simulator.qualys_flow import Simulator
from syncer.sync import Report, Session, backfill
from syncer.sync import purge as purging
from syncer.sync.purge import Purged, purge, would_purge
from syncer.sync.verify import verify
from syncer.writer import Writer
from tests.integration.flows import FlowBench, assert_equal_to_truth

AGE = timedelta(days=400)
CHILDREN = ("step_events", "steps", "step_io")


@pytest.fixture
def simulator() -> Simulator:
    return Simulator(Outline(workflows=2, executions=16, running=2))


@pytest.fixture
def url(simulator: Simulator) -> Iterator[str]:
    with simulator.serve() as url:
        yield url


@pytest.fixture
def bench(engine: Engine, simulator: Simulator, url: str) -> FlowBench:
    """A copy, with all of it there a second time as it would have been 500 days ago."""
    bench = FlowBench(engine)
    assert bench.run(simulator, url).is_complete
    with engine.begin() as db:
        for table in ("executions", *CHILDREN):
            _repeat(db, table, "500 days")
    return bench


def _repeat(db: Connection, table: str, age: str) -> None:
    found = db.exec_driver_sql(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'history'"
        f" AND table_name = '{table}' AND is_generated = 'NEVER'"
    )
    changed = {"execution_id": "'old-' || execution_id", "created_at": f"created_at - interval '{age}'"}
    names = [name for (name,) in found]
    values = ", ".join(changed.get(name, f'"{name}"') for name in names)
    quoted = ", ".join(f'"{name}"' for name in names)
    db.exec_driver_sql(f"INSERT INTO history.{table} ({quoted}) SELECT {values} FROM history.{table}")


def run(bench: FlowBench, before: datetime | None = None, *, payloads_only: bool = False) -> Purged:
    async def work() -> Purged:
        writer = Writer(bench.engine)
        await writer.start()
        done = Purged(connection_id="flow")
        try:
            await purge(writer, done, before or writer.now() - AGE, payloads_only=payloads_only)
        finally:
            await writer.close()
        return done

    return asyncio.run(work())


def counts(bench: FlowBench, which: str = "LIKE") -> dict[str, int]:
    """Rows by table, of the old executions or of the others."""
    return {
        table: bench.value(f"SELECT count(*) FROM history.{table} WHERE execution_id {which} 'old-%'")
        for table in ("executions", *CHILDREN)
    }


def orphans(bench: FlowBench) -> int:
    """Rows whose execution is gone."""
    return sum(
        bench.value(
            f"SELECT count(*) FROM history.{table} LEFT JOIN history.executions e"
            " USING (connection_id, execution_id) WHERE e.execution_id IS NULL"
        )
        for table in CHILDREN
    )


def test_settled_history_goes_with_its_steps_and_what_is_open_stays(
    bench: FlowBench, simulator: Simulator
) -> None:
    before = counts(bench)
    running = bench.value(
        "SELECT count(*) FROM history.executions WHERE execution_id LIKE 'old-%' AND settled_at IS NULL"
    )
    assert running > 0
    done = run(bench)
    after = counts(bench)
    assert after["executions"] == running == done.kept_open
    assert {name: before[name] - after[name] for name in before} == dict(done.counts)
    assert orphans(bench) == 0
    with bench.engine.begin() as db:
        db.exec_driver_sql("DELETE FROM history.executions WHERE execution_id LIKE 'old-%%'")
        for table in CHILDREN:
            db.exec_driver_sql(f"DELETE FROM history.{table} WHERE execution_id LIKE 'old-%%'")
    assert_equal_to_truth(bench, simulator)


def test_missing_executions_go_though_they_never_settled(bench: FlowBench) -> None:
    with bench.engine.begin() as db:
        db.exec_driver_sql(
            "UPDATE history.executions SET missing_since = now(), missing_reason = 'aged_out'"
            " WHERE execution_id LIKE 'old-%%' AND settled_at IS NULL"
        )
    assert run(bench).kept_open == 0
    assert counts(bench) == dict.fromkeys(counts(bench), 0)


def test_payloads_alone_may_go(bench: FlowBench) -> None:
    before, others = counts(bench), counts(bench, "NOT LIKE")
    done = run(bench, payloads_only=True)
    assert set(done.counts) == {"step_io"}
    assert counts(bench) == {**before, "step_io": before["step_io"] - done.counts["step_io"]}
    assert counts(bench, "NOT LIKE") == others


def test_what_would_go_is_what_goes(bench: FlowBench) -> None:
    async def count() -> Purged:
        writer = Writer(bench.engine)
        await writer.start()
        try:
            return await would_purge(writer, "flow", writer.now() - AGE, payloads_only=False)
        finally:
            await writer.close()

    assert asyncio.run(count()) == run(bench)


def test_only_what_is_older_goes(bench: FlowBench) -> None:
    instants = [
        instant
        for (instant,) in bench.rows(
            "SELECT created_at FROM history.executions WHERE execution_id LIKE 'old-%' AND settled_at IS NOT NULL"
            " ORDER BY 1"
        )
    ]
    middle = instants[len(instants) // 2]
    run(bench, middle)
    assert (
        bench.value(
            "SELECT min(created_at) FROM history.executions WHERE execution_id LIKE 'old-%' AND settled_at IS NOT NULL"
        )
        == middle
    )


def test_it_works_in_bundles_oldest_first_and_one_that_is_cut_short_leaves_nothing_alone(
    bench: FlowBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "BUNDLE", 3)
    delete, calls = rows.delete_executions, 0

    def die(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("killed")
        return delete(*arguments)

    monkeypatch.setattr(rows, "delete_executions", die)
    old = "SELECT execution_id FROM history.executions WHERE execution_id LIKE 'old-%'"
    oldest_first = bench.rows(f"{old} AND settled_at IS NOT NULL ORDER BY created_at, execution_id")
    with pytest.raises(RuntimeError, match="killed"):
        run(bench)
    assert (
        bench.rows(f"{old} AND settled_at IS NOT NULL ORDER BY created_at, execution_id") == oldest_first[6:]
    )
    assert orphans(bench) == 0
    monkeypatch.setattr(rows, "delete_executions", delete)
    assert run(bench).counts["executions"] == len(oldest_first) - 6
    assert orphans(bench) == 0


def test_what_was_deleted_neither_comes_back_nor_counts_as_missing(
    bench: FlowBench, simulator: Simulator, url: str
) -> None:
    run(bench)
    left = counts(bench)
    since = datetime.now(UTC) - timedelta(days=600)
    assert bench.run(simulator, url).is_complete
    bench.run(simulator, url, partial(backfill, since=since, until=None))
    assert counts(bench) == left
    found = []

    async def check(session: Session) -> Report:
        found.append(await verify(session, since))
        return session.report

    bench.run(simulator, url, check)
    assert found[0].differences == []


def test_no_partition_claims_to_be_complete_where_rows_went(bench: FlowBench) -> None:
    with bench.engine.begin() as db:
        db.exec_driver_sql(
            "UPDATE syncer.watermarks SET complete_from = '2020-01-01' WHERE stream = 'executions'"
        )
    marks = bench.rows("SELECT partition, watermark_at FROM syncer.watermarks ORDER BY 1")
    run(bench, payloads_only=True)
    assert bench.value("SELECT max(complete_from) < '2020-01-02' FROM syncer.watermarks")
    run(bench)
    assert bench.value("SELECT min(complete_from) > now() - interval '401 days' FROM syncer.watermarks")
    assert bench.rows("SELECT partition, watermark_at FROM syncer.watermarks ORDER BY 1") == marks


def test_steps_put_aside_of_what_went_wait_no_more(bench: FlowBench) -> None:
    with bench.engine.begin() as db:
        db.exec_driver_sql(
            "INSERT INTO syncer.quarantine (connection_id, stream, record_id, partition, reason, first_seen_at,"
            " last_seen_at, times) SELECT 'flow', 'steps', execution_id, execution_id, 'x', now(), now(), 1"
            " FROM history.executions WHERE settled_at IS NOT NULL"
        )
    run(bench)
    assert bench.value(
        "SELECT bool_and(partition NOT LIKE 'old-%') FROM syncer.quarantine WHERE resolved_at IS NULL"
    )
    assert bench.value("SELECT count(*) > 0 FROM syncer.quarantine WHERE resolved_at IS NULL")
