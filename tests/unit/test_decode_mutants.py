"""Edges of decoding at which a slightly wrong program would still look right."""

from __future__ import annotations

import gzip
import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from syncer.decode import jsonb, packed
from syncer.decode.answer import parse_items
from syncer.decode.record import LONGEST_ID, Record
from syncer.decode.redact import Redactor
from syncer.decode.text import FINGERPRINT_LENGTH, fingerprint
from syncer.decode.times import from_epoch_ms, to_iso_ms
from syncer.errors import RecordError

MOMENT = datetime(2025, 4, 30, 10, 53, 0, 100000, tzinfo=UTC)


def test_a_pair_and_a_key_of_one_object_are_both_redacted() -> None:
    redactor = Redactor(["password", "token"])
    raw = b'{"password":"one","key":"token","value":"two","other":"three"}'
    clean, paths = redactor.json(raw)
    assert json.loads(clean) == {
        "password": "[redacted]",
        "key": "token",
        "value": "[redacted]",
        "other": "three",
    }
    assert paths == ("/password", "/value")


def test_the_name_of_a_pair_counts_in_any_case() -> None:
    redactor = Redactor(["token"])
    for raw in (b'{"KEY":"token","VALUE":"x"}', b'{"Name":"token","Value":"x"}'):
        assert b"[redacted]" in redactor.json(raw)[0]
    plain = b'{"title":"token","value":"x"}'
    assert redactor.json(plain) == (plain, ())


def test_milliseconds_may_stand_in_quotes() -> None:
    record = Record.parse(b'{"a":"1746010380100","b":1746010380100,"c":"soon"}')
    assert record.time_ms("a") == record.time_ms("b") == MOMENT
    assert record.time_ms("c") is None
    assert record.extra() == b'{"c":"soon"}'


def test_fractions_of_a_millisecond_are_cut_off_at_the_microsecond() -> None:
    assert from_epoch_ms(0.9999) == datetime(1970, 1, 1, 0, 0, 0, 999, tzinfo=UTC)
    assert from_epoch_ms(-0.5) == datetime(1969, 12, 31, 23, 59, 59, 999500, tzinfo=UTC)


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Los_Angeles"])
def test_a_time_is_written_in_utc_wherever_the_machine_stands(
    zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert to_iso_ms(MOMENT) == "2025-04-30T10:53:00.100Z"
        assert to_iso_ms(MOMENT + timedelta(microseconds=1), up=True) == "2025-04-30T10:53:00.101Z"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_text_with_control_characters_is_read_as_it_was_meant() -> None:
    record = Record.parse(b'{"a":"one\ntwo\x01"}')
    assert record.text("a") == "one\ntwo\x01"


@pytest.mark.parametrize("longest", [b"9" * LONGEST_ID, b'"' + b"x" * LONGEST_ID + b'"'])
def test_an_identity_of_512_bytes_is_usable_and_one_of_513_is_not(longest: bytes) -> None:
    assert Record.parse(b'{"id":' + longest + b"}").identity("id") == longest.strip(b'"').decode()
    longer = longest[:2] + longest[1:]
    with pytest.raises(RecordError):
        Record.parse(b'{"id":' + longer + b"}").identity("id")


def test_why_no_field_can_be_the_identity_is_told_for_each() -> None:
    record = Record.parse(b'{"b":null,"c":"","d":[],"e":"a\\u0000"}')
    with pytest.raises(RecordError) as caught:
        record.identity("a", "b", "c", "d", "e")
    assert caught.value.message == (
        "no usable identity: a is missing, b is null, c is empty, d cannot be read as text or a whole number,"
        " e holds a NUL"
    )


def test_a_fingerprint_cut_at_a_space_has_none_at_its_end() -> None:
    words = "ab " * FINGERPRINT_LENGTH
    found = fingerprint(words)
    assert found is not None
    assert found == found.strip()
    assert len(found) == FINGERPRINT_LENGTH - (FINGERPRINT_LENGTH % 3 == 0)


@pytest.mark.parametrize("members", [1, 2])
def test_what_inflates_to_exactly_the_limit_is_within_it(members: int) -> None:
    data = gzip.compress(b"x" * 100) * members
    assert packed.inflate(data, 100 * members) == b"x" * 100 * members
    with pytest.raises(OverflowError):
        packed.inflate(data, 100 * members - 1)


@pytest.mark.parametrize(("told", "total"), [(b"9" * 18, int("9" * 18)), (b"9" * 19, None), (b'"17"', 17)])
def test_a_total_is_a_number_that_bigint_holds_for_certain(told: bytes, total: int | None) -> None:
    assert parse_items(b'{"total":' + told + b',"items":[]}').total == total


@pytest.mark.parametrize(
    ("number", "fits"),
    [
        (b"9" * jsonb.MOST_DIGITS, True),
        (b"9" * (jsonb.MOST_DIGITS + 1), False),
        (b"-" + b"9" * (jsonb.MOST_DIGITS - 1) + b".9e-10", True),
        (b"1e308", True),
        (b"1e309", False),
        (b"-1e309", False),
        (b"1e-400", False),
        (b"0e-400", True),
        (b"0.0e400", True),
    ],
)
def test_a_number_stays_one_only_where_a_double_holds_it_in_a_hundred_digits(
    number: bytes, fits: bool
) -> None:
    mended = number if jsonb.check(number) is jsonb.Safety.SAFE else jsonb.repair(number)
    assert mended == (number if fits else b'"' + number + b'"')
