"""base64, and gzip or zlib in it, opened without trusting its size.

Invariant: no function holds more inflated bytes than it was allowed, however many there are to come.
Of JSON it knows only what objects and arrays look like in base64.
"""

from __future__ import annotations

import binascii
import gzip
import io
import re
import zlib
from collections.abc import Iterator

from isal import isal_zlib

from syncer.decode.needles import Needles

GZIP = b"\x1f\x8b\x08"
_EITHER = 47  # zlib's own sign for "gzip or zlib, as the header says"
# One byte inflates to about a kilobyte at most, so a piece never makes more than 64 KB.
_PIECE = 64
_GATHER = 64 * 1024

_STANDARD = bytes.maketrans(b"-_", b"+/")
# What gzip and zlib headers look like in base64, wherever they stand in a text; and {" [{ [" and laid-out JSON.
_HEADS = rb"H4sI|eJ|eN|eA|eF|ey[AIJ]|ew[0o]|W3s|WyJ|Ww[0o]"
_EMBEDDED = re.compile(rb"(?<![A-Za-z0-9+/])(?:" + _HEADS + rb")[A-Za-z0-9+/_\r\n-]{8,}+")
# The shorter heads count at the start of a string alone.
WORTH_A_LOOK = Needles([b"H4sI", b"eyJ", *(b'"' + head for head in (b"eJ eN eA eF ew W3 Wy Ww".split()))])
# JSON in which base64 is still escaped: line ends, slashes, and + and / as careful encoders write them.
_ESCAPE = re.compile(rb"\\(?:([nr])|(/)|u00(2[bBfF]))")


def unbase64(text: bytes) -> bytes | None:
    """What this text stands for, in the standard or the URL alphabet, padded or not; None if nothing."""
    padded = text + b"=" * (-len(text) % 4)
    try:
        return binascii.a2b_base64(padded, strict_mode=True)
    except binascii.Error:
        pass
    compact = text.translate(_STANDARD, b"\r\n")
    if compact == text:
        return None
    try:
        return binascii.a2b_base64(compact + b"=" * (-len(compact) % 4), strict_mode=True)
    except binascii.Error:
        return None


def is_packed(data: bytes) -> bool:
    """Whether it begins like gzip or zlib (RFC 1950: deflate, no dictionary, a check that divides by 31)."""
    if data.startswith(GZIP):
        return True
    return len(data) > 2 and data[0] & 0x8F == 8 and not data[1] & 0x20 and (data[0] << 8 | data[1]) % 31 == 0


def inflate(data: bytes, limit: int) -> bytes:
    """All of it, members of a concatenated gzip file included. OverflowError when it is more than `limit`;
    ValueError when it does not inflate to its end, which must be the end of the data as well."""
    stream = isal_zlib.decompressobj(_EITHER)
    try:
        found = stream.decompress(data, limit + 1)
        if stream.unused_data and data.startswith(GZIP):
            del found
            return _members(data, limit)
    except (isal_zlib.error, zlib.error, OSError, EOFError):  # type: ignore[misc]  # isal's stubs take it for a value
        raise ValueError("it does not inflate to its end") from None
    if len(found) > limit:
        raise OverflowError("it inflates beyond the limit")
    if not stream.eof or stream.unused_data:
        raise ValueError("it does not inflate to its end")
    return found


def _members(data: bytes, limit: int) -> bytes:
    found = bytearray()
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        while piece := file.read(_GATHER):
            found += piece
            if len(found) > limit:
                raise OverflowError("it inflates beyond the limit")
    return bytes(found)


def inflated(data: bytes) -> Iterator[bytes]:
    """What inflates, in pieces of 64 KB, up to where it ends or breaks."""
    gathered = bytearray()
    for piece in _pieces(data):
        gathered += piece
        while len(gathered) >= _GATHER:
            yield bytes(gathered[:_GATHER])
            del gathered[:_GATHER]
    yield bytes(gathered)


def may_hold(text: bytes) -> bool:
    """Whether a JSON text is worth a look."""
    return WORTH_A_LOOK.occur_in(text)


def embedded(text: bytes) -> Iterator[bytes]:
    """Every stretch of base64 inside a text that is packed or looks like JSON, decoded but not inflated."""
    if b"\\" in text:
        text = _ESCAPE.sub(_unescaped, text)
    for found in _EMBEDDED.finditer(text):
        run = found[0].translate(_STANDARD, b"\r\n")
        data = binascii.a2b_base64(run[: len(run) // 4 * 4])
        if data[:1] in (b"{", b"[") or is_packed(data):
            yield data


def _unescaped(escape: re.Match[bytes]) -> bytes:
    return b"\n" if escape[1] else b"/" if escape[2] else bytes((int(escape[3], 16),))


def _pieces(data: bytes) -> Iterator[bytes]:
    stream = zlib.decompressobj(_EITHER)
    at = 0
    while at < len(data):
        before = stream.copy()
        piece = data[at : at + _PIECE]
        try:
            yield stream.decompress(piece)
        except zlib.error:
            yield from _up_to_the_fault(before, piece)
            return
        at += len(piece) - len(stream.unused_data)
        if stream.eof:
            stream = zlib.decompressobj(_EITHER)


def _up_to_the_fault(stream: zlib._Decompress, piece: bytes) -> Iterator[bytes]:
    """zlib throws away what it made of a piece when the piece turns out broken; byte by byte it does not."""
    for byte in piece:
        try:
            yield stream.decompress(bytes((byte,)))
        except zlib.error:
            return
