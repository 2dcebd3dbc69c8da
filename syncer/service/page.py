"""The status page: what `syncer status` tells in a terminal, for a browser.

Invariant: it shows figures, names and messages, never a payload or a secret, and only reads. All text is escaped: what
came from a source cannot become markup. It must not ask the warehouse itself: what is known of it is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from msgspec import Struct

from syncer import __version__
from syncer.config import Connection, Cron
from syncer.errors import SyncerError
from syncer.service.vitals import Polled, Vitals
from syncer.state.glance import called, holders, pressing
from syncer.state.needs import MISSED, SLACK, needs
from syncer.state.standing import Row, Standing
from syncer.words import length, plural

HOURS = 24
"""Hours that the chart shows."""

ROWS = 20, 5
"""Workflows shown per connection, at most and at least."""

_FILES = files("syncer.service") / "assets"
STYLE = (_FILES / "page.css").read_text()
SCRIPT = (_FILES / "page.js").read_text()


class Look(Struct, frozen=True):
    """What the warehouse knows; `landed` counts by connection what landed in each of the last HOURS."""

    standings: Sequence[Standing] = ()
    landed: Mapping[str, Sequence[int]] = {}


NOTHING = Look()


class _Card(Struct, frozen=True, kw_only=True):
    """One connection as the page shows it."""

    polled: Polled
    standing: Standing | None
    landed: Sequence[int]
    now: datetime

    @property
    def state(self) -> tuple[str, str]:
        """How it does: the level, and one word."""
        if self.polled.trouble is not None:
            return "bad", "fails"
        if self.waiting_until:
            return "late", "waits"
        if self.standing and self.standing.leases:
            return "good", "copies"
        return "good", "rests"

    @property
    def waiting_until(self) -> datetime | None:
        """The end of the wait the source asked for, of this process or another."""
        ends = (self.polled.not_before, self.standing and self.standing.waiting_until)
        return max((end for end in ends if end and end > self.now), default=None)

    @property
    def rows(self) -> Sequence[Row]:
        """The partitions that matter most."""
        return pressing(self.standing.followed, *ROWS) if self.standing else ()

    @property
    def lag(self) -> timedelta | None:
        """That of the partition furthest behind."""
        lags = [row["lag_seconds"] for row in (self.standing.followed if self.standing else ())]
        return timedelta(seconds=max(lags)) if lags and None not in lags else None

    @property
    def is_late(self) -> bool:
        """Whether a partition is further behind than usual, or in error."""
        rows = self.standing.followed if self.standing else ()
        return any(row["last_error"] or self.level(_seconds(row["lag_seconds"])) != "good" for row in rows)

    def level(self, lag: timedelta | None) -> str:
        """How bad a lag is: a few polls may be missed, and a day is a day."""
        if lag is None or lag > max(timedelta(days=1), 2 * self._usual_lag):
            return "bad"
        return "late" if lag > self._usual_lag else "good"

    @property
    def _usual_lag(self) -> timedelta:
        connection: Connection = self.polled.connection
        poll = timedelta(days=1) if isinstance(connection.poll, Cron) else connection.poll
        return connection.settle + MISSED * poll + SLACK


def rendered(
    vitals: Vitals, now: datetime, look: Look = NOTHING, *, trouble: SyncerError | None = None
) -> str:
    """The page; without a look, for the `trouble` that is told, it shows what this process knows by itself."""
    pollers = vitals.pollers()
    known = {each.connection: each for each in look.standings}
    cards = [
        _Card(
            polled=each,
            standing=known.get(each.name),
            landed=look.landed.get(each.name, ()),
            now=now,
        )
        for each in pollers
    ]
    connections = {each.name: each.connection for each in pollers}
    return _TEMPLATE.render(
        version=__version__,
        now=now,
        started_at=vitals.started_at,
        trouble=trouble,
        needs=needs(look.standings, connections, vitals.broken, now),
        cards=cards,
    )


def _seconds(value: float | None) -> timedelta | None:
    return None if value is None else timedelta(seconds=value)


def _duration(value: timedelta | float | None) -> str:
    if value is None:
        return "-"
    return length(value if isinstance(value, timedelta) else timedelta(seconds=value))


def _instant(value: datetime | None) -> str:
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}" if value else "-"


def _bars(counts: Sequence[int]) -> list[tuple[int, int, int]]:
    """Place, height of 100 and count of each bar; what is not nothing can be seen."""
    most = max(counts, default=0)
    return [
        (place, max(round(100 * count / most), 3) if count else 0, count)
        for place, count in enumerate(counts)
    ]


def _environment() -> Environment:
    made = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters |= {
        "duration": _duration,
        "instant": _instant,
        "bars": _bars,
        "called": called,
        "holders": holders,
        "seconds": _seconds,
    }
    made.globals |= {"plural": plural, "HOURS": HOURS}
    return made


_TEMPLATE = _environment().from_string((_FILES / "page.html").read_text())
