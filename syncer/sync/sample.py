"""Executions read by id, with their steps, and compared with what is stored, value by value.

What the source says is written through the loader over a stand-in of what is stored, which is then thrown away: so a
value counts as different only if a copy would write another.

Invariant: without repair no row of `history` is touched. Sources may show a record otherwise in lists than by itself,
so a column of an execution counts as different only if the list, too, where it has it, says something else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial

from msgspec import Struct, structs
from sqlalchemy import Connection as Database

from syncer.encode import digest
from syncer.errors import NotFound
from syncer.load import compare
from syncer.load.compare import Candidate, Rows, Snapshot
from syncer.load.executions import load_executions, mark_missing
from syncer.load.steps import StepsRead
from syncer.model import Execution, ExecutionRef, Window
from syncer.paging import Asked
from syncer.state.watermarks import EXECUTIONS
from syncer.sync.differences import Difference, Kind, Verified
from syncer.sync.listed import list_window
from syncer.sync.session import Session
from syncer.sync.steps import land_steps

SAMPLE = "sample"
"""The stream that failures are noted under."""

ROUND = 500
"""Executions with counts that do not agree taken from the warehouse at a time."""

STAND_IN = " stand-in"
"""The name of no connection: one in the configuration has no space."""

_COUNTS = frozenset({"step_count", "failed_step_count"})


class _Told(Struct, frozen=True, kw_only=True):
    """What the source says of one execution; `steps` is None where they are not compared."""

    ref: ExecutionRef
    execution: Execution
    asked: Asked
    steps: StepsRead | None


class _Trial(Struct, frozen=True, kw_only=True):
    """What writing it would change, and which columns of the execution's row hold nothing."""

    differences: list[Difference]
    nulls: frozenset[str]


class Sampler:
    """Compares executions one by one, and notes what differs."""

    def __init__(self, session: Session, found: Verified, *, is_repairing: bool) -> None:
        self.session = session
        self.found = found
        self.is_repairing = is_repairing

    async def run(self, spans: Mapping[str, Window], size: int) -> None:
        """Compare executions whose steps are not all there, then so many others drawn by chance."""
        session = self.session
        session.report.phase = "steps"
        last: ExecutionRef | None = None
        while found := await self._lacking(spans, last):
            last = found[-1].ref
            await self._each(found, self._mend_steps)
        session.report.phase = "sample"
        await self._each(await session.writer.run(partial(self._draw, spans, size)), self._compare)

    def _draw(self, spans: Mapping[str, Window], size: int, db: Database) -> list[Candidate]:
        """A sample of those of which nothing is told yet."""
        name, seed = self.session.name, str(self.session.gate.clock.random())
        drawn = compare.a_sample(db, name, spans, size, seed)
        return [each for each in drawn if not compare.lacks_steps(db, name, each.ref)]

    async def _lacking(self, spans: Mapping[str, Window], after: ExecutionRef | None) -> list[Candidate]:
        return await self.session.writer.run(
            lambda db: compare.lacking_steps(db, self.session.name, spans, after, ROUND)
        )

    async def _each(
        self, candidates: Sequence[Candidate], work: Callable[[Candidate], Awaitable[bool]]
    ) -> None:
        workers = self.session.connection.max_concurrency
        await self.session.each(SAMPLE, candidates, work, workers=workers, name=_name)

    async def _mend_steps(self, candidate: Candidate) -> bool:
        """Note that steps are not all there, and read them again where that is asked for."""
        ref, name = candidate.ref, self.session.name
        is_repaired = False
        if self.is_repairing and self.session.connection.steps:
            told = await self._ask(candidate)
            if told is not None and not await self._write(told):
                return False
            is_repaired = await self.session.writer.run(lambda db: not compare.lacks_steps(db, name, ref))
        self.found.note([_difference(ref, Kind.STEPS, "steps", is_repaired=is_repaired)])
        return True

    async def _compare(self, candidate: Candidate) -> bool:
        """Compare one execution, and repair it; False where another process is at it."""
        ref, session = candidate.ref, self.session
        told = await self._ask(candidate)
        if told is None:
            return await self._note_gone(ref)
        trial = await session.writer.run(lambda db: self._try(db, told))
        differences = await self._sure(told, trial)
        if differences and self.is_repairing and not await self._write(told):
            return False
        self.found.sampled += 1
        self.found.note(structs.replace(each, is_repaired=self.is_repairing) for each in differences)
        return True

    async def _ask(self, candidate: Candidate) -> _Told | None:
        """Read one execution with its steps; None where the source no longer has it."""
        ref, source = candidate.ref, self.session.source
        asked = self.session.asked()
        try:
            look = await source.read_execution(ref)
        except NotFound:
            return None
        answer = look.steps
        asked_steps = self.session.writer.now()
        if candidate.has_steps and self.session.connection.steps and answer is None:
            with suppress(NotFound):
                answer = await source.read_steps(ref)
        steps = StepsRead(ref=ref, answer=answer, asked_at=asked_steps) if answer else None
        return _Told(ref=ref, execution=look.execution, asked=asked, steps=steps)

    def _try(self, db: Database, told: _Told) -> _Trial:
        """What writing it would change: tried on a stand-in, and undone."""
        name, key = self.session.name, told.ref.execution_id
        before = compare.snapshot(db, name, key)
        with db.begin_nested() as attempt:
            trust = compare.stand_in(db, name, key, STAND_IN)
            self._land(db, STAND_IN, told, self.session.writer.now())
            compare.trust_again(db, trust)
            after = compare.snapshot(db, STAND_IN, key)
            attempt.rollback()
        (row,) = before["executions"].values() or ({},)
        nulls = frozenset(name for name, value in row.items() if value is None)
        return _Trial(differences=_between(told.ref, before, after) if row else [], nulls=nulls)

    def _mend(self, db: Database, told: _Told, now: datetime) -> None:
        trust = compare.distrust(db, self.session.name, told.ref.execution_id)
        self._land(db, self.session.name, told, now)
        compare.trust_again(db, trust)

    def _land(self, db: Database, name: str, told: _Told, now: datetime) -> None:
        reading = self.session.reading(told.ref.partition, told.asked, now)
        row = self.session.encoder.execution(told.execution)
        if not self.session.connection.variables and row.get("variables") is not None:
            del row["variables"]  # lists need not carry them, so that they may rightly be missing
        load_executions(db, [row], structs.replace(reading, connection_id=name))
        if told.steps is not None:
            land_steps(db, name, [told.steps], self.session.encoder, now)

    async def _sure(self, told: _Told, trial: _Trial) -> list[Difference]:
        """Leave out what only looks different because lists show a record in another form."""
        ref = told.ref
        own = [each for each in trial.differences if each.table == "executions"]
        others = [each for each in trial.differences if each.table != "executions"]
        if not own:
            return others
        (columns,) = (each.columns for each in own)
        listed = await list_window(self.session, ref.partition, Window(ref.created_at, ref.created_at))
        row = listed.rows.get(ref.execution_id)
        if row is not None:
            again = structs.replace(told, execution=row, asked=listed.asked, steps=None)
            second = await self.session.writer.run(lambda db: self._try(db, again))
            differing = {name for each in second.differences for name in each.columns}
            carried = set(self.session.encoder.execution(row))
            columns = tuple(
                name
                for name in columns
                if name in differing or (name not in carried and name not in trial.nulls)
            )
        return [*others, *([_difference(ref, Kind.VALUES, "executions", columns)] if columns else [])]

    async def _write(self, told: _Told) -> bool:
        """Land what the source says, whatever is stored; False where another process is at it."""
        async with self.session.lease(EXECUTIONS, told.ref.partition, "open") as lease:
            if lease is None:
                return False
            await self.session.commit(lease, lambda db, now: self._mend(db, told, now))
            return True

    async def _note_gone(self, ref: ExecutionRef) -> bool:
        """The source answers 404: inside the horizon that is a difference."""
        if ref.created_at < self.session.horizon_start():
            return True
        if self.is_repairing:
            async with self.session.lease(EXECUTIONS, ref.partition, "open") as lease:
                if lease is None:
                    return False
                await self.session.commit(
                    lease,
                    lambda db, now: mark_missing(db, self.session.name, [ref.execution_id], "gone", now),
                )
        self.found.note([_difference(ref, Kind.GONE, "executions", is_repaired=self.is_repairing)])
        return True


def _name(candidate: Candidate) -> str:
    return f"{candidate.ref.partition}/{candidate.ref.execution_id}"


def _difference(
    ref: ExecutionRef, kind: Kind, table: str, columns: tuple[str, ...] = (), *, is_repaired: bool = False
) -> Difference:
    return Difference(
        kind=kind,
        table=table,
        partition=ref.partition,
        identity=ref.execution_id,
        columns=columns,
        is_repaired=is_repaired,
    )


def _between(ref: ExecutionRef, before: Snapshot, after: Snapshot) -> list[Difference]:
    """What differs, table by table; counts of steps follow from the steps."""
    found = []
    for table, rows in after.items():
        columns = _columns(before[table], rows)
        if set(rows) - set(before[table]):
            found.append(_difference(ref, Kind.STEPS, table))
        elif columns or set(before[table]) - set(rows):
            found.append(_difference(ref, Kind.VALUES, table, columns))
    if len(found) > 1 and found[0].table == "executions" and _COUNTS.issuperset(found[0].columns):
        del found[0]
    return found


def _differs(name: str, one: str | None, other: str | None) -> bool:
    """Whether two values differ, as the digest of a row has it: lists and details write an empty one otherwise."""
    if one == other or name != "categories":
        return one != other
    return digest({name: one and one.encode()}) != digest({name: other and other.encode()})


def _columns(before: Rows, after: Rows) -> tuple[str, ...]:
    """Names of the columns that differ in rows that are in both."""
    return tuple(
        sorted(
            {
                name
                for key, row in after.items()
                if key in before
                for name, value in row.items()
                if _differs(name, value, before[key][name])
            }
        )
    )
