"""Huawei's signature of a request with an access key: SDK-HMAC-SHA256.

Invariant: the signature covers the request as it is sent, so nothing signed may change afterwards. Pure: no I/O, no
clock. It knows nothing of SecMaster (docs/secmaster.md, Access).
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, unquote

import httpx

ALGORITHM = "SDK-HMAC-SHA256"
SIGNED = ("content-type", "host", "x-project-id", "x-sdk-date")


def sign(request: httpx.Request, access_key: str, secret_key: str, project_id: str, now: datetime) -> None:
    """Date the request and sign it; it has its Content-Type already. `now` is by the platform's clock."""
    stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    request.headers["X-Sdk-Date"] = stamp
    request.headers["X-Project-Id"] = project_id
    text = f"{ALGORITHM}\n{stamp}\n{_sha256(canonical(request).encode())}"
    signature = hmac.new(secret_key.encode(), text.encode(), hashlib.sha256).hexdigest()
    request.headers["Authorization"] = (
        f"{ALGORITHM} Access={access_key}, SignedHeaders={';'.join(SIGNED)}, Signature={signature}"
    )


def canonical(request: httpx.Request) -> str:
    """The request in the one form that both sides sign."""
    path, _, query = request.url.raw_path.decode("ascii").partition("?")
    headers = "".join(f"{name}:{request.headers[name].strip()}\n" for name in SIGNED)
    parts = (request.method, _path(path), _query(query), headers, ";".join(SIGNED), _sha256(request.content))
    return "\n".join(parts)


def _path(path: str) -> str:
    """Each segment encoded anew, and always a slash at the end."""
    encoded = "/".join(_encoded(unquote(each)) for each in path.split("/"))
    return encoded if encoded.endswith("/") else f"{encoded}/"


def _query(query: str) -> str:
    pairs = sorted(parse_qsl(query, keep_blank_values=True))
    return "&".join(f"{_encoded(name)}={_encoded(value)}" for name, value in pairs)


def _encoded(text: str) -> str:
    return quote(text, safe="~")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
