"""What the sources said about limits: waits, and how much of a limit was spent by all processes together.

Times of waits are the database's clock; spending is counted by whatever clock its takers share.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.postgresql import insert

from syncer.budget import Ask, Grant, Limit, Spending
from syncer.schema import rate_limits


class Wait(Struct, frozen=True):
    """What a source said about waiting, as it is written down: its end by the database's clock, and what is left."""

    until: datetime
    left: timedelta
    reason: str | None


_WAIT = (rate_limits.c.not_before, rate_limits.c.not_before - func.clock_timestamp(), rate_limits.c.reason)


def remaining_wait(db: Connection, connection_id: str) -> Wait | None:
    """The wait that is on, whichever process was told; None where there is none."""
    row = db.execute(select(*_WAIT).where(rate_limits.c.connection_id == connection_id)).first()
    wait = Wait(*row) if row is not None and row[0] is not None else None
    return wait if wait and wait.left > timedelta(0) else None


def note_wait(db: Connection, connection_id: str, wait: timedelta, reason: str) -> Wait:
    """Keep what the source said about waiting, and return what is kept: a longer wait already known stays."""
    statement = insert(rate_limits).values(
        connection_id=connection_id,
        not_before=func.clock_timestamp() + wait,
        reason=reason,
        updated_at=func.clock_timestamp(),
    )
    row = db.execute(
        statement.on_conflict_do_update(
            index_elements=list(rate_limits.primary_key.columns),
            set_={
                "not_before": func.greatest(rate_limits.c.not_before, statement.excluded.not_before),
                "reason": statement.excluded.reason,
                "updated_at": statement.excluded.updated_at,
            },
        ).returning(*_WAIT)
    ).one()
    return Wait(*row)


def told_limit(db: Connection, connection_id: str) -> Limit | None:
    """The limit that the source last told any process; None where it told none."""
    row = db.execute(
        select(rate_limits.c.limit_requests, rate_limits.c.limit_seconds).where(
            rate_limits.c.connection_id == connection_id
        )
    ).first()
    return Limit(*row) if row is not None and row[0] else None


def note_limit(db: Connection, connection_id: str, limit: Limit) -> None:
    """Keep a limit that the source told."""
    values = {
        "limit_requests": limit.requests,
        "limit_seconds": limit.seconds,
        "updated_at": func.clock_timestamp(),
    }
    db.execute(
        insert(rate_limits)
        .values(connection_id=connection_id, **values)
        .on_conflict_do_update(index_elements=list(rate_limits.primary_key.columns), set_=values)
    )


def take(db: Connection, connection_id: str, limit: Limit, ask: Ask, now: datetime) -> Grant:
    """Take requests from what all processes may make."""
    spending = _spending(db, connection_id)
    grant = spending.answer(limit, ask, now.timestamp())
    _keep(db, connection_id, spending)
    return grant


def release(db: Connection, connection_id: str) -> None:
    """Keep no share free for any purpose until somebody asks again."""
    spending = _spending(db, connection_id)
    spending.release()
    _keep(db, connection_id, spending)


def _spending(db: Connection, connection_id: str) -> Spending:
    """What was spent, locked until the transaction ends."""
    locked = (
        select(rate_limits.c.spending).where(rate_limits.c.connection_id == connection_id).with_for_update()
    )
    row = db.execute(locked).first()
    if row is None:
        first = insert(rate_limits).values(connection_id=connection_id, updated_at=func.clock_timestamp())
        db.execute(first.on_conflict_do_nothing())
        row = db.execute(locked).one()
    return read_spending(row[0])


def read_spending(stored: object) -> Spending:
    """Spending as it stands in its column; one that cannot be read counts as none."""
    try:
        return msgspec.convert(stored or {}, Spending, strict=False)
    except msgspec.ValidationError:
        return Spending()


def _keep(db: Connection, connection_id: str, spending: Spending) -> None:
    db.execute(
        update(rate_limits)
        .where(rate_limits.c.connection_id == connection_id)
        .values(spending=msgspec.to_builtins(spending, str_keys=True))
    )
