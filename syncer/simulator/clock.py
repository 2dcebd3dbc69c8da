"""The time at the simulated source, which need not be the time here.

Invariant: it never goes back. It knows no platform; every time the simulator tells comes from one Clock.
"""

from __future__ import annotations

import threading
import time
from datetime import datetime
from email.utils import formatdate


class Clock:
    """Milliseconds since 1970: running from `start`, or standing still there until advanced.

    Without a start it shows the real time.
    """

    def __init__(self, start: datetime | None = None, *, frozen: bool = False) -> None:
        self._lock = threading.Lock()
        self._offset_ms = 0 if start is None else round(start.timestamp() * 1000) - _real_ms()
        self._frozen_at = _real_ms() + self._offset_ms if frozen else None

    def now_ms(self) -> int:
        with self._lock:
            return self._now()

    def advance(self, seconds: float) -> None:
        """Let time pass at the source without waiting for it."""
        if seconds < 0:
            raise ValueError("the clock of a source does not go back")
        with self._lock:
            if self._frozen_at is not None:
                self._frozen_at += round(seconds * 1000)
            else:
                self._offset_ms += round(seconds * 1000)

    def freeze(self) -> None:
        with self._lock:
            self._frozen_at = self._now()

    def run(self) -> None:
        """Go on from where it stands."""
        with self._lock:
            self._offset_ms = self._now() - _real_ms()
            self._frozen_at = None

    def http_date(self) -> str:
        """As a `Date` header tells it: whole seconds, rounded down."""
        return formatdate(self.now_ms() // 1000, usegmt=True)

    def _now(self) -> int:
        return _real_ms() + self._offset_ms if self._frozen_at is None else self._frozen_at


def _real_ms() -> int:
    return time.time_ns() // 1_000_000
