"""Who may come in: credentials, tokens, and what they allow.

Invariant: a token is good only if this gate issued it, has not revoked it and its lifetime is not over by the
simulator's clock. It must not know what is behind the gate.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from typing import Any

import msgspec

from syncer.simulator.clock import Clock
from syncer.simulator.sailpoint.refusals import Refused
from syncer.simulator.sailpoint.switches import Switches
from syncer.simulator.wire import Request

_EXPIRED = "JWT validation failed: JWT is expired"
_ALL = "sp:scopes:all"
_FORM, _MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The client that the simulated tenant knows. The characters are those that careless encoding breaks."""

    client_id: str = "7f3c9a52b1e84d0f9c6a2e5b8d1f4a70"
    client_secret: str = "cl13nt/s3cret+==&ü%41"  # noqa: S105 - opens nothing but this simulator
    scopes: tuple[str, ...] = (_ALL,)
    user_level: str = "ORG_ADMIN"


class Gate:
    """Hands out tokens and asks for them."""

    def __init__(self, clock: Clock, credentials: Credentials) -> None:
        self._clock = clock
        self._credentials = credentials
        self._ends_ms: dict[str, int] = {}
        self._issued = 0

    def log_in(self, request: Request, switches: Switches) -> dict[str, Any]:
        """POST /oauth/token: what the answer holds. Fields stand in a form, a multipart form or the query."""
        given = _fields(request)
        if given.get("grant_type") != "client_credentials":
            raise Refused(400, "unsupported_grant_type", is_oauth=True)
        known = self._credentials
        if (given.get("client_id"), given.get("client_secret")) != (known.client_id, known.client_secret):
            raise Refused(401, "invalid_client")
        return {
            "access_token": self.issue(switches),
            "token_type": "bearer",
            "expires_in": int(switches.token_lifetime),
            "scope": " ".join(known.scopes),
            "tenant_id": "54f50897-26f3-49af-83f9-e71459be70d9",
            "pod": "simulated",
            "org": "simulated",
            "internal": False,
            "jti": _name(self._issued),
        }

    def issue(self, switches: Switches) -> str:
        """A new token."""
        self._issued += 1
        now_ms = self._clock.now_ms()
        ends_ms = now_ms + round(switches.token_lifetime * 1000)
        token = self._jwt(now_ms, ends_ms)
        self._ends_ms[token] = ends_ms
        return token

    def revoke_all(self) -> None:
        """No token issued so far is good any more."""
        self._ends_ms.clear()

    def check(self, request: Request) -> None:
        """Refuse a request without a good bearer token."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise Refused(401, "JWT is required")
        if token not in self._ends_ms:
            raise Refused(401, "JWT validation failed: JWT is invalid")
        if self._ends_ms[token] <= self._clock.now_ms():
            raise Refused(401, _EXPIRED)

    def allow(self, endpoint: str, switches: Switches) -> None:
        """Refuse what the client's scopes or its user's level do not cover."""
        wanted = "sp:workflow:read" if endpoint in ("workflows", "workflow") else switches.execution_scope
        known = self._credentials
        if not {_ALL, "sp:workflow:manage", wanted} & set(known.scopes):
            raise Refused(403, f"{wanted} was not granted")
        if endpoint == "execution" and known.user_level != "ORG_ADMIN":
            raise Refused(403, "a single execution is for an ORG_ADMIN alone")

    def _jwt(self, now_ms: int, ends_ms: int) -> str:
        claims = {
            "iss": "syncer.simulator",
            "client_id": self._credentials.client_id,
            "iat": now_ms // 1000,
            "exp": ends_ms // 1000,
            "jti": _name(self._issued),
        }
        signed = b".".join(_base64url(msgspec.json.encode(part)) for part in ({"alg": "HS256"}, claims))
        signature = hmac.digest(b"the simulator signs", signed, hashlib.sha256)
        return (signed + b"." + _base64url(signature)).decode()


def _fields(request: Request) -> dict[str, str]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.body and kind not in (_FORM, _MULTIPART):
        raise Refused(415, "the body must be a form")
    pairs = request.query + (_multipart(request) if kind == _MULTIPART else request.form)
    given = dict(pairs)
    if len(given) < len(pairs):
        raise Refused(400, "invalid_request", is_oauth=True)
    return given


def _multipart(request: Request) -> list[tuple[str, str]]:
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n"
    parts = message_from_bytes(head.encode("latin-1") + request.body).get_payload()
    return [_part(part) for part in parts if isinstance(part, Message)] if isinstance(parts, list) else []


def _part(part: Message) -> tuple[str, str]:
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    name = part.get_param("name", "", "content-disposition")
    return str(name), content.decode("utf-8", "replace").removesuffix("\r\n")


def _name(number: int) -> str:
    return f"simulated-{number}"


def _base64url(text: bytes) -> bytes:
    return base64.urlsafe_b64encode(text).rstrip(b"=")
