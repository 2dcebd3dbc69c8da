"""Lists by offset and limit, and what the count that comes with them counts.

Invariant: a page is whole, whatever the server makes of `limit`; an offset beyond what it serves is never asked. Pages
of instances follow each other by creation time, which no answer tells (docs/secmaster.md, Lists and paging).
"""

from __future__ import annotations

import re
from collections import defaultdict
from enum import StrEnum

from msgspec import UNSET, Struct

from syncer.decode.answer import Listing, parse_items
from syncer.decode.record import Record
from syncer.errors import ContractError
from syncer.http import Client, Incomplete, TooLarge

LARGEST = 100
"""Rows that a page may have."""

REACH = 9_900
"""Rows that offsets reach: 10,000 is their end, and sister APIs want offset and limit to stay below it."""

Query = list[tuple[str, str]]

# An error's code as SecMaster and the gateway write it; one of zeros is that of a success.
_ERROR = re.compile(r"[A-Za-z]+\.[0-9]*[1-9][0-9]*")


class Counts(StrEnum):
    """What the count of a list was found to count."""

    ALL = "all"
    PAGE = "the page"


class _Manner(Struct):
    """How one list answers, as far as its answers have shown it."""

    counts: Counts | None = None
    longest: int = 0
    """Rows of the longest answer so far: a limit no larger than that is not cut by the server."""

    def learn(self, part: Listing, start: int) -> None:
        """Note what an answer shows. A count that leaves out those before it is of the page alone, for good."""
        size = len(part.items)
        self.longest = max(self.longest, size)
        if part.total is None:
            return
        if start and part.total == size:
            self.counts = Counts.PAGE
        elif part.total != size and self.counts is None:
            self.counts = Counts.ALL


class _Part(Struct, frozen=True):
    """Some rows of a list from one answer, the total told with them, and whether they are shown to be its last."""

    rows: list[bytes]
    total: int | None
    is_last: bool


class Lists:
    """Asks for pages of lists; `items` is what a list calls its rows."""

    def __init__(self, client: Client, page_size: int) -> None:
        self._client = client
        self.page_size = min(page_size, LARGEST)
        self._bearable = self.page_size
        self._manners: defaultdict[str, _Manner] = defaultdict(_Manner)

    @property
    def dialect(self) -> str:
        """How pages are asked for, and whether totals are told."""
        counts_pages = any(each.counts is Counts.PAGE for each in self._manners.values())
        counted = Counts.PAGE if counts_pages else Counts.ALL
        return f"offset and limit, {self._bearable} rows a page; the count is of {counted}"

    def reaches(self, page: int) -> bool:
        """Whether offsets reach to the end of the page."""
        return page * self.page_size <= REACH

    async def page(self, path: str, endpoint: str, items: str, page: int, query: Query) -> Listing:
        """One page, filled up by further answers until one shows the end where the first is short of it."""
        if not self.reaches(page):
            raise ContractError(f"there are more {endpoint} than page numbers reach ({REACH:,})")
        first, end = (page - 1) * self.page_size, page * self.page_size
        rows: list[bytes] = []
        totals: set[int | None] = set()
        while True:
            start = first + len(rows)
            part = await self._part(path, endpoint, items, (start, end - start), query)
            rows += part.rows
            totals.add(part.total)
            if part.is_last or len(rows) >= self.page_size:
                break
        counts = self._manners[endpoint].counts
        # A full page whose count is its own length says nothing. Totals that differ say that rows came or went between
        # the answers: none of them can be trusted.
        is_told = counts is Counts.ALL or (counts is None and part.is_last)
        return Listing(totals.pop() if is_told and len(totals) == 1 else None, rows)

    async def _part(self, path: str, endpoint: str, items: str, span: tuple[int, int], query: Query) -> _Part:
        """The rows of a span (offset, limit), fewer where so many are too long for one answer."""
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
        manner = self._manners[endpoint]
        manner.learn(part, offset)
        return _Part(part.items, part.total, _is_last(part, offset, limit, manner))


def _is_last(part: Listing, offset: int, limit: int, manner: _Manner) -> bool:
    """Whether an answer shows that nothing follows it: it is empty, or shorter than asked, which must mean the end.

    It does where the total of all is reached, or where as many as now asked for were served before. Else the server may
    cut every page to a length of its own, and its count may be that of the page.
    """
    size = len(part.items)
    if not size or size >= limit:
        return not size
    if manner.counts is Counts.ALL and part.total is not None:
        return offset + size >= part.total
    return limit <= manner.longest


def parse_list(body: bytes, items: str) -> Listing:
    """The rows of {count, <items>} or of an envelope {total, data}; ValueError where there is neither.

    An answer may fail with 200: it then says so in one of the ways of an error, or has a null for its rows. That is an
    empty list only where the total told is zero.
    """
    listing = parse_items(body, items=items, total="count")
    if listing.total is None:
        listing = parse_items(body, items=items, total="total")
    if body.lstrip()[:1] == b"{":
        record = Record.parse(body)
        if _is_failure(record) or (listing.total != 0 and _has_no_list(record, items)):
            raise Incomplete("the answer says that it failed")
    return listing


def _is_failure(record: Record) -> bool:
    """Whether the answer has one of the shapes of an error (docs/secmaster.md, Errors and limits)."""
    succeeded = record.boolean("success")
    told = record.text("success")
    if succeeded is False or (isinstance(told, str) and told.strip().lower() == "false"):
        return True
    codes = [record.text(name) for name in ("error_code", "errorCode")]
    if isinstance(record.record("error"), Record) or any(isinstance(each, str) and each for each in codes):
        return True
    code = record.text("code")
    return succeeded is not True and isinstance(code, str) and _ERROR.fullmatch(code) is not None


def _has_no_list(record: Record, items: str) -> bool:
    """Whether a null stands in the place of the rows."""
    inner = record.record("data") if items not in record else UNSET
    place = inner if isinstance(inner, Record) else record
    return place.raw(items if items in place else "data") == b"null"
