"""Any split, order or repetition of a window's pages, and rows that come and go meanwhile, give the same ids."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from syncer.errors import ContractError
from syncer.model import Execution, Page, Window
from syncer.paging import Answer, Asked, Portion, Verdict, read_window
from syncer.sources import Order, Paging
from tests.conformance.test_paging import MICROSECOND, MONTH, NOW, TICK

SIZE = 6
MOST_REQUESTS = 2000


@dataclass
class Restless:
    """Serves rows while others come and go; it repeats, clamps, mixes and miscounts."""

    times: Sequence[datetime]
    order: Order
    clamp: int | None
    repeats: int
    mixes: bool
    total_off: int | None
    changes: Sequence[tuple[int, datetime, bool]]
    max_rows: int | None
    requests: int = 0
    passing: dict[str, datetime] = field(default_factory=dict)

    async def ask(self, window: Window, number: int) -> Answer:
        self.requests += 1
        assert self.requests <= MOST_REQUESTS, "it asks without end"
        if self.max_rows is not None and number * SIZE > self.max_rows + SIZE:
            raise ContractError("past the cap")
        self._change()
        stay = {f"e{index}": instant for index, instant in enumerate(self.times)}
        rows = sorted(
            ((instant, key) for key, instant in {**stay, **self.passing}.items() if window.holds(instant)),
            reverse=self.order is Order.DESCENDING,
        )
        page = Page(rows=self._part(rows, number), total=self._total(len(rows)))
        return Answer(page=page, asked=Asked(at=NOW, source_at=NOW))

    def _change(self) -> None:
        """Rows come at some requests and go at others."""
        for at, instant, comes in self.changes:
            if at == self.requests and comes:
                self.passing[f"p{len(self.passing)}"] = instant
            elif at == self.requests and self.passing:
                del self.passing[min(self.passing)]

    def _part(self, rows: list[tuple[datetime, str]], number: int) -> tuple[Execution, ...]:
        size = self.clamp or SIZE
        again = min(self.repeats, size) if number > 1 else 0
        part = rows[(number - 1) * size - again : number * size]
        part = part[1::2] + part[::2] if self.mixes else part
        return tuple(
            Execution(execution_id=key, workflow_id="w", created_at=instant) for instant, key in part
        )

    def _total(self, true: int) -> int | None:
        return None if self.total_off is None else true + self.total_off

    def read(self) -> list[Portion]:
        paging = Paging(order=self.order, page_size=SIZE, tick=TICK, max_rows=self.max_rows)

        async def portions() -> list[Portion]:
            return [portion async for portion in read_window(self.ask, MONTH, paging)]

        return asyncio.run(portions())


instants = st.one_of(
    st.integers(0, 29 * 24 * 60).map(lambda minutes: MONTH.start + timedelta(minutes=minutes)),
    st.integers(0, 4).map(lambda ticks: NOW - timedelta(days=3) + ticks * TICK),
    st.integers(0, 900).map(lambda micros: NOW - timedelta(days=5) + micros * MICROSECOND),
)
restless = st.builds(
    Restless,
    times=st.lists(instants, max_size=40),
    order=st.sampled_from(list(Order)),
    clamp=st.sampled_from([None, None, 1, 3]),
    repeats=st.sampled_from([0, 0, 2, SIZE]),
    mixes=st.booleans(),
    total_off=st.sampled_from([0, 0, None, 3]),
    changes=st.lists(st.tuples(st.integers(1, 25), instants, st.booleans()), max_size=4),
    max_rows=st.sampled_from([None, None, 30]),
)


@examples(max_examples=150)
@given(server=restless)
def test_what_stays_is_read_and_nothing_is_covered_before_it_is(server: Restless) -> None:
    if server.changes:  # page numbers drift; what is walked by time does not
        server.order = Order.ASCENDING if server.order is Order.NONE else server.order
        server.mixes = False
    if server.max_rows is not None:  # page numbers must reach all rows of an instant
        server.clamp, server.repeats = None, 0
        server.times = sorted({instant for instant in server.times if not instant.microsecond})
    portions = server.read()
    read: set[str] = set()
    covered = MONTH.start
    for portion in portions:
        read |= {row.execution_id for row in portion.rows}
        if portion.covered is not None:
            assert portion.covered >= covered
            covered = portion.covered
        before = {f"e{index}" for index, instant in enumerate(server.times) if instant < covered}
        assert before <= read, f"{before - read} were not read before {covered}"
    spans = [portion.span for portion in portions if portion.span is not None]
    assert all(one.window.end == next_.window.start for one, next_ in pairwise(spans))
    assert spans[0].window.start == MONTH.start
    if spans[-1].verdict is Verdict.UNPROVED:
        assert server.changes, "what stands still can be proved"
        return
    assert covered == MONTH.end
    assert {f"e{index}" for index in range(len(server.times))} <= read


@examples(max_examples=100)
@given(
    times=st.lists(instants, max_size=25),
    clamp=st.sampled_from([None, 1, 3]),
    changes=st.lists(
        st.tuples(st.integers(1, 25), instants, st.booleans()), max_size=4, unique_by=lambda each: each[0]
    ),
)
def test_what_stays_is_read_by_page_numbers_too_where_totals_tell_of_every_change(
    times: list[datetime], clamp: int | None, changes: list[tuple[int, datetime, bool]]
) -> None:
    """A row that comes may take the place of one that is then never seen, and the count is right."""
    server = Restless(
        times=times,
        order=Order.NONE,
        clamp=clamp,
        repeats=0,
        mixes=False,
        total_off=0,
        changes=changes,
        max_rows=None,
    )
    portions = server.read()
    read = {row.execution_id for portion in portions for row in portion.rows}
    spans = [portion.span for portion in portions if portion.span is not None]
    if spans[-1].verdict is Verdict.PROVED:
        assert {f"e{index}" for index in range(len(times))} <= read
