"""The status page: what it says of every state, and that nothing a source says becomes markup."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest

from syncer.errors import AuthError, WarehouseError
from syncer.service.page import HOURS, Look, rendered
from syncer.state.standing import Standing
from tests.integration.vitals import FakePoller, FakeService
from tests.passes import settings
from tests.standings import DAY, HOUR, MINUTE, NOW, partition, run, stand

HOSTILE = "<script>alert('1')</script> & \"more\""


class Page(HTMLParser):
    """What a page shows, without what is only markup."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.classes: list[str] = []
        self._words: list[str] = []
        self.feed(source)
        self.text = " ".join(" ".join(self._words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.classes += (dict(attrs).get("class") or "").split()

    def handle_data(self, data: str) -> None:
        self._words.append(data)


def shown(
    *standings: Standing,
    poller: FakePoller | None = None,
    landed: dict[str, list[int]] | None = None,
    **changes: Any,
) -> Page:
    """The page of one connection."""
    poller = poller or FakePoller(settings(**changes))
    service = FakeService(polled=[poller], started_at=NOW - HOUR)
    return Page(rendered(service, NOW, Look(standings, landed or {})))


def test_all_is_well_where_nothing_is_to_be_done() -> None:
    page = shown(stand(partitions=[partition("w1"), partition("w2")]))
    assert "All is well." in page.text
    assert "2 workflows, none behind" in page.text
    assert {"late", "bad"} & set(page.classes) == {"bad"}, "only the hidden line about silence"
    assert "running for 1h" in page.text


def test_without_a_connection_nothing_is_well() -> None:
    page = Page(rendered(FakeService(started_at=NOW), NOW))
    assert "No connection is configured." in page.text
    assert "All is well" not in page.text


def test_what_there_is_to_do_is_told_with_what_to_do() -> None:
    page = shown(stand(quarantined=3))
    assert "1 thing to do" in page.text
    assert "3 records put aside" in page.text
    assert "code" in page.tags
    assert "see syncer quarantine list" in page.text
    assert "All is well" not in page.text


def test_a_connection_that_cannot_be_used_is_told() -> None:
    service = FakeService(polled=[], broken={"typo": ["poll: bad"]}, started_at=NOW)
    page = Page(rendered(service, NOW))
    assert "cannot be used: poll: bad" in page.text
    assert "No connection is configured" not in page.text


def test_a_warehouse_that_is_away_is_told_and_what_is_known_is_shown() -> None:
    poller = FakePoller(settings(), trouble=AuthError("the password was refused", "mend the secret"))
    service = FakeService(polled=[poller], started_at=NOW)
    page = Page(rendered(service, NOW, trouble=WarehouseError("it is gone", "start it")))
    for words in ("it is gone", "start it", "fails", "the password was refused", "mend the secret"):
        assert words in page.text
    assert "All is well" not in page.text
    assert "Nothing has been copied yet" not in page.text, "who knows?"


@pytest.mark.parametrize(
    ("lag", "poll", "level"),
    [
        (5 * MINUTE, HOUR, "good"),
        (3 * HOUR, HOUR, "good"),
        (5 * HOUR, HOUR, "late"),
        (25 * HOUR, HOUR, "bad"),
        (2 * DAY, DAY, "good"),
        (5 * DAY, DAY, "late"),
        (8 * DAY, DAY, "bad"),
        (2 * DAY, "0 5 * * *", "good"),
    ],
)
def test_a_lag_has_a_colour_by_how_often_one_polls(lag: Any, poll: Any, level: str) -> None:
    row = partition("w1", lag_seconds=lag.total_seconds())
    page = shown(stand(partitions=[row]), poll=poll)
    assert page.classes.count(level) >= 2, "the tile and the row"
    assert ("none behind" in page.text) == (level == "good")


def test_a_partition_that_was_never_read_is_as_bad_as_can_be() -> None:
    page = shown(stand(partitions=[partition("w1", lag_seconds=None, watermark_at=None)]))
    assert page.classes.count("bad") >= 3


def test_a_wait_is_told_with_its_end() -> None:
    page = shown(stand(waiting_until=NOW + 90 * MINUTE, waiting_reason="300 requests an hour"))
    assert "waits" in page.text
    assert "Waits until 2026-03-10 12:30 UTC, 1h 30m more: 300 requests an hour" in page.text
    assert "All is well." in page.text, "waiting is getting on"


def test_a_wait_of_this_process_alone_is_told_and_one_that_is_over_is_not() -> None:
    assert "5m more" in shown(stand(), poller=FakePoller(settings(), not_before=NOW + 5 * MINUTE)).text
    assert "Waits until" not in shown(stand(), poller=FakePoller(settings(), not_before=NOW - MINUTE)).text


def test_work_is_told_with_how_far_it_is_and_how_long_it_takes() -> None:
    lease = {"owner": "host/12/x", "stream": "steps", "partition": "", "lane": "history"}
    standing = stand(leases=[lease], history_copied=0.25, seconds_left=7200.0, backlog_windows=2)
    page = shown(standing)
    assert "copies" in page.text
    assert "25% of the history that was found is listed." in page.text
    assert "2h left" in page.text
    assert "host, process 12: steps history" in page.text


def test_a_source_that_deletes_faster_is_told() -> None:
    standing = stand(history_copied=0.5, backlog_windows=1, falls_behind=True, seconds_left=10.0)
    page = shown(standing)
    assert "The source deletes some before it is copied." in page.text
    assert "10s left" not in page.text


def test_the_limit_is_told_with_what_is_used_of_it() -> None:
    page = shown(stand(limit={"requests": 300, "seconds": 3600, "used": {"live": 40, "history": 2}}))
    assert "requests of 300 in 1h 42" in page.text


def test_the_last_day_is_a_chart_in_which_little_can_be_seen() -> None:
    landed = [0] * (HOURS - 2) + [1, 5000]
    page = shown(stand(), landed={"toy": landed})
    assert page.tags.count("rect") == HOURS
    assert "1 h ago: 5,000" in page.text
    assert "5,001, at most 5,000" in page.text
    source = rendered(
        FakeService(polled=[FakePoller(settings())], started_at=NOW), NOW, Look([stand()], {"toy": landed})
    )
    assert source.count('height="0"') == HOURS - 2


def test_of_many_workflows_those_behind_are_shown() -> None:
    rows = [partition(f"w{number}") for number in range(50)]
    rows[37] |= {"last_error": "it is not allowed", "lag_seconds": 9 * DAY.total_seconds()}
    page = shown(stand(partitions=rows))
    assert "Workflow w37" in page.text
    assert "it is not allowed" in page.text
    assert "and 45 more workflows" in page.text


def test_what_is_not_followed_counts_nowhere() -> None:
    gone = partition("w9", lag_seconds=90 * DAY.total_seconds(), is_followed=False)
    page = shown(stand(partitions=[partition("w1"), gone]))
    assert "1 workflow, none behind" in page.text
    assert "w9" not in page.text


def test_nothing_that_a_source_says_becomes_markup() -> None:
    row = partition("w1", workflow_name=HOSTILE, last_error=HOSTILE)
    standing = stand(
        partitions=[row],
        waiting_until=NOW + HOUR,
        waiting_reason=HOSTILE,
        last_run=run("failed", error=HOSTILE),
        failing_since=NOW - HOUR,
        leases=[{"owner": f"{HOSTILE}/1/x", "stream": HOSTILE, "partition": HOSTILE, "lane": HOSTILE}],
    )
    poller = FakePoller(settings(), trouble=AuthError(HOSTILE, HOSTILE))
    page = shown(standing, poller=poller)
    assert page.tags.count("script") == 1, "our own"
    assert page.text.count("alert('1')") >= 7
