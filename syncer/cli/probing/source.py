"""The probes of one connection, in the order in which one needs the other.

Invariant: a dozen requests or so, and none that the Source protocol does not send anyway. Must not know a
platform: what differs between them is found out by asking.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta

from msgspec import UNSET

from syncer.cli.output import shown
from syncer.cli.platforms import open_tenant
from syncer.cli.probing.findings import Finding, Group, State, failed, noted, ok, skipped, warning
from syncer.cli.probing.horizon import horizon
from syncer.cli.probing.known import Known
from syncer.cli.probing.pace import pace
from syncer.cli.probing.warehouse import View, clocks
from syncer.config import Connection, format_duration
from syncer.errors import AuthError, RateLimited, SyncerError, unexpected
from syncer.http import NO_ANSWER, Gate, Refused
from syncer.model import Execution, Page, Window, Workflow
from syncer.sources import Order
from syncer.sync import new_room
from syncer.sync.workflows import is_chosen
from syncer.words import plural

LIST_PAGES = 3
"""Pages of workflows read to find what the patterns name."""

PARTITIONS = 3
"""How many are asked until one holds an execution."""

HALVINGS = 4
"""How often the horizon is halved where the source refuses to be asked that far back."""

DAY = timedelta(days=1)

Probe = Callable[[Known], AsyncIterator[Finding]]


async def probe(connection: Connection, view: View) -> Group:
    """All findings about a connection; whatever goes wrong stands in them."""
    group = Group(
        name=connection.name, about=f"{connection.platform}  {connection.base_url}", is_connection=True
    )
    try:
        group.findings += view.connection_findings(connection)
        wait = view.wait(connection)
    except SyncerError as error:
        group.findings.append(failed("name", error))
        wait = None
    if wait:
        told = f"until {shown(wait.until)} UTC: {wait.reason or 'the source said to wait'}"
        group.findings.append(
            warning("waiting", told, "nothing was asked; wait, then run `syncer check` again")
        )
        return group
    await _probe_source(connection, view, group)
    return group


async def _probe_source(connection: Connection, view: View, group: Group) -> None:
    try:
        tenant = open_tenant(connection, view.engine, new_room())
    except SyncerError as error:
        group.findings.append(failed("keys", error, is_fatal=True))
        return
    known = Known(connection=connection, source=tenant.source)
    try:
        await probe_all(known, group)
        _remember(view, connection, tenant.gate, group)
    finally:
        group.requests = known.requests
        await tenant.close()


async def probe_all(known: Known, group: Group) -> None:
    """Ask everything that can be asked, until nothing more can; what was found goes to the group."""
    for subject, each in PROBES:
        try:
            async for finding in each(known):
                group.findings.append(finding)
        except RateLimited as limit:
            told = "nothing more was asked: the rest is not known"
            group.findings.append(warning("waiting", limit.message, told))
            return
        except SyncerError as error:
            group.findings.append(_explained(known, subject, error))
        except Exception as error:  # noqa: BLE001 - a surprise in one answer must not hide what else was found
            group.findings.append(failed(subject, unexpected(error)))
        if group.is_dead:
            return


def _explained(known: Known, subject: str, error: SyncerError) -> Finding:
    """What a probe's failure means; without workflows nothing can be done."""
    if subject != FIRST:
        return failed(subject, error)
    answers = known.source.traffic.answers
    if not any(status != NO_ANSWER for _endpoint, status in answers):
        return failed("reached", error, is_fatal=True)
    lacks_rights = any(status == 403 and endpoint != "auth" for endpoint, status in answers)
    is_credential = isinstance(error, AuthError) and not lacks_rights
    return failed("sign in" if is_credential else subject, error, is_fatal=True)


def _remember(view: View, connection: Connection, gate: Gate, group: Group) -> None:
    try:
        view.note_wait(connection, gate)
    except SyncerError as error:
        group.findings.append(failed("waiting", error))


async def workflows(known: Known) -> AsyncIterator[Finding]:
    """Reach it, sign in, and list workflows."""
    page = await known.source.list_workflows(1)
    yield ok("sign in", f"{known.connection.base_url} accepts the credentials")
    for part, error in page.lacks:
        yield Finding("workflows", State.FAILED, f"{part}: {error.message}", error.hint)
    total, rejects, seen = page.total, len(page.rejects), page.size
    known.workflows += page.rows
    await _read_on(known, page)
    known.chosen = [each for each in known.workflows if is_chosen(each, known.connection.workflows)]
    yield _count(known, total)
    for pattern in _unmatched(known):
        yield _nobody(known, pattern)
    if rejects:
        yield _rejects("workflows", rejects, seen)


async def _read_on(known: Known, page: Page[Workflow]) -> None:
    """Read further pages as long as they may hold what a pattern names."""
    seen, number = page.size, 1
    while _has_more(known, page, seen):
        if number == LIST_PAGES or not _unmatched(known):
            known.has_all_workflows = False
            return
        number += 1
        page = await known.source.list_workflows(number)
        known.workflows += page.rows
        seen += page.size


def _has_more(known: Known, page: Page[Workflow], seen: int) -> bool:
    if page.total is not None:
        return bool(page.size) and seen < page.total
    return page.size >= known.source.paging.page_size


def _unmatched(known: Known) -> list[str]:
    """Patterns that name no workflow seen so far."""
    patterns = known.connection.workflows
    return [each for each in patterns if not any(is_chosen(one, [each]) for one in known.workflows)]


def _count(known: Known, total: int | None) -> Finding:
    seen = len(known.workflows)
    count = max(total or 0, seen)
    told = plural(count, "workflow")
    if total is None and not known.has_all_workflows:
        told = f"at least {told}"
    if known.connection.workflows:
        of = "" if known.has_all_workflows else f" of the first {seen:,}"
        told += f", {len(known.chosen):,}{of} chosen by `workflows`"
    if not count:
        hint = "the user may see none: rights may be narrowed to some workflows"
        return warning("workflows", "none", hint)
    return ok("workflows", told)


def _nobody(known: Known, pattern: str) -> Finding:
    told = f"{pattern!r} in `workflows` names no workflow"
    if not known.has_all_workflows:
        return noted("workflows", f"{told} of the first {len(known.workflows):,}")
    return warning("workflows", told, "write an id or a name as the platform shows it; case matters")


def _rejects(subject: str, rejects: int, size: int) -> Finding:
    told = f"{rejects} of {size} records have no usable identity"
    return warning(subject, told, "they will be put aside: `syncer quarantine list` shows them after a sync")


async def definition(known: Known) -> AsyncIterator[Finding]:
    """Whether the list of workflows carries definitions, else whether a single workflow can be read."""
    if not known.chosen:
        return
    first = known.chosen[0]
    if first.definition is None:
        yield noted("definition", "this platform tells none: workflow_nodes stays empty")
        return
    if first.definition is not UNSET:
        yield ok("definition", "comes with the list of workflows")
        return
    found = await known.source.read_workflow(first.workflow_id)
    if found.definition is UNSET or found.definition is None:
        yield noted("definition", "a workflow tells none: steps will have no names")
    else:
        yield ok("definition", "takes a request for each workflow that was changed")


async def executions(known: Known) -> AsyncIterator[Finding]:
    """Ask for all that the horizon holds of a workflow."""
    for partition in known.partitions()[:PARTITIONS]:
        known.partition = partition
        known.window, known.page = await _widest(known, partition)
        if known.page.size:
            break
    if known.page is None or known.window is None or known.partition is None:
        yield skipped("executions", "there is no workflow to ask for them")
        return
    age = format_duration(_age(known.window))
    if not known.page.size:
        yield noted("executions", f"none in the last {age} of the workflows tried: the rest cannot be probed")
        return
    count = known.page.size if known.page.total is None else known.page.total
    least = "" if known.is_whole or known.page.total is not None else "at least "
    yield ok("executions", f"{least}{count:,} in the last {age} of {known.name_of(known.partition)!r}")
    if known.page.rejects:
        yield _rejects("executions", len(known.page.rejects), known.page.size)
    if known.page.total is None:
        yield noted("totals", "not told: every window is read twice, to prove it")
    if not known.is_whole:
        await known.ask(known.partition, known.span(min(DAY, known.connection.horizon)))


async def _widest(known: Known, partition: str) -> tuple[Window, Page[Execution]]:
    """The horizon's first page; where the source refuses to be asked that far back, half of it, and so on."""
    age = known.connection.horizon
    for _ in range(HALVINGS):
        window = known.span(age)
        try:
            return window, await known.ask(partition, window)
        except Refused:
            known.refused, age = age, age / 2
    window = known.span(age)
    return window, await known.ask(partition, window)


def _age(window: Window) -> timedelta:
    """Its length in whole hours, without the margin."""
    hours = round(window.length / timedelta(hours=1))
    return timedelta(hours=max(hours, 1))


async def bounds(known: Known) -> AsyncIterator[Finding]:
    """Whether a window in the middle of what exists is answered with its own rows, in the order asked for."""
    if known.page is None or known.window is None or known.partition is None or not known.page.rows:
        return
    asked = _middle(known.page.rows)
    answer = await known.ask(known.partition, asked)
    pages = ((known.window, known.page), (asked, answer))
    tick, order = known.source.paging.tick, known.source.paging.order
    known.is_ordered = all(_is_ordered(page.rows, order) for _window, page in pages)
    yield _order(known, pages)
    early = any(row.created_at < window.start - tick for window, page in pages for row in page.rows)
    late = any(row.created_at > window.end + tick for window, page in pages for row in page.rows)
    sides = " and ".join([*(["the start"] if early else []), *(["the end"] if late else [])])
    if sides:
        told = f"{sides} of a window is not honoured: rows from outside it come, too"
        yield warning("window", told, BY_NUMBERS if known.is_ordered else None)  # else it has just been said
    else:
        yield ok("window", "its start and end are honoured")


BY_NUMBERS = "nothing to do and nothing is lost: windows are read whole, by page numbers, which is slower"


def _middle(rows: tuple[Execution, ...]) -> Window:
    """A window that leaves out rows at both ends, as far as there are enough."""
    times = sorted({row.created_at for row in rows})
    if len(times) == 1:
        return Window(times[0] + timedelta(seconds=1), times[0] + timedelta(seconds=2))
    return Window(times[max(len(times) // 4, 1)], times[max(3 * len(times) // 4 - 1, 1)])


def _is_ordered(rows: tuple[Execution, ...], order: Order) -> bool:
    times = [row.created_at for row in rows]
    return order is Order.NONE or times == sorted(times, reverse=order is Order.DESCENDING)


def _order(known: Known, pages: tuple[tuple[Window, Page[Execution]], ...]) -> Finding:
    order = known.source.paging.order
    if order is Order.NONE:
        return noted("order", f"this platform promises none; {BY_NUMBERS}")
    if not known.is_ordered:
        return warning("order", f"not {order} by creation, as it was asked for", BY_NUMBERS)
    if all(len({row.created_at for row in page.rows}) < 2 for _window, page in pages):
        return skipped("order", "too few executions to tell")
    return ok("order", f"{order} by creation, as asked for")


async def execution(known: Known) -> AsyncIterator[Finding]:
    """Whether one execution can be read by its id."""
    if ref := known.sample():
        look = await known.source.read_execution(ref)
        with_steps = ", and brings its steps along" if look.steps is not None else ""
        yield ok("execution", f"can be read by its id{with_steps}")


async def steps(known: Known) -> AsyncIterator[Finding]:
    """What the steps of one execution cost, and whether their payloads come with them."""
    ref = known.sample()
    if not known.connection.steps:
        known.requests_per_execution = 0
        yield skipped("steps", "not copied (steps = false)")
    elif ref:
        before = known.requests
        answer = await known.source.read_steps(ref)
        cost = known.requests_per_execution = known.requests - before
        told = f"{plural(len(answer.events), 'event')}, {plural(cost, 'request')} for an execution"
        if cost > 2 and known.connection.step_io:
            yield warning("steps", told, "step_io = false leaves input and output out, and costs one request")
        else:
            yield ok("steps", told)


async def dialect(known: Known) -> AsyncIterator[Finding]:
    """What the source found out about its platform by being asked."""
    for subject, words in known.source.dialect.items():
        yield ok(subject, words)


async def clock(known: Known) -> AsyncIterator[Finding]:
    """Whether the source's clock agrees with ours."""
    theirs = known.source.now()
    if theirs is None:
        yield noted("clock", "the source tells no time: windows end at ours less `lookback`")
    else:
        yield clocks("clock", theirs, "the source", "windows end by the source's")


FIRST = "workflows"
PROBES: tuple[tuple[str, Probe], ...] = (
    (FIRST, workflows),
    ("definition", definition),
    ("executions", executions),
    ("window", bounds),
    ("execution", execution),
    ("steps", steps),
    ("paging", dialect),
    ("horizon", horizon),
    ("clock", clock),
    ("limits", pace),
)
