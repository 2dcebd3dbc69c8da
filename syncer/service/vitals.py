"""What the service shows of itself, for the web server to tell.

Invariant: everything here is read from another thread while the service works. It must not know who provides it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from sqlalchemy import Engine

from syncer.config import Connection
from syncer.errors import SyncerError
from syncer.http import Traffic


class Polled(Protocol):
    """One connection in the service. Counters only grow; rows are counted once they are committed."""

    @property
    def name(self) -> str:
        """Its name in the configuration."""

    @property
    def connection(self) -> Connection:
        """Its configuration in force."""

    @property
    def rows(self) -> Mapping[str, int]:
        """Rows committed so far by the table's name."""

    @property
    def traffic(self) -> Traffic:
        """Answers so far."""

    @property
    def waits(self) -> int:
        """Waits the source has asked for so far."""

    @property
    def not_before(self) -> datetime | None:
        """End of the present wait, UTC by the local clock."""

    @property
    def trouble(self) -> SyncerError | None:
        """Why it does not get on; None if all is well."""

    @property
    def last_success_at(self) -> datetime | None:
        """End of the last complete poll in this process."""


class Vitals(Protocol):
    """The service as a whole."""

    @property
    def started_at(self) -> datetime:
        """When the service began, UTC."""

    @property
    def engine(self) -> Engine | None:
        """The warehouse; None until it was reached for the first time."""

    @property
    def trouble(self) -> SyncerError | None:
        """Why the warehouse cannot be worked with; None if it can."""

    @property
    def broken(self) -> Mapping[str, Sequence[str]]:
        """Connections whose configuration cannot be used, with the problems."""

    def idle(self) -> float:
        """Seconds since the service's event loop last turned."""

    def pollers(self) -> Sequence[Polled]:
        """Every connection that is polled."""
