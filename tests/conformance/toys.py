"""Three toy sources over one little world: each pages the way one of the platforms does, none is one.

The world is plain rows; the sources serve it in memory. Twists make a server misbehave the way real ones do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from msgspec import structs

from syncer.decode.payload import Payload
from syncer.errors import ContractError, NotFound, RecordError
from syncer.http import Traffic
from syncer.model import (
    Execution,
    ExecutionRef,
    Look,
    Outcome,
    Page,
    Reject,
    Role,
    StepAnswer,
    StepEvent,
    Window,
    Workflow,
)
from syncer.sources import Order, Paging

T = TypeVar("T")

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
TICK = timedelta(milliseconds=1)


@dataclass
class Run:
    """One execution as the world knows it; `steps` are when each began and ended, none meaning one as long as it."""

    execution_id: str
    workflow_id: str
    created_at: datetime
    ended_at: datetime | None
    is_broken: bool = False
    visible_at: datetime | None = None
    updated_at: datetime | None = None
    steps: list[tuple[datetime, datetime | None]] = field(default_factory=list)

    @property
    def step_times(self) -> list[tuple[datetime, datetime | None]]:
        """When each of its steps began and ended."""
        return self.steps or [(self.created_at, self.ended_at)]


@dataclass
class Twist:
    """How the server misbehaves; the default does not.

    `repeats` rows of a page stand on the next one again; `mixes_pages` gives the rows of a page in any order. The
    request waits for what a function returns to be done elsewhere.
    """

    ignores_order: bool = False
    clamps_pages_to: int | None = None
    ignores_start: bool = False
    repeats: int = 0
    mixes_pages: bool = False
    total: Callable[[int], int | None] | None = None
    after_page: Callable[[World], Elsewhere | None] | None = None
    before_request: Callable[[int], Elsewhere | None] | None = None


Elsewhere = Callable[[], object]
"""What another process does: in a thread, for it may have to wait for a transaction that this loop must end."""


@dataclass
class World:
    """What exists at the source, and its clock."""

    now: datetime = NOW
    runs: dict[str, Run] = field(default_factory=dict)
    workflow_ids: list[str] = field(default_factory=lambda: ["w1", "w2"])
    revisions: dict[str, int] = field(default_factory=dict)
    twist: Twist = field(default_factory=Twist)
    shows_hints: bool = False
    requests: list[str] = field(default_factory=list)
    looked_at: list[str] = field(default_factory=list)

    def add(
        self, workflow_id: str, created_at: datetime, *, lasts: timedelta | None = timedelta(seconds=30)
    ) -> Run:
        """Create an execution; `lasts` None leaves it running."""
        ended_at = None if lasts is None else created_at + lasts
        run = Run(f"e{len(self.runs):05}", workflow_id, created_at, ended_at)
        self.runs[run.execution_id] = run
        return run

    def fill(self, per_workflow: int, *, span: timedelta = timedelta(days=20)) -> None:
        """Spread executions evenly over a span that ends an hour ago."""
        for workflow_id in self.workflow_ids:
            for number in range(per_workflow):
                self.add(workflow_id, self.now - timedelta(hours=1) - span * number / max(1, per_workflow))

    def end(self, run: Run) -> None:
        """Let a running execution end now."""
        run.ended_at = self.now
        run.updated_at = self.now

    def hint(self, workflow_id: str) -> str | None:
        """What moves when an execution of the workflow ends."""
        ended = [run for run in self.visible() if run.workflow_id == workflow_id and run.ended_at]
        return f"{len(ended)} ended" if self.shows_hints else None

    def visible(self) -> list[Run]:
        """What lists show at this moment."""
        return [run for run in self.runs.values() if run.visible_at is None or run.visible_at <= self.now]

    def find(self, execution_id: str) -> Run | None:
        """The execution that a request names, if it is served."""
        return self.runs.get(execution_id)

    def revision(self, workflow_id: str) -> int:
        """How often the workflow was edited, counted from 1."""
        return self.revisions.get(workflow_id, 1)

    async def note(self, request: str) -> None:
        """Record a request; the twist may make it fail."""
        self.requests.append(request)
        if self.twist.before_request and (deed := self.twist.before_request(len(self.requests))):
            await asyncio.to_thread(deed)


class Toy:
    """What the three have in common."""

    order = Order.ASCENDING
    tells_total = True
    max_rows: int | None = None
    shows_changes = False
    bounds_are_sure = True
    facts: Mapping[str, str] = {}
    dialect: Mapping[str, str] = {}

    def __init__(self, world: World, page_size: int = 10) -> None:
        self.world = world
        self.paging = Paging(
            order=self.order,
            page_size=page_size,
            tick=TICK,
            max_rows=self.max_rows,
            shows_changes=self.shows_changes,
            bounds_are_sure=self.bounds_are_sure,
        )
        self.traffic = Traffic()

    def now(self) -> datetime | None:
        return self.world.now.replace(microsecond=0)

    def partitions(self, workflow_ids: Sequence[str]) -> Sequence[str]:
        return list(workflow_ids)

    def belongs(self, run: Run, partition: str) -> bool:
        return run.workflow_id == partition

    async def list_workflows(self, page: int) -> Page[Workflow]:
        await self.world.note("workflows")
        rows = [
            Workflow(
                workflow_id=each,
                name=each.upper(),
                revision=f"r{self.world.revision(each)}",
                hint=self.world.hint(each),
            )
            for each in self.world.workflow_ids
        ]
        return self._page(rows, page)

    async def read_workflow(self, workflow_id: str) -> Workflow:
        await self.world.note("workflow")
        if workflow_id not in self.world.workflow_ids:
            raise NotFound(f"no workflow {workflow_id}")
        definition = f'{{"n":{self.world.revision(workflow_id)}}}'.encode()
        return Workflow(workflow_id=workflow_id, definition=definition, nodes=())

    async def list_executions(
        self, partition: str, window: Window, page: int, *, counted: bool = False
    ) -> Page[Execution]:
        await self.world.note("counted executions" if counted else "executions")
        twist = self.world.twist
        start = window.start if not twist.ignores_start else datetime.min.replace(tzinfo=UTC)
        runs = [
            run
            for run in self.world.visible()
            if self.belongs(run, partition) and start <= run.created_at <= window.end
        ]
        order = Order.DESCENDING if twist.ignores_order else self.order
        runs.sort(key=lambda run: (run.created_at, run.execution_id), reverse=order is Order.DESCENDING)
        if order is Order.NONE:
            runs.sort(key=lambda run: run.execution_id[::-1])
        listed = self._listed(runs, page)
        if twist.after_page and (deed := twist.after_page(self.world)):
            await asyncio.to_thread(deed)
        return listed

    def _listed(self, runs: list[Run], page: int) -> Page[Execution]:
        answer = self._page(runs, page)
        good = tuple(self._execution(run) for run in answer.rows if not run.is_broken)
        bad = tuple(
            Reject(raw=f'{{"n":"{run.execution_id}"}}'.encode(), reason="it has no id")
            for run in answer.rows
            if run.is_broken
        )
        return Page(rows=good, rejects=bad, total=answer.total)

    async def list_changed(self, partition: str, page: int) -> Page[Execution]:
        return Page(rows=())

    def _page(self, rows: list[T], page: int) -> Page[T]:
        size = min(self.paging.page_size, self.world.twist.clamps_pages_to or self.paging.page_size)
        total = len(rows) if self.tells_total else None
        if self.world.twist.total:
            total = self.world.twist.total(len(rows))
        again = min(self.world.twist.repeats, size) if page > 1 else 0
        part = rows[(page - 1) * size - again : page * size]
        if self.world.twist.mixes_pages:
            part = part[1::2] + part[::2]
        return Page(rows=tuple(part), total=total)

    def _execution(self, run: Run) -> Execution:
        return Execution(
            execution_id=run.execution_id,
            workflow_id=run.workflow_id,
            created_at=run.created_at,
            started_at=run.created_at,
            ended_at=run.ended_at,
            updated_at=run.updated_at,
            status="Done" if run.ended_at else "Busy",
            outcome=Outcome.SUCCEEDED if run.ended_at else Outcome.RUNNING,
            extra=None,
        )

    async def read_execution(self, ref: ExecutionRef) -> Look:
        await self.world.note("execution")
        self.world.looked_at.append(ref.execution_id)
        return Look(execution=self._execution(self._run(ref)))

    async def read_steps(self, ref: ExecutionRef) -> StepAnswer:
        await self.world.note("steps")
        run = self._run(ref)
        return StepAnswer(
            events=tuple(
                event
                for number, (began_at, ended_at) in enumerate(run.step_times)
                for event in _step_events(run, number, began_at, ended_at)
            )
        )

    def _run(self, ref: ExecutionRef) -> Run:
        run = self.world.find(ref.execution_id)
        if run is None:
            raise NotFound(f"no execution {ref.execution_id}")
        return run

    def decode_workflow(self, raw: bytes) -> Workflow:
        raise RecordError("a toy's records are not JSON")

    def decode_execution(self, raw: bytes) -> Execution:
        raise RecordError("a toy's records are not JSON")

    async def close(self) -> None:
        pass


def _step_events(run: Run, number: int, began_at: datetime, ended_at: datetime | None) -> list[StepEvent]:
    """What a step has sent: that it began, and that it ended if it has."""
    begin = StepEvent(
        execution_id=run.execution_id,
        event_id=f"{run.execution_id}-{2 * number + 1}",
        node_id=f"n{number + 1}",
        created_at=began_at,
        started_at=began_at,
        outcome=Outcome.RUNNING,
        role=Role.BEGIN,
        status="Busy",
    )
    if ended_at is None:
        return [begin]
    end = structs.replace(
        begin,
        event_id=f"{run.execution_id}-{2 * number + 2}",
        created_at=ended_at,
        started_at=began_at + TICK,
        ended_at=ended_at,
        outcome=Outcome.SUCCEEDED,
        role=Role.END,
        status="Done",
        input=Payload(value=b'{"a":1}', state="decoded", size=7, raw=None, redacted_paths=()),
        output=Payload(value=b"[1]", state="decoded", size=3, raw=None, redacted_paths=()),
    )
    return [begin, end]


class Ascending(Toy):
    """Sorted as asked, tells a total: as the friendliest promise."""


class NewestFirst(Toy):
    """Newest first, tells no total."""

    order = Order.DESCENDING
    tells_total = False


class OffsetCapped(Toy):
    """No order to rely on, page numbers capped, one partition for many workflows; lists by last change, too. Nobody
    knows what its windows' bounds bound."""

    order = Order.NONE
    max_rows = 40
    shows_changes = True
    bounds_are_sure = False

    def partitions(self, workflow_ids: Sequence[str]) -> Sequence[str]:
        return ["space"] if workflow_ids else []

    def belongs(self, run: Run, partition: str) -> bool:
        return True

    async def list_executions(
        self, partition: str, window: Window, page: int, *, counted: bool = False
    ) -> Page[Execution]:
        size = min(self.paging.page_size, self.world.twist.clamps_pages_to or self.paging.page_size)
        if page * size > 50:
            raise ContractError("limit + offset is past the cap")
        return await super().list_executions(partition, window, page, counted=counted)

    async def list_changed(self, partition: str, page: int) -> Page[Execution]:
        await self.world.note("changed")
        return self._listed(sorted(self.world.visible(), key=self.changed_at, reverse=True), page)

    def changed_at(self, run: Run) -> tuple[datetime, str]:
        """Where an execution stands in the list by last change."""
        return run.updated_at or run.ended_at or run.created_at, run.execution_id


TOYS: tuple[type[Toy], ...] = (Ascending, NewestFirst, OffsetCapped)
