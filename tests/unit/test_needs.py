"""What needs a person, and what does not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from syncer.config import Cron
from syncer.state.needs import KINDS, Need, needs
from syncer.state.standing import Row, Standing
from tests.passes import settings
from tests.standings import DAY, HOUR, MINUTE, NOW, run, stand


def found(*standings: Standing, **changes: Any) -> list[Need]:
    return needs(standings, {"toy": settings(**changes)}, {}, NOW)


def kinds(*standings: Standing, **changes: Any) -> list[str]:
    return [need.kind for need in found(*standings, **changes)]


def audit(verdict: str, seen: timedelta = HOUR) -> Row:
    return {"verdict": verdict, "last_seen_at": NOW - seen}


def partition(name: str, error: str | None = None, *, is_followed: bool = True) -> Row:
    return {"partition": name, "workflow_name": None, "last_error": error, "is_followed": is_followed}


TROUBLES: dict[str, dict[str, Any]] = {
    "lost": {"audit": [audit("lost")]},
    "deletion": {"seconds_until_deletion": 3600.0},
    "failing": {"last_run": run("failed", error="refused"), "failing_since": NOW - HOUR},
    "idle": {"last_run": run(ended=5 * HOUR)},
    "behind": {"falls_behind": True},
    "error": {"partitions": [partition("w", "it is broken")]},
    "differs": {"audit": [audit("differs")]},
    "unclear": {"audit": [audit("disputed")]},
    "quarantine": {"quarantined": 3},
    "steps": {"steps_failed": 2},
}


def test_where_all_is_well_nothing_is_needed() -> None:
    assert found(stand()) == []


@pytest.mark.parametrize("kind", TROUBLES)
def test_every_trouble_says_where_what_and_what_to_do(kind: str) -> None:
    (need,) = found(stand(**TROUBLES[kind]))
    assert (need.kind, need.connection) == (kind, "toy")
    assert need.message
    assert need.hint


def test_every_kind_is_tried_here() -> None:
    assert set(KINDS) == {*TROUBLES, "configuration"}


def test_the_most_pressing_comes_first_whichever_connection_it_is_of() -> None:
    connections = [settings(name=f"c{number}") for number in range(len(TROUBLES))]
    standings = [
        stand(connection=each.name, **trouble)
        for each, trouble in zip(connections, reversed(TROUBLES.values()), strict=True)
    ]
    broken = {"typo": ["connections.typo.poll: bad", "connections.typo.x: unknown"]}
    told = [need.kind for need in needs(standings, {each.name: each for each in connections}, broken, NOW)]
    assert told == sorted(told, key=KINDS.index)
    assert set(told) == set(KINDS)


def test_a_connection_that_is_not_configured_any_more_needs_nobody() -> None:
    assert kinds(stand(connection="former", falls_behind=True, last_run=run(ended=90 * DAY))) == []


def test_waiting_needs_nobody() -> None:
    waiting = {"waiting_until": NOW + 9 * HOUR, "waiting_reason": "limited"}
    assert kinds(stand(last_run=run(ended=8 * HOUR), **waiting)) == []


def test_who_works_at_present_is_not_idle() -> None:
    lease = {"owner": "host/1/2", "stream": "steps", "partition": "", "lane": "live"}
    long_ago = run(ended=8 * HOUR) | {"ended_at": None}
    assert kinds(stand(last_run=long_ago, leases=[lease])) == []
    assert kinds(stand(last_run=long_ago)) == ["idle"]


def test_a_connection_that_was_never_polled_is_idle() -> None:
    assert kinds(stand(last_run=None)) == ["idle"]


@pytest.mark.parametrize(("ended", "expected"), [(20 * MINUTE, []), (30 * MINUTE, ["idle"])])
def test_idle_is_what_misses_three_polls(ended: timedelta, expected: list[str]) -> None:
    assert kinds(stand(last_run=run(ended=ended))) == expected


@pytest.mark.parametrize(("ended", "expected"), [(31 * HOUR, []), (35 * HOUR, ["idle"])])
def test_what_is_polled_by_the_calendar_is_idle_when_it_misses_a_turn(
    ended: timedelta, expected: list[str]
) -> None:
    assert kinds(stand(last_run=run(ended=ended)), poll="0 3 * * *") == expected
    assert isinstance(settings(poll="0 3 * * *").poll, Cron)


def test_what_fails_is_tried_more_rarely_and_not_idle_for_it() -> None:
    failed = {"failing_since": NOW - DAY, "last_run": run("failed", HOUR, error="refused")}
    assert kinds(stand(**failed)) == ["failing"]


def test_a_first_copy_has_an_hour_at_the_edge_of_what_is_served() -> None:
    edge = {"seconds_until_deletion": 60.0}
    assert kinds(stand(**edge, history_began_at=NOW - 10 * MINUTE)) == []
    assert kinds(stand(**edge, history_began_at=NOW - 2 * HOUR)) == ["deletion"]
    assert "now" in found(stand(seconds_until_deletion=0.0))[0].message


def test_what_was_lost_long_ago_is_no_news() -> None:
    assert kinds(stand(audit=[audit("lost", 8 * DAY)])) == []


def test_a_failure_is_told_once_and_not_per_workflow() -> None:
    failed = {"failing_since": NOW - HOUR, "last_run": run("failed", error="it is away")}
    assert kinds(stand(**failed, partitions=[partition("w", "it is away")])) == ["failing"]


def test_an_error_of_a_workflow_that_is_not_read_any_more_needs_nobody() -> None:
    assert kinds(stand(partitions=[partition("w", "it was broken", is_followed=False)])) == []


def test_who_does_not_poll_is_not_told_to_raise_limits() -> None:
    idle, *others = found(stand(last_run=run(ended=DAY), falls_behind=True))
    assert (idle.kind, others) == ("idle", [])
    deletion, _idle = found(stand(last_run=run(ended=DAY), seconds_until_deletion=60.0))
    assert deletion.kind == "deletion"
    assert "limit" not in deletion.hint
