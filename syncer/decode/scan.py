"""A scanner for JSON that a strict parser refuses: deep nesting, lone surrogates, NaN, control characters.

Invariant: it never recurses and holds no more than the brackets that are open, so hostile depth costs nothing
but time. It knows spans of bytes and the grammar; it builds no values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

BOM = b"\xef\xbb\xbf"
STRING = rb'"(?:[^"\\]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"'
NUMBER = rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?"
NOT_FINITE = rb"NaN|-?Infinity"

_BLANK = re.compile(rb"[ \t\n\r]*+")
_START = re.compile(rb"(?:" + BOM + rb")?[ \t\n\r]*+(.?)", re.DOTALL)
_TOKEN = re.compile(
    rb"([\[\]{},:])|(" + STRING + rb")|(?:true|false|null|" + NOT_FINITE + rb"|" + NUMBER + rb")"
)

# What may come next, as the kinds of token: the marks themselves, s for a string, v for another scalar.
_VALUE, _VALUE_OR_END, _KEY, _KEY_OR_END, _COLON, _NOTHING = "[{sv", "[{sv]", "s", "s}", ":", ""
_AFTER_VALUE = {"[": ",]", "{": ",}"}


class Token(NamedTuple):
    kind: str
    start: int
    end: int
    level: int  # containers open around it; a bracket counts as inside its container
    is_key: bool


def tokens(raw: bytes) -> Iterator[Token]:
    """Every token of one JSON text; ValueError where the grammar is broken or the text ends early."""
    opened: list[str] = []
    expected = _VALUE
    at = _skip_blank(raw, len(BOM) if raw.startswith(BOM) else 0)
    while at < len(raw):
        found = _TOKEN.match(raw, at)
        kind = _kind(found)
        if found is None or kind not in expected:
            raise ValueError(f"not JSON: something unexpected at byte {at}")
        if kind in "[{":
            opened.append(kind)
        yield Token(kind, at, found.end(), len(opened), expected in (_KEY, _KEY_OR_END) and kind == "s")
        if kind in "]}":
            opened.pop()
        expected = _next(kind, expected, opened)
        at = _skip_blank(raw, found.end())
    if expected != _NOTHING:
        raise ValueError("not JSON: it ends early")


def members(raw: bytes) -> list[tuple[bytes, bytes]]:
    """The direct members of the outermost container: (key, value) as sent; the key is b"" in an array."""
    found: list[tuple[bytes, bytes]] = []
    key, start, end = b"", -1, -1
    for token in tokens(raw):
        if token.level == 0:
            raise ValueError("neither an object nor an array")
        if token.level == 1 and token.kind in ",]}":
            if start >= 0:
                found.append((key, raw[start:end]))
            key, start = b"", -1
        elif token.level == 1 and token.is_key:
            key = raw[token.start : token.end]
        elif start < 0 and token.kind != ":" and (token.level > 1 or token.kind in "sv"):
            start = token.start
        end = token.end
    return found


def is_json(raw: bytes) -> bool:
    try:
        for _ in tokens(raw):
            pass
    except ValueError:
        return False
    return True


def first(raw: bytes) -> bytes:
    """The first character that says what kind of JSON this is; b"" when there is none."""
    found = _START.match(raw)
    return found[1] if found else b""


def _skip_blank(raw: bytes, at: int) -> int:
    found = _BLANK.match(raw, at)
    return found.end() if found else at


def _kind(found: re.Match[bytes] | None) -> str:
    if found is None:
        return ""
    if found[1]:
        return found[1].decode()
    return "s" if found[2] else "v"


def _next(kind: str, expected: str, opened: list[str]) -> str:
    if kind == "[":
        return _VALUE_OR_END
    if kind == "{":
        return _KEY_OR_END
    if kind == ":":
        return _VALUE
    if kind == ",":
        return _KEY if opened[-1] == "{" else _VALUE
    if kind == "s" and expected in (_KEY, _KEY_OR_END):
        return _COLON
    return _AFTER_VALUE[opened[-1]] if opened else _NOTHING
