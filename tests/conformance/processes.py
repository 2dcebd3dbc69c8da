"""Processes on one warehouse in one event loop: who goes on after each request and each commit is decided by a seed.

Database work is done where it is asked for and not in a thread, so that a race is the same each time. Invariant: a
process that has died does nothing more, not even give back its leases.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any, NamedTuple, TypeVar, cast

from sqlalchemy import Connection as Database
from sqlalchemy import Engine

from syncer.decode.redact import Redactor
from syncer.encode import Encoder
from syncer.errors import ContractError, RateLimited, Stopped, TransientError
from syncer.http import Clock, Gate
from syncer.sources import Source
from syncer.sync import Report, Session, Tenant, backfill, history, new_room, poll, recent_steps, sync
from syncer.writer import Writer, in_transaction
from tests.conformance.living import LivingWorld
from tests.conformance.toys import Toy
from tests.passes import settings

T = TypeVar("T")

ALWAYS = timedelta(microseconds=1)
"""An interval of polls so short that no partition counts as just read."""

AT_REQUEST = ("killed", "coughs", "away", "contract", "limited", "stopped")
AT_COMMIT = ("dies before", "dies after")
AT_TURN = ("suspended", "clock set")
MISHAPS = (*AT_REQUEST, *AT_COMMIT, *AT_TURN)

LANES: dict[str, Callable[[Session], Any]] = {
    "sync": sync,
    "poll": lambda session: poll(session, ALWAYS),
    "steps": recent_steps,
    "history": history,
    "backfill": lambda session: backfill(session, session.source_now() - timedelta(days=5), None),
    "old backfill": lambda session: backfill(
        session, session.source_now() - timedelta(days=25), session.source_now() - timedelta(hours=2)
    ),
}

Plan = Sequence[Sequence[str]]
"""What a process does: one stage after the other, the lanes of a stage at the same time."""


class Killed(BaseException):
    """The process is no more."""


class Mishap(NamedTuple):
    """What befalls a process, at which of its requests, commits or turns, counted from 1."""

    kind: str
    at: int


class Neighbours:
    """What all processes on a warehouse share: the world, the chance that decides who goes on, the leases."""

    def __init__(
        self, engine: Engine, world: LivingWorld, toy: Callable[[LivingWorld], Toy], name: str
    ) -> None:
        self.engine = engine
        self.world = world
        self.toy = toy
        self.name = name
        self.happened: Counter[str] = Counter()
        self.liveliness = 0.0
        self.skew = timedelta(0)
        self.alive = 0
        self._anchor: tuple[Any, float] | None = None

    def execute(self, statement: str) -> None:
        """Change something behind the daemon's back; `{own}` names this connection."""
        with self.engine.begin() as db:
            db.exec_driver_sql(statement.format(own=f"connection_id = '{self.name}'"))

    def let_leases_run_out(self) -> None:
        """Let the minute be over for which a process holds what it does not renew."""
        self.execute("UPDATE syncer.leases SET until = now() - interval '1 second' WHERE {own}")

    def run(self, plans: Sequence[Plan], mishaps: Sequence[Mishap | None], seed: int) -> list[Report]:
        """Let processes work, each by its plan, until all of them have ended in some way."""
        chance = Random(seed)

        async def together() -> list[Report]:
            processes = [
                Process(self, plan, mishap, chance) for plan, mishap in zip(plans, mishaps, strict=True)
            ]
            self.alive = len(processes)
            await asyncio.gather(*(self._until_the_end(process, processes) for process in processes))
            return [report for process in processes for report in process.reports]

        reports = asyncio.run(together())
        for failure in [each for report in reports for each in report.failures]:
            self.happened["fenced off"] += failure.message.startswith("another process took over")
        return reports

    async def _until_the_end(self, process: Process, everybody: Sequence[Process]) -> None:
        try:
            await process.live()
        finally:
            self.alive -= 1
        for other in everybody:
            other.awake.set()


class Process:
    """A process that copies, with a tenant of its own, and its mishap."""

    def __init__(self, shared: Neighbours, plan: Plan, mishap: Mishap | None, chance: Random) -> None:
        self.shared = shared
        self.reports: list[Report] = []
        self.awake = asyncio.Event()
        self.awake.set()
        self._plan = plan
        self._mishap = mishap
        self._chance = chance
        self._counts: Counter[str] = Counter()
        self._death = asyncio.Event()
        self.gate = Gate(Clock(now=self._now, sleep=self._sleep, random=chance.random))

    async def live(self) -> None:
        """Work by the plan, or die."""
        work = asyncio.create_task(self._work())
        death = asyncio.create_task(self._death.wait())
        await asyncio.wait({work, death}, return_when=asyncio.FIRST_COMPLETED)
        if self._death.is_set():
            self.shared.let_leases_run_out()
            work.cancel()
        else:
            death.cancel()
            await work

    async def _work(self) -> None:
        connection = settings(name=self.shared.name)
        source = cast("Source", _Wire(self.shared.toy(self.shared.world), self))
        writer = _Writer(self.shared.engine, self)
        await writer.start()
        tenant = Tenant(
            connection=connection,
            source=source,
            gate=self.gate,
            writer=writer,
            encoder=Encoder(Redactor(connection.redact_keys)),
            room=new_room(),
        )
        for stage in self._plan:
            self.reports += await asyncio.gather(*(LANES[lane](Session(tenant)) for lane in stage))
        await tenant.close()

    def _now(self) -> Any:
        return self.shared.world.now + self.shared.skew

    async def _sleep(self, seconds: float) -> None:
        self.shared.world.advance(timedelta(seconds=seconds))
        await asyncio.sleep(0)

    async def turn(self) -> None:
        """Let others go on, and the world live; it may be long until it is this process' turn again."""
        if self.shared.alive > 1 and self._is_time_for("suspended"):
            self.shared.let_leases_run_out()
            self.awake.clear()
        if self._is_time_for("clock set"):
            self.shared.skew = timedelta(minutes=self._chance.choice((-90, -1, 5, 3000)))
        for _ in range(self._chance.choice((0, 0, 0, 1, 1, 3, 10))):
            await asyncio.sleep(0)
        await self.awake.wait()
        self._stay_alive()
        world = self.shared.world
        if self._chance.random() < self.shared.liveliness:
            world.live()
            world.advance(timedelta(milliseconds=self._chance.randrange(600)))

    def request(self) -> None:
        """Have what befalls this request."""
        self._stay_alive()
        self._counts["request"] += 1
        due = self._mishap is not None and self._mishap.kind in AT_REQUEST
        if not due or self._mishap is None or self._counts["request"] < self._mishap.at:
            return
        kind, at = self._mishap
        if self._counts["request"] == at or kind in ("away", "stopped"):
            self.shared.happened[kind] += self._counts["request"] == at
            self._befall(kind)

    def _befall(self, kind: str) -> None:
        if kind == "killed":
            self._die()
        if kind == "limited":
            until = self._now() + timedelta(seconds=self._chance.choice((5, 70, 1500)))
            self.gate.wait_until(until, "too often")
            raise RateLimited("wait", until)
        raise {
            "coughs": TransientError("the gateway coughed"),
            "away": TransientError("nobody answers"),
            "contract": ContractError("this is no list"),
            "stopped": Stopped("asked to"),
        }[kind]

    def committing(self, db: Database) -> None:
        """Have what befalls the transaction before its end."""
        del db
        self._counts["commit"] += 1
        if self._strikes("dies before", "commit"):
            self._die()

    def committed(self) -> None:
        """Have what befalls the process after the commit, before it knows."""
        if self._strikes("dies after", "commit"):
            self._die()

    def _is_time_for(self, kind: str) -> bool:
        self._counts[kind] += 1
        return self._strikes(kind, kind)

    def _strikes(self, kind: str, counted: str) -> bool:
        strikes = self._mishap == Mishap(kind, self._counts[counted])
        self.shared.happened[kind] += strikes
        return strikes

    def _die(self) -> None:
        self._death.set()
        raise Killed

    def _stay_alive(self) -> None:
        if self._death.is_set():
            raise Killed


class _Writer(Writer):
    """Does its work in the loop's own thread, in turn with other processes; all share one idea of the time."""

    def __init__(self, engine: Engine, process: Process) -> None:
        super().__init__(engine)
        self._process = process

    async def start(self) -> None:
        shared = self._process.shared
        if shared._anchor is None:
            await super().start()
            shared._anchor = self._anchor
        self._anchor = shared._anchor

    async def run(self, work: Callable[[Database], T]) -> T:
        await self._process.turn()

        def whole(db: Database) -> T:
            result = work(db)
            self._process.committing(db)
            return result

        result = in_transaction(self._engine.connect(), whole)
        self._process.committed()
        return result


class _Wire:
    """A source whose requests and answers are under way for a while."""

    def __init__(self, source: Toy, process: Process) -> None:
        self._source = source
        self._process = process

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._source, name)
        return partial(self._travel, member) if inspect.iscoroutinefunction(member) else member

    async def _travel(self, member: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        await self._process.turn()
        if arguments:
            self._process.request()
        answer = await member(*arguments, **options)
        await self._process.turn()
        return answer
