"""Who may come in: an IAM user's token, or a request signed with an access key.

Invariant: a token is good only if this gate issued it, has not revoked it and its lifetime is not over, and a signature
only close to its date, both by the simulator's clock. It must not know what is behind the gate.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from syncer.simulator.clock import Clock
from syncer.simulator.secmaster.refusals import Refused, not_let_in
from syncer.simulator.secmaster.signing import is_signed, signature_of
from syncer.simulator.secmaster.switches import Switches
from syncer.simulator.secmaster.times import moment
from syncer.simulator.wire import Request

_SKEW = timedelta(minutes=15)
_TOKEN_BYTES = 2400  # real ones are several KB


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the simulated tenant accepts, and where in it things are."""

    domain: str = "acme-soc"
    username: str = "api-user"
    password: str = 'p"ss w=rd+ü%41'  # noqa: S105 - opens nothing but this simulator
    project: str = "cn-north-4"
    access_key: str = "SIMULATEDACCESSKEY01"
    secret_key: str = "s3cret/acc3ss+key=="  # noqa: S105 - nor does this
    project_id: str = "0d2c1f9a8b7e4c6d9e5f3a1b2c4d6e8f"
    workspaces: tuple[str, ...] = (
        "6f1d9c3e-2a7b-4f58-8c0d-1e9a5b7c3d21",
        "b47e0a95-c3d8-4e16-9f2b-7a8c6d5e4f30",
    )


class Gate:
    """Hands out tokens, and asks for them or for a signature."""

    def __init__(self, clock: Clock, credentials: Credentials) -> None:
        self._clock = clock
        self._known = credentials
        self._ends_ms: dict[str, int] = {}
        self._issued = 0

    def log_in(self, request: Request, switches: Switches) -> tuple[str, bytes]:
        """POST /v3/auth/tokens: the token and the body that describes it."""
        if dict(request.query).keys() - {"nocatalog"}:
            raise _iam(400, "unknown parameter")
        if _kind(request) != "application/json":
            raise _iam(400, "the body must be JSON")
        try:
            asked = msgspec.json.decode(request.body, type=_LogIn)
        except msgspec.DecodeError as error:
            raise _iam(400, f"the body is not as documented: {error}") from error
        if not asked.is_good(self._known):
            raise _iam(401, "The username or password is wrong.")
        token = self.issue(switches)
        return token, msgspec.json.encode({"token": self._described(self._ends_ms[token])})

    def issue(self, switches: Switches) -> str:
        """A new token; the former ones stay good."""
        self._issued += 1
        noise = hashlib.shake_256(b"the simulator signs %d" % self._issued).digest(_TOKEN_BYTES)
        token = "MII" + base64.b64encode(noise).decode().replace("/", "-")
        self._ends_ms[token] = self._clock.now_ms() + round(switches.token_lifetime * 1000)
        return token

    def revoke_all(self) -> None:
        """No token issued so far is good any more."""
        self._ends_ms.clear()

    def check(self, request: Request) -> None:
        """Refuse a request that has neither a good token nor a good signature."""
        token = request.headers.get("x-auth-token")
        if token is None:
            self._check_signature(request)
        elif self._ends_ms.get(token, 0) <= self._clock.now_ms():
            raise not_let_in("decrypt token fail")

    def _check_signature(self, request: Request) -> None:
        given = signature_of(request)
        if given is None:
            raise not_let_in("neither a token nor a signature")
        if given.access_key != self._known.access_key:
            raise not_let_in("no such access key")
        if not {"host", "x-sdk-date"} <= set(given.signed_headers) or not self._is_now(request):
            raise not_let_in("x-sdk-date or host not signed, or the date too far from now")
        if not is_signed(request, given, self._known.secret_key):
            raise not_let_in("verify aksk signature fail")

    def _is_now(self, request: Request) -> bool:
        try:
            at = datetime.strptime(request.headers["x-sdk-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except (KeyError, ValueError):
            return False
        return abs(moment(self._clock.now_ms()) - at) <= _SKEW

    def _described(self, ends_ms: int) -> dict[str, Any]:
        known = self._known
        domain = {"id": "d78cbac186b744899480f25bd022f468", "name": known.domain}
        return {
            "catalog": [],
            "expires_at": _iam_time(ends_ms),
            "issued_at": _iam_time(self._clock.now_ms()),
            "methods": ["password"],
            "project": {"domain": domain, "id": known.project_id, "name": known.project},
            "roles": [{"id": "0", "name": "secmaster_viewer"}],
            "user": {"domain": domain, "id": "7116d09f88fa41908676fdd4b039e95b", "name": known.username},
        }

    def projects(self, request: Request) -> bytes:
        """GET /v3/projects: the tenant's one project, if that is the name asked for."""
        given = dict(request.query)
        if given.keys() - {"name", "domain_id", "parent_id", "enabled", "is_domain", "page", "per_page"}:
            raise _iam(400, "unknown parameter")
        is_asked = given.get("name") in (None, self._known.project)
        project = {"id": self._known.project_id, "name": self._known.project, "enabled": True}
        return msgspec.json.encode({"projects": [project] if is_asked else [], "links": {}})


def require_json(request: Request) -> None:
    """The header Content-Type is mandatory, on requests without a body as well."""
    if _kind(request) != "application/json":
        raise Refused(400, "the header Content-Type must be application/json;charset=UTF-8")


class _Named(msgspec.Struct):
    name: str


class _User(msgspec.Struct):
    domain: _Named
    name: str
    password: str


class _Password(msgspec.Struct):
    user: _User


class _Identity(msgspec.Struct):
    methods: list[str]
    password: _Password


class _Scope(msgspec.Struct):
    project: dict[str, str]


class _Auth(msgspec.Struct):
    identity: _Identity
    scope: _Scope


class _LogIn(msgspec.Struct):
    """What is posted to get a token."""

    auth: _Auth

    def is_good(self, known: Credentials) -> bool:
        identity = self.auth.identity
        user = identity.password.user
        project = {"name": known.project}, {"id": known.project_id}
        return (
            identity.methods == ["password"]
            and (user.domain.name, user.name, user.password) == (known.domain, known.username, known.password)
            and self.auth.scope.project in project
        )


def _iam(status: int, message: str) -> Refused:
    return Refused(status, message, speaker="iam")


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _iam_time(at_ms: int) -> str:
    return moment(at_ms).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
