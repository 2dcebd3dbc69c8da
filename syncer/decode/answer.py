"""A source's answer, taken apart into the JSON texts of its records.

Invariant: what comes out is copied from the body as sent, byte for byte, and holds no reference to it.
The shape of the envelope is told apart here; what a record means is not known. A ValueError never quotes
the body.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from syncer.decode.scan import first, members

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Listing:
    total: int | None  # what the source says there is; None where it does not, or not as a number
    items: list[bytes]


def parse_items(body: bytes, *, items: str = "items", total: str = "total") -> Listing:
    """The records of a list, from {total, items}, {"data": [...]}, {"data": {total, items}} or a bare array.
    A null in the place of the list is an empty one. ValueError where there is no list, or no JSON."""
    if first(body) == b"[":
        return Listing(None, _array(body))
    fields = _object(body)  # msgspec.Raw values: views of the body, bytes to the type checker
    told = fields.get(total)
    if items not in fields and first(fields.get("data", b"")) == b"{":
        fields = _object(fields["data"])
        told = fields.get(total, told)
    found = fields.get(items, fields.get("data", b""))
    if first(found) not in (b"[", b"n"):
        raise ValueError(f"the answer holds no list of {items}")
    return Listing(_number(told), _array(found) if first(found) == b"[" else [])


def parse_object(body: bytes) -> bytes:
    """One record: the object itself, or the one that `data` wraps. ValueError when it is neither."""
    fields = _object(body)
    wrapped = first(fields.get("data", b"")) == b"{" and "id" not in fields
    return bytes(fields["data"]) if wrapped else body


def _object(body: bytes) -> Mapping[str, bytes]:
    if first(body) != b"{":
        raise ValueError("the answer is neither object nor list" if first(body) else "the answer is empty")
    try:
        return _OBJECT.decode(body)
    except _UNREADABLE:
        return {key[1:-1].decode(errors="replace"): value for key, value in members(bytes(body))}


def _array(body: bytes) -> list[bytes]:
    try:
        return [bytes(item) for item in _ARRAY.decode(body)]
    except _UNREADABLE:
        return [item for _, item in members(bytes(body))]


def _number(raw: bytes | None) -> int | None:
    digits = b"" if raw is None else bytes(raw).strip(b'" ')
    return int(digits) if digits.isdigit() and len(digits) < 19 else None
