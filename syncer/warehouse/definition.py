"""The schema as SQL, as schema.py and views/ say it today: what migrations must add up to.

Invariant: the same definitions give the same text. Must not know revisions: what a migration did is
frozen in its own file.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Table, create_mock_engine, text
from sqlalchemy.schema import (
    CreateIndex,
    CreateTable,
    ExecutableDDLElement,
    SetColumnComment,
    SetTableComment,
)

from syncer import schema

_SCHEMAS = """\
DO $$ BEGIN
  IF to_regnamespace('history') IS NULL THEN CREATE SCHEMA history; END IF;
  IF to_regnamespace('syncer') IS NULL THEN CREATE SCHEMA syncer; END IF;
END $$;
COMMENT ON SCHEMA history IS 'Execution history of workflow platforms, for people and BI tools.';
COMMENT ON SCHEMA syncer IS 'The daemon''s own notes.';"""

# Rows of one execution lie together, so a sample counts far too few executions and a day's steps would be a scan.
_STATISTICS = """\
ALTER TABLE history.step_events ALTER COLUMN execution_id SET (n_distinct = -0.1);
ALTER TABLE history.steps ALTER COLUMN execution_id SET (n_distinct = -0.1);
ALTER TABLE history.step_io ALTER COLUMN execution_id SET (n_distinct = -0.1);"""

_UNCOMPRESSED = text(
    """
    SELECT quote_ident(c.relname), quote_ident(a.attname)
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace = to_regnamespace('history') AND c.relname = ANY(:tables) AND NOT a.attisdropped
      AND a.atttypid IN ('jsonb'::regtype, 'bytea'::regtype) AND NOT starts_with(a.attname, '_')
      AND a.attcompression = ''
    ORDER BY c.relname, a.attnum
    """
)


def views() -> dict[str, str]:
    """The SQL of every view by its name, in the order in which they can be created."""
    folder = Path(__file__).parents[1] / "views"
    return {file.stem: file.read_text("utf-8").strip() for file in sorted(folder.glob("*.sql"))}


def ddl() -> str:
    """Both schemas, every table with its comments and indexes, and the views: what migrations add up to."""
    statements = [_SCHEMAS]
    for table in schema.metadata.sorted_tables:
        statements += map(_compiled, _parts(table))
    lines = "\n".join([*statements, _STATISTICS, *views().values()]).splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _parts(table: Table) -> list[ExecutableDDLElement]:
    commented = [column for column in table.columns if column.comment]
    indexes = sorted(table.indexes, key=lambda index: str(index.name))
    return [
        CreateTable(table),
        SetTableComment(table),
        *map(SetColumnComment, commented),
        *map(CreateIndex, indexes),
    ]


def _compiled(part: ExecutableDDLElement) -> str:
    dialect = create_mock_engine("postgresql://", print, paramstyle="named").dialect  # others double "%"
    return f"{str(part.compile(dialect=dialect)).strip()};"


def create_all(db: Connection) -> None:
    """Make the schema without migrations, to compare with what they made."""
    run(db, ddl())
    compress(db)


def compress(db: Connection) -> None:
    """Use lz4 for large columns where the server has it: loading a row costs nearly half as much."""
    offered = db.scalar(text("SELECT enumvals FROM pg_settings WHERE name = 'default_toast_compression'"))
    if "lz4" not in (offered or ()):
        return
    tables = [table.name for table in schema.HISTORY_TABLES]
    for table, column in db.execute(_UNCOMPRESSED, {"tables": tables}).all():
        run(db, f"ALTER TABLE history.{table} ALTER COLUMN {column} SET COMPRESSION lz4")


def run(db: Connection, sql: str) -> None:
    """Execute SQL as it stands: several statements, and "%" means itself because there are no parameters."""
    db.exec_driver_sql(sql, execution_options={"no_parameters": True})
