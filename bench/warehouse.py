"""A PostgreSQL of its own for every contestant, as durable as it comes, and what it takes.

Invariant: nothing is tuned; `fsync` and `synchronous_commit` are on.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import psycopg

from bench.processes import cpu_seconds
from syncer.embedded import EmbeddedServer, Programs, installed_programs
from syncer.embedded.programs import choose_programs
from syncer.embedded.server import CLUSTER

ROWS_WRITTEN = r"""
SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_user_tables
WHERE schemaname NOT IN ('truth', 'syncer') AND relname NOT LIKE '\_dlt%'
"""
"""Of what was copied: what a tool keeps of its own progress does not count."""
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
BYTES = """
SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind = 'r' AND nspname NOT IN ('pg_catalog', 'information_schema', 'truth')
"""


class Meters(NamedTuple):
    """What has been counted up to now: seconds, rows written, bytes of WAL."""

    cpu: float
    rows: int
    wal: int

    def since(self, before: Meters) -> Meters:
        """What has come on top."""
        return Meters(self.cpu - before.cpu, self.rows - before.rows, self.wal - before.wal)


class Warehouse:
    """A running server with one database."""

    def __init__(self, url: str, postmaster: int) -> None:
        self.url = url
        self._postmaster = postmaster

    def number(self, query: str) -> int:
        """What a query counts."""
        with psycopg.connect(self.url) as db:
            row = db.execute(query.encode()).fetchone()
        assert row
        return int(row[0])

    def bytes(self) -> int:
        """All tables with their indexes."""
        return self.number(BYTES)

    def calm(self) -> None:
        """Let it do now what it would do in the quarter of an hour that goes by, lest whoever comes next pay for it."""
        with psycopg.connect(self.url, autocommit=True) as db:
            db.execute("VACUUM (ANALYZE)")
            db.execute("CHECKPOINT")

    def meters(self) -> Meters:
        """Read when all clients have gone: until then neither their rows nor their time is counted for certain."""
        while self.number(SESSIONS) > 1:
            time.sleep(0.01)
        return self.meters_in_use()

    def meters_in_use(self) -> Meters:
        """Read while clients go on: what they wrote in the last second may be missing."""
        return Meters(
            cpu_seconds(self._postmaster),
            self.number(ROWS_WRITTEN),
            self.number("SELECT pg_current_wal_lsn() - '0/0'"),
        )


@cache
def programs() -> Programs:
    """The newest PostgreSQL here that has lz4, as what people run has and the one from the package index has not; else
    the newest."""
    return next(filter(_has_lz4, installed_programs()), None) or choose_programs(None, None)


def _has_lz4(server: Programs) -> bool:
    try:
        told = subprocess.check_output([server.folder / "pg_config", "--configure"], text=True)
    except OSError:
        return False
    return "--with-lz4" in told


@contextmanager
def new_warehouse() -> Iterator[Warehouse]:
    """A server that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)  # as root the server runs as another account
        server = EmbeddedServer(folder / "warehouse", binaries=programs().folder)
        try:
            url = server.start()
            pid = int((server.home / CLUSTER / "postmaster.pid").read_text().split()[0])
            yield Warehouse(url, pid)
        finally:
            server.stop()
            if server.home != folder:
                shutil.rmtree(server.home, ignore_errors=True)
