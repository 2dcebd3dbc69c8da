"""How the warehouse is reached, and what PostgreSQL's refusals mean to a person.

Invariant: no text that leaves here holds the password. Must not know what is in the database.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import psycopg
from sqlalchemy import URL, Dialect, Engine, create_engine, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry

from syncer.errors import ConfigError, WarehouseError
from syncer.warehouse.waiting import Connection

_DRIVER = "postgresql+psycopg"
# A server that vanished without a word is noticed within a minute, not after the two hours of the system's defaults.
_KEEPALIVES = {
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 4,
    "tcp_user_timeout": 60_000,
}
# The same the other way round. A process that is suspended, or a machine that is gone, in the middle of a transaction
# would hold its locks for as long, and every process that takes over would wait for them. Whoever runs the server may
# have set a shorter time. Minutes, because rows are folded and encoded between two statements.
_SESSION = """\
SET TIME ZONE 'UTC';
SET tcp_keepalives_idle = 20;
SET tcp_keepalives_interval = 10;
SET tcp_keepalives_count = 4;
SELECT set_config('idle_in_transaction_session_timeout', '5min', false)
WHERE current_setting('idle_in_transaction_session_timeout') = '0'
"""


class _Fault(NamedTuple):
    states: str  # pattern of the SQLSTATE of a statement that failed
    phrases: str  # pattern of what libpq says when connecting failed: it passes no SQLSTATE on
    message: str
    hint: str


_FAULTS = (
    _Fault(
        "28P01",
        "password authentication failed|no password supplied",
        "it refuses the password of user {user}",
        "mend the password in warehouse.url",
    ),
    _Fault(
        "3D000",
        'database ".*" does not exist',
        "it has no database {database}",
        "create it with encoding UTF8, or mend warehouse.url",
    ),
    _Fault(
        "28000",
        'role ".*" does not exist|no pg_hba.conf entry|authentication failed|not permitted to log in',
        "it does not let user {user} in: {said}",
        "mend the user in warehouse.url, or the server's roles and pg_hba.conf",
    ),
    _Fault(
        "53300",
        "too many clients|too many connections|remaining connection slots",
        "all its connections are taken",
        "raise max_connections or end idle sessions",
    ),
    _Fault(
        "57P03",
        "starting up|shutting down|in recovery mode|not yet accepting",
        "it is starting or stopping",
        "try again in a moment",
    ),
    _Fault(
        "57P0[12]|08...",
        "[Rr]efused|time(d )?out|resolve host|No such file|unreachable|closed the connection|No route",
        "it cannot be reached: {said}",
        "start the server, or mend host and port in warehouse.url",
    ),
    _Fault(
        "42501",
        "permission denied for database",
        "user {user} lacks a right: {said}",
        "grant it, or connect as the owner of the schemas history and syncer",
    ),
    _Fault("42P01|42703|3F000", "^$", "its schema lacks something: {said}", "run `syncer migrate`"),
    _Fault(
        "53[12]00",
        "No space left|[Oo]ut of (shared )?memory",
        "it has run out of space: {said}",
        "give it more disk or memory",
    ),
    _Fault("53...", "^$", "a limit of its configuration is reached: {said}", "raise that limit"),
    _Fault("25006", "^$", "it only reads: {said}", "point warehouse.url to the primary server"),
    _Fault(
        "55P03|40P01|40001",
        "^$",
        "other sessions hold locks on what is to be written: {said}",
        "end them (see pg_stat_activity), then try again",
    ),
    _Fault(
        "57014",
        "^$",
        "it canceled a statement: {said}",
        "try again; if it is statement_timeout, raise it for the user in warehouse.url",
    ),
    _Fault(
        "25P0[34]|57P05",
        "terminating connection due to",
        "it ended a session of ours: {said}",
        "raise that timeout for the user in warehouse.url",
    ),
    _Fault("58...|XX...", "^$", "it reports a fault of its own: {said}", "see the server's log"),
)
_LOCKS = frozenset({"55P03", "40P01", "40001"})


def engine(url: str) -> Engine:
    """A pool of connections to the warehouse that also works behind PgBouncer.

    Faults of the server, of rights and of the schema surface as WarehouseError. Errors of data, keys and
    locks keep their SQLAlchemy type: whoever writes knows what to do about them, and can `explain` those of locks
    when nothing helped.
    """
    made = create_engine(
        _address(url),
        pool_size=5,
        pool_timeout=300,  # many tenants take turns: to wait for a connection is no fault
        pool_pre_ping=True,
        connect_args={
            "application_name": "syncer",
            "client_encoding": "utf8",
            "connect_timeout": 10,
            "prepare_threshold": None,  # a prepared statement is lost when a proxy swaps the connection
            **_KEEPALIVES,
        },
    )
    event.listen(made, "do_connect", _connect)
    event.listen(made, "connect", _agree)
    event.listen(made, "handle_error", _translate)
    return made


def _address(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # what they say may quote the password
        parsed = URL.create("unreadable")
    if parsed.drivername not in {"postgresql", "postgres", _DRIVER}:
        raise ConfigError(
            "warehouse.url is not the address of a PostgreSQL database",
            "write it like postgresql://user:password@host:5432/database",
        )
    return parsed.set(drivername=_DRIVER)


def _connect(
    _dialect: Dialect, _entry: ConnectionPoolEntry, positional: Sequence[Any], named: Mapping[str, Any]
) -> DBAPIConnection:
    return cast("DBAPIConnection", Connection.connect(*positional, **named))


def _agree(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    # Statements, not startup options: PgBouncer refuses `options` but carries TimeZone along.
    connection.cursor().execute(_SESSION)
    connection.commit()


def _translate(context: ExceptionContext) -> WarehouseError | None:
    error = context.original_exception
    if context.is_pre_ping:  # the pool answers a lost connection with a new one
        return None
    if isinstance(error, psycopg.Error) and error.sqlstate in _LOCKS:
        return None
    return explain(error, context.engine.url if context.engine else None)


def explain(error: BaseException, url: URL | None) -> WarehouseError | None:
    """What a driver's error means to a person; None where it is about data or keys.

    For what passes SQLAlchemy by, such as COPY, and for locks; with the rest an engine made here does it by itself.
    """
    url = url or URL.create(_DRIVER)
    if not isinstance(error, psycopg.Error):
        return None
    said = _said(error, url)
    where = f"PostgreSQL at {url.host or 'the local socket'}:{url.port or 5432}"
    words = {"user": repr(url.username), "database": repr(url.database or url.username), "said": said}
    for fault in _FAULTS:
        if _matches(error, fault, said):
            return WarehouseError(f"{where}: {fault.message.format(**words)}", fault.hint)
    if isinstance(error, psycopg.OperationalError) and not error.sqlstate:
        return WarehouseError(f"{where}: {said}", "see the server's log and warehouse.url")
    return None


def _matches(error: psycopg.Error, fault: _Fault, said: str) -> bool:
    if error.sqlstate:
        return re.fullmatch(fault.states, error.sqlstate) is not None
    return isinstance(error, psycopg.OperationalError) and re.search(fault.phrases, said) is not None


def _said(error: psycopg.Error, url: URL) -> str:
    lines = (error.diag.message_primary or str(error)).strip().splitlines() or ["no reason given"]
    said = lines[0].rpartition(" failed: ")[2].replace("FATAL:", "").strip()
    return said.replace(url.password, "********") if url.password else said
