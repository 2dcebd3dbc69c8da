"""One connection of the service: polled on its schedule, with steps and history copied beside the polls.

    poll      workflows, new and open executions; it alone decides when what fails is tried again
    steps     of what was created lately; begins when a poll has ended
    history   and the steps of what is older; begins when a poll has ended

Invariant: each of the three runs once at a time, nothing that happens in one ends another, and a line is logged when
the state changes, not when it is found to be as before. It must not know other connections.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from uuid import uuid4

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from msgspec import Struct

from syncer import sync
from syncer.config import Connection, Cron
from syncer.errors import AuthError, ConfigError, SyncerError, WarehouseError, unexpected
from syncer.http import Traffic
from syncer.service.complaints import Complaints
from syncer.service.pauses import PARTS, Pauses
from syncer.state import runs
from syncer.sync import Failure, Report, Session, Tenant

COMMAND = "run"
"""What the polls of the service are called in `syncer.runs`."""

JITTER = 0.05
LONGEST_JITTER = timedelta(seconds=30)
"""Part of the interval, and at most, by which a poll comes later, so that many do not come at once."""

Work = Callable[[Session], Awaitable[Report]]


class Poller:
    """Keeps one connection copied; `start` it in the event loop, then `stop` it, then `close` it."""

    def __init__(self, tenant: Tenant, scheduler: AsyncIOScheduler) -> None:
        self.connection: Connection = tenant.connection
        self.name = tenant.connection.name
        self.last_success_at: datetime | None = None
        self._tenant = tenant
        self._scheduler = scheduler
        self._clock = tenant.gate.clock
        self._log = structlog.get_logger().bind(connection=self.name)
        self._complaints = Complaints(self._log)
        self._pauses = Pauses(self._clock.random)
        self._part_pauses = Pauses(self._clock.random, PARTS)
        self._retry_at: datetime | None = None
        self._tally = _Tally()
        self._lanes: dict[str, Work] = {"steps": sync.recent_steps, "history": sync.history}
        self._woken = {lane: asyncio.Event() for lane in self._lanes}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_polling = False
        self._is_stopped = False

    @property
    def rows(self) -> Mapping[str, int]:
        """Rows committed so far by table, those found unchanged included."""
        return self._tally.total()

    @property
    def traffic(self) -> Traffic:
        """What went over the wire so far."""
        return self._tenant.source.traffic

    @property
    def waits(self) -> int:
        """Waits the source asked for so far."""
        return self._tenant.gate.waits

    @property
    def not_before(self) -> datetime | None:
        """The end of the present wait."""
        return self._tenant.gate.not_before if self._tenant.gate.is_waiting else None

    @property
    def trouble(self) -> SyncerError | None:
        """Why the connection does not get on; None if all is well."""
        return self._complaints.trouble

    def start(self) -> None:
        """Poll from now on; one that polls at intervals does so at once."""
        now = self._clock.now()
        trigger = _trigger(self.connection.poll, now)
        at_once = {} if isinstance(self.connection.poll, Cron) else {"next_run_time": now}
        self._scheduler.add_job(
            self.poll,
            trigger,
            id=self.name,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
            **at_once,
        )
        for lane in self._lanes:
            self._begin(self._keep(lane))

    def clock_set_back(self, by: timedelta) -> None:
        """The local clock was set back: waits end as if it had not been, and the next poll comes now."""
        self._tenant.gate.clock_set_back(by)
        self._retry_at = None
        if job := self._scheduler.get_job(self.name):
            job.modify(next_run_time=self._clock.now())

    async def poll(self) -> None:
        """Make one poll, unless one is under way or the pause after a failure is not over."""
        is_early = self._retry_at is not None and self._clock.now() < self._retry_at
        if self._is_polling or self._is_stopped or is_early:
            return
        self._is_polling = True
        task = self._begin(self._poll())
        try:
            with suppress(asyncio.CancelledError):
                await asyncio.shield(task)  # the scheduler's end must not cut short what is being committed
        finally:
            self._is_polling = False

    async def _poll(self) -> None:
        every = _interval(self.connection.poll, self._clock.now())
        failures: list[Failure] = []
        report = await self._attempt("poll", lambda session: self._noted(session, every, failures))
        error = report.error
        if isinstance(error, ConfigError):
            self._give_up()
        elif error is not None:
            self._again_after(self._pauses.after(error))
        elif failures and every > PARTS.longest:
            self._again_after(self._part_pauses.after())
        else:
            self._pauses.reset()
            self._part_pauses.reset()
            self._retry_at = None
        if not isinstance(error, AuthError | ConfigError | WarehouseError):
            for (
                event
            ) in self._woken.values():  # parts that keep a poll from its end keep nothing else from going on
                event.set()

    async def _noted(self, session: Session, every: timedelta, failures: list[Failure]) -> Report:
        """A poll, with what became of it in `syncer.runs`; one that ends by a fault of ours stands there, too."""
        writer, run_id = self._tenant.writer, uuid4().hex[:12]
        structlog.contextvars.bind_contextvars(run_id=run_id)
        await writer.start()
        owner = self._tenant.owner
        await writer.run(lambda db: runs.begin_run(db, run_id, COMMAND, self.name, owner))
        report, state = session.report, "failed"
        try:
            report = await sync.poll(session, every)
            state = report.state
        finally:
            failures += report.failures
            error = report.error.message if report.error else None
            counts = {"rows": dict(report.rows)}
            await writer.run(lambda db: runs.end_run(db, run_id, state, counts, error))
        if not (report.failures or report.stopped or report.error):
            self.last_success_at = self._clock.now()
        return report

    async def _keep(self, lane: str) -> None:
        """Work whenever a poll has ended, and after a pause where that failed: the next poll may be a day away."""
        pauses, pause = Pauses(self._clock.random), None
        while not self._is_stopped:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken[lane].wait(), pause)
            self._woken[lane].clear()
            report = await self._attempt(lane, self._lanes[lane])
            if report.error is None:
                pauses.reset()
            pause = pauses.after(report.error).total_seconds() if report.error else None
            # The last day of what it copied is work for the other lane.
            if lane == "history" and report.rows["executions"]:
                self._woken["steps"].set()

    async def _attempt(self, lane: str, work: Work) -> Report:
        """Do one piece of work; what ended it early stands in the report, and was told where that is new."""
        session = Session(self._tenant, is_quiet=True)
        report = session.report
        self._tally = self._tally.with_report(report)
        try:
            await work(session)
        except SyncerError as met:
            report.error = met
        except Exception as fault:  # noqa: BLE001 - a fault of ours in one connection must not end the service
            structlog.get_logger().debug("unexpected", connection=self.name, exc_info=True)
            report.error = unexpected(fault)
        finally:
            self._tally = self._tally.closed(report)
        if not self._is_stopped:
            self._complaints.hear(lane, report.error, report.failures)
        return report

    def _give_up(self) -> None:
        """Poll no more: only a person can mend it."""
        if not self._is_stopped:
            self._scheduler.remove_job(self.name)

    def _again_after(self, pause: timedelta) -> None:
        """Poll once more before the time of the next poll, and not before the pause is over."""
        if self._is_stopped:
            return
        self._retry_at = self._clock.now() + pause
        self._scheduler.add_job(
            self.poll,
            DateTrigger(self._retry_at),
            id=f"{self.name} again",
            replace_existing=True,
            misfire_grace_time=None,
        )

    def stop(self, reason: str) -> None:
        """Make no further request; what is complete is committed."""
        self._is_stopped = True
        self._tenant.gate.stop(reason)
        for event in self._woken.values():
            event.set()
        for job in (self.name, f"{self.name} again"):
            if self._scheduler.get_job(job):
                self._scheduler.remove_job(job)

    def abandon(self) -> None:
        """Give up what is in flight."""
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """Wait until all work has ended, and give everything back."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._tenant.close()

    def _begin(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class _Tally(Struct, frozen=True):
    """Rows of the work that has ended, and reports of that under way; replaced whole, for another thread reads it."""

    ended: Mapping[str, int] = {}
    reports: tuple[Report, ...] = ()

    def with_report(self, report: Report) -> _Tally:
        return _Tally(self.ended, (*self.reports, report))

    def closed(self, report: Report) -> _Tally:
        others = tuple(each for each in self.reports if each is not report)
        return _Tally(_Tally(self.ended, (report,)).total(), others)

    def total(self) -> Mapping[str, int]:
        rows = Counter(self.ended)
        for report in self.reports:
            rows.update(dict(report.rows))
        return rows


def _trigger(poll: timedelta | Cron, now: datetime) -> BaseTrigger:
    jitter = min(_interval(poll, now) * JITTER, LONGEST_JITTER).total_seconds()
    if isinstance(poll, Cron):
        trigger = poll.trigger()
        trigger.jitter = jitter
        return trigger
    return IntervalTrigger(seconds=poll.total_seconds(), jitter=jitter)


def _interval(poll: timedelta | Cron, now: datetime) -> timedelta:
    """How often a connection is polled; for a cron expression the time between its next two turns."""
    if not isinstance(poll, Cron):
        return poll
    trigger = poll.trigger()
    first: datetime = trigger.get_next_fire_time(None, now)
    second: datetime = trigger.get_next_fire_time(first, first)
    return second - first
