"""How the schema of the warehouse comes to be what this version needs.

Invariant: it changes only in one transaction that holds the migration lock, so any number of processes may
migrate at once and a failure leaves everything as it was. Must not know what the migrations do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, column, func, select, table, text
from sqlalchemy.exc import DBAPIError

from syncer import schema
from syncer.errors import WarehouseError
from syncer.warehouse.definition import compress, run
from syncer.warehouse.reach import engine
from syncer.warehouse.roles import grant_again

if TYPE_CHECKING:
    from alembic.config import Config

OLDEST_SERVER = 15
_MIGRATION_LOCK = 7_911_733_058_201_844  # any number, the same in every version
_LOCK_TIMEOUT = "5s"
_BUSY = {"55P03", "40P01"}  # lock_timeout, deadlock
_VERSION = table("alembic_version", column("version_num"), schema=schema.DAEMON)  # Alembic keeps it
_MIGRATE = "run `syncer migrate`"


def migrate(target: str | Engine, *, attempts: int = 6, sleep: Callable[[float], None] = time.sleep) -> bool:
    """Bring the warehouse (its url or an engine) to this version's schema; True if there was something to do.

    A table that somebody holds is waited for 5 seconds at a time: readers never queue behind us for long.
    """
    with _engine(target) as made:
        if current(made) == head():
            return False
        for attempt in range(attempts):
            sleep(attempt)
            try:
                return _upgrade(made)
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) not in _BUSY:
                    raise
    raise WarehouseError(
        "other sessions hold locks on the warehouse's tables",
        f"end them (see pg_stat_activity), then {_MIGRATE}",
    )


@contextmanager
def _engine(target: str | Engine) -> Iterator[Engine]:
    if isinstance(target, Engine):
        yield target
        return
    made = engine(target)
    try:
        yield made
    finally:
        made.dispose()


def _upgrade(made: Engine) -> bool:
    # It takes as long to import as SQLAlchemy, and hardly ever is there something to migrate.
    from alembic import command

    with made.begin() as db:
        _lock(db)
        _check_server(db)
        before = _revision(db)
        _refuse_newer(before)
        command.upgrade(_config(db), "head")
        compress(db)
        grant_again(db)
        return before != _revision(db)


def downgrade(made: Engine, revision: str) -> None:
    """Take the schema back to `revision`; "base" drops everything, the history included."""
    from alembic import command

    with made.begin() as db:
        _lock(db)
        command.downgrade(_config(db), revision)
        if revision == "base":
            run(db, "DROP TABLE syncer.alembic_version; DROP SCHEMA syncer")


def _lock(db: Connection) -> None:
    run(db, f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'; SET LOCAL statement_timeout = 0")
    db.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))


def _check_server(db: Connection) -> None:
    version = int(db.scalar(text("SHOW server_version_num")) or 0) // 10_000
    if version < OLDEST_SERVER:
        raise WarehouseError(
            f"the warehouse runs on PostgreSQL {version}", f"use PostgreSQL {OLDEST_SERVER} or newer"
        )
    encoding = db.scalar(text("SHOW server_encoding"))
    if encoding != "UTF8":
        raise WarehouseError(
            f"the encoding of the warehouse's database is {encoding}",
            "create one with: CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0",
        )


def check_version(made: Engine) -> None:
    """Raise WarehouseError unless the schema is exactly the one this version works with."""
    found = current(made)
    if found is None:
        raise WarehouseError("the warehouse holds no schema of syncer yet", _MIGRATE)
    _refuse_newer(found)
    if found != head():
        raise WarehouseError(
            f"the warehouse's schema is at revision {found}, this version needs {head()}", _MIGRATE
        )


def is_behind(made: Engine) -> bool:
    """Whether `migrate` has something to do: there is no schema, or that of an earlier version."""
    found, known = current(made), _revisions()
    return found is None or found in known[:-1]


def _refuse_newer(found: str | None) -> None:
    if found is not None and found not in _revisions():
        raise WarehouseError(
            f"the warehouse's schema is at revision {found}, newer than this version knows", "upgrade syncer"
        )


def current(made: Engine) -> str | None:
    """The revision of the warehouse's schema; None where it has none."""
    with made.connect() as db:
        return _revision(db)


def _revision(db: Connection) -> str | None:
    if db.scalar(select(func.to_regclass(_VERSION.fullname))) is None:
        return None
    found: str | None = db.scalar(select(_VERSION.c.version_num))
    return found


def head() -> str:
    """The revision this version works with."""
    return _revisions()[-1]


def _revisions() -> list[str]:
    """All that this version knows, in their order: the name of each migration's file begins with its own."""
    return sorted(file.stem.partition("_")[0] for file in (_folder() / "versions").glob("*.py"))


def _config(db: Connection) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_folder()).replace("%", "%%"))
    config.attributes["connection"] = db
    return config


def _folder() -> Path:
    package = Path(__file__).parents[1]
    shipped = package / "migrations"  # in a wheel; in the repository they stand beside the package
    return shipped if shipped.is_dir() else package.parent / "alembic"
