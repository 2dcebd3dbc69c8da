"""All connections together: one scheduler, one warehouse, and what starts, changes and ends their polling.

Invariant: it ends when it is told to and not before; what cannot be worked with now is tried again. It builds nothing
by itself: the warehouse and the tenants come in as functions (`Tools`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, timedelta

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from msgspec import Struct
from sqlalchemy import Engine

from syncer.config import Connection, Settings
from syncer.errors import ConfigError, SyncerError, WarehouseError
from syncer.http import Clock
from syncer.service.pauses import Pauses
from syncer.service.poller import Poller
from syncer.state import runs
from syncer.sync import Tenant

BEAT = 1.0
"""Seconds between two signs of life of the event loop."""

CLOCK_SET_BACK = timedelta(seconds=5)
"""From here on the local clock has not drifted but was set: what goes by it would wait for as long again."""

CLOCK_HINT = "waits and polls go on as before; see that this machine keeps time"

TIDY_EVERY = timedelta(hours=6)
KEEP_RUNS = timedelta(days=90)
"""How long `syncer.runs` remembers."""

REVIVE_EVERY = timedelta(seconds=10)
"""How often a warehouse that is away, and is ours to start, is started."""


class Tools(Struct, frozen=True, kw_only=True):
    """What the service is built with. `open_warehouse` blocks, raises WarehouseError, and may be called again."""

    load: Callable[[], Settings]
    open_warehouse: Callable[[Settings], Engine]
    open_tenant: Callable[[Connection, Engine], Tenant]
    clock: Clock = Clock()


class Service:
    """Polls every connection until `stop`; see `syncer.service.vitals.Vitals` for what may be asked of it meanwhile."""

    def __init__(self, settings: Settings, tools: Tools) -> None:
        self.started_at = tools.clock.now()
        self.engine: Engine | None = None
        self._settings = settings
        self._tools = tools
        self._log = structlog.get_logger()
        self._pollers: dict[str, Poller] = {}
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._unreached: SyncerError | None = None
        self._turned_at = tools.clock.monotonic()
        self._ended = asyncio.Event()
        self._leaving: set[asyncio.Task[None]] = set()
        self._unusable: dict[str, list[str]] = {}

    @property
    def trouble(self) -> SyncerError | None:
        """Why the warehouse cannot be worked with; None if it can."""
        met = (poller.trouble for poller in self.pollers())
        return self._unreached or next((error for error in met if isinstance(error, WarehouseError)), None)

    @property
    def broken(self) -> Mapping[str, Sequence[str]]:
        """Connections whose configuration cannot be used, with what is wrong."""
        return {**self._settings.broken, **self._unusable}

    def pollers(self) -> Sequence[Poller]:
        """The connections being polled, by name; asked for by another thread, too."""
        return [poller for _, poller in sorted(dict(self._pollers).items())]

    def idle(self) -> float:
        """Seconds since the event loop last turned."""
        return self._tools.clock.monotonic() - self._turned_at

    async def run(self) -> None:
        """Poll until `stop`."""
        # What a poll that takes long makes the scheduler say is not worth a line every few minutes.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._tell_broken(self._settings)
        beat = asyncio.create_task(self._beat())
        self._scheduler.start()
        try:
            await self._reach()
            if not self._ended.is_set():
                self._begin()
                self._log.info("started", connections=len(self._pollers))
                await self._ended.wait()
        finally:
            for poller in self.pollers():
                self._leave(poller, "the service ends")
            await asyncio.gather(*self._leaving)
            self._scheduler.shutdown(wait=False)
            beat.cancel()
            if self.engine is not None:
                self.engine.dispose()

    def stop(self, reason: str) -> None:
        """End in good order: no further request, what is complete is committed."""
        self._ended.set()
        for poller in self.pollers():
            poller.stop(reason)

    def abandon(self) -> None:
        """Give up what is in flight."""
        for poller in self.pollers():
            poller.abandon()

    def reload(self) -> None:
        """Take over what has changed in the configuration; as it was, if the new one cannot be used."""
        try:
            settings = self._tools.load()
        except ConfigError as error:
            self._log.error("not reloaded", error=error.message, hint=error.hint)
            return
        if settings.warehouse != self._settings.warehouse:
            self._log.warning("needs a restart", part="warehouse", hint="the rest is in force now")
        if settings.service.listen != self._settings.service.listen:
            self._log.warning("needs a restart", part="service.listen", hint="the rest is in force now")
        self._tell_broken(settings)
        before, self._settings = self._settings, settings
        changed = [
            name for name, each in before.connections.items() if settings.connections.get(name) != each
        ]
        for name in changed:
            if name in self._pollers:
                self._leave(self._pollers.pop(name), "its configuration changed")
        if self.engine is not None and not self._ended.is_set():
            self._begin()
        self._log.info("reloaded", connections=len(settings.connections), changed=changed)

    def _begin(self) -> None:
        """Start polling every connection that is not polled yet."""
        assert self.engine is not None
        self._unusable.clear()
        for name, connection in self._settings.connections.items():
            if name in self._pollers:
                continue
            try:
                tenant = self._tools.open_tenant(connection, self.engine)
            except ConfigError as error:
                self._log.error("cannot be polled", connection=name, error=error.message, hint=error.hint)
                self._unusable[name] = [error.message]
                continue
            self._pollers[name] = Poller(tenant, self._scheduler)
            self._pollers[name].start()

    def _tell_broken(self, settings: Settings) -> None:
        for name, problems in settings.broken.items():
            self._log.error(
                "not polled", connection=name, problems=list(problems), hint="mend it, then reload"
            )

    def _leave(self, poller: Poller, reason: str) -> None:
        poller.stop(reason)
        task = asyncio.create_task(poller.close())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _reach(self) -> None:
        """Reach the warehouse, however long it is away."""
        pauses = Pauses(self._tools.clock.random)
        while self.engine is None and not self._ended.is_set():
            try:
                self.engine = await asyncio.to_thread(self._tools.open_warehouse, self._settings)
            except WarehouseError as error:
                if self._unreached is None:
                    self._log.warning("no warehouse", error=error.message, hint=error.hint)
                self._unreached = error
                await self._doze(pauses.after(error))
        if self._unreached and self.engine is not None:
            self._log.info("warehouse reached")
            self._unreached = None
        self._scheduler.add_job(self._tidy, "interval", seconds=TIDY_EVERY.total_seconds(), jitter=600)
        self._scheduler.add_job(self._revive, "interval", seconds=REVIVE_EVERY.total_seconds())

    async def _doze(self, pause: timedelta) -> None:
        try:
            await asyncio.wait_for(self._ended.wait(), pause.total_seconds())
        except TimeoutError:
            return

    async def _beat(self) -> None:
        clock = self._tools.clock
        while True:
            before, self._turned_at = clock.now(), clock.monotonic()
            await asyncio.sleep(BEAT)
            passed = timedelta(seconds=clock.monotonic() - self._turned_at)
            moved = clock.now() - before - passed
            if (
                moved < -CLOCK_SET_BACK
            ):  # forward it may be a machine that was suspended, and time that did pass
                self._log.warning("clock set back", seconds=round(-moved.total_seconds()), hint=CLOCK_HINT)
                for poller in self.pollers():
                    poller.clock_set_back(-moved)

    async def _tidy(self) -> None:
        """Forget old runs."""
        if self.engine is not None and self.trouble is None:
            await asyncio.to_thread(_forget_runs, self.engine)

    async def _revive(self) -> None:
        """Start the embedded server again where it is gone."""
        if self.trouble is None or not self._settings.warehouse.embedded:
            return
        try:
            made = await asyncio.to_thread(self._tools.open_warehouse, self._settings)
        except WarehouseError:
            return  # told already, and tried again
        made.dispose()


def _forget_runs(engine: Engine) -> None:
    with engine.begin() as db:
        runs.forget_runs(db, KEEP_RUNS)
