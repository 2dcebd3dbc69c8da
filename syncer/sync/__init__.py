"""The algorithm: what one pass over a connection does, in which order, and why.

    workflows   list them, fetch definitions, notice deletions
    live        every partition from its watermark less the lookback to the source's now; a deleted one once more
    open        executions that had not ended (or not settled) are read again, by window or by id
    disputes    windows of which the source told more than it listed are read again, ever more rarely
    steps       of executions that have ended
    history     what lies before the first live window, oldest first: that end is deleted first
    steps       of that history; last those of executions that still run

`sync` does all of it, one after the other; the service does the first three whenever it polls, the others beside
them. Every page is one transaction with the watermark that covers it, so the process may die anywhere: the next pass
goes on from what was committed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from sqlalchemy import Connection as Database

from syncer.budget import Purpose
from syncer.errors import Stopped, SyncerError, TransientError
from syncer.http import doing
from syncer.load.due import due_steps, turn_off_steps
from syncer.load.workflows import deleted_workflows, present_workflows, unread_deletions
from syncer.model import Window
from syncer.state import audit, runs, watermarks
from syncer.state.watermarks import EXECUTIONS, WORKFLOWS
from syncer.sync.changes import sync_changed
from syncer.sync.executions import (
    partitions_to_look_at,
    partitions_to_read,
    sync_last,
    sync_live,
    sync_open,
)
from syncer.sync.landing import Seen
from syncer.sync.ledger import read_disputed, sync_history, sync_history_of_deleted
from syncer.sync.report import Failure, Report
from syncer.sync.session import Session
from syncer.sync.steps import STEPS, Span, sync_steps
from syncer.sync.tenant import Tenant, new_room
from syncer.sync.workflows import is_chosen, sync_workflows

__all__ = [
    "Estimate",
    "Failure",
    "Report",
    "Session",
    "Tenant",
    "backfill",
    "estimate",
    "history",
    "new_room",
    "poll",
    "recent_steps",
    "sync",
]

LISTERS = 4
"""Partitions listed at the same time."""

RECENT = timedelta(days=1)
"""Age up to which an execution's steps are live work; older ones belong to history."""


async def sync(session: Session, only: Sequence[str] = ()) -> Report:
    """Make one full pass; the report says what was done and what was not.

    `only` narrows it to workflows by id or name glob.
    """
    return await _reported(session, lambda: _sync(session, only))


async def poll(session: Session, every: timedelta) -> Report:
    """Look for what is new or has changed, as it is done `every` so often: with few requests where little happens.

    Workflows that show no change since their last read are left alone until the next sweep, executions that run
    are read the more rarely the older they are. Steps and history are work of their own.
    """
    return await _reported(session, lambda: _look(session, (), every))


async def recent_steps(session: Session) -> Report:
    """Read the due steps of what was created within RECENT."""
    span = Span(since=session.source_now() - RECENT)
    return await _reported(session, lambda: _steps(session, span))


async def history(session: Session) -> Report:
    """Copy what was there before the first poll, oldest first, then all steps that are due."""
    return await _reported(session, lambda: _keep_history(session))


async def _keep_history(session: Session) -> None:
    """Lists before steps, also of what came or failed meanwhile: their steps may take weeks, and lists end sooner."""
    is_left = await session.writer.run(lambda db: _has_history(db, session))
    while is_left:
        known = await session.writer.run(lambda db: present_workflows(db, session.name))
        chosen = [each.workflow_id for each in known if is_chosen(each, session.connection.workflows)]
        session.chosen |= set(chosen)
        partitions = session.source.partitions(chosen)
        await _disputes(session, partitions, session.writer.now() - session.connection.sweep)
        await _history(session, "initial", partitions)
        await _history_of_deleted(session)
        before = session.report.steps_read
        await _steps(session, Span(until=session.source_now() - RECENT), lane="history", is_one_round=True)
        is_left = session.report.steps_read > before
    await _steps(session, Span(), running=True, lane="history")


def _has_history(db: Database, session: Session) -> bool:
    """Whether lists of history, or steps in it, are left to be read: mostly none are, and that is found out at once."""
    name, sweep = session.name, session.connection.sweep
    return bool(
        watermarks.open_entries(db, name, "initial")
        or audit.debts(db, name, session.writer.now() - sweep)
        or due_steps(db, name, running=False, limit=1, until=session.source_now() - RECENT)
    )


async def _sync(session: Session, only: Sequence[str]) -> None:
    began = session.writer.now()
    partitions = await _look(session, only)
    chosen = Span(partitions=partitions if only else None)
    await session.release()
    await _disputes(session, partitions, began)
    await _steps(session, chosen)
    await session.release()
    await _history(session, "initial", partitions)
    if not only:
        await _history_of_deleted(session)
    await session.release()
    await _steps(session, chosen)
    await _steps(session, chosen, running=True)


async def _look(session: Session, only: Sequence[str], every: timedelta | None = None) -> Sequence[str]:
    """Read workflows, what is new and what was open; returns the partitions read."""
    partitions = session.source.partitions(await _workflows(session, only))
    seen = Seen(ids=set())
    session.report.phase = "live"
    if session.source.paging.shows_changes:
        await session.each(
            EXECUTIONS,
            session.shuffled(partitions),
            lambda partition: sync_changed(session, partition, seen, every),
            workers=LISTERS,
        )
    await session.each(
        EXECUTIONS,
        session.shuffled(await partitions_to_read(session, partitions, every)),
        lambda partition: sync_live(session, partition, seen, every),
        workers=LISTERS,
    )
    if not only:
        await _deleted(session, partitions, seen)
    session.report.phase = "open"
    looks = [each for each in await partitions_to_look_at(session) if not only or each in partitions]
    await session.each(
        EXECUTIONS,
        session.shuffled(looks),
        lambda partition: sync_open(session, partition, seen, every),
        workers=LISTERS,
    )
    return partitions


async def _deleted(session: Session, listed: Sequence[str], seen: Seen) -> None:
    """Read the partitions of deleted workflows once more, and again after the lookback: the source may still serve
    what ran before, and show some of it late."""
    lookback, now = session.connection.lookback, session.writer.now()
    workflows = await session.writer.run(lambda db: unread_deletions(db, session.name, lookback, now))
    partitions = [each for each in session.source.partitions(workflows) if each not in set(listed)]
    await session.each(
        EXECUTIONS, partitions, lambda partition: sync_last(session, partition, seen), workers=LISTERS
    )


async def backfill(
    session: Session, since: datetime, until: datetime | None, only: Sequence[str] = ()
) -> Report:
    """Copy [since, until) whether it was copied before or not, resuming an unfinished one of the same span.

    Without `until` the span ends at the source's now; an unfinished one with the same start goes on up to there.
    """
    return await _reported(session, lambda: _backfill(session, since, until, only))


async def _backfill(session: Session, since: datetime, until: datetime | None, only: Sequence[str]) -> None:
    partitions = session.source.partitions(await _workflows(session, only))
    span = Window(since, until or session.source_now())
    if since < (horizon := session.horizon_start()):
        session.report.unserved = str(Window(since, min(horizon, span.end)))
        session.log.warning("no longer served", window=session.report.unserved)

    def enter(db: Database) -> None:
        now = session.writer.now()
        if until is None:
            watermarks.prolong_entries(db, session.name, partitions, span)
        for partition in sorted(partitions):
            watermarks.add_entry(db, session.name, partition, span, "backfill", now)

    await session.writer.run(enter)
    await _history(session, "backfill", partitions, span)
    await _steps(session, Span(partitions=partitions, since=span.start, until=span.end))


async def _reported(session: Session, work: Callable[[], Awaitable[object]]) -> Report:
    """Do the work with its leases kept alive; what ends it early stands in the report."""
    name, connection = session.name, session.connection
    try:
        async with session.running(
            lambda db: runs.register_connection(db, name, connection.platform, connection.base_url)
        ):
            await work()
            await session.note_facts()
    except Stopped as stop:
        session.report.stopped = stop.message
    except SyncerError as error:
        session.report.error = error.at(connection=name)
    session.report.phase = ""
    return session.report


async def _workflows(session: Session, only: Sequence[str]) -> Sequence[str]:
    """The workflows to copy, with those already known where the list cannot be had whole today."""
    session.report.phase = "workflows"
    found: list[str] = []

    async def listing(_stream: str) -> bool:
        listed = await sync_workflows(session, only)
        found.extend(listed or ())
        return listed is not None

    await session.each(WORKFLOWS, [""], listing, workers=1)
    if not session.report.failures:
        return list(dict.fromkeys(found))
    known = await session.writer.run(lambda db: present_workflows(db, session.name))
    others = {
        each.workflow_id
        for each in known
        if is_chosen(each, session.connection.workflows) and is_chosen(each, only)
    }
    if not found and not others:
        last = session.report.failures[-1]
        raise TransientError(last.message, last.hint)
    session.chosen |= others
    session.hints.forget(others.difference(found))
    return list(dict.fromkeys([*found, *sorted(others)]))


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


async def _disputes(session: Session, partitions: Collection[str], before: datetime) -> None:
    """Read windows again in which something may be missing, as far as they were due before the instant."""
    found = await session.writer.run(lambda db: audit.debts(db, session.name, before))
    with doing(Purpose.HISTORY):
        await session.each(
            EXECUTIONS,
            [debt for debt in found if debt.partition in partitions],
            lambda debt: read_disputed(session, debt),
            workers=LISTERS,
            name=lambda debt: debt.partition,
        )


async def _history_of_deleted(session: Session) -> None:
    """Copy what is still served of the history of workflows that are no longer listed."""
    workflows = await session.writer.run(lambda db: deleted_workflows(db, session.name))
    partitions = set(session.source.partitions(workflows)) if workflows else set()
    entries = await session.writer.run(lambda db: watermarks.open_entries(db, session.name, "initial"))
    await session.each(
        EXECUTIONS,
        [entry for entry in entries if entry.partition in partitions],
        lambda entry: sync_history_of_deleted(session, entry),
        workers=LISTERS,
        name=lambda entry: entry.partition,
    )


async def _steps(
    session: Session, span: Span, *, running: bool = False, lane: str = "live", is_one_round: bool = False
) -> None:
    """Work off the steps that are due, or the first ROUND of them."""
    if not session.connection.steps:
        await session.writer.run(lambda db: turn_off_steps(db, session.name, session.writer.now()))
        return
    session.report.phase = "steps"
    await session.each(
        STEPS,
        [span],
        lambda each: sync_steps(session, each, running=running, lane=lane, is_one_round=is_one_round),
        workers=1,
    )


class Estimate(Struct, frozen=True, kw_only=True):
    """What a backfill would cost: the part of the span the source still serves, and per partition what it holds.

    `executions` is None for a partition whose total the source does not tell.
    """

    served: Window | None
    unserved: Window | None
    executions: Mapping[str, int | None]
    list_requests: int
    step_requests: int

    @property
    def requests(self) -> int:
        """All requests, as far as they can be told beforehand."""
        return self.list_requests + self.step_requests


async def estimate(
    session: Session, since: datetime, until: datetime | None, only: Sequence[str] = ()
) -> Estimate:
    """Ask each partition for its total in the span (one request each) and count what a backfill would ask.

    Raises what the source raises; writes nothing but the workflows it lists.
    """
    async with session.running():
        workflows = await _workflows(session, only)
        end = until or session.source_now()
        horizon = session.horizon_start()
        unserved = Window(since, min(horizon, end)) if since < horizon else None
        served = Window(max(since, horizon), end) if max(since, horizon) < end else None
        told: dict[str, int | None] = {}
        for partition in session.source.partitions(workflows) if served else ():
            page = await session.source.list_executions(
                partition, served or Window(end, end), 1, counted=True
            )
            told[partition] = page.total
    known = [total for total in told.values() if total is not None]
    size = session.source.paging.page_size
    return Estimate(
        served=served,
        unserved=unserved,
        executions=told,
        list_requests=sum(total // size + 1 for total in known) + len(told) - len(known),
        step_requests=sum(known) if session.connection.steps else 0,
    )
