"""The way to the warehouse: in order, whole, and never in the way of whatever else the loop does."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from threading import get_ident

import psycopg
import pytest
from sqlalchemy import Connection, Engine, text

from syncer.errors import WarehouseError
from syncer.load.rows import driver
from syncer.warehouse import engine as reach
from syncer.writer import Writer

SLEEP = text("SELECT pg_sleep(0.2)")


@pytest.fixture
def warehouse(engine: Engine) -> Engine:
    with engine.begin() as db:
        db.execute(text("CREATE TABLE said (place int GENERATED ALWAYS AS IDENTITY, word text UNIQUE)"))
    return engine


@asynccontextmanager
async def writing(warehouse: Engine) -> AsyncIterator[Writer]:
    writer = Writer(warehouse)
    try:
        yield writer
    finally:
        await writer.close()


def say(db: Connection, word: str) -> str:
    db.execute(text("INSERT INTO said (word) VALUES (:word)"), {"word": word})
    return word


def say_slowly(db: Connection, word: str) -> str:
    db.execute(SLEEP)
    return say(db, word)


def said(warehouse: Engine) -> list[str]:
    with warehouse.connect() as db:
        return list(db.scalars(text("SELECT word FROM said ORDER BY place")))


def test_the_loop_goes_on_while_a_statement_lasts(warehouse: Engine) -> None:
    async def work() -> int:
        async with writing(warehouse) as writer:
            statement = asyncio.create_task(writer.run(lambda db: db.execute(SLEEP)))
            turns = 0
            while not statement.done():
                await asyncio.sleep(0.001)
                turns += 1
            return turns

    assert asyncio.run(work()) > 5


def test_the_work_is_done_where_the_loop_runs(warehouse: Engine) -> None:
    """Two threads would hand the interpreter to and fro."""

    async def work() -> int:
        async with writing(warehouse) as writer:
            return await writer.run(lambda _: get_ident())

    assert asyncio.run(work()) == get_ident()


def test_transactions_follow_each_other_in_the_order_they_were_asked_for(warehouse: Engine) -> None:
    async def work() -> list[str]:
        async with writing(warehouse) as writer:
            first = writer.run(lambda db: say_slowly(db, "first"))
            return await asyncio.gather(first, *(writer.run(partial(say, word=word)) for word in "abc"))

    assert asyncio.run(work()) == said(warehouse) == ["first", "a", "b", "c"]


def test_who_stops_waiting_does_not_cut_a_transaction_short(warehouse: Engine) -> None:
    async def work() -> None:
        async with writing(warehouse) as writer:
            with suppress(TimeoutError):
                await asyncio.wait_for(writer.run(lambda db: say_slowly(db, "abandoned")), 0.05)
            await writer.run(lambda db: say(db, "next"))

    asyncio.run(work())
    assert said(warehouse) == ["abandoned", "next"]


def test_who_stops_waiting_for_a_turn_has_asked_for_nothing(warehouse: Engine) -> None:
    async def work() -> None:
        async with writing(warehouse) as writer:
            first = asyncio.create_task(writer.run(lambda db: say_slowly(db, "first")))
            second = asyncio.create_task(writer.run(lambda db: say(db, "second")))
            await asyncio.sleep(0)
            second.cancel()
            await asyncio.gather(first, second, return_exceptions=True)

    asyncio.run(work())
    assert said(warehouse) == ["first"]


def test_to_close_waits_for_the_transaction_at_hand(warehouse: Engine) -> None:
    async def work() -> None:
        async with writing(warehouse) as writer:
            with suppress(TimeoutError):
                await asyncio.wait_for(writer.run(lambda db: say_slowly(db, "at hand")), 0.05)

    asyncio.run(work())
    assert said(warehouse) == ["at hand"]


def test_a_loop_that_ends_too_soon_leaves_nothing_half_done(warehouse: Engine) -> None:
    async def work() -> None:
        writer = Writer(warehouse)

        def never_ends(db: Connection) -> None:
            say(db, "never")
            db.execute(text("SELECT pg_sleep(60)"))

        forgotten = asyncio.create_task(writer.run(never_ends))
        await asyncio.to_thread(until_running, warehouse)
        assert not forgotten.done()

    asyncio.run(work())
    assert said(warehouse) == []
    assert not running(warehouse)


def until_running(warehouse: Engine) -> None:
    while not running(warehouse):
        time.sleep(0.01)


def running(warehouse: Engine) -> bool:
    """Whether the server is at a statement that sleeps."""
    with warehouse.connect() as db:
        asked = (
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'"
        )
        return bool(db.scalar(text(asked)))


def test_an_error_takes_back_its_transaction_alone(warehouse: Engine) -> None:
    def fail(db: Connection) -> None:
        say(db, "taken back")
        raise ZeroDivisionError

    async def work() -> None:
        async with writing(warehouse) as writer:
            with pytest.raises(ZeroDivisionError):
                await writer.run(fail)
            await writer.run(lambda db: say(db, "kept"))

    asyncio.run(work())
    assert said(warehouse) == ["kept"]


def test_a_deadlock_is_tried_again(warehouse: Engine) -> None:
    """Each holds what the other wants next; PostgreSQL ends one of them, which starts anew."""

    def both(db: Connection, *words: str) -> None:
        for word in words:
            say(db, word)
            db.execute(SLEEP)
        db.execute(text("DELETE FROM said"))

    async def work() -> None:
        async with writing(warehouse) as one, writing(warehouse) as other:
            await asyncio.gather(
                one.run(lambda db: both(db, "x", "y")), other.run(lambda db: both(db, "y", "x"))
            )

    asyncio.run(work())
    assert said(warehouse) == []


def test_many_take_turns_at_few_connections(warehouse: Engine) -> None:
    """More writers than the pool has connections, each in the middle of a transaction."""

    async def work() -> int:
        async def one(number: int) -> str:
            async with writing(warehouse) as writer:
                return await writer.run(lambda db: say_slowly(db, f"{number}"))

        return len(await asyncio.gather(*map(one, range(40))))

    assert asyncio.run(work()) == 40
    assert len(said(warehouse)) == 40


def test_a_server_that_does_not_answer_does_not_hold_up_the_loop() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]

        async def work() -> None:
            async with writing(reach(f"postgresql://nobody@127.0.0.1:{port}/none")) as writer:
                asking = asyncio.create_task(writer.run(lambda db: say(db, "nobody hears")))
                caller, _ = await asyncio.to_thread(silent.accept)
                await asyncio.sleep(0.05)
                assert not asking.done()
                caller.close()
                with pytest.raises(WarehouseError):
                    await asking

        asyncio.run(work())


def test_outside_the_loop_a_connection_is_as_ever(warehouse: Engine) -> None:
    with warehouse.connect() as db, pytest.raises(psycopg.errors.DivisionByZero):
        driver(db).execute("SELECT 1 / 0")
