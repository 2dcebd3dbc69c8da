"""How long to wait before what failed is tried again: longer each time, and not all at the same moment.

Invariant: a pause is never longer than the longest, and the first after a success is the first.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from msgspec import Struct

from syncer.errors import AuthError, SyncerError, WarehouseError

SPREAD = 0.25
"""Part of a pause by which it is shortened or prolonged at random."""


class Span(Struct, frozen=True):
    """The first pause and the longest."""

    first: timedelta
    longest: timedelta


USUAL = Span(timedelta(seconds=10), timedelta(minutes=15))
NEARBY = Span(timedelta(seconds=5), timedelta(minutes=1))
"""For the warehouse: it is ours, and to look costs nothing."""

PARTS = Span(timedelta(minutes=2), timedelta(hours=1))
"""For parts of a poll, where the next poll is far: the rest has got on, and asking costs requests."""

REFUSED = Span(timedelta(minutes=5), timedelta(hours=1))
"""For credentials that were refused: asking often may lock the account."""


class Pauses:
    """Counts failures in a row; `random` gives numbers in [0, 1). Without a span the error says which."""

    def __init__(self, random: Callable[[], float], span: Span | None = None) -> None:
        self._random = random
        self._span = span
        self._failures = 0

    def after(self, error: SyncerError | None = None) -> timedelta:
        """The pause after one more failure."""
        span = self._span or _span(error)
        pause = min(span.first * (1 << min(self._failures, 16)), span.longest)
        self._failures += 1
        return min(pause * (1 - SPREAD + 2 * SPREAD * self._random()), span.longest)

    def reset(self) -> None:
        """Begin anew after a success."""
        self._failures = 0


def _span(error: SyncerError | None) -> Span:
    match error:
        case AuthError():
            return REFUSED
        case WarehouseError():
            return NEARBY
    return USUAL
