"""The zoo: payloads on which JSON parsers and PostgreSQL disagree, and what has to become of each.

Invariant: what is expected is written down, or composed by hand, and never computed by the code under test. Left out
because they do not fit a test: strings and documents beyond jsonb's 256 MB, and more elements than it can count.
"""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

LIMIT = 4_194_304
"""The default of max_payload_bytes."""

SURROGATE = b"\xed\xa0\x80"
"""U+D800 as three bytes that are not UTF-8."""


@dataclass(frozen=True)
class Animal:
    """`sent` is the JSON text of the field; `stored` the JSON text expected, None for a column that is null."""

    name: str
    sent: bytes
    state: str
    stored: bytes | None
    raw: bytes | None = None


def exact(text: str | bytes) -> Any:
    """A document in which no digit is lost; of a key sent twice the last counts, as in jsonb."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def b64(data: bytes) -> bytes:
    return base64.b64encode(data)


def gz(data: bytes) -> bytes:
    """As the platforms pack: base64 of gzip."""
    return b64(gzip.compress(data, mtime=0))


def quoted(data: bytes) -> bytes:
    """A JSON string of these bytes."""
    return json.dumps(data.decode()).encode()


_CONTROLS = "".join(f"\\u{n:04x}" for n in range(1, 32))
_RAW_CONTROLS = bytes(n for n in range(1, 32))
_MENDED_CONTROLS = "".join(f"\\u{n:04x}" for n in range(1, 32)).encode()

# Documents that jsonb holds as they are.
HARMLESS: dict[str, bytes] = {
    "an empty object": b"{}",
    "an empty array": b"[]",
    "whitespace in every form": b' \t\r\n{ "a" :\n[ 1 ,\t2 ]\r} \r\n\t ',
    "empty keys": b'{"":{"":""}}',
    "numbers as keys": b'{"1":1,"1.0":2,"-0":3,"1e5":4,"NaN":5}',
    "a key sent twice": b'{"a":1,"b":2,"a":3}',
    "a key sent twice, deeply": b'{"a":{"x":1,"x":[]},"a":{"y":{}}}',
    "a key sent twice in two spellings": b'{"a":1,"\\u0061":2}',
    "keys that differ in case alone": b'{"a":1,"A":2}',
    "a huge key": b'{"' + b"k" * 1_000_000 + b'":1}',
    "keys with every escape": b'{"\\"\\\\\\/\\b\\f\\n\\r\\t":1,"\\u001f":2}',
    "twenty thousand keys": ("{" + ",".join(f'"{n}":{n}' for n in range(20_000)) + "}").encode(),
    "a hundred thousand siblings": b"[" + b"[]," * 99_999 + b"[]]",
    "a long string": b'["' + b"x" * 3_000_000 + b'"]',
    "a string of brackets": b'["' + b"[" * 100_000 + b'"]',
    "a string of digits": b'["' + b"9" * 10_000 + b'", "1e131071", "x: 1e400"]',
    "512 arrays deep": b"[" * 512 + b"]" * 512,
    "512 objects deep": b'{"a":' * 511 + b"{}" + b"}" * 511,
    "512 deep by turns": b'[{"a":' * 256 + b"1" + b"}]" * 256,
    "minus zero": b"[-0,-0.0,0,0.0,-0e5,0e10]",
    "trailing zeros": b"[1.50,1.500,0.10,100]",
    "exactly 100 digits": b"[" + b"7" * 100 + b",-" + b"7" * 100 + b"]",
    "exactly 100 digits, half of them a fraction": b"[" + b"7" * 50 + b"." + b"7" * 50 + b"]",
    "an exponent with many zeros": b"[1e" + b"0" * 90 + b"5,1e+05,1E-05]",
    "the greatest and the least double": b"[1.7976931348623157e308,-1.7976931348623157E+308,5e-324,-5e-324]",
    "integers beyond 64 bits": b"[18446744073709551616,-9223372036854775809,123456789012345678901234567890]",
    "more digits than a double has": b"[0.1000000000000000055511151231257827021181583404541015625]",
    "every escape": b'["\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00E9\\u00e9\\u20ac"]',
    "escaped control characters": f'["{_CONTROLS}\\u007f\\u0080\\u009f"]'.encode(),
    "delete and C1 controls, plain": '["\x7f\x80\x9f"]'.encode(),
    "noncharacters": '["\uffff\ufffe\ufdd0\U0010ffff"]'.encode(),
    "noncharacters, escaped": b'["\\uffff\\ufffe\\ufdd0\\udbff\\udfff"]',
    "beyond the first plane": '["😀𝄞"]'.encode() + b" ",
    "beyond the first plane, escaped": b'["\\ud83d\\ude00\\uD834\\uDD1E"]',
    "a byte order mark in a string": '["\ufeff"]'.encode(),
    "line separators": '["\u2028\u2029\u0085"]'.encode(),
    "what only looks like an escape": b'["\\\\u0000","\\\\ud800","\\\\\\\\u0000"]',
    "strings that could be taken apart": b'["{\\"a\\":1}","[1]","' + gz(b'{"a":1}') + b'","' + b64(b"[1]") + b'"]',
    "the words for nothing": b'[null,"null","",[],{},false,0]',
}  # fmt: skip

# Documents that jsonb refuses or that nobody could dump, and the mended copy; None where there can be none.
UNSAFE: dict[str, tuple[bytes, bytes | None]] = {
    "NUL": (b'{"a":"x\\u0000y"}', b'{"a":"x\\ufffdy"}'),
    "NUL in a key": (b'{"\\u0000":1}', b'{"\\ufffd":1}'),
    "NUL after backslashes": (b'["\\\\\\u0000"]', b'["\\\\\\ufffd"]'),
    "two keys that are one when mended": (b'{"\\u0000":1,"\\ufffd":2}', b'{"\\ufffd":2}'),
    "a high surrogate alone": (b'["\\ud800"]', b'["\\ufffd"]'),
    "a low surrogate alone": (b'["\\uDFFF"]', b'["\\ufffd"]'),
    "surrogates the wrong way round": (b'["\\ude00\\ud83d"]', b'["\\ufffd\\ufffd"]'),
    "a pair after a lone one": (b'["\\ud800\\ud83d\\ude00"]', b'["\\ufffd\\ud83d\\ude00"]'),
    "a surrogate and an escaped letter": (b'["\\ud800\\u0041"]', b'["\\ufffdA"]'),
    "a surrogate in a key": (b'{"\\udabc":1}', b'{"\\ufffd":1}'),
    "NaN": (b'{"a":NaN}', b'{"a":"NaN"}'),
    "Infinity": (b"[Infinity,-Infinity]", b'["Infinity","-Infinity"]'),
    "more than a double": (b"[1e309,-1E+400,1e400]", b'["1e309","-1E+400","1e400"]'),
    "less than a double": (b"[1e-400,1e-16383]", b'["1e-400","1e-16383"]'),
    "the greatest numeric": (b"[1e131071]", b'["1e131071"]'),
    "nine thousand of the greatest numeric": (
        b"[" + b"1e131071," * 8_999 + b"1e131071]",
        b"[" + b'"1e131071",' * 8_999 + b'"1e131071"]',
    ),
    "an exponent beyond all": (b"[1e99999999999]", b'["1e99999999999"]'),
    "a zero with a far exponent": (b"[0e-20000,0e131072]", b'["0e-20000","0e131072"]'),
    "101 digits": (b"[" + b"7" * 101 + b"]", b'["' + b"7" * 101 + b'"]'),
    "101 digits, one before the point": (b"[0." + b"7" * 100 + b"]", b'["0.' + b"7" * 100 + b'"]'),
    "400 digits": (b'{"n":-' + b"1" * 400 + b"}", b'{"n":"-' + b"1" * 400 + b'"}'),
    "a megabyte of digits": (b"[" + b"1" * 1_000_000 + b"]", b'["' + b"1" * 1_000_000 + b'"]'),
    "control characters, plain": (b'["' + _RAW_CONTROLS + b'"]', b'["' + _MENDED_CONTROLS + b'"]'),
    "a control character after a long string": (b'["' + b"x" * 5_000 + b'\x01"]', b'["' + b"x" * 5_000 + b'\\u0001"]'),
    "NUL, plain": (b'["a\x00b"]', b'["a\\ufffdb"]'),
    "a byte order mark before it": (b"\xef\xbb\xbf[1]", b"[1]"),
    "513 arrays deep": (b"[" * 513 + b"]" * 513, None),
    "513 objects deep": (b'{"a":' * 512 + b"{}" + b"}" * 512, None),
    "a hundred thousand brackets": (b"[" * 100_000 + b"]" * 100_000, None),
    "ten thousand objects and a NUL": (b'{"a":' * 10_000 + b'"\\u0000"' + b"}" * 10_000, None),
}  # fmt: skip

# Documents in bytes that are not UTF-8: a string of JSON cannot hold them.
NOT_UTF8: dict[str, tuple[bytes, bytes]] = {
    "a stray byte": (b'["a\xffb"]', b'["a\\ufffdb"]'),
    "Latin-1": (b'["caf\xe9"]', b'["caf\\ufffd"]'),
    "a sequence cut short": (b'["\xe2\x82"]', b'["\\ufffd"]'),
    "a surrogate in UTF-8": (b'["' + SURROGATE + b'"]', b'["\\ufffd\\ufffd\\ufffd"]'),
    "an overlong NUL": (b'["\xc0\x80"]', b'["\\ufffd\\ufffd"]'),
    "an overlong slash": (b'["\xe0\x80\xaf"]', b'["\\ufffd\\ufffd\\ufffd"]'),
    "beyond Unicode": (b'["\xf4\x90\x80\x80"]', b'["\\ufffd\\ufffd\\ufffd\\ufffd"]'),
    "a key that is not UTF-8": (b'{"\xff":1}', b'{"\\ufffd":1}'),
}

# What no grammar allows. A source that sends it breaks its record; in a string it is text, packed it is too.
NOT_JSON: tuple[bytes, ...] = (
    b"{", b"[1,]", b'{"a":1,}', b"[1 2]", b"{1:2}", b'{"a"}', b"{'a':1}", b"{a:1}", b"[01]", b"[-01]", b"[1.]",
    b"[.5]", b"[+1]", b"[-]", b"[0x10]", b"[1e]", b"[1_000]", b"[nul]", b"[True]", b"[undefined]", b"[infinity]",
    b"[nan]", b'["\\x41"]', b'["\\u12"]', b'["\\u+123"]', b'["\\"]', b'["a]', b"[1]]", b"[1}", b"{}{}", b"[1] x",
    b"[1];", b"// x\n[1]", b"[1/*x*/]", b"[1,,2]", b"[,1]", b'{"a":}', b"{:1}", b'{"a"::1}', b"[\x0c1]", b"[\x0b1]",
    b"[\xc2\xa01]", b"[\xe2\x80\xa81]", b"[1\xef\xbb\xbf]", b"[" * 100_000, b"[" * 100_000 + b"}" * 100_000,
    b"[1]\x00", b"[\x00]",
)  # fmt: skip

# Strings that stay what they are.
WORDS: tuple[str, ...] = (
    "deadbeef", "cafe", "word", "admin123", "Success00000", "123456789012", "000123", "1e5", "17", "1.50", "-0", "true",
    "null", "NaN", "Infinity", '"17"', '"quoted"', '"', "'", " ", "\t\n", "i-0663d3f3e572608d5", "0x1f8b08",
    "d41d8cd98f00b204e9800998ecf8427e", "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    "6f9619ff-8b86-d011-b42d-00cf4fc964ff", "arn:aws:iam::123456789012:role/x", "H4sIAAAA!", "eJw=", "eAE=",
    "aGVsbG8gd29ybGQ=", "MTc=", "dHJ1ZQ==", "bnVsbA==", "IndvcmQi", "x" * 3_000_000, "=" * 1000, "[", "{", "{}x",
    "[not json", "{'a': 1}", "a\uffffb", "\ufeff", "\u2028", "\x01\x1f", "\\u0000", "é😀", "eyJhIjox.eyJhIjox.c2ln",
    "\ufffd", "-----BEGIN X-----",
)  # fmt: skip

BROKEN: dict[str, bytes] = {
    "gzip cut short": gzip.compress(b'{"a":1}')[:-3],
    "gzip cut in the middle": gzip.compress(b'{"a":1}' * 500)[:30],
    "a gzip header alone": b"\x1f\x8b\x08",
    "gzip with a wrong checksum": gzip.compress(b'{"a":1}')[:-8] + b"\0" * 8,
    "gzip and rubbish after it": gzip.compress(b'{"a":1}') + b"rubbish",
    "gzip with a reserved block": b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xff\xff\xff",
    "gzip of what is not UTF-8": gzip.compress(b'["\xff"]'),
    "gzip of a surrogate in UTF-8": gzip.compress(b'["' + SURROGATE + b'"]'),
    "gzip of UTF-16": gzip.compress('{"a":1}'.encode("utf-16")),
    "zlib of what is not UTF-8": zlib.compress(b'["\xff"]'),
    "gzip of broken gzip": gzip.compress(quoted(b64(gzip.compress(b"{}")[:-1]))),
}


def animals() -> Iterator[Animal]:
    """The whole zoo."""
    yield Animal("nothing sent", b"null", "absent", None)
    yield Animal("an empty string", b'""', "absent", None)
    for scalar in (b"0", b"-0", b"1.50", b"true", b"false", b"5e-324", b"9" * 100):
        yield Animal(f"the scalar {scalar[:20].decode()}", scalar, "decoded", scalar)
    for name, sent in HARMLESS.items():
        yield from _in_every_form(name, sent, "decoded", sent)
    for name, (sent, mended) in UNSAFE.items():
        yield from _in_every_form(name, sent, "unsafe", mended)
    for name, (sent, mended) in NOT_UTF8.items():
        yield Animal(name, sent, "unsafe", mended, sent)
        yield _text(f"{name}, in base64", b64(sent))
    for number, sent in enumerate(NOT_JSON):
        name = f"not JSON {number}: {sent[:20]!r}"
        yield Animal(name, sent, "undecodable", None, sent)
        if b"\x00" not in sent:
            yield _text(f"{name}, in a string", sent)
        yield _text(f"{name}, in base64", b64(sent))
        yield _text(f"{name}, packed", gz(sent))
    for word in WORDS:
        yield _text(f"the text {word[:40]!r}", word.encode())
    for name, data in BROKEN.items():
        yield Animal(name, b'"' + b64(data) + b'"', "undecodable", None, b64(data))
    yield from _strings()
    yield from _layers()
    yield from _bombs()


def _in_every_form(name: str, sent: bytes, state: str, stored: bytes | None) -> Iterator[Animal]:
    """Plain, in a string, in base64 and packed: it is the same document each time."""
    forms: dict[str, Callable[[bytes], bytes]] = {
        "in a string": bytes,
        "in base64": b64,
        "in base64 without padding": lambda data: b64(data).rstrip(b"="),
        "in the URL alphabet": base64.urlsafe_b64encode,
        "packed": gz,
        "in zlib": lambda data: b64(zlib.compress(data)),
    }
    is_kept = state == "unsafe"
    yield Animal(name, sent, state, stored, sent if is_kept else None)
    for form, wrap in forms.items():
        text = wrap(sent)
        yield Animal(f"{name}, {form}", quoted(text), state, stored, text if is_kept else None)


def _text(name: str, content: bytes) -> Animal:
    return Animal(name, quoted(content), "text", quoted(content))


def _strings() -> Iterator[Animal]:
    """Text that jsonb refuses; its original is kept as a string's content if that is UTF-8."""
    yield Animal("a text with NUL", b'"a\\u0000b"', "unsafe", b'"a\\ufffdb"', b"a\x00b")
    yield Animal("a text that is NUL", b'"\\u0000"', "unsafe", b'"\\ufffd"', b"\x00")
    yield Animal("a text with a lone surrogate", b'"a\\ud800"', "unsafe", b'"a\\ufffd"', b'"a\\ud800"')
    yield Animal("a text that is not UTF-8", b'"a\xff"', "unsafe", b'"a\\ufffd"', b'"a\xff"')
    yield Animal("a text with a plain line end", b'"a\nb"', "unsafe", b'"a\\nb"', b"a\nb")


def _layers() -> Iterator[Animal]:
    """At most three layers are taken off; what is left then is a string."""
    document = b'{"a": [1.50, "\\u00e9"]}'
    yield Animal("three layers packed", quoted(gz(quoted(gz(quoted(gz(document)))))), "decoded", document)
    third = quoted(gz(document))
    yield Animal("four layers packed", quoted(gz(quoted(gz(quoted(gz(third)))))), "decoded", third)
    yield Animal("quoted three times", quoted(quoted(quoted(document))), "decoded", document)
    yield _text("quoted four times", quoted(quoted(quoted(document))))
    yield Animal("packed, quoted, in base64", quoted(b64(quoted(gz(document)))), "decoded", document)
    for scalar in (b"17", b"null", b"true", b'"word"', b'""'):
        yield Animal(f"{scalar.decode()} packed", quoted(gz(scalar)), "decoded", scalar)
    yield _text("words packed", gz(b"hello world"))
    yield _text("nothing packed", gz(b""))
    yield _text("zlib cut short", b64(zlib.compress(b"{}")[:-1]))
    parts = gzip.compress(document[:7]) + gzip.compress(document[7:])
    yield Animal("gzip in two members", b'"' + b64(parts) + b'"', "decoded", document)
    lines = base64.encodebytes(gzip.compress(document + b" " * 200, compresslevel=0))
    yield Animal("packed, in lines", quoted(lines), "decoded", document)


def _bombs() -> Iterator[Animal]:
    """More than the limit, once it is open."""
    yield Animal("a document over the limit", b'["' + b"x" * LIMIT + b'"]', "too_large", None)
    yield Animal("a text over the limit", b'"' + b"x" * (LIMIT + 1) + b'"', "too_large", None)
    bomb = gz(b"[" + b" " * (50 * LIMIT) + b"]")
    yield Animal("a gzip bomb", quoted(bomb), "too_large", None, bomb)
    nested = gz(quoted(bomb))
    yield Animal("a bomb in a bomb", quoted(nested), "too_large", None, nested)
