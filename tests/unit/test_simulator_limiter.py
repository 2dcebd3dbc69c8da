"""The limit of a simulated tenant: who is let in, and how long the others are told to wait."""

from __future__ import annotations

from syncer.simulator.limiter import Limiter


def test_a_rolling_window_lets_in_as_many_as_it_holds() -> None:
    limiter = Limiter()
    assert [limiter.take(2, 10, at_ms) for at_ms in (0, 4_000, 5_000)] == [0, 0, 5]
    assert limiter.take(2, 10, 10_000) == 0


def test_a_limit_of_none_at_all_is_told_as_a_whole_window() -> None:
    limiter = Limiter()
    assert [limiter.take(0, 10, at_ms) for at_ms in (0, 10_000)] == [10, 10]


def test_who_comes_back_too_soon_is_counted_if_the_wait_was_told() -> None:
    limiter = Limiter()
    for at_ms in (0, 1, 2):
        limiter.take(1, 10, at_ms, is_told=False)
    assert limiter.impolite == 0
    for at_ms in (3, 4):
        limiter.take(1, 10, at_ms)
    assert limiter.impolite == 1
