"""Payloads of a size that one chooses, made of the plausible ones that the simulator composes.

Invariant: `redacted` is put together beside `value`, never computed from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import msgspec

from syncer.simulator.payloads import Composed, Side, encode

HALF_A_PART = 700
"""Bytes by which a payload made of whole parts is too large on average."""


@dataclass(frozen=True)
class Sized:
    """A payload of about `size` bytes of JSON; only an input holds a planted secret."""

    node_type: str
    side: Side
    variant: int
    size: int

    @cached_property
    def parts(self) -> list[Composed]:
        """As many payloads as the size takes."""
        parts = [self._part(self.side, 0)]
        while len(msgspec.json.encode([part.value for part in parts])) < self.size - HALF_A_PART:
            parts.append(self._part("output", len(parts)))
        return parts

    @cached_property
    def text(self) -> bytes:
        """The document as JSON."""
        return msgspec.json.encode(self.value)

    @cached_property
    def encoded(self) -> bytes:
        """As the platform serves it: a JSON string of base64 of gzip."""
        return encode(self.text)

    @property
    def value(self) -> list[Any]:
        """The document."""
        return [part.value for part in self.parts]

    @property
    def redacted(self) -> list[Any]:
        """The document as the default `redact_keys` leave it."""
        return [part.redacted for part in self.parts]

    def __reduce__(self) -> tuple[object, ...]:
        """By name: whoever unpickles it finds the one of the stock."""
        return sized, (self.node_type, self.side, self.variant, self.size)

    def _part(self, side: Side, at: int) -> Composed:
        return Composed(self.node_type, side, 1000 * self.variant + at)


@cache
def sized(node_type: str, side: Side, variant: int, size: int) -> Sized:
    """The one of this name, whoever asks: it is composed and encoded once."""
    return Sized(node_type, side, variant, size)
