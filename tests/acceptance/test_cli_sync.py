"""`syncer sync` as people and cron use it: complete, in time, honest about what it did, and never harmed by its end."""

from __future__ import annotations

import json
import signal
from itertools import count
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine

from syncer.simulator import Answer, Outline, Request
from syncer.simulator.qualys_flow import Simulator, Switches
from tests.acceptance.conftest import Cli, Counted
from tests.integration.flows import FlowBench, assert_equal_to_truth


@pytest.fixture
def bench(engine: Engine) -> FlowBench:
    return FlowBench(engine)


def test_a_pass_copies_everything_and_says_so(cli: Cli, bench: FlowBench, simulator: Simulator) -> None:
    done = cli.run("sync")
    assert done.code == 0, done.err
    assert "done" in done.out
    assert str(len(simulator.truth.executions)) in done.out
    assert_equal_to_truth(bench, simulator)


def test_json_is_one_document_with_the_figures(cli: Cli, simulator: Simulator) -> None:
    done = cli.run("sync", "--json")
    assert done.code == 0, done.err
    (pass_,) = done.document["connections"]
    assert (pass_["connection"], pass_["state"], pass_["error"]) == ("flow", "done", None)
    assert pass_["rows"]["executions"] == len(simulator.truth.executions)
    assert pass_["rows"]["step_events"] == len(list(simulator.truth.events))
    assert pass_["requests"]["total"] == len(simulator.requests)
    assert pass_["requests"]["by_endpoint"]["steps"] == simulator.counts["steps"]


def test_every_connection_is_copied_and_one_that_fails_stops_no_other(
    cli: Cli, bench: FlowBench, simulator: Simulator, url: str
) -> None:
    cli.connect("away", simulator, "http://127.0.0.1:1")
    done = cli.run("sync", "--json")
    assert done.code == 1
    states = {each["connection"]: each["state"] for each in done.document["connections"]}
    assert states == {"flow": "done", "away": "failed"}
    assert "error: away: " in done.err
    assert bench.value("SELECT count(*) FROM history.executions WHERE connection_id = 'flow'") == len(
        simulator.truth.executions
    )
    assert bench.rows("SELECT connection_id, state FROM syncer.runs ORDER BY 1") == [
        ("away", "failed"),
        ("flow", "done"),
    ]


def test_a_pass_can_be_narrowed_to_connections_and_workflows(
    cli: Cli, bench: FlowBench, simulator: Simulator, url: str
) -> None:
    cli.connect("other", simulator, url)
    wanted, *_others = simulator.truth.workflows.values()
    assert cli.run("sync", "--connection", "other", "--workflow", f"{wanted.name[:12]}*").code == 0
    assert bench.rows("SELECT DISTINCT connection_id, workflow_id FROM history.executions") == [
        ("other", wanted.id)
    ]


def test_what_one_run_could_not_do_the_next_one_does(
    cli: Cli, bench: FlowBench, simulator: Simulator
) -> None:
    broken = next(iter(simulator.truth.executions))

    def fail(request: Request, answer: Answer) -> Answer:
        return Answer(500) if broken in request.path else answer

    simulator.fault = fail
    done = cli.run("sync", "--json")
    assert done.code == 1
    (pass_,) = done.document["connections"]
    assert pass_["state"] == "partial"
    assert broken in pass_["failures"][0]["partition"]
    simulator.fault = None
    with bench.engine.begin() as session:
        session.exec_driver_sql("UPDATE history.executions SET _steps_retry_at = NULL")
    assert cli.run("sync").code == 0
    assert_equal_to_truth(bench, simulator)


def test_a_disputed_total_makes_a_pass_done_in_part(cli: Cli, simulator: Simulator) -> None:
    def exaggerate(request: Request, answer: Answer) -> Answer:
        if not request.path.endswith("/executions"):
            return answer
        page = json.loads(answer.body)
        page["total"] = int(page["total"]) + 1
        return Answer(answer.status, json.dumps(page).encode(), answer.content_type, answer.headers)

    simulator.fault = exaggerate
    done = cli.run("sync", "--json")
    assert done.code == 1
    assert done.document["connections"][0]["disputed"] > 0


@pytest.mark.parametrize("after", [1, 2, 4, 7, 12, 20, 33, 54, 88])
def test_a_process_killed_anywhere_costs_nothing_but_the_work_in_hand(
    cli: Cli, bench: FlowBench, simulator: Simulator, after: int
) -> None:
    running = cli.start("sync")
    Counted(simulator, after, running.kill)
    assert running.wait().code == -signal.SIGKILL
    simulator.fault = None
    done = cli.run("sync")
    assert done.code == 0, done.err
    assert_equal_to_truth(bench, simulator)


@pytest.mark.parametrize("after", [1, 3, 30])
def test_sigterm_ends_a_pass_in_good_order(
    cli: Cli, bench: FlowBench, simulator: Simulator, after: int
) -> None:
    running = cli.start("sync", "--json")
    Counted(simulator, after, running.terminate)
    done = running.wait()
    assert done.code == 0, done.err
    assert done.document["connections"][0]["state"] == "stopped"
    assert len(simulator.requests) <= after + 8, "requests went on after the signal"
    assert bench.value("SELECT count(*) FROM syncer.leases WHERE owner IS NOT NULL") == 0
    simulator.fault = None
    assert cli.run("sync").code == 0
    assert_equal_to_truth(bench, simulator)


def test_ctrl_c_leaves_with_130(cli: Cli, simulator: Simulator) -> None:
    running = cli.start("sync", "--json")
    Counted(simulator, 5, lambda: running.signal(signal.SIGINT))
    done = running.wait()
    assert done.code == 130
    assert done.document["connections"][0]["stopped"] == "stopped by SIGINT"
    assert "Traceback" not in done.err


def test_a_source_that_never_answers_does_not_hold_a_process_that_is_told_to_stop(
    cli: Cli, simulator: Simulator
) -> None:
    cli.connections["flow"]["timeout"] = "1h"
    running = cli.start("sync", "--json")

    def hang(request: Request, answer: Answer) -> Answer:
        if "/executions" not in request.path:
            return answer
        running.terminate()
        return Answer(conduct="silent")

    simulator.fault = hang
    done = running.wait()
    assert done.code == 0
    assert done.document["connections"][0]["state"] == "stopped"


def test_a_warehouse_that_never_answers_does_not_hold_it_either(
    cli: Cli, simulator: Simulator, db: psycopg.Connection[Any]
) -> None:
    running = cli.start("sync")

    def lock() -> None:
        db.execute("BEGIN; LOCK TABLE history.executions IN ACCESS EXCLUSIVE MODE")
        running.terminate()

    Counted(simulator, 10, lock)
    assert running.wait().code == 0
    db.execute("ROLLBACK")
    simulator.fault = None
    assert cli.run("sync").code == 0


def test_a_source_that_asks_to_wait_longer_than_there_is_time_ends_the_pass(
    bare: Cli, bench: FlowBench
) -> None:
    simulator = Simulator(Outline(workflows=2, executions=20), switches=Switches(rate_limit=15))
    with simulator.serve() as url:
        bare.connect("flow", simulator, url, max_concurrency=1)
        first = bare.run("sync", "--for", "60s", "--json")
        second = bare.run("sync", "--for", "60s", "--json")
    assert (first.code, second.code) == (1, 1)
    (pass_,) = first.document["connections"]
    assert pass_["state"] == "stopped"
    assert pass_["waits"] == 1
    assert pass_["waiting_until"]
    assert simulator.impolite == 0
    assert second.document["connections"][0]["requests"]["total"] == 0, (
        "a wait holds for the next process, too"
    )


def test_time_that_is_over_stops_a_pass_that_could_go_on(cli: Cli, simulator: Simulator) -> None:
    def slowly(_request: Request, answer: Answer) -> Answer:
        return Answer(answer.status, answer.body, answer.content_type, answer.headers, delay=0.3)

    simulator.fault = slowly
    done = cli.run("sync", "--for", "2s", "--json")
    assert done.code == 1
    assert done.document["connections"][0]["stopped"] == "the time given is over"


def test_a_wait_that_ends_in_time_is_waited_out(cli: Cli, bench: FlowBench, simulator: Simulator) -> None:
    turns = count(1)

    def limits(request: Request, answer: Answer) -> Answer:
        is_limited = request.path.endswith("/executions") and next(turns) in (2, 5)
        return Answer(429, headers=(("Retry-After", "1"),)) if is_limited else answer

    simulator.fault = limits
    done = cli.run("sync", "--json")
    assert done.code == 0, done.err
    assert done.document["connections"][0]["waits"] > 0
    assert_equal_to_truth(bench, simulator)


def test_two_processes_at_once_share_the_work(cli: Cli, bench: FlowBench, simulator: Simulator) -> None:
    passes = [cli.start("sync"), cli.start("sync")]
    assert [each.wait().code for each in passes] == [0, 0]
    assert_equal_to_truth(bench, simulator)


def test_history_lost_at_the_source_is_said_aloud(
    cli: Cli, simulator: Simulator, db: psycopg.Connection[Any]
) -> None:
    assert cli.run("sync").code == 0
    db.execute("UPDATE syncer.watermarks SET watermark_at = watermark_at - interval '40 days'")
    assert cli.run("sync").out.count("LOST") == len(simulator.truth.workflows)
