"""Records put aside because they have no usable identity: one row per record, whatever it is met again.

A record is resolved when a later, good copy lands or when it is replayed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, Connection, Text, any_, bindparam, exists, literal, select, update
from sqlalchemy.dialects.postgresql import insert

from syncer.encode import Columns
from syncer.schema import quarantine

# Asked with all that lands, nearly always in vain: put together once, and without the identities.
_HAS_OPEN = select(
    exists().where(
        quarantine.c.connection_id == bindparam("connection"),
        quarantine.c.stream == bindparam("stream"),
        quarantine.c.resolved_at.is_(None),
    )
)


def put_aside(
    db: Connection, connection_id: str, stream: str, partition: str, records: Sequence[Columns], now: datetime
) -> None:
    """Keep records that could not be used; one met before only counts once more."""
    for record in sorted(records, key=lambda record: record["record_id"]):
        statement = insert(quarantine).values(
            connection_id=connection_id,
            stream=stream,
            partition=partition,
            first_seen_at=now,
            last_seen_at=now,
            times=1,
            **record,
        )
        db.execute(
            statement.on_conflict_do_update(
                index_elements=list(quarantine.primary_key.columns),
                set_={
                    "last_seen_at": now,
                    "times": quarantine.c.times + 1,
                    "reason": statement.excluded.reason,
                    "resolved_at": None,
                },
            )
        )


def resolve_identities(
    db: Connection, connection_id: str, stream: str, identities: Collection[str], now: datetime
) -> None:
    """Close records of which a good copy has landed."""
    if db.scalar(_HAS_OPEN, {"connection": connection_id, "stream": stream}):
        db.execute(
            update(quarantine)
            .where(
                quarantine.c.connection_id == connection_id,
                quarantine.c.stream == stream,
                # As one value: a list of hundreds would be a statement of its own each time.
                quarantine.c.identity == any_(literal(sorted(identities), ARRAY(Text))),
                quarantine.c.resolved_at.is_(None),
            )
            .values(resolved_at=now)
        )


def resolve_record(db: Connection, connection_id: str, stream: str, record_id: str, now: datetime) -> None:
    """Close one record."""
    db.execute(
        update(quarantine)
        .where(
            quarantine.c.connection_id == connection_id,
            quarantine.c.stream == stream,
            quarantine.c.record_id == record_id,
        )
        .values(resolved_at=now)
    )


def open_records(db: Connection, connection_ids: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Records that still wait, newest first."""
    statement = select(quarantine).where(quarantine.c.resolved_at.is_(None))
    if connection_ids is not None:
        statement = statement.where(quarantine.c.connection_id.in_(connection_ids))
    rows = db.execute(statement.order_by(quarantine.c.last_seen_at.desc(), quarantine.c.record_id))
    return [dict(row) for row in rows.mappings()]


def find_records(db: Connection, prefix: str) -> list[dict[str, Any]]:
    """Records, open or not, whose id begins with the prefix."""
    statement = select(quarantine).where(quarantine.c.record_id.startswith(prefix, autoescape=True))
    return [dict(row) for row in db.execute(statement.order_by(quarantine.c.record_id)).mappings()]
