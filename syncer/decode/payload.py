"""A step's input or output: taken apart, checked, redacted.

Invariant: `decode_payload` never raises, whatever the bytes, and never holds more than about twice `limit` of
decoded bytes. A string is only taken for something else where nothing can be confused; all others stay text.
Knows no platform: what a source sends in this or that field is told by the value alone.
"""

from __future__ import annotations

import json
from typing import NamedTuple

import msgspec

from syncer.decode import jsonb, packed
from syncer.decode.jsonb import Safety
from syncer.decode.redact import Redactor
from syncer.decode.scan import BOM, first

LAYERS = 3

_TEXT = msgspec.json.Decoder(str)


class Payload(msgspec.Struct, frozen=True):
    """What lands in step_io. `state` is decoded, text, absent, unsafe, undecodable or too_large."""

    value: bytes | None  # JSON text that jsonb holds
    state: str
    size: int | None = None  # bytes once decoded; None when not known
    raw: bytes | None = None  # as it came; a string without its quotes
    redacted_paths: tuple[str, ...] = ()  # JSON Pointers into value


ABSENT = Payload(None, "absent")


class _TooLarge(OverflowError):
    """Too large, and how large is known: nothing had to be inflated to tell."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


class _Layer(NamedTuple):
    text: bytes  # JSON
    safety: Safety
    inflated: bool


def decode_payload(value: bytes | None, *, limit: int, redactor: Redactor) -> Payload:
    """The payload in a field whose JSON text is `value`; None when the field was not sent."""
    if value is None or value.strip() in (b"null", b'""'):
        return ABSENT
    layers: list[bytes] = [value]  # each as it was before it was opened
    try:
        if first(value) != b'"':
            return _stored(value, jsonb.check(_within(value, limit)), layers, redactor)
        found = _take_apart(value, limit, layers)
        if found is not None:
            return _stored(found.text, found.safety, layers, redactor)
        _within(layers[1], limit)
        return _stored(value, jsonb.check(value), layers, redactor, is_text=True)
    except OverflowError as error:
        size = error.size if isinstance(error, _TooLarge) else None
        raw = _as_sent(layers)
        return Payload(None, "too_large", size, _kept(raw, layers, redactor) if len(raw) <= limit else None)
    except ValueError:
        return Payload(None, "undecodable", None, _kept(_as_sent(layers), layers, redactor))


def _take_apart(value: bytes, limit: int, layers: list[bytes]) -> _Layer | None:
    """The innermost document in a string; None when it is text."""
    inflated: _Layer | None = None
    for _ in range(LAYERS):
        content = _content(value)
        layers.append(content)
        layer = _open(content, limit)
        if layer is None:
            break
        if first(layer.text) != b'"':
            return layer
        inflated = layer if layer.inflated else inflated
        value = layer.text
    return inflated


def _open(content: bytes, limit: int) -> _Layer | None:
    """One layer: a document in a string, as it is, in base64, or packed. None when it is none of these."""
    if first(content) in (b"{", b"[", b'"'):
        return _document(content, limit)
    data = packed.unbase64(content)
    if data is None:
        return None
    if packed.is_packed(data):
        return _unpacked(data, limit)
    return _document(data, limit) if first(data) in (b"{", b"[", b'"') and _is_utf8(data) else None


def _unpacked(data: bytes, limit: int) -> _Layer | None:
    try:
        text = packed.inflate(data, limit)
    except ValueError:
        # Two bytes look like zlib often enough by chance, three like gzip never.
        if data.startswith(packed.GZIP):
            raise
        return None
    safety = jsonb.check(text)
    if safety is not Safety.SAFE and not _is_utf8(text):
        raise ValueError("what it inflates to is not UTF-8")
    return None if safety is Safety.NOT_JSON else _Layer(text, safety, inflated=True)


def _document(text: bytes, limit: int) -> _Layer | None:
    if first(text) != b'"':
        _within(text, limit)  # too large as a document or as text: no need to know which
    safety = jsonb.check(text)
    return None if safety is Safety.NOT_JSON else _Layer(text, safety, inflated=False)


def _stored(
    text: bytes, safety: Safety, layers: list[bytes], redactor: Redactor, *, is_text: bool = False
) -> Payload:
    size = len(layers[1] if is_text else text)
    if safety is Safety.SAFE:
        clean, paths = redactor.json(text)
        return Payload(clean, "text" if is_text else "decoded", size, None, paths)
    if safety is Safety.NOT_JSON:
        raise ValueError("not JSON")
    mended = jsonb.mended(text) if safety is Safety.REPAIRABLE else None
    raw = _kept(_as_sent(layers), [*layers, text], redactor)
    if mended is None:
        return Payload(None, "unsafe", size, raw)
    clean, paths = redactor.json(mended)
    return Payload(clean, "unsafe", size, raw, paths)


def _kept(raw: bytes, layers: list[bytes], redactor: Redactor) -> bytes | None:
    """What came, unless an entry of redact_keys occurs in any layer of it."""
    opened = layers[1:] or layers  # the first, where it was opened, is the second in quotes
    return raw if all(redactor.raw(layer) is not None for layer in opened) else None


def _as_sent(layers: list[bytes]) -> bytes:
    """A string's content where it is UTF-8, ready for use; else the JSON text of the field."""
    return layers[1] if len(layers) > 1 and _is_utf8(layers[1]) else layers[0]


def _content(value: bytes) -> bytes:
    """What stands in a JSON string, lone surrogates as three bytes that are not UTF-8."""
    value = value.removeprefix(BOM).strip(b" \t\r\n")
    if b"\\" not in value:
        if len(value) < 2 or not value.endswith(b'"'):
            raise ValueError("not a JSON string")
        return value[1:-1]
    try:
        return _TEXT.decode(value).encode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        text: str = json.loads(value.decode(errors="replace"), strict=False)
        return text.encode(errors="surrogatepass")


def _within(text: bytes, limit: int) -> bytes:
    if len(text) > limit:
        raise _TooLarge(len(text))
    return text


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
