"""Read access for people and BI tools: `history` without step_io, or with it.

Invariant: syncer.grants holds what every role was given, so that a migration can give it again. Must not know
who asks, nor what the columns mean.
"""

from __future__ import annotations

from msgspec import Struct
from psycopg import sql
from sqlalchemy import Connection, func, text
from sqlalchemy.dialects.postgresql import insert

from syncer import schema
from syncer.errors import WarehouseError
from syncer.warehouse.definition import run, views

_PAYLOADS = schema.step_io

_OF_HISTORY = (
    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = 'history' AND c.relkind IN ('r', 'v')"
)
_MAY = "has_table_privilege(:role, c.oid, '{}')"


class Rights(Struct, frozen=True, kw_only=True):
    """What a role may do: the tables and views of `history` that it reads, and what it may do beyond reading them."""

    reads: list[str]
    more: list[str]


def rights(db: Connection, role: str) -> Rights:
    """What `role` may do, whoever gave it that; nothing of it is changed."""
    named = {"role": role}
    readable, writable = _MAY.format("SELECT"), _MAY.format("INSERT, UPDATE, DELETE, TRUNCATE")
    reads = db.scalars(text(f"SELECT 'history.' || relname {_OF_HISTORY} AND {readable} ORDER BY 1"), named)
    writes = db.scalar(text(f"SELECT count(*) > 0 {_OF_HISTORY} AND {writable}"), named)
    enters = db.scalar(text("SELECT has_database_privilege(:role, current_database(), 'CONNECT')"), named)
    looks = db.scalar(text("SELECT has_schema_privilege(:role, 'syncer', 'USAGE')"), named)
    beyond = {
        "may write history": writes,
        "may look into the schema syncer": looks,
        "may not connect to this database, which takes GRANT CONNECT": not enters,
    }
    return Rights(reads=list(reads), more=[what for what, holds in beyond.items() if holds])


def grant(db: Connection, role: str, payloads: bool) -> None:
    """Let `role` read `history`, and step_io only with `payloads`; remembered for the migrations to come."""
    if not db.scalar(text("SELECT true FROM pg_roles WHERE rolname = :role"), {"role": role}):
        raise WarehouseError(
            f"the warehouse has no role {role!r}", f"create it first: CREATE ROLE {_quoted(db, role)} LOGIN"
        )
    row = insert(schema.grants).values(role=role, payloads=payloads, granted_at=func.now())
    changed = {"payloads": row.excluded.payloads, "granted_at": row.excluded.granted_at}
    db.execute(row.on_conflict_do_update(index_elements=["role"], set_=changed))
    _give(db, role, payloads)


def grant_again(db: Connection) -> None:
    """Give every remembered role its access to what a migration made; a dropped role is passed over."""
    remembered = text("SELECT role, payloads FROM syncer.grants JOIN pg_roles ON rolname = role")
    for role, payloads in db.execute(remembered).all():
        _give(db, role, payloads)


def _give(db: Connection, role: str, payloads: bool) -> None:
    to = _quoted(db, role)
    readable = [table.fullname for table in schema.HISTORY_TABLES if table is not _PAYLOADS]
    readable += [f"{schema.HISTORY}.{view}" for view in views()]
    run(db, f"GRANT USAGE ON SCHEMA {schema.HISTORY} TO {to}")
    run(db, f"GRANT SELECT ON {', '.join(readable)} TO {to}")
    if payloads:
        run(db, f"GRANT SELECT ON {_PAYLOADS.fullname} TO {to}")
    else:
        run(db, f"REVOKE ALL ON {_PAYLOADS.fullname} FROM {to}")


def _quoted(db: Connection, role: str) -> str:
    return sql.Identifier(role).as_string(db.connection.driver_connection)
