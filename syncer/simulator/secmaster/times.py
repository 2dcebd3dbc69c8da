"""Times as SecMaster writes and reads them: a literal Z, and then the offset that holds.

Invariant: what is written in a form is read back as the same instant, as far as the form goes. It must not know what
a time is of.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

WALL = timezone(timedelta(hours=8))
"""Where the clocks on SecMaster's wall are."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
_FORMS = {
    "literal_z": re.compile(_SECONDS + r"\.\d{3}Z[+-]\d{4}", re.ASCII),
    "colon": re.compile(_SECONDS + r"\.\d{3}[+-]\d\d:\d\d", re.ASCII),
    "seconds": re.compile(_SECONDS + r"Z[+-]\d{4}", re.ASCII),
    "utc": re.compile(_SECONDS + r"\.\d{3}Z", re.ASCII),
}


def moment(at_ms: int) -> datetime:
    """By the clocks on the wall."""
    return (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(WALL)


def written(at_ms: int, form: str) -> str:
    """An instant in one of the forms; "seconds" loses its milliseconds."""
    at = moment(at_ms)
    if form == "utc":
        return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if form == "colon":
        return at.isoformat(timespec="milliseconds")
    timespec = "seconds" if form == "seconds" else "milliseconds"
    return at.replace(tzinfo=None).isoformat(timespec=timespec) + f"Z{at:%z}"


def read(text: str, form: str) -> int | None:
    """Milliseconds since 1970 of a time in that form or the usual one; None for anything else."""
    if not any(_FORMS[known].fullmatch(text) for known in ("literal_z", form)):
        return None
    zone = "+00:00" if text.endswith("Z") else ""
    try:
        return (datetime.fromisoformat(text.replace("Z", "") + zone) - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        return None
