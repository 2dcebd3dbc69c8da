"""One span of executions from the source to the warehouse: pages, rejects, the audit and what is missing.

Every page is one transaction with what moves with it. What a proved span does not list is gone, or asked for by its id
where the source's bounds may mean something else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from msgspec import Struct, structs
from sqlalchemy import Connection as Database

from syncer.errors import ContractError, Forbidden, NotFound, TransientError
from syncer.load.executions import Loaded, Reading, load_executions, mark_missing, mark_unlisted, unlisted
from syncer.model import Execution, ExecutionRef, Reject, Window
from syncer.paging import Answer, Asked, Portion, Span, Verdict, read_window
from syncer.state import audit, watermarks
from syncer.state.audit import Finding
from syncer.state.leases import Lease
from syncer.state.quarantine import put_aside, resolve_identities
from syncer.state.watermarks import EXECUTIONS
from syncer.sync.session import Session
from syncer.sync.steps import land_steps, steps_read

Move = Callable[[Database, datetime], None]
"""Moves a watermark or a ledger row to the end of what is covered."""


class Seen(Struct, kw_only=True):
    """Open executions whose row this pass has already read, so that they need no other look."""

    ids: set[str]


def stay(_db: Database, _covered: datetime) -> None:
    """A look at known executions moves no watermark."""


async def read_span(
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
            await read_by_id(session, lease, ref)
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
    wanted, others = _parted(session, partition, portion.rows)
    if others:
        watermarks.leave_out(db, session.name, partition, others)  # they may be wanted another day
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


def _parted(session: Session, partition: str, rows: Sequence[Execution]) -> tuple[list[Execution], set[str]]:
    """The rows that are copied, and the workflows of the others."""
    wanted: list[Execution] = []
    others: set[str] = set()
    for row in rows:
        if session.wants(row, partition):
            wanted.append(row)
        else:
            others.add(row.workflow_id)
    return wanted, others


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


async def read_by_id(session: Session, lease: Lease, ref: ExecutionRef) -> None:
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
