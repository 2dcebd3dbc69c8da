"""A watermark is believed as far as the source's clock can have shown it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from syncer.plan import believable

OURS = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
TICK = timedelta(microseconds=1)


@pytest.mark.parametrize(
    "ahead", [timedelta(0), HOUR, -HOUR], ids=["same clock", "source ahead", "source behind"]
)
@pytest.mark.parametrize(
    ("beyond", "kept"),
    [
        (-30 * MINUTE, -30 * MINUTE),
        (0 * MINUTE, 0 * MINUTE),
        (MINUTE, MINUTE),
        (MINUTE + TICK, 0 * MINUTE),
        (HOUR, 0 * MINUTE),
    ],
)
def test_a_watermark_clearly_ahead_of_what_the_source_showed_then_falls_back_to_that(
    ahead: timedelta, beyond: timedelta, kept: timedelta
) -> None:
    asked = OURS - 5 * MINUTE
    shown = asked + ahead
    assert believable(shown + beyond, asked, OURS + ahead, OURS) == shown + kept


def test_where_nothing_is_known_of_when_it_was_asked_the_watermark_stands() -> None:
    assert believable(OURS + HOUR, None, OURS, OURS) == OURS + HOUR
    assert believable(None, OURS, OURS, OURS) is None
    assert believable(None, None, OURS, OURS) is None
