"""The floor of writing: the very rows that another copy holds, by binary COPY into the same tables with their indexes.

load take FOLDER     write every table into a file
load FOLDER          load the files, which is what is measured
"""

from __future__ import annotations

import sys
from pathlib import Path

import psycopg

from bench.contestants.wire import WAREHOUSE

COLUMNS = """
SELECT table_name, string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position)
FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
WHERE table_schema = 'history' AND table_type = 'BASE TABLE' AND is_generated = 'NEVER'
GROUP BY table_name ORDER BY table_name
"""
BLOCK = 1 << 18


def take(db: psycopg.Connection, folder: Path) -> None:
    for table, columns in db.execute(COLUMNS).fetchall():
        out = db.cursor().copy(f"COPY history.{table} ({columns}) TO STDOUT (FORMAT binary)".encode())
        with out as blocks, (folder / table).open("wb") as file:
            for block in blocks:
                file.write(block)


def load(db: psycopg.Connection, folder: Path) -> None:
    for table, columns in db.execute(COLUMNS).fetchall():
        into = db.cursor().copy(f"COPY history.{table} ({columns}) FROM STDIN (FORMAT binary)".encode())
        with into as copy, (folder / table).open("rb") as file:
            while block := file.read(BLOCK):
                copy.write(block)
        db.commit()


def main() -> None:
    with psycopg.connect(WAREHOUSE) as db:
        (take if sys.argv[1] == "take" else load)(db, Path(sys.argv[-1]))


if __name__ == "__main__":
    main()
