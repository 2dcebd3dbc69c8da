"""A record taken field by field: nothing is lost, and nothing unexpected fails it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from syncer.decode.record import Record
from syncer.errors import RecordError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def extra(record: Record) -> Any:
    raw = record.extra()
    return None if raw is None else json.loads(raw)


def test_fields_are_taken_by_type() -> None:
    record = Record.parse(
        b'{"s":"x","n":-7,"b":false,"ms":1746010380100,"iso":"2025-04-30T10:53:00.1Z","t":["a","b"],"j":{"a":1.50}}'
    )
    moment = datetime(2025, 4, 30, 10, 53, 0, 100000, tzinfo=UTC)
    assert (record.text("s"), record.integer("n"), record.boolean("b")) == ("x", -7, False)
    assert record.time_ms("ms") == record.time_iso("iso") == moment
    assert record.strings("t") == ("a", "b")
    assert record.json("j") == b'{"a":1.50}'
    assert record.extra() is None


def test_a_time_finer_than_a_microsecond_is_taken_and_stands_in_extra_as_sent() -> None:
    record = Record.parse(b'{"a":"2022-02-07T20:13:29.356648026Z","b":"2022-02-07T20:13:29.356648000Z"}')
    moment = datetime(2022, 2, 7, 20, 13, 29, 356648, tzinfo=UTC)
    assert record.time_iso("a") == record.time_iso("b") == moment
    assert extra(record) == {"a": "2022-02-07T20:13:29.356648026Z"}


def test_the_rest_is_what_nobody_took_as_sent() -> None:
    record = Record.parse(b'{"a":1,"b":"x\\u0000y","c":1.50}')
    record.raw("a")
    assert record.rest() == b'{"b":"x\\u0000y","c":1.50}'
    assert Record.parse(b'{"a\\ud800":1}').rest() == '{"a\ufffd":1}'.encode()


def test_an_array_is_the_texts_of_its_values_as_sent() -> None:
    record = Record.parse(b'{"a":[ 1.50, {"x":"\\ud800"} ,[]],"b":[NaN,"[",{}],"c":{"d":[1]},"e":"[1]"}')
    assert record.array("a") == [b"1.50", b'{"x":"\\ud800"}', b"[]"]
    assert record.array("b") == [b"NaN", b'"["', b"{}"]
    assert (record.array("c"), record.array("e"), record.array("f")) == (None, None, UNSET)
    assert extra(record) == {"c": {"d": [1]}, "e": "[1]"}


def test_absent_is_unset_and_null_is_none() -> None:
    record = Record.parse(b'{"x":null}')
    assert record.text("y") is record.json("y") is record.time_ms("y") is record.raw("y") is UNSET
    assert "x" in record
    assert record.text("x") is None
    assert record.extra() is None


@pytest.mark.parametrize("taker", ["text", "integer", "boolean", "time_ms", "time_iso", "strings", "record"])
@pytest.mark.parametrize(
    "odd", ['{"a":[1]}', "[1]", "true", '"x"', "1.5", "123456789012345678901234567890", '["a",null]', "1e400"]
)
def test_a_field_of_unexpected_type_is_none_and_stays_as_sent(taker: str, odd: str) -> None:
    record = Record.parse(f'{{"f": {odd}}}'.encode())
    fits = {"text": '"x"', "boolean": "true", "record": '{"a":[1]}', "time_ms": "1.5"}
    if fits.get(taker) == odd:
        return
    assert getattr(record, taker)("f") is None
    kept = record.extra()
    assert kept is not None
    assert odd.encode() in kept.replace(b'"1e400"', b"1e400")


def test_a_number_keeps_its_digits_in_extra() -> None:
    record = Record.parse(b'{"n": 0.10000000000000000000000000000000001, "m": 1E+2}')
    assert record.extra() == b'{"n":0.10000000000000000000000000000000001,"m":1E+2}'


def test_text_that_postgresql_cannot_hold_is_mended_and_its_column_named() -> None:
    record = Record.parse(
        b'{"m":"a\\u0000b","n":"\\ud800","t":["ok","\\udfff"],"j":{"k":"\\u0000"},"odd":["\\u0000"]}'
    )
    assert record.text("m", column="message") == "a\ufffdb"
    assert record.text("n") == "\ufffd"
    assert record.strings("t", column="tags") == ("ok", "\ufffd")
    assert record.json("j", column="details") == b'{"k":"\\ufffd"}'
    assert extra(record) == {"odd": ["\ufffd"], "_repaired": ["details", "extra", "message", "n", "tags"]}


def test_a_pair_of_surrogates_is_a_character_not_damage() -> None:
    record = Record.parse(b'{"s":"\\ud83d\\ude00"}')
    assert record.text("s") == "😀"
    assert record.extra() is None


@pytest.mark.parametrize(
    "raw",
    [
        b'{"id":"1","bad":"\\ud800"}',
        b'{"id":"1","bad":NaN}',
        b'\xef\xbb\xbf{"id":"1","bad":2}',
        b'{"id":"1","bad":"\xff"}',
        b'{"id":"1","bad":"tab\there"}',
        b'{"id":"1","bad":-Infinity}',
        b'{"id":"1","bad":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"id":"1","\xffbad":1}',
    ],
)
def test_a_record_that_strict_parsers_refuse_is_read_all_the_same(raw: bytes) -> None:
    record = Record.parse(raw)
    assert record.identity("id") == "1"
    rest = extra(record)
    assert len(rest) == 1 + ("_repaired" in rest)


def test_of_a_key_sent_twice_the_last_counts() -> None:
    assert Record.parse(b'{"a":1,"a":2}').integer("a") == 2
    assert Record.parse(b'{"a":1,"a":2,"b":NaN}').integer("a") == 2


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b'"x"', b"null", b"{", b'{"a":1', b'{"a":foo}', b"{}{}", b'{"a":1,}']
)
def test_what_is_no_object_is_a_record_error(raw: bytes) -> None:
    with pytest.raises(RecordError):
        Record.parse(raw)


def test_an_identity_is_the_first_usable_of_the_names() -> None:
    record = Record.parse(b'{"id":null,"execution":"e-1","other":"x"}')
    assert record.identity("id", "execution", "other") == "e-1"
    assert extra(record) == {"id": None, "other": "x"}
    assert Record.parse(b'{"id":17}').identity("id") == "17"
    assert Record.parse(b'{"id":"' + b"x" * 512 + b'"}').identity("id") == "x" * 512


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b'""', "is empty"),
        (b"null", "is null"),
        (b'"' + b"x" * 513 + b'"', "longer than 512 bytes"),
        ('"' + "é" * 257 + '"', "longer than 512 bytes"),
        (b'"a\\u0000"', "holds a NUL"),
        (b'"\\ud800"', "cannot be read"),
        (b'"\xff"', "cannot be read"),
        (b"1.5", "cannot be read"),
        (b"true", "cannot be read"),
        (b'{"a":1}', "cannot be read"),
        (b"1" * 513, "cannot be read"),
    ],
)
def test_a_record_without_a_usable_identity_says_why(value: bytes | str, reason: str) -> None:
    raw = value.encode() if isinstance(value, str) else value
    with pytest.raises(RecordError, match=f"id .*{reason}"):
        Record.parse(b'{"id":' + raw + b"}").identity("id")
    with pytest.raises(RecordError, match="id is missing, execution is missing"):
        Record.parse(b"{}").identity("id", "execution")


def test_only_a_true_repetition_is_dropped() -> None:
    raw = b'{"a":"x","b":1,"c":true,"d":"2025-04-30T00:00:00.000Z","e":1745971200000,"f":null}'
    day = datetime(2025, 4, 30, tzinfo=UTC)
    record = Record.parse(raw)
    for name, value in (("a", "y"), ("b", True), ("c", 1), ("d", "2025"), ("e", 5), ("f", ""), ("g", None)):
        record.drop(name, equal_to=value)
    assert extra(record) == json.loads(raw)
    for name, same in (("a", "x"), ("b", 1), ("c", True), ("d", day), ("e", day), ("f", None)):
        record.drop(name, equal_to=same)
    assert record.extra() is None


def test_what_is_left_of_an_inner_object_stands_under_its_name() -> None:
    record = Record.parse(b'{"details":{"message":"a\\u0000","more":1},"done":{"x":1}}')
    details, done = record.record("details"), record.record("done")
    assert isinstance(details, Record)
    assert isinstance(done, Record)
    assert (details.text("message"), done.integer("x")) == ("a\ufffd", 1)
    assert extra(record) == {"details": {"more": 1}, "_repaired": ["message"]}


def test_a_payload_is_taken_exactly_as_sent() -> None:
    record = Record.parse(b'{"input": "\\u0000" ,"output":null}')
    assert (record.raw("input"), record.raw("output"), record.extra()) == (b'"\\u0000"', b"null", None)


def test_what_is_too_deep_for_jsonb_leaves_a_mark_not_a_gap() -> None:
    record = Record.parse(b'{"d":' + b"[" * 600 + b"]" * 600 + b"}")
    assert record.json("d") == b'"[nested too deeply to be stored]"'
    assert extra(record) == {"_repaired": ["d"]}


@given(st.dictionaries(st.text(), JSON, max_size=6))
def test_what_nobody_takes_is_in_extra_whole(fields: dict[str, Any]) -> None:
    record = Record.parse(json.dumps(fields).encode())
    text = json.dumps(fields)
    if "\\u0000" not in text and "\\ud" not in text:
        assert extra(record) == (fields or None)


@given(
    st.binary() | st.dictionaries(st.text(), JSON).map(lambda value: json.dumps(value).encode()), st.text()
)
def test_no_bytes_raise_anything_but_a_record_error(raw: bytes, name: str) -> None:
    try:
        record = Record.parse(raw)
    except RecordError:
        return
    for take in (
        record.text,
        record.integer,
        record.boolean,
        record.time_ms,
        record.time_iso,
        record.strings,
    ):
        take(name)
    for field in list(record._fields):
        record.text(field)
    record.extra()
