"""What passes between a client and any simulated platform: requests, answers and bad conduct.

Invariant: an Answer says everything that happens on the socket, faults included, so that a fault is a value
and not a patched server. It knows no platform and no socket.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple
from urllib.parse import unquote_to_bytes

Conduct = Literal["send", "cut", "reset", "silent"]


@dataclass(frozen=True, slots=True)
class Request:
    """One request, header names in lower case, the target as it came."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> list[tuple[str, str]]:
        """The parameters in their order, repeated ones included."""
        return form_fields(self.target.partition("?")[2])

    @property
    def form(self) -> list[tuple[str, str]]:
        return form_fields(self.body.decode("ascii", "replace"))


def form_fields(text: str) -> list[tuple[str, str]]:
    """`a=b&c=d` taken apart; what is not UTF-8 behind its percent signs shows as U+FFFD."""
    pairs = (part.partition("=") for part in text.split("&") if part)
    return [(_unquoted(name), _unquoted(value)) for name, _, value in pairs]


def _unquoted(text: str) -> str:
    return unquote_to_bytes(text.replace("+", " ")).decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server does with a request.

    `conduct`: "send" it whole; "cut" the connection after `cut_at` bytes of the body, although
    Content-Length promises all of it; "reset" the connection without a byte; be "silent" until the
    client gives up. `delay` seconds pass before any of it.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = field(default=())
    conduct: Conduct = "send"
    cut_at: int = 0
    delay: float = 0.0


class Seen(NamedTuple):
    """A request the simulator has answered. `status` is 0 where nothing was said."""

    method: str
    path: str
    query: dict[str, str]
    status: int
    endpoint: str
    at_ms: int
