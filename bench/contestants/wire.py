"""What everybody must know of Qualys Flow: how to sign in, and what a payload is packed in.

Invariant: the standard library is enough, for each contestant has an environment of its own.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

SOURCE = os.environ["BENCH_SOURCE"]
API = f"{SOURCE}/qflowapi/v1"
WAREHOUSE = os.environ["BENCH_WAREHOUSE"]
HOME = os.environ["BENCH_HOME"]
CONCURRENCY = int(os.environ["BENCH_CONCURRENCY"])
PAGE = 100


def sign_in() -> str:
    """A bearer token."""
    form = {
        "username": os.environ["BENCH_USERNAME"],
        "password": os.environ["BENCH_PASSWORD"],
        "token": "true",
    }
    with urlopen(f"{SOURCE}/auth", urlencode(form).encode()) as answer:
        token: str = answer.read().decode()
    return token


def decoded(payload: str | None) -> Any:
    """The document in a payload."""
    return None if payload is None else json.loads(unpacked(payload))


def unpacked(payload: str) -> bytes:
    """The document as JSON text."""
    return gzip.decompress(base64.b64decode(payload))
