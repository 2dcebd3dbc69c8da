"""Full passes over the simulated Qualys Flow, over a socket, into a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from email.utils import formatdate

import pytest
from sqlalchemy import Engine

from syncer.simulator import Answer, Outline, Request
from syncer.simulator.qualys_flow import Simulator, Switches
from tests.integration.flows import FlowBench, assert_equal_to_truth, expected


@pytest.fixture
def bench(engine: Engine) -> FlowBench:
    return FlowBench(engine)


@pytest.fixture
def simulator() -> Simulator:
    return Simulator(Outline(workflows=3, executions=40, running=4, loops=True))


@pytest.fixture
def url(simulator: Simulator) -> Iterator[str]:
    with simulator.serve() as url:
        yield url


def test_a_second_pass_reads_little_and_touches_no_row(
    bench: FlowBench, simulator: Simulator, url: str
) -> None:
    bench.run(simulator, url)
    before = bench.fingerprints()
    simulator.clear_requests()
    assert bench.run(simulator, url).is_complete
    assert bench.fingerprints() == before
    running = sum(execution.ended_ms is None for execution in expected(simulator))
    assert simulator.counts["steps"] == 0
    assert simulator.counts["workflows"] + simulator.counts["executions"] + simulator.counts["execution"] <= (
        1 + 3 + running
    )


def test_five_thousand_executions_with_eight_step_events_each_equal_the_truth(bench: FlowBench) -> None:
    simulator = Simulator(Outline(workflows=5, executions=1000, steps=4, running=5))
    with simulator.serve() as url:
        assert bench.run(simulator, url).is_complete
        assert_equal_to_truth(bench, simulator)
        assert simulator.counts["steps"] == 5000
        assert simulator.counts["executions"] <= 5 * (1000 // 100 + 2)
        before = bench.fingerprints()
        simulator.clear_requests()
        assert bench.run(simulator, url).is_complete
        assert simulator.counts["steps"] == 0
        assert len(simulator.requests) <= 1 + 1 + 5 + 5  # sign-in, workflows, a page each, the open set
        assert bench.fingerprints() == before


def test_five_hundred_executions_of_one_millisecond_all_land(bench: FlowBench) -> None:
    simulator = Simulator(Outline(workflows=1, executions=520, running=0, tied=500, steps=1))
    with simulator.serve() as url:
        assert bench.run(simulator, url, page_size=50, steps=False).is_complete
    assert bench.value("SELECT count(*) FROM history.executions") == 520


@pytest.mark.parametrize(
    "switches",
    [
        Switches(),
        Switches(honour_order=False),
        Switches(max_page_size="clamp", page_cap=7),
        Switches(honour_order=False, max_page_size="clamp", page_cap=7),
        Switches(honour_start_at=False),
    ],
    ids=["as asked", "order ignored", "page clamped", "order ignored and page clamped", "start ignored"],
)
def test_rows_deleted_after_every_page_cost_nothing_else(bench: FlowBench, switches: Switches) -> None:
    simulator = Simulator(Outline(workflows=1, executions=300, running=0, steps=1), switches=switches)
    victims = [e.id for e in sorted(expected(simulator), key=lambda e: e.created_ms)][:100]

    def delete_ten(_seen: object) -> None:
        simulator.delete_execution(*[victims.pop() for _ in range(min(10, len(victims)))])

    simulator.after_page = delete_ten
    with simulator.serve() as url:
        bench.run(simulator, url, page_size=25, steps=False)
        bench.run(simulator, url, page_size=25, steps=False)
    stored = {row[0] for row in bench.rows("SELECT execution_id FROM history.executions")}
    assert {execution.id for execution in expected(simulator)} <= stored


def test_an_edited_workflow_keeps_both_revisions_and_the_dropped_node(
    bench: FlowBench, simulator: Simulator, url: str
) -> None:
    bench.run(simulator, url)
    workflow_id = next(iter(simulator.truth.workflows))
    simulator.edit_workflow(workflow_id)
    bench.run(simulator, url)
    assert bench.value(
        f"SELECT count(*) FROM history.workflow_revisions WHERE workflow_id = '{workflow_id}'"
    ) == len(simulator.truth.workflows[workflow_id].revisions)
    assert bench.value("SELECT count(*) FROM history.workflow_nodes WHERE removed_at IS NOT NULL") >= 1


def test_variables_are_copied_when_asked_for(bench: FlowBench, simulator: Simulator, url: str) -> None:
    bench.run(simulator, url, variables=True)
    stored = dict(
        bench.rows("SELECT execution_id, variables FROM history.executions WHERE settled_at IS NOT NULL")
    )
    assert stored
    assert stored == {
        execution.id: execution.variables for execution in expected(simulator) if execution.id in stored
    }


def test_what_ran_before_its_workflow_was_deleted_is_copied_while_it_is_served(bench: FlowBench) -> None:
    simulator = Simulator(
        Outline(workflows=2, executions=14, running=2), switches=Switches(gone_workflow="executions_served")
    )
    with simulator.serve() as url:
        bench.run(simulator, url)
        workflow_id = next(iter(simulator.truth.workflows))
        execution = simulator.add_execution(workflow_id)
        simulator.clock.advance(5)
        simulator.delete_workflow(workflow_id)
        assert bench.run(simulator, url).is_complete
        simulator.clear_requests()
        bench.run(simulator, url)
        assert simulator.counts["executions"] == 1, "a deleted workflow is read once more, not for ever"
    assert bench.rows(
        f"SELECT steps_state, missing_since FROM history.executions WHERE execution_id = '{execution.id}'"
    ) == [("read", None)]


def test_a_date_that_is_ahead_of_what_creates_costs_no_row(
    bench: FlowBench, simulator: Simulator, url: str
) -> None:
    """A gateway with a wrong clock stands in front."""

    def ahead(_request: Request, answer: Answer) -> Answer:
        shown = formatdate(simulator.clock.now_ms() / 1000 + 3600, usegmt=True)
        return replace(answer, headers=(*answer.headers, ("Date", shown)))

    simulator.switches = replace(simulator.switches, date_header=False)
    simulator.fault = ahead
    for _ in range(3):
        assert bench.run(simulator, url, lookback=timedelta(seconds=1)).is_complete
        simulator.add_execution()
    bench.run(simulator, url, lookback=timedelta(seconds=1))
    assert bench.value("SELECT count(*) FROM history.executions") == len(simulator.truth.executions)
