"""What a person types: times mean the same on every machine, and names choose what they say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from syncer.model import Window
from syncer.plan import days, halves, is_chosen, parse_since

NOW = datetime(2026, 3, 10, 15, 30, tzinfo=UTC)
MS = timedelta(milliseconds=1)


@pytest.fixture(params=["Asia/Tokyo", "America/Los_Angeles"])
def _elsewhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_elsewhere")
def test_a_time_without_a_zone_and_an_age_mean_utc_wherever_the_machine_stands() -> None:
    assert parse_since("2026-03-01T12:30:00", NOW) == datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    assert parse_since("7d", NOW) == datetime(2026, 3, 3, tzinfo=UTC)
    assert parse_since("2026-03-01T01:30:00+02:00", NOW).utcoffset() == timedelta(0)


@pytest.mark.usefixtures("_elsewhere")
def test_days_are_utc_days_wherever_the_machine_stands() -> None:
    midnight = datetime(2026, 3, 10, tzinfo=UTC)
    assert days(NOW - timedelta(days=1), NOW) == [
        Window(NOW - timedelta(days=1), midnight),
        Window(midnight, NOW),
    ]


def test_a_window_of_less_than_two_ticks_that_begins_on_one_parts_at_the_next() -> None:
    window = Window(NOW, NOW + MS * 1.5)
    assert halves(window, MS) == (Window(NOW, NOW + MS), Window(NOW + MS, window.end))


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        ([], True),
        (["w-1"], True),
        (["W-1"], False),
        (["w-*"], False),
        (["Patch*"], True),
        (["patch*"], False),
        (["Patch"], False),
        (["other", "*servers"], True),
        (["other", "more"], False),
    ],
)
def test_a_workflow_is_chosen_by_its_id_or_by_a_glob_of_its_name(patterns: list[str], chosen: bool) -> None:
    assert is_chosen("w-1", "Patch servers", patterns) is chosen


@pytest.mark.parametrize(
    ("patterns", "chosen"), [(["w-1"], True), (["?*"], False), (["*"], True), ([], True)]
)
def test_a_workflow_without_a_name_is_chosen_as_one_whose_name_is_empty(
    patterns: list[str], chosen: bool
) -> None:
    assert is_chosen("w-1", None, patterns) is chosen
