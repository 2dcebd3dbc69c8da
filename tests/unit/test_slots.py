"""Whether requests in flight are as many as the source bears, and whose turn it is."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from syncer.budget import Purpose
from syncer.http.slots import QUIET, Slots

LIVE, OPEN, SWEEP, STEPS, URGENT, HISTORY = Purpose


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_complaint_halves_what_may_be_in_flight_and_a_quiet_minute_adds_one() -> None:
    time = Time()
    slots = Slots(8, time)
    slots.complained(0)
    assert slots.allowed == 4
    slots.complained(0)
    slots.complained(0)
    slots.complained(0)
    assert slots.allowed == 1, "never none at all"
    time.now += QUIET - 1
    assert slots.allowed == 1
    time.now += 1
    assert slots.allowed == 2
    time.now += 100 * QUIET
    assert slots.allowed == 8, "never more than configured"


def test_a_minute_is_not_quiet_while_the_source_has_us_wait() -> None:
    time = Time()
    slots = Slots(8, time)
    slots.complained(quiet_in=3300)
    time.now += 3300
    assert slots.allowed == 4
    time.now += QUIET
    assert slots.allowed == 5


def test_a_source_that_says_how_many_it_takes_is_believed() -> None:
    slots = Slots(8, Time())
    slots.bound(2)
    assert slots.allowed == 2
    slots.bound(5)
    assert slots.allowed == 2
    slots.bound(0)
    assert slots.allowed == 1


def test_never_more_than_allowed_are_in_flight() -> None:
    slots = Slots(3, Time())
    seen: list[int] = []

    async def request() -> None:
        async with slots.one(LIVE):
            seen.append(slots.in_flight)
            await asyncio.sleep(0)

    async def twenty() -> None:
        await asyncio.gather(*(request() for _ in range(20)))

    asyncio.run(twenty())
    assert max(seen) == 3
    assert slots.in_flight == 0


def turns(*wanted: Purpose, of: int) -> Counter[Purpose]:
    """Who gets the first so many turns at one slot, where every kind has work without end."""
    slots = Slots(1, Time())
    order: list[Purpose] = []

    async def work(purpose: Purpose) -> None:
        while len(order) < of:
            async with slots.one(purpose):
                order.append(purpose)
                await asyncio.sleep(0)

    async def all_of_them() -> None:
        await asyncio.gather(*(work(purpose) for purpose in reversed(wanted) for _ in range(3)))

    asyncio.run(all_of_them())
    return Counter(order[:of])


def test_live_work_goes_first_and_each_of_the_others_gets_a_tenth() -> None:
    made = turns(LIVE, OPEN, STEPS, HISTORY, of=500)
    assert min(made.values()) >= 48
    assert made[LIVE] >= 300


def test_history_that_is_about_to_be_deleted_gets_every_second_turn() -> None:
    made = turns(LIVE, URGENT, of=200)
    assert 95 <= made[URGENT] <= 105


def test_a_request_that_is_given_up_leaves_its_place_to_others() -> None:
    slots, done = Slots(1, Time()), []

    async def hold(until: asyncio.Event) -> None:
        async with slots.one(LIVE):
            await until.wait()

    async def request(name: str) -> None:
        async with slots.one(LIVE):
            done.append(name)

    async def given_up() -> None:
        until = asyncio.Event()
        holder = asyncio.create_task(hold(until))
        await asyncio.sleep(0)
        first, second = asyncio.create_task(request("first")), asyncio.create_task(request("second"))
        await asyncio.sleep(0)
        first.cancel()
        until.set()
        await asyncio.gather(holder, second)
        with pytest.raises(asyncio.CancelledError):
            await first

    asyncio.run(given_up())
    assert done == ["second"]
    assert slots.in_flight == 0


def test_a_turn_that_was_given_to_one_who_gives_up_at_that_moment_is_not_lost() -> None:
    slots, done = Slots(1, Time()), []

    async def request(name: str) -> None:
        async with slots.one(LIVE):
            done.append(name)

    async def given_up() -> None:
        async with slots.one(LIVE):
            first = asyncio.create_task(request("first"))
            second = asyncio.create_task(request("second"))
            await asyncio.sleep(0)
        first.cancel()
        await second
        with pytest.raises(asyncio.CancelledError):
            await first

    asyncio.run(given_up())
    assert done == ["second"]
    assert slots.in_flight == 0
