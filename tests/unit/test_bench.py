"""The harness measures what it says: the cheap upstream tells the truth, and nobody's memory is taken for another's."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import rounds
from bench.economy import allowed
from bench.field import DLT, PLAIN, Contestant
from bench.figures import Results
from bench.packed import Packed
from bench.report import DOCUMENT, PUBLISHED, Table, filled, markdown
from bench.trial import Broken
from bench.truth import write_truth
from bench.upstream import Prepared, Upstream, Wire
from bench.world import Size, Tenant
from syncer.simulator import Request
from syncer.simulator.qualys_flow.shelf import InventedShelf

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SMALL = Size(executions=60, workflows=2, steps=3, payload=1500)
STOPWATCH = Path(__file__).parents[2] / "bench" / "stopwatch.py"


@pytest.fixture(scope="module")
def tenant() -> Tenant:
    return Tenant(SMALL, NOW)


def questions(tenant: Tenant) -> list[str]:
    """Pages of a list, windows of it, steps."""
    prefix, workflow = "/qflowapi/v1", next(iter(tenant.simulator.truth.workflows))
    created = sorted(each.created_ms for each in tenant.executions())
    bounds = [f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}" for at in created[::20]]
    lists = [
        "pageSize=7&pageNumber=2&order=createdAt",
        "pageSize=7&pageNumber=1",
        *(f"pageSize=50&pageNumber=1&startAt={start}&endAt={end}" for start, end in pairwise(bounds)),
    ]
    asked = [f"{prefix}/workflows/{workflow}/executions?{query}" for query in lists]
    for execution in tenant.executions():
        steps = f"{prefix}/executions/{execution.id}/steps"
        asked += [f"{steps}?includeData=true&order=createdAt", f"{steps}?order=-createdAt", steps]
    return asked


def test_prepared_answers_are_the_simulators(tenant: Tenant) -> None:
    simulator = tenant.simulator
    headers = {"authorization": f"Bearer {simulator.issue_token()}"}
    prepared = Prepared(simulator)
    prepared.prepare(tenant.executions())
    for target in questions(tenant):
        told = []
        for shelf in (InventedShelf(simulator), prepared):
            simulator.shelf = shelf
            told.append(simulator.honest_answer(Request("GET", target, headers)))
        assert told[0].status == told[1].status == 200, target
        assert json.loads(told[0].body) == json.loads(told[1].body), target


def test_what_has_ended_is_packed_and_comes_out_as_it_was(tenant: Tenant) -> None:
    for execution in tenant.executions():
        assert isinstance(execution.attempts, Packed) == (execution.ended_ms is not None)
        once, again = list(execution.attempts), list(Packed(list(execution.attempts)))
        assert once == again
        assert [each.events for each in once] == [each.events for each in again]
        assert all(one.given is other.given for one, other in zip(once, again, strict=True))  # in memory once


def test_payloads_have_the_size_and_inputs_hold_secrets(tenant: Tenant) -> None:
    attempts = [attempt for each in tenant.executions() for attempt in each.attempts if attempt.made]
    sizes = [len(payload.text) for each in attempts for payload in (each.given, each.made) if payload]
    assert SMALL.payload * 0.7 < sum(sizes) / len(sizes) < SMALL.payload * 1.3
    assert all(each.given.value != each.given.redacted for each in attempts)


def test_one_in_a_hundred_changes_and_then_nothing() -> None:
    tenant = Tenant(Size(executions=1000, workflows=3, steps=1, payload=100), NOW)
    assert len(list(tenant.executions())) == 1000
    running = {each.id for each in tenant.executions() if each.ended_ms is None}
    changed = {each.id for each in tenant.live_on()}
    assert len(running) == 10
    assert changed > running
    assert len(changed - running) == 1
    assert all(each.ended_ms for each in tenant.executions())


def test_the_same_seed_gives_the_same_tenant_and_the_same_change(tmp_path: Path) -> None:
    said = []
    for at in range(2):
        tenant = Tenant(SMALL, NOW)
        tenant.live_on()
        tenant.follow(arriving=7)
        folder = tmp_path / str(at)
        folder.mkdir()
        write_truth(folder, tenant.executions())
        said.append({file.name: file.read_bytes() for file in folder.iterdir()})
    assert said[0] == said[1]
    assert set(said[0]) == {"executions.csv", "events.csv", "payloads.csv", "documents.csv"}


def test_what_follows_ends_two_minutes_after_it_began() -> None:
    tenant = Tenant(SMALL, NOW)
    tenant.live_on()
    tenant.follow(arriving=10)
    new = sorted(tenant.executions(), key=lambda each: each.created_ms)[-10:]
    assert {(each.ended_ms or 0) - each.created_ms for each in new if each.ended_ms} == {120_000}
    assert len([each for each in new if each.ended_ms is None]) == 4


class Sent(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""

    def write(self, data: Any) -> None:
        self.data += data


@pytest.fixture(scope="module")
def upstream() -> Upstream:
    return Upstream(SMALL, NOW, latency=0.0)


def test_requests_may_arrive_in_any_pieces(upstream: Upstream) -> None:
    form = b"username=api-user&password=wrong&token=true"
    sign_in = (
        b"POST /auth HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(form), form)
    )
    both = sign_in + b"GET /qflowapi/v1/workflows?pageSize=1&pageNumber=1 HTTP/1.1\r\nHost: x\r\n\r\n"
    for cut in range(len(both)):
        sent, wire = Sent(), Wire(upstream)
        wire.connection_made(sent)
        wire.data_received(both[:cut])
        wire.data_received(both[cut:])
        assert sent.data.count(b"HTTP/1.1 401") == 2, cut


def test_traffic_is_counted_by_endpoint_and_begins_anew_when_told(upstream: Upstream) -> None:
    wire = Wire(upstream)
    wire.connection_made(sent := Sent())
    upstream.traffic.requests.clear()
    wire.data_received(b"GET /qflowapi/v1/workflows HTTP/1.1\r\n\r\n")
    for _ in range(2):
        wire.data_received(b"GET /bench/traffic HTTP/1.1\r\n\r\n")
    told = [json.loads(part.partition(b"HTTP/1.1")[0]) for part in sent.data.split(b"\r\n\r\n")[-2:]]
    assert [each["requests"] for each in told] == [{"workflows": 1}, {}]


def test_a_command_is_not_charged_with_the_memory_of_who_starts_it(tmp_path: Path) -> None:
    ballast = bytearray(300 << 20)
    taken = tmp_path / "taken.json"
    command = [
        sys.executable,
        "-I",
        "-S",
        str(STOPWATCH),
        str(taken),
        sys.executable,
        "-c",
        "raise SystemExit(3)",
    ]
    subprocess.run(command, check=True)
    told = json.loads(taken.read_text())
    assert told["code"] == 3
    assert told["peak_kb"] << 10 < len(ballast) // 3
    assert 0 < told["cpu"] <= told["wall"] * 2


def test_a_contestant_that_breaks_is_told_of_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Contestant] = []
    broken: list[tuple[str, str]] = []

    def jobs(_size: Size, _concurrency: int, contestant: Contestant, _note: object, _rows: Path) -> None:
        if contestant is DLT:
            raise Broken("it said why")
        ran.append(contestant)

    monkeypatch.setattr(rounds, "_jobs", jobs)
    monkeypatch.setattr(rounds, "trial", lambda *_: nullcontext(SimpleNamespace(measured=lambda *_: None)))
    rounds.compare(SMALL, 1, [DLT, PLAIN], lambda *_: None, lambda *told: broken.append(told))
    assert ran == [PLAIN]
    assert broken == [(DLT.name, "it said why")]


def test_what_a_limit_allows_is_what_is_left_by_quiet_hours() -> None:
    assert allowed(quiet=120, busy=240) == 90
    assert allowed(quiet=400, busy=460) == 0


def test_tables_go_where_the_document_wants_them_and_nowhere_else() -> None:
    head = ("workflows", "requests a poll", "ms CPU", "PostgreSQL ms CPU", "rows written", "peak MB")
    poll = {"workflows": 10, "requests": 1.0, "cpu": 0.02, "postgres_cpu": 0.01, "rows": 0, "peak_kb": 90_112}
    results = Results({"size": {"executions": 100}}, {"polls": [poll]})
    document = "# Before\n<!-- table: quiet polls -->\nold\n<!-- end -->\n<!-- table: growth -->\nkept\n<!-- end -->\n"
    table = markdown(Table("quiet polls", [head, ("10", "1.0", "20", "10", "0", "88")]))
    wanted = document.replace("old\n", table)
    assert filled(document, results) == wanted
    assert filled(wanted, results) == wanted


def test_the_published_tables_are_those_of_the_published_figures() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert filled(text, Results.read(PUBLISHED)) == text
