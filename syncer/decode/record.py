"""One JSON object of a source's answer, taken field by field; what nobody took is `extra`.

Invariant: nothing is lost. Every field is taken, or dropped as a repetition, or stands in `extra()` as sent;
a field of a type nobody expected counts as not taken. Knows no field names and no platform.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from syncer.decode import jsonb, scan
from syncer.decode.text import repair
from syncer.decode.times import from_epoch_ms, from_iso
from syncer.errors import RecordError

LONGEST_ID = 512
_BIGINT = range(-(2**63), 2**63)
_WHOLE = re.compile(rb"-?[0-9]+")
_FINER = re.compile(rb"[.,][0-9]{6}[0-9]*[1-9]")
_TOO_DEEP = b'"[nested too deeply to be stored]"'

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)
_VALUES = msgspec.json.Decoder(list[msgspec.Raw])
_TEXTS = msgspec.json.Decoder(tuple[str, ...])
_NUMBER = msgspec.json.Decoder(int | float)
_BOOLEAN = msgspec.json.Decoder(bool)

T = TypeVar("T")


class Record:
    """The methods named after a type take a field: UNSET when the answer does not carry it, None when it is
    null or not of that type (then it stays for `extra`). `column` is where it goes, if not called alike."""

    def __init__(self, fields: dict[str, msgspec.Raw]) -> None:
        self._fields = fields
        self._children: dict[str, Record] = {}
        self._repaired: list[str] = []

    @classmethod
    def parse(cls, raw: bytes) -> Record:
        """RecordError unless it is a JSON object; of a key sent twice the last counts."""
        if scan.first(raw) != b"{":
            raise RecordError("the record is not a JSON object")
        try:
            return cls(_OBJECT.decode(raw))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        try:
            return cls({_lenient_string(key): msgspec.Raw(value) for key, value in scan.members(raw)})
        except ValueError:
            raise RecordError("the record is not JSON") from None

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def text(self, name: str, *, column: str | None = None) -> str | UnsetType | None:
        value = self._take(name, _string)
        return self._mended(value, column or name) if isinstance(value, str) else value

    def integer(self, name: str) -> int | UnsetType | None:
        """A whole number that bigint holds."""
        return self._take(name, _integer)

    def boolean(self, name: str) -> bool | UnsetType | None:
        return self._take(name, _boolean)

    def time_ms(self, name: str) -> datetime | UnsetType | None:
        """Milliseconds since 1970, as a number or as digits in quotes."""
        return self._take(name, _time_ms)

    def time_iso(self, name: str) -> datetime | UnsetType | None:
        """An RFC 3339 time; one that is finer than a microsecond stays for `extra` as sent, too."""
        raw = self._fields.get(name)
        value = self._take(name, _time_iso)
        if raw is not None and isinstance(value, datetime) and _FINER.search(bytes(raw)):
            self._fields[name] = raw
        return value

    def strings(self, name: str, *, column: str | None = None) -> tuple[str, ...] | UnsetType | None:
        values = self._take(name, _strings)
        if isinstance(values, tuple):
            return tuple(self._mended(value, column or name) for value in values)
        return values

    def array(self, name: str) -> list[bytes] | UnsetType | None:
        """The JSON texts of an array's values, exactly as sent."""
        return self._take(name, _array)

    def json(self, name: str, *, column: str | None = None) -> bytes | UnsetType | None:
        """Any value as JSON text that jsonb holds, mended where it must be. Payloads are taken with `raw`."""
        value = self._take(name, bytes)
        if not isinstance(value, bytes):
            return value
        text = _storable(value)
        if text is not value:
            self._repaired.append(column or name)
        return _TOO_DEEP if text is None else text

    def raw(self, name: str) -> bytes | UnsetType:
        """The JSON text of a field exactly as sent, null included."""
        value = self._fields.pop(name, None)
        return UNSET if value is None else bytes(value)

    def record(self, name: str) -> Record | UnsetType | None:
        """An object inside this one; what is not taken from it stands in our `extra` under this name."""
        child = self._take(name, lambda raw: Record.parse(bytes(raw)))
        if isinstance(child, Record):
            self._children[name] = child
        return child

    def identity(self, *names: str) -> str:
        """The first of these fields that can be a key: a text of 1 to 512 bytes, or a whole number."""
        reasons = []
        for name in names:
            try:
                value = _identity(self._fields.get(name))
            except RecordError as error:
                reasons.append(f"{name} {error.message}")
                continue
            del self._fields[name]
            return value
        raise RecordError("no usable identity: " + ", ".join(reasons))

    def drop(self, name: str, *, equal_to: str | int | bool | datetime | None) -> None:
        """Forget a field that only repeats what is known; one that says anything else stays for `extra`."""
        raw = self._fields.get(name)
        if raw is not None and _says(raw, equal_to):
            del self._fields[name]

    def rest(self) -> bytes:
        """What was not taken, as a JSON object of values as sent: it may hold what jsonb does not."""
        return msgspec.json.encode({repair(name): value for name, value in self._fields.items()})

    def extra(self) -> bytes | None:
        """What was not taken, as a JSON object that jsonb holds; None when there is nothing. Its `_repaired`
        names the columns whose text had to be mended."""
        rest, repaired = self.left_over()
        if repaired:
            rest["_repaired"] = msgspec.Raw(msgspec.json.encode(sorted(set(repaired))))
        return msgspec.json.encode(rest) if rest else None

    def left_over(self) -> tuple[dict[str, msgspec.Raw], list[str]]:
        """The fields not taken, fit for jsonb, and the columns mended here and further inside."""
        rest: dict[str, msgspec.Raw] = {}
        repaired = list(self._repaired)
        for name, value in self._fields.items():
            key, text = repair(name), _storable(bytes(value))
            if key is not name or text is None or text != bytes(value):
                repaired.append("extra")
            rest[key] = msgspec.Raw(_TOO_DEEP if text is None else text)
        for name, child in self._children.items():
            inner, mended = child.left_over()
            repaired += mended
            if inner:
                rest[name] = msgspec.Raw(msgspec.json.encode(inner))
        return rest, repaired

    def _take(self, name: str, read: Callable[[msgspec.Raw], T]) -> T | UnsetType | None:
        raw = self._fields.get(name)
        if raw is None:
            return UNSET
        try:
            value = None if bytes(raw) == b"null" else read(raw)
        except (msgspec.DecodeError, ValueError, RecordError):
            return None
        del self._fields[name]
        return value

    def _mended(self, text: str, column: str) -> str:
        clean = repair(text)
        if clean is not text:
            self._repaired.append(column)
        return clean


def _storable(raw: bytes) -> bytes | None:
    """The text itself when jsonb holds it, else a mended copy; None when there can be none."""
    return raw if jsonb.check(raw) is jsonb.Safety.SAFE else jsonb.repair(raw)


def _string(raw: bytes | msgspec.Raw) -> str:
    try:
        return _TEXT.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _lenient_string(bytes(raw))


def _lenient_string(raw: bytes) -> str:
    """A string with lone surrogates, control characters or bytes that are not UTF-8."""
    if not raw.startswith(b'"'):
        raise ValueError("not a string")
    value: str = json.loads(raw.decode(errors="replace"), strict=False)
    return value


def _integer(raw: msgspec.Raw) -> int:
    value = int(bytes(raw)) if _WHOLE.fullmatch(bytes(raw)) else None
    if value is None or value not in _BIGINT:
        raise ValueError("not a whole number that bigint holds")
    return value


def _boolean(raw: msgspec.Raw) -> bool:
    return _BOOLEAN.decode(raw)


def _time_ms(raw: msgspec.Raw) -> datetime:
    text = bytes(raw)
    return from_epoch_ms(_string(raw) if text.startswith(b'"') else _NUMBER.decode(raw))


def _time_iso(raw: msgspec.Raw) -> datetime:
    return from_iso(_string(raw))


def _strings(raw: msgspec.Raw) -> tuple[str, ...]:
    if not bytes(raw).startswith(b"["):
        raise ValueError("not an array")
    try:
        return _TEXTS.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return tuple(_string(value) for _, value in scan.members(bytes(raw)))


def _array(raw: msgspec.Raw) -> list[bytes]:
    if not bytes(raw).startswith(b"["):
        raise ValueError("not an array")
    try:
        return [bytes(value) for value in _VALUES.decode(raw)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return [value for _, value in scan.members(bytes(raw))]


def _identity(raw: msgspec.Raw | None) -> str:
    if raw is None:
        raise RecordError("is missing")
    text = bytes(raw)
    if len(text) <= LONGEST_ID and _WHOLE.fullmatch(text):
        return text.decode()
    try:
        value = _TEXT.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RecordError(
            "is null" if text == b"null" else "cannot be read as text or a whole number"
        ) from None
    if not value:
        raise RecordError("is empty")
    if len(value.encode()) > LONGEST_ID:
        raise RecordError(f"is longer than {LONGEST_ID} bytes")
    if "\x00" in value:
        raise RecordError("holds a NUL")
    return value


def _says(raw: msgspec.Raw, value: str | int | bool | datetime | None) -> bool:
    try:
        if value is None:
            return bytes(raw) == b"null"
        if isinstance(value, bool):
            return _boolean(raw) is value
        if isinstance(value, int):
            return _integer(raw) == value
        if isinstance(value, datetime):
            return (_time_iso(raw) if bytes(raw).startswith(b'"') else _time_ms(raw)) == value
        return _string(raw) == value
    except (msgspec.DecodeError, ValueError, RecordError):
        return False
