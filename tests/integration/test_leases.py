"""Who may work on a partition: one at a time, and the next one as soon as it is sure that the last is gone."""

from __future__ import annotations

import subprocess
import sys

import pytest
from sqlalchemy import Engine

from syncer.errors import LeaseLost
from syncer.state.leases import Lease, LeaseKey, acquire, fence, new_owner, release

KEY = LeaseKey("flow", "executions", "w1", "live")


def take(engine: Engine, owner: str, held: tuple[LeaseKey, ...] = ()) -> Lease | None:
    with engine.begin() as db:
        return acquire(db, KEY, owner, held)


def run_out(engine: Engine) -> None:
    with engine.begin() as db:
        db.exec_driver_sql("UPDATE syncer.leases SET until = now() - interval '1 second'")


def test_a_partition_has_one_worker_until_it_is_given_back(engine: Engine) -> None:
    first, second = new_owner(), new_owner()
    lease = take(engine, first)
    assert lease
    assert take(engine, second) is None
    with engine.begin() as db:
        release(db, lease)
    assert take(engine, second)


def test_one_that_has_run_out_is_taken_over_and_its_former_owner_fenced_off(engine: Engine) -> None:
    late = take(engine, new_owner())
    assert late
    run_out(engine)
    assert take(engine, new_owner())
    with engine.begin() as db, pytest.raises(LeaseLost):
        fence(db, late)


def dead_owner() -> str:
    """The name that a process of this machine gave itself before it ended."""
    code = "from syncer.state.leases import new_owner; print(new_owner())"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_one_of_a_dead_process_is_taken_over_at_once(engine: Engine) -> None:
    assert take(engine, dead_owner())
    assert take(engine, new_owner())


def test_one_of_a_process_whose_ids_are_not_ours_to_look_up_is_waited_for(engine: Engine) -> None:
    host, number, started, ids, serial = dead_owner().rsplit("/", 4)
    elsewhere = "/".join([host, number, started, f"{ids}1", serial])
    assert take(engine, elsewhere)
    assert take(engine, new_owner()) is None
    run_out(engine)
    assert take(engine, new_owner())


def test_one_that_its_owner_could_not_give_back_is_its_own_again(engine: Engine) -> None:
    owner = new_owner()
    assert take(engine, owner)
    assert take(engine, owner, held=(KEY,)) is None, "another lane of the same process is at it"
    assert take(engine, owner), "the warehouse went away before it could be given back"
