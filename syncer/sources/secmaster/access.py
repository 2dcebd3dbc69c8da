"""How SecMaster wants to be addressed: a token from IAM or signed requests, and how its gateway says to wait.

Invariant: credentials leave this module in requests alone, a secret key not even there. Pure: no I/O. It knows the
gateway's manners and nothing of workflows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Literal

import httpx
import msgspec
from pydantic import AfterValidator, Field

from syncer.config import BaseUrl, HeaderSecret, Secret, Section, Texts
from syncer.decode.times import from_iso
from syncer.errors import RecordError
from syncer.http import Answer, Rate, Token, wait_of
from syncer.sources.secmaster.signing import sign

TOKEN_LIFETIME = timedelta(hours=24)
"""Of a token whose answer does not tell (docs/secmaster.md, Access)."""

CONTENT_TYPE = "application/json;charset=UTF-8"
"""Mandatory, though a GET has no content."""

_TOKEN = re.compile(r"[\x21-\x7e]+")
# The gateway's code for a limit, in whichever of the shapes of an error and however deep in it; or its words.
_THROTTLED = re.compile(
    rb'"(?:error_code|errorCode|code)"\s*:\s*"APIGW?\.0308"|throttling threshold has been reached|over ratelimit,',
    re.IGNORECASE,
)
_WINDOW = re.compile(rb"limit:\d+,\s*time:(\d{1,9}) (second|minute|hour|day)")
_SECONDS = {b"second": 1, b"minute": 60, b"hour": 3600, b"day": 86_400}


def _named(workspaces: tuple[str, ...]) -> tuple[str, ...]:
    if not workspaces or not all(workspaces):
        raise ValueError('must name at least one workspace by its id, like ["9f2c..."]')
    return tuple(dict.fromkeys(workspaces))


class Options(Section):
    """Where in the account the workflows are."""

    project_id: str = Field(
        pattern=r"^[\x21-\x7e]+$", description="write the id of the project, not its name"
    )
    workspaces: Annotated[Texts, AfterValidator(_named)] = Field(
        description='write the ids of the workspaces, like ["9f2c..."]'
    )


class PasswordAuth(Section):
    """An IAM user, who obtains a token for one project."""

    mode: Literal["password"]
    iam_url: BaseUrl = Field(
        description='write IAM\'s address, like "https://iam.eu-west-101.myhuaweicloud.eu"'
    )
    domain: str = Field(min_length=1, description="write the name of the account")
    username: str = Field(min_length=1, description="write the name of an IAM user")
    password: Secret = Field(description='write { env = "NAME" } or { file = "/path" }')
    project: str = Field(min_length=1, description="write the name of the project, such as its region")


class KeyAuth(Section):
    """An access key, with which each request is signed."""

    mode: Literal["aksk"]
    access_key: HeaderSecret = Field(description='write { env = "NAME" } or { file = "/path" }')
    secret_key: Secret = Field(description='write { env = "NAME" } or { file = "/path" }')


class _TokenBody(msgspec.Struct):
    expires_at: str


class _TokenAnswer(msgspec.Struct):
    token: _TokenBody


class Access:
    """SecMaster's manners for `syncer.http.Client`. `now` is the platform's clock as far as it is known."""

    rights = "the IAM user needs the right to read SecMaster's workflows and instances in the project"

    def __init__(self, auth: PasswordAuth | KeyAuth, project_id: str, now: Callable[[], datetime]) -> None:
        self._auth = auth
        self._project_id = project_id
        self._now = now

    @property
    def credentials(self) -> str:
        """Which keys to check when the platform refuses."""
        if isinstance(self._auth, PasswordAuth):
            return (
                "check auth.iam_url, auth.domain, auth.username, auth.password and auth.project;"
                " it must be an IAM user, a HUAWEI ID obtains no token"
            )
        return "check auth.access_key, auth.secret_key and project_id, and that the key is enabled"

    def token_request(self) -> httpx.Request | None:
        """POST /v3/auth/tokens of IAM (docs/secmaster.md, Access)."""
        if isinstance(self._auth, KeyAuth):
            return None
        url = f"{self._auth.iam_url}/v3/auth/tokens"
        content = msgspec.json.encode({"auth": _sign_in(self._auth)})
        return httpx.Request("POST", url, headers={"Content-Type": CONTENT_TYPE}, content=content)

    def token_from(self, answer: Answer, now: datetime | None) -> Token:
        """The token stands in a header, how long it lives in the body."""
        token = answer.headers.get("x-subject-token", "").strip()
        if not _TOKEN.fullmatch(token):
            raise ValueError("no token")
        return Token(token, _lifetime(answer.body, now) or TOKEN_LIFETIME)

    def sign(self, request: httpx.Request, token: str | None) -> None:
        """Set the token, or sign with the key."""
        request.headers["Content-Type"] = CONTENT_TYPE
        if isinstance(self._auth, PasswordAuth):
            request.headers["X-Auth-Token"] = token or ""
            return
        access_key = self._auth.access_key.get_secret_value()
        sign(request, access_key, self._auth.secret_key.get_secret_value(), self._project_id, self._now())

    def wait(self, answer: Answer, rate: Rate | None, retry_after: timedelta | None) -> timedelta | None:  # noqa: ARG002
        """429, or the gateway's code or words for a limit with whatever refusal; the words name the time."""
        is_limit = answer.status == 429 or (
            400 <= answer.status < 500 and _THROTTLED.search(answer.body) is not None
        )
        return max(_window(answer.body), retry_after or timedelta()) if is_limit else None


def _sign_in(auth: PasswordAuth) -> dict[str, object]:
    user = {
        "domain": {"name": auth.domain},
        "name": auth.username,
        "password": auth.password.get_secret_value(),
    }
    return {
        "identity": {"methods": ["password"], "password": {"user": user}},
        "scope": {"project": {"name": auth.project}},
    }


def _lifetime(body: bytes, now: datetime | None) -> timedelta | None:
    try:
        ends = from_iso(msgspec.json.decode(body, type=_TokenAnswer).token.expires_at)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecordError):
        return None
    return ends - now if now is not None and ends > now else None


def _window(body: bytes) -> timedelta:
    """How long the limit's window is, which is how long to wait; zero where the text names none."""
    told = _WINDOW.search(body)
    return wait_of(int(told[1]) * _SECONDS[told[2]]) if told else timedelta()
