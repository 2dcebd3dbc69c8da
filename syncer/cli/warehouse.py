"""The warehouse, ready to be worked with: reached, started where it is ours, brought to this version.

Invariant: whoever gets the engine works on the schema of this version.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from syncer.config import Settings, Warehouse
from syncer.embedded import EmbeddedServer
from syncer.warehouse import check_version, engine, explain, migrate


@contextmanager
def reached(warehouse: Warehouse) -> Iterator[Engine]:
    """An engine on the warehouse, whatever its schema; the embedded server is started and stays up."""
    with _explained(engine(started_url(warehouse))) as made:
        yield made


@contextmanager
def ready(settings: Settings) -> Iterator[Engine]:
    """An engine on a warehouse of this version; migrated first, unless `warehouse.auto_migrate` is false."""
    with _explained(open_warehouse(settings)) as made:
        yield made


@contextmanager
def _explained(made: Engine) -> Iterator[Engine]:
    """Tell of locks that nobody knew what to do about, and dispose of the engine at the end."""
    try:
        yield made
    except DBAPIError as error:
        told = explain(error.orig, made.url) if error.orig else None
        if told is None:
            raise
        raise told from error
    finally:
        made.dispose()


def open_warehouse(settings: Settings) -> Engine:
    """As `ready`, to be disposed of by whoever asked for it."""
    made = engine(started_url(settings.warehouse))
    try:
        if settings.warehouse.auto_migrate:
            migrate(made)
        else:
            check_version(made)
    except BaseException:
        made.dispose()
        raise
    return made


def started_url(warehouse: Warehouse) -> str:
    """The warehouse's address; the embedded server is started where it is not up."""
    if warehouse.embedded:
        return EmbeddedServer(warehouse.data_dir).start()
    return warehouse.url.get_secret_value()
