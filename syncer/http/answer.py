"""What an answer says beside its content: rate limits, waits, and why it cannot be used.

Invariant: a header that makes no sense is as good as absent. Header names are lower case. It knows no
platform; the X-RateLimit headers are what gateways agree on.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from msgspec import Struct

from syncer.errors import ContractError

Headers = Mapping[str, str]

LONGEST_WAIT = timedelta(days=366)
"""A longer one is taken for this: it only keeps nonsense from overflowing a date."""


class Answer(Struct, frozen=True):
    """One whole answer, its body decompressed; empty where an error's body was too long to be of use."""

    status: int
    headers: Headers
    body: bytes


class Incomplete(ValueError):
    """Raised while an answer is read: it is well formed, but by its own account something is missing.

    Unlike other ValueErrors its text is shown, so it must not quote the body.
    """


class Refused(ContractError):
    """The source understood the request and will not answer it; `status` says how it put that."""

    def __init__(self, message: str, hint: str | None = None, *, status: int) -> None:
        super().__init__(message, hint)
        self.status = status


class TooLarge(ContractError):
    """The answer was abandoned because it is longer than it may be."""


class Rate(Struct, frozen=True, kw_only=True):
    """What the last answer told about limits; None where it told nothing."""

    limit: int | None = None
    window: timedelta | None = None
    remaining: int | None = None
    to_wait: timedelta | None = None
    concurrency: int | None = None
    running: int | None = None

    @property
    def per_hour(self) -> float | None:
        """Requests an hour; None where the limit or its window was not told."""
        return self.limit * timedelta(hours=1) / self.window if self.limit and self.window else None

    @classmethod
    def of(cls, headers: Headers) -> Rate | None:
        """Read the limits from an answer's headers; None if it carries no such header."""
        if not any(name.startswith(("x-ratelimit", "x-concurrency")) for name in headers):
            return None
        return cls(
            limit=_whole(headers, "x-ratelimit-limit"),
            window=_seconds(headers, "x-ratelimit-window-sec"),
            remaining=_whole(headers, "x-ratelimit-remaining"),
            to_wait=_seconds(headers, "x-ratelimit-towait-sec"),
            concurrency=_whole(headers, "x-concurrency-limit-limit", "x-concurrencylimit-limit"),
            running=_whole(headers, "x-concurrency-limit-running", "x-concurrencylimit-running"),
        )


def retry_after(headers: Headers, now: datetime) -> timedelta | None:
    """How long `Retry-After` asks to wait: seconds, or a date against the answer's own `Date`, else now."""
    told = headers.get("retry-after", "").strip()
    if not told:
        return None
    if _is_number(told):
        return wait_of(float(told))
    until = http_date(told)
    if until is None:
        return None
    return min(max(until - (http_date(headers.get("date", "")) or now), timedelta()), LONGEST_WAIT)


def wait_of(seconds: float) -> timedelta:
    """Seconds as a wait that any date can bear."""
    return timedelta(seconds=min(max(seconds, 0.0), LONGEST_WAIT.total_seconds()))


def http_date(text: str) -> datetime | None:
    """An HTTP date in UTC; None if it is none."""
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)


def _is_number(text: str) -> bool:
    return text.isascii() and text.replace(".", "", 1).isdigit()


def _whole(headers: Headers, *names: str) -> int | None:
    for name in names:
        told = headers.get(name, "").strip()
        if told.isascii() and told.isdigit() and len(told) < 19:
            return int(told)
    return None


def _seconds(headers: Headers, name: str) -> timedelta | None:
    told = headers.get(name, "").strip()
    return wait_of(float(told)) if _is_number(told) else None
