"""Passes over a simulated SecMaster: what its workspaces, its two lists and its topologies can bring about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from syncer.simulator import Answer, Outline, Request
from syncer.simulator.secmaster import Simulator
from tests.integration.flows import assert_equal_to_truth
from tests.torture.hostile import HostileBench


@pytest.fixture
def simulator() -> Simulator:
    return Simulator(Outline(seed=5, workflows=2, executions=8, running=0, steps=2, failing=0, days=20))


@pytest.fixture
def bench(engine: Engine, simulator: Simulator) -> Iterator[HostileBench]:
    with simulator.serve() as url:
        yield HostileBench(engine, simulator, url, page_size=50)


@pytest.mark.parametrize("status", [403, 404])
def test_a_workspace_that_may_not_be_read_stops_no_other_and_its_workflows_are_not_called_deleted(
    bench: HostileBench, simulator: Simulator, status: int
) -> None:
    bench.once()
    closed = simulator.credentials.workspaces[1]

    def refuse(request: Request, answer: Answer) -> Answer:
        is_closed = f"/{closed}/" in request.path
        return Answer(status, b'{"code":"SecMaster.10000403","message":"no"}') if is_closed else answer

    simulator.fault = refuse
    workflows = simulator.truth.workflows.values()
    added = {simulator.workspace_of(each): simulator.add_execution(each.id).id for each in workflows}
    bench.let_pass(60)
    report = bench.once()
    assert report.error is None
    assert {failure.partition for failure in report.failures} == {closed}
    copied = {row[0] for row in bench.rows("SELECT execution_id FROM history.executions")}
    assert {key: each in copied for key, each in added.items()} == {
        each: each != closed for each in simulator.credentials.workspaces
    }
    assert bench.value("SELECT count(*) FROM history.workflows WHERE missing_since IS NOT NULL") == 0
    simulator.fault = None
    bench.let_pass(60)
    assert bench.once().is_complete
    assert bench.value("SELECT count(*) FROM history.executions") == len(simulator.truth.executions)


@pytest.mark.parametrize("count_as", ["page", "absent", "total"])
def test_pages_that_the_server_cuts_lose_no_row_whatever_their_count_counts(
    bench: HostileBench, simulator: Simulator, count_as: Any
) -> None:
    simulator.switches = replace(simulator.switches, page_rows="two", count_as=count_as)
    assert bench.once().is_complete
    assert_equal_to_truth(bench, simulator)


def test_a_quiet_poll_asks_no_more_than_it_must(bench: HostileBench, simulator: Simulator) -> None:
    bench.once()
    bench.let_pass(3700)
    simulator.clear_requests()
    assert bench.once().is_complete
    # A list of workflows, of changes and of a window for each workspace; once, what each of two counts counts.
    assert simulator.counts["workflows"] + simulator.counts["executions"] <= 2 * 3 + 2


def test_what_is_retried_runs_though_it_tells_the_end_it_came_to_before(
    bench: HostileBench, simulator: Simulator
) -> None:
    simulator.switches = replace(simulator.switches, former_end="told")
    oldest = min(simulator.truth.executions.values(), key=lambda each: each.created_ms)
    bench.once()
    simulator.reopen_execution(oldest.id)
    for _ in range(2):
        bench.let_pass(300)
        bench.once(settle=timedelta(minutes=2))
    row = f"SELECT outcome, ended_at, settled_at FROM history.executions WHERE execution_id = '{oldest.id}'"
    assert bench.rows(row) == [("running", None, None)]
    assert bench.value("SELECT count(*) FROM history.running_now") == 1
    simulator.end_execution(oldest.id, "Error")
    bench.let_pass(60)
    assert bench.once().is_complete
    assert_equal_to_truth(bench, simulator)


@pytest.mark.parametrize("lead", [120.0, 3600.0])
def test_what_is_listed_by_its_creation_and_starts_later_is_not_called_gone(
    bench: HostileBench, simulator: Simulator, lead: float
) -> None:
    simulator.switches = replace(simulator.switches, creation_lead=lead)
    for _ in range(5):
        assert bench.once().missing == 0
        for workflow_id in simulator.truth.workflows:
            simulator.add_execution(workflow_id)
            simulator.add_execution(workflow_id, status="Running")
        bench.let_pass(400)
    simulator.end_all_running()
    bench.let_pass(60)
    assert bench.once().is_complete
    assert_equal_to_truth(bench, simulator)


@pytest.mark.parametrize("empty_topology", ["empty", "null", "absent"])
def test_a_topology_that_is_later_than_the_end_is_not_given_up(
    bench: HostileBench, simulator: Simulator, empty_topology: Any
) -> None:
    bench.once()
    simulator.switches = replace(simulator.switches, topology_delay=120.0, empty_topology=empty_topology)
    late = simulator.add_execution().id
    bench.let_pass(5)
    bench.once()
    events = f"SELECT count(*) FROM history.step_events WHERE execution_id = '{late}'"
    assert bench.value(events) == 0
    bench.let_pass(600)
    bench.end_pauses()
    assert bench.once().is_complete
    assert bench.value(events) > 0
    assert_equal_to_truth(bench, simulator)
