"""Counts and lengths of time as people read them, in a terminal or on a page."""

from __future__ import annotations

from datetime import timedelta


def length(duration: timedelta) -> str:
    """A length of time in its two largest units: 3d 4h, 12m, 45s."""
    rest = max(round(duration.total_seconds()), 0)
    parts: list[tuple[int, str]] = []
    for unit, seconds in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, seconds)
        if count or parts:
            parts.append((count, unit))
    return " ".join(f"{count}{unit}" for count, unit in parts[:2] if count) or "0s"


def plural(count: int, noun: str) -> str:
    """1 window, 2 windows."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
