"""How Alembic reaches the warehouse: over the connection that syncer.warehouse passes in, or by itself.

By itself is for developers: `alembic -x url=postgresql://... check`; without -x the url comes from
SYNCER_WAREHOUSE_URL. The transaction belongs to whoever made the connection.
"""

from __future__ import annotations

import os

from sqlalchemy import Connection, text

from alembic import context
from syncer import schema, warehouse


def migrate(db: Connection) -> None:
    # The version table is made before the first migration runs, so its schema must stand before both.
    if db.scalar(text(f"SELECT to_regnamespace('{schema.DAEMON}')")) is None:
        db.execute(text(f"CREATE SCHEMA {schema.DAEMON}"))
    # A user called syncer has that schema as the default one, and `alembic check` would not find its tables.
    db.dialect.default_schema_name = "public"
    context.configure(
        connection=db,
        target_metadata=schema.metadata,
        version_table_schema=schema.DAEMON,
        include_schemas=True,
        include_name=is_ours,
    )
    with context.begin_transaction():
        context.run_migrations()


def is_ours(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "schema" or name in {schema.HISTORY, schema.DAEMON}


def main() -> None:
    held = context.config.attributes.get("connection")
    if held is not None:
        migrate(held)
        return
    url = context.get_x_argument(as_dictionary=True).get("url") or os.environ.get("SYNCER_WAREHOUSE_URL", "")
    with warehouse.engine(url).begin() as db:
        migrate(db)


main()
