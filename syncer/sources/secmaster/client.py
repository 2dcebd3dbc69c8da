"""A client whose requests are signed with the platform's time.

Invariant: a refused signature is made anew once, with the time that the refusal told, and no more often. It must not
know how a signature is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import httpx

from syncer.errors import AuthError, Forbidden
from syncer.http import Answer, Client
from syncer.http.client import Query

T = TypeVar("T")


class SigningClient(Client):
    """For an access key: a local clock that is wrong is found out by a first refusal, and costs no more."""

    async def read(self, path: str, query: Query = (), *, endpoint: str, parse: Callable[[Answer], T]) -> T:
        """Read what stands at the path; as `Client.read`, but for a second try where the first is refused."""
        try:
            return await super().read(path, query, endpoint=endpoint, parse=parse)
        except Forbidden:
            raise
        except AuthError:
            return await super().read(path, query, endpoint=endpoint, parse=parse)

    async def _exchange(self, request: httpx.Request, endpoint: str) -> Answer:
        """A signature is judged by the clock of whoever refuses it, so here a refusal tells the time, too."""
        answer = await super()._exchange(request, endpoint)
        if answer.status == 401:
            self._note_date(answer.headers.get("date", ""))
        return answer
