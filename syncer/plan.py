"""What to ask for next: watermark, clock and horizon into windows, open executions into looks, names into choices.

Invariant: windows that belong together tile their span without a gap, neighbours sharing their boundary
instant, and none to be read reaches back beyond the horizon. This module must not know a source, a database
or the time: every instant comes in as an argument, aware and by the source's clock.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from itertools import groupby, pairwise

from msgspec import Struct

from syncer.model import Window

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_FIRST_LOOK = timedelta(hours=1)
_RAREST_LOOK = timedelta(hours=6)
_WRONG_CLOCK = timedelta(minutes=1)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def horizon_start(now: datetime, horizon: timedelta, margin: timedelta = timedelta(seconds=60)) -> datetime:
    """Return the oldest instant to ask for; the margin is for a request on its way."""
    return min(now - horizon + margin, now)


def live_window(
    watermark: datetime | None, now: datetime, lookback: timedelta, horizon_start: datetime
) -> Window:
    """Return what one pass over the newest executions reads; older history is the ledger's.

    A watermark ahead of the clock counts as now: reading too much does no harm, an empty window hides rows.
    """
    if watermark is None:
        watermark, lookback = now, max(lookback, _FIRST_LOOK)
    return Window(max(min(watermark, now) - lookback, horizon_start), now)


def believable(
    watermark: datetime | None, asked_at: datetime | None, source_now: datetime, now: datetime
) -> datetime | None:
    """Return the watermark, or what the source's clock showed when it was set where that is clearly earlier.

    `now` and `asked_at` are by one clock of ours, which need not be right: only the time between them counts. A source
    whose clock was hours ahead for a while, at one node of a gateway, has moved the watermark over what it had not
    shown yet.
    """
    if watermark is None or asked_at is None:
        return watermark
    shown = source_now - (now - asked_at)
    return watermark if watermark <= shown + _WRONG_CLOCK else shown


def lost_span(watermark: datetime | None, horizon_start: datetime) -> Window | None:
    """Return what the source deleted before it was copied: the part between watermark and horizon."""
    if watermark is None or watermark >= horizon_start:
        return None
    return Window(watermark, horizon_start)


def days(since: datetime, until: datetime) -> list[Window]:
    """Part [since, until] at UTC midnights; an empty or backward span gives none."""
    bounds = [since]
    while bounds[-1] < until:
        bounds.append(min(_midnight(bounds[-1]) + _DAY, until))
    return [Window(start, end) for start, end in pairwise(bounds)]


def halves(window: Window, tick: timedelta) -> tuple[Window, Window] | None:
    """Part a window in the middle, at a whole tick; None where no tick lies inside it for certain."""
    if window.length <= tick:
        return None
    middle = window.start + window.length // 2
    middle -= (middle - _EPOCH) % tick
    if middle <= window.start:
        middle += tick
    return Window(window.start, middle), Window(middle, window.end)


def parse_since(text: str, now: datetime) -> datetime:
    """Read ISO 8601 (UTC where it names no zone) or an age such as "7d", rounded down to its UTC day.

    Raises ValueError with a message for the person who typed it.
    """
    text = text.strip()
    try:
        age = re.fullmatch(r"([0-9]+)([smhdw])", text)
        if age:
            return _midnight(now - timedelta(**{_UNITS[age[2]]: int(age[1])}))
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} lies outside the calendar: give a later time") from None
    except ValueError:
        raise ValueError(
            f"{text!r} is neither a time nor an age: write 2026-10-01, 2026-10-01T12:00:00Z, 7d or 12h"
        ) from None


def is_chosen(workflow_id: str, name: str | None, patterns: Sequence[str]) -> bool:
    """Whether one of the ids or name globs names the workflow; no patterns choose all."""
    return not patterns or any(
        pattern == workflow_id or fnmatchcase(name or "", pattern) for pattern in patterns
    )


def due_for_look(
    created_at: datetime, previous_pass: datetime | None, now: datetime, poll: timedelta
) -> bool:
    """Whether an open execution is to be read again in this pass: the older, the more rarely.

    A look falls due at every multiple, counted from its creation, of an interval that grows with its age: a
    tenth of it, rounded down to `poll` (more than zero) times a power of two, at most six hours. Multiples of
    a doubled interval are multiples of the former too, so growing skips no look, and nothing is remembered.
    """
    if previous_pass is None or previous_pass > now:
        return True
    age = now - created_at
    longest = max(min(age / 10, _RAREST_LOOK), poll)
    interval = poll * (1 << ((longest // poll).bit_length() - 1))
    return age // interval > (previous_pass - created_at) // interval


class OpenExecution(Struct, frozen=True, kw_only=True):
    """An open execution; `rank` counts all executions of its partition in the warehouse by creation."""

    execution_id: str
    created_at: datetime
    rank: int


def open_looks(executions: Sequence[OpenExecution], page_size: int) -> list[Window | str]:
    """Plan how to read open executions again with the fewest requests: by window or by id, oldest first.

    A window costs a request for every page of executions, open or not, from its first rank to its last; an id
    costs one. Each execution is covered once: those of one instant stay together, as a window holds them all.
    Where both cost the same, ids win: such an answer may bring the steps too, and tells what is gone. To
    leave out what has left the horizon is for the caller.
    """
    ordered = sorted(executions, key=lambda one: (one.created_at, one.rank, one.execution_id))
    instants = [list(group) for _, group in groupby(ordered, key=lambda one: one.created_at)]
    starts = _cheapest_starts(instants, page_size)
    looks: list[Window | str] = []
    end = len(instants)
    while end:  # backwards, since each instant knows the cheapest way that leads up to it
        last, start = instants[end - 1], starts[end - 1]
        if start is None:
            looks += [one.execution_id for one in reversed(last)]
        else:
            looks.append(Window(instants[start][0].created_at, last[0].created_at))
        end = end - 1 if start is None else start
    return looks[::-1]


def _cheapest_starts(instants: Sequence[Sequence[OpenExecution]], page_size: int) -> list[int | None]:
    """Say for each instant where the window that ends with it had best begin; None where ids are as cheap.

    A window over ranks a to b takes ceil((b + 1 - a) / size) requests: the page of b + 1 less the page of a,
    and one more where b + 1 lies further into its page than a. So one start is best for every end: the one
    that saves most (its page less the requests before it), of those the one furthest into its page. Only that
    one is kept, which makes 10,000 instants linear.
    """
    requests = 0
    best: tuple[int, int, int] | None = None
    starts: list[int | None] = []
    for index, group in enumerate(instants):
        page, offset = divmod(group[0].rank, page_size)
        start = (page - requests, offset, -index)
        best = start if best is None else max(best, start)
        saved, best_offset, earliest = best
        end_page, end_offset = divmod(group[-1].rank + 1, page_size)
        by_window = end_page - saved + (end_offset > best_offset)
        by_ids = requests + len(group)
        requests = min(by_ids, by_window)
        starts.append(None if by_ids <= by_window else -earliest)
    return starts


def _midnight(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
