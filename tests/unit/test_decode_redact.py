"""No secret gets past the redactor, and nothing else is touched."""

from __future__ import annotations

import base64
import gzip
import json
import os
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer.decode.redact import REDACTED, Redactor

KEYS = ["password", "secret", "token", "api_key", "authorization"]
REDACTOR = Redactor(KEYS)
SECRET = "hunter2hunter2"

SECRET_KEYS = st.sampled_from(
    [
        "password",
        "PassWord",
        "db_password",
        "API-Key",
        "x api key",
        "client-secret",
        "NextToken",
        "to\u212aen",
        "se-c_r et",
    ]
)
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["a=b", "=", "token", "token="])
)
SECRETS = (
    SECRET_KEYS.map(lambda key: {key: SECRET})
    | SECRET_KEYS.map(lambda key: {key: [{"deep": SECRET}, SECRET]})
    | st.tuples(
        st.sampled_from(["key", "name", "Name"]), SECRET_KEYS, st.sampled_from(["value", "Value"])
    ).map(lambda names: {names[0]: names[1], names[2]: {"v": SECRET}, "other": 1})
    | SECRET_KEYS.map(lambda key: f"a=b&{key} ={SECRET}")
    | SECRET_KEYS.map(lambda key: {f"{key}={SECRET}": 1})
    | SECRET_KEYS.map(lambda key: base64.b64encode(gzip.compress(f"{key}:{SECRET}".encode())).decode())
)
DOCUMENTS = st.recursive(
    PLAIN | SECRETS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc/~", max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def redacted(value: Any) -> tuple[Any, tuple[str, ...]]:
    text, paths = REDACTOR.json(json.dumps(value).encode())
    return json.loads(text), paths


def pointed_at(document: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        document = document[int(name)] if isinstance(document, list) else document[name]
    return document


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "PASSWORD",
        "dbPassword",
        "pass-word",
        "P a s s w o r d",
        "X-Api-Key",
        "apikey",
        "my_API_key",
    ],
)
def test_a_key_matches_by_its_end_whatever_its_case_and_separators(key: str) -> None:
    assert REDACTOR.matches(key)
    assert redacted({key: {"a": [1]}}) == ({key: REDACTED}, (f"/{key}",))


@pytest.mark.parametrize(
    "key", ["passwords", "tokenizer", "key", "secretary", "", "apikeys", "passw\u00f6rd"]
)
def test_a_key_that_only_resembles_an_entry_stays(key: str) -> None:
    assert not REDACTOR.matches(key)
    assert redacted({key: "x"}) == ({key: "x"}, ())


def test_every_shape_of_a_secret_is_replaced_and_pointed_at() -> None:
    document = {
        "a/b": {"token": 1, "~": [{"password": [1, 2]}]},
        "headers": [
            {"name": "Authorization", "value": "x"},
            {"Key": "api-key", "Value": 7},
            {"name": "other", "value": 1},
        ],
        "env": ["HOME=/", "DB_PASSWORD=x=y", "TOKEN="],
        "secret": None,
    }
    assert redacted(document) == (
        {
            "a/b": {"token": REDACTED, "~": [{"password": REDACTED}]},
            "headers": [
                {"name": "Authorization", "value": REDACTED},
                {"Key": "api-key", "Value": REDACTED},
                {"name": "other", "value": 1},
            ],
            "env": ["HOME=/", f"DB_PASSWORD={REDACTED}", "TOKEN="],
            "secret": None,
        },
        ("/a~1b/token", "/a~1b/~0/0/password", "/env/1", "/headers/0/value", "/headers/1/Value"),
    )


def test_a_secret_spelled_with_escapes_is_found() -> None:
    assert REDACTOR.json(b'{"pass\\u0077ord":"x"}')[0] == b'{"password":"[redacted]"}'
    assert REDACTOR.json(b'{"pass\\u002dword":"x"}')[0] == b'{"pass-word":"[redacted]"}'
    assert REDACTOR.occurs(b'{"\\u0070assword')


def test_numbers_keep_their_digits_beside_a_secret() -> None:
    raw = b'{"token":1,"n":[0.10000000000000000000000001,1E+2,123456789012345678901234567890,1.0]}'
    assert REDACTOR.json(raw)[0] == raw.replace(b":1,", b':"[redacted]",', 1)


def test_what_holds_no_secret_comes_back_as_the_same_object() -> None:
    for raw in (b'{"a": 1.50}', b'{"tokenizer" : "password"}', b'"x"', b"[NaN]", b"not json"):
        assert REDACTOR.json(raw)[0] is raw
    text = "HOME=/ and more"
    assert REDACTOR.text(text) is text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("password=x", "password=[redacted]"),
        ("access token = x", "access token =[redacted]"),
        ("https://h/?a=1&access_token=x&b=2", "https://h/?a=1&access_token=[redacted]"),
        ("line\nAPI-KEY=x", "line\nAPI-KEY=[redacted]"),
        ("password=[redacted]", "password=[redacted]"),
        ("password=[redacted]x", "password=[redacted]"),
        ("password=", "password="),
        ("password=\n", "password=[redacted]"),
        ("password==", "password=[redacted]"),
        ("passwords=x", "passwords=x"),
        ("=password", "=password"),
        ("pass=word=x", "pass=word=x"),
    ],
)
def test_an_assignment_to_a_secret_loses_what_follows(text: str, expected: str) -> None:
    assert REDACTOR.text(text) == expected


def test_a_million_equal_signs_are_read_once() -> None:
    hostile = "=" * 1_000_000
    assert REDACTOR.text(hostile) is hostile
    assert Redactor([]).text(hostile) is hostile


def test_entries_of_any_alphabet_work_and_empty_ones_match_nothing() -> None:
    redactor = Redactor(["Contraseña", "pass/word", " - "])
    assert redactor.json(b'{"CONTRASE\\u00d1A":1}')[1] == ("/CONTRASEÑA",)
    assert redactor.json(b'{"pass\\/word":1}')[1] == ("/pass~1word",)
    assert redactor.occurs(b'{"contrase\\u00f1a')
    assert redactor.json(b'{"x":1}')[1] == ()
    assert Redactor([]).json(b'{"password":1}') == (b'{"password":1}', ())


def test_a_document_that_needs_mending_is_redacted_all_the_same() -> None:
    assert REDACTOR.json(b'{"token":1,"b":NaN}') == (b'{"token":"[redacted]","b":"NaN"}', ("/token",))


def test_what_cannot_be_parsed_goes_whole_if_an_entry_occurs() -> None:
    deep = b"[" * 100_000 + b'{"token":1}' + b"]" * 100_000
    assert REDACTOR.json(deep) == (b'"[redacted]"', ("",))
    assert REDACTOR.json(b'{"token":') == (b'"[redacted]"', ("",))


def test_a_document_512_deep_is_redacted_without_recursion() -> None:
    raw = b"[" * 511 + b'{"token":1}' + b"]" * 511
    assert REDACTOR.json(raw) == (raw.replace(b"1", b'"[redacted]"'), ("/0" * 511 + "/token",))


def test_raw_bytes_are_kept_only_without_an_entry() -> None:
    assert REDACTOR.raw(b"\xff\x00 harmless") == b"\xff\x00 harmless"
    assert REDACTOR.raw(b"\xff my PASS-word is") is None
    assert REDACTOR.raw(base64.b64encode(b"the token")) is None
    assert REDACTOR.raw(base64.b64encode(b"the takin")) is not None


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
@pytest.mark.parametrize(
    "wrap", [bytes, base64.b64encode, base64.urlsafe_b64encode, lambda b: b'{"input":"' + base64.b64encode(b)]
)
def test_packed_bytes_are_searched_as_far_as_they_inflate(pack: Any, wrap: Any) -> None:
    noise = os.urandom(50_000).hex().encode()
    secret, harmless = pack(noise + b' "token" ' + noise), pack(noise + b' "takin" ' + noise)
    assert REDACTOR.raw(wrap(secret)) is None
    assert REDACTOR.raw(wrap(harmless)) == wrap(harmless)
    assert REDACTOR.raw(wrap(secret[: len(secret) * 2 // 3])) is None
    assert REDACTOR.raw(wrap(secret[:40])) == wrap(secret[:40])


def test_a_fault_hides_nothing_that_stands_before_it() -> None:
    data = bytearray(zlib.compress(b'{"password":"x"}' * 3 + os.urandom(500), level=0))
    data[-1] ^= 0xFF  # the check sum is wrong, all else inflates
    assert REDACTOR.raw(bytes(data)) is None


def test_an_entry_across_two_pieces_is_found() -> None:
    for at in range(65_536 - 12, 65_537):
        assert REDACTOR.raw(gzip.compress(b"x" * at + b"pass__word" + b"y" * 70_000)) is None
        assert REDACTOR.raw(gzip.compress(b"x" * at + b"p\\u0061ssword" + b"y" * 70_000)) is None


def test_the_second_member_of_a_gzip_file_is_searched_too() -> None:
    assert REDACTOR.raw(gzip.compress(b"harmless") + gzip.compress(b"token")) is None


@given(DOCUMENTS, st.booleans())
def test_no_document_keeps_a_secret(document: Any, escaped: bool) -> None:
    text = json.dumps(document, ensure_ascii=escaped)
    clean, paths = REDACTOR.json(text.encode())
    assert SECRET.encode() not in clean
    assert (clean == text.encode()) == (not paths)
    for path in paths:
        assert REDACTED in str(pointed_at(json.loads(clean), path)) or "=" in path
    again, _ = REDACTOR.json(clean)
    assert json.loads(again) == json.loads(clean)


@given(st.binary())
def test_no_bytes_make_the_redactor_raise(raw: bytes) -> None:
    REDACTOR.json(raw)
    assert REDACTOR.raw(raw) in (raw, None)
    assert REDACTOR.occurs(raw) in (True, False)
