"""Reading one window of executions: walked along creation time, or turned by page number where that is not believed.

Invariant: `covered` only grows, and nothing counts as read until the totals agree or two passes do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from msgspec import structs

from syncer.errors import ContractError
from syncer.model import Execution, Page, Window
from syncer.paging.answers import MAX_PASSES, Answer, Ask, Portion, Span, Verdict, reject_key
from syncer.plan import halves
from syncer.sources import Order, Paging

WINDOW_ROWS = 2_000
"""Rows that a window may hold before it is split: bounds memory, and what is read again after a wait."""

SLACK = timedelta(seconds=2)
"""How far past its end a window's rows may lie: bounds that may be exclusive are asked a little wider."""


_EPOCH = datetime.fromtimestamp(0, UTC)


class _Disbelieved(Exception):
    """A page did not lie in the asked span or did not stand in the order asked."""


class _TooLarge(Exception):
    """The window holds more rows than page numbers can reach or memory should hold."""


class _Boundless(Exception):
    """The server ignores the bounds it is asked: to part a window changes nothing."""


class _Pass:
    """What one pass over a window has seen: ids with their creation time, since the last cut."""

    def __init__(self) -> None:
        self.seen: dict[str, datetime] = {}
        self.told: int | None = None
        self.answers = 0
        self.is_steady = True
        self.rejected: set[str | None] = set()
        self._last = _EPOCH

    def take(self, answer: Answer) -> Portion:
        """Note the page's records and return those not seen before in this pass."""
        page = answer.page
        if self.answers == 0:
            self.told = page.total
        self.answers += 1
        return self.keep(Portion(rows=page.rows, rejects=page.rejects, asked=answer.asked))

    def keep(self, portion: Portion) -> Portion:
        """Return the portion without the records that this pass has seen before.

        A reject without a creation time stands where the last row before it stood.
        """
        rows = tuple(row for row in portion.rows if self._is_new(row.execution_id, row.created_at))
        self._last = portion.rows[-1].created_at if portion.rows else self._last
        rejects = tuple(each for each in portion.rejects if self._is_new(reject_key(each), self._last))
        self.rejected |= {reject.identity for reject in rejects}
        return structs.replace(portion, rows=rows, rejects=rejects)

    def _is_new(self, key: str, created_at: datetime) -> bool:
        if key in self.seen:
            return False
        self.seen[key] = created_at
        return True

    def cut(self, instant: datetime, total: int | None) -> frozenset[str] | None:
        """Forget and return the ids before the instant, if the totals told then and now agree that these are all."""
        if total is None or self.told is None:
            return None
        before = frozenset(key for key, created_at in self.seen.items() if created_at < instant)
        if not before or self.told - total != len(before):
            return None
        self.seen = {key: created_at for key, created_at in self.seen.items() if created_at >= instant}
        self.told = total
        return before

    def names(self, ids: frozenset[str]) -> frozenset[str] | None:
        """The ids with those of rejects, of whatever part of the window; None where a reject has none."""
        named = {each for each in self.rejected if each is not None}
        return ids | named if len(named) == len(self.rejected) else None

    def ids_from(self, instant: datetime) -> frozenset[str]:
        """Ids created at the instant or later."""
        return frozenset(key for key, created_at in self.seen.items() if created_at >= instant)


async def read_window(ask: Ask, window: Window, paging: Paging) -> AsyncIterator[Portion]:
    """Yield the window's records portion by portion until it is proved, disputed or given up as unproved.

    The last portion of every span carries its verdict; `covered` only ever grows. Raises what `ask` raises.
    """
    whole = Window(_floor(window.start, paging.tick), _ceil(window.end, paging.tick))
    async for portion in _Reader(ask, whole, paging).read():
        covered = portion.covered and min(portion.covered, window.end)
        yield structs.replace(portion, covered=covered)


class _Reader:
    def __init__(self, ask: Ask, window: Window, paging: Paging, *, is_part: bool = False) -> None:
        self.ask = ask
        self.window = window
        self.paging = paging
        self.start = window.start
        self.by_numbers = paging.order is Order.NONE
        self.is_part = is_part
        self.can_part = True

    async def read(self) -> AsyncIterator[Portion]:
        previous: _Pass | None = None
        for _ in range(MAX_PASSES):
            current = _Pass()
            try:
                async for portion in self._pass(current):
                    yield structs.replace(portion, is_again=previous is not None)
            except _Disbelieved:
                self.by_numbers, previous = True, None
                continue
            except _TooLarge:
                try:
                    async for portion in self._split():
                        yield portion
                    return
                except _Boundless:
                    if self.is_part:
                        raise
                    self.can_part, self.by_numbers, previous = False, True, None
                    continue
            verdict = self._verdict(current, previous)
            if verdict is not None:
                yield Portion(covered=self.window.end, span=self._span(current, verdict))
                return
            previous = current
        if previous is None:
            raise ContractError(f"window {self.window} cannot be read in any order")
        yield Portion(span=self._span(previous, Verdict.UNPROVED))

    def _verdict(self, current: _Pass, previous: _Pass | None) -> Verdict | None:
        if current.told == len(current.seen) and current.is_steady:
            return Verdict.PROVED
        if previous is not None and previous.ids_from(self.start) == current.ids_from(self.start):
            return Verdict.PROVED if current.told is None else Verdict.DISPUTED
        return None

    def _span(self, current: _Pass, verdict: Verdict) -> Span:
        return Span(
            window=Window(self.start, self.window.end),
            verdict=verdict,
            ids=frozenset(current.seen),
            names=current.names(frozenset(current.seen)),
            told=current.told,
            is_cut=False,
        )

    def _pass(self, current: _Pass) -> AsyncIterator[Portion]:
        if self.by_numbers:
            return self._turn(current, Window(self.start, self.window.end), bounded=True)
        return self._walk(current)

    async def _turn(self, current: _Pass, window: Window, *, bounded: bool) -> AsyncIterator[Portion]:
        """Turn the pages of one fixed window by number until one brings nothing new or the total is reached.

        Rows that come and go meanwhile move others to pages that were turned, and may leave the count as it was: of
        one window every page tells the same total, or the total proves nothing.
        """
        number = 0
        while True:
            number += 1
            answer = await self.ask(window, number)
            portion = current.take(answer)
            current.is_steady = current.is_steady and answer.page.total == current.told
            if bounded:
                self._bound(answer.page, max(current.told or 0, len(current.seen)))
            yield portion
            is_short = answer.page.size < self.paging.page_size
            if not (portion.rows or portion.rejects) or (
                is_short and current.told is not None and len(current.seen) >= current.told
            ):
                return

    def _bound(self, page: Page[Execution], rows: int) -> None:
        """Raise where the window is to be parted; a page mostly from elsewhere says that it cannot be."""
        low, high = self.start - self.paging.tick, self.window.end + SLACK
        elsewhere = sum(not low <= row.created_at <= high for row in page.rows)
        if 2 * elsewhere > len(page.rows):
            if self.is_part:
                raise _Boundless
            self.can_part = False
        if self._is_too_large(rows):
            raise _TooLarge

    def _is_too_large(self, rows: int) -> bool:
        can_part = self.can_part and self.window.end - self.start > self.paging.tick
        return can_part and rows > min(self.paging.max_rows or WINDOW_ROWS, WINDOW_ROWS)

    async def _split(self) -> AsyncIterator[Portion]:
        """Read the two halves one after the other, the older first."""
        for half in halves(Window(self.start, self.window.end), self.paging.tick) or ():
            reader = _Reader(self.ask, half, self.paging, is_part=True)
            reader.by_numbers = self.by_numbers
            async for portion in reader.read():
                yield portion
                if portion.span is not None and portion.span.verdict is Verdict.UNPROVED:
                    return

    async def _walk(self, current: _Pass) -> AsyncIterator[Portion]:
        """Walk along creation time, each page from the last time seen, so that no page number can drift."""
        rising = self.paging.order is Order.ASCENDING
        edge = self.start if rising else self.window.end
        while self.window.holds(edge):
            rest = Window(edge, self.window.end) if rising else Window(self.start, edge)
            answer = await self.ask(rest, 1)
            page = answer.page
            self._believe(page, rest, rising)
            span = self._cut(current, edge, page.total) if rising else None
            portion = current.take(answer)
            yield structs.replace(portion, covered=edge if span else None, span=span)
            is_short = page.size < self.paging.page_size
            if page.size == 0 or (is_short and page.total is not None and page.size >= page.total):
                return
            if is_short:  # ends nothing by itself: the server may have clamped the page
                second = await self.ask(rest, 2)
                yield current.take(second)
                # Where more was told than came, this one page was cut short: the walk goes on behind it.
                if second.page.size == 0 and page.total is None:
                    return
            if self._is_too_large(len(current.seen)):
                raise _TooLarge
            following = self._following(edge, page, rising)
            if following == edge:
                async for turned in self._turn_instant(current, edge, rising):
                    yield turned
                following += self.paging.tick if rising else -self.paging.tick
            edge = following

    def _following(self, edge: datetime, page: Page[Execution], rising: bool) -> datetime:
        """Where the walk goes on after a page; the same edge where the page lies within one tick of it."""
        if not page.rows:
            raise _Disbelieved  # a page of nothing but rejects gives no edge to go on from
        last = page.rows[-1].created_at
        following = _floor(last, self.paging.tick) if rising else _ceil(last, self.paging.tick)
        if (following < edge) if rising else (following > edge):
            raise _Disbelieved  # a page from before the edge would be served again and again
        if following != edge and page.rows[0].created_at == last:
            raise _Disbelieved  # a page of one instant shows no order: what lies before it may come after
        return following

    def _cut(self, current: _Pass, edge: datetime, total: int | None) -> Span | None:
        """Everything before the edge is proved if the totals agree: begin the window there from now on."""
        ids = current.cut(edge, total)
        if ids is None:
            return None
        span = Span(
            window=Window(self.start, edge),
            verdict=Verdict.PROVED,
            ids=ids,
            names=current.names(ids),
            told=len(ids),
            is_cut=True,
        )
        self.start = edge
        return span

    def _believe(self, page: Page[Execution], rest: Window, rising: bool) -> None:
        """Raise unless the page's rows lie in the span asked for and stand in the order asked for."""
        times = [row.created_at for row in page.rows]
        low, high = rest.start - self.paging.tick, rest.end + SLACK
        if any(not low <= instant <= high for instant in times):
            raise _Disbelieved
        if times != sorted(times, reverse=not rising):
            raise _Disbelieved

    async def _turn_instant(self, current: _Pass, edge: datetime, rising: bool) -> AsyncIterator[Portion]:
        """Read an instant with more rows than a page: turn its pages until a whole turn brings no new id."""
        tick = self.paging.tick
        instant = Window(edge, edge + tick) if rising else Window(edge - tick, edge)
        while True:
            known = len(current.seen)
            turn = _Pass()
            async for portion in self._turn(turn, instant, bounded=False):
                yield current.keep(portion)
            if len(current.seen) == known or (turn.told == len(turn.seen) and turn.is_steady):
                return


def _floor(instant: datetime, tick: timedelta) -> datetime:
    return instant - (instant - _EPOCH) % tick


def _ceil(instant: datetime, tick: timedelta) -> datetime:
    return instant + (_EPOCH - instant) % tick
