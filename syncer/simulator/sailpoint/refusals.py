"""How SailPoint says no.

Invariant: a refusal never holds a record. It must not know routes or the truth.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from syncer.simulator.sailpoint.switches import Switches
from syncer.simulator.sailpoint.texts import seed
from syncer.simulator.wire import Answer

_CODES = {
    400: "400.1 Bad Request Content",
    403: "403 Forbidden",
    404: "404 Not found",
    405: "405 Method not allowed",
    415: "415 Unsupported media type",
}
_SAMPLED = (400, 401, 403, 404, 429, 500)
_TOO_MANY = " Rate Limit Exceeded "  # with these spaces in the documents


class Refused(Exception):
    """The request is answered with an error; `status` is HTTP's. `is_oauth`: as OAuth 2 wants it, not the API."""

    def __init__(self, status: int, message: str, *, is_oauth: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.is_oauth = is_oauth


def refusal(refused: Refused, switches: Switches, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """An error as the switches want it."""
    status, message = refused.status, refused.message
    if switches.error_body == "empty":
        return Answer(status, headers=headers)
    if switches.error_body == "text":
        return Answer(status, message.encode(), "text/plain", headers)
    if switches.error_body == "sample" and status in _SAMPLED:
        return Answer(status, seed(str(status)), headers=headers)
    return Answer(status, msgspec.json.encode(_body(refused)), headers=headers)


def throttled(switches: Switches, wait_seconds: int) -> Answer:
    """Too many requests: come back in `wait_seconds`."""
    return refusal(Refused(429, _TOO_MANY), switches, (("Retry-After", str(wait_seconds)),))


def _body(refused: Refused) -> dict[str, Any]:
    if refused.status == 401 or refused.is_oauth:
        return {"error": refused.message}
    if refused.status == 429:
        return {"message": refused.message}
    text = [{"locale": "en-US", "localeOrigin": "DEFAULT", "text": refused.message}]
    return {
        "detailCode": _CODES.get(refused.status, str(refused.status)),
        "trackingId": hashlib.sha256(refused.message.encode()).hexdigest()[:32],
        "messages": text,
        "causes": text if refused.status == 400 else [],
    }
