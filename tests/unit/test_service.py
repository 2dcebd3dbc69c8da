"""What the service says and when it tries again, decided without a source or a warehouse."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs

from syncer.config import Cron, Settings, Warehouse
from syncer.config import Service as ServiceSection
from syncer.errors import AuthError, SyncerError, TransientError, WarehouseError
from syncer.http import Clock
from syncer.service import Service, Tools
from syncer.service.complaints import TOLD, Complaints
from syncer.service.pauses import NEARBY, REFUSED, USUAL, Pauses
from syncer.service.poller import LONGEST_JITTER, _interval, _trigger
from syncer.sync import Failure

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
AWAY = TransientError("away", "check it")

Attempt = tuple[str, SyncerError | None, list[Failure]]


# Pauses


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_pauses_grow_from_the_first_to_the_longest(chance: float) -> None:
    pauses = Pauses(lambda: chance)
    lengths = [pauses.after(AWAY) for _ in range(40)]
    assert 0.7 * USUAL.first <= lengths[0] <= 1.3 * USUAL.first
    assert lengths == sorted(lengths)
    assert 0.7 * USUAL.longest <= lengths[-1] <= USUAL.longest


def test_after_a_success_pauses_begin_anew() -> None:
    pauses = Pauses(lambda: 0.5)
    first = pauses.after(AWAY)
    pauses.after(AWAY)
    pauses.reset()
    assert pauses.after(AWAY) == first


def test_refused_credentials_are_tried_much_more_rarely() -> None:
    pauses = Pauses(lambda: 0.5)
    refused = AuthError("no", "mend it")
    assert pauses.after(refused) == REFUSED.first > 10 * USUAL.first
    assert [pauses.after(refused) for _ in range(9)][-1] == REFUSED.longest


def test_the_warehouse_is_looked_for_every_minute_however_long_it_is_away() -> None:
    pauses = Pauses(lambda: 0.5)
    assert [pauses.after(WarehouseError("away")) for _ in range(50)][-1] == NEARBY.longest


# Complaints


def failure(partition: str, stream: str = "executions") -> Failure:
    return Failure(stream=stream, partition=partition, message="broken")


def heard(*attempts: Attempt) -> list[dict[str, Any]]:
    """What is logged when these attempts are heard one after the other."""
    import structlog

    with capture_logs() as logs:
        complaints = Complaints(structlog.get_logger())
        for lane, error, failures in attempts:
            complaints.hear(lane, error, failures)
    return [dict(each) for each in logs]


def events(*attempts: Attempt) -> list[str]:
    return [each["event"] for each in heard(*attempts)]


def test_a_trouble_is_told_when_it_begins_and_when_it_is_over() -> None:
    days = 500
    assert events(*[("poll", AWAY, [])] * days, ("poll", None, []), ("poll", None, [])) == [
        "failing",
        "recovered",
    ]


def test_another_kind_of_trouble_is_told() -> None:
    refused = AuthError("no")
    told = heard(("poll", AWAY, []), ("poll", refused, []), ("poll", None, []))
    assert [(each["event"], each.get("error")) for each in told] == [
        ("failing", "away"),
        ("failing", "no"),
        ("recovered", None),
    ]


def test_a_trouble_of_several_lanes_is_told_once_and_is_over_when_all_have_recovered() -> None:
    away = WarehouseError("gone")
    assert events(
        ("poll", away, []),
        ("steps", away, []),
        ("history", away, []),
        ("poll", None, []),
        ("steps", None, []),
        ("history", None, []),
    ) == ["failing", "recovered"]


def test_a_part_that_fails_is_told_once_in_whatever_lane() -> None:
    part = [failure("w1")]
    assert events(
        ("poll", None, part), ("history", None, part), ("poll", None, part), ("poll", None, [])
    ) == ["failed", "recovered"]


def test_a_part_that_fails_twice_in_one_attempt_is_told_once() -> None:
    assert events(("poll", None, [failure("w1"), failure("w1")])) == ["failed"]


def test_another_part_that_fails_is_told() -> None:
    told = heard(("poll", None, [failure("w1")]), ("poll", None, [failure("w1"), failure("w2")]))
    assert [each["partition"] for each in told] == ["w1", "w2"]


def test_parts_that_failed_before_an_outage_are_not_told_again_after_it() -> None:
    part = [failure("w1")]
    assert events(("poll", None, part), ("poll", AWAY, []), ("poll", None, part)) == [
        "failed",
        "failing",
        "recovered",
    ]


def test_of_many_parts_the_first_are_told_and_the_number_of_the_others() -> None:
    told = heard(("poll", None, [failure(f"w{number}") for number in range(40)]))
    assert len(told) == TOLD + 1
    assert told[-1]["more"] == 40 - TOLD


def test_the_trouble_is_what_keeps_a_lane_from_getting_on() -> None:
    complaints = Complaints(_Silent())
    complaints.hear("poll", None, [failure("w1")])
    assert complaints.trouble is None, "a part that fails keeps nothing from getting on"
    complaints.hear("steps", AWAY, [])
    assert str(complaints.trouble) == str(AWAY)


class _Silent:
    def info(self, *_args: object, **_fields: object) -> None: ...

    warning = info


# Schedule


def test_the_interval_of_a_cron_expression_is_that_between_its_next_turns() -> None:
    assert _interval(timedelta(minutes=5), NOW) == timedelta(minutes=5)
    assert _interval(Cron("*/15 * * * *"), NOW) == timedelta(minutes=15)
    assert _interval(Cron("0 3 * * *"), NOW) == timedelta(days=1)


@pytest.mark.parametrize("poll", [timedelta(minutes=5), Cron("*/5 * * * *"), timedelta(days=1)])
def test_polls_come_about_when_they_are_due(poll: timedelta | Cron) -> None:
    trigger = _trigger(poll, NOW)
    fires = [trigger.get_next_fire_time(NOW, NOW)]
    for _ in range(20):
        fires.append(trigger.get_next_fire_time(fires[-1], fires[-1]))
    gaps = [(later - earlier) / _interval(poll, NOW) for earlier, later in pairwise(fires)]
    assert all(0.75 < gap < 1.25 for gap in gaps)
    assert trigger.jitter <= LONGEST_JITTER.total_seconds()


# A clock that is set back


class Hurried:
    """Stands for a poller, and notes how far it is told that the clock was set back."""

    trouble = None

    def __init__(self) -> None:
        self.moves: list[timedelta] = []

    def clock_set_back(self, by: timedelta) -> None:
        self.moves.append(timedelta(hours=round(by / timedelta(hours=1))))


def moves(monkeypatch: pytest.MonkeyPatch, *shown: datetime) -> list[timedelta]:
    """How far, in whole hours, pollers hear that the clock was set back while it shows these times in turn."""
    monkeypatch.setattr("syncer.service.service.BEAT", 0)
    left = [*shown]
    clock = Clock(now=lambda: left.pop(0) if len(left) > 1 else left[0])
    poller: Any = Hurried()
    unused: Any = None
    tools = Tools(load=unused, open_warehouse=unused, open_tenant=unused, clock=clock)
    settings = Settings(Warehouse.model_validate({"url": "embedded"}), ServiceSection(), {})

    async def beat() -> None:
        service = Service(settings, tools)
        service._pollers["flow"] = poller
        beating = asyncio.create_task(service._beat())
        for _turn in range(20 * len(shown)):
            await asyncio.sleep(0)
        beating.cancel()

    with capture_logs():
        asyncio.run(beat())
    heard: list[timedelta] = poller.moves
    return heard


def test_a_clock_that_is_set_back_is_told_to_who_goes_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = [NOW + timedelta(seconds=second) for second in range(6)]
    back = [tick - timedelta(hours=3) for tick in ticks]
    assert moves(monkeypatch, *ticks, *back) == [timedelta(hours=3)]
    assert moves(monkeypatch, *back, *ticks) == [], "forward it may be a machine that was suspended"


def test_a_clock_that_is_nudged_tells_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    nudged = [NOW + timedelta(seconds=second) for second in (0, 1, 0, 1, 2, 1, 2, 3)]
    assert moves(monkeypatch, *nudged) == []
