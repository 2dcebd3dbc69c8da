"""Workflows: list them all, fetch definitions that the list lacks, notice what was deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import blake2b

from msgspec import UNSET, structs
from sqlalchemy import Connection as Database

from syncer import plan
from syncer.decode.record import LONGEST_ID
from syncer.encode import Encoder
from syncer.errors import AuthError, ContractError, Forbidden, NotFound, TransientError
from syncer.load.workflows import WorkflowRow, known_workflows, load_workflows, mark_deleted
from syncer.model import Page, Workflow
from syncer.paging import Listing, Verdict, read_listing
from syncer.state import watermarks
from syncer.state.leases import Lease
from syncer.state.quarantine import put_aside, resolve_identities
from syncer.sync.session import Session

Known = Mapping[str, tuple[str | None, bool, datetime | None]]


async def sync_workflows(session: Session, only: Sequence[str] = ()) -> list[str] | None:
    """Copy all workflows that are chosen and note their hints; returns their ids, None where another process is at it.

    `only` narrows what is returned, not what is copied.
    """
    async with session.lease(watermarks.WORKFLOWS, "", "live") as lease:
        if lease is None:
            return None
        known = await session.writer.run(lambda db: known_workflows(db, session.name))
        listed: list[str] = []
        answers = read_listing(
            lambda page: _page(session, page),
            session.asked,
            lambda workflow: workflow.workflow_id,
            session.source.paging.page_size,
        )
        async for answer in answers:
            if answer.verdict is None:
                await _land(session, lease, answer, known, listed, only)
            else:
                await _conclude(session, lease, answer)
        return listed


async def _page(session: Session, number: int) -> Page[Workflow]:
    """One page of the list; without the right to read that, nothing can be read at all."""
    try:
        return await session.source.list_workflows(number)
    except Forbidden as error:
        raise AuthError(error.message, error.hint) from error


async def _land(
    session: Session,
    lease: Lease,
    answer: Listing[Workflow],
    known: Known,
    listed: list[str],
    only: Sequence[str],
) -> None:
    chosen = [row for row in answer.rows if is_chosen(row, session.connection.workflows)]
    workflows = [await _with_definition(session, row, known) for row in session.shuffled(chosen)]
    rows = [to_row(session.encoder, workflow) for workflow in workflows]
    asked = answer.asked or session.asked()

    def write(db: Database, now: datetime) -> None:
        load_workflows(db, session.name, rows, asked_at=asked.at, now=now)
        rejects = [session.encoder.reject(reject) for reject in answer.rejects]
        put_aside(db, session.name, watermarks.WORKFLOWS, "", rejects, now)
        ids = [workflow.workflow_id for workflow in workflows]
        resolve_identities(db, session.name, watermarks.WORKFLOWS, ids, now)

    await session.commit(lease, write)
    session.chosen |= {row.workflow_id for row in chosen}
    if not answer.is_again:
        session.report.rows["workflows"] += len(rows)
        session.report.quarantined += len(answer.rejects)
    for row in chosen:
        session.hints.note(row.workflow_id, row.hint, session.latest())
    listed += [row.workflow_id for row in chosen if is_chosen(row, only)]


async def _conclude(session: Session, lease: Lease, answer: Listing[Workflow]) -> None:
    if answer.verdict is Verdict.UNPROVED:
        raise ContractError(
            "the list of workflows differs from pass to pass", hint="the next run reads it again"
        )

    def write(db: Database, now: datetime) -> list[str]:
        watermarks.note_success(db, session.name, watermarks.WORKFLOWS, "", now=now)
        if answer.verdict is not Verdict.PROVED or answer.ids is None:
            return []
        return mark_deleted(db, session.name, answer.ids, now)

    deleted = await session.commit(lease, write)
    session.report.missing += len(deleted)
    for workflow_id in deleted:
        session.log.info("workflow deleted at the source", workflow=workflow_id)
    for part, error in answer.lacks:
        await session.note_failure(watermarks.WORKFLOWS, part, error, is_own=True)


async def _with_definition(session: Session, workflow: Workflow, known: Known) -> Workflow:
    """The workflow with its definition: from its own endpoint where the list lacks it and ours is missing or old."""
    if workflow.definition is not UNSET:
        return workflow
    revision, has_definition, updated_at = known.get(workflow.workflow_id, (None, False, None))
    is_current = (
        workflow.revision == revision
        if isinstance(workflow.revision, str)
        else workflow.updated_at == updated_at
    )
    if has_definition and is_current:
        return workflow
    if session.is_struggling:  # the next poll asks for others first
        return _without_revision(workflow)
    try:
        detailed = await session.source.read_workflow(workflow.workflow_id)
    except NotFound:  # deleted since it was listed
        return _without_revision(workflow)
    except (TransientError, ContractError, Forbidden) as error:  # its own: all the others wait for this page
        await session.note_failure(watermarks.WORKFLOWS, workflow.workflow_id, error, is_own=True)
        return _without_revision(workflow)
    carried = {name: value for name, value in structs.asdict(detailed).items() if value is not UNSET}
    return structs.replace(workflow, **{**carried, "hint": workflow.hint})


def _without_revision(workflow: Workflow) -> Workflow:
    """The workflow without what would say that its definition is current, so that the next pass asks again."""
    return structs.replace(workflow, revision=UNSET, updated_at=UNSET)


def is_chosen(workflow: Workflow, patterns: Sequence[str]) -> bool:
    """Whether one of the ids or name globs names the workflow; no patterns choose all."""
    name = workflow.name if isinstance(workflow.name, str) else None
    return plan.is_chosen(workflow.workflow_id, name, patterns)


def to_row(encoder: Encoder, workflow: Workflow) -> WorkflowRow:
    """The workflow as columns, with its nodes and the id of its revision where it carries a definition."""
    columns = encoder.workflow(workflow)
    if isinstance(workflow.nodes, tuple) and workflow.definition is not UNSET:
        definition = columns["definition"] or b""
        revision = columns.get("revision") or ""
        if not 0 < len(revision.encode()) <= LONGEST_ID:
            revision = blake2b(definition, digest_size=16).hexdigest()
        return WorkflowRow(columns=columns, nodes=encoder.nodes(workflow.nodes), revision_id=revision)
    return WorkflowRow(columns=columns, nodes=None, revision_id=None)
