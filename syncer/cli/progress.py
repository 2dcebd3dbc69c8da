"""What is seen while passes are under way: a line per connection on a terminal, a log line now and then without.

Invariant: it only looks; nothing depends on it. Everything goes to standard error.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from syncer.cli.output import err
from syncer.sync import Report
from syncer.words import length

EVERY = 15.0
"""Seconds between log lines where there is no terminal."""

BLINK = 0.2
"""Seconds between two looks on a terminal."""

ROOMY = 110
"""Columns from which on there is room for a bar of BAR columns beside the figures."""

BAR = 16


class Watched(Protocol):
    """What is shown of a pass."""

    @property
    def name(self) -> str:
        """The connection's name."""

    @property
    def report(self) -> Report:
        """What has been done so far."""

    @property
    def requests(self) -> Mapping[str, int]:
        """Requests so far by endpoint."""


@asynccontextmanager
async def showing(passes: Sequence[Watched]) -> AsyncIterator[None]:
    """Show passes on standard error while the body runs."""
    if not err.is_terminal or err.is_dumb_terminal:
        async with _meanwhile(_log_now_and_then(passes)):
            yield
        return
    lines = [_Line(each) for each in passes]
    with Live(console=err, transient=True, auto_refresh=False) as live:
        async with _meanwhile(_draw(live, lines)):
            yield


@asynccontextmanager
async def _meanwhile(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()


async def _log_now_and_then(passes: Sequence[Watched]) -> None:
    while True:
        await asyncio.sleep(EVERY)
        for each in passes:
            if each.report.phase:
                structlog.get_logger().info("progress", connection=each.name, **figures(each))


def figures(each: Watched) -> dict[str, object]:
    """What has been done so far, in a few words for a log line."""
    report = each.report
    known = {
        "phase": report.phase,
        "executions": report.rows["executions"],
        "steps_read": report.steps_read,
        "steps_expected": report.steps_expected,
        "requests": sum(each.requests.values()),
    }
    return known | ({"waiting_until": report.waiting_until} if report.waiting_until else {})


async def _draw(live: Live, lines: Sequence[_Line]) -> None:
    while True:
        grid = Table.grid(padding=(0, 2, 0, 0))
        for place in range(7):
            grid.add_column(no_wrap=True, justify="right" if place > 2 else "left")
        now = datetime.now(UTC)
        for line in lines:
            line.draw(grid, now)
        live.update(grid, refresh=True)
        await asyncio.sleep(BLINK)


class _Line:
    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._rate = _Rate()
        self._pace = _Rate()

    def draw(self, grid: Table, now: datetime) -> None:
        """Phase, bar, executions, steps, requests and their rate, time left; a wait takes the place of most."""
        report = self._watched.report
        requests = sum(self._watched.requests.values())
        name, phase = Text(self._watched.name, style="bold"), _phase(report, now)
        executions = f"{report.rows['executions']:,} executions"
        done, expected = report.steps_read, report.steps_expected
        rate, pace = self._rate.of(requests, now), self._pace.of(done, now)
        if report.waiting_until or report.held_by:
            grid.add_row(name, phase, "", executions if err.width >= ROOMY else "")
            return
        left = timedelta(seconds=(expected - done) / pace) if pace and expected > done else None
        bar = ProgressBar(total=expected or None, completed=done, width=BAR, pulse=not expected)
        steps = f"{done:,}/{expected:,} steps" if expected else ""
        speed = f"{requests:,} requests {rate:.0f}/s"
        remaining = f"{length(left)} left" if left else ""
        grid.add_row(name, phase, bar if err.width >= ROOMY else "", executions, steps, speed, remaining)


def _phase(report: Report, now: datetime) -> Text:
    if report.waiting_until:
        left = length(report.waiting_until - now)
        return Text(f"waiting until {report.waiting_until:%H:%M:%S} UTC ({left})", style="yellow")
    if report.held_by:
        return Text(f"waiting for {report.held_by}", style="yellow")
    return Text(report.phase or "done", style="cyan")


class _Rate:
    """How fast a count grows, over the last seconds: a source that slows down shows at once."""

    SPAN = timedelta(seconds=10)

    def __init__(self) -> None:
        self._seen: list[tuple[datetime, int]] = []

    def of(self, count: int, now: datetime) -> float:
        """Note the count and return its growth per second."""
        self._seen.append((now, count))
        while len(self._seen) > 2 and now - self._seen[1][0] > self.SPAN:
            del self._seen[0]
        since, before = self._seen[0]
        return (count - before) / (now - since).total_seconds() if now > since else 0.0
