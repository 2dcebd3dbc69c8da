"""How often each version of the API may be asked, and routes that stay closed for having been asked too often.

Invariant: no version is held back for what was asked of another. It must not know the answers.
"""

from __future__ import annotations

from collections import defaultdict

from syncer.simulator.limiter import Limiter
from syncer.simulator.sailpoint.switches import Switches

TIERS = (60, 300, 600, 1200)
"""Seconds for which a route stays closed, longer each time."""

_VIOLATIONS, _WITHIN_MS, _REMEMBERED_MS = 3, 120_000, 3_600_000


class Limits:
    """The limits of one client."""

    def __init__(self) -> None:
        self._versions: defaultdict[str, Limiter] = defaultdict(Limiter)
        self._routes: defaultdict[tuple[str, str], _Route] = defaultdict(_Route)
        self._knocked = 0

    @property
    def impolite(self) -> int:
        """Requests made although an earlier answer had said to wait longer."""
        return self._knocked + sum(limiter.impolite for limiter in self._versions.values())

    def take(self, version: str, endpoint: str, switches: Switches, now_ms: int) -> int:
        """Let one request in (0), or say how many seconds it has to wait."""
        route = self._routes[version, endpoint]
        if now_ms < route.closed_until_ms:
            self._knocked += 1
            return -((now_ms - route.closed_until_ms) // 1000)
        wait = self._versions[version].take(switches.rate_limit, switches.rate_window, now_ms)
        if wait and switches.backoff_tiers:
            return max(wait, route.violate(round(switches.rate_window * 1000), now_ms))
        return wait


class _Route:
    """What is remembered of one route."""

    def __init__(self) -> None:
        self.closed_until_ms = 0
        self._intervals: dict[int, int] = {}
        self._tier = -1

    def violate(self, interval_ms: int, now_ms: int) -> int:
        """Take note of a request too many; gives the seconds for which the route is closed now, often 0."""
        self._intervals = {
            key: at_ms for key, at_ms in self._intervals.items() if at_ms > now_ms - _WITHIN_MS
        }
        self._intervals.setdefault(now_ms // interval_ms, now_ms)
        if len(self._intervals) < _VIOLATIONS:
            return 0
        self._intervals.clear()
        forgotten = now_ms - self.closed_until_ms > _REMEMBERED_MS
        self._tier = 0 if forgotten else min(self._tier + 1, len(TIERS) - 1)
        self.closed_until_ms = now_ms + TIERS[self._tier] * 1000
        return TIERS[self._tier]
