"""Full passes over every simulated platform, over a socket, into a real PostgreSQL: each copy equals the truth."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from syncer.simulator import PLANTED_SECRET, Outline, Tenant
from tests.integration.flows import FlowBench, assert_equal_to_truth
from tests.passes import HISTORY
from tests.platforms import Platform, each_platform, listed, served
from tests.torture.judge import differences

pytestmark = each_platform()

OUTLINE = Outline(workflows=3, executions=14, running=3, queued=2, loops=True, failing=0.3)


@pytest.fixture
def bench(engine: Engine) -> FlowBench:
    return FlowBench(engine)


@pytest.fixture
def simulator(platform: Platform) -> Tenant:
    simulator = platform.simulate(OUTLINE)
    for status in ("Error", "Canceled", "TimedOut"):
        simulator.add_execution(status=status)
    simulator.clock.advance(2)
    return simulator


@pytest.fixture
def url(simulator: Tenant) -> Iterator[str]:
    with simulator.serve() as url:
        yield url


def test_a_copy_equals_the_truth_table_for_table(bench: FlowBench, simulator: Tenant, url: str) -> None:
    report = bench.run(simulator, url, page_size=10)
    assert report.is_complete, report
    assert_equal_to_truth(bench, simulator)


def test_a_second_pass_reads_no_steps_again_and_touches_no_row(
    bench: FlowBench, simulator: Tenant, url: str
) -> None:
    simulator.end_all_running()
    simulator.clock.advance(1200)
    bench.run(simulator, url)
    before = bench.fingerprints()
    simulator.clear_requests()
    assert bench.run(simulator, url).is_complete
    assert bench.fingerprints() == before
    assert simulator.counts.keys() <= {"auth", "workflows", "executions"}


def test_what_begins_ends_shows_late_and_is_opened_again_is_followed(
    bench: FlowBench, platform: Platform, simulator: Tenant, url: str
) -> None:
    now_ms = simulator.clock.now_ms()
    simulator.add_execution(created_ms=now_ms - 120_000, visible_ms=now_ms + 100_000)
    first, *_, last = simulator.truth.workflows
    reopened = simulator.add_execution(last).id
    for happens in (
        lambda: None,
        lambda: (simulator.end_all_running("Error"), simulator.edit_workflow(first)),
        lambda: (simulator.add_workflow(), simulator.add_execution(last, status="Running")),
        lambda: simulator.reopen_execution(reopened) if platform.reopens else None,
        simulator.end_all_running,
    ):
        happens()
        simulator.clock.advance(60)
        report = bench.run(simulator, url, page_size=10)
        assert report.is_complete, report
        assert_equal_to_truth(bench, simulator)
    # What has ended and shows no step may show them late: it is asked for again before it is settled.
    simulator.clock.advance(1200)
    bench.end_pauses()
    assert bench.run(simulator, url, page_size=10).is_complete
    assert_equal_to_truth(bench, simulator)
    assert bench.value("SELECT count(*) FROM history.executions WHERE settled_at IS NULL") == 0


def test_what_the_source_deletes_is_kept_and_called_missing(
    bench: FlowBench, simulator: Tenant, url: str
) -> None:
    ended = simulator.add_execution().id
    simulator.clock.advance(2)
    bench.run(simulator, url)
    kept = bench.value("SELECT count(*) FROM history.executions")
    workflow_id = listed(simulator)[-1].id
    running = {each.id: each.workflow_id for each in served(simulator) if each.ended_ms is None}
    gone = next(each for each, parent in running.items() if parent != workflow_id)
    simulator.delete_execution(gone, ended)
    simulator.delete_workflow(workflow_id)
    simulator.clock.advance(60)
    assert bench.run(simulator, url).is_complete
    assert bench.value("SELECT count(*) FROM history.executions") == kept
    assert not any(map(any, differences(bench.engine, simulator).values()))
    missing = {
        row[0]
        for row in bench.rows("SELECT execution_id FROM history.executions WHERE missing_since IS NOT NULL")
    }
    assert missing >= {gone, ended, *(each for each, parent in running.items() if parent == workflow_id)}
    assert bench.rows(
        "SELECT workflow_id, missing_reason FROM history.workflows WHERE missing_since IS NOT NULL"
    ) == [(workflow_id, "workflow_deleted")]


def test_a_token_that_is_revoked_between_pages_is_renewed_and_nothing_is_lost(
    bench: FlowBench, simulator: Tenant, url: str
) -> None:
    pages = 0

    def revoke(_seen: object) -> None:
        nonlocal pages
        pages += 1
        if pages in (2, 5):
            simulator.revoke_tokens()

    simulator.after_page = revoke
    assert bench.run(simulator, url, page_size=7).is_complete
    assert pages >= 5
    assert simulator.counts["auth"] >= 3
    assert_equal_to_truth(bench, simulator)


def test_more_executions_of_one_millisecond_than_a_page_holds_all_land(
    bench: FlowBench, platform: Platform
) -> None:
    simulator = platform.simulate(Outline(workflows=1, executions=60, running=0, tied=50, steps=1))
    with simulator.serve() as url:
        assert bench.run(simulator, url, page_size=10, steps=False).is_complete
    assert bench.value("SELECT count(*) FROM history.executions") == 60


def test_no_planted_secret_reaches_the_database(bench: FlowBench, simulator: Tenant, url: str) -> None:
    bench.run(simulator, url)
    for table in HISTORY:
        found = bench.value(f"SELECT count(*) FROM history.{table} t WHERE t::text LIKE '%{PLANTED_SECRET}%'")
        assert found == 0, table
    assert bench.value("SELECT count(*) FROM history.step_io WHERE redacted_paths <> '{}'") > 0


def test_without_payloads_steps_land_without_them(bench: FlowBench, simulator: Tenant, url: str) -> None:
    bench.run(simulator, url, step_io=False)
    assert bench.value("SELECT count(*) FROM history.step_io") == 0
    assert_equal_to_truth(bench, simulator, payloads=False)


def test_without_steps_executions_are_final_by_themselves(
    bench: FlowBench, simulator: Tenant, url: str
) -> None:
    bench.run(simulator, url, steps=False)
    assert bench.value("SELECT count(*) FROM history.executions WHERE steps_state <> 'off'") == 0
    assert bench.value("SELECT count(*) FROM history.step_events") == 0
    assert bench.rows(
        "SELECT DISTINCT outcome FROM history.executions WHERE settled_at IS NULL ORDER BY 1"
    ) == [("queued",), ("running",)]


def test_settle_holds_back_what_ended_just_now(bench: FlowBench, simulator: Tenant, url: str) -> None:
    execution_id = simulator.add_execution().id
    query = f"SELECT settled_at IS NOT NULL FROM history.executions WHERE execution_id = '{execution_id}'"
    settle = timedelta(minutes=2)
    for seconds, is_settled in ((5, False), (5, False), (200, True)):
        simulator.clock.advance(seconds)
        bench.run(simulator, url, settle=settle)
        assert bench.value(query) is is_settled
