"""Times as SailPoint tells and reads them: RFC 3339 with nanoseconds.

Invariant: the digits below a millisecond, which the truth does not have, follow from the name of what is told. It must
not know what is told.
"""

from __future__ import annotations

import re
from calendar import timegm
from datetime import UTC, datetime
from zlib import crc32

from syncer.simulator.sailpoint.switches import Switches

MS = 1_000_000
"""Nanoseconds in a millisecond."""

_SECOND = 1_000_000_000
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")


def nanoseconds(at_ms: int, name: str, switches: Switches) -> int:
    """Nanoseconds since 1970 of an instant in that millisecond, its own for each name."""
    return at_ms * MS + (0 if switches.time_digits == "three" else crc32(name.encode()) % MS)


def told(at_ns: int, switches: Switches) -> str:
    """`2022-02-07T20:13:29.356648026Z`, or with fewer digits."""
    seconds, below = divmod(at_ns, _SECOND)
    digits = f"{below:09}"
    if switches.time_digits == "three":
        digits = digits[:3]
    elif switches.time_digits == "trimmed":
        digits = digits.rstrip("0")
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{'.' * bool(digits)}{digits}Z"


def read(text: str) -> int:
    """Nanoseconds since 1970 of a date-time of RFC 3339; ValueError where it is none."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(text)
    whole, fraction, zone = match.groups()
    seconds = timegm(datetime.fromisoformat(whole + zone).utctimetuple())
    return seconds * _SECOND + int((fraction or "").ljust(9, "0"))
