"""/healthz, /readyz and /metrics over a socket: they answer whatever the service and the warehouse do."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import Engine, NullPool, create_engine, event, text
from structlog.testing import capture_logs

from syncer.errors import WarehouseError
from syncer.service.web import READY_WITHIN, STUCK_AFTER, Kept, bind, serving
from syncer.warehouse import engine as open_engine
from tests.integration.vitals import FakeService

ANYWHERE = ("127.0.0.1", 0)


@pytest.fixture
def service(engine: Engine) -> FakeService:
    # Without a pool: a look that is left behind may end after the pool, and nobody would close its session.
    return FakeService(create_engine(engine.url, poolclass=NullPool))


@pytest.fixture
def url(service: FakeService) -> Iterator[str]:
    with serving(service, ANYWHERE) as url:
        assert url
        yield url


def test_a_service_whose_loop_turns_is_healthy(url: str) -> None:
    answer = httpx.get(f"{url}/healthz")
    assert (answer.status_code, answer.text) == (200, "ok\n")


def test_a_service_whose_loop_is_stuck_says_so(service: FakeService, url: str) -> None:
    service.idle_for = STUCK_AFTER + 1
    answer = httpx.get(f"{url}/healthz")
    assert answer.status_code == 503
    assert "stuck for 31 seconds" in answer.text


def test_a_service_is_ready_while_its_warehouse_answers_with_the_current_schema(url: str) -> None:
    assert httpx.get(f"{url}/readyz").status_code == 200


def test_a_service_is_not_ready_before_it_has_reached_the_warehouse(service: FakeService, url: str) -> None:
    service.engine = None
    service.trouble = WarehouseError("it is gone", "start it")
    answer = httpx.get(f"{url}/readyz")
    assert (answer.status_code, answer.text) == (503, "it is gone\nstart it\n")


def test_a_schema_of_another_version_is_not_ready(service: FakeService, url: str, engine: Engine) -> None:
    with engine.begin() as db:
        db.execute(text("UPDATE syncer.alembic_version SET version_num = 'older'"))
    answer = httpx.get(f"{url}/readyz")
    assert answer.status_code == 503
    assert "older" in answer.text


def test_a_warehouse_that_is_away_is_told_without_its_password(service: FakeService, url: str) -> None:
    with socket.create_server(ANYWHERE) as closed:
        port = closed.getsockname()[1]
    service.engine = open_engine(f"postgresql://user:canary-secret@127.0.0.1:{port}/warehouse")
    ready, metrics = httpx.get(f"{url}/readyz"), httpx.get(f"{url}/metrics")
    service.engine.dispose()
    assert ready.status_code == 503
    assert "cannot be reached" in ready.text
    assert "canary" not in ready.text
    assert "Traceback" not in ready.text
    assert "syncer_warehouse_up 0.0" in metrics.text


def test_a_schema_that_is_locked_makes_the_service_not_ready_and_leaves_it_healthy(
    url: str, engine: Engine
) -> None:
    with engine.begin() as db:
        db.execute(text("LOCK TABLE syncer.alembic_version"))
        answer = httpx.get(f"{url}/readyz", timeout=READY_WITHIN + 60)
        assert answer.status_code == 503
        assert "does not answer within" in answer.text
        assert httpx.get(f"{url}/healthz").status_code == 200


def test_many_probes_ask_the_warehouse_once(service: FakeService, url: str) -> None:
    asked: list[str] = []
    assert service.engine is not None
    counted = create_engine(service.engine.url, poolclass=NullPool)
    event.listen(counted, "connect", lambda *_: asked.append("connect"))
    service.engine = counted
    with httpx.Client() as client:
        assert {client.get(f"{url}/readyz").status_code for _ in range(20)} == {200}
    assert len(asked) <= 4  # two sessions a look; on a slow machine the first look may have grown old


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/metrics", "/nothing"])
def test_every_answer_carries_the_security_headers(url: str, path: str) -> None:
    for answer in (httpx.get(f"{url}{path}"), httpx.head(f"{url}{path}"), httpx.post(f"{url}{path}")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "server" not in answer.headers


def test_only_reading_is_answered(url: str) -> None:
    for path in ("/", "/healthz", "/readyz", "/metrics"):
        assert httpx.head(f"{url}{path}").content == b""
        assert httpx.head(f"{url}{path}").status_code == 200
        assert {httpx.request(verb, f"{url}{path}").status_code for verb in ("POST", "PUT", "DELETE")} == {
            405
        }


def test_a_fault_of_ours_is_a_sentence_and_no_traceback(service: FakeService, url: str) -> None:
    def broken() -> float:
        raise RuntimeError("canary-secret")

    service.idle = broken  # type: ignore[method-assign]
    with capture_logs() as logs:
        answer = httpx.get(f"{url}/healthz")
    assert answer.status_code == 500
    assert "RuntimeError" in answer.text
    assert "canary" not in answer.text + str(logs)
    assert answer.headers["cache-control"] == "no-store"
    assert [line["event"] for line in logs] == ["unexpected"]


def test_a_taken_port_is_a_warning_that_says_what_to_do() -> None:
    with socket.create_server(ANYWHERE) as other, capture_logs() as logs:
        address = other.getsockname()[:2]
        with serving(FakeService(), address) as url:
            assert url is None
    (line,) = logs
    assert line["log_level"] == "warning"
    assert "service.listen" in line["hint"]


def test_an_address_of_another_machine_is_a_warning() -> None:
    with capture_logs() as logs:
        assert bind(("192.0.2.1", 9108)) is None
        assert bind(("no-such-host.invalid", 9108)) is None
    assert [line["log_level"] for line in logs] == ["warning", "warning"]


def test_nothing_listens_where_that_is_turned_off() -> None:
    with capture_logs() as logs, serving(FakeService(), None) as url:
        assert url is None
    assert logs == []


def test_the_port_is_free_again_after_the_end_and_signals_are_as_before() -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    for _ in range(2):
        with serving(FakeService(), ANYWHERE) as url:
            assert url
            address = urlsplit(url).hostname, urlsplit(url).port
            assert httpx.get(url).status_code == 200
            assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
        assert not [each for each in threading.enumerate() if each.name == "web"]
        with pytest.raises(OSError):  # noqa: PT011 - what it says depends on the system
            socket.create_connection((str(address[0]), int(address[1] or 0)))


def test_a_probe_that_hangs_does_not_hold_up_the_end(service: FakeService, engine: Engine) -> None:
    with engine.begin() as db:
        db.execute(text("LOCK TABLE syncer.alembic_version"))
        with serving(service, ANYWHERE) as url:
            assert url
            asking = threading.Thread(target=_ignore_errors, args=(f"{url}/readyz",))
            asking.start()
            while not db.execute(
                text(
                    "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'syncer.alembic_version'::regclass"
                )
            ).first():
                pass
            began = time.monotonic()
        took = time.monotonic() - began
    asking.join()
    assert not [each for each in threading.enumerate() if each.name == "web"]
    assert took < READY_WITHIN


def _ignore_errors(url: str) -> None:
    try:
        httpx.get(url, timeout=60)
    except httpx.HTTPError:
        return


def test_a_look_is_shared_kept_and_taken_anew_when_it_is_old() -> None:
    now, looks = [0.0], iter(range(10))
    kept = Kept(lambda: next(looks), clock=lambda: now[0])

    async def scenario() -> list[int]:
        together = await asyncio.gather(*(kept.value(60) for _ in range(5)))
        now[0] = 4.9
        later = await kept.value(60)
        now[0] = 5.1
        return [*together, later, await kept.value(60)]

    assert asyncio.run(scenario()) == [0, 0, 0, 0, 0, 0, 1]


def test_who_gives_up_waiting_does_not_spoil_the_look_for_others() -> None:
    go = threading.Event()
    kept = Kept(lambda: go.wait(60))

    async def scenario() -> bool:
        with pytest.raises(TimeoutError):
            await kept.value(0.01)
        go.set()
        return await kept.value(60)

    assert asyncio.run(scenario()) is True
