"""Reading a list that has no windows, such as that of all workflows, to its proved end.

Invariant: the verdict comes last, and only a proved listing says what the source no longer has.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from typing import Generic

from msgspec import Struct

from syncer.errors import SyncerError
from syncer.model import Page, Reject, Row
from syncer.paging.answers import MAX_PASSES, Asked, Verdict, reject_key


class Listing(Struct, Generic[Row], frozen=True, kw_only=True):
    """One answer of a list without windows; the last carries the verdict and the ids the source surely has.

    `ids` is None where a reject has none, which may be any of those not listed, and where a part of the list could not
    be read: `lacks` then says which and why. `is_again` as a `Portion` has it.
    """

    rows: tuple[Row, ...] = ()
    rejects: tuple[Reject, ...] = ()
    asked: Asked | None = None
    is_again: bool = False
    verdict: Verdict | None = None
    ids: frozenset[str] | None = None
    lacks: tuple[tuple[str, SyncerError], ...] = ()


async def read_listing(
    ask: Callable[[int], Awaitable[Page[Row]]],
    now: Callable[[], Asked],
    key: Callable[[Row], str],
    page_size: int,
) -> AsyncIterator[Listing[Row]]:
    """Turn the pages of a list that has no windows until it is proved as a window is (see `read_window`)."""
    previous: frozenset[str] | None = None
    for _ in range(MAX_PASSES):
        ids: set[str] = set()
        rejected: set[str | None] = set()
        lacks: tuple[tuple[str, SyncerError], ...] = ()
        told: int | None = None
        for number in count(1):
            asked = now()
            page = await ask(number)
            told = page.total if number == 1 else told
            rows = tuple(row for row in page.rows if key(row) not in ids)
            rejects = tuple(each for each in page.rejects if reject_key(each) not in ids)
            ids |= {key(row) for row in rows} | {reject_key(each) for each in rejects}
            rejected |= {reject.identity for reject in rejects}
            lacks += page.lacks
            yield Listing(rows=rows, rejects=rejects, asked=asked, is_again=previous is not None)
            is_short = page.size < page_size
            if not (rows or rejects) or (is_short and told is not None and len(ids) >= told):
                break
        if told == len(ids) or frozenset(ids) == previous:
            verdict = Verdict.PROVED if told in (None, len(ids)) else Verdict.DISPUTED
            named = ids | {each for each in rejected if each is not None}
            is_whole = None not in rejected and not lacks
            yield Listing(verdict=verdict, ids=frozenset(named) if is_whole else None, lacks=lacks)
            return
        previous = frozenset(ids)
    yield Listing(verdict=Verdict.UNPROVED)
