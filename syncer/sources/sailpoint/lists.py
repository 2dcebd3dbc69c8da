"""How to ask for lists: what is paged, and where a total is told, found out by asking.

Invariant: what a tenant refused once for its parameters is asked for without them from then on. The documents name
no paging for workflows, and a total has come and gone from those for executions (docs/sailpoint.md, Lists).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

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


class Lists:
    """Asks for workflows and executions."""

    def __init__(self, api: Api, routes: Routes, page_size: int) -> None:
        self.page_size = min(page_size, LARGEST)
        self._api = api
        self._routes = routes
        self._first_page: tuple[str, ...] = ()
        self._is_paged: bool | None = None
        self._is_counted: bool | None = None

    @property
    def dialect(self) -> dict[str, str]:
        """How lists are paged and counted."""
        ways = {None: "not tried yet", True: "limit and offset", False: "one answer holds them all"}
        totals = {None: "not asked for yet", True: "told in X-Total-Count", False: "not told"}
        return {"paging": f"of workflows: {ways[self._is_paged]}", "totals": totals[self._is_counted]}

    async def workflows(self, page: int) -> Page[Workflow]:
        """One page of all workflows; all of them on the first where the tenant does not page."""
        if self._is_paged is False:
            return await self._workflows([]) if page == 1 else Page(rows=())
        try:
            answer = await self._workflows(self._nth(page))
        except Refused as error:
            if error.status != BAD_REQUEST or page > 1:
                raise
            answer = await self._workflows([])
            self._is_paged = False
            return answer
        self._learn(page, answer)
        return answer

    async def executions(
        self, workflow_id: str, window: Window, page: int, *, counted: bool
    ) -> Page[Execution]:
        """One page of the executions of a workflow, the newest first, with their number where that is told."""
        query = [*self._nth(page), ("filters", between(window))]
        path = self._routes.executions(workflow_id)
        if not counted or self._is_counted is False:
            return await self._executions(path, query)
        try:
            answer = await self._executions(path, [*query, ("count", "true")])
        except Refused as error:
            if error.status != BAD_REQUEST:
                raise
            answer = await self._executions(path, query)
        self._is_counted = answer.total is not None
        return answer

    def _nth(self, page: int) -> Query:
        return [("limit", str(self.page_size)), ("offset", str((page - 1) * self.page_size))]

    async def _workflows(self, query: Query) -> Page[Workflow]:
        listing = await self._api.get(self._routes.workflows, query, endpoint="workflows", parse=parse_items)
        return to_page(listing, read_workflow, named_by=("id", "name"))

    def _learn(self, page: int, answer: Page[Workflow]) -> None:
        """A page longer than asked for, or a second one like the first, says that paging is not known."""
        ids = tuple(row.workflow_id for row in answer.rows)
        if page == 1:
            self._first_page = ids
        if answer.size > self.page_size or (page > 1 and ids and ids == self._first_page):
            self._is_paged = False
        elif page > 1:
            self._is_paged = True

    async def _executions(self, path: str, query: Query) -> Page[Execution]:
        listing = await self._api.read(path, query, endpoint="executions", parse=_counted)
        return to_page(listing, read_execution, named_by=("id",))


def between(window: Window) -> str:
    """The filter for a window. Times are told in nanoseconds, so its last microsecond reaches up to the next."""
    return f'start_time ge "{_text(window.start)}" and start_time lt "{_text(window.end + TICK)}"'


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def _counted(answer: Answer) -> Listing:
    listing = parse_items(answer.body)
    told = answer.headers.get("x-total-count", "").strip()
    is_number = told.isascii() and told.isdigit() and len(told) < 19
    return Listing(int(told), listing.items) if is_number else listing
