"""Vendor times become instants in UTC, never later than they were sent."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer.decode.times import from_epoch_ms, from_iso, to_iso_ms
from syncer.errors import RecordError

MOMENT = datetime(2025, 7, 18, 7, 11, 4, 577000, tzinfo=UTC)
INSTANTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(lambda dt: dt.replace(tzinfo=UTC))  # noqa: DTZ001


@pytest.mark.parametrize(
    "text",
    [
        "2025-07-18T07:11:04.577Z",
        "2025-07-18T07:11:04.577",
        "2025-07-18T15:11:04.577+08:00",
        "2025-07-18T15:11:04.577Z+0800",
        "2025-07-18T15:11:04.577+0800",
        "2025-07-18T02:41:04.577-04:30",
        "2025-07-18 07:11:04.577000999z",
        "2025-07-18t07:11:04.577+00:00",
    ],
)
def test_every_spelling_of_an_instant_is_that_instant(text: str) -> None:
    assert from_iso(text) == MOMENT


def test_a_fraction_of_any_length_is_cut_off_not_rounded() -> None:
    assert from_iso("2022-02-07T20:13:29.3566489999Z").microsecond == 356648
    assert from_iso("2022-02-07T20:13:29.5Z").microsecond == 500000
    assert from_iso("2022-02-07T20:13:59." + "9" * 10_000 + "Z").second == 59


def test_a_leap_second_is_the_first_instant_of_the_next_minute() -> None:
    assert from_iso("2016-12-31T23:59:60Z") == datetime(2017, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2025-13-01T00:00:00Z", "2025-02-30T00:00:00Z", "2025-07-18T24:11:04Z", "2025-07-18",
     "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00",
     "2025-07-18T07:11:04.Z", "2025-07-18T07:11:61Z", "२०२५-07-18T07:11:04Z", "2025-07-18T07:11:04Z\n"],
)  # fmt: skip
def test_what_is_no_time_is_a_record_error(text: str) -> None:
    with pytest.raises(RecordError):
        from_iso(text)


def test_milliseconds_are_read_from_numbers_and_digits() -> None:
    expected = datetime(2025, 4, 30, 10, 53, 0, 100000, tzinfo=UTC)
    assert from_epoch_ms(1746010380100) == expected
    assert from_epoch_ms("1746010380100") == expected
    assert from_epoch_ms(1746010380100.0) == expected
    assert from_epoch_ms(-1) == datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)


def test_a_fraction_of_a_millisecond_counts_downwards() -> None:
    assert from_epoch_ms(-1.5) == datetime(1970, 1, 1, tzinfo=UTC) - timedelta(microseconds=1500)
    assert from_epoch_ms(0.0009) == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("edge", [-62135596800000, 253402300799999])
def test_the_first_and_last_millisecond_of_the_calendar_are_times(edge: int) -> None:
    assert from_epoch_ms(edge).tzinfo is UTC
    with pytest.raises(RecordError):
        from_epoch_ms(edge + (1 if edge > 0 else -1))


@pytest.mark.parametrize(
    "value",
    [True, False, float("nan"), float("inf"), float("-inf"), 1e300, 10**30, "", "1e3", "12x", "9" * 5000],
)
def test_what_is_no_count_of_milliseconds_is_a_record_error(value: float | str) -> None:
    with pytest.raises(RecordError):
        from_epoch_ms(value)


def test_the_text_of_a_bound_has_milliseconds_and_z() -> None:
    assert to_iso_ms(datetime(2025, 5, 12, 1, 45, 36, 220000, tzinfo=UTC)) == "2025-05-12T01:45:36.220Z"
    assert to_iso_ms(datetime(2025, 5, 12, 9, 45, 36, tzinfo=timezone(timedelta(hours=8)))).endswith(
        "01:45:36.000Z"
    )
    assert (
        to_iso_ms(datetime(2025, 5, 12, 1, 45, 59, 999001, tzinfo=UTC), up=True) == "2025-05-12T01:46:00.000Z"
    )


@given(INSTANTS)
def test_bounds_enclose_the_instant_by_less_than_a_millisecond(instant: datetime) -> None:
    low, high = from_iso(to_iso_ms(instant)), from_iso(to_iso_ms(instant, up=True))
    assert low <= instant <= high
    assert high - low == timedelta(milliseconds=1 if instant.microsecond % 1000 else 0)


@given(INSTANTS)
def test_an_instant_survives_its_own_spelling(instant: datetime) -> None:
    assert from_iso(instant.isoformat()) == instant


@given(
    st.text() | st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?([+-]\d\d:?\d\d)?", fullmatch=True)
)
def test_any_text_is_a_time_or_a_record_error(text: str) -> None:
    with contextlib.suppress(RecordError):
        assert from_iso(text).utcoffset() == timedelta(0)
