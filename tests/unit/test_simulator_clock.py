"""The clock of the simulated source."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from syncer.simulator import Clock

NOON = datetime(2026, 3, 18, 12, tzinfo=UTC)
NOON_MS = 1_773_835_200_000


def test_a_frozen_clock_moves_only_when_advanced() -> None:
    clock = Clock(NOON, frozen=True)
    assert (clock.now_ms(), clock.now_ms()) == (NOON_MS, NOON_MS)
    clock.advance(1.5)
    assert clock.now_ms() == NOON_MS + 1500
    assert clock.http_date() == "Wed, 18 Mar 2026 12:00:01 GMT"


def test_a_running_clock_starts_where_told_and_can_be_stopped() -> None:
    clock = Clock(NOON)
    clock.advance(3600)
    assert NOON_MS + 3_600_000 <= clock.now_ms() < NOON_MS + 3_660_000
    clock.freeze()
    stopped = clock.now_ms()
    assert clock.now_ms() == stopped
    clock.run()
    assert clock.now_ms() >= stopped


def test_a_clock_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="does not go back"):
        Clock().advance(-1)
