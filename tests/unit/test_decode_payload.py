"""Payloads: opened where nothing can be confused, bounded, redacted, never failing."""

from __future__ import annotations

import base64
import gzip
import json
import tracemalloc
import zlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncer.decode.payload import ABSENT, Payload, decode_payload
from syncer.decode.redact import Redactor

DATA = Path(__file__).parent / "data"
LIMIT = 100_000
OPEN = Redactor([])
STRICT = Redactor(["password", "token", "credentials"])


def decode(value: Any, *, limit: int = LIMIT, redactor: Redactor = OPEN) -> Payload:
    """A field's value as a source's JSON would hold it."""
    return decode_payload(json.dumps(value).encode(), limit=limit, redactor=redactor)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def member(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def gz(data: bytes | str) -> str:
    return b64(member(data.encode() if isinstance(data, str) else data))


@pytest.mark.parametrize(("name", "size"), [("input", 4256), ("output", 3085)])
def test_the_documented_sample_decodes_to_its_documented_literal(name: str, size: int) -> None:
    packed = (DATA / f"step_{name}_packed.txt").read_text().strip()
    literal = (DATA / f"step_{name}_decoded.json").read_bytes()
    assert len(literal) == size
    assert decode(packed) == Payload(literal, "decoded", size)
    # the endpoint of its own sends the same as a string of JSON, or plain
    assert decode(literal.decode()) == Payload(literal, "decoded", size)
    assert decode_payload(literal, limit=LIMIT, redactor=OPEN) == Payload(literal, "decoded", size)


def test_the_documented_sample_is_redacted_with_the_places_told() -> None:
    found = decode((DATA / "step_input_packed.txt").read_text().strip(), redactor=STRICT)
    assert found.state == "decoded"
    assert "/credentials" in found.redacted_paths
    assert json.loads(found.value or b"")["credentials"] == "[redacted]"


@pytest.mark.parametrize("value", [None, b"null", b'""', b" null ", b' ""\n'])
def test_nothing_null_and_the_empty_string_are_absent(value: bytes | None) -> None:
    assert decode_payload(value, limit=LIMIT, redactor=OPEN) is ABSENT


@pytest.mark.parametrize(
    "raw", [b"0", b"false", b"[]", b"{}", b'{"a": 1.50, "b": "H4sI"}', b"123456789012345678901.10"]
)
def test_a_value_that_is_no_string_is_stored_as_it_is(raw: bytes) -> None:
    assert decode_payload(raw, limit=LIMIT, redactor=OPEN) == Payload(raw, "decoded", len(raw))


@pytest.mark.parametrize(
    "text",
    ["deadbeef", "password", "123456789012", "i-0663d3f3e572608d5", "true", "null", "17", "1.5", '"17"', '"quoted"',
     " ", "d41d8cd98f00b204e9800998ecf8427e", "a" * 64, b64(b"17"), b64(b"true"), b64(b'"word"'), b64(b"hello world"),
     "[not json", "{}x", "{'a': 1}", "eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.sig", "arn:aws:s3:::b", b64(b'{"a":"\xff"}'),
     gz("hello world"), gz(""), b64(zlib.compress(b"{}")[:-1]), "eJwD", "eAEBAAAA", b64(zlib.compress(b"{}") + b"x")],
)  # fmt: skip
def test_what_could_be_anything_stays_text_verbatim(text: str) -> None:
    assert decode(text) == Payload(json.dumps(text).encode(), "text", len(text))


DOCUMENT = '{"a": [1.50, "é"]}'


@pytest.mark.parametrize(
    "text",
    [
        DOCUMENT,
        f"  {DOCUMENT}\n",
        json.dumps(DOCUMENT),
        json.dumps(json.dumps(DOCUMENT)),
        b64(DOCUMENT.encode()),
        b64(DOCUMENT.encode()).rstrip("="),
        b64(json.dumps(DOCUMENT).encode()),
        gz(DOCUMENT),
        gz(DOCUMENT).rstrip("="),
        base64.urlsafe_b64encode(member(DOCUMENT.encode())).decode(),
        base64.encodebytes(member(DOCUMENT.encode() + b" " * 90)).decode(),
        b64(zlib.compress(DOCUMENT.encode())),
        b64(member(DOCUMENT[:7].encode()) + member(DOCUMENT[7:].encode())),
        gz(json.dumps(DOCUMENT)),
        gz(json.dumps(gz(DOCUMENT))),
        gz(json.dumps(gz(json.dumps(gz(DOCUMENT))))),
    ],
)
def test_a_document_is_found_through_up_to_three_layers(text: str) -> None:
    found = decode(text)
    assert found.state == "decoded"
    assert found.raw is None
    assert found.value is not None
    assert found.value.strip() == DOCUMENT.encode()
    assert found.size == len(found.value)


def test_a_fourth_layer_is_left_alone() -> None:
    third = gz(DOCUMENT)
    assert decode(gz(json.dumps(gz(json.dumps(gz(json.dumps(third))))))).value == json.dumps(third).encode()
    quoted = json.dumps(json.dumps(json.dumps(DOCUMENT)))
    assert decode(quoted) == Payload(json.dumps(quoted).encode(), "text", len(quoted))


@pytest.mark.parametrize("inner", ["17", "true", "null", '"word"', '""', "1.50"])
def test_any_json_that_was_inflated_is_decoded(inner: str) -> None:
    assert decode(gz(inner)) == Payload(inner.encode(), "decoded", len(inner))


def test_strings_inside_a_decoded_document_are_left_alone() -> None:
    inner = {"s": gz(DOCUMENT), "t": DOCUMENT, "u": json.dumps("x")}
    assert json.loads(decode(gz(json.dumps(inner))).value or b"") == inner


@pytest.mark.parametrize(
    ("raw", "mended"),
    [
        (b'{"a":"\\u0000"}', b'{"a":"\\ufffd"}'),
        (b'{"a":"\\ud800"}', b'{"a":"\\ufffd"}'),
        (b'{"a":1e400}', b'{"a":"1e400"}'),
        (b'{"a":1e-400}', b'{"a":"1e-400"}'),
        (b"[" + b"7" * 101 + b"]", b'["' + b"7" * 101 + b'"]'),
        (b'{"a":NaN}', b'{"a":"NaN"}'),
        (b"[" * 513 + b"]" * 513, None),
    ],
)
def test_what_jsonb_refuses_is_unsafe_with_a_mended_copy_and_the_original(
    raw: bytes, mended: bytes | None
) -> None:
    assert decode_payload(raw, limit=LIMIT, redactor=OPEN) == Payload(mended, "unsafe", len(raw), raw)
    assert decode(raw.decode()) == Payload(mended, "unsafe", len(raw), raw)
    packed = gz(raw)
    assert decode(packed) == Payload(mended, "unsafe", len(raw), packed.encode())


def test_text_that_jsonb_refuses_is_unsafe_too() -> None:
    assert decode("a\x00b") == Payload(b'"a\\ufffdb"', "unsafe", 3, b"a\x00b")
    lone = b'"a\\ud800b"'
    assert decode_payload(lone, limit=LIMIT, redactor=OPEN) == Payload(b'"a\\ufffdb"', "unsafe", 5, lone)


@pytest.mark.parametrize(
    "data",
    [member(b"{}")[:-1], member(b"{}" * 99)[:15], b"\x1f\x8b\x08", member(b"{}") + b"junk",
     member(b'{"a":"\xff"}'), zlib.compress(b"\xff\xfe"), member(b"{}")[:-5] + b"00000"],
)  # fmt: skip
def test_a_broken_stream_is_undecodable_and_kept_raw(data: bytes) -> None:
    assert decode(b64(data)) == Payload(None, "undecodable", None, b64(data).encode())


def test_a_broken_stream_in_an_inner_layer_is_undecodable_as_well() -> None:
    packed = gz(json.dumps(gz(DOCUMENT)[:-8]))
    assert decode(packed) == Payload(None, "undecodable", None, packed.encode())


@pytest.mark.parametrize("raw", [b"", b"{", b'"abc', b'"', b'"\\x"', b'"a" "b"', b"nonsense", b"\xff"])
def test_what_is_no_json_at_all_is_undecodable(raw: bytes) -> None:
    assert decode_payload(raw, limit=LIMIT, redactor=OPEN).state == "undecodable"


def test_a_payload_of_exactly_the_limit_is_stored() -> None:
    text = json.dumps("x" * (LIMIT - 2))
    for value in (json.loads(text), text, gz(text)):
        assert decode(value).state in ("text", "decoded")
    assert (
        decode_payload(json.dumps(["x" * (LIMIT - 4)]).encode(), limit=LIMIT, redactor=OPEN).state
        == "decoded"
    )


def test_a_payload_over_the_limit_keeps_what_came_if_that_is_within_it() -> None:
    text = json.dumps(["x" * LIMIT])
    assert decode(gz(text)) == Payload(None, "too_large", None, gz(text).encode())
    assert decode_payload(text.encode(), limit=LIMIT, redactor=OPEN) == Payload(None, "too_large", len(text))
    assert decode(text) == Payload(None, "too_large", len(text))
    assert decode("x" * (LIMIT + 1)) == Payload(None, "too_large", LIMIT + 1)
    assert decode("x " * LIMIT) == Payload(None, "too_large", 2 * LIMIT)


def test_a_bomb_is_stopped_at_the_limit() -> None:
    packed = json.dumps(gz(b"[" + b" " * 50_000_000 + b"]")).encode()
    members = json.dumps(b64(member(b" " * 1_000_000) * 50)).encode()
    limit = 1_000_000
    for bomb in (packed, members):
        tracemalloc.start()
        found = decode_payload(bomb, limit=limit, redactor=STRICT)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found == Payload(None, "too_large", None, json.loads(bomb).encode())
        assert peak < 3 * limit


def test_a_hundred_thousand_brackets_cost_no_stack() -> None:
    deep = "[" * 100_000 + "]" * 100_000
    for value in (deep, gz(deep), json.dumps(deep)):
        assert decode(value, limit=10 * LIMIT).state == "unsafe"
    assert decode("[" * 50_000).state == "text"


def test_raw_is_given_up_where_it_would_hold_a_secret() -> None:
    secret = '{"password":"hunter2","n":1e400}'
    for value in (secret, gz(secret), json.dumps(secret), gz(json.dumps(gz(secret)))):
        found = decode(value, redactor=STRICT)
        assert found == Payload(
            b'{"password":"[redacted]","n":"1e400"}', "unsafe", len(secret), None, ("/password",)
        )
    broken = gz(json.dumps([secret] * 50))[:-12]
    assert decode(broken, redactor=STRICT) == Payload(None, "undecodable")
    assert decode(gz(json.dumps([" " * LIMIT, secret])), redactor=STRICT) == Payload(None, "too_large")
    deep = "[" * 600 + secret + "]" * 600
    assert decode(gz(deep), redactor=STRICT) == Payload(None, "unsafe", len(deep))


def test_text_is_redacted_too_and_what_it_hides() -> None:
    assert decode("my password=x", redactor=STRICT) == Payload(
        b'"my password=[redacted]"', "text", 13, None, ("",)
    )
    hidden = gz("my password is hunter2")
    assert decode(hidden, redactor=STRICT) == Payload(b'"[redacted]"', "text", len(hidden), None, ("",))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
WRAPPERS = st.lists(st.sampled_from(["gzip", "zlib", "base64", "quote"]), max_size=4)


def wrap(text: str, wrappers: list[str]) -> str:
    """JSON text, taken as a string and wrapped again and again; the result is a string's content."""
    for number, wrapper in enumerate(wrappers):
        inner = json.dumps(text) if number else text
        data = inner.encode()
        packed = {"gzip": member(data), "zlib": zlib.compress(data), "base64": data}
        text = json.dumps(inner) if wrapper == "quote" else b64(packed.get(wrapper, b""))
    return text


def exact(text: str | bytes) -> Any:
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


@given(JSON.filter(lambda value: not isinstance(value, str) and value is not None))
def test_a_decoded_value_equals_the_value_sent(value: Any) -> None:
    sent = json.dumps(value)
    for found in (decode_payload(sent.encode(), limit=LIMIT, redactor=OPEN), decode(gz(sent))):
        assert found.value is not None
        if found.state == "decoded":
            assert exact(found.value) == exact(sent)
        else:
            assert found.state == "unsafe"
            assert "\\u0000" in sent or "\\ud" in sent


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=3), WRAPPERS)
@example(value={}, wrappers=["gzip", "quote", "quote", "quote"])
def test_wrapping_changes_nothing_or_leaves_text(value: dict[str, Any], wrappers: list[str]) -> None:
    sent = json.dumps(value)
    text = wrap(sent, wrappers)
    found = decode(text)
    assert found.value is not None
    if found.state == "text":
        assert json.loads(found.value) == text
    elif found.state == "decoded":
        innermost = json.loads(found.value)
        assert exact(found.value) == exact(sent) or (len(wrappers) > 2 and isinstance(innermost, str))


@given(
    st.binary() | st.binary().map(lambda data: json.dumps(gz(data)[: -len(data) % 7 or None]).encode()),
    st.integers(0, 50),
)
def test_no_bytes_make_decoding_raise(value: bytes, limit: int) -> None:
    found = decode_payload(value, limit=limit, redactor=STRICT)
    assert found.state in ("decoded", "text", "absent", "unsafe", "undecodable", "too_large")
    assert found.value is None or json.loads(found.value) is not Ellipsis
