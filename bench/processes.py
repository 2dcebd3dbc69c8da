"""What running processes take: time of the processor and memory, from /proc.

Invariant: it only looks. Linux alone tells it this way.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

TICK = 1 / os.sysconf("SC_CLK_TCK")


class Stat(NamedTuple):
    """One process: its parent, and seconds of its own and of the children it has waited for."""

    parent: int
    seconds: float


def stat(pid: int) -> Stat | None:
    """None for a process that has gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is a name in parentheses that may hold anything: counted is what follows.
    fields = text.rpartition(")")[2].split()
    return Stat(int(fields[1]), sum(map(int, fields[11:15])) * TICK)


def cpu_seconds(pid: int) -> float:
    """Of a process and its children, those included that have ended and were waited for."""
    found = (stat(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
    own = stat(pid)
    return (own.seconds if own else 0.0) + sum(each.seconds for each in found if each and each.parent == pid)


def peak_kb(pid: int) -> int:
    """The most memory that a process has had so far."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
