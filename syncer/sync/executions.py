"""Executions: the live window, the history in the ledger, and the open set, each page one transaction.

The watermark is the end of what has been read completely and proved. It moves with the page that proves it, never
ahead of the rows, and never back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

from msgspec import Struct, structs
from sqlalchemy import Connection as Database

from syncer.budget import Purpose
from syncer.errors import ContractError, Forbidden, NotFound, Postponed, TransientError
from syncer.http import doing
from syncer.load.executions import (
    Loaded,
    OpenRow,
    Reading,
    age_out,
    load_executions,
    mark_missing,
    mark_running_deleted,
    mark_unlisted,
    open_executions,
    partitions_with_open,
    unlisted,
)
from syncer.model import ExecutionRef, Reject, Window
from syncer.paging import Answer, Asked, Portion, Span, Verdict, read_window
from syncer.plan import OpenExecution, believable, due_for_look, live_window, lost_span, open_looks
from syncer.state import audit, watermarks
from syncer.state.audit import Debt, Finding
from syncer.state.leases import Lease
from syncer.state.quarantine import put_aside, resolve_identities
from syncer.state.watermarks import EXECUTIONS, LedgerEntry, Watermark
from syncer.sync.hints import Hint
from syncer.sync.session import Session
from syncer.sync.steps import land_steps, steps_read

Move = Callable[[Database, datetime], None]
"""Moves a watermark or a ledger row to the end of what is covered."""


class Seen(Struct, kw_only=True):
    """Open executions whose row this pass has already read, so that they need no other look."""

    ids: set[str]


FRESH = 0.75
LONGEST_FRESH = timedelta(minutes=10)
"""Part of a poll's interval, and at most, for which a partition is left alone after another process has read it."""


async def sync_live(session: Session, partition: str, seen: Seen, every: timedelta | None = None) -> bool:
    """Read what is new in one partition; False where another process is at it.

    Polled `every` so often, a partition is not read that another process has just read, nor one whose hint has
    not moved since its last completed read, until the next sweep. A hint moves nothing: only a completed read moves
    the watermark.
    """
    async with session.lease(EXECUTIONS, partition, "live") as lease:
        if lease is not None:
            await _sync_live(session, lease, seen, every)
        return lease is not None


async def _sync_live(session: Session, lease: Lease, seen: Seen, every: timedelta | None = None) -> None:
    partition = lease.key.partition
    if partition not in session.chosen:  # it may hold executions of several workflows
        await session.commit(lease, lambda db, now: _take_in(db, session, partition, now))
    mark = await session.writer.run(lambda db: watermarks.watermark(db, session.name, partition))
    hint = session.hints.of(partition)
    if every and (_is_fresh(session, mark, every) or _is_unmoved(session, mark, hint)):
        return
    if every and hint:
        await session.let_pass(hint.shown_by)
    is_sweep = bool(every) and hint is not None and hint.text == mark.hint
    with doing(Purpose.SWEEP if is_sweep else Purpose.LIVE), suppress(Postponed):
        await _read_live(session, lease, mark, hint, seen)


def _take_in(db: Database, session: Session, partition: str, now: datetime) -> None:
    """Have a partition read again from the horizon where it holds executions that were left out and are wanted now."""
    lacking = watermarks.left_out(db, session.name, partition)
    if not (wanted := session.are_wanted(lacking)):
        return
    watermarks.note_left_out(db, session.name, partition, lacking - wanted)
    until = watermarks.watermark(db, session.name, partition).watermark_at
    if until is not None and (since := session.horizon_start()) < until:
        watermarks.add_entry(db, session.name, partition, Window(since, until), "initial", now)
        watermarks.restart(db, session.name, partition, until)


async def _read_live(session: Session, lease: Lease, mark: Watermark, hint: Hint | None, seen: Seen) -> None:
    """Read from the watermark less the lookback to the source's now."""
    partition, lookback = lease.key.partition, session.connection.lookback
    began, horizon, served = session.asked(), session.horizon_start(), session.certain_horizon()
    watermark = believable(mark.watermark_at, mark.asked_at, began.source_at, began.at)
    window = live_window(watermark, began.source_at, lookback, served)
    if lost := lost_span(watermark, served):
        await _note_lost(session, lease, lost)
    if watermark is None and horizon < window.start:
        await _open_history(session, lease, Window(horizon, window.start))

    def move(db: Database, covered: datetime) -> None:
        watermarks.advance(
            db,
            session.name,
            partition,
            start=min(window.start, covered),
            covered=covered,
            lookback_from=covered - lookback,
            asked_at=began.at,
        )

    await _read(session, lease, window, move, seen)
    stood = hint.text if hint and hint.shown_by <= window.end else None
    await session.commit(
        lease,
        lambda db, now: watermarks.note_success(db, session.name, EXECUTIONS, partition, now=now, hint=stood),
    )


async def sync_last(session: Session, partition: str, seen: Seen) -> bool:
    """Read the partition of a deleted workflow a last time; what still runs is lost with the workflow."""

    def close(db: Database, now: datetime) -> None:
        watermarks.note_success(db, session.name, EXECUTIONS, partition, now=now)
        mark_running_deleted(db, session.name, partition, now)

    async with session.lease(EXECUTIONS, partition, "live") as lease:
        if lease is not None:
            try:
                await _sync_live(session, lease, seen)
            except NotFound:
                session.log.info("deleted with its executions", partition=partition)
            await session.commit(lease, close)
        return lease is not None


def _is_fresh(session: Session, mark: Watermark, every: timedelta) -> bool:
    read_at = mark.last_success_at
    now = session.writer.now()
    return read_at is not None and now - min(FRESH * every, LONGEST_FRESH) < read_at <= now


def _is_unmoved(session: Session, mark: Watermark, hint: Hint | None) -> bool:
    swept_at = mark.swept_at
    now = session.writer.now()
    is_fresh = swept_at is not None and now - session.connection.sweep < swept_at <= now
    return hint is not None and hint.text == mark.hint and is_fresh


async def sync_history(session: Session, entry: LedgerEntry) -> bool:
    """Copy one span of history from where it stands; False where another process is at it."""
    async with session.lease(EXECUTIONS, entry.partition, "history") as lease:
        if lease is not None:
            await _sync_history(session, lease, entry)
        return lease is not None


async def sync_history_of_deleted(session: Session, entry: LedgerEntry) -> bool:
    """Copy what is still served of a deleted workflow's history; what is not is listed as lost."""
    async with session.lease(EXECUTIONS, entry.partition, "history") as lease:
        if lease is not None:
            try:
                await _sync_history(session, lease, entry)
            except NotFound:
                await session.commit(lease, lambda db, now: _lose(db, session, entry, now))
        return lease is not None


async def _sync_history(session: Session, lease: Lease, entry: LedgerEntry) -> None:
    current = await session.writer.run(lambda db: watermarks.current_entry(db, session.name, entry))
    if current is not None:
        with doing(session.purpose_of_history(current.position)):
            await _copy_entry(session, lease, current)


def _lose(db: Database, session: Session, entry: LedgerEntry, now: datetime) -> None:
    current = watermarks.current_entry(db, session.name, entry)
    if current is None:
        return
    span = Window(current.position, current.until)
    audit.note_window(db, session.name, entry.partition, Finding(span, audit.LOST), now)
    watermarks.finish_entry(db, session.name, entry, now)
    session.report.lost.append(f"{entry.partition} {span}")


async def _copy_entry(session: Session, lease: Lease, entry: LedgerEntry) -> None:
    start, horizon = entry.position, session.certain_horizon()
    if start < session.certain_horizon(margin=timedelta(0)):
        start = min(horizon, entry.until)
        if entry.kind == "initial":
            await _note_lost(session, lease, Window(entry.position, start), is_live=False)

    def move(db: Database, covered: datetime) -> None:
        watermarks.advance_entry(db, session.name, entry, covered)

    def finish(db: Database, now: datetime) -> None:
        watermarks.finish_entry(db, session.name, entry, now)
        # An earlier run may have skipped what was deleted by then; nothing after today's horizon was.
        whole_from = entry.since if start == entry.since else max(entry.since, min(start, horizon))
        watermarks.extend(db, session.name, entry.partition, Window(whole_from, entry.until))

    if start < entry.until:
        await _read(session, lease, Window(start, entry.until), move)
    await session.commit(lease, finish)


async def sync_open(session: Session, partition: str, seen: Seen, every: timedelta | None = None) -> bool:
    """Read the open executions of one partition again; False where another process is at it.

    Polled `every` so often, one that runs is read the more rarely the older it is, and one that has ended when it
    can be settled.
    """
    async with session.lease(EXECUTIONS, partition, "open") as lease:
        if lease is None:
            return False
        source_now = session.source_now()
        if (
            not session.source.paging.shows_changes
        ):  # else what is older may run again, and a 404 tells its end
            horizon = session.certain_horizon()
            await session.commit(lease, lambda db, now: age_out(db, session.name, horizon, now))
        rows = await session.writer.run(lambda db: open_executions(db, session.name, partition))
        previous = await session.writer.run(
            lambda db: watermarks.watermark(db, session.name, partition, watermarks.OPEN).swept_at
        )
        due = {
            row.ref.execution_id: row
            for row in rows
            if row.ref.execution_id not in seen.ids
            and (every is None or _is_due(session, row, previous, source_now, every))
        }
        with doing(Purpose.OPEN):
            await _look_at(session, lease, due, seen)
        if every and due:
            await session.commit(
                lease, lambda db, _now: watermarks.note_sweep(db, session.name, partition, source_now)
            )
        return True


def _is_due(
    session: Session, row: OpenRow, previous: datetime | None, now: datetime, every: timedelta
) -> bool:
    if row.ended_at is not None:
        return row.ended_at <= now - session.connection.settle  # an end in the year 9999 bears no addition
    return due_for_look(row.ref.created_at, previous, now, every)


async def _look_at(session: Session, lease: Lease, due: Mapping[str, OpenRow], seen: Seen) -> None:
    """Read open executions again with the fewest requests; lists do not reach behind the horizon."""
    horizon = session.horizon_start()
    candidates = [
        OpenExecution(execution_id=key, created_at=row.ref.created_at, rank=row.rank)
        for key, row in due.items()
        if row.ref.created_at >= horizon
    ]
    beyond = [key for key, row in due.items() if row.ref.created_at < horizon]
    for look in session.shuffled([*beyond, *open_looks(candidates, session.source.paging.page_size)]):
        try:
            if not isinstance(look, Window):
                await _look(session, lease, due[look].ref)
            elif not await _read(session, lease, look, stay, seen):
                for key, row in due.items():
                    if look.holds(row.ref.created_at) and key not in seen.ids:
                        await _look(session, lease, row.ref)
            session.note_answer()
        except (TransientError, ContractError, Forbidden) as error:  # its own: the others must not grow stale
            await session.note_failure(EXECUTIONS, lease.key.partition, error)


async def partitions_to_look_at(session: Session) -> list[str]:
    """Partitions with executions whose row may still change, or that left the horizon unsettled."""
    horizon = session.certain_horizon()
    return await session.writer.run(lambda db: partitions_with_open(db, session.name, horizon))


async def read_again(session: Session, partition: str, window: Window) -> bool:
    """Read a window whatever was read before; False where another process is at its history."""
    async with session.lease(EXECUTIONS, partition, "history") as lease:
        if lease is None:
            return False
        await _read(session, lease, window, stay, counted=True)
        return True


async def read_disputed(session: Session, debt: Debt) -> bool:
    """Read a window again of which the source told more than it listed; False where another process is at it."""
    start = max(debt.window.start, session.horizon_start())
    if start >= debt.window.end:
        await session.writer.run(lambda db: audit.write_off(db, debt))
        session.report.lost.append(f"{debt.partition} {debt.window}")
        return True
    await session.writer.run(lambda db: audit.note_reading(db, debt, session.writer.now()))
    return await read_again(session, debt.partition, Window(start, debt.window.end))


def stay(_db: Database, _covered: datetime) -> None:
    """A look at known executions moves no watermark."""


async def _read(
    session: Session,
    lease: Lease,
    window: Window,
    move: Move,
    seen: Seen | None = None,
    *,
    counted: bool = False,
) -> bool:
    """Read a window to its end, committing portion by portion; `counted` as `Source.list_executions` has it.

    False where a record came without an id: it may be any of those that were not listed, so none counts as gone.
    """
    began, is_named = session.asked(), True

    async def ask(part: Window, number: int) -> Answer:
        asked = session.asked()
        page = await session.source.list_executions(lease.key.partition, part, number, counted=counted)
        return Answer(page=page, asked=asked)

    async for answered in read_window(ask, window, session.source.paging):
        portion = _promising(answered, began.at)
        write = partial(land, session, lease.key.partition, portion, began, move)
        loaded, noted = await session.commit(lease, write)
        if seen is not None:
            seen.ids |= loaded.open_ids
        if not portion.is_again:
            session.report.rows["executions"] += len(portion.rows)
            session.report.quarantined += len(portion.rejects) + len(loaded.refused)
        session.report.missing += loaded.missing
        await _ask_for(session, lease, loaded.doubted)
        if portion.span is not None:
            _judge(session, lease.key.partition, portion.span, noted)
            is_named = is_named and portion.span.names is not None
    return is_named


async def _ask_for(session: Session, lease: Lease, refs: Sequence[ExecutionRef]) -> None:
    """Read what a window lacks by its id: a 404 says more than a list whose bounds may mean something else."""
    for ref in refs:
        try:
            await _look(session, lease, ref)
        except (TransientError, ContractError, Forbidden) as error:
            await session.note_failure(EXECUTIONS, lease.key.partition, error)


def _promising(portion: Portion, now: datetime) -> Portion:
    """The portion without a promise of what is to come by the warehouse's clock: the source's may be ahead of what
    creates its executions."""
    return portion if portion.covered is None else structs.replace(portion, covered=min(portion.covered, now))


class Noted(Struct, kw_only=True):
    """What a verdict changed in the audit: whether a trouble is new, and how many are over."""

    is_new: bool = False
    resolved: int = 0


def land(
    session: Session, partition: str, portion: Portion, began: Asked, move: Move, db: Database, now: datetime
) -> tuple[Loaded, Noted]:
    """Write one portion: rows, rejects and the watermark that covers them."""
    noted = Noted()
    reading = session.reading(partition, portion.asked or began, now)
    wanted = [row for row in portion.rows if session.wants(row, partition)]
    _leave_out(
        db,
        session,
        partition,
        {row.workflow_id for row in portion.rows} - {row.workflow_id for row in wanted},
    )
    loaded = load_executions(db, [session.encoder.execution(row) for row in wanted], reading)
    rejects = [session.encoder.reject(reject) for reject in portion.rejects]
    rejects += [session.encoder.reject(_refused(row, why)) for row, why in loaded.refused]
    put_aside(db, session.name, EXECUTIONS, partition, rejects, now)
    refused = {str(row["execution_id"]) for row, _ in loaded.refused}
    good = {row.execution_id for row in wanted} - refused
    resolve_identities(db, session.name, EXECUTIONS, good, now)
    if portion.span is not None:
        reading = session.reading(partition, began, now)
        if portion.span.verdict is Verdict.PROVED:
            proved = session.with_all_before(portion.span.window)
            noted.resolved = audit.resolve_windows(db, session.name, partition, proved, now)
            _compare(session, portion.span, reading, db, loaded)
        else:
            noted.is_new = audit.note_window(
                db, session.name, partition, _finding(portion, portion.span), now
            )
    if portion.covered is not None:
        move(db, portion.covered)
    return loaded, noted


def _leave_out(db: Database, session: Session, partition: str, workflow_ids: set[str]) -> None:
    """Remember of which workflows the copy lacks executions: they may be wanted another day."""
    if workflow_ids:
        known = watermarks.left_out(db, session.name, partition)
        if not workflow_ids <= known:
            watermarks.note_left_out(db, session.name, partition, known | workflow_ids)


def _refused(row: dict[str, object], reason: str) -> Reject:
    identity = str(row["execution_id"])
    return Reject(raw=identity.encode(), reason=reason, identity=identity)


def _compare(session: Session, span: Span, reading: Reading, db: Database, loaded: Loaded) -> None:
    """Mark what a proved span did not list as gone at the source, or doubt it."""
    if span.names is None:
        return  # a record without an id may be any of those not listed
    served = Window(max(span.window.start, session.horizon_start()), span.window.end)
    if session.source.paging.bounds_are_sure:
        loaded.missing = mark_unlisted(db, reading, served, end_belongs=not span.is_cut, ids=span.names)
    else:
        loaded.doubted = unlisted(db, reading, served, end_belongs=not span.is_cut, ids=span.names)


def _finding(portion: Portion, span: Span) -> Finding:
    """What the audit keeps of a span that was not proved, up to where the watermark moves with it."""
    window = Window(span.window.start, portion.covered or span.window.end)
    return Finding(window, span.verdict.value, span.told, len(span.ids))


def _judge(session: Session, partition: str, span: Span, noted: Noted) -> None:
    """Tell a trouble when it begins and when it is over; an unproved span ends the reading."""
    if noted.resolved:
        session.log.info("agrees again", partition=partition, windows=noted.resolved)
    if span.verdict is Verdict.DISPUTED:
        session.report.disputed += 1
    if span.verdict is Verdict.DISPUTED and noted.is_new:
        window = str(span.window)
        session.log.warning(
            "disputed", partition=partition, window=window, told=span.told, read=len(span.ids)
        )
    if span.verdict is Verdict.UNPROVED:
        raise ContractError(
            f"window {span.window} differs from pass to pass: told {span.told}, read {len(span.ids)}",
            hint="its watermark waits; the next run reads it again",
        )


async def _look(session: Session, lease: Lease, ref: ExecutionRef) -> None:
    """Read one open execution by its id."""
    asked = session.asked()
    try:
        look = await session.source.read_execution(ref)
    except NotFound:
        reason = "gone" if ref.created_at >= session.horizon_start() else "aged_out"
        await session.commit(
            lease, lambda db, now: mark_missing(db, session.name, [ref.execution_id], reason, now)
        )
        session.report.missing += 1
        return

    def write(db: Database, now: datetime) -> Counter[str]:
        row = session.encoder.execution(look.execution)
        load_executions(db, [row], session.reading(ref.partition, asked, now))
        if look.steps is None:
            return Counter()
        ended_at = look.execution.ended_at
        seen = structs.replace(ref, ended_at=ended_at) if isinstance(ended_at, datetime) else ref
        read = steps_read(session, seen, look.steps, asked.at)
        return land_steps(db, session.name, [read], session.encoder, now)

    session.report.rows.update(await session.commit(lease, write))
    session.report.rows["executions"] += 1


async def _open_history(session: Session, lease: Lease, span: Window) -> None:
    """Put what lies before the first live window into the ledger."""
    await session.commit(
        lease, lambda db, now: watermarks.open_history(db, session.name, lease.key.partition, span, now)
    )


async def _note_lost(session: Session, lease: Lease, span: Window, *, is_live: bool = True) -> None:
    """List a span that the source deleted before it was copied."""

    def write(db: Database, now: datetime) -> None:
        partition = lease.key.partition
        audit.note_window(db, session.name, partition, Finding(span, audit.LOST), now)
        if is_live:
            watermarks.restart(db, session.name, partition, span.end)

    await session.commit(lease, write)
    session.report.lost.append(f"{lease.key.partition} {span}")
    session.log.warning("lost", partition=lease.key.partition, window=str(span))
