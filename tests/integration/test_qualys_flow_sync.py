"""Full passes over the simulated Qualys Flow, over a socket, into a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from email.utils import formatdate
from typing import Any

import pytest
from sqlalchemy import Engine

from syncer.simulator import Answer, Outline, Request
from syncer.simulator.qualys_flow import SWITCHES, Simulator, Switches
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


def test_a_copy_equals_the_truth_table_for_table(bench: FlowBench, simulator: Simulator, url: str) -> None:
    report = bench.run(simulator, url)
    assert report.is_complete, report
    assert_equal_to_truth(bench, simulator)


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


@pytest.mark.parametrize(
    ("switch", "reading"), [(name, reading) for name, readings in SWITCHES.items() for reading in readings]
)
def test_every_reading_of_the_documents_gives_the_same_copy(
    bench: FlowBench, switch: str, reading: Any
) -> None:
    simulator = Simulator(
        Outline(workflows=2, executions=14, running=2, tied=5),
        switches=replace(Switches(), **{switch: reading}),
    )
    # Without a Date header the source's now is ours less the lookback: the newest rows would come one lookback later.
    lookback = timedelta(0) if reading is False and switch == "date_header" else timedelta(minutes=15)
    with simulator.serve() as url:
        report = bench.run(simulator, url, page_size=10, lookback=lookback)
        assert not report.failures, report
        assert report.error is None
        if not simulator.switches.running_steps_served:
            simulator.end_all_running()
            simulator.clock.advance(60)
            assert bench.run(simulator, url, page_size=10).is_complete
        assert_equal_to_truth(bench, simulator)


def test_running_executions_are_final_after_they_end(bench: FlowBench) -> None:
    simulator = Simulator(Outline(workflows=2, executions=60, running=40))
    with simulator.serve() as url:
        bench.run(simulator, url)
        simulator.end_all_running()
        simulator.clock.advance(300)
        report = bench.run(simulator, url)
        assert report.is_complete, report
        assert_equal_to_truth(bench, simulator)
    assert bench.value("SELECT count(*) FROM history.executions WHERE settled_at IS NULL") == 0


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


def test_late_rows_changed_rows_and_deleted_rows_are_all_noticed(
    bench: FlowBench, simulator: Simulator, url: str
) -> None:
    now = simulator.clock.now_ms()
    late = simulator.add_execution(created_ms=now - 120_000, visible_ms=now + 300_000)
    bench.run(simulator, url)
    simulator.clock.advance(400)
    simulator.add_execution()
    simulator.clock.advance(5)
    assert bench.run(simulator, url).is_complete
    assert bench.rows(f"SELECT 1 FROM history.executions WHERE execution_id = '{_id(late)}'")
    assert_equal_to_truth(bench, simulator)


def _id(execution: object) -> str:
    return str(getattr(execution, "id", execution))


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


def test_a_token_revoked_in_the_middle_is_renewed_and_nothing_is_lost(
    bench: FlowBench, simulator: Simulator, url: str
) -> None:
    seen = 0

    def revoke(_seen: object) -> None:
        nonlocal seen
        seen += 1
        if seen in (2, 5):
            simulator.revoke_tokens()

    simulator.after_page = revoke
    assert bench.run(simulator, url).is_complete
    assert_equal_to_truth(bench, simulator)


def test_a_rate_limit_is_waited_out(bench: FlowBench) -> None:
    simulator = Simulator(
        Outline(workflows=1, executions=30, running=0), switches=Switches(rate_limit=20, rate_window=2.0)
    )
    with simulator.serve() as url:
        assert bench.run(simulator, url, max_concurrency=1).is_complete
        assert_equal_to_truth(bench, simulator)
    assert simulator.impolite == 0


def test_variables_are_copied_when_asked_for(bench: FlowBench, simulator: Simulator, url: str) -> None:
    bench.run(simulator, url, variables=True)
    stored = dict(
        bench.rows("SELECT execution_id, variables FROM history.executions WHERE settled_at IS NOT NULL")
    )
    assert stored
    assert stored == {
        execution.id: execution.variables for execution in expected(simulator) if execution.id in stored
    }


def test_without_payloads_or_steps_nothing_of_them_is_asked_or_kept(
    bench: FlowBench, simulator: Simulator, url: str
) -> None:
    bench.run(simulator, url, step_io=False)
    assert bench.value("SELECT count(*) FROM history.step_io") == 0
    assert bench.value("SELECT count(*) FROM history.steps") > 0


def test_steps_turned_off_settle_executions_by_themselves(
    bench: FlowBench, simulator: Simulator, url: str
) -> None:
    bench.run(simulator, url, steps=False)
    assert simulator.counts["steps"] == 0
    assert bench.value("SELECT count(*) FROM history.executions WHERE steps_state <> 'off'") == 0
    assert (
        bench.value(
            "SELECT count(*) FROM history.executions WHERE outcome <> 'running' AND settled_at IS NULL"
        )
        == 0
    )


def test_no_planted_secret_reaches_the_database(bench: FlowBench, simulator: Simulator, url: str) -> None:
    from syncer.simulator import PLANTED_SECRET

    bench.run(simulator, url)
    for table in (
        "executions",
        "workflows",
        "workflow_revisions",
        "workflow_nodes",
        "step_events",
        "step_io",
    ):
        found = bench.value(f"SELECT count(*) FROM history.{table} t WHERE t::text LIKE '%{PLANTED_SECRET}%'")
        assert found == 0, table
    assert bench.value("SELECT count(*) FROM history.step_io WHERE redacted_paths <> '{}'") > 0


def test_settle_holds_back_what_ended_just_now(bench: FlowBench, simulator: Simulator, url: str) -> None:
    execution = simulator.add_execution()
    bench.run(simulator, url, settle=timedelta(minutes=2))
    query = f"SELECT settled_at FROM history.executions WHERE execution_id = '{_id(execution)}'"
    simulator.clock.advance(5)
    bench.run(simulator, url, settle=timedelta(minutes=2))
    assert bench.value(query) is None
    simulator.clock.advance(200)
    bench.run(simulator, url, settle=timedelta(minutes=2))
    assert bench.value(query) is not None


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
