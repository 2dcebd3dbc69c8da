"""What Superset is told before it starts; https://superset.apache.org/docs/configuration explains every name.

Secrets are files: `superset_secret_key`, and `bi_url`, the address of the warehouse with a role of `syncer grant`.
They are read from /run/secrets, or from the folder in SUPERSET_SECRETS.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL, make_url

SECRETS = Path(os.environ.get("SUPERSET_SECRETS", "/run/secrets"))


def secret(name: str) -> str:
    """What stands in the file; SystemExit without one."""
    file = SECRETS / name
    try:
        text = file.read_text("utf-8").strip()
    except OSError as error:
        raise SystemExit(f"the secret {name} cannot be read: {error}") from None
    if not text:
        raise SystemExit(f"the secret {file} is empty: write it, then start again")
    return text


SECRET_KEY = secret("superset_secret_key")

_WAREHOUSE = make_url(secret("bi_url")).set(drivername="postgresql+psycopg2")


def DB_CONNECTION_MUTATOR(url: URL, params: dict[str, Any], *_: object) -> tuple[URL, dict[str, Any]]:  # noqa: N802
    """Lead the bundle's database to the warehouse, whose password is kept neither there nor in Superset's tables."""
    return (_WAREHOUSE if url.host == "warehouse.invalid" else url), params


# Superset's own lets pages ask map servers, fonts and a counter of visitors elsewhere; these dashboards need none.
TALISMAN_CONFIG = {
    "content_security_policy": {
        "default-src": "'self'",
        "base-uri": "'self'",
        "object-src": "'none'",
        "img-src": "'self' blob: data:",
        "worker-src": "'self' blob:",
        "style-src": "'self' 'unsafe-inline'",
        "script-src": "'self' 'strict-dynamic'",
    },
    "content_security_policy_nonce_in": ["script-src"],
    # Whoever serves it to others puts a proxy with TLS in front.
    "force_https": False,
    "session_cookie_secure": False,
}
