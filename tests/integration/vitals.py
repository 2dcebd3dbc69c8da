"""A service that a test can put into any state, as the web server sees it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Engine

from syncer.config import Connection
from syncer.errors import SyncerError
from syncer.http import Traffic


@dataclass
class FakePoller:
    """One connection that polls nothing."""

    connection: Connection
    rows: Counter[str] = field(default_factory=Counter)
    traffic: Traffic = field(default_factory=Traffic)
    waits: int = 0
    not_before: datetime | None = None
    trouble: SyncerError | None = None
    last_success_at: datetime | None = None

    @property
    def name(self) -> str:
        return self.connection.name


@dataclass
class FakeService:
    """A service that does nothing."""

    engine: Engine | None = None
    polled: Sequence[FakePoller] = ()
    trouble: SyncerError | None = None
    broken: Mapping[str, Sequence[str]] = field(default_factory=dict)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    idle_for: float = 0.0

    def idle(self) -> float:
        return self.idle_for

    def pollers(self) -> Sequence[FakePoller]:
        return self.polled
