"""How a source's limit is shared out between the kinds of work: who may make how many requests now.

What was spent lately is counted in slices of the limit's window, so that no window of that length ever holds more
than the limit. Of what is left, every kind at work keeps its share free; the rest goes to whoever comes first in the
order of `Purpose`. Work that is long and can wait may take half of it at once and goes on evenly, so that others find
something left.

Invariant: within any window of the limit's length no more requests are granted than the limit. Pure: `now` is seconds
since 1970 by one clock for all who share the spending.
"""

from __future__ import annotations

from enum import StrEnum
from math import ceil

from msgspec import Struct, field


class Purpose(StrEnum):
    """What a request is made for; those that go first stand first."""

    LIVE = "live"
    """What is new: lists of workflows, and of executions from the watermark on."""
    OPEN = "open"
    """Executions that may still change."""
    SWEEP = "sweep"
    """Lists of what shows no sign of change."""
    STEPS = "steps"
    """Steps of what was created lately."""
    URGENT = "urgent"
    """History that the source is about to delete."""
    HISTORY = "history"
    """What was there before, and its steps."""

    @property
    def rank(self) -> int:
        """0 goes first."""
        return _RANKS[self]


_RANKS = {purpose: rank for rank, purpose in enumerate(Purpose)}

SHARES = {
    Purpose.LIVE: 0.1,
    Purpose.OPEN: 0.1,
    Purpose.STEPS: 0.1,
    Purpose.URGENT: 0.5,
    Purpose.HISTORY: 0.1,
}
"""The part of the limit that each kind gets whatever the others want, while it is at work."""

SWEEPS_AT_MOST = 0.25
"""The part of the limit that sweeps may use."""

EVEN = frozenset((Purpose.STEPS, Purpose.URGENT, Purpose.HISTORY))
"""Work that is spread over the window where there is other work: what comes up meanwhile must find something left."""

AT_ONCE = 0.5
"""The part of what others leave by which such work may run ahead of its pace."""

SLICES = 60
"""Parts of a window in which requests are counted."""

BELIEVED_FOR = 0.1
"""Part of the window for which the source's word on what others have used is believed."""


class Limit(Struct, frozen=True):
    """So many requests in any span of so many seconds."""

    requests: int
    seconds: float

    def __str__(self) -> str:
        span = {60.0: "a minute", 3600.0: "an hour", 86400.0: "a day"}.get(
            self.seconds, f"{self.seconds:g} s"
        )
        return f"{self.requests} requests in {span}"


class Ask(Struct, frozen=True, kw_only=True):
    """So many requests wanted for a purpose.

    `made` were made before the limit was known, and `remaining` is what the source last said is left.
    """

    purpose: Purpose
    wanted: int
    made: int = 0
    remaining: int | None = None


class Grant(Struct, frozen=True):
    """Requests granted; where none is, the seconds after which to ask again, and whether nothing was left."""

    requests: int
    wait: float = 0.0
    is_used_up: bool = False


class Spending(Struct, kw_only=True):
    """What was spent of one limit lately, by all who share it; kept as a document between two grants.

    `spent` counts requests by purpose and slice, `asked_at` says when a purpose last wanted some, `used_up_until`
    when one that found nothing left may ask again, `next_at` when work that is spread evenly is due next. `others` is
    what clients that are not ours have used by the source's word, `others_until` when that is too old.
    """

    seconds: float = 0.0
    spent: dict[Purpose, dict[int, int]] = field(default_factory=dict)
    asked_at: dict[Purpose, float] = field(default_factory=dict)
    used_up_until: dict[Purpose, float] = field(default_factory=dict)
    next_at: dict[Purpose, float] = field(default_factory=dict)
    others: int = 0
    others_until: float = 0.0

    def answer(self, limit: Limit, ask: Ask, now: float) -> Grant:
        """Grant what is asked for, with all that is known by whoever asks."""
        self._forget(limit, now)
        if ask.made:
            self._spend(ask.purpose, ask.made, now)
        if ask.remaining is not None:
            self.note_remaining(limit, ask.remaining, now)
        return self.take(limit, ask.purpose, ask.wanted, now)

    def take(self, limit: Limit, purpose: Purpose, wanted: int, now: float) -> Grant:
        """Grant as many of the wanted requests as may be made now; none where it is another's turn."""
        self._forget(limit, now)
        self.asked_at[purpose] = now
        room = self._room(limit, purpose, now)
        if room <= 0:
            return self._send_away(limit, purpose, now)
        granted = min(wanted, room, self._due(limit, purpose, now))
        if granted <= 0:
            return Grant(0, self._until_due(limit, purpose, now))
        self._spend(purpose, granted, now)
        if purpose in EVEN:
            begin = now + self._ahead(purpose, now)
            self.next_at[purpose] = begin + granted * self._interval(limit, purpose, now)
        return Grant(granted)

    def note_remaining(self, limit: Limit, remaining: int, now: float) -> None:
        """Keep what the source says is left, where that is less than we know of: others use it, too.

        What it says of the moment before requests on their way now makes that of a moment ago no less true.
        """
        self._forget(limit, now)
        others = limit.requests - self._used() - remaining
        if others >= max(self.others, 1):
            self.others, self.others_until = others, now + BELIEVED_FOR * limit.seconds

    def release(self) -> None:
        """Keep nothing free for anybody, until they ask again."""
        self.asked_at.clear()
        self.used_up_until.clear()

    def usage(self, now: float) -> dict[Purpose, int]:
        """Requests in the window that ends now, by purpose, those that go first standing first."""
        if not self.seconds:
            return {}
        self._forget(Limit(0, self.seconds), now)
        return {purpose: self.used(purpose) for purpose in Purpose if self.used(purpose)}

    def used(self, purpose: Purpose) -> int:
        """Requests of this purpose in the window."""
        return sum(self.spent.get(purpose, {}).values())

    def _used(self) -> int:
        return sum(self.used(purpose) for purpose in self.spent)

    def _spend(self, purpose: Purpose, requests: int, now: float) -> None:
        slices = self.spent.setdefault(purpose, {})
        slices[self._slice(now)] = slices.get(self._slice(now), 0) + requests

    def _forget(self, limit: Limit, now: float) -> None:
        """Drop slices that lie wholly before the window; where its length has changed they become one."""
        if self.seconds != limit.seconds:
            made = {purpose: self.used(purpose) for purpose in self.spent}
            self.seconds, self.next_at = limit.seconds, {}
            self.spent = {purpose: {self._slice(now): count} for purpose, count in made.items()}
        present = self._slice(now)
        for purpose, slices in self.spent.items():
            # One far ahead was written by a clock that has been set back since.
            near = {at: count for at, count in slices.items() if abs(present - at) <= SLICES}
            self.spent[purpose] = near
        if now >= self.others_until:
            self.others = 0

    def _room(self, limit: Limit, purpose: Purpose, now: float) -> int:
        """What may be used of the window, were it not for the pace."""
        room = self._left(limit, purpose, now)
        if purpose is Purpose.SWEEP:
            room = min(room, int(SWEEPS_AT_MOST * limit.requests) - self.used(purpose))
        if any(self._is_hungry(limit, other, now) for other in Purpose if other.rank < purpose.rank):
            room = min(room, self._kept_free(limit, purpose))
        return room

    def _is_hungry(self, limit: Limit, purpose: Purpose, now: float) -> bool:
        """Whether this kind of work wants more than it gets: it found nothing left a slice ago, or waits."""
        return now < self.used_up_until.get(purpose, 0.0) + limit.seconds / SLICES

    def _left(self, limit: Limit, purpose: Purpose, now: float) -> int:
        """What is left of the window but for what is kept free for other work."""
        left = limit.requests - self._used() - self.others
        return left - sum(self._kept_free(limit, other) for other in self._at_work(limit, purpose, now))

    def _send_away(self, limit: Limit, purpose: Purpose, now: float) -> Grant:
        """Grant nothing; whoever finds nothing left goes before others that come later in the order."""
        wait = self._until_free(limit, now)
        if self._left(limit, purpose, now) <= 0:
            self.used_up_until[purpose] = now + wait
        return Grant(0, wait, is_used_up=True)

    def _at_work(self, limit: Limit, purpose: Purpose, now: float) -> list[Purpose]:
        """The other kinds of work that are under way or come again and again."""
        return [other for other, at in self.asked_at.items() if other != purpose and at > now - limit.seconds]

    def _kept_free(self, limit: Limit, purpose: Purpose) -> int:
        """What is left of the share of a kind."""
        return max(0, int(SHARES.get(purpose, 0.0) * limit.requests) - self.used(purpose))

    def _others_leave(self, limit: Limit, purpose: Purpose, now: float) -> int:
        """The limit less the shares of the other kinds of work."""
        others = (SHARES.get(other, 0.0) for other in self._at_work(limit, purpose, now))
        return limit.requests - sum(int(share * limit.requests) for share in others)

    def _interval(self, limit: Limit, purpose: Purpose, now: float) -> float:
        """Seconds between two requests of work that is spread evenly over what the others leave."""
        return limit.seconds / max(1, self._others_leave(limit, purpose, now))

    def _lead(self, limit: Limit, purpose: Purpose, now: float) -> float:
        """Seconds by which work that is spread evenly may run ahead of its pace."""
        requests = max(1.0, AT_ONCE * self._others_leave(limit, purpose, now))
        return requests * self._interval(limit, purpose, now)

    def _due(self, limit: Limit, purpose: Purpose, now: float) -> int:
        """How many are due by now, of work that is spread evenly; all of other work, and of work that is alone."""
        if purpose not in EVEN or not self._at_work(limit, purpose, now):
            return limit.requests
        early = self._lead(limit, purpose, now) - self._ahead(purpose, now)
        return int(early / self._interval(limit, purpose, now) + 1e-9)

    def _ahead(self, purpose: Purpose, now: float) -> float:
        """Seconds by which work that is spread evenly runs ahead of its pace."""
        return min(max(0.0, self.next_at.get(purpose, now) - now), self.seconds)

    def _until_due(self, limit: Limit, purpose: Purpose, now: float) -> float:
        """Seconds until the pace allows one more."""
        lead = self._lead(limit, purpose, now) - self._interval(limit, purpose, now)
        return max(self._ahead(purpose, now) - lead, self._shortest)

    def _until_free(self, limit: Limit, now: float) -> float:
        """Seconds until the oldest slice leaves the window, or the source's word on others is too old."""
        oldest = min(
            (at for slices in self.spent.values() for at in slices), default=self._slice(now) - SLICES
        )
        leaves = (oldest + SLICES + 1) * limit.seconds / SLICES - now
        if self.others:
            leaves = min(leaves, self.others_until - now)
        return max(leaves, self._shortest)

    @property
    def _shortest(self) -> float:
        """Seconds below which it is not worth asking again."""
        return self.seconds / SLICES / 10

    def _slice(self, now: float) -> int:
        return int(now * SLICES / self.seconds)


def stricter(first: Limit | None, second: Limit | None) -> Limit | None:
    """The limit that allows less over time."""
    known = [limit for limit in (first, second) if limit is not None]
    return min(known, key=lambda limit: limit.requests / limit.seconds, default=None)


def own_limit(requests_per_second: float) -> Limit | None:
    """A pace of our own as a limit that processes can share: by the minute; None without a pace."""
    if not requests_per_second:
        return None
    seconds = max(60.0, ceil(1 / requests_per_second))
    return Limit(int(requests_per_second * seconds), seconds)
