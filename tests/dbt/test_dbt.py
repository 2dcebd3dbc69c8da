"""The dbt project in deploy/dbt, built for real: its models say what the warehouse says, and go on saying it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import Engine

from syncer.simulator import Outline, Tenant
from tests.dbt.conftest import Dbt
from tests.integration.flows import FlowBench
from tests.platforms import platforms

OUTLINE = Outline(workflows=3, executions=40, running=2, days=20, failing=0.2)


class Warehouse(FlowBench):
    """A copy of every platform there is, brought up to date on request."""

    def __init__(self, engine: Engine, sources: dict[str, tuple[Tenant, str]]) -> None:
        super().__init__(engine)
        self.sources = sources

    def update(self) -> None:
        """One pass over each."""
        for name, (simulator, url) in self.sources.items():
            assert self.run(simulator, url, name=name).is_complete


@pytest.fixture
def warehouse(engine: Engine) -> Iterator[Warehouse]:
    with ExitStack() as stack:
        made = {name: each.simulate(OUTLINE) for name, each in platforms().items()}
        sources = {name: (each, stack.enter_context(each.serve())) for name, each in made.items()}
        warehouse = Warehouse(engine, sources)
        warehouse.update()
        yield warehouse


def test_everything_is_built_and_every_test_passes(dbt: Dbt, warehouse: Warehouse) -> None:
    code, said = dbt.run("build")
    assert code == 0, said
    states = {result["unique_id"]: result["status"] for result in dbt.results()}
    assert sum(name.startswith("model.") for name in states) == 4
    assert sum(name.startswith("test.") for name in states) > 12
    assert set(states.values()) == {"success", "pass"}


def test_the_marts_say_what_the_views_say(dbt: Dbt, warehouse: Warehouse) -> None:
    code, said = dbt.run("build")
    assert code == 0, said
    mart = (
        "SELECT week, connection_id, workflow_id, runs, succeeded, failed, canceled"
        " FROM analytics.workflow_reliability_weekly ORDER BY 1, 2, 3"
    )
    view = (
        "SELECT date_trunc('week', day)::date, connection_id, workflow_id, sum(runs)::int, sum(succeeded)::int,"
        " sum(failed)::int, sum(canceled)::int FROM history.workflow_daily GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    )
    assert warehouse.rows(mart) == warehouse.rows(view)
    assert len(warehouse.rows(mart)) > 20


def test_recovery_is_what_one_counts_by_hand(dbt: Dbt, warehouse: Warehouse, engine: Engine) -> None:
    outcomes = ("succeeded", "failed", "failed", "succeeded", "canceled", "failed", "succeeded", "failed")
    with engine.begin() as db:
        db.exec_driver_sql("DELETE FROM history.executions WHERE connection_id = 'qualys'")
        for hour, outcome in enumerate(outcomes):
            db.exec_driver_sql(
                "INSERT INTO history.executions (connection_id, execution_id, workflow_id, outcome, created_at,"
                " started_at, ended_at, steps_state, synced_at, _asked_at, _partition, _row_hash)"
                " VALUES ('qualys', %s, 'w', %s,"
                " '2026-03-10 00:00+00'::timestamptz + %s * interval '1 hour',"
                " '2026-03-10 00:00+00'::timestamptz + %s * interval '1 hour',"
                " '2026-03-10 00:10+00'::timestamptz + %s * interval '1 hour', 'off', now(), now(), 'w', '')",
                (f"e{hour}", outcome, hour, hour, hour),
            )
    code, said = dbt.run("build")
    assert code == 0, said
    ((outages, still_failing, mean, longest),) = warehouse.rows(
        "SELECT outages, still_failing, mean_time_to_recovery_s, longest_s FROM analytics.workflow_recovery"
        " WHERE workflow_id = 'w'"
    )
    # At 1:00 until the end of the run of 3:00, at 5:00 until that of 6:00, and at 7:00 without an end.
    assert (outages, still_failing) == (3, 1)
    assert (mean, longest) == ((130 + 70) / 2 * 60, 130 * 60)


def test_what_changes_is_taken_over_by_the_next_build_and_little_is_read_for_it(
    dbt: Dbt, warehouse: Warehouse
) -> None:
    with warehouse.engine.begin() as db:  # as if everything had been copied when it happened
        db.exec_driver_sql("UPDATE history.executions SET synced_at = created_at")
    assert dbt.run("build")[0] == 0
    since = warehouse.value("SELECT max(synced_at) - interval '1 hour' FROM history.executions")
    for simulator, _ in warehouse.sources.values():
        simulator.end_all_running()
        simulator.add_execution(status="Error")
    warehouse.update()
    code, said = dbt.run("build")
    assert code == 0, said
    different = (
        "SELECT count(*) FROM history.executions e FULL JOIN analytics.stg_executions s USING (connection_id,"
        " execution_id) WHERE e.outcome IS DISTINCT FROM s.outcome OR e.ended_at IS DISTINCT FROM s.ended_at"
    )
    assert warehouse.value(different) == 0
    (model,) = (each for each in dbt.results() if each["unique_id"].endswith("stg_executions"))
    read = warehouse.value(
        f"SELECT count(*) FROM history.executions WHERE synced_at >= '{since.isoformat()}'"
    )
    assert model["adapter_response"]["rows_affected"] == read
    assert read < warehouse.value("SELECT count(*) / 4 FROM history.executions")


def test_a_copy_that_is_behind_is_no_fresh_source(dbt: Dbt, warehouse: Warehouse) -> None:
    code, said = dbt.run("source", "freshness")
    assert code == 0, said
    assert {each["status"] for each in dbt.results("sources.json")} == {"pass"}
    with warehouse.engine.begin() as db:
        db.exec_driver_sql(
            "UPDATE syncer.watermarks SET watermark_at = watermark_at - interval '2 days'"
            " WHERE (connection_id, partition) IN (SELECT connection_id, partition FROM syncer.watermarks"
            " WHERE stream = 'executions' LIMIT 1) AND stream = 'executions'"
        )
    assert dbt.run("source", "freshness")[0] == 1
    assert {each["status"] for each in dbt.results("sources.json")} == {"error"}
