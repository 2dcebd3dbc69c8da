"""The source held against the warehouse: what differs, where, and reading that again.

    workflows   those listed are here
    counts      the total of each window against the rows stored; a window that differs is parted until it is small
    lists       a small window that differs, or whose total is not told: ids against ids
    sample      executions read by id, with their steps: value against value (`sync/sample.py`)

Compared is what the warehouse promises to hold: the unbroken span that ends at the watermark, less the lookback, as
far as the source still serves it. So what is new, open or on its way never counts as missing.

Invariant: without repair nothing in `history` changes. A row counts as missing only if the source listed it before it
was looked for here, as gone only if it was here before the source was asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial

from msgspec import Struct, structs
from sqlalchemy import Connection as Database

from syncer.budget import Purpose
from syncer.errors import ContractError, NotFound, Stopped, SyncerError, TransientError
from syncer.http import doing
from syncer.load import compare
from syncer.load.compare import Held
from syncer.load.workflows import present_workflows
from syncer.model import Window, Workflow
from syncer.paging import Verdict, read_listing
from syncer.plan import halves
from syncer.state import audit, watermarks
from syncer.state.audit import Finding
from syncer.state.watermarks import EXECUTIONS, WORKFLOWS
from syncer.sync.differences import Difference, Kind, Verified
from syncer.sync.hints import MARGIN
from syncer.sync.ledger import read_again
from syncer.sync.listed import Listed, list_window
from syncer.sync.sample import Sampler
from syncer.sync.session import Session
from syncer.sync.steps import STEPS, Span, sync_steps
from syncer.sync.workflows import is_chosen, sync_workflows

WINDOW_PAGES = 20
"""Pages of a list that one count spares. What balances within a window is not seen, so it is not larger."""

SAMPLE = 25
"""Settled executions compared value by value, where nobody says how many."""

WORKERS = 4
"""Windows asked for at the same time."""

VERIFY = "verify"
"""The stream that failures are noted under: a copy did not fail."""


class Part(Struct, frozen=True):
    """A window of one partition; `is_whole` before it was parted."""

    partition: str
    window: Window
    is_whole: bool = False

    def __str__(self) -> str:
        return f"{self.partition} {self.window}"


async def verify(
    session: Session,
    since: datetime | None = None,
    only: Sequence[str] = (),
    *,
    sample: int = SAMPLE,
    repair: bool = False,
) -> Verified:
    """Compare what was created `since`, or all that is served; `repair` reads again what differs.

    `only` narrows it to workflows by id or name glob. What ends it early stands in the session's report.
    """
    work = _Verification(session, is_repairing=repair)
    try:
        async with session.running():
            with doing(Purpose.HISTORY):
                await work.run(since, only, sample)
    except Stopped as stop:
        session.report.stopped = stop.message
    except SyncerError as error:
        session.report.error = error.at(connection=session.name)
    session.report.phase = ""
    return work.found


class _Verification:
    """One comparison under way. What a wait cuts short begins anew, and counts once."""

    def __init__(self, session: Session, *, is_repairing: bool) -> None:
        self.session = session
        self.found = Verified()
        self.is_repairing = is_repairing
        self._known: dict[Part, dict[Difference, None]] = {}
        self._left: Counter[str] = Counter()
        self._has_landed = False

    async def run(self, since: datetime | None, only: Sequence[str], sample: int) -> None:
        """Compare everything, the cheapest first."""
        listed = await self._workflows()
        chosen = [key for key, workflow in listed.items() if is_chosen(workflow, only)]
        spans = await self._spans(self.session.source.partitions(chosen), since)
        small = await self._count(spans)
        self.session.report.phase = "lists"
        await self.session.each(VERIFY, small, self._compare_ids, workers=WORKERS)
        await self._resolve(spans)
        await self._land_steps(spans)
        sampler = Sampler(self.session, self.found, is_repairing=self.is_repairing)
        await sampler.run(spans, sample)

    # Workflows

    async def _workflows(self) -> dict[str, Workflow]:
        """The workflows that are copied; one that is listed and should be here and is not is noted."""
        session = self.session
        session.report.phase = "workflows"
        listed: dict[str, Workflow] = {}

        async def listing(_stream: str) -> bool:
            listed.update(await _listed_workflows(session))
            session.chosen |= listed.keys()
            return True

        await session.each(VERIFY, [WORKFLOWS], listing, workers=1)
        if session.report.failures:
            last = session.report.failures.pop()
            raise TransientError(last.message, last.hint)
        differences = await session.writer.run(lambda db: self._missing_workflows(db, listed))
        if differences and self.is_repairing:
            await session.each(VERIFY, [WORKFLOWS], self._copy_workflows, workers=1)
            still = await session.writer.run(lambda db: self._missing_workflows(db, listed))
            differences = _repaired(differences, still)
        self.found.note(differences)
        return listed

    def _missing_workflows(self, db: Database, listed: Mapping[str, Workflow]) -> list[Difference]:
        """Those that were there at the last listing of a pass and are not here, or marked missing here."""
        name, lookback = self.session.name, self.session.connection.lookback
        read_at = watermarks.watermark(db, name, "", WORKFLOWS).last_success_at
        present = {each.workflow_id for each in present_workflows(db, name)}
        return [
            Difference(kind=Kind.MISSING, table="workflows", partition=key, identity=key)
            for key, workflow in sorted(listed.items())
            if key not in present
            and read_at is not None
            and isinstance(workflow.created_at, datetime)
            and workflow.created_at < read_at - lookback
        ]

    async def _copy_workflows(self, _stream: str) -> bool:
        return await sync_workflows(self.session) is not None

    # Windows

    async def _spans(self, partitions: Sequence[str], since: datetime | None) -> dict[str, Window]:
        """What of each partition is to be compared."""
        spans: dict[str, Window] = {}
        for partition in partitions:
            span = await self.session.writer.run(partial(self._span, partition, since))
            if span is not None:
                spans[partition] = span
        return spans

    def _span(self, partition: str, since: datetime | None, db: Database) -> Window | None:
        mark = watermarks.watermark(db, self.session.name, partition)
        now, horizon = self.session.source_now(), self.session.horizon_start()
        start = max(since or horizon, horizon)
        if mark.watermark_at is None or mark.complete_from is None:
            self.found.not_copied[partition] = Window(start, max(start, now))
            return None
        # A source tells its time in whole seconds: what was copied from the horizon on may seem to begin after it.
        if start < mark.complete_from > horizon + MARGIN:
            self.found.not_copied[partition] = Window(start, mark.complete_from)
        start = max(start, mark.complete_from)
        end = min(mark.watermark_at, now) - self.session.connection.lookback
        return Window(start, end) if start < end else None

    async def _count(self, spans: Mapping[str, Window]) -> list[Part]:
        """Compare totals, parting what differs; returns the small windows whose ids are to be compared."""
        self.session.report.phase = "counts"
        level = [
            Part(partition, window, is_whole=True)
            for partition, span in spans.items()
            for window in await self.session.writer.run(partial(self._windows, partition, span))
        ]
        self._left.update(part.partition for part in level)
        small: list[Part] = []
        while level:
            following: list[Part] = []

            async def count(part: Part, to: list[Part] = following) -> bool:
                return await self._compare_count(part, to, small)

            await self.session.each(VERIFY, level, count, workers=WORKERS)
            level = following
        return small

    def _windows(self, partition: str, span: Window, db: Database) -> list[Window]:
        rows = WINDOW_PAGES * self.session.source.paging.page_size
        return compare.cuts(db, self.session.name, partition, span, rows)

    async def _compare_count(self, part: Part, following: list[Part], small: list[Part]) -> bool:
        """Ask for one total. A window that does not agree goes on to be parted, or is small enough to be listed."""
        session = self.session
        window = self._served(part)
        if window is None:
            self._left[part.partition] -= 1
            return True
        try:
            page = await session.source.list_executions(part.partition, window, 1, counted=True)
        except NotFound:  # its workflow was deleted since it was listed
            return True
        tick, size = session.source.paging.tick, session.source.paging.page_size
        stored = await session.writer.run(
            lambda db: compare.count_rows(db, session.name, part.partition, window, tick)
        )
        if part.is_whole:
            self.found.windows += 1
            self.found.executions += stored.rows
            session.report.rows["executions"] += stored.rows
        if page.total is not None and stored.agrees(page.total):
            self._left[part.partition] -= 1
            return True
        parts = (
            halves(window, tick) if page.total is not None and max(page.total, stored.rows) > size else None
        )
        if parts is None:
            small.append(part)
        else:
            following += [Part(part.partition, half) for half in parts]
            self._left[part.partition] += len(parts) - 1
        return True

    def _served(self, part: Part) -> Window | None:
        """What of a window the source still serves by now."""
        start = max(part.window.start, self.session.horizon_start())
        return Window(start, part.window.end) if start < part.window.end else None

    async def _compare_ids(self, part: Part) -> bool:
        """List one small window and compare ids, and read it again to repair; False where another process is at it."""
        window = self._served(part)
        if window is None:
            self._left[part.partition] -= 1
            return True
        try:
            listed = await list_window(self.session, part.partition, window)
        except NotFound:
            return True
        remaining = await self._differences(part.partition, window, listed)
        known = self._known.setdefault(part, {})
        if not self.is_repairing:
            known.clear()
        known.update(dict.fromkeys(remaining))
        if self.is_repairing and any(each.kind is not Kind.COUNT for each in remaining):
            if not await read_again(self.session, part.partition, window):
                return False
            self._has_landed = self._has_landed or any(each.kind is Kind.MISSING for each in remaining)
            remaining = await self._differences(part.partition, window, listed)
        del self._known[part]
        self.found.note(_repaired(known, remaining))
        self._left[part.partition] -= not remaining
        await self._audit(part.partition, window, listed, remaining)
        return True

    async def _differences(self, partition: str, window: Window, listed: Listed) -> list[Difference]:
        session = self.session

        def look(db: Database) -> tuple[dict[str, Held], set[str]]:
            held = compare.held_rows(db, session.name, partition, window, listed.rows)
            return held, compare.refused_ids(db, session.name, EXECUTIONS, set(listed.rows) - set(held))

        held, refused = await session.writer.run(look)
        found = [(Kind.MISSING, key) for key in listed.rows if key not in held and key not in refused]
        found += [(Kind.MARKED, key) for key in listed.rows if key in held and held[key].is_missing]
        found += [(Kind.GONE, key) for key, row in held.items() if self._is_gone(key, row, window, listed)]
        differences = [
            Difference(kind=kind, table="executions", partition=partition, identity=key)
            for kind, key in sorted(found)
        ]
        if listed.is_disputed:
            differences.append(
                Difference(
                    kind=Kind.COUNT,
                    table="executions",
                    partition=partition,
                    window=window,
                    told=listed.told,
                    listed=listed.found,
                )
            )
        return differences

    def _is_gone(self, key: str, row: Held, window: Window, listed: Listed) -> bool:
        """Whether a stored row is surely no longer listed."""
        if row.is_missing or listed.is_disputed or listed.names is None or key in listed.names:
            return False
        oldest = max(window.start, self.session.horizon_start())
        return oldest <= row.created_at <= window.end and row.asked_at < listed.asked.at

    async def _audit(
        self, partition: str, window: Window, listed: Listed, remaining: Sequence[Difference]
    ) -> None:
        """Keep what stays different, and close what agrees."""
        name, now = self.session.name, self.session.writer.now()

        def write(db: Database) -> None:
            if any(each.kind is not Kind.COUNT for each in remaining):
                here = listed.found + _surplus(remaining)
                audit.note_window(
                    db, name, partition, Finding(window, audit.DIFFERS, listed.found, here), now
                )
            elif not listed.is_disputed:
                audit.resolve_windows(db, name, partition, self.session.with_all_before(window), now)
            else:
                finding = Finding(window, Verdict.DISPUTED.value, listed.told, listed.found)
                audit.note_window(db, name, partition, finding, now)

        await self.session.writer.run(write)

    async def _resolve(self, spans: Mapping[str, Window]) -> None:
        """Close what was noted of partitions that agree as a whole."""
        name, now = self.session.name, self.session.writer.now()

        def write(db: Database) -> None:
            for partition, span in spans.items():
                if not self._left[partition]:
                    audit.resolve_windows(db, name, partition, self.session.with_all_before(span), now)

        await self.session.writer.run(write)

    async def _land_steps(self, spans: Mapping[str, Window]) -> None:
        """Read the steps of what came back."""
        if not (self._has_landed and self.session.connection.steps):
            return
        self.session.report.phase = "steps"
        due = Span(
            partitions=list(spans),
            since=min(span.start for span in spans.values()),
            until=max(span.end for span in spans.values()),
        )
        await self.session.each(
            STEPS, [due], lambda span: sync_steps(self.session, span), workers=1, name=lambda _: ""
        )


def _surplus(differences: Iterable[Difference]) -> int:
    """How many more rows are here than there."""
    sign = {Kind.MISSING: -1, Kind.MARKED: -1, Kind.GONE: 1}
    return sum(sign.get(each.kind, 0) for each in differences)


def _repaired(known: Iterable[Difference], remaining: Iterable[Difference]) -> list[Difference]:
    """All that was known, those repaired that do not remain."""
    still = set(remaining)
    return [structs.replace(each, is_repaired=each not in still) for each in dict.fromkeys((*known, *still))]


async def _listed_workflows(session: Session) -> dict[str, Workflow]:
    """The workflows that the configuration chooses, as the source lists them."""
    listed: dict[str, Workflow] = {}
    answers = read_listing(
        session.source.list_workflows,
        session.asked,
        lambda workflow: workflow.workflow_id,
        session.source.paging.page_size,
    )
    async for answer in answers:
        if answer.verdict is Verdict.UNPROVED:
            raise ContractError("the list of workflows differs from pass to pass")
        chosen = (row for row in answer.rows if is_chosen(row, session.connection.workflows))
        listed |= {row.workflow_id: row for row in chosen}
    return listed
