"""What was found out: one finding per line, gathered by what it is about.

Invariant: a finding says what is, its hint what to do; both are free of secrets. Must not know who asks or how it
is shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct, field

from syncer.errors import SyncerError


class State(StrEnum):
    """How good or bad a finding is. Only what failed keeps anything from being done."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


class Finding(Struct, frozen=True):
    """What was found about a subject; `is_fatal` where nothing can be done before it is mended."""

    subject: str
    state: State
    finding: str
    hint: str | None = None
    is_fatal: bool = False


class Group(Struct, kw_only=True):
    """Findings about one thing: the configuration, the warehouse, or a connection with the requests it cost."""

    name: str
    about: str = ""
    is_connection: bool = False
    findings: list[Finding] = field(default_factory=list)
    requests: int = 0

    @property
    def is_dead(self) -> bool:
        """Whether nothing can be done with it as it is."""
        return any(each.is_fatal for each in self.findings)


def ok(subject: str, finding: str) -> Finding:
    """All is as it should be."""
    return Finding(subject, State.OK, finding)


def noted(subject: str, finding: str, hint: str | None = None) -> Finding:
    """Worth knowing, and neither good nor bad."""
    return Finding(subject, State.NOTE, finding, hint)


def warning(subject: str, finding: str, hint: str | None) -> Finding:
    """It works, but less well than it could."""
    return Finding(subject, State.WARNING, finding, hint)


def failed(subject: str, error: SyncerError, *, is_fatal: bool = False) -> Finding:
    """Something does not work."""
    return Finding(subject, State.FAILED, error.message, error.hint, is_fatal)


def skipped(subject: str, finding: str) -> Finding:
    """It was not looked at, and why."""
    return Finding(subject, State.SKIPPED, finding)


def count(groups: Iterable[Group], state: State) -> int:
    """How many findings are of this kind."""
    return sum(each.state is state for group in groups for each in group.findings)
