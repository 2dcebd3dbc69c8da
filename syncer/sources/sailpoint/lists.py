"""How to ask for lists: what is paged, and where a total is told, found out by asking.

Invariant: what a tenant refused once for its parameters is asked for without them from then on, and a page is whole,
whatever the tenant makes of `limit`. The documents name no paging for workflows, and a total has come and gone from
those for executions (docs/sailpoint.md, Lists).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from syncer.decode.answer import Listing, parse_items
from syncer.http import Answer, Refused
from syncer.model import Execution, Page, Window, Workflow
from syncer.sources.records import to_page
from syncer.sources.sailpoint.api import Api
from syncer.sources.sailpoint.records import read_execution, read_workflow
from syncer.sources.sailpoint.routes import Routes

LARGEST = 250
"""Records in a page, at most (docs/sailpoint.md, Lists)."""

TICK = timedelta(microseconds=1)

BAD_REQUEST = 400

Query = list[tuple[str, str]]
Parse = Callable[[Answer], Listing]


class End(NamedTuple):
    """The page behind the end of a list, which is empty: its number, what was asked, and the total told.

    `is_repeated` where the list ended because the same came again, whatever offset was asked for.
    """

    page: int
    query: Query
    total: int | None
    is_repeated: bool


class Lists:
    """Asks for workflows and executions."""

    def __init__(self, api: Api, routes: Routes, page_size: int) -> None:
        self.page_size = min(page_size, LARGEST)
        self._api = api
        self._routes = routes
        self._first_page: tuple[str, ...] = ()
        self._is_paged: bool | None = None
        self._is_counted: bool | None = None
        self._ends: dict[str, End] = {}

    @property
    def dialect(self) -> dict[str, str]:
        """How lists are paged and counted."""
        ways = {None: "not tried yet", True: "limit and offset", False: "one answer holds them all"}
        totals = {None: "not asked for yet", True: "told in X-Total-Count", False: "not told"}
        return {"paging": f"of workflows: {ways[self._is_paged]}", "totals": totals[self._is_counted]}

    async def workflows(self, page: int) -> Page[Workflow]:
        """One page of all workflows; all of them on the first where the tenant does not page."""
        if self._is_paged is False:
            return await self._all_workflows() if page == 1 else Page(rows=())
        try:
            listing = await self._page(self._routes.workflows, "workflows", page, [], _uncounted)
        except Refused as error:
            if error.status != BAD_REQUEST or page > 1:
                raise
            answer = await self._all_workflows()
            self._is_paged = False
            return answer
        answer = _of_workflows(listing)
        self._learn(page, answer)
        return answer

    async def executions(
        self, workflow_id: str, window: Window, page: int, *, counted: bool
    ) -> Page[Execution]:
        """One page of the executions of a workflow, the newest first, with their number where that is told."""
        query = [("filters", between(window))]
        path = self._routes.executions(workflow_id)
        if not counted or self._is_counted is False:
            return await self._executions(path, page, query)
        try:
            answer = await self._executions(path, page, [*query, ("count", "true")])
        except Refused as error:
            if error.status != BAD_REQUEST:
                raise
            answer = await self._executions(path, page, query)
        self._is_counted = answer.total is not None
        return answer

    async def _page(self, path: str, endpoint: str, page: int, query: Query, parse: Parse) -> Listing:
        """One page, filled up by further answers while it is short: a tenant may serve fewer than it is asked for.

        That is one request more where a list ends within a page, and it saves that for the page behind.
        """
        end = self._ends.pop(path, None)
        if end is not None and (end.page, end.query) == (page, query):
            return Listing(end.total, [])
        rows: list[bytes] = []
        totals: set[int | None] = set()
        while True:
            start, wanted = (page - 1) * self.page_size + len(rows), self.page_size - len(rows)
            asked = [("limit", str(wanted)), ("offset", str(start)), *query]
            part = await self._api.read(path, asked, endpoint=endpoint, parse=parse)
            is_again = bool(rows) and set(rows).issuperset(part.items)
            if not is_again:
                rows += part.items
            totals.add(part.total)
            # Totals that differ say that rows came or went between the answers: none of them can be trusted.
            total = part.total if len(totals) == 1 else None
            if rows and (is_again or not part.items):
                self._ends[path] = End(page + 1, query, total, is_repeated=bool(part.items))
            is_told = part.total is not None and start + len(part.items) >= part.total
            if is_again or is_told or not part.items or len(rows) >= self.page_size:
                return Listing(total, rows)

    async def _all_workflows(self) -> Page[Workflow]:
        path = self._routes.workflows
        return _of_workflows(await self._api.get(path, endpoint="workflows", parse=parse_items))

    def _learn(self, page: int, answer: Page[Workflow]) -> None:
        """A page longer than asked for, or the same rows for another offset, says that paging is not known."""
        ids = tuple(row.workflow_id for row in answer.rows)
        if page == 1:
            self._first_page = ids
        end = self._ends.get(self._routes.workflows)
        is_repeated = (page > 1 and ids and ids == self._first_page) or (end is not None and end.is_repeated)
        if answer.size > self.page_size or is_repeated:
            self._is_paged = False
        elif page > 1:
            self._is_paged = True

    async def _executions(self, path: str, page: int, query: Query) -> Page[Execution]:
        listing = await self._page(path, "executions", page, query, _counted)
        return to_page(listing, read_execution, named_by=("id",))


def between(window: Window) -> str:
    """The filter for a window, whose last microsecond is asked for with all its nanoseconds.

    "Not after" them, and not "before the next microsecond": where times are compared more coarsely, that next one is
    still the last millisecond, and all of it would be left out.
    """
    return f'start_time ge "{_text(window.start)}Z" and start_time le "{_text(window.end)}999Z"'


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00")


def _of_workflows(listing: Listing) -> Page[Workflow]:
    return to_page(listing, read_workflow, named_by=("id", "name"))


def _uncounted(answer: Answer) -> Listing:
    return parse_items(answer.body)


def _counted(answer: Answer) -> Listing:
    listing = parse_items(answer.body)
    told = answer.headers.get("x-total-count", "").strip()
    is_number = told.isascii() and told.isdigit() and len(told) < 19
    return Listing(int(told), listing.items) if is_number else listing
