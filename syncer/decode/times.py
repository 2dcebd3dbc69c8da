"""Vendor times to UTC, and back to the text that a request carries.

Invariant: an instant is never moved later by reading it (fractions beyond microseconds are cut off), so a
lower bound made of a time read never skips a row. Knows nothing of fields, records or platforms.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from syncer.errors import RecordError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_WHOLE = re.compile(r"-?[0-9]{1,18}")
# A platform writes a literal Z and the offset after it, as in 04.577Z+0800: the offset wins.
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:[.,](\d+))? ?[Zz]?(?:([+-])(\d\d):?(\d\d))?",
    re.ASCII,
)


def from_epoch_ms(value: int | float | str) -> datetime:
    """Milliseconds since 1970 as an instant in UTC; RecordError outside the years 1 to 9999."""
    if isinstance(value, bool):
        raise RecordError("a truth value is not a time in milliseconds")
    if isinstance(value, str):
        if not _WHOLE.fullmatch(value):
            raise RecordError("not a time in milliseconds")
        value = int(value)
    try:
        if isinstance(value, float):
            whole, part = divmod(value, 1)
            return _EPOCH + int(whole) * _MILLISECOND + timedelta(microseconds=int(part * 1000))
        return _EPOCH + value * _MILLISECOND
    except (OverflowError, ValueError):
        raise RecordError("a time in milliseconds outside the years 1 to 9999") from None


@lru_cache(maxsize=256)  # a day, or a record's own time, is told again and again
def from_iso(text: str) -> datetime:
    """An RFC 3339 time as an instant in UTC; without a zone it is taken as UTC. RecordError if it is none."""
    found = _ISO.fullmatch(text)
    if found is None:
        raise RecordError("not an ISO 8601 time")
    year, month, day, hour, minute, second = map(int, found.group(1, 2, 3, 4, 5, 6))
    fraction, sign, offset_hours, offset_minutes = found.group(7, 8, 9, 10)
    leap = second == 60  # RFC 3339 allows it, datetime does not
    try:
        local = datetime(year, month, day, hour, minute, 59 if leap else second, tzinfo=UTC)
        local += timedelta(seconds=leap, microseconds=int((fraction or "0")[:6].ljust(6, "0")))
        if sign is None:
            return local
        offset = timedelta(hours=int(offset_hours), minutes=int(offset_minutes))
        return local + offset if sign == "-" else local - offset
    except (OverflowError, ValueError):
        raise RecordError("an ISO 8601 time that no calendar holds") from None


def to_iso_ms(dt: datetime, *, up: bool = False) -> str:
    """ "2025-05-12T01:45:36.220Z": rounded down to a millisecond, or up for an upper bound."""
    dt = dt.astimezone(UTC)
    if up:
        dt += timedelta(microseconds=-dt.microsecond % 1000)
    return dt.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
