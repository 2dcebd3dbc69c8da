"""How Qualys Flow says no: errors and limits in every dialect its documents and relatives speak.

Invariant: a refusal never holds a record. It must not know routes or the truth.
"""

from __future__ import annotations

from email.utils import formatdate

import msgspec

from syncer.simulator.qualys_flow.switches import Switches
from syncer.simulator.wire import Answer

_CODES = {400: 1904, 401: 2000, 403: 2010, 404: 1920, 405: 1901, 409: 1965}


class Refused(Exception):
    """The request is answered with an error; `status` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def refusal(refused: Refused, switches: Switches, now_ms: int) -> Answer:
    """An error in the dialect of the day."""
    status, message = refused.status, refused.message
    if switches.error_body == "empty":
        return Answer(status)
    if switches.error_body == "text":
        return Answer(status, message.encode(), "text/plain")
    if switches.error_body == "xml":
        return Answer(status, _xml(_CODES.get(status, 999), message), "text/xml")
    if switches.error_body == "envelope":
        errors = [{"code": _CODES.get(status, 999), "message": message}]
        body: dict[str, object] = {"data": None, "errors": errors, "meta": {"timestamp": now_ms}}
    else:
        body = {"status": status, "error": message, "timestamp": now_ms}
    return Answer(status, msgspec.json.encode(body))


def throttled(switches: Switches, limit: int, wait_seconds: int, now_ms: int) -> Answer:
    """Too many requests: come back in `wait_seconds`."""
    dialect = switches.limit_dialect
    headers = rate_headers(switches, limit, remaining=0, wait_seconds=wait_seconds)
    if dialect == "409_xml":
        return Answer(409, _xml(1965, "This API cannot be run again yet", wait_seconds), "text/xml", headers)
    if dialect == "429_towait":
        return Answer(429, b'{"message":"Too Many Requests"}', headers=headers)
    if dialect == "429_retry_after":
        return Answer(429, b"", headers=(("Retry-After", str(wait_seconds)),))
    if dialect == "429_retry_date":
        until = formatdate(now_ms // 1000 + wait_seconds, usegmt=True)
        return Answer(429, b"", headers=(("Retry-After", until),))
    return Answer(429, b"", "text/plain")


def rate_headers(
    switches: Switches, limit: int, *, remaining: int, wait_seconds: int
) -> tuple[tuple[str, str], ...]:
    return (
        ("X-RateLimit-Limit", str(limit)),
        ("X-RateLimit-Window-Sec", str(round(switches.rate_window))),
        ("X-RateLimit-Remaining", str(remaining)),
        ("X-RateLimit-ToWait-Sec", str(wait_seconds)),
        ("X-Concurrency-Limit-Limit", "2"),
        ("X-Concurrency-Limit-Running", "0"),
    )


def _xml(code: int, text: str, wait_seconds: int | None = None) -> bytes:
    """The form of the classic Qualys API."""
    items = (
        ""
        if wait_seconds is None
        else f"<ITEM_LIST><ITEM><KEY>SECONDS_TO_WAIT</KEY><VALUE>{wait_seconds}</VALUE></ITEM></ITEM_LIST>"
    )
    return (
        '<?xml version="1.0" encoding="UTF-8" ?>\n<SIMPLE_RETURN><RESPONSE>'
        f"<CODE>{code}</CODE><TEXT>{text}</TEXT>{items}</RESPONSE></SIMPLE_RETURN>"
    ).encode()
