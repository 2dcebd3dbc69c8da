"""The ledger of history: what has been copied stays copied, whatever the source's clock says next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from syncer.model import Window
from syncer.state.watermarks import current_entry, finish_entry, open_entries, open_history

NOW = datetime(2026, 3, 10, 11, 0, tzinfo=UTC)
SINCE = NOW - timedelta(days=30)


def test_history_that_is_copied_does_not_end_earlier_where_the_clock_is_told_earlier(engine: Engine) -> None:
    """A first pass died after it had copied the history and before its live window: the next one begins anew."""
    earlier = NOW - timedelta(milliseconds=30)
    with engine.begin() as db:
        open_history(db, "toy", "w1", Window(SINCE, NOW), NOW)
        (entry,) = open_entries(db, "toy", "initial")
        finish_entry(db, "toy", entry, NOW)
        open_history(db, "toy", "w1", Window(SINCE, earlier), NOW)
        (again,) = open_entries(db, "toy", "initial")
        assert (again.until, again.position) == (NOW, NOW)
        open_history(db, "toy", "w1", Window(SINCE, NOW + timedelta(hours=1)), NOW)
        current = current_entry(db, "toy", again)
        (grown,) = open_entries(db, "toy", "initial")
    assert current is None
    assert (grown.until, grown.position) == (NOW + timedelta(hours=1), NOW)
