"""One writer per connection, stream, partition and lane.

A lease is a row with an owner, an end and a version. Every commit compares the version in its own transaction, so a
process that wakes up late is fenced off; that is why taking over too early could cost work but never correctness.
Ends are the database's clock.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Container
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from msgspec import Struct, structs
from sqlalchemy import Column, ColumnElement, Connection, and_, bindparam, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from syncer.errors import LeaseLost
from syncer.schema import leases

DURATION = timedelta(seconds=60)
"""How long a lease lasts unless renewed; every commit renews it."""


class LeaseKey(Struct, frozen=True, order=True):
    """What a lease is for."""

    connection_id: str
    stream: str
    partition: str
    lane: str


class Lease(Struct, frozen=True):
    """A lease held by this process."""

    key: LeaseKey
    owner: str
    version: int


def _is(*columns: Column[Any]) -> ColumnElement[bool]:
    return and_(*(column == bindparam(f"our_{column.name}") for column in columns))


# Put together once, because every commit begins with one of them.
_OWNER = select(leases.c.owner).where(_is(*leases.primary_key.columns))
_IS_OURS = _is(*leases.primary_key.columns, leases.c.owner, leases.c.version)
_RELEASE = update(leases).where(_IS_OURS).values(owner=None, until=None)
_RENEW = (
    update(leases)
    .where(_IS_OURS)
    .values(until=func.clock_timestamp() + DURATION)
    .returning(func.clock_timestamp())
)

_serial = count(1)


def new_owner() -> str:
    """Name who works: host, process id, when the process started, whose ids these are, and a number within it."""
    process = f"{os.getpid()}/{_started(os.getpid()) or 0}/{_process_ids()}"
    return f"{socket.gethostname()}/{process}/{next(_serial)}"


def acquire(db: Connection, key: LeaseKey, owner: str, held: Container[LeaseKey] = ()) -> Lease | None:
    """Take the lease if it is free, has run out, or its owner is a process of this machine that is dead.

    `held` are the leases that the owner knows to hold. One in its name that is not among them was left behind when
    the warehouse went away, and is as good as free.
    """
    holder = db.scalar(_OWNER, _our(key))
    statement = insert(leases).values(
        connection_id=key.connection_id,
        stream=key.stream,
        partition=key.partition,
        lane=key.lane,
        owner=owner,
        until=func.clock_timestamp() + DURATION,
        version=1,
    )
    free = or_(leases.c.owner.is_(None), leases.c.until < func.clock_timestamp())
    if holder is not None and is_dead(holder):
        free = or_(free, leases.c.owner == holder)
    if key not in held:
        free = or_(free, leases.c.owner == owner)
    version = db.scalar(
        statement.on_conflict_do_update(
            index_elements=list(leases.primary_key.columns),
            set_={
                "owner": owner,
                "until": func.clock_timestamp() + DURATION,
                "version": leases.c.version + 1,
            },
            where=free,
        ).returning(leases.c.version)
    )
    return None if version is None else Lease(key, owner, version)


def fence(db: Connection, lease: Lease) -> datetime:
    """Renew the lease and return the database's time; LeaseLost if somebody else holds it by now."""
    now: datetime | None = db.scalar(_RENEW, _ours(lease))
    if now is None:
        raise LeaseLost(f"another process took over {lease.key.stream} {lease.key.partition}".rstrip())
    return now


def release(db: Connection, lease: Lease) -> None:
    """Give the lease back if it is still ours."""
    db.execute(_RELEASE, _ours(lease))


def is_dead(owner: str) -> bool:
    """Whether the owner was a process of this machine that no longer runs; False where that cannot be told."""
    host, number, started, ids, *_ = [*owner.split("/"), "", "", "", ""]
    is_here = (host, ids) == (socket.gethostname(), _process_ids())
    if not is_here or not number.isdigit() or not Path("/proc/self/stat").exists():
        return False
    return (_started(int(number)) or "") != started


def _process_ids() -> str:
    """Whose process ids we see: two containers may share a name, and each has ids of its own."""
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return "0"


def _started(process: int) -> str | None:
    """When a process started, in clock ticks since boot (field 22 of /proc/PID/stat); None if there is none."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state == "Z" else fields[18]


def _our(key: LeaseKey) -> dict[str, Any]:
    return {f"our_{name}": value for name, value in structs.asdict(key).items()}


def _ours(lease: Lease) -> dict[str, Any]:
    return {**_our(lease.key), "our_owner": lease.owner, "our_version": lease.version}
