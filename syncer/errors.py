"""Every error syncer raises on purpose, grouped by what is to be done about it.

    SyncerError
    ├── ConfigError      the user mends the configuration or the command      exit 2
    ├── AuthError        the user mends credentials or rights                 connection stops
    │   └── Forbidden    the user mends rights to one thing                   that thing is left out
    ├── TransientError   trying again later may help                          stream stops
    │   └── Unreachable  nothing was asked: no connection came about           no execution is blamed
    ├── NotFound         the source has no such record (any more)             the record is missing
    ├── RateLimited      the source said to wait                              everything waits
    ├── Postponed        other work needs the requests                        the next poll tries again
    ├── Stopped          we were asked to stop                                work in hand is committed
    ├── ContractError    the source's answer cannot be trusted                the window stays
    ├── RecordError      one record cannot be used                            quarantine
    ├── LeaseLost        another process took over                            the work is dropped
    └── WarehouseError   PostgreSQL refused or is away                        nothing can land

A message never holds a credential, a payload or a response body.
"""

from __future__ import annotations

import traceback
from datetime import datetime
from pathlib import Path


class SyncerError(Exception):
    """Base of all errors made for people: `message` says what is wrong, `hint` what to do.

    `connection`, `stream` and `window` say where it happened; the layer that knows fills them in.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.connection: str | None = None
        self.stream: str | None = None
        self.window: str | None = None

    def at(
        self, connection: str | None = None, stream: str | None = None, window: str | None = None
    ) -> SyncerError:
        """Fill in where it happened, unless a lower layer already has."""
        self.connection = self.connection or connection
        self.stream = self.stream or stream
        self.window = self.window or window
        return self

    def __str__(self) -> str:
        where = " ".join(part for part in (self.connection, self.stream, self.window) if part)
        text = f"{where}: {self.message}" if where else self.message
        return f"{text} ({self.hint})" if self.hint else text


class ConfigError(SyncerError):
    """The configuration or the command line is wrong."""


class AuthError(SyncerError):
    """The source refused the credentials or the rights of their owner."""


class Forbidden(AuthError):
    """The source answered 403: the rights may be missing for this one thing alone."""


class TransientError(SyncerError):
    """A fault that may pass: timeouts, cut connections, 5xx, answers cut short."""


class Unreachable(TransientError):
    """No connection came about, so that nothing was asked: what was to be asked for has no part in it."""


class NotFound(SyncerError):
    """The source answered 404."""


class RateLimited(SyncerError):
    """The source said to wait. `until` is UTC by the local clock."""

    def __init__(self, message: str, until: datetime) -> None:
        super().__init__(message)
        self.until = until


class Postponed(SyncerError):
    """What was to be asked can wait, and must: its part of the source's limit is used."""


class Stopped(SyncerError):
    """No new request may be made: a signal came or the time given is over."""


class ContractError(SyncerError):
    """The shape of an answer is unknown, or a window could not be proved: nothing moves past it."""


class RecordError(SyncerError):
    """One record has no usable identity; it goes to quarantine and its page lands."""


class LeaseLost(SyncerError):
    """Another process holds the lease now; nothing of this work may be committed."""


class WarehouseError(SyncerError):
    """PostgreSQL is away, refuses, or holds a schema this version cannot use."""


def unexpected(error: Exception) -> SyncerError:
    """A sentence about a fault of ours: its kind and place alone, because its text may hold anything."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "syncer" in Path(frame.filename).parts] or frames
    place = f" at {Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
    return SyncerError(
        f"unexpected {type(error).__name__}{place}",
        "this is a fault of syncer: run it again with --debug and report what it shows",
    )
