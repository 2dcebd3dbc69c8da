"""What waits to be written is bounded in all connections of a process together, and nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from msgspec import structs

from syncer.errors import LeaseLost
from syncer.sync import Session, sync
from syncer.sync.steps import BUNDLE, Span, sync_steps
from tests.conformance.conftest import ToyBench
from tests.conformance.toys import Ascending, Twist, World
from tests.passes import settings

LITTLE = 3

Room = asyncio.Semaphore


@pytest.fixture
def due(bench: ToyBench, world: World) -> Ascending:
    """A source whose executions are copied, but for their steps."""
    world.fill(60)
    source = Ascending(world)
    bench.leave_steps(source)
    world.requests.clear()
    return source


def in_little_room(
    bench: ToyBench, source: Ascending, work: Callable[[Session, Room], Awaitable[object]]
) -> None:
    """Do the work; all the room that was taken must have been given back, and no more."""

    async def whole() -> None:
        room = Room(LITTLE)
        async with bench.tenant(lambda _connection, _gate: source, settings()) as tenant:
            await work(Session(structs.replace(tenant, room=room)), room)
        await take_all(room)
        assert room.locked()

    asyncio.run(whole())


async def take_all(room: Room) -> None:
    for _ in range(LITTLE):
        await room.acquire()


def read(bench: ToyBench) -> int:
    number: int = bench.value("SELECT count(*) FROM history.executions WHERE steps_state = 'read'")
    return number


def test_little_room_is_enough_for_all(bench: ToyBench, due: Ascending, world: World) -> None:
    in_little_room(bench, due, lambda session, _: sync(session))
    assert read(bench) == len(world.runs)


def test_nothing_more_is_asked_for_while_others_take_all_the_room(
    bench: ToyBench, due: Ascending, world: World
) -> None:
    async def work(session: Session, room: Room) -> None:
        await take_all(room)
        async with session.running():
            working = asyncio.create_task(sync_steps(session, Span()))
            await asyncio.wait({working}, timeout=0.3)
            assert not working.done()
            assert world.requests.count("steps") <= 2 * session.connection.max_concurrency
            for _ in range(LITTLE):
                room.release()
            await working

    in_little_room(bench, due, work)
    assert read(bench) == len(world.runs)


def test_what_cannot_land_gives_its_room_back(bench: ToyBench, due: Ascending, world: World) -> None:
    steal = bench.elsewhere("UPDATE syncer.leases SET version = version + 1 WHERE owner IS NOT NULL")
    world.twist = Twist(before_request=lambda _: steal if world.requests.count("steps") == 10 else None)

    async def work(session: Session, _room: Room) -> None:
        async with session.running():
            with pytest.raises(LeaseLost):
                await sync_steps(session, Span())

    in_little_room(bench, due, work)
    assert read(bench) < len(world.runs)


def test_who_is_stopped_gives_the_room_back(bench: ToyBench, due: Ascending, world: World) -> None:
    async def work(session: Session, _room: Room) -> None:
        enough = asyncio.Event()
        world.twist = Twist(
            before_request=lambda _: enough.set() if world.requests.count("steps") > LITTLE else None
        )
        async with session.running():
            working = asyncio.create_task(sync_steps(session, Span()))
            await enough.wait()
            working.cancel()
            await asyncio.wait({working})

    in_little_room(bench, due, work)
    assert read(bench) < len(world.runs)


def test_a_loop_that_ends_while_much_waits_to_be_written_ends(
    bench: ToyBench, due: Ascending, world: World
) -> None:
    never_left = AsyncExitStack()

    async def whole() -> None:
        full, waiting = asyncio.Event(), 2 * BUNDLE + settings().max_concurrency
        world.twist = Twist(
            before_request=lambda _: full.set() if world.requests.count("steps") == waiting else None
        )
        tenant = await never_left.enter_async_context(
            bench.tenant(lambda _connection, _gate: due, settings())
        )
        reading = asyncio.create_task(sync_steps(Session(tenant), Span()))
        await full.wait()
        assert not reading.done()

    with bench.engine.begin() as other:
        other.exec_driver_sql("LOCK TABLE history.steps")
        asyncio.run(whole())
    assert read(bench) == 0
