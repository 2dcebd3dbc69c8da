"""No secret gets past the redactor, and nothing else is touched."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from random import Random
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
    | SECRET_KEYS.map(lambda key: json.dumps({"a": [{key: SECRET}]}))
    | SECRET_KEYS.map(lambda key: json.dumps([json.dumps({"name": key, "value": SECRET})], indent=1))
    | SECRET_KEYS.map(lambda key: f"answered 400: {json.dumps({key: SECRET})[:-3]}")
    | SECRET_KEYS.map(lambda key: base64.urlsafe_b64encode(json.dumps({key: SECRET}).encode()).decode())
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
            {"name": "token", "value": 1, "password": 2},
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
                {"name": "token", "value": REDACTED, "password": REDACTED},
                {"name": "other", "value": 1},
            ],
            "env": ["HOME=/", f"DB_PASSWORD={REDACTED}", "TOKEN="],
            "secret": None,
        },
        (
            "/a~1b/token",
            "/a~1b/~0/0/password",
            "/env/1",
            "/headers/0/value",
            "/headers/1/Value",
            "/headers/2/password",
            "/headers/2/value",
        ),
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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": {"token": [1, "x"]}, "n": 1.50}', '{"a":{"token":"[redacted]"},"n":1.50}'),
        (' [{"name": "Token", "value": 7}]', '[{"name":"Token","value":"[redacted]"}]'),
        ('["https://h/?token=x", "y=z"]', '["https://h/?token=[redacted]","y=z"]'),
        (json.dumps(json.dumps({"token": "x"})), json.dumps('{"token":"[redacted]"}')),
        ('{"tokenizer": "x", "token": null}', '{"tokenizer": "x", "token": null}'),
        ('HTTP 400: {"client_secret": "a\\"b", "n": 1}', 'HTTP 400: {"client_secret": "[redacted]", "n": 1}'),
        ('said \\"token\\":\\"x\\" and more', 'said \\"token\\":\\"[redacted]\\" and more'),
        ("{'password': b'x', 'n': 1}", "{'password': b'[redacted]', 'n': 1}"),
        ("{'password': \"it's\", 'n': 1}", "{'password': \"[redacted]\", 'n': 1}"),
        ("{'password': None, 'n': 1, 'token': 12.5}", "{'password': None, 'n': 1, 'token': [redacted]}"),
        ('{"n": 1, "token": "cut off', '{"n": 1, "token": [redacted]'),
        ('{"n": 1, "token": {"a": "x"}, "cut', '{"n": 1, "token": [redacted]'),
        ('x {"token": "a \\"token\\": 1}", "n": 2}', 'x {"token": "[redacted]", "n": 2}'),
        ('{"n": 1, "token": 17', '{"n": 1, "token": [redacted]'),
        ('key "token" is missing: see "n"', 'key "token" is missing: see "n"'),
        ("don't: it's 'fine'", "don't: it's 'fine'"),
        ("[INFO] token refreshed", "[INFO] token refreshed"),
    ],
)
def test_json_in_a_string_loses_its_secrets_and_keeps_its_form(text: str, expected: str) -> None:
    assert REDACTOR.text(text) == expected
    assert REDACTOR.text(expected) == expected
    assert redacted({"body": text}) == ({"body": expected}, ("/body",) if text != expected else ())


def test_what_only_begins_like_json_is_text_as_a_value_and_as_a_key() -> None:
    raw = json.dumps(
        {'"token":"hunter2"': 1, "said": '"token":"hunter2"', "then": '{"token":"hunter2"} and so on'}
    )
    clean, paths = REDACTOR.json(raw.encode())
    assert b"hunter2" not in clean
    assert paths == ('/"token":"[redacted]"', "/said", "/then")


def test_a_secret_is_found_however_deep_and_in_however_long_a_document() -> None:
    for rest in ([], list(range(20_000))):
        document = {
            "rest": rest,
            "a": [{"b": [1.0, {"note": "x", "token": "hunter2"}]}, {"key": "secret", "value": [2]}],
        }
        clean, paths = REDACTOR.json(json.dumps(document).encode())
        document["a"] = [
            {"b": [1.0, {"note": "x", "token": "[redacted]"}]},
            {"key": "secret", "value": "[redacted]"},
        ]
        assert json.loads(clean) == document
        assert paths == ("/a/0/b/1/token", "/a/1/value")


def test_the_kelvin_sign_is_a_k() -> None:
    assert json.loads(REDACTOR.json('{"to\u212aen": 1, "a": "é"}'.encode())[0]) == {
        "to\u212aen": "[redacted]",
        "a": "é",
    }


def test_json_quoted_ever_deeper_is_searched_and_never_makes_the_redactor_raise() -> None:
    text = json.dumps({"token": SECRET})
    for _ in range(8):
        text = json.dumps(text)
        assert SECRET not in REDACTOR.text(text)
    # Every layer costs five bytes here, where the backslashes of others double.
    deep = "".join(['"', "\\u005c" * 50_000, "u0022token", '"'])
    assert "token" not in REDACTOR.text(deep) or REDACTOR.text(deep) == deep
    hostile = '[{"token":1},"' * 20_000
    assert REDACTOR.text(hostile).startswith('[{"token":[redacted]}')


def test_hostile_quotes_and_backslashes_are_read_once() -> None:
    for hostile in ("\\" * 1_000_000, '"' * 1_000_000, "'\"" * 500_000, '"a":' * 250_000, '" :' * 300_000):
        assert REDACTOR.text(hostile) is hostile


@pytest.mark.parametrize(
    "wrap",
    [
        base64.b64encode,
        base64.urlsafe_b64encode,
        base64.encodebytes,
        lambda data: base64.b64encode(data).rstrip(b"="),
    ],
    ids=["standard", "url", "in lines", "unpadded"],
)
def test_a_string_that_hides_an_entry_in_base64_goes_whole(wrap: Any) -> None:
    noise = "".join(chr(0x4E00 + n * 37 % 9000) for n in range(300))
    for inner in ({"n": noise, "token": 1}, [{"n": noise, "name": "token"}], ["token", noise]):
        for text in (json.dumps(inner), json.dumps(inner, indent=1), json.dumps(inner, ensure_ascii=False)):
            for data in (text.encode(), gzip.compress(text.encode()), zlib.compress(text.encode())):
                assert redacted({"body": wrap(data).decode()}) == ({"body": REDACTED}, ("/body",))
                harmless = wrap(gzip.compress(text.replace("token", "takin").encode())).decode()
                assert redacted({"body": harmless}) == ({"body": harmless}, ())


def test_a_token_in_three_parts_stays_unless_its_claims_name_an_entry() -> None:
    def jwt(claims: dict[str, Any]) -> str:
        parts = ({"alg": "HS256", "typ": "JWT"}, claims)
        encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
        return ".".join([*encoded, "c2lnbmF0dXJl"])

    assert redacted([jwt({"sub": "x"})]) == ([jwt({"sub": "x"})], ())
    assert redacted([jwt({"sub": "x", "token": "y"})]) == ([REDACTED], ("/0",))


def pack(data: str) -> str:
    return base64.b64encode(gzip.compress(data.encode())).decode()


def test_what_is_packed_within_what_is_packed_is_searched() -> None:
    for depth in range(1, 6):
        text, harmless = '{"token":1}', '{"takin":1}'
        for _ in range(depth):
            text, harmless = json.dumps({"inner": pack(text)}), json.dumps({"inner": pack(harmless)})
        assert redacted({"a": text})[1] == ("/a",)
        assert redacted({"a": harmless}) == ({"a": harmless}, ())
        assert REDACTOR.raw(text.encode()[:-1]) is None
        assert REDACTOR.raw(harmless.encode()[:-1]) == harmless.encode()[:-1]


def test_what_is_too_long_to_be_opened_further_counts_as_a_secret_only_if_something_may_hide_in_it() -> None:
    long = "x y " * 200_000
    assert REDACTOR.raw(pack(json.dumps([long])).encode()) is not None
    assert REDACTOR.raw(pack(json.dumps([pack('{"token":1}'), long])).encode()) is None


def test_what_opens_into_more_and_more_counts_as_a_secret_before_it_fills_memory() -> None:
    many = json.dumps([pack(json.dumps({"n": "x" * 400_000, "number": number})) for number in range(60)])
    assert redacted({"a": many[:-1]}) == ({"a": REDACTED}, ("/a",))
    assert redacted({"a": json.dumps([pack('{"n":1}')] * 60)[:-1]})[1] == ()


def test_base64_escaped_in_broken_json_is_searched() -> None:
    packed = base64.encodebytes(gzip.compress(Random(1).randbytes(500).hex().encode() + b"token")).decode()
    for text in (json.dumps({"a": packed}), json.dumps({"a": f"see:\n{packed}"}).replace("+", "\\u002b")):
        assert REDACTOR.raw(text.replace("/", "\\/").encode()[:-1]) is None


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
    noise = Random(1).randbytes(50_000).hex().encode()
    secret, harmless = pack(noise + b' "token" ' + noise), pack(noise + b' "takin" ' + noise)
    assert REDACTOR.raw(wrap(secret)) is None
    assert REDACTOR.raw(wrap(harmless)) == wrap(harmless)
    assert REDACTOR.raw(wrap(secret[: len(secret) * 2 // 3])) is None
    assert REDACTOR.raw(wrap(secret[:40])) == wrap(secret[:40])


def test_a_fault_hides_nothing_that_stands_before_it() -> None:
    data = bytearray(zlib.compress(b'{"password":"x"}' * 3 + Random(1).randbytes(500), level=0))
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
