"""What a pass has done, and what it could not do."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from msgspec import Struct, field

from syncer.errors import SyncerError


class Failure(Struct, frozen=True, kw_only=True):
    """One part of a pass that was not done, and why."""

    stream: str
    partition: str
    message: str
    hint: str | None = None


class Report(Struct, kw_only=True):
    """What a pass has done so far; the command line draws its progress and its exit code from it.

    `rows` counts rows committed by table, of workflows and executions those found unchanged, too, but not those read
    once more to prove a window; `steps_read` the executions whose steps were read, of those known to be due;
    `unserved` is the part of a backfill that lies beyond the source's horizon.
    """

    connection_id: str
    phase: str = ""
    rows: Counter[str] = field(default_factory=Counter)
    steps_read: int = 0
    steps_expected: int = 0
    failures: list[Failure] = field(default_factory=list)
    disputed: int = 0
    quarantined: int = 0
    missing: int = 0
    lost: list[str] = field(default_factory=list)
    unserved: str | None = None
    waiting_until: datetime | None = None
    held_by: str | None = None
    stopped: str | None = None
    error: SyncerError | None = None

    @property
    def is_complete(self) -> bool:
        """Whether everything was done and nothing is disputed."""
        return not (self.failures or self.disputed or self.stopped or self.error)

    @property
    def did_nothing(self) -> bool:
        """Whether nothing at all could be done."""
        return bool(self.error or self.failures) and not self.rows.total() and not self.stopped

    @property
    def state(self) -> str:
        """How it ended, in the words of `syncer.runs`."""
        if self.error or self.did_nothing:
            return "failed"
        return "stopped" if self.stopped else "done" if self.is_complete else "partial"
