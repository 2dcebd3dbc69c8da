"""The status page over a socket, with a real warehouse, and in a real browser where there is one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, NullPool, create_engine

from syncer.errors import TransientError
from syncer.service.page import HOURS
from syncer.service.web import look_back, serving
from syncer.simulator import Outline
from syncer.simulator.qualys_flow import Simulator
from tests.browser import CHROMIUM
from tests.integration.flows import FlowBench, connected
from tests.integration.vitals import FakePoller, FakeService

HTML = {"Accept": "text/html"}

QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"),
)
in_a_browser = pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here")


@pytest.fixture
def service(engine: Engine) -> FakeService:
    """A service whose warehouse holds a small history."""
    simulator = Simulator(Outline(workflows=2, executions=10, running=1))
    with simulator.serve() as source:
        FlowBench(engine).run(simulator, source)
        poller = FakePoller(connected(simulator, source))
    # Without a pool: a look that is left behind may end after the pool, and nobody would close its session.
    return FakeService(create_engine(engine.url, poolclass=NullPool), [poller])


@pytest.fixture
def url(service: FakeService) -> Iterator[str]:
    with serving(service, ("127.0.0.1", 0)) as url:
        assert url
        yield url


def browse(url: str, folder: Path, seconds: int = 1) -> str:
    """The page as it stands in a browser after so long; a complaint of its console fails the test."""
    assert CHROMIUM
    done = subprocess.run(
        [
            CHROMIUM,
            *QUIET,
            f"--user-data-dir={folder}",
            f"--virtual-time-budget={1000 * seconds}",
            "--dump-dom",
            url,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "CONSOLE" not in done.stderr, done.stderr
    return done.stdout


def test_a_browser_gets_a_page_and_a_shell_the_list_of_paths(url: str) -> None:
    assert httpx.get(url).text.startswith("syncer\n  /  ")
    page = httpx.get(url, headers=HTML)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.text.startswith("<!doctype html>")


def test_what_the_warehouse_knows_stands_on_the_page(url: str, service: FakeService, engine: Engine) -> None:
    page = httpx.get(url, headers=HTML).text
    for (name,) in FlowBench(engine).rows("SELECT name FROM history.workflows"):
        assert name in page
    assert page.count("<rect") == HOURS
    executions = FlowBench(engine).value("SELECT count(*) FROM history.executions")
    assert f"the last {HOURS}: {executions}" in " ".join(page.split())


def test_what_landed_is_counted_by_the_hour(service: FakeService, engine: Engine) -> None:
    with engine.begin() as db:
        db.exec_driver_sql(
            "UPDATE history.executions SET synced_at = now() - interval '5 hours 30 minutes' WHERE execution_id IN"
            " (SELECT execution_id FROM history.executions ORDER BY execution_id LIMIT 3)"
        )
    (landed,) = look_back(service).values()
    assert len(landed) == HOURS
    assert (landed[-6], sum(landed[:-1])) == (3, 3)
    assert landed[-1] == FlowBench(engine).value("SELECT count(*) - 3 FROM history.executions")


def test_without_a_warehouse_there_is_a_page_all_the_same(url: str, service: FakeService) -> None:
    service.engine = None
    page = httpx.get(url, headers=HTML)
    assert page.status_code == 200
    assert "the warehouse was not reached yet" in page.text


def test_its_parts_come_from_here_and_are_what_they_are(url: str) -> None:
    assert httpx.get(f"{url}/page.css").headers["content-type"].startswith("text/css")
    assert httpx.get(f"{url}/page.js").headers["content-type"].startswith("text/javascript")
    policy = httpx.get(url, headers=HTML).headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "http" not in policy


@in_a_browser
def test_a_browser_shows_it_as_it_was_made(url: str, tmp_path: Path) -> None:
    shown = browse(url, tmp_path)
    assert "<table>" in shown
    assert '<p id="silence" class="verdict bad" role="alert" hidden="">' in shown


@in_a_browser
def test_it_renews_itself(url: str, service: FakeService, tmp_path: Path) -> None:
    asked = 0

    def changing() -> list[FakePoller]:
        nonlocal asked
        asked += 1
        (poller,) = service.polled
        if asked > 3:
            poller.not_before = datetime.now(UTC) + timedelta(hours=1)
        return [poller]

    service.pollers = changing  # type: ignore[method-assign]
    assert "Waits until" in browse(url, tmp_path, seconds=40)


@in_a_browser
def test_it_says_when_the_service_does_not_answer_any_more(
    url: str, service: FakeService, tmp_path: Path
) -> None:
    asked = 0

    def failing() -> list[FakePoller]:
        nonlocal asked
        asked += 1
        if asked > 3:
            raise TransientError("no more")
        return list(service.polled)

    service.pollers = failing  # type: ignore[method-assign]
    shown = browse(url, tmp_path, seconds=40)
    assert '<p id="silence" class="verdict bad" role="alert">' in shown, shown
    assert "<table>" in shown
