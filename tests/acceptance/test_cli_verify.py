"""`syncer verify` as people use it: it finds what was lost and changed by hand, says so, and mends it when told to."""

from __future__ import annotations

import signal
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine

from syncer.simulator import Answer, Outline, Request
from syncer.simulator.qualys_flow import Simulator
from tests.acceptance.conftest import Cli, Counted
from tests.integration.flows import FlowBench, assert_equal_to_truth


@pytest.fixture
def simulator() -> Simulator:
    return Simulator(Outline(workflows=2, executions=24, running=2))


@pytest.fixture
def bench(engine: Engine) -> FlowBench:
    return FlowBench(engine)


@pytest.fixture
def copied(cli: Cli, simulator: Simulator) -> Cli:
    """A command whose warehouse holds all there is."""
    assert cli.run("sync").code == 0
    simulator.requests.clear()
    return cli


@pytest.fixture
def settled(copied: Cli, db: psycopg.Connection[Any]) -> list[str]:
    """Settled executions with steps, oldest first; those the lookback may still hide left out."""
    rows = db.execute(
        "SELECT execution_id FROM history.executions WHERE settled_at IS NOT NULL AND step_count > 1"
        " AND created_at < now() - interval '1 hour' ORDER BY created_at"
    )
    return [execution_id for (execution_id,) in rows]


def found(document: dict[str, Any]) -> dict[str, Any]:
    (connection,) = document["connections"]
    found: dict[str, Any] = connection
    return found


def test_a_true_copy_is_equal_at_the_cost_of_a_few_requests(
    copied: Cli, bench: FlowBench, simulator: Simulator
) -> None:
    before = bench.fingerprints()
    done = copied.run("verify", "--sample", "3", "--json")
    assert done.code == 0, done.out + done.err
    told = found(done.document)
    assert (told["state"], told["differences"], told["not_copied"]) == ("equal", [], [])
    assert told["sampled"] == 3
    assert told["executions"] > 10
    assert told["windows"] == len(simulator.truth.workflows)
    assert told["requests"]["by_endpoint"]["executions"] == told["windows"]
    assert bench.fingerprints() == before


def test_what_was_lost_is_found_and_mended(
    copied: Cli, bench: FlowBench, simulator: Simulator, settled: list[str], db: psycopg.Connection[Any]
) -> None:
    row, steps, payload, column = settled[:4]
    db.execute("DELETE FROM history.executions WHERE execution_id = %s", [row])
    db.execute("DELETE FROM history.steps WHERE execution_id = %s", [steps])
    db.execute(
        "UPDATE history.executions SET message = 'by hand', status = 'Odd' WHERE execution_id = %s", [column]
    )
    db.execute("DELETE FROM history.step_io WHERE execution_id = %s", [payload])
    told = copied.run("verify", "--sample", "1000", "--json")
    assert told.code == 1
    assert {(one["kind"], one["table"], one["identity"]) for one in found(told.document)["differences"]} == {
        ("missing", "executions", row),
        ("steps", "steps", steps),
        ("steps", "step_io", payload),
        ("values", "executions", column),
    }
    (changed,) = (one for one in found(told.document)["differences"] if one["kind"] == "values")
    assert changed["columns"] == ["message", "status"]
    mended = copied.run("verify", "--sample", "1000", "--repair", "--json")
    assert mended.code == 0, mended.out + mended.err
    assert found(mended.document)["state"] == "repaired"
    assert all(one["is_repaired"] for one in found(mended.document)["differences"])
    assert_equal_to_truth(bench, simulator)
    assert found(copied.run("verify", "--sample", "1000", "--json").document)["state"] == "equal"


def test_a_person_is_told_what_differs_and_what_to_do(
    copied: Cli, settled: list[str], db: psycopg.Connection[Any]
) -> None:
    db.execute("UPDATE history.executions SET message = %s WHERE execution_id = %s", ["\x1b[2J", settled[0]])
    db.execute("DELETE FROM history.executions WHERE execution_id = %s", [settled[1]])
    told = copied.run("verify", "--sample", "1000")
    assert told.code == 1
    assert "executions.message" in told.out
    assert "at the source, not in the warehouse" in told.out
    assert "syncer verify --repair" in told.out
    assert "\x1b[2J" not in told.out
    assert "held otherwise than the source lists" in copied.run("status").out
    mended = copied.run("verify", "--repair", "--sample", "1000")
    assert mended.code == 0
    assert "repaired" in mended.out
    assert "held otherwise" not in copied.run("status").out


def test_it_may_be_narrowed(
    copied: Cli, settled: list[str], db: psycopg.Connection[Any], simulator: Simulator
) -> None:
    ((workflow, created_at),) = db.execute(
        "DELETE FROM history.executions WHERE execution_id = %s RETURNING workflow_id, created_at",
        [settled[0]],
    ).fetchall()
    (other,) = simulator.truth.workflows.keys() - {workflow}
    later = (created_at + timedelta(seconds=1)).isoformat()
    narrow = ("verify", "--sample", "0")
    assert copied.run(*narrow, "--workflow", other).code == 0
    assert copied.run(*narrow, "--since", later).code == 0
    assert copied.run(*narrow, "--workflow", workflow).code == 1


def test_what_is_not_copied_yet_is_said_and_is_no_difference(cli: Cli, simulator: Simulator) -> None:
    running = cli.start("sync")
    Counted(simulator, 6, running.kill)
    running.wait()
    simulator.fault = None
    done = cli.run("verify", "--json")
    assert done.code == 0, done.out + done.err
    told = found(done.document)
    assert told["differences"] == []
    assert told["not_copied"]
    assert "not copied yet" in cli.run("verify").out


def test_an_empty_warehouse_and_a_source_that_is_away(cli: Cli, simulator: Simulator) -> None:
    assert cli.run("verify").code == 0
    cli.connections["flow"]["base_url"] = "http://127.0.0.1:1"
    done = cli.run("verify", "--json")
    assert done.code == 3
    assert found(done.document)["error"]["kind"] == "TransientError"
    assert "Traceback" not in done.err


def test_a_window_that_cannot_be_read_is_named_and_not_called_equal(
    copied: Cli, simulator: Simulator
) -> None:
    broken, *_ = simulator.truth.workflows

    def fail(request: Request, answer: Answer) -> Answer:
        return Answer(500) if f"{broken}/executions" in request.path else answer

    simulator.fault = fail
    done = copied.run("verify", "--sample", "0", "--json")
    assert done.code == 1
    told = found(done.document)
    assert told["differences"] == []
    assert broken in told["failures"][0]["partition"]


def test_sigterm_ends_it_in_good_order(copied: Cli, bench: FlowBench, simulator: Simulator) -> None:
    before = bench.fingerprints()
    running = copied.start("verify", "--sample", "1000", "--json")
    Counted(simulator, 6, running.terminate)
    done = running.wait()
    assert done.code == 0
    assert found(done.document)["stopped"] == "stopped by SIGTERM"
    assert bench.fingerprints() == before


@pytest.mark.parametrize("number", [4, 8])
def test_a_repair_that_is_killed_is_done_by_the_next(
    copied: Cli,
    bench: FlowBench,
    simulator: Simulator,
    settled: list[str],
    db: psycopg.Connection[Any],
    number: int,
) -> None:
    db.execute("DELETE FROM history.executions WHERE execution_id = ANY(%s)", [settled[:3]])
    running = copied.start("verify", "--repair")
    Counted(simulator, number, running.kill)
    assert running.wait().code == -signal.SIGKILL
    simulator.fault = None
    assert copied.run("verify", "--repair").code == 0
    assert copied.run("sync").code == 0
    assert_equal_to_truth(bench, simulator)
