"""The three ways rows reach a table: COPY, staged upsert, replacement. Everything else here is built from them.

Rows are dicts of column values; JSON is JSON text in bytes. Statements name their columns, so that a column an
answer did not carry is left as it is. Rows are written in key order: opposite orders deadlock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, TypeVar

import psycopg
from psycopg import sql
from psycopg.adapt import Dumper
from psycopg.pq import Format
from sqlalchemy import ARRAY, BigInteger, Boolean, Connection, DateTime, Integer, LargeBinary, Table
from sqlalchemy.dialects.postgresql import JSONB

Row = Mapping[str, Any]
Item = TypeVar("Item")

_TYPES: tuple[tuple[type, str], ...] = (
    (ARRAY, "text[]"),
    (JSONB, "jsonb"),
    (DateTime, "timestamptz"),
    (LargeBinary, "bytea"),
    (BigInteger, "int8"),
    (Integer, "int4"),
    (Boolean, "bool"),
)

_UNSTORABLE = (
    psycopg.errors.DataError,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.CheckViolation,
    psycopg.errors.NotNullViolation,
)


_EXTRA_DIFFERS = sql.SQL("coalesce(t.extra || {new}.extra, {new}.extra, t.extra) IS DISTINCT FROM t.extra")
EXTRA = sql.SQL("coalesce(t.extra || excluded.extra, excluded.extra, t.extra)")
"""Fields without a column are merged: one that an answer does not carry stays."""


class _JsonText(Dumper):
    """Hands JSON text to jsonb as it is; the leading byte is the version of jsonb's binary form."""

    format = Format.BINARY
    oid = psycopg.adapters.types["jsonb"].oid

    def dump(self, obj: bytes) -> bytes:
        return b"\x01" + obj


_DUMPERS = (_JsonText, psycopg.types.string.BytesBinaryDumper)
"""By the types of columns. For bytea psycopg's own choice also looks for the wrapper of its DB-API."""


def driver(db: Connection) -> psycopg.Connection[Any]:
    """The psycopg connection below `db`, sharing its transaction."""
    connection = db.connection.driver_connection
    if not isinstance(connection, psycopg.Connection):
        raise TypeError("the warehouse is reached through psycopg")
    return connection


def name_of(table: Table) -> sql.Identifier:
    """The table's qualified name."""
    return sql.Identifier(str(table.schema), table.name)


@cache
def key_of(table: Table) -> tuple[str, ...]:
    """The names of the table's primary key columns, in order."""
    return tuple(column.name for column in table.primary_key.columns)


def copy(db: Connection, table: Table, rows: Iterable[Row], *, into: sql.Identifier | None = None) -> None:
    """COPY rows into the table (or a table of the same shape); rows may hold different columns."""
    for columns, group in _by_columns(table, rows).items():
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
            into or name_of(table), _names(columns)
        )
        values = itemgetter(*columns)
        with driver(db).cursor() as cursor:
            for dumper in _DUMPERS:
                cursor.adapters.register_dumper(None, dumper)
            with cursor.copy(statement) as sink:
                sink.set_types(_types(table, columns))
                for row in group:
                    sink.write_row(values(row))


def upsert(
    db: Connection,
    table: Table,
    rows: Sequence[Row],
    *,
    changed: Callable[[Sequence[str], str], sql.Composable],
    overrides: Mapping[str, sql.Composable] | None = None,
) -> list[tuple[Any, ...]]:
    """Stage rows and merge them into the table, writing and locking only those for which `changed` holds.

    `changed(columns, new)` says when the row called `new` is to replace `t`, the stored one. It is asked twice:
    before rows are locked, and again where another process wrote one meanwhile. `overrides` replaces the value that
    a column is set to, written in terms of `t` and `excluded`. Returns the keys of the rows written.
    """
    written: list[tuple[Any, ...]] = []
    for columns, group in _by_columns(table, rows).items():
        stage = _stage(db, table)
        copy(db, table, group, into=stage)
        key = key_of(table)
        replaced = dict(overrides or {})
        assignments = [
            sql.SQL("{} = {}").format(
                sql.Identifier(name), replaced.get(name, sql.SQL("excluded.{}").format(sql.Identifier(name)))
            )
            for name in dict.fromkeys((*columns, *replaced))
            if name not in key
        ]
        statement = sql.SQL(
            "INSERT INTO {table} AS t ({columns}) SELECT {staged} FROM {stage} s LEFT JOIN {table} t ON {same} "
            "WHERE t.{first} IS NULL OR ({changed}) ORDER BY {order} "
            "ON CONFLICT ({key}) DO UPDATE SET {assignments} WHERE {still_changed} RETURNING {returned}"
        ).format(
            table=name_of(table),
            columns=_names(columns),
            staged=_names(columns, "s"),
            stage=stage,
            same=_same(key, "s", "t"),
            first=sql.Identifier(key[0]),
            changed=changed(columns, "s"),
            still_changed=changed(columns, "excluded"),
            returned=_names(key, "t"),
            order=_names(key, "s"),
            key=_names(key),
            assignments=sql.SQL(", ").join(assignments),
        )
        written += driver(db).execute(statement).fetchall()
        driver(db).execute(sql.SQL("DELETE FROM {}").format(stage))
    return written


def delete(db: Connection, table: Table, keys: Sequence[Sequence[Any]]) -> None:
    """Delete the rows with these primary keys."""
    if not keys:
        return
    columns = key_of(table)
    parts = [
        sql.SQL("unnest({}::{}[])").format(
            sql.Literal([key[place] for key in keys]), sql.SQL(_type(table, name))
        )
        for place, name in enumerate(columns)
    ]
    driver(db).execute(
        sql.SQL("DELETE FROM {table} t USING (SELECT {parts}) AS k ({columns}) WHERE {same}").format(
            table=name_of(table),
            parts=sql.SQL(", ").join(parts),
            columns=_names(columns),
            same=_same(columns, "t", "k"),
        )
    )


def distinct(columns: Iterable[str], new: str) -> sql.Composable:
    """SQL: whether any of the columns differs between `new` and `t`; of `extra` only the fields that `new` holds."""
    names = tuple(columns)
    plain = [name for name in names if name != "extra"]
    differs = sql.SQL("({}) IS DISTINCT FROM ({})").format(_names(plain, new), _names(plain, "t"))
    extra = _EXTRA_DIFFERS.format(new=sql.Identifier(new))
    return sql.SQL("({} OR {})").format(differs, extra) if "extra" in names else differs


def bisect(
    db: Connection,
    items: Sequence[Item],
    write: Callable[[Sequence[Item]], None],
    refuse: Callable[[Item, str], None],
) -> None:
    """Write the items, leaving out by halves those that PostgreSQL cannot store; `refuse` takes each with a reason."""
    if not items:
        return
    try:
        with db.begin_nested():
            write(items)
    except _UNSTORABLE as error:
        if len(items) == 1:
            refuse(items[0], f"PostgreSQL cannot store it: {type(error).__name__}")
            return
        middle = len(items) // 2
        bisect(db, items[:middle], write, refuse)
        bisect(db, items[middle:], write, refuse)


def _by_columns(table: Table, rows: Iterable[Row]) -> dict[tuple[str, ...], list[Row]]:
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in sorted(rows, key=itemgetter(*key_of(table))):
        groups[tuple(row)].append(row)
    return groups


@cache
def _types(table: Table, columns: tuple[str, ...]) -> list[str]:
    return [_type(table, name) for name in columns]


def _type(table: Table, name: str) -> str:
    column_type = table.c[name].type
    return next((sql_name for kind, sql_name in _TYPES if isinstance(column_type, kind)), "text")


def _stage(db: Connection, table: Table) -> sql.Identifier:
    """The session's staging table of the same shape, empty; made where it does not exist yet."""
    stage = sql.Identifier("pg_temp", f"stage_{table.name}")
    connection = driver(db)
    exists = connection.execute("SELECT to_regclass(%s)", (f"pg_temp.stage_{table.name}",)).fetchone()
    if exists is None or exists[0] is None:
        connection.execute(
            sql.SQL("CREATE TEMPORARY TABLE {} (LIKE {} INCLUDING COMPRESSION) ON COMMIT DELETE ROWS").format(
                sql.Identifier(f"stage_{table.name}"), name_of(table)
            )
        )
        optional = [column.name for column in table.columns if not column.nullable and not column.primary_key]
        for name in optional:
            connection.execute(
                sql.SQL("ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL").format(stage, sql.Identifier(name))
            )
    return stage


def _names(columns: Iterable[str], alias: str | None = None) -> sql.Composable:
    parts = ((alias, name) if alias else (name,) for name in columns)
    return sql.SQL(", ").join(sql.Identifier(*part) for part in parts)


def _same(columns: Iterable[str], left: str, right: str) -> sql.Composable:
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier(left, name), sql.Identifier(right, name)) for name in columns
    )
