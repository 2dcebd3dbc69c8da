"""A scanner for JSON that a strict parser refuses: deep nesting, lone surrogates, NaN, control characters.

Invariant: it never recurses and holds no more than the brackets that are open, so hostile depth costs nothing
but time. It knows spans of bytes and the grammar; it builds no values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

BOM = b"\xef\xbb\xbf"
STRING = rb'"(?:[^"\\]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"'
NUMBER = rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?"
NOT_FINITE = rb"NaN|-?Infinity"

_START = re.compile(rb"(?:" + BOM + rb")?[ \t\n\r]*+(.?)", re.DOTALL)
_TOKEN = re.compile(
    rb"[ \t\n\r]*+(?:([\[\]{},:])|(" + STRING + rb")|(true|false|null|" + NOT_FINITE + rb"|" + NUMBER + rb"))"
)
_END = re.compile(rb"[ \t\n\r]*+\Z")

# What may come next, as the kinds of token: the marks themselves, s for a string, v for another scalar.
_VALUE, _VALUE_OR_END, _KEY, _KEY_OR_END, _COLON, _NOTHING = "[{sv", "[{sv]", "s", "s}", ":", ""
_AFTER_VALUE = {"[": ",]", "{": ",}"}
_AFTER_COMMA = {"[": _VALUE, "{": _KEY}
_AFTER_MARK = {"[": _VALUE_OR_END, "{": _KEY_OR_END, ":": _VALUE}

# Kind, start, end; containers open around it, a bracket counting as inside its own; whether it is a key.
Token = tuple[str, int, int, int, bool]


def tokens(raw: bytes) -> Iterator[Token]:
    """Every token of one JSON text; ValueError where the grammar is broken or the text ends early."""
    opened: list[str] = []
    expected = _VALUE
    at = len(BOM) if raw.startswith(BOM) else 0
    while found := _TOKEN.match(raw, at):
        group = found.lastindex or 0
        start, at = found.span(group)
        kind = chr(raw[start]) if group == 1 else "s" if group == 2 else "v"
        if kind not in expected:
            raise ValueError(f"not JSON: something unexpected at byte {start}")
        if kind in "[{":
            opened.append(kind)
        is_key = expected in (_KEY, _KEY_OR_END) and kind == "s"
        yield kind, start, at, len(opened), is_key
        if kind in "]}":
            opened.pop()
        expected = _COLON if is_key else _next(kind, opened)
    if not _END.match(raw, at):
        raise ValueError(f"not JSON: something unexpected at byte {at}")
    if expected != _NOTHING:
        raise ValueError("not JSON: it ends early")


def members(raw: bytes) -> list[tuple[bytes, bytes]]:
    """The direct members of the outermost container: (key, value) as sent; the key is b"" in an array."""
    if first(raw) not in (b"{", b"["):
        raise ValueError("not JSON: neither an object nor an array")
    found: list[tuple[bytes, bytes]] = []
    key, begun, ended = b"", -1, -1
    for kind, start, end, level, is_key in tokens(raw):
        if level == 1 and kind in ",]}":
            if begun >= 0:
                found.append((key, raw[begun:ended]))
            key, begun = b"", -1
        elif level == 1 and is_key:
            key = raw[start:end]
        elif begun < 0 and (level > 1 or kind in "sv"):
            begun = start
        ended = end
    return found


def is_json(raw: bytes) -> bool:
    """Whether the grammar holds, however deep."""
    try:
        for _ in tokens(raw):
            pass
    except ValueError:
        return False
    return True


def has_escape(raw: bytes) -> bool:
    r"""Whether \u occurs. One byte is found much faster than two, and most texts do not hold even that."""
    return b"\\" in raw and b"\\u" in raw


def first(raw: bytes) -> bytes:
    """The first character that says what kind of JSON this is; b"" when there is none."""
    found = _START.match(raw)
    return found[1] if found else b""


def _next(kind: str, opened: list[str]) -> str:
    if kind == ",":
        return _AFTER_COMMA[opened[-1]]
    if kind in _AFTER_MARK:
        return _AFTER_MARK[kind]
    return _AFTER_VALUE[opened[-1]] if opened else _NOTHING
