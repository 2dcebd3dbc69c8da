"""PostgreSQL servers for tests: real ones, and quick, since they may lose all when the machine fails."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from sqlalchemy import Engine, create_engine

from syncer.embedded import EmbeddedServer, Programs, installed_programs

QUICK = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",  # it takes old locks off rows, which would then not look untouched
}


@dataclass(frozen=True)
class Server:
    """A running server; `url` leads to a role that may create databases."""

    url: str

    @contextmanager
    def new_database(self, template: str = "template1") -> Iterator[str]:
        """The URL of a copy of `template`, dropped afterwards together with whoever is still connected."""
        name = f"syncer_test_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield urlsplit(self.url)._replace(path=f"/{name}").geturl()
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def filled(self, template: str, fill: Callable[[Engine], object]) -> Iterator[Engine]:
        """A copy of `template` that something has been done to, for all who only read it."""
        with self.new_database(template) as url:
            engine = create_engine(urlsplit(url)._replace(scheme="postgresql+psycopg").geturl())
            fill(engine)
            yield engine
            engine.dispose()

    def execute(self, statement: str) -> None:
        """Do something that belongs to no database."""
        with psycopg.connect(self.url, autocommit=True) as db:
            db.execute(statement.encode())


def servers_to_test() -> list[Programs | None]:
    """What the fixture `server` runs on. None stands for a server given by URL, or for having found none."""
    if os.environ.get("SYNCER_TEST_URL"):
        return [None]
    found = installed_programs()
    wanted = (found[0], found[-1]) if os.environ.get("SYNCER_TEST_SERVERS") == "all" else found[:1]
    return [*dict.fromkeys(wanted)] or [None]


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that any account can enter, unlike pytest's: as root the server runs as `nobody`."""
    with tempfile.TemporaryDirectory(prefix="syncer-test-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        folder.chmod(0o711)
        yield folder


@contextmanager
def temporary_server(binaries: Path | None = None) -> Iterator[EmbeddedServer]:
    """A server of the test's own, not started yet, to be stopped and killed at will."""
    with temporary_folder() as folder:
        server = EmbeddedServer(folder / "warehouse", binaries=binaries, settings=QUICK)
        try:
            yield server
        finally:
            server.stop()
            shutil.rmtree(server.home, ignore_errors=True)
