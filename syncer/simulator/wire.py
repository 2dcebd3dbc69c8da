"""What passes between a client and any simulated platform: requests, answers and bad conduct.

Invariant: an Answer says everything that happens on the socket, faults included, so that a fault is a value
and not a patched server. It knows no platform and no socket.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple
from urllib.parse import unquote_to_bytes

Conduct = Literal["send", "cut", "reset", "reset_in_head", "reset_in_body", "refuse", "silent"]


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
class Flood:
    """A body of any length that nobody has to hold: `head`, `unit` so many `times`, `tail`."""

    head: bytes
    unit: bytes
    times: int
    tail: bytes

    def __len__(self) -> int:
        return len(self.head) + len(self.unit) * self.times + len(self.tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self.head
        for _ in range(self.times):
            yield self.unit
        yield self.tail


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server does with a request.

    `conduct`: "send" it whole; "cut" the connection after `cut_at` bytes of the body, although more was
    promised; "reset" it without a byte, "reset_in_head" half way through the headers, "reset_in_body" after
    `cut_at` bytes of the body; "refuse": reset every connection and let in none for `closed_for` seconds; be
    "silent" until the client gives up. `delay` seconds pass before any of it.

    What is promised is a Content-Length or, `chunked`, the chunk that ends the body. A `flood` is sent in the
    place of the body. A Date among the headers takes the place of the clock's, and without a `content_type`
    there is no such header.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = field(default=())
    conduct: Conduct = "send"
    cut_at: int = 0
    delay: float = 0.0
    closed_for: float = 0.0
    chunked: bool = False
    flood: Flood | None = None

    @property
    def length(self) -> int:
        """Bytes of the whole body."""
        return len(self.body if self.flood is None else self.flood)

    def parts(self) -> Iterator[bytes]:
        """What of the body is sent, in pieces."""
        if self.flood is not None:
            yield from self.flood
        else:
            yield self.body if self.conduct == "send" else self.body[: self.cut_at]


class Seen(NamedTuple):
    """A request the simulator has answered. `status` is 0 where nothing was said."""

    method: str
    path: str
    query: dict[str, str]
    status: int
    endpoint: str
    at_ms: int
