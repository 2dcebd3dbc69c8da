"""Signatures of requests, SDK-HMAC-SHA256, as a gateway that knows the secret key computes them.

Invariant: what is signed is the request as it arrived; nothing is mended before. It must not know whose keys are good.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote, unquote

from syncer.simulator.wire import Request

ALGORITHM = "SDK-HMAC-SHA256"

_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} Access=(?P<key>[^,\s]+), SignedHeaders=(?P<signed>[^,\s]+), Signature=(?P<signature>[0-9a-f]{{64}})"
)


class Signature(NamedTuple):
    """The header Authorization, taken apart."""

    access_key: str
    signed_headers: tuple[str, ...]
    signature: str


def signature_of(request: Request) -> Signature | None:
    """What the request says; None where its Authorization is none of this kind."""
    match = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    return match and Signature(match["key"], tuple(match["signed"].split(";")), match["signature"])


def is_signed(request: Request, given: Signature, secret_key: str) -> bool:
    """Whether the signature is that of the request under this key."""
    text = string_to_sign(request, given.signed_headers)
    expected = hmac.new(secret_key.encode(), text.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, given.signature)


def string_to_sign(request: Request, signed_headers: Sequence[str]) -> str:
    canonical = canonical_request(request, signed_headers).encode()
    return "\n".join(
        (ALGORITHM, request.headers.get("x-sdk-date", ""), hashlib.sha256(canonical).hexdigest())
    )


def canonical_request(request: Request, signed_headers: Sequence[str]) -> str:
    """The path always ends in a slash, and a header that is missing counts as an empty one."""
    path = "/".join(_quoted(unquote(part)) for part in request.path.split("/"))
    return "\n".join(
        (
            request.method,
            path if path.endswith("/") else path + "/",
            "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in sorted(request.query)),
            *(f"{name}:{request.headers.get(name, '').strip()}" for name in signed_headers),
            "",
            ";".join(signed_headers),
            hashlib.sha256(request.body).hexdigest(),
        )
    )


def _quoted(text: str) -> str:
    return quote(text, safe="~")
