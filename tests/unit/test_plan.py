"""Windows tile time, nothing is asked beyond the horizon, and open executions are looked at cheaply."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer.model import Window
from syncer.plan import (
    OpenExecution,
    days,
    due_for_look,
    halves,
    horizon_start,
    live_window,
    lost_span,
    open_looks,
    parse_since,
)

NOW = datetime(2026, 3, 10, 15, 30, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MS = timedelta(milliseconds=1)
INSTANTS = st.timedeltas(-2000 * DAY, 2000 * DAY).map(lambda distance: NOW + distance)
SPANS = st.timedeltas(timedelta(0), timedelta(days=60))


def test_the_horizon_keeps_a_margin_and_never_lies_ahead_of_now() -> None:
    assert horizon_start(NOW, 30 * DAY) == NOW - 30 * DAY + MINUTE
    assert horizon_start(NOW, 30 * DAY, margin=HOUR) == NOW - 30 * DAY + HOUR
    assert horizon_start(NOW, timedelta(seconds=10)) == NOW


def test_a_live_window_reads_the_lookback_again() -> None:
    assert live_window(NOW - HOUR, NOW, 15 * MINUTE, NOW - 30 * DAY) == Window(NOW - 75 * MINUTE, NOW)


@pytest.mark.parametrize(("lookback", "reach"), [(15 * MINUTE, HOUR), (3 * HOUR, 3 * HOUR)])
def test_a_first_live_window_reaches_back_an_hour_or_the_lookback(
    lookback: timedelta, reach: timedelta
) -> None:
    assert live_window(None, NOW, lookback, NOW - 30 * DAY) == Window(NOW - reach, NOW)


def test_a_watermark_ahead_of_the_clock_still_reads_the_lookback() -> None:
    assert live_window(NOW + DAY, NOW, 15 * MINUTE, NOW - 30 * DAY) == Window(NOW - 15 * MINUTE, NOW)


def test_what_left_the_horizon_uncopied_is_told() -> None:
    horizon = NOW - 30 * DAY
    assert lost_span(horizon - DAY, horizon) == Window(horizon - DAY, horizon)
    assert lost_span(horizon, horizon) is None
    assert lost_span(None, horizon) is None


@given(st.none() | INSTANTS, INSTANTS, SPANS, SPANS)
def test_no_live_window_reaches_beyond_the_horizon_and_none_leaves_a_gap(
    watermark: datetime | None, now: datetime, lookback: timedelta, horizon: timedelta
) -> None:
    oldest = horizon_start(now, horizon)
    window = live_window(watermark, now, lookback, oldest)
    assert oldest <= window.start <= window.end == now
    lost = lost_span(watermark, oldest)
    if watermark is not None and watermark < oldest:
        assert lost == Window(watermark, window.start)
    else:
        assert lost is None
        assert window.start <= (watermark or now)


def test_days_part_at_utc_midnights() -> None:
    plus2 = timezone(timedelta(hours=2))
    since = datetime(2026, 3, 9, 1, 0, tzinfo=plus2)
    midnights = [datetime(2026, 3, day, tzinfo=UTC) for day in (9, 10)]
    assert days(since, NOW) == [
        Window(since, midnights[0]),
        Window(midnights[0], midnights[1]),
        Window(midnights[1], NOW),
    ]


def test_whole_days_part_into_themselves_and_an_empty_span_into_nothing() -> None:
    midnight = datetime(2026, 3, 9, tzinfo=UTC)
    assert days(midnight, midnight + DAY) == [Window(midnight, midnight + DAY)]
    assert days(NOW, NOW) == []
    assert days(NOW, NOW - DAY) == []


@given(INSTANTS, SPANS)
def test_days_tile_their_span(since: datetime, length: timedelta) -> None:
    tiles = days(since, since + length)
    assert all(left.end == right.start for left, right in pairwise(tiles))
    assert all(
        timedelta(0) < tile.length <= DAY and tile.start.date() == (tile.end - MS / 1000).date()
        for tile in tiles
    )
    if length:
        assert (tiles[0].start, tiles[-1].end) == (since, since + length)


def test_halves_meet_in_the_middle_at_a_whole_tick() -> None:
    window = Window(NOW, NOW + 3 * MS)
    assert halves(window, MS) == (Window(NOW, NOW + MS), Window(NOW + MS, NOW + 3 * MS))


def test_the_middle_stays_inside_a_window_that_begins_between_ticks() -> None:
    early = Window(NOW + MS * 0.5, NOW + MS * 1.6)
    assert halves(early, MS) == (Window(early.start, NOW + MS), Window(NOW + MS, early.end))
    late = Window(NOW + MS * 0.2, NOW + MS * 1.4)
    assert halves(late, MS) == (Window(late.start, NOW + MS), Window(NOW + MS, late.end))


def test_a_window_of_one_tick_has_no_halves() -> None:
    assert halves(Window(NOW, NOW + MS), MS) is None
    assert halves(Window(NOW, NOW), MS) is None


@given(INSTANTS, SPANS, st.sampled_from([MS, timedelta(seconds=1), MS * 7]))
def test_halves_tile_their_window_and_both_are_shorter(
    start: datetime, length: timedelta, tick: timedelta
) -> None:
    parts = halves(Window(start, start + length), tick)
    if parts is None:
        assert length <= tick
        return
    left, right = parts
    assert (left.start, left.end, right.end) == (start, right.start, start + length)
    assert left.start < left.end < right.end
    assert (left.end - datetime(1970, 1, 1, tzinfo=UTC)) % tick == timedelta(0)
    assert abs(left.length - right.length) <= 2 * tick


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T12:30:00", datetime(2026, 3, 1, 12, 30, tzinfo=UTC)),
        ("2026-03-01T12:30:00Z", datetime(2026, 3, 1, 12, 30, tzinfo=UTC)),
        ("2026-03-01T01:30:00+02:00", datetime(2026, 2, 28, 23, 30, tzinfo=UTC)),
        ("7d", datetime(2026, 3, 3, tzinfo=UTC)),
        ("12h", datetime(2026, 3, 10, tzinfo=UTC)),
        ("16h", datetime(2026, 3, 9, tzinfo=UTC)),
        (" 2w ", datetime(2026, 2, 24, tzinfo=UTC)),
        ("90m", datetime(2026, 3, 10, tzinfo=UTC)),
        ("0s", datetime(2026, 3, 10, tzinfo=UTC)),
    ],
)
def test_since_is_a_time_or_an_age_rounded_down_to_its_utc_day(text: str, moment: datetime) -> None:
    parsed = parse_since(text, NOW)
    assert parsed == moment
    assert parsed.utcoffset() == timedelta(0)


@pytest.mark.parametrize("text", ["", "yesterday", "7", "7 d", "-7d", "1.5d", "2026-13-01", "\u0667d", "7d7"])
def test_a_since_that_says_nothing_is_refused_with_what_would_do(text: str) -> None:
    with pytest.raises(ValueError, match="7d"):
        parse_since(text, NOW)


@pytest.mark.parametrize("text", ["99999999d", "9" * 30 + "d", "0001-01-01T00:00:00+14:00"])
def test_a_since_before_the_calendar_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="outside the calendar"):
        parse_since(text, NOW)


def at_rank(rank: int, instant: int | None = None) -> OpenExecution:
    second = rank if instant is None else instant
    return OpenExecution(execution_id=f"e{rank}", created_at=NOW + timedelta(seconds=second), rank=rank)


def span(first: int, last: int) -> Window:
    return Window(NOW + timedelta(seconds=first), NOW + timedelta(seconds=last))


@pytest.mark.parametrize(
    ("ranks", "looks"),
    [
        ([], []),
        ([5], ["e5"]),
        ([5, 6], [span(5, 6)]),
        ([5, 14], [span(5, 14)]),
        ([5, 15], ["e5", "e15"]),
        ([0, 1, 50, 98, 99], [span(0, 1), "e50", span(98, 99)]),
        (list(range(25)), [span(0, 24)]),
    ],
)
def test_neighbours_are_read_by_window_and_lone_ones_by_id(
    ranks: list[int], looks: list[Window | str]
) -> None:
    assert open_looks([at_rank(rank) for rank in ranks], page_size=10) == looks


def test_executions_of_one_instant_are_never_parted() -> None:
    crowd = [at_rank(rank, instant=0) for rank in (0, 1, 2, 3000)]
    assert open_looks(crowd, page_size=10) == ["e0", "e1", "e2", "e3000"]
    assert open_looks([at_rank(rank, instant=0) for rank in range(30)], page_size=10) == [span(0, 0)]


def window_cost(members: list[OpenExecution], page_size: int) -> int:
    return -(-(members[-1].rank - members[0].rank + 1) // page_size)


def cost(looks: list[Window | str], executions: list[OpenExecution], page_size: int) -> int:
    inside = [
        [one for one in executions if look.holds(one.created_at)]
        for look in looks
        if isinstance(look, Window)
    ]
    return sum(isinstance(look, str) for look in looks) + sum(window_cost(one, page_size) for one in inside)


def cheapest(executions: list[OpenExecution], page_size: int) -> int:
    """Try every way of cutting the executions into runs, each read by ids or by one window."""
    cuts = [i for i in range(1, len(executions)) if executions[i - 1].created_at < executions[i].created_at]
    ways = []
    for count in range(len(cuts) + 1):
        for chosen in combinations(cuts, count):
            bounds = [0, *chosen, len(executions)]
            runs = [executions[a:b] for a, b in pairwise(bounds)]
            ways.append(sum(min(len(run), window_cost(run, page_size)) for run in runs))
    return min(ways)


@st.composite
def open_sets(draw: st.DrawFn) -> list[OpenExecution]:
    ranks = sorted(draw(st.sets(st.integers(0, 40), min_size=1, max_size=9)))
    coarseness = draw(st.sampled_from([1, 1, 3, 8]))
    return [at_rank(rank, instant=rank // coarseness) for rank in ranks]


@given(open_sets(), st.integers(1, 7))
def test_looks_cover_every_open_execution_once_at_the_least_cost(
    executions: list[OpenExecution], page_size: int
) -> None:
    looks = open_looks(executions[::-1], page_size)
    for one in executions:
        by_window = sum(isinstance(look, Window) and look.holds(one.created_at) for look in looks)
        assert by_window + looks.count(one.execution_id) == 1
    assert cost(looks, executions, page_size) == cheapest(executions, page_size)


@given(open_sets(), st.integers(1, 7), st.data())
def test_looks_do_not_depend_on_the_order_given_and_come_oldest_first(
    executions: list[OpenExecution], page_size: int, data: st.DataObject
) -> None:
    looks = open_looks(executions, page_size)
    assert open_looks(data.draw(st.permutations(executions)), page_size) == looks
    created = {one.execution_id: one.created_at for one in executions}
    starts = [look.start if isinstance(look, Window) else created[look] for look in looks]
    assert starts == sorted(starts)


def test_ten_thousand_open_executions_are_planned_without_trying_every_pair() -> None:
    crowded = [at_rank(rank) for rank in range(5_000)]
    scattered = [at_rank(rank) for rank in range(10_000, 10_000 + 5_000 * 200, 200)]
    looks = open_looks(crowded + scattered, page_size=100)
    assert looks == [span(0, 4_999), *(one.execution_id for one in scattered)]


def looks_over(life: timedelta, poll: timedelta, step: timedelta) -> list[timedelta]:
    """Ages at which an execution is looked at when passes come every `step`."""
    ages = [step * number for number in range(1, life // step + 1)]
    return [age for age in ages if due_for_look(NOW, NOW + age - step, NOW + age, poll)]


def test_a_young_execution_is_looked_at_in_every_pass() -> None:
    assert looks_over(50 * MINUTE, 5 * MINUTE, 5 * MINUTE) == [5 * MINUTE * n for n in range(1, 11)]


def test_looks_grow_rare_with_age_but_never_rarer_than_six_hours() -> None:
    looks = looks_over(20 * DAY, 5 * MINUTE, 5 * MINUTE)
    gaps = [later - earlier for earlier, later in pairwise(looks)]
    assert gaps == sorted(gaps)
    assert set(gaps) == {5 * MINUTE * 2**power for power in range(7)}
    assert all(
        gap <= max(later / 10, 5 * MINUTE) <= 2 * gap
        for gap, later in zip(gaps, looks[1:], strict=True)
        if later < 2 * DAY
    )


def test_a_poll_longer_than_six_hours_is_the_interval() -> None:
    assert looks_over(10 * DAY, DAY, DAY) == [DAY * n for n in range(1, 11)]


def test_without_a_former_pass_or_with_one_in_the_future_a_look_is_due() -> None:
    created = NOW - 20 * DAY
    assert due_for_look(created, None, NOW, MINUTE)
    assert due_for_look(created, NOW + DAY, NOW, MINUTE)
    assert not due_for_look(created, NOW, NOW, MINUTE)


@given(SPANS, st.integers(1, 3600), st.integers(1, 7200))
def test_a_pass_never_skips_a_look_however_far_apart_passes_are(
    age: timedelta, poll: int, apart: int
) -> None:
    """Six hours and the time between two passes are the longest that an open execution goes unseen."""
    now, step = NOW + age, timedelta(seconds=apart)
    passes = [now + step * number for number in range((6 * HOUR) // step + 2)]
    assert any(
        due_for_look(NOW, former, later, timedelta(seconds=poll)) for former, later in pairwise(passes)
    )


def test_an_execution_created_ahead_of_the_clock_is_looked_at_too() -> None:
    assert due_for_look(NOW + timedelta(seconds=30), NOW - MINUTE, NOW + MINUTE, MINUTE)
