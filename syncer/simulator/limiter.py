"""How often a tenant may be asked: requests in a rolling window.

Invariant: it remembers who was told to wait, so that impatience can be counted. It must not know how a platform puts
its refusal.
"""

from __future__ import annotations

import math
from collections import deque


class Limiter:
    """Counts requests in a rolling window and remembers who was told to wait."""

    def __init__(self) -> None:
        self._taken_ms: deque[int] = deque()
        self._wait_until_ms = 0
        self.impolite = 0
        """Requests made although an earlier answer had said to wait longer."""

    def take(self, limit: int | None, window: float, now_ms: int, *, is_told: bool = True) -> int:
        """Let one request in (0), or say how many seconds it has to wait; `window` is in seconds.

        A limit of 0 lets nothing in. What is never told (`is_told`) need not be kept.
        """
        if limit is None:
            return 0
        window_ms = round(window * 1000)
        self.impolite += now_ms < self._wait_until_ms
        while self._taken_ms and self._taken_ms[0] <= now_ms - window_ms:
            self._taken_ms.popleft()
        if len(self._taken_ms) < limit:
            self._taken_ms.append(now_ms)
            return 0
        oldest_ms = self._taken_ms[0] if self._taken_ms else now_ms
        wait = max(1, math.ceil((oldest_ms + window_ms - now_ms) / 1000))
        if is_told:
            self._wait_until_ms = max(self._wait_until_ms, now_ms + wait * 1000)
        return wait

    def left(self, limit: int) -> int:
        return limit - len(self._taken_ms)
