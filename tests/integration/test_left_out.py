"""Workflows whose executions were seen and not copied, as several lanes remember and forget them at once."""

from __future__ import annotations

import threading

from sqlalchemy import Engine

from syncer.state.watermarks import leave_out, left_out, take_in

WHERE = ("flow", "space")


def known(engine: Engine, connection: str = "flow", partition: str = "space") -> set[str]:
    with engine.connect() as db:
        return left_out(db, connection, partition)


def test_what_is_left_out_adds_up_and_what_is_taken_in_is_forgotten(engine: Engine) -> None:
    assert known(engine) == set()
    for ids in ({"a", 'b"\\'}, {"c"}, {"a"}):
        with engine.begin() as db:
            leave_out(db, *WHERE, ids)
            leave_out(db, "other", "space", {"x"})
    assert known(engine) == {"a", 'b"\\', "c"}
    with engine.begin() as db:
        take_in(db, *WHERE, {'b"\\', "c", "never there"})
        take_in(db, "other", "elsewhere", {"x"})
    assert known(engine) == {"a"}
    assert known(engine, "other") == {"x"}
    with engine.begin() as db:
        take_in(db, *WHERE, {"a"})
        leave_out(db, *WHERE, {"d"})
    assert known(engine) == {"d"}


def test_what_is_known_already_is_not_written_again(engine: Engine) -> None:
    version = "SELECT xmin::text, ctid::text FROM syncer.watermarks"
    with engine.begin() as db:
        leave_out(db, *WHERE, {"a", "b"})
    with engine.begin() as db:
        before = db.exec_driver_sql(version).all()
        leave_out(db, *WHERE, {"b"})
        assert db.exec_driver_sql(version).all() == before


def test_two_lanes_at_once_lose_nothing_of_each_other(engine: Engine) -> None:
    def also(ids: set[str]) -> None:
        with engine.begin() as db:
            leave_out(db, *WHERE, ids)

    with engine.begin() as db:
        leave_out(db, *WHERE, {"a"})
    with engine.begin() as db:
        leave_out(db, *WHERE, {"b"})
        other = threading.Thread(target=also, args=({"c"},))
        other.start()
        other.join(0.5)  # it waits for this transaction
    other.join()
    assert known(engine) == {"a", "b", "c"}
