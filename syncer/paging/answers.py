"""What an answer adds to a window, and what a span of it ended as: the values that paging hands out.

Invariant: a portion is committed whole, with the instant it covers. Must not know how pages are asked for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b

from msgspec import Struct

from syncer.model import Execution, Page, Reject, Window

MAX_PASSES = 5
"""Passes over a window that differ from each other before it is left for the next run."""


class Asked(Struct, frozen=True, kw_only=True):
    """When a request was sent: by the database's clock, and by the source's where that is known."""

    at: datetime
    source_at: datetime


class Answer(Struct, frozen=True, kw_only=True):
    """One page and when it was asked for."""

    page: Page[Execution]
    asked: Asked


Ask = Callable[[Window, int], Awaitable[Answer]]


class Verdict(StrEnum):
    """How a span of a window ended."""

    PROVED = "proved"
    DISPUTED = "disputed"
    UNPROVED = "unproved"


class Span(Struct, frozen=True, kw_only=True):
    """A span read to a verdict: the ids in it, how many the source told. `end` is exclusive if `is_cut`.

    `names` are the ids that the source surely has, those of rejects included; None where a reject names none.
    """

    window: Window
    verdict: Verdict
    ids: frozenset[str]
    names: frozenset[str] | None
    told: int | None
    is_cut: bool


class Portion(Struct, frozen=True, kw_only=True):
    """What one answer adds, to be committed as one: new rows, rejects, and how far the window is covered now.

    `is_again` where a pass before brought the whole window already, and this one is to prove it.
    """

    rows: tuple[Execution, ...] = ()
    rejects: tuple[Reject, ...] = ()
    asked: Asked | None = None
    is_again: bool = False
    covered: datetime | None = None
    span: Span | None = None


def reject_key(reject: Reject) -> str:
    """Name a record without identity by what was sent, so that it counts once."""
    return "reject:" + blake2b(reject.raw, digest_size=16).hexdigest()
