"""Every envelope a source wraps its records in, and what is no answer at all."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer.decode.answer import Listing, parse_items, parse_object

ITEMS = [b'{"a":1.0}', b'{"b": "x"}']


@pytest.mark.parametrize(
    ("body", "total"),
    [
        (b'{"total":"17","items":[{"a":1.0}, {"b": "x"}]}', 17),
        (b'{"total":6,"items":[{"a":1.0},{"b": "x"}],"page":1}', 6),
        (b'{"items":[{"a":1.0},{"b": "x"}],"total":null}', None),
        (b'{"items":[{"a":1.0},{"b": "x"}],"total":"many"}', None),
        (b'{"items":[{"a":1.0},{"b": "x"}],"total":-1}', None),
        (b' {"data":[{"a":1.0},{"b": "x"}],"total":3}', 3),
        (b'{"data":{"items":[{"a":1.0},{"b": "x"}],"total":"4"},"errors":[]}', 4),
        (b'{"total":5,"data":{"items":[{"a":1.0},{"b": "x"}]}}', 5),
        (b' [{"a":1.0},\n{"b": "x"}] ', None),
        (b'\xef\xbb\xbf[{"a":1.0},{"b": "x"}]', None),
    ],
)
def test_every_envelope_gives_its_records_as_sent(body: bytes, total: int | None) -> None:
    assert parse_items(body) == Listing(total, ITEMS)


def test_other_names_are_for_the_source_to_say() -> None:
    body = b'{"count":2,"instances":[{"a":1.0},{"b": "x"}]}'
    assert parse_items(body, items="instances", total="count") == Listing(2, ITEMS)


@pytest.mark.parametrize(
    "body", [b'{"items":[]}', b'{"items":null}', b'{"data":null}', b"[]", b'{"data":{"items":[]}}']
)
def test_an_empty_list_is_a_list(body: bytes) -> None:
    assert parse_items(body) == Listing(None, [])


@pytest.mark.parametrize(
    "bad",
    [b'{"x":"\\ud800"}', b'{"x":NaN}', b'{"x":"\xff"}', b'{"x":"\x01"}', b"[" * 100_000 + b"]" * 100_000],
    ids=["surrogate", "nan", "not utf-8", "control", "deep"],
)
@pytest.mark.parametrize(
    "shape", [b'{"total":2,"items":[%s,{"id": 1}]}', b'[%s, {"id": 1}]', b'{"data":[%s,{"id": 1}]}']
)
def test_one_odd_record_does_not_hide_the_others(bad: bytes, shape: bytes) -> None:
    assert parse_items(shape % bad).items == [bad, b'{"id": 1}']


@pytest.mark.parametrize(
    "body",
    [b"", b"  ", b"<html>secret</html>", b"null", b'"secret"', b"7", b"{}", b'{"message":"secret"}',
     b'{"items":"secret"}', b'{"items":{}}', b'{"items":[1,', b'{"items":[{"secret":1}', b"[1}", b"[1]secret",
     b'{"data":' * 50_000,
     b'{"data":' * 50_000 + b"[]" + b"}" * 50_000, b"{'items':[]}"],
)  # fmt: skip
def test_what_is_no_list_is_a_value_error_that_quotes_nothing(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"^(the answer|not JSON)") as caught:
        parse_items(body)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"data": {"id":1} }', b'{"id":1}'),
        (b'{"id":1,"data":{"x":2}}', b'{"id":1,"data":{"x":2}}'),
        (b'{"data":[1],"x":2}', b'{"data":[1],"x":2}'),
        (b'{"nodeId":"n"}', b'{"nodeId":"n"}'),
        (b'{"data":{"x":"\\ud800"}}', b'{"x":"\\ud800"}'),
    ],
)
def test_data_is_unwrapped_only_where_it_wraps(body: bytes, expected: bytes) -> None:
    assert parse_object(body) == expected


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"data":{', b"Too many requests"])
def test_what_is_no_object_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"^(the answer|not JSON)"):
        parse_object(body)


@given(
    st.lists(st.dictionaries(st.text(), st.integers() | st.text() | st.none(), max_size=3)),
    st.integers(0, 10**9),
)
def test_records_come_out_as_they_went_in(records: list[dict[str, Any]], total: int) -> None:
    listing = parse_items(json.dumps({"total": str(total), "items": records}).encode())
    assert [json.loads(item) for item in listing.items] == records
    assert listing.total == total


@given(st.binary())
def test_no_body_raises_anything_but_a_value_error(body: bytes) -> None:
    for parse in (parse_items, parse_object):
        with contextlib.suppress(ValueError):
            parse(body)
