"""Connections known to the warehouse, and what the daemon did and when."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from syncer.errors import ConfigError
from syncer.schema import connections, runs


def register_connection(db: Connection, connection_id: str, platform: str, base_url: str) -> None:
    """Remember the connection; ConfigError if its name already stands for another platform or address."""
    db.execute(
        insert(connections)
        .values(
            connection_id=connection_id,
            platform=platform,
            base_url=base_url,
            first_synced_at=func.clock_timestamp(),
        )
        .on_conflict_do_nothing()
    )
    row = db.execute(
        select(connections.c.platform, connections.c.base_url).where(
            connections.c.connection_id == connection_id
        )
    ).one()
    for key, stored, given in (("platform", row.platform, platform), ("base_url", row.base_url, base_url)):
        if stored != given:
            raise ConfigError(
                f"connections.{connection_id}.{key}: the warehouse holds history of {stored!r} under this name, "
                f"not of {given!r}",
                hint="give the new tenant a name of its own: two tenants must not be mixed",
            )


def note_facts(db: Connection, connection_id: str, facts: Mapping[str, Any]) -> None:
    """Keep facts that hold for the whole connection, where they differ from the stored ones."""
    if facts:
        db.execute(
            update(connections)
            .where(
                connections.c.connection_id == connection_id,
                connections.c.extra.is_distinct_from(dict(facts)),
            )
            .values(extra=dict(facts))
        )


def begin_run(db: Connection, run_id: str, command: str, connection_id: str | None, owner: str) -> None:
    """Note that a run begins."""
    db.execute(
        insert(runs).values(
            run_id=run_id,
            command=command,
            connection_id=connection_id,
            owner=owner,
            started_at=func.clock_timestamp(),
            state="running",
        )
    )


def end_run(db: Connection, run_id: str, state: str, counts: Mapping[str, Any], error: str | None) -> None:
    """Note how a run ended."""
    db.execute(
        update(runs)
        .where(runs.c.run_id == run_id)
        .values(ended_at=func.clock_timestamp(), state=state, counts=dict(counts), error=error)
    )


def forget_runs(db: Connection, older_than: timedelta) -> None:
    """Delete what is noted of runs that began longer ago."""
    db.execute(delete(runs).where(runs.c.started_at < func.clock_timestamp() - older_than))
