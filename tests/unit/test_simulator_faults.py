"""Each fault, as a plain client meets it on the wire."""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import takewhile

import httpx
import pytest

from syncer.simulator import KINDS, Clock, Outline, Request, mixture
from syncer.simulator.faults import GIGABYTE
from syncer.simulator.qualys_flow import Simulator

WORKFLOWS = "/qflowapi/v1/workflows?pageSize=10&pageNumber=1"
NOON = datetime(2026, 3, 18, 12, tzinfo=UTC)


@pytest.fixture
def simulator() -> Simulator:
    return Simulator(Outline(workflows=2, executions=5, running=0), clock=Clock(NOON, frozen=True))


@pytest.fixture
def client(simulator: Simulator) -> Iterator[httpx.Client]:
    token = simulator.issue_token()
    headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}
    with simulator.serve() as url, httpx.Client(base_url=url, headers=headers, trust_env=False) as client:
        yield client


@contextmanager
def always(simulator: Simulator, kind: str, seed: int = 1) -> Iterator[None]:
    """Every answer goes wrong in this way while the body runs; afterwards none does."""
    faults = simulator.misbehave({"*": {kind: 1.0}}, seed=seed)
    try:
        yield
    finally:
        faults.calm()
    assert faults.injected.keys() == {kind}


def good_body(simulator: Simulator, client: httpx.Client) -> bytes:
    fault, simulator.fault = simulator.fault, None
    try:
        return client.get(WORKFLOWS).content
    finally:
        simulator.fault = fault


def raw_answer(client: httpx.Client) -> tuple[bytes, BaseException | None]:
    """Every byte that comes after a request, and what ended it."""
    url = httpx.URL(client.base_url)
    received, ended = bytearray(), None
    with socket.create_connection((url.host, url.port or 80), timeout=10) as raw:
        token = client.headers["authorization"]
        raw.sendall(
            f"GET {WORKFLOWS} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nConnection: close\r\n\r\n".encode()
        )
        try:
            while part := raw.recv(65_536):
                received += part
        except ConnectionError as error:
            ended = error
    return bytes(received), ended


# What the source says


@pytest.mark.parametrize("status", [500, 502, 503, 504, 401])
def test_an_error_has_its_status_and_no_record(
    simulator: Simulator, client: httpx.Client, status: int
) -> None:
    with always(simulator, str(status)):
        answer = client.get(WORKFLOWS)
    assert answer.status_code == status
    assert b"items" not in answer.content


@pytest.mark.parametrize("status", [429, 503])
def test_a_limit_in_seconds_tells_them(simulator: Simulator, client: httpx.Client, status: int) -> None:
    with always(simulator, "429-seconds" if status == 429 else "503-retry-after"):
        answer = client.get(WORKFLOWS)
    assert answer.status_code == status
    assert 1 <= int(answer.headers["retry-after"]) <= 5


def test_a_limit_with_a_date_counts_from_the_sources_clock(
    simulator: Simulator, client: httpx.Client
) -> None:
    with always(simulator, "429-date"):
        answer = client.get(WORKFLOWS)
    until = parsedate_to_datetime(answer.headers["retry-after"])
    assert timedelta(0) < until - NOON <= timedelta(seconds=5)


def test_a_bare_limit_tells_no_time(simulator: Simulator, client: httpx.Client) -> None:
    with always(simulator, "429-bare"):
        answer = client.get(WORKFLOWS)
    assert answer.status_code == 429
    assert not {"retry-after", "x-ratelimit-towait-sec"} & answer.headers.keys()


def test_the_classic_limits_are_409_in_xml_or_in_headers(simulator: Simulator, client: httpx.Client) -> None:
    with always(simulator, "409-too-often"):
        often = client.get(WORKFLOWS)
    with always(simulator, "409-too-many"):
        many = client.get(WORKFLOWS)
    with always(simulator, "409-to-wait"):
        wait = client.get(WORKFLOWS)
    assert {often.status_code, many.status_code, wait.status_code} == {409}
    assert "<CODE>1965</CODE>" in often.text
    assert "SECONDS_TO_WAIT" in often.text
    assert "<CODE>1960</CODE>" in many.text
    assert "SECONDS_TO_WAIT" not in many.text
    assert 1 <= int(wait.headers["x-ratelimit-towait-sec"]) <= 5


def test_requests_in_spite_of_a_wait_are_counted(simulator: Simulator, client: httpx.Client) -> None:
    faults = simulator.misbehave({"*": {"429-seconds": 1.0}})
    client.get(WORKFLOWS)
    faults.calm()
    assert client.get(WORKFLOWS).status_code == 200
    simulator.clock.advance(6)
    client.get(WORKFLOWS)
    assert faults.impolite == 1


def test_a_redirect_leads_elsewhere(simulator: Simulator, client: httpx.Client) -> None:
    with always(simulator, "redirect"):
        answer = client.get(WORKFLOWS)
    assert answer.is_redirect
    assert answer.headers["location"].startswith("/login")


@pytest.mark.parametrize("kind", ["html", "empty", "json-cut"])
def test_what_comes_with_200_need_not_be_the_answer(
    simulator: Simulator, client: httpx.Client, kind: str
) -> None:
    with always(simulator, kind):
        answer = client.get(WORKFLOWS)
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()


# What happens to the connection


def test_connections_are_refused_for_a_moment_and_then_accepted_at_the_same_address(
    simulator: Simulator, client: httpx.Client
) -> None:
    with always(simulator, "refused"), pytest.raises(httpx.ReadError):
        client.get(WORKFLOWS)
    attempts = Counter(takewhile(lambda status: status != 200, iter(lambda: status_of(client), None)))
    assert attempts.keys() == {"refused"}


def status_of(client: httpx.Client) -> int | str:
    try:
        return client.get(WORKFLOWS).status_code
    except httpx.ConnectError as error:
        return "refused" if "refused" in str(error).lower() else str(error)


def test_it_can_be_stopped_while_it_refuses(simulator: Simulator) -> None:
    with simulator.serve() as url, always(simulator, "refused"), pytest.raises(httpx.ReadError):
        httpx.get(url + WORKFLOWS, trust_env=False)


def test_a_refusal_resets_the_connections_of_others(simulator: Simulator, client: httpx.Client) -> None:
    url = httpx.URL(client.base_url)
    with socket.create_connection((url.host, url.port or 80), timeout=10) as other:
        with always(simulator, "refused"), pytest.raises(httpx.ReadError):
            client.get(WORKFLOWS)
        with pytest.raises(ConnectionResetError):
            other.recv(1)


def test_a_reset_comes_before_the_headers_within_them_or_within_the_body(
    simulator: Simulator, client: httpx.Client
) -> None:
    with always(simulator, "reset"):
        before, why_before = raw_answer(client)
    with always(simulator, "reset-in-head"):
        head, why_head = raw_answer(client)
    with always(simulator, "reset-in-body"):
        body, why_body = raw_answer(client)
    assert all(isinstance(why, ConnectionResetError) for why in (why_before, why_head, why_body))
    assert before == b""
    assert head.startswith(b"HTTP/1.1 200")
    assert b"\r\n\r\n" not in head
    begin, _, rest = body.partition(b"\r\n\r\n")
    assert b"content-length" in begin.lower()
    assert len(rest) < len(good_body(simulator, client))


def test_a_body_is_cut_although_its_length_was_promised(simulator: Simulator, client: httpx.Client) -> None:
    with always(simulator, "cut"):
        received, why = raw_answer(client)
    head, _, body = received.partition(b"\r\n\r\n")
    promised = len(good_body(simulator, client))
    assert f"content-length: {promised}".encode() in head.lower()
    assert why is None
    assert len(body) < promised


@pytest.mark.parametrize(("kind", "is_whole"), [("cut-chunked", False), ("unended", True)])
def test_a_chunked_body_is_cut_before_the_chunk_that_ends_it(
    simulator: Simulator, client: httpx.Client, kind: str, *, is_whole: bool
) -> None:
    with always(simulator, kind):
        received, why = raw_answer(client)
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head.lower()
    assert why is None
    assert not body.endswith(b"0\r\n\r\n")
    assert (good_body(simulator, client) in body) is is_whole


def test_silence_lasts_longer_than_a_client_waits(simulator: Simulator, client: httpx.Client) -> None:
    with always(simulator, "silence"), pytest.raises(httpx.ReadTimeout):
        client.get(WORKFLOWS, timeout=0.05)
    assert client.get(WORKFLOWS).status_code == 200


# What the answer looks like


@pytest.mark.parametrize("kind", ["chunked", "wrong-type"])
def test_a_good_body_in_an_unusual_wrapping_stays_good(
    simulator: Simulator, client: httpx.Client, kind: str
) -> None:
    good = good_body(simulator, client)
    with always(simulator, kind):
        answer = client.get(WORKFLOWS)
    assert answer.content == good
    assert (answer.headers.get("content-type") != "application/json") is (kind == "wrong-type")
    assert ("content-length" not in answer.headers) is (kind == "chunked")


@pytest.mark.parametrize(
    ("kind", "unpack"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)], ids=["gzip", "deflate"]
)
def test_a_packed_body_unpacks_to_the_good_one(
    simulator: Simulator, client: httpx.Client, kind: str, unpack: Callable[[bytes], bytes]
) -> None:
    good = good_body(simulator, client)
    with always(simulator, kind), client.stream("GET", WORKFLOWS) as answer:
        packed = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == kind
    assert unpack(packed) == good


@pytest.mark.parametrize("kind", ["gzip-cut", "gzip-lie", "unknown-encoding"])
def test_an_encoding_can_be_untrue(simulator: Simulator, client: httpx.Client, kind: str) -> None:
    with always(simulator, kind), client.stream("GET", WORKFLOWS) as answer:
        packed = b"".join(answer.iter_raw())
    assert (answer.headers["content-encoding"] == "gzip") is (kind != "unknown-encoding")
    with pytest.raises((OSError, EOFError, zlib.error)):
        gzip.decompress(packed)


@pytest.mark.parametrize(("kind", "hours"), [("date-ahead", 1), ("date-behind", -1)])
def test_a_gateway_has_a_clock_of_its_own(
    simulator: Simulator, client: httpx.Client, kind: str, hours: int
) -> None:
    with always(simulator, kind):
        answer = client.get(WORKFLOWS)
    assert answer.headers.get_list("date") == [answer.headers["date"]]
    assert parsedate_to_datetime(answer.headers["date"]) == NOON + timedelta(hours=hours)


def test_headers_can_be_longer_than_any_reader_wants(simulator: Simulator, client: httpx.Client) -> None:
    with always(simulator, "endless-head"):
        received, _ = raw_answer(client)
    assert len(received.partition(b"\r\n\r\n")[0]) > 500_000


@pytest.mark.parametrize("seed", [1, 2])
def test_a_flood_is_a_gigabyte_that_comes_as_fast_as_it_is_read(
    simulator: Simulator, client: httpx.Client, seed: int
) -> None:
    with always(simulator, "flood", seed), client.stream("GET", WORKFLOWS) as answer:
        received = 0
        for part in answer.iter_raw(1 << 20):
            received += len(part)
            if received > 20 << 20:
                break
    length = answer.headers.get("content-length")
    assert length is None or int(length) > GIGABYTE
    assert client.get(WORKFLOWS).status_code == 200


def test_a_bomb_is_a_megabyte_that_unpacks_to_a_gigabyte(simulator: Simulator, client: httpx.Client) -> None:
    with always(simulator, "bomb"), client.stream("GET", WORKFLOWS) as answer:
        packed = b"".join(answer.iter_raw())
    assert len(packed) < 2 << 20
    unpacker, size = zlib.decompressobj(zlib.MAX_WBITS | 16), 0
    while packed and size < 64 << 20:
        size += len(unpacker.decompress(packed, 1 << 20))
        packed = unpacker.unconsumed_tail
    assert size >= 64 << 20


# Which answers


def test_the_same_seed_gives_the_same_faults_and_another_one_others() -> None:
    def drawn(seed: int) -> list[int]:
        simulator = Simulator(Outline(workflows=1, executions=1), clock=Clock(NOON, frozen=True))
        faults = simulator.misbehave({"*": {"500": 0.2, "502": 0.2}}, seed=seed)
        headers = {"authorization": f"Bearer {simulator.issue_token()}"}
        return [simulator.answer(Request("GET", WORKFLOWS, headers)).status for _ in range(50)] + [
            faults.injected.total()
        ]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_faults_strike_the_endpoints_they_are_meant_for(simulator: Simulator, client: httpx.Client) -> None:
    faults = simulator.misbehave({"steps": {"500": 1.0}, "executions": {"502": 1.0}})
    assert client.get(WORKFLOWS).status_code == 200
    workflow_id = next(iter(simulator.truth.workflows))
    listed = client.get(f"/qflowapi/v1/workflows/{workflow_id}/executions?pageSize=10&pageNumber=1")
    assert listed.status_code == 502
    assert faults.injected == {"502": 1}


def test_an_unknown_fault_is_refused_by_name(simulator: Simulator) -> None:
    with pytest.raises(ValueError, match="earthquake"):
        simulator.misbehave({"*": {"earthquake": 0.1}})


def test_a_mixture_holds_every_kind_and_adds_up_to_its_rate() -> None:
    assert mixture(0.25).keys() == KINDS.keys()
    assert sum(mixture(0.25).values()) == pytest.approx(0.25)
