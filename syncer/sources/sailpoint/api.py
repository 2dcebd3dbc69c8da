"""The client, with an eye on what SailPoint says about its own future.

Invariant: an announcement is logged once for each thing asked for, and nothing of it is taken at its word but a date.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import structlog

from syncer.http import Answer, Client
from syncer.http.answer import Headers, http_date
from syncer.http.client import Query

T = TypeVar("T")


class Api:
    """Reads from one tenant; `deprecated` holds what will be taken away, and the day where it is told."""

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.deprecated: dict[str, str] = {}
        self._name = name

    async def get(self, path: str, query: Query = (), *, endpoint: str, parse: Callable[[bytes], T]) -> T:
        """Read the body that stands at the path, as `Client.get` does."""
        return await self.read(path, query, endpoint=endpoint, parse=lambda answer: parse(answer.body))

    async def read(self, path: str, query: Query = (), *, endpoint: str, parse: Callable[[Answer], T]) -> T:
        """Read what stands at the path, as `Client.read` does."""

        def noted(answer: Answer) -> T:
            self._note(endpoint, answer.headers)
            return parse(answer)

        return await self.client.read(path, query, endpoint=endpoint, parse=noted)

    @property
    def dialect(self) -> str:
        """What the tenant says will be taken away."""
        told = (f"{name} ({day})" if day else name for name, day in sorted(self.deprecated.items()))
        gone = ", ".join(told)
        return f"will be taken away: {gone}" if gone else "nothing will be taken away, as far as told"

    def _note(self, endpoint: str, headers: Headers) -> None:
        if endpoint in self.deprecated or not _is_deprecated(headers):
            return
        end = http_date(headers.get("sunset", ""))
        self.deprecated[endpoint] = f"until {end.date().isoformat()}" if end else ""
        told = {"end": end.date().isoformat()} if end else {}
        structlog.get_logger().warning("deprecated", connection=self._name, endpoint=endpoint, **told)


def _is_deprecated(headers: Headers) -> bool:
    """`X-Deprecated: true`, or what RFC 9745 says in its place (docs/sailpoint.md, Errors and limits)."""
    told = (headers.get(name, "").strip().lower() for name in ("x-deprecated", "deprecation"))
    return any(value not in ("", "false") for value in told)
