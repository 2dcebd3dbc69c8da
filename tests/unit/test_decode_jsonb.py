"""What jsonb can hold, and the mended copy of what it cannot; the scanner behind it."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer.decode import jsonb, scan
from syncer.decode.jsonb import Safety

NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,120})(\.[0-9]{1,120})?([eE][+-]?[0-9]{1,6})?", fullmatch=True)
STRINGS = st.text(st.characters(codec=None) | st.sampled_from('\x00\ud800\udc00\udfff\\"u0')).map(json.dumps)
DOCUMENTS = st.recursive(
    NUMBERS | STRINGS | st.sampled_from(["true", "false", "null", "NaN", "-Infinity"]),
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: "[" + ", ".join(items) + "]")
        | st.lists(st.tuples(STRINGS, inner), max_size=4).map(
            lambda pairs: "{" + ",".join(f"{key} : {value}" for key, value in pairs) + "}"
        )
    ),
    max_leaves=10,
)


def fits(number: str) -> bool:
    mantissa, _, exponent = number.lower().partition("e")
    value, digits = float(number), sum(map(str.isdigit, mantissa))
    zero = not mantissa.strip("-0.") and abs(int(exponent or 0)) <= 450  # jsonb refuses 0e-20000
    return digits <= 100 and not math.isinf(value) and (value != 0 or zero)


def is_plain(text: str) -> bool:
    return "\x00" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def walk(value: Any) -> Any:
    """Every string, key and number text of a document read by the standard library."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from (key, *walk(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner)
    else:
        yield value


class Number(str):
    __slots__ = ()


class NotFinite(str):
    __slots__ = ()


def model(text: str) -> list[Any]:
    return list(walk(json.loads(text, parse_float=Number, parse_int=Number, parse_constant=NotFinite)))


@pytest.mark.parametrize(
    "raw",
    [b"{}", b"[]", b"0", b"-0", b"1.50", b"1e5", b"1E+99", b"1e300", b"5e-324", b"1" * 100,
     b'"\\ud83d\\ude00"', b'"\\\\u0000"', b'"\\\\\\\\ud800"', '"é😀\uffff"'.encode(),
     b' {"a":\n[1 , 2]} ', b'"5e999"', b'["a, 5e999"]',
     b'"' + b"7" * 200 + b'"', b"[" * 512 + b"]" * 512,
     b'["' + b"[" * 600 + b'"]', b"[" + b"[]," * 900 + b"[]]",
     b'"0e72b4a1-5e123-9e9999"', b"1e-99", b"0e10", b"0.0"],
)  # fmt: skip
def test_what_jsonb_holds_is_safe_and_left_alone(raw: bytes) -> None:
    assert jsonb.check(raw) is Safety.SAFE
    assert jsonb.repair(raw) is raw


@pytest.mark.parametrize(
    ("raw", "mended"),
    [
        (b'"a\\u0000b"', b'"a\\ufffdb"'),
        (b'{"\\u0000":1}', b'{"\\ufffd":1}'),
        (b'"\\ud800"', b'"\\ufffd"'),
        (b'"\\uDC00\\uD800x"', b'"\\ufffd\\ufffdx"'),
        (b'"\\ud800\\ud83d\\ude00"', b'"\\ufffd\\ud83d\\ude00"'),
        (b'"\\\\\\u0000"', b'"\\\\\\ufffd"'),
        (b"1e131071", b'"1e131071"'),
        (b"[1E400, -1e-400]", b'["1E400", "-1e-400"]'),
        (b"0e-20000", b'"0e-20000"'),
        (b"1" * 101, b'"' + b"1" * 101 + b'"'),
        (b"0." + b"3" * 100, b'"0.' + b"3" * 100 + b'"'),
        (b'{"a":NaN,"b":-Infinity}', b'{"a":"NaN","b":"-Infinity"}'),
        (b'"\xff"', '"\ufffd"'.encode()),
        (b'"\xed\xa0\x80"', '"\ufffd\ufffd\ufffd"'.encode()),
        (b"\xef\xbb\xbf[1]", b"[1]"),
        (b'"a\tb\x00"', b'"a\\u0009b\\ufffd"'),
    ],
)
def test_what_jsonb_refuses_is_mended(raw: bytes, mended: bytes) -> None:
    assert jsonb.check(raw) is Safety.REPAIRABLE
    assert jsonb.repair(raw) == mended


@pytest.mark.parametrize(
    "raw",
    [b"[" * 513 + b"]" * 513, b'{"a":' * 513 + b"1" + b"}" * 513, b"[" * 100_000 + b"]" * 100_000,
     b"[" * 600 + b'"\\ud800"' + b"]" * 600],
)  # fmt: skip
def test_what_is_nested_too_deeply_has_no_copy(raw: bytes) -> None:
    assert jsonb.check(raw) is Safety.REFUSED
    assert jsonb.repair(raw) is None


@pytest.mark.parametrize(("part", "megabytes"), [(b"1,", 20), (b"1e308,", 6), (b"5e-324,", 8)])
def test_what_postgresql_could_not_read_or_not_print_has_no_copy(part: bytes, megabytes: int) -> None:
    # Tried on 15 and 18: 40 MB of ones are refused, 20 MB of 1e308 can be stored and never be read again.
    few, many = (b"[" + part * (size * 1024 * 1024 // len(part)) + b"0]" for size in (1, megabytes))
    assert jsonb.check(few) is Safety.SAFE
    assert jsonb.check(many) is Safety.REFUSED


@pytest.mark.parametrize(
    "raw",
    [b"", b" ", b"{", b"[1,]", b"[1 2]", b"{1:2}", b'{"a"}', b'{"a":1,}', b"01", b"1.", b".5", b"+1", b"-",
     b"nul", b"'a'", b'"\\x"', b'"\\u12"', b'"a', b"[1]]", b"[1}", b"{} {}",
     b"[" * 100_000, b"[" * 100_000 + b"}" * 100_000,
     b"[NaN", b"\xef\xbb\xbf", b"undefined", b"0x10", b",", b":"],
)  # fmt: skip
def test_what_is_not_json_is_told_apart(raw: bytes) -> None:
    assert jsonb.check(raw) is Safety.NOT_JSON
    with pytest.raises(ValueError, match="not JSON"):
        jsonb.repair(raw)


@given(DOCUMENTS)
def test_check_and_repair_agree_with_the_standard_library(text: str) -> None:
    leaves = model(text)
    clean = all(
        fits(leaf) if isinstance(leaf, Number) else not isinstance(leaf, NotFinite) and is_plain(leaf)
        for leaf in leaves
        if isinstance(leaf, str)
    )
    raw = text.encode()
    mended = jsonb.repair(raw)
    assert mended is not None
    assert jsonb.check(mended) is Safety.SAFE
    # A key sent twice counts once for the library, so it may overlook what is wrong with the first.
    duplicates = sum(is_key for *_, is_key in scan.tokens(raw)) != sum(1 for _ in _keys(json.loads(text)))
    assert duplicates or (jsonb.check(raw) is Safety.SAFE) == clean
    assert duplicates or [_expected(leaf) for leaf in leaves] == [
        _read(leaf) for leaf in model(mended.decode())
    ]


def _keys(value: Any) -> Any:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from (key, *_keys(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner)


def _read(leaf: Any) -> Any:
    return Decimal(leaf) if isinstance(leaf, Number) else leaf


def _expected(leaf: Any) -> Any:
    if isinstance(leaf, Number):
        return Decimal(leaf) if fits(leaf) else str(leaf)
    return "".join(c if is_plain(c) else "\ufffd" for c in leaf) if isinstance(leaf, str) else leaf


@given(st.binary(max_size=40) | st.text('[]{},:"\\u0dabe1.-NatrufslIy \n').map(str.encode))
def test_the_scanner_and_the_standard_library_agree_on_what_is_json(raw: bytes) -> None:
    try:
        json.loads(raw.removeprefix(scan.BOM).decode(errors="replace"), strict=False)
        expected = True
    except ValueError:
        expected = False
    assert scan.is_json(raw) == expected
    assert (jsonb.check(raw) is not Safety.NOT_JSON) == expected


@given(DOCUMENTS, DOCUMENTS)
def test_members_come_out_as_sent(first: str, second: str) -> None:
    a, b = first.encode(), second.encode()
    assert scan.members(b" [ " + a + b" , " + b + b" ] ") == [(b"", a), (b"", b)]
    assert scan.members(b'{"x" : ' + a + b',"y":' + b + b"}") == [(b'"x"', a), (b'"y"', b)]


def test_the_members_of_a_scalar_are_an_error() -> None:
    for raw in (b"1", b'"x"', b"", b"[1", b"[1]]"):
        with pytest.raises(ValueError, match=r"not JSON|neither"):
            scan.members(raw)
    assert scan.members(b"{}") == scan.members(b"[ ]") == []
