"""The algorithm: what one pass over a connection does, in which order, and why.

    workflows   list them, fetch definitions, notice deletions
    live        every partition from its watermark less the lookback to the source's now
    open        executions that had not ended (or not settled) are read again, by window or by id
    steps       of executions that have ended
    history     what lies before the first live window, oldest first: that end is deleted first
    steps       of that history; last those of executions that still run

Live work comes first. Every page is one transaction with the watermark that covers it, so the process may die
anywhere: the next pass goes on from what was committed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from sqlalchemy import Connection as Database

from syncer.errors import Stopped, SyncerError, TransientError
from syncer.load.workflows import present_workflows
from syncer.model import Window
from syncer.state import runs, watermarks
from syncer.state.watermarks import EXECUTIONS, WORKFLOWS
from syncer.sync.executions import Seen, partitions_to_look_at, sync_history, sync_live, sync_open
from syncer.sync.session import Failure, Report, Session
from syncer.sync.steps import STEPS, Span, sync_steps
from syncer.sync.workflows import is_chosen, sync_workflows

__all__ = ["Failure", "Report", "Session", "backfill", "sync"]

LISTERS = 4
"""Partitions listed at the same time."""


async def sync(session: Session, only: Sequence[str] = (), *, trust_hints: bool = False) -> Report:
    """Make one full pass; the report says what was done and what was not.

    `only` narrows it to workflows by id or name glob. With `trust_hints`, workflows that show no change since
    their last read are left alone until the next sweep.
    """
    async with _reporting(session):
        hints = await _workflows(session, only)
        partitions = session.source.partitions(list(hints))
        seen = Seen(ids=set())
        session.report.phase = "live"
        await session.each(
            EXECUTIONS,
            partitions,
            lambda partition: sync_live(session, partition, hints.get(partition), seen, trust_hints=trust_hints),
            workers=LISTERS,
        )
        session.report.phase = "open"
        chosen = set(partitions)
        looks = [partition for partition in await partitions_to_look_at(session) if partition in chosen]
        await session.each(
            EXECUTIONS, looks, lambda partition: sync_open(session, partition, seen), workers=LISTERS
        )
        await _steps(session, Span(partitions=partitions))
        await _history(session, "initial", chosen)
        await _steps(session, Span(partitions=partitions))
        await _steps(session, Span(partitions=partitions), running=True)
    return session.report


async def backfill(
    session: Session, since: datetime, until: datetime | None, only: Sequence[str] = ()
) -> Report:
    """Copy [since, until) whether it was copied before or not, resuming an unfinished one of the same span.

    Without `until` the span ends at the source's now; an unfinished one with the same start goes on up to there.
    """
    async with _reporting(session):
        hints = await _workflows(session, only)
        partitions = session.source.partitions(list(hints))
        span = Window(since, until or session.source_now())

        def enter(db: Database) -> None:
            now = session.writer.now()
            if until is None:
                watermarks.prolong_entries(db, session.name, partitions, span)
            for partition in sorted(partitions):
                watermarks.add_entry(db, session.name, partition, span, "backfill", now)

        await session.writer.run(enter)
        await _history(session, "backfill", set(partitions), span)
        await _steps(session, Span(partitions=partitions, since=span.start, until=span.end))
    return session.report


@asynccontextmanager
async def _reporting(session: Session) -> AsyncIterator[None]:
    """Let the body work under its leases; what ends it early stands in the report."""
    name, connection = session.name, session.connection
    try:
        async with session.running():
            await session.writer.run(
                lambda db: runs.register_connection(db, name, connection.platform, connection.base_url)
            )
            yield
            await session.writer.run(lambda db: runs.note_facts(db, name, session.source.facts))
    except Stopped as stop:
        session.report.stopped = stop.message
    except SyncerError as error:
        session.report.error = error.at(connection=name)
    finally:
        session.report.phase = ""


async def _workflows(session: Session, only: Sequence[str]) -> Mapping[str, str | None]:
    """The workflows to copy with their hints; those already known where the list cannot be had today."""
    session.report.phase = "workflows"
    hints: dict[str, str | None] = {}

    async def listing(_stream: str) -> bool:
        listed = await sync_workflows(session, only)
        hints.update(listed.hints if listed else {})
        return listed is not None

    await session.each(WORKFLOWS, [""], listing, workers=1)
    if hints or not session.report.failures:
        return hints
    known = await session.writer.run(lambda db: present_workflows(db, session.name))
    if not known:
        raise TransientError(session.report.failures[-1].message)
    return {each.workflow_id: None for each in known if is_chosen(each, session.connection.workflows) and is_chosen(each, only)}


async def _history(
    session: Session, kind: str, partitions: Collection[str], span: Window | None = None
) -> None:
    """Copy spans of the ledger, the oldest first."""
    session.report.phase = "history"
    entries = [
        entry
        for entry in await session.writer.run(lambda db: watermarks.open_entries(db, session.name, kind))
        if entry.partition in partitions and (span is None or Window(entry.since, entry.until) == span)
    ]
    await session.each(
        EXECUTIONS,
        entries,
        lambda entry: sync_history(session, entry),
        workers=LISTERS,
        name=lambda entry: entry.partition,
    )


async def _steps(session: Session, span: Span, *, running: bool = False) -> None:
    """Work off the steps that are due."""
    if not session.connection.steps:
        return
    session.report.phase = "steps"
    await session.each(STEPS, [span], lambda each: sync_steps(session, each, running=running), workers=1)
