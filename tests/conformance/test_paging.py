"""Reading one window from servers that misbehave: every row, in bounded requests, nothing proved that is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from syncer.errors import ContractError
from syncer.model import Execution, Page, Reject, Window
from syncer.paging import WINDOW_ROWS, Answer, Asked, Portion, Verdict, read_window
from syncer.sources import Order, Paging

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
TICK = timedelta(milliseconds=1)
MONTH = Window(NOW - timedelta(days=30), NOW)
MICROSECOND = timedelta(microseconds=1)


@dataclass
class Server:
    """Serves rows page by page; a row without a time is a record that cannot be used."""

    times: Sequence[datetime]
    order: Order = Order.ASCENDING
    believed: Order | None = None
    size: int = 10
    clamp: int | None = None
    total: Callable[[int], int | None] = lambda true: true
    honours_start: bool = True
    honours_end: bool = True
    max_rows: int | None = None
    broken: frozenset[int] = frozenset()
    most_requests: int = 1000
    requests: int = 0
    spans: list[int] = field(default_factory=list)

    async def ask(self, window: Window, number: int) -> Answer:
        self.requests += 1
        assert self.requests <= self.most_requests, "it asks without end"
        if self.max_rows is not None and number * self.size > self.max_rows:
            raise ContractError("past the cap")
        low = window.start - (window.start - MONTH.start) % TICK
        listed = [
            (instant, index)
            for index, instant in enumerate(self.times)
            if (not self.honours_start or low <= instant) and (not self.honours_end or instant <= window.end)
        ]
        listed.sort(reverse=self.order is Order.DESCENDING)
        size = self.clamp or self.size
        part = listed[(number - 1) * size : number * size]
        rows = tuple(
            Execution(execution_id=f"e{index}", workflow_id="w", created_at=instant)
            for instant, index in part
            if index not in self.broken
        )
        rejects = tuple(
            Reject(raw=f"e{index}".encode(), reason="broken") for _, index in part if index in self.broken
        )
        page = Page(rows=rows, rejects=rejects, total=self.total(len(listed)))
        return Answer(page=page, asked=Asked(at=NOW, source_at=NOW))

    def read(self, window: Window = MONTH) -> list[Portion]:
        paging = Paging(
            order=self.believed or self.order, page_size=self.size, tick=TICK, max_rows=self.max_rows
        )

        async def portions() -> list[Portion]:
            return [portion async for portion in read_window(self.ask, window, paging)]

        return asyncio.run(portions())


def ids(portions: Sequence[Portion]) -> set[str]:
    return {row.execution_id for portion in portions for row in portion.rows}


def verdicts(portions: Sequence[Portion]) -> set[Verdict]:
    return {portion.span.verdict for portion in portions if portion.span is not None}


def everything(server: Server) -> set[str]:
    return {f"e{index}" for index in range(len(server.times)) if index not in server.broken}


def spread(number: int, over: timedelta = timedelta(days=29)) -> list[datetime]:
    return [MONTH.start + timedelta(hours=1) + over * each / number for each in range(number)]


def test_a_burst_in_one_half_of_a_window_is_read_however_little_page_numbers_reach() -> None:
    burst = [NOW - timedelta(days=2) + TICK * 7 * each for each in range(60)]
    server = Server(burst, order=Order.NONE, max_rows=40)
    portions = server.read()
    assert ids(portions) == everything(server)
    assert verdicts(portions) == {Verdict.PROVED}


@pytest.mark.parametrize("order", [Order.ASCENDING, Order.DESCENDING])
@pytest.mark.parametrize("total", [lambda true: true, lambda true: None], ids=["total", "no total"])
def test_more_rows_than_a_page_within_a_tick_do_not_hold_the_walk(
    order: Order, total: Callable[[int], int | None]
) -> None:
    dense = [NOW - timedelta(days=2) + MICROSECOND * (100 + 7 * each) for each in range(35)]
    server = Server([*spread(12), *dense], order=order, total=total)
    portions = server.read()
    assert ids(portions) == everything(server)
    assert verdicts(portions) == {Verdict.PROVED}


def test_a_window_that_begins_within_a_tick_is_read_to_its_end() -> None:
    first = MONTH.start + timedelta(days=1)
    server = Server([*[first] * 15, *[first + TICK * 5 * each for each in range(20)]])
    portions = server.read(Window(first + MICROSECOND * 300, NOW))
    assert ids(portions) == everything(server)
    assert verdicts(portions) == {Verdict.PROVED}
    assert max(portion.covered for portion in portions if portion.covered) == NOW


@pytest.mark.parametrize("order", [Order.ASCENDING, Order.DESCENDING, Order.NONE])
@pytest.mark.parametrize("total", [lambda true: true, lambda true: None], ids=["total", "no total"])
def test_a_clamped_page_of_nothing_but_broken_records_hides_no_row(
    order: Order, total: Callable[[int], int | None]
) -> None:
    server = Server(spread(30), order=order, clamp=4, broken=frozenset(range(8, 20)), total=total)
    portions = server.read()
    assert ids(portions) == everything(server)
    assert sum(len(portion.rejects) for portion in portions) >= 12


@pytest.mark.parametrize("clamp", [1, 2])
@pytest.mark.parametrize("order", [Order.ASCENDING, Order.DESCENDING, Order.NONE])
def test_pages_of_one_row_are_enough(order: Order, clamp: int) -> None:
    server = Server(spread(25), order=order, clamp=clamp)
    assert ids(server.read()) == everything(server)


@pytest.mark.parametrize(
    ("order", "believed"),
    [(Order.DESCENDING, Order.ASCENDING), (Order.ASCENDING, Order.DESCENDING)],
    ids=["newest first", "oldest first"],
)
@pytest.mark.parametrize("total", [lambda true: true, lambda true: None], ids=["total", "no total"])
def test_pages_of_one_instant_are_not_taken_for_the_order_that_is_believed(
    order: Order, believed: Order, total: Callable[[int], int | None]
) -> None:
    """The first page would stand just so in either order."""
    first, last = [MONTH.start + TICK] * 12, [NOW - timedelta(days=1)] * 12
    server = Server([*first, *spread(15), *last], order=order, believed=believed, total=total)
    portions = server.read()
    assert ids(portions) == everything(server)
    assert verdicts(portions) == {Verdict.PROVED}


def test_a_page_served_again_and_again_is_not_walked_for_ever() -> None:
    close = [NOW - timedelta(hours=1) + TICK * 40 * each for each in range(25)]
    server = Server(close, order=Order.DESCENDING, honours_end=False, total=lambda true: None)
    portions = server.read(Window(NOW - timedelta(days=1), NOW))
    assert ids(portions) == everything(server)


@pytest.mark.parametrize("total", [lambda true: true, lambda true: None], ids=["total", "no total"])
@pytest.mark.parametrize("order", [Order.ASCENDING, Order.DESCENDING, Order.NONE])
def test_a_server_that_ignores_every_bound_is_read_whole_in_bounded_requests(
    order: Order, total: Callable[[int], int | None]
) -> None:
    server = Server(spread(WINDOW_ROWS + 500), size=500, order=order, total=total)
    server.honours_start = server.honours_end = False
    server.most_requests = 20 * WINDOW_ROWS // 500
    assert ids(server.read()) == everything(server)


@pytest.mark.parametrize("order", [Order.ASCENDING, Order.DESCENDING, Order.NONE])
def test_ids_held_at_a_time_are_bounded_whatever_total_is_told(order: Order) -> None:
    server = Server(spread(3 * WINDOW_ROWS), size=500, order=order, total=lambda true: min(true, 5))
    portions = server.read()
    assert ids(portions) == everything(server)
    assert max(len(portion.span.ids) for portion in portions if portion.span) <= WINDOW_ROWS


def test_covered_only_grows_and_never_passes_the_end() -> None:
    for order in Order:
        covered = [portion.covered for portion in Server(spread(80), order=order).read() if portion.covered]
        assert covered == sorted(covered)
        assert covered[-1] == NOW


@pytest.mark.parametrize("order", [Order.ASCENDING, Order.DESCENDING])
def test_a_page_cut_short_now_and_then_ends_no_walk_that_its_total_contradicts(order: Order) -> None:
    """Three rows came after the first answer had told its total; a later page lacks three others."""

    class Hasty(Server):
        async def ask(self, window: Window, number: int) -> Answer:
            self.clamp = 7 if self.requests == 1 else None
            return await super().ask(window, number)

    first = iter([16])
    times = [NOW - timedelta(hours=hour) for hour in range(1, 20)]
    server = Hasty(times, order=order, total=lambda true: next(first, true))
    assert ids(server.read()) == everything(server)
    assert server.requests <= 20
