"""The simulator over a real socket: what a client gets to see, faults included."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest

from syncer.simulator import Answer, Clock, Outline, Request
from syncer.simulator.qualys_flow import Simulator, Switches
from syncer.simulator.server import serving

WORKFLOWS = "/qflowapi/v1/workflows?pageSize=10&pageNumber=1"
NOON = datetime(2026, 3, 18, 12, tzinfo=UTC)


@pytest.fixture
def simulator() -> Simulator:
    return Simulator(Outline(workflows=2, executions=5, running=0), clock=Clock(NOON, frozen=True))


@pytest.fixture
def client(simulator: Simulator) -> Iterator[httpx.Client]:
    token = simulator.issue_token()
    with (
        simulator.serve() as url,
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False) as client,
    ):
        yield client


def test_a_whole_log_in_and_list_pass_over_the_wire(simulator: Simulator, client: httpx.Client) -> None:
    known = simulator.credentials
    form = {"username": known.username, "password": known.password, "token": "true"}
    token = client.post("/auth", data=form).text
    answer = client.get(WORKFLOWS, headers={"Authorization": f"Bearer {token}"})
    assert answer.headers["content-type"] == "application/json"
    assert {item["id"] for item in answer.json()["items"]} == simulator.truth.workflows.keys()


def test_the_date_is_the_simulators(simulator: Simulator, client: httpx.Client) -> None:
    simulator.clock.advance(3.9)
    assert client.get(WORKFLOWS).headers["date"] == "Wed, 18 Mar 2026 12:00:03 GMT"
    simulator.switches = Switches(date_header=False)
    assert "date" not in client.get(WORKFLOWS).headers


def test_a_connection_is_kept_alive(client: httpx.Client) -> None:
    ports = {
        client.get(WORKFLOWS).extensions["network_stream"].get_extra_info("client_addr")[1] for _ in range(3)
    }
    assert len(ports) == 1


def test_many_clients_are_answered_at_once(simulator: Simulator, client: httpx.Client) -> None:
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(client.get(WORKFLOWS).status_code)) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 16
    assert simulator.counts["workflows"] == 16


def test_a_fault_replaces_the_answer_and_is_recorded(simulator: Simulator, client: httpx.Client) -> None:
    simulator.fault = lambda request, answer: Answer(503, b"<html>", "text/html")
    assert client.get(WORKFLOWS).status_code == 503
    simulator.fault = lambda request, answer: replace(answer, body=answer.body[:50])
    with pytest.raises(json.JSONDecodeError):
        client.get(WORKFLOWS).json()
    simulator.fault = None
    assert client.get(WORKFLOWS).status_code == 200
    assert [seen.status for seen in simulator.requests] == [503, 200, 200]


def test_an_answer_can_be_cut_short(simulator: Simulator, client: httpx.Client) -> None:
    simulator.fault = lambda request, answer: replace(answer, conduct="cut", cut_at=20)
    with pytest.raises(httpx.RemoteProtocolError, match="peer closed connection"):
        client.get(WORKFLOWS)
    simulator.fault = None
    assert client.get(WORKFLOWS).status_code == 200


def test_a_connection_can_be_reset(simulator: Simulator, client: httpx.Client) -> None:
    simulator.fault = lambda request, answer: replace(answer, conduct="reset")
    with pytest.raises(httpx.ReadError):
        client.get(WORKFLOWS)
    assert simulator.requests[-1].status == 0


def test_an_answer_can_fail_to_come(simulator: Simulator, client: httpx.Client) -> None:
    simulator.fault = lambda request, answer: replace(answer, conduct="silent")
    with pytest.raises(httpx.ReadTimeout):
        client.get(WORKFLOWS, timeout=0.05)


def test_an_answer_can_come_late(simulator: Simulator, client: httpx.Client) -> None:
    simulator.fault = lambda request, answer: replace(answer, delay=0.05)
    assert client.get(WORKFLOWS).status_code == 200
    with pytest.raises(httpx.ReadTimeout):
        client.get(WORKFLOWS, timeout=0.001)


def test_what_is_not_http_is_refused() -> None:
    with serving(lambda request: Answer(), lambda: None) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as raw:
            raw.sendall(b"\x16\x03\x01 hello\r\n\r\n")
            assert raw.makefile("rb").read().startswith(b"HTTP/1.1 400")


def test_an_error_of_the_simulator_itself_is_raised_where_it_is_served() -> None:
    def broken(request: Request) -> Answer:
        raise LookupError("a bug")

    with pytest.raises(LookupError, match="a bug"), serving(broken, lambda: None) as url:
        assert httpx.get(url, trust_env=False).status_code == 500


def test_a_taken_port_is_told() -> None:
    with serving(lambda request: Answer(), lambda: None) as url:
        port = int(url.rpartition(":")[2])
        with (
            pytest.raises(OSError, match="could not listen"),
            serving(lambda r: Answer(), lambda: None, port=port),
        ):
            pass


def test_it_runs_as_a_command_and_says_where() -> None:
    command = [sys.executable, "-m", "syncer.simulator", "--workflows", "1", "--executions", "7"]
    with subprocess.Popen(
        [*command, "--switch", "total_as=number", "--every", "3600"], stdout=subprocess.PIPE, text=True
    ) as served:
        try:
            assert served.stdout is not None
            told = json.loads(served.stdout.readline())
            with httpx.Client(base_url=told["url"], trust_env=False) as client:
                form = {"username": told["username"], "password": told["password"], "token": "true"}
                token = client.post("/auth", data=form).text
                listed = client.get(WORKFLOWS, headers={"Authorization": f"Bearer {token}"}).json()
            assert listed["total"] == 1
        finally:
            served.send_signal(signal.SIGTERM)
        assert served.wait(timeout=30) == 0


def test_an_unknown_switch_is_explained() -> None:
    command = [sys.executable, "-m", "syncer.simulator", "--switch", "total_as=roman"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert refused.returncode == 2
    assert "total_as must be one of string, number, absent" in refused.stderr


def test_the_command_makes_so_many_answers_go_wrong() -> None:
    command = [sys.executable, "-m", "syncer.simulator", "--workflows", "1", "--executions", "1"]
    with subprocess.Popen(
        [*command, "--faults", "1", "--seed", "3"], stdout=subprocess.PIPE, text=True
    ) as served:
        try:
            assert served.stdout is not None
            told = json.loads(served.stdout.readline())
            with httpx.Client(base_url=told["url"], trust_env=False, timeout=0.5) as client:
                met = {_met(client) for _ in range(20)}
            assert len(met) > 3, met
        finally:
            served.send_signal(signal.SIGTERM)
        assert served.wait(timeout=30) == 0


def _met(client: httpx.Client) -> str:
    """A status, or how the connection failed."""
    try:
        with client.stream("GET", WORKFLOWS) as answer:
            return str(answer.status_code)
    except httpx.HTTPError as error:
        return str(error)


@pytest.mark.parametrize("rate", ["many", "1.5", "-1"])
def test_a_rate_that_is_none_is_explained(rate: str) -> None:
    command = [sys.executable, "-m", "syncer.simulator", f"--faults={rate}"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert refused.returncode == 2
    assert "a number from 0 to 1" in refused.stderr
