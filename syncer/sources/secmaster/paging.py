"""Lists by offset and limit, and what the count that comes with them counts.

Invariant: a page is whole, whatever the server makes of `limit`; an offset beyond what it serves is never asked. Pages
of instances follow each other by creation time, which no answer tells (docs/secmaster.md, Lists and paging).
"""

from __future__ import annotations

from syncer.decode.answer import Listing, parse_items
from syncer.decode.record import Record
from syncer.errors import ContractError
from syncer.http import Client, Incomplete, TooLarge

LARGEST = 100
"""Rows that a page may have."""

REACH = 9_900
"""Rows that offsets reach: 10,000 is their end, and sister APIs want offset and limit to stay below it."""

Query = list[tuple[str, str]]


class Lists:
    """Asks for pages of lists; `items` is what a list calls its rows."""

    def __init__(self, client: Client, page_size: int) -> None:
        self._client = client
        self.page_size = min(page_size, LARGEST)
        self._bearable = self.page_size
        self._counts_pages = False

    @property
    def dialect(self) -> str:
        """How pages are asked for, and whether totals are told."""
        counted = "the count is of the page" if self._counts_pages else "the count is of all"
        return f"offset and limit, {self._bearable} rows a page; {counted}"

    def reaches(self, page: int) -> bool:
        """Whether offsets reach to the end of the page."""
        return page * self.page_size <= REACH

    async def page(self, path: str, endpoint: str, items: str, page: int, query: Query) -> Listing:
        """One page, filled up by further answers where the first is short of it and not the end."""
        if not self.reaches(page):
            raise ContractError(f"there are more {endpoint} than page numbers reach ({REACH:,})")
        first, end = (page - 1) * self.page_size, page * self.page_size
        rows: list[bytes] = []
        totals: set[int | None] = set()
        while True:
            start = first + len(rows)
            part, is_full = await self._part(path, endpoint, items, (start, end - start), query)
            rows += part.items
            totals.add(part.total)
            has_more = is_full or (part.total is not None and start + len(part.items) < part.total)
            if not part.items or not has_more or len(rows) >= self.page_size:
                # Totals that differ say that rows came or went between the answers: none of them can be trusted.
                return Listing(totals.pop() if len(totals) == 1 else None, rows)

    async def _part(
        self, path: str, endpoint: str, items: str, span: tuple[int, int], query: Query
    ) -> tuple[Listing, bool]:
        """The rows of a span (offset, limit), fewer where so many are too long for one answer; and whether these are
        as many as were asked for."""
        offset, wanted = span
        limit = min(wanted, self._bearable)
        asked = [("offset", str(offset)), ("limit", str(limit)), *query]
        try:
            part = await self._client.get(
                path, asked, endpoint=endpoint, parse=lambda body: parse_list(body, items)
            )
        except TooLarge:
            if limit == 1:
                raise
            self._bearable = limit // 2
            return await self._part(path, endpoint, items, span, query)
        return Listing(self._total(part, offset), part.items), len(part.items) >= limit

    def _total(self, part: Listing, start: int) -> int | None:
        """What the answer tells of all rows; a count that leaves out those before it is of the page alone."""
        if start and part.items and part.total == len(part.items):
            self._counts_pages = True
        return None if self._counts_pages else part.total


def parse_list(body: bytes, items: str) -> Listing:
    """The rows of {count, <items>} or of an envelope {total, data}; ValueError where there is neither."""
    listing = parse_items(body, items=items, total="count")
    if listing.total is None:
        listing = parse_items(body, items=items, total="total")
    if not listing.items and _is_failure(body):
        raise Incomplete("the answer says that it failed")
    return listing


def _is_failure(body: bytes) -> bool:
    return body.lstrip()[:1] == b"{" and Record.parse(body).boolean("success") is False
