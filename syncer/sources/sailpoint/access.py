"""How SailPoint wants to be addressed: the client's credentials, the bearer token, and how it says to wait.

Invariant: credentials leave this module in requests alone. Pure: no I/O. It knows nothing of workflows.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Literal
from urllib.parse import urlencode

import httpx
import msgspec
from msgspec import Struct
from pydantic import Field

from syncer.config import Secret, Section
from syncer.http import Answer, Rate, Token, jwt_lifetime, wait_of

TOKEN_LIFETIME = timedelta(seconds=749)
"""Of a token that does not tell: that of the documents' example (docs/sailpoint.md, Access)."""

_DIGITS = re.compile(r"[0-9]{1,9}")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")


class Options(Section):
    """Which version of the interface a connection uses: one of the yearly ones, or that of each service."""

    api_path: Literal["v2024", "v2025", "v2026", "per-service"] = "v2024"


class ClientAuth(Section):
    """A client: a personal access token of an administrator has an id and a secret, too."""

    mode: Literal["client"]
    client_id: str = Field(min_length=1, description="write the client's id")
    client_secret: Secret = Field(description='write { env = "NAME" } or { file = "/path" }')


class _Told(Struct):
    access_token: str
    expires_in: object = None
    tenant_id: object = None
    org: object = None
    pod: object = None


class Access:
    """SailPoint's manners for `syncer.http.Client`. `facts` says whose tenant it is once a token was obtained."""

    rights = (
        "the token's scopes need sp:workflow:read and sp:workflow-execution:read (formerly sp:workflow:read"
        " alone), and its user ORG_ADMIN"
    )
    credentials = (
        "check auth.client_id and auth.client_secret: those of a personal access token of an ORG_ADMIN"
    )

    def __init__(self, base_url: str, auth: ClientAuth) -> None:
        self.facts: dict[str, str] = {}
        self._base_url = base_url
        self._auth = auth

    def token_request(self) -> httpx.Request:
        """POST /oauth/token with a form (docs/sailpoint.md, Access)."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self._auth.client_id,
            "client_secret": self._auth.client_secret.get_secret_value(),
        }
        return httpx.Request(
            "POST",
            f"{self._base_url}/oauth/token",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            content=urlencode(form).encode(),
        )

    def token_from(self, answer: Answer, now: datetime | None) -> Token:
        """`access_token`, which lives for `expires_in` seconds."""
        try:
            told = msgspec.json.decode(answer.body, type=_Told)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise ValueError("no answer that holds a token") from None
        if not _TOKEN.fullmatch(told.access_token):
            raise ValueError("not a token")
        names = {"tenant_id": told.tenant_id, "org": told.org, "pod": told.pod}
        self.facts |= {name: value for name, value in names.items() if isinstance(value, str)}
        lives = _lifetime(told.expires_in) or jwt_lifetime(told.access_token, now) or TOKEN_LIFETIME
        return Token(told.access_token, lives)

    def sign(self, request: httpx.Request, token: str | None) -> None:
        """Set the bearer token."""
        request.headers["Authorization"] = f"Bearer {token}"

    def wait(
        self,
        answer: Answer,
        rate: Rate | None,  # noqa: ARG002 - none is told
        retry_after: timedelta | None,
    ) -> timedelta | None:
        """429, for as long as `Retry-After` says: up to 20 minutes (docs/sailpoint.md, Errors and limits)."""
        return (retry_after or timedelta()) if answer.status == 429 else None


def _lifetime(told: object) -> timedelta | None:
    """Seconds, as a number or as digits; None for anything else."""
    if isinstance(told, str) and _DIGITS.fullmatch(told):
        told = int(told)
    return wait_of(told) if isinstance(told, int | float) and told > 0 else None
