"""How Qualys wants to be addressed: ways to sign in, the bearer token, and how it says to wait.

Invariant: credentials leave this module in requests alone. Pure: no I/O. It knows the gateway's manners and
nothing of workflows.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Literal
from urllib.parse import urlencode

import httpx
from pydantic import Field

from syncer.config import HeaderSecret, Secret, Section
from syncer.http import Answer, Rate, Token, jwt_lifetime, wait_of

TOKEN_LIFETIME = timedelta(hours=4)
"""Of a token that does not tell (docs/qualys-flow.md, Access)."""

MARGIN = timedelta(seconds=3)
"""Added to X-RateLimit-ToWait-Sec, as qualysdk does (docs/qualys-flow.md, Errors and limits)."""

CONCURRENCY_WAIT = timedelta(seconds=10)
"""For too many requests at once, which pass by themselves (docs/qualys-flow.md, Errors and limits)."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")
# The classic API tells its limits in XML: 1965 too often, 1960 too many at once.
_TOO_OFTEN = re.compile(rb"<CODE>\s*(1965|1960)\s*</CODE>")
_SECONDS = re.compile(rb"<KEY>\s*SECONDS_TO_WAIT\s*</KEY>\s*<VALUE>\s*(\d{1,9})\s*</VALUE>")
_TOO_MANY_AT_ONCE = b"1960"


class Options(Section):
    """Qualys Flow has no keys of its own in a connection's table."""


class PasswordAuth(Section):
    """An API user of the subscription."""

    mode: Literal["password"]
    username: str = Field(min_length=1, description="write the name of an API user")
    password: Secret = Field(description='write { env = "NAME" } or { file = "/path" }')


class ClientAuth(Section):
    """An OIDC client, user level, with Qualys Flow access."""

    mode: Literal["client"]
    client_id: str = Field(pattern=r"^[\x21-\x7e]+$", description="write the client's id")
    client_secret: HeaderSecret = Field(description='write { env = "NAME" } or { file = "/path" }')


class TokenAuth(Section):
    """A token obtained elsewhere; it ends after some hours and is not renewed."""

    mode: Literal["token"]
    token: HeaderSecret = Field(description='write { env = "NAME" } or { file = "/path" }')


class Access:
    """Qualys' manners for `syncer.http.Client`."""

    rights = "the API user's role needs API Access and READ or LIST, each of ALL, WF BY TAGS or MY"

    def __init__(self, base_url: str, auth: PasswordAuth | ClientAuth | TokenAuth) -> None:
        self._base_url = base_url
        self._auth = auth

    @property
    def credentials(self) -> str:
        """Which keys to check when Qualys refuses."""
        if isinstance(self._auth, PasswordAuth):
            return "check auth.username and auth.password; the user's role needs API Access"
        if isinstance(self._auth, ClientAuth):
            return (
                "check auth.client_id and auth.client_secret; the client needs Qualys Flow access, user level"
            )
        return 'auth.token has ended or was revoked: set a new one, or use mode = "password"'

    def token_request(self) -> httpx.Request | None:
        """POST /auth with a form, or POST /auth/oidc with the client in headers (docs/qualys-flow.md, Access)."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if isinstance(self._auth, PasswordAuth):
            form = {
                "username": self._auth.username,
                "password": self._auth.password.get_secret_value(),
                "token": "true",
                "permissions": "true",
            }
            content = urlencode(form).encode()
            return httpx.Request("POST", f"{self._base_url}/auth", headers=headers, content=content)
        if isinstance(self._auth, ClientAuth):
            headers["clientId"] = self._auth.client_id
            headers["clientSecret"] = self._auth.client_secret.get_secret_value()
            return httpx.Request("POST", f"{self._base_url}/auth/oidc", headers=headers, content=b"")
        return None

    def token_from(self, answer: Answer, now: datetime | None) -> Token:
        """The body is the bare token, perhaps in quotes."""
        text = answer.body.decode("ascii", "replace").strip().strip('"')
        if not _TOKEN.fullmatch(text):
            raise ValueError("not a token")
        return Token(text, jwt_lifetime(text, now) or TOKEN_LIFETIME)

    def sign(self, request: httpx.Request, token: str | None) -> None:
        """Set the bearer token."""
        if isinstance(self._auth, TokenAuth):
            token = self._auth.token.get_secret_value()
        request.headers["Authorization"] = f"Bearer {token}"

    def wait(self, answer: Answer, rate: Rate | None, retry_after: timedelta | None) -> timedelta | None:
        """429, or 409 with limits told in headers or XML; or nothing left and a time to wait."""
        to_wait = rate.to_wait if rate else None
        if answer.status < 300:
            return to_wait + MARGIN if rate and rate.remaining == 0 and to_wait else None
        code = _TOO_OFTEN.search(answer.body)
        if answer.status != 429 and not (answer.status == 409 and (rate or code)):
            return None
        if to_wait:
            return to_wait + MARGIN
        if told := _SECONDS.search(answer.body):
            return wait_of(int(told[1])) + MARGIN
        return retry_after or _untold(rate, is_concurrency=code is not None and code[1] == _TOO_MANY_AT_ONCE)


def _untold(rate: Rate | None, *, is_concurrency: bool) -> timedelta:
    """The wait where the answer names none; zero leaves it to the client."""
    if is_concurrency or (rate and not rate.limit and rate.concurrency):
        return CONCURRENCY_WAIT
    return (rate.window or timedelta()) if rate and rate.remaining == 0 else timedelta()
