"""Whether a source's limit is kept, and shared out as promised, whoever wants how much and when."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from syncer.budget import SHARES, Grant, Limit, Purpose, Spending, own_limit, stricter

LIVE, OPEN, SWEEP, STEPS, URGENT, HISTORY = Purpose
START = 1_790_000_000.0
HOURLY = Limit(300, 3600.0)

purposes = st.sampled_from(list(Purpose))
limits = st.builds(Limit, st.integers(1, 400), st.sampled_from([1.0, 10.0, 60.0, 3600.0]))


class Source:
    """Counts requests in a rolling window, and knows how many it allows."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.made: deque[tuple[float, Purpose]] = deque()

    def request(self, purpose: Purpose, now: float) -> None:
        """Take one request; more than the limit in any window fails the test."""
        self.forget(now)
        self.made.append((now, purpose))
        assert len(self.made) <= self.limit.requests

    def forget(self, now: float) -> None:
        while self.made and self.made[0][0] <= now - self.limit.seconds:
            self.made.popleft()

    def counts(self, now: float) -> Counter[Purpose]:
        self.forget(now)
        return Counter(purpose for _, purpose in self.made)


def go_on(
    spending: Spending, source: Source, wants: Mapping[Purpose, float], begin: float, seconds: float
) -> Counter[Purpose]:
    """Let every kind of work ask whenever it has waited for as long as it was told; those that come last, first.

    `wants` says after how many seconds each wants another request; returns the requests each has made.
    """
    asks = dict.fromkeys(wants, begin)
    made: Counter[Purpose] = Counter()
    while (now := min(asks.values())) < begin + seconds:
        purpose = max((each for each in asks if asks[each] == now), key=lambda each: each.rank)
        grant = spending.take(source.limit, purpose, 1, now)
        for _ in range(grant.requests):
            source.request(purpose, now)
            made[purpose] += 1
        assert grant.requests or grant.wait > 0, "it would ask again and again"
        asks[purpose] = now + (wants[purpose] if grant.requests else grant.wait)
    return made


@given(limit=limits, asks=st.lists(st.tuples(st.floats(0, 40), purposes, st.integers(1, 50)), max_size=200))
def test_no_window_ever_holds_more_requests_than_the_limit(
    limit: Limit, asks: list[tuple[float, Purpose, int]]
) -> None:
    spending, source, now = Spending(), Source(limit), START
    for pause, purpose, wanted in asks:
        now += pause * limit.seconds / 100
        grant = spending.take(limit, purpose, wanted, now)
        assert 0 <= grant.requests <= wanted
        for _ in range(grant.requests):
            source.request(purpose, now)


@given(limit=limits, asks=st.lists(st.tuples(purposes, st.integers(1, 9)), max_size=30))
def test_what_was_spent_is_the_same_after_it_was_written_down(
    limit: Limit, asks: list[tuple[Purpose, int]]
) -> None:
    kept, written = Spending(), Spending()
    for place, (purpose, wanted) in enumerate(asks):
        now = START + place * limit.seconds / 7
        written = msgspec.json.decode(msgspec.json.encode(written), type=Spending)
        assert written.take(limit, purpose, wanted, now) == kept.take(limit, purpose, wanted, now)


def test_work_that_is_alone_gets_everything() -> None:
    for purpose in (LIVE, OPEN, STEPS, URGENT, HISTORY):
        spending, source = Spending(), Source(HOURLY)
        made = go_on(spending, source, {purpose: 0.1}, START, 4 * 3600)
        assert made[purpose] >= 4 * 300 * 0.96


def test_everyone_who_wants_gets_a_tenth_and_live_work_most() -> None:
    spending, source = Spending(), Source(HOURLY)
    wants = {LIVE: 0.1, OPEN: 0.1, STEPS: 0.1, HISTORY: 0.1}
    go_on(spending, source, wants, START, 3600)
    for hour in range(1, 5):
        made = go_on(spending, source, wants, START + hour * 3600, 3600)
        assert min(made.values()) >= 29
        assert made[LIVE] >= 200
        assert made.total() >= 285


def test_live_work_that_comes_up_now_and_then_is_not_kept_waiting_by_history() -> None:
    spending, source = Spending(), Source(HOURLY)
    wants = {LIVE: 300.0, HISTORY: 0.1}
    for hour in range(5):
        made = go_on(spending, source, wants, START + hour * 3600, 3600)
        assert made[LIVE] == 12
        assert made[HISTORY] >= 240


def test_live_work_finds_something_left_at_any_time() -> None:
    spending, source = Spending(), Source(HOURLY)
    go_on(spending, source, {LIVE: 600.0, OPEN: 600.0, STEPS: 0.1, HISTORY: 0.1}, START, 4 * 3600)
    for number in range(20):
        assert spending.take(HOURLY, LIVE, 1, START + 4 * 3600) == Grant(1), number


def test_live_work_goes_before_history_once_everything_is_used() -> None:
    spending, source = Spending(), Source(HOURLY)
    go_on(spending, source, {HISTORY: 0.1, LIVE: 900.0}, START, 3600)
    made = go_on(spending, source, {HISTORY: 0.1, LIVE: 0.1}, START + 3600, 3600)
    assert made[LIVE] > 2 * made[HISTORY]


def test_history_that_is_about_to_be_deleted_gets_half() -> None:
    spending, source = Spending(), Source(HOURLY)
    wants = {LIVE: 0.1, OPEN: 0.1, STEPS: 0.1, URGENT: 0.1}
    go_on(spending, source, wants, START, 3600)
    for hour in range(1, 4):
        made = go_on(spending, source, wants, START + hour * 3600, 3600)
        assert made[URGENT] >= 145
        assert min(made.values()) >= 29


def test_sweeps_get_a_quarter_at_most() -> None:
    spending, source = Spending(), Source(HOURLY)
    for hour in range(3):
        made = go_on(spending, source, {SWEEP: 0.1, HISTORY: 60.0}, START + hour * 3600, 3600)
        assert 70 <= made[SWEEP] <= 75
        assert made[HISTORY] >= 59


def test_work_that_can_wait_is_spread_over_the_hour() -> None:
    spending, source = Spending(), Source(HOURLY)
    spending.take(HOURLY, LIVE, 1, START)
    assert 130 <= go_on(spending, source, {HISTORY: 0.1}, START, 60)[HISTORY] <= 145, "half of it at once"
    for quarter in range(2):
        made = go_on(spending, source, {HISTORY: 0.1}, START + 60 + quarter * 885, 885)
        assert 50 <= made[HISTORY] <= 75


def test_what_others_use_at_the_source_is_not_spent_twice() -> None:
    spending = Spending()
    spending.take(HOURLY, HISTORY, 1, START)
    spending.note_remaining(HOURLY, 5, START)
    assert spending.take(HOURLY, LIVE, 50, START).requests <= 5
    later = START + 0.2 * 3600
    assert spending.take(HOURLY, LIVE, 50, later).requests == 50, "the word of the source grows old"


def test_a_share_that_nobody_asks_for_any_more_is_free() -> None:
    spending = Spending()
    spending.take(HOURLY, LIVE, 1, START)
    spending.release()
    assert spending.take(HOURLY, OPEN, 400, START).requests == 299


def test_spending_survives_a_clock_that_is_set_back_or_a_limit_that_changes() -> None:
    spending = Spending()
    assert spending.take(HOURLY, LIVE, 400, START).requests == 300
    assert spending.take(HOURLY, LIVE, 1, START - 86_400) == Grant(1)


def test_what_was_spent_of_one_limit_counts_for_the_next() -> None:
    """A pace of our own, and then the first answer tells of a limit."""
    spending = Spending()
    assert spending.take(Limit(300, 60.0), LIVE, 7, START).requests == 7
    assert spending.take(HOURLY, LIVE, 400, START + 1).requests == 293
    assert spending.take(HOURLY, LIVE, 1, START + 3540).requests == 0
    assert spending.take(HOURLY, LIVE, 1, START + 3700).requests == 1


def test_a_pace_of_our_own_is_a_limit_by_the_minute() -> None:
    assert own_limit(0) is None
    assert own_limit(5) == Limit(300, 60.0)
    assert own_limit(0.001) == Limit(1, 1000.0)
    assert stricter(HOURLY, own_limit(5)) == HOURLY
    assert stricter(None, None) is None


def test_the_shares_leave_something_over() -> None:
    assert sum(SHARES.values()) <= 0.9 + 1e-9
