"""What every part of a pass shares: the source, the warehouse, leases, waiting, failing in part.

The invariant: nothing is committed without comparing its lease in the same transaction, and no lease is held while
the source wants us to wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

import structlog
from sqlalchemy import Connection as Database

from syncer.budget import Limit, Purpose
from syncer.errors import (
    ContractError,
    Forbidden,
    LeaseLost,
    NotFound,
    RateLimited,
    Stopped,
    SyncerError,
    TransientError,
    WarehouseError,
)
from syncer.load.executions import Reading
from syncer.model import Execution, Window
from syncer.paging import Asked
from syncer.plan import horizon_start, is_chosen
from syncer.state import leases, limits, runs, watermarks
from syncer.state.leases import Lease, LeaseKey
from syncer.sync.budget import Budget, heed
from syncer.sync.hints import MARGIN
from syncer.sync.report import Failure, Report
from syncer.sync.tenant import Tenant

T = TypeVar("T")
Item = TypeVar("Item")

HEARTBEAT = leases.DURATION.total_seconds() / 3
"""Seconds between renewals of the leases held."""

GIVE_UP_AFTER = 3
"""Transient failures in a row, over all partitions, before the source counts as away."""

URGENT_WITHIN = timedelta(hours=24)
"""How close to the horizon history is when it may take half of what the source allows."""

BUSY_PAUSE = 1.0
LONGEST_BUSY_PAUSE = 15.0
"""Seconds before what another process works on is tried again: the first time, and at most."""


class Session:
    """One piece of work on a connection: what it has done, what it holds, and how it stops.

    Several may work on a tenant at the same time, each in a lane of its own. With `is_quiet`, failures of parts
    stand in the report alone: who repeats the work says whether anything has changed.
    """

    def __init__(self, tenant: Tenant, *, deadline: datetime | None = None, is_quiet: bool = False) -> None:
        self.connection = tenant.connection
        self.name = tenant.connection.name
        self.source = tenant.source
        self.writer = tenant.writer
        self.gate = tenant.gate
        self.encoder = tenant.encoder
        self.hints = tenant.hints
        self.room = tenant.room
        self._noted_facts = tenant.noted_facts
        self.report = Report(connection_id=self.name)
        self.chosen: frozenset[str] = frozenset()
        """Workflows known to be copied, by their ids."""
        self.log = structlog.get_logger().bind(connection=self.name)
        self._clock = self.gate.clock.now
        self.gate.deadline = deadline or self.gate.deadline
        self._failed = self.log.debug if is_quiet else self.log.warning
        self._owner = tenant.owner
        self._all_held = tenant.held
        self._held: set[Lease] = set()
        self._faults = 0
        self._own_faults = 0
        self._is_away = False

    @property
    def is_struggling(self) -> bool:
        """Whether so many single records could not be read that the rest had better wait for another time."""
        return self._own_faults >= GIVE_UP_AFTER

    def wants(self, execution: Execution, partition: str) -> bool:
        """Whether an execution is of a workflow that is copied: a partition may hold others as well."""
        patterns, workflow_id = self.connection.workflows, execution.workflow_id
        if not patterns or workflow_id == partition or workflow_id in self.chosen:
            return True
        name = execution.workflow_name
        return is_chosen(workflow_id, name if isinstance(name, str) else None, patterns)

    def are_wanted(self, left_out: Collection[str]) -> set[str]:
        """Those workflows of which executions were once not wanted and are now."""
        return set(left_out) & self.chosen if self.connection.workflows else set(left_out)

    def source_now(self) -> datetime:
        """The source's clock; where it tells none, the warehouse's less the lookback."""
        return self.source.now() or self.writer.now() - self.connection.lookback

    def latest(self) -> datetime:
        """What the source's clock may show by now at most, but for the time an answer is under way."""
        now = self.source.now()
        return self.writer.now() if now is None else now + MARGIN

    async def let_pass(self, instant: datetime) -> None:
        """Sleep until the source's clock has passed the instant, where that is a matter of MARGIN."""
        now = self.source.now()
        if now is not None and now < instant <= now + MARGIN:
            await self._doze((instant - now) / timedelta(seconds=1))

    def certain_horizon(self, margin: timedelta = timedelta(seconds=60)) -> datetime:
        """The oldest instant that may still be served, by whichever clock is behind: nothing is given up early."""
        now = min(self.source_now(), self.writer.now())
        return horizon_start(now, self.connection.horizon, margin)

    def purpose_of_history(self, oldest: datetime) -> Purpose:
        """What reading history counts as whose oldest part not copied is so old."""
        is_urgent = oldest < self.horizon_start() + URGENT_WITHIN
        return Purpose.URGENT if is_urgent else Purpose.HISTORY

    async def note_facts(self) -> None:
        """Keep what holds for the whole connection, where it has changed since it was noted last."""
        facts = dict(self.source.facts)
        if facts != self._noted_facts:
            await self.writer.run(lambda db: runs.note_facts(db, self.name, facts))
            self._noted_facts.clear()
            self._noted_facts.update(facts)

    async def release(self) -> None:
        """Leave what the source allows to work of other kinds: what was done so far is over."""
        if self.gate.limit:
            await self.writer.run(lambda db: limits.release(db, self.name))

    def horizon_start(self, margin: timedelta = timedelta(seconds=60)) -> datetime:
        """The oldest instant the source still serves, with a margin for a request on its way."""
        return horizon_start(self.source_now(), self.connection.horizon, margin)

    def with_all_before(self, proved: Window) -> Window:
        """What was proved, with all before it where it begins at the horizon: nothing more can be found out of that."""
        is_oldest = proved.start <= self.horizon_start()
        return Window(datetime.min.replace(tzinfo=UTC), proved.end) if is_oldest else proved

    def asked(self) -> Asked:
        """The circumstances of a request about to be sent."""
        return Asked(at=self.writer.now(), source_at=self.source_now())

    def reading(self, partition: str, asked: Asked, now: datetime) -> Reading:
        """The circumstances under which rows of a partition are written."""
        return Reading(
            connection_id=self.name,
            partition=partition,
            asked_at=asked.at,
            source_at=asked.source_at,
            now=now,
            settle=self.connection.settle,
            with_steps=self.connection.steps,
        )

    @asynccontextmanager
    async def running(self, first: Callable[[Database], object] | None = None) -> AsyncIterator[None]:
        """Keep leases alive, and waits and limits that other processes were told of, while the body works; `first` goes
        into the transaction that comes before it."""
        if self.gate.supply is None:
            self.gate.supply = Budget(self.connection, self.gate, self.writer).take

        def arrive(db: Database) -> tuple[limits.Wait | None, Limit | None]:
            if first is not None:
                first(db)
            return limits.remaining_wait(db, self.name), limits.told_limit(db, self.name)

        wait, limit = await self.writer.run(arrive)
        self._heed(wait)
        self.gate.limit = self.gate.limit or limit
        heartbeat = asyncio.create_task(self._keep_leases())
        try:
            yield
        finally:
            heartbeat.cancel()
            with suppress(asyncio.CancelledError):
                await heartbeat

    def _heed(self, wait: limits.Wait | None) -> None:
        """Wait as the source has told another process, or this one before."""
        heed(self.gate, wait)

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT)
            for lease in tuple(self._held):
                with suppress(LeaseLost, WarehouseError):  # the next commit under it will find out
                    self._heed(
                        await self.commit(lease, lambda db, _now: limits.remaining_wait(db, self.name))
                    )

    @asynccontextmanager
    async def lease(self, stream: str, partition: str, lane: str) -> AsyncIterator[Lease | None]:
        """Hold a lease while the body works; None where another process holds it. Raises while we are to wait."""
        key = LeaseKey(self.name, stream, partition, lane)

        def take(db: Database) -> tuple[Lease | None, limits.Wait | None]:
            wait = limits.remaining_wait(db, self.name)
            if wait and (self.gate.is_waiting or self.gate.is_news(wait.until)):
                return None, wait
            return leases.acquire(db, key, self._owner, self._all_held), wait

        lease, wait = await self.writer.run(take)
        self._heed(wait)
        if lease is None:
            self.gate.check()
            yield None
            return
        self._held.add(lease)
        self._all_held.add(key)
        try:
            yield lease
        finally:
            self._held.discard(lease)
            self._all_held.discard(key)
            await self.writer.run(lambda db: leases.release(db, lease))

    async def commit(self, lease: Lease, work: Callable[[Database, datetime], T]) -> T:
        """Run `work(db, now)` in one transaction that compares the lease; LeaseLost if it is no longer ours."""

        def fenced(db: Database) -> T:
            return work(db, leases.fence(db, lease))

        return await self.writer.run(fenced)

    async def each(
        self,
        stream: str,
        items: Iterable[Item],
        work: Callable[[Item], Awaitable[bool]],
        *,
        workers: int,
        name: Callable[[Item], str] = str,
        waits: bool = True,
    ) -> None:
        """Work on all items, a few at a time, waiting as the source says; one that fails does not stop the others.

        `work` returns False where another process holds the item; it is tried again at the end. Failures are noted
        under the item's name. Who holds a lease around it passes `waits=False`: RateLimited is raised instead.
        """
        pending, pause = deque(items), BUSY_PAUSE
        while pending:
            crew = _Crew(self, stream, pending, work, name)
            await asyncio.gather(*(crew.work_off() for _ in range(max(1, workers))))
            pending.extend(crew.busy)
            if crew.crash is not None:
                raise crew.crash
            if crew.limit is not None and not waits:
                raise crew.limit
            if crew.limit is not None:
                await self.wait(crew.limit)
            elif pending:
                self.report.held_by = "another process"
                await self._doze(pause)
                pause = min(2 * pause, LONGEST_BUSY_PAUSE)
        self.report.held_by = None

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        """The items in another order each time, so that none is always behind those that fail."""
        return sorted(items, key=lambda _: self.gate.clock.random())

    def note_answer(self) -> None:
        """The source answers: what failed before was not because it is away."""
        self._faults = 0

    async def note_failure(
        self, stream: str, partition: str, error: SyncerError, *, is_own: bool = False
    ) -> None:
        """Record a failed part; raises it again when the source seems to be away altogether.

        One that is a record's `own` says nothing of that. Once it seems to be away nothing is recorded any more.
        """
        if self._is_away:
            raise error
        error.at(connection=self.name, stream=stream)
        failure = Failure(stream=stream, partition=partition, message=error.message, hint=error.hint)
        self.report.failures.append(failure)
        self._failed("failed", stream=stream, partition=partition, error=error.message, hint=error.hint)
        if stream == watermarks.EXECUTIONS and not isinstance(error, LeaseLost):
            await self.writer.run(
                lambda db: watermarks.note_error(
                    db, self.name, stream, partition, now=self.writer.now(), error=error.message
                )
            )
        if is_own:
            self._own_faults += 1
            return
        self._faults = self._faults + 1 if isinstance(error, TransientError | Forbidden) else 0
        if self._faults >= GIVE_UP_AFTER:
            self._is_away = True
            raise error

    async def wait(self, limit: RateLimited) -> None:
        """Sleep as long as the source says, having written it down; Stopped where that is longer than we may."""
        remaining = limit.until - self._clock()
        reason = self.gate.reason or limit.message
        self._heed(await self.writer.run(lambda db: limits.note_wait(db, self.name, remaining, reason)))
        if self.gate.deadline is not None and limit.until >= self.gate.deadline:
            raise Stopped(f"the source asks to wait until {limit.until:%Y-%m-%d %H:%M:%S} UTC")
        if self.gate.first_to_tell(limit.until):
            self.log.info("waiting", until=limit.until.isoformat(timespec="seconds"), reason=reason)
        self.report.waiting_until = limit.until
        try:
            await self._doze((limit.until - self._clock()) / timedelta(seconds=1))
        finally:
            self.report.waiting_until = None

    async def _doze(self, seconds: float) -> None:
        await self.gate.doze(seconds, self.check_stop)

    def check_stop(self) -> None:
        """Raise Stopped if we were asked to stop or the time given is over."""
        with suppress(RateLimited):
            self.gate.check()


class _Crew(Generic[Item]):
    """Workers on one list of items; all of them lay down their tools when one is told to wait or fails for good."""

    def __init__(
        self,
        session: Session,
        stream: str,
        pending: deque[Item],
        work: Callable[[Item], Awaitable[bool]],
        name: Callable[[Item], str],
    ) -> None:
        self._session = session
        self._stream = stream
        self._pending = pending
        self._work = work
        self._name = name
        self.busy: list[Item] = []
        self._limits: list[RateLimited] = []
        self._crashes: list[BaseException] = []

    @property
    def _is_over(self) -> bool:
        return bool(self._limits or self._crashes)

    @property
    def limit(self) -> RateLimited | None:
        """The longest wait that was asked for."""
        return max(self._limits, key=lambda limit: limit.until, default=None)

    @property
    def crash(self) -> BaseException | None:
        """The first error that is not one item's own."""
        return self._crashes[0] if self._crashes else None

    async def work_off(self) -> None:
        """Work until nothing is left or somebody stopped; never raises, so that no other is cut short."""
        while self._pending and not self._is_over:
            item = self._pending.popleft()
            try:
                await self._work_on(item)
            except RateLimited as limit:
                self._pending.appendleft(item)
                self._limits.append(limit)
            except BaseException as error:  # noqa: BLE001 - raised by `each` once the others have put their work away
                self._crashes.append(error)

    async def _work_on(self, item: Item) -> None:
        try:
            if not await self._work(item):
                self.busy.append(item)
            self._session.note_answer()
        except (TransientError, ContractError, NotFound, LeaseLost, Forbidden) as error:
            await self._session.note_failure(self._stream, self._name(item), error)
