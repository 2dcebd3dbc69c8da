"""Who may come in: credentials and tokens.

Invariant: a token is good only if this gate issued it, has not revoked it and its lifetime is not over by the
simulator's clock. It must not know what is behind the gate.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass

import msgspec

from syncer.simulator.clock import Clock
from syncer.simulator.qualys_flow.refusals import Refused
from syncer.simulator.qualys_flow.switches import Switches
from syncer.simulator.wire import Request


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the simulated tenant accepts. The characters are those that careless encoding breaks."""

    username: str = "api-user"
    password: str = "p&ss w=rd+ü%41"  # noqa: S105 - opens nothing but this simulator
    client_id: str = "3f1c5e0a-7d2b-4c8e-9a6f-0b1d2e3f4a5b"
    client_secret: str = "cl13nt/s3cret+=="  # noqa: S105 - nor does this


class Gate:
    """Hands out tokens and asks for them."""

    def __init__(self, clock: Clock, credentials: Credentials) -> None:
        self._clock = clock
        self._credentials = credentials
        self._ends_ms: dict[str, int] = {}
        self._issued = 0

    def log_in(self, request: Request, switches: Switches) -> str:
        """POST /auth: username, password and token=true in a form."""
        _require_form(request)
        form = dict(request.form)
        if form.get("token") != "true":
            raise Refused(400, "parameter token must be true")
        known = self._credentials
        if (form.get("username"), form.get("password")) != (known.username, known.password):
            raise Refused(401, "bad credentials")
        return self.issue(switches)

    def log_in_client(self, request: Request, switches: Switches) -> str:
        """POST /auth/oidc: clientId and clientSecret as headers, an empty form."""
        _require_form(request)
        known = self._credentials
        given = request.headers.get("clientid"), request.headers.get("clientsecret")
        if given != (known.client_id, known.client_secret):
            raise Refused(401, "bad client")
        return self.issue(switches)

    def issue(self, switches: Switches) -> str:
        """A new token."""
        self._issued += 1
        now_ms = self._clock.now_ms()
        ends_ms = now_ms + round(switches.token_lifetime * 1000)
        opaque = switches.token_format == "opaque"  # noqa: S105 - a format
        token = f"opaque-{self._issued:08}" if opaque else self._jwt(now_ms, ends_ms)
        self._ends_ms[token] = ends_ms
        return token

    def revoke_all(self) -> None:
        """No token issued so far is good any more."""
        self._ends_ms.clear()

    def check(self, request: Request) -> None:
        """Refuse a request without a good bearer token."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind != "Bearer" or self._ends_ms.get(token, 0) <= self._clock.now_ms():
            raise Refused(401, "missing, invalid or expired token")

    def _jwt(self, now_ms: int, ends_ms: int) -> str:
        claims = {
            "iss": "syncer.simulator",
            "sub": self._credentials.username,
            "iat": now_ms // 1000,
            "exp": ends_ms // 1000,
            "jti": self._issued,
        }
        signed = b".".join(_base64url(msgspec.json.encode(part)) for part in ({"alg": "HS256"}, claims))
        signature = hmac.digest(b"the simulator signs", signed, hashlib.sha256)
        return (signed + b"." + _base64url(signature)).decode()


def _require_form(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Refused(415, "the body must be a form")


def _base64url(text: bytes) -> bytes:
    return base64.urlsafe_b64encode(text).rstrip(b"=")
