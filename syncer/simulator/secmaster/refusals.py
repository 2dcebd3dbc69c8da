"""How Huawei Cloud says no: in the words of IAM, of the gateway or of SecMaster, or in one form for all.

Invariant: a refusal never holds a record. It must not know routes or the truth.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Literal

import msgspec

from syncer.simulator.secmaster.switches import Switches
from syncer.simulator.wire import Answer

Speaker = Literal["iam", "gateway", "secmaster"]

_FORM_OF: dict[Speaker, str] = {"iam": "iam", "gateway": "error_code", "secmaster": "code"}
_CODE_OF: dict[Speaker, str] = {"iam": "IAM.0", "gateway": "APIGW.0", "secmaster": "SecMaster.00000"}
_UNITS = ((3600, "hour"), (60, "minute"), (1, "second"))


class Refused(Exception):
    """The request is answered with an error; `status` is HTTP's, `code` Huawei's: the speaker's usual one, or None."""

    def __init__(
        self, status: int, message: str, *, code: str | None = "", speaker: Speaker = "secmaster"
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = f"{_CODE_OF[speaker]}{status}" if code == "" else code
        self.speaker = speaker


def unknown_api() -> Refused:
    return Refused(
        404,
        "The API does not exist or has not been published in the environment",
        code="APIGW.0101",
        speaker="gateway",
    )


def not_let_in(why: str) -> Refused:
    message = f"Incorrect IAM authentication information: {why}"
    return Refused(401, message, code="APIGW.0301", speaker="gateway")


def refusal(refused: Refused, switches: Switches, request_id: str) -> Answer:
    """An error in the form of the day."""
    is_documented = switches.error_body == "documented"
    form = _FORM_OF[refused.speaker] if is_documented else switches.error_body
    body = {name: told for name, told in _body(refused, form, request_id).items() if told is not None}
    return Answer(refused.status, msgspec.json.encode(body))


def _body(refused: Refused, form: str, request_id: str) -> dict[str, Any]:
    code, message = refused.code, refused.message
    if form == "code":
        return {"code": code, "message": message}
    if form == "errorCode":
        return {"errorCode": code, "errorMsg": message}
    if form == "iam":
        title = HTTPStatus(refused.status).phrase
        told = refused.status if refused.speaker == "iam" else code
        return {"error": {"code": told, "message": message, "title": title}}
    coded: dict[str, Any] = {"error_msg": message, "error_code": code, "request_id": request_id}
    if refused.status == 403:
        coded["encoded_authorization_message"] = "bm90IGZvciB5b3U="
    return {"error": coded} if form == "nested" else coded


def throttled(switches: Switches, request_id: str) -> Answer:
    """Too many requests: the text says how many are let in how often, and no header says when."""
    dialect = switches.limit_dialect
    if dialect == "429_bare":
        return Answer(429, b"", "text/plain")
    status, _, gateway = dialect.partition("_")
    message = f"The throttling threshold has been reached: policy user over ratelimit,{_allowance(switches)}"
    code = None if gateway == "words" else f"{gateway}.0308"
    return refusal(Refused(int(status), message, code=code, speaker="gateway"), switches, request_id)


def _allowance(switches: Switches) -> str:
    """As "limit:10,time:1 second"; a part of a second is told as a whole one."""
    seconds = max(1, round(switches.rate_window))
    size, unit = next((size, unit) for size, unit in _UNITS if seconds % size == 0)
    return f"limit:{switches.rate_limit},time:{seconds // size} {unit}"
