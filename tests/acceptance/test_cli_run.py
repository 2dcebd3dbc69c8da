"""`syncer run` as people live with it: it keeps copying, outlives what fails, and ends when it is told to."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, create_engine

from syncer.embedded import EmbeddedServer
from syncer.simulator import Answer, Outline, Request
from syncer.simulator.qualys_flow import Simulator, Switches
from tests.acceptance.conftest import Cli, Configuration
from tests.acceptance.service import eventually, running
from tests.integration.flows import FlowBench, assert_equal_to_truth, expected
from tests.servers import temporary_folder, temporary_server


@pytest.fixture
def bench(engine: Engine) -> FlowBench:
    return FlowBench(engine)


@pytest.fixture
def often(cli: Cli) -> Cli:
    """A service that polls its simulator every second."""
    cli.service = {"listen": "", "log_format": "json"}
    cli.connections["flow"]["poll"] = "1s"
    return cli


def equals_truth(bench: FlowBench, simulator: Simulator) -> bool:
    assert_equal_to_truth(bench, simulator)
    return True


def count(bench: FlowBench, connection: str = "flow") -> int:
    return int(bench.value(f"SELECT count(*) FROM history.executions WHERE connection_id = '{connection}'"))


def test_it_copies_history_and_whatever_happens_later(
    often: Cli, bench: FlowBench, simulator: Simulator
) -> None:
    with running(often) as service:
        eventually(lambda: equals_truth(bench, simulator), "the first copy")
        simulator.add_execution(status="Error")
        running_one = simulator.add_execution(status="Running")
        eventually(lambda: count(bench) == len(simulator.truth.executions), "the new executions")
        simulator.end_all_running()
        eventually(lambda: equals_truth(bench, simulator), "what ended")
        settled = f"SELECT settled_at FROM history.executions WHERE execution_id = '{running_one.id}'"
        eventually(lambda: bench.value(settled), "the settled execution")
        assert service.end() == 0
    assert bench.value("SELECT count(*) FROM syncer.leases WHERE owner IS NOT NULL") == 0
    assert bench.value("SELECT count(*) FROM syncer.runs WHERE command = 'run' AND state = 'done'") > 1


def test_a_poll_where_nothing_changed_asks_for_the_workflows_alone(
    often: Cli, bench: FlowBench, simulator: Simulator
) -> None:
    simulator.end_all_running()
    with running(often) as service:
        eventually(lambda: equals_truth(bench, simulator), "the first copy")
        eventually(
            lambda: bench.value("SELECT count(*) FROM history.executions WHERE settled_at IS NULL") == 0
        )
        simulator.clear_requests()
        eventually(lambda: simulator.counts["workflows"] >= 4, "more polls")
        assert set(simulator.counts) <= {"workflows", "auth"}
        assert service.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_good_order_in_the_middle_of_work(
    often: Cli, bench: FlowBench, simulator: Simulator, number: signal.Signals
) -> None:
    with running(often) as service:
        eventually(lambda: simulator.counts["steps"] > 5, "work")
        assert service.end(number) == (0 if number is signal.SIGTERM else 130)
    assert bench.value("SELECT count(*) FROM syncer.leases WHERE owner IS NOT NULL") == 0
    with running(often) as service:
        eventually(lambda: equals_truth(bench, simulator), "the rest")
        assert service.end() == 0


def test_a_source_that_never_answers_does_not_hold_it(often: Cli, simulator: Simulator) -> None:
    often.connections["flow"]["timeout"] = "1h"
    asked: list[Request] = []

    def hang(request: Request, answer: Answer) -> Answer:
        asked.append(request)
        return Answer(conduct="silent")

    simulator.fault = hang
    with running(often) as service:
        eventually(lambda: asked, "a request")
        assert service.end() == 0


def test_a_connection_that_waits_delays_no_other_and_does_not_hold_the_end(
    often: Cli, bench: FlowBench, simulator: Simulator
) -> None:
    limited = Simulator(Outline(workflows=2, executions=20), switches=Switches(rate_limit=5))
    with limited.serve() as url:
        often.connect("limited", limited, url, poll="1s", max_concurrency=1)
        with running(often) as service:
            service.await_event("waiting", connection="limited")
            eventually(lambda: count(bench) == len(simulator.truth.executions), "the other connection")
            simulator.add_execution()
            eventually(lambda: count(bench) == len(simulator.truth.executions), "its next poll")
            assert service.end() == 0
        assert len(service.told("waiting")) == 1, "one line a wait, not one a lane or poll"
        assert limited.impolite == 0
        asked = len(limited.requests)
        with running(often) as service:
            service.await_event("waiting", connection="limited")
            assert service.end() == 0
        assert len(limited.requests) == asked, "a wait holds over a restart"


def test_a_connection_that_fails_delays_no_other_and_is_told_once(
    often: Cli, bench: FlowBench, simulator: Simulator
) -> None:
    other = Simulator(Outline(workflows=1, executions=5))
    with other.serve() as url:
        often.connect("other", other, url, poll="1s")
        other.fault = lambda _request, _answer: Answer(503)
        with running(often) as service:
            service.await_event("failing", connection="other")
            eventually(lambda: count(bench) == len(simulator.truth.executions), "the other connection")
            asked = len(other.requests)
            eventually(lambda: len(other.requests) > asked, "another try")
            assert len(service.told("failing")) == 1
            other.fault = None
            service.await_event("recovered", connection="other")
            eventually(lambda: count(bench, "other") == len(other.truth.executions), "its copy")
            assert service.end() == 0
        assert len(service.told("failing")) == len(service.told("recovered")) == 1


def test_refused_credentials_are_not_tried_again_and_again(
    often: Cli, bench: FlowBench, simulator: Simulator, url: str
) -> None:
    often.env["WRONG"] = "not the password"
    often.connect("refused", simulator, url, poll="1s")
    auth = {"mode": "password", "username": "api-user", "password": {"env": "WRONG"}}
    often.connections["refused"]["auth"] = auth
    with running(often) as service:
        service.await_event("failing", connection="refused")
        eventually(lambda: simulator.counts["workflows"] > 5, "polls of the other")
        assert len(service.told("failing")) == 1
        assert service.end() == 0
    refusals = [seen for seen in simulator.requests if seen.endpoint == "auth" and seen.status == 401]
    assert len(refusals) == 1


def test_a_part_that_fails_is_told_once_and_the_rest_is_copied(
    often: Cli, bench: FlowBench, simulator: Simulator
) -> None:
    first, *_others = simulator.truth.workflows
    broken = f"/workflows/{first}/executions"

    def fail(request: Request, answer: Answer) -> Answer:
        return Answer(500) if broken in request.path else answer

    simulator.fault = fail
    rest = [each for each in expected(simulator) if each.workflow_id != first]
    with running(often) as service:
        service.await_event("failed", partition=first)
        eventually(lambda: count(bench) == len(rest), "the rest")
        polls = simulator.counts["workflows"]
        eventually(lambda: simulator.counts["workflows"] > polls + 2, "more polls")
        assert len(service.told("failed")) == 1
        simulator.fault = None
        service.await_event("recovered", lane="poll")
        eventually(lambda: equals_truth(bench, simulator), "all")
        assert service.end() == 0


def test_a_wrong_connection_is_told_and_the_others_run(
    often: Cli, bench: FlowBench, simulator: Simulator, url: str
) -> None:
    often.connect("wrong", simulator, url, poll="5 minutes")
    with running(often) as service:
        service.await_event("not polled", connection="wrong")
        eventually(lambda: equals_truth(bench, simulator), "the other")
        assert service.end() == 0
    assert "connections.wrong.poll" in str(service.told("not polled"))


def test_a_configuration_without_a_usable_connection_ends_it_at_once(
    often: Cli, simulator: Simulator, url: str
) -> None:
    often.connections.clear()
    often.connect("wrong", simulator, url, poll="5 minutes")
    done = often.run("run")
    assert done.code == 2
    assert "connections.wrong.poll" in done.err


def test_sighup_takes_over_what_changed_and_says_why_where_it_cannot(
    often: Cli, bench: FlowBench, simulator: Simulator, url: str
) -> None:
    # A secret that the service is to find in its environment must be there from the beginning.
    often.connect("second", simulator, url, poll="1s")
    second = often.connections.pop("second")
    with running(often) as service:
        eventually(lambda: equals_truth(bench, simulator), "the first copy")
        often.file.write_text("this is not TOML")
        service.reload()
        service.await_event("not reloaded")
        simulator.add_execution()
        eventually(lambda: count(bench) == len(simulator.truth.executions), "polls go on")
        often.connections["second"] = second
        often.write()
        service.reload()
        service.await_event("reloaded", connections=2)
        eventually(lambda: count(bench, "second") == len(simulator.truth.executions), "the new connection")
        del often.connections["flow"]
        often.write()
        service.reload()
        service.await_event("reloaded", connections=1)
        before = count(bench)
        simulator.add_execution()
        eventually(lambda: count(bench, "second") == len(simulator.truth.executions), "its polls")
        assert count(bench) == before, "a connection taken out is polled no more"
        assert service.end() == 0


def test_a_name_that_stands_for_another_tenant_is_told_and_not_polled(
    often: Cli, bench: FlowBench, simulator: Simulator
) -> None:
    with running(often) as service:
        eventually(lambda: equals_truth(bench, simulator), "the first copy")
        assert service.end() == 0
    moved = Simulator(Outline(workflows=1, executions=3))
    with moved.serve() as url:
        often.connections["flow"]["base_url"] = url
        with running(often) as service:
            service.await_event("failing", connection="flow")
            assert service.end() == 0
        assert not moved.requests
    assert "two tenants must not be mixed" in str(service.told("failing"))


def test_it_outlives_a_warehouse_that_is_away_at_the_start_and_later(
    tmp_path: Path, simulator: Simulator, url: str
) -> None:
    with temporary_server() as postgres:
        address = postgres.start()
        cli = Configuration(tmp_path, address)
        cli.service = {"listen": "", "log_format": "json"}
        cli.connect("flow", simulator, url, poll="1s")
        engine = create_engine(address.replace("postgresql://", "postgresql+psycopg://"))
        bench = FlowBench(engine)
        postgres.stop()
        with running(cli) as service:
            service.await_event("no warehouse")
            postgres.start()
            service.await_event("started")
            eventually(lambda: equals_truth(bench, simulator), "the first copy")
            engine.dispose()
            postgres.stop()
            service.await_event("failing", connection="flow")
            simulator.add_execution()
            postgres.start()
            service.await_event("recovered")
            eventually(lambda: equals_truth(bench, simulator), "what came meanwhile")
            engine.dispose()
            assert service.end() == 0
        assert len(service.told("no warehouse")) == 1
        assert len(service.told("failing")) == 1, service.events


def test_a_second_process_takes_over_from_one_that_was_killed(
    often: Cli, bench: FlowBench, simulator: Simulator
) -> None:
    with running(often) as first, running(often) as second:
        eventually(lambda: simulator.counts["steps"] > 5, "work")
        first.kill()
        eventually(lambda: equals_truth(bench, simulator), "the rest")
        simulator.add_execution()
        eventually(lambda: equals_truth(bench, simulator), "what came later")
        assert second.end() == 0


def test_processes_share_the_polls(often: Cli, bench: FlowBench, simulator: Simulator) -> None:
    often.connections["flow"]["poll"] = "3s"
    simulator.end_all_running()
    with running(often) as first, running(often) as second:
        eventually(lambda: equals_truth(bench, simulator), "the first copy")
        assert first.end() == second.end() == 0
    reads = [seen.query.get("startAt") for seen in simulator.requests if seen.endpoint == "steps"]
    assert len(reads) == len(simulator.truth.executions), "no steps are read by both"


def test_an_embedded_server_that_was_killed_is_started_again(
    tmp_path: Path, simulator: Simulator, url: str
) -> None:
    with temporary_folder() as folder:
        cli = Configuration(tmp_path, "embedded")
        cli.warehouse["data_dir"] = str(folder / "warehouse")
        cli.service = {"listen": "", "log_format": "json"}
        cli.connect("flow", simulator, url, poll="1s")
        postgres = EmbeddedServer(folder / "warehouse")
        try:
            with running(cli) as service:
                service.await_event("started")
                eventually(lambda: simulator.counts["steps"] > 3, "work")
                os.kill(int((postgres.home / "postgresql" / "postmaster.pid").read_text().split()[0]), 9)
                service.await_event("failing")
                service.await_event("recovered")
                assert service.end() == 0
        finally:
            postgres.stop()
            shutil.rmtree(postgres.home, ignore_errors=True)


def test_it_tells_where_it_listens_and_answers_there(often: Cli, simulator: Simulator) -> None:
    often.service["listen"] = "127.0.0.1:0"
    with running(often) as service:
        service.await_event("listening")
        service.await_event("started")
        (told,) = service.told("listening")
        assert httpx.get(f"{told['address']}/healthz").status_code == 200
        eventually(lambda: httpx.get(f"{told['address']}/readyz").status_code == 200)
        eventually(
            lambda: (
                'syncer_connection_up{connection="flow"} 1.0' in httpx.get(f"{told['address']}/metrics").text
            )
        )
        assert service.end() == 0


def test_a_taken_port_is_a_warning(often: Cli, simulator: Simulator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        often.service["listen"] = f"127.0.0.1:{taken.getsockname()[1]}"
        with running(often) as service:
            service.await_event("not listening")
            eventually(lambda: simulator.counts["steps"] > 3, "work")
            assert service.end() == 0
