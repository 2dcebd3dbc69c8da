"""What docker-compose.yml does for BI tools, on a PostgreSQL that knows nothing of them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege, OperationalError, ReadOnlySqlTransaction

from syncer.embedded import installed_programs
from tests.nursery import FROM_THE_START, Nursery
from tests.servers import temporary_server

COMPOSE = Path(__file__).parents[2] / "deploy" / "compose"


class Machine(NamedTuple):
    """A server of its own, since roles belong to all databases, and the secrets of the containers."""

    programs: Path
    url: SplitResult
    secrets: Path

    def as_role(self, role: str, database: str, secret: str) -> psycopg.Connection[tuple[object, ...]]:
        """A connection with the password of this secret."""
        password = (self.secrets / secret).read_text()
        return psycopg.connect(
            host=self.url.hostname, port=self.url.port, user=role, password=password, dbname=database
        )

    def make_roles(self) -> None:
        """What the service bi-roles does."""
        script = seen_from_here(COMPOSE / "bi" / "make-roles", self.secrets.parent, self.secrets)
        env = {"PATH": f"{self.programs}:{os.environ['PATH']}", "PGUSER": f"{self.url.username}"}
        env |= {"PGHOST": f"{self.url.hostname}", "PGPORT": f"{self.url.port}"}
        subprocess.run(["sh", script], env=env, check=True)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    programs = installed_programs()[0]
    if programs.major < 17 or not (programs.folder / "psql").exists():
        pytest.skip("there is no psql of PostgreSQL 17 or newer here")
    secrets = tmp_path_factory.mktemp("machine") / "secrets"
    env = {"PATH": os.environ["PATH"], "QUALYS_PASSWORD": "-"}
    subprocess.run([COMPOSE / "make-secrets", secrets], env=env, check=True, capture_output=True)
    with temporary_server(programs.folder) as server:
        url = urlsplit(server.start())
        (secrets / "postgres_password").write_text(url.password or "")
        (secrets / "warehouse_url").write_text(url.geturl())
        yield Machine(programs.folder, url, secrets)


def seen_from_here(file: Path, folder: Path, secrets: Path) -> Path:
    """A copy that finds the secrets where they are."""
    copy = folder / file.name
    copy.write_text(file.read_text().replace("/run/secrets", str(secrets)))
    return copy


@pytest.fixture(scope="module")
def granted(machine: Machine, nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """As the two services leave it that run before a tool: roles, then a schema and the right to read it."""
    machine.make_roles()
    folder = tmp_path_factory.mktemp("granted")
    # The container has no other secret than the warehouse's.
    (machine.secrets / "qualys_password").unlink()
    config = seen_from_here(COMPOSE / "syncer" / "config.toml", folder, machine.secrets)
    done = nursery.start(["--config", str(config), "grant", "bi"], dict(FROM_THE_START), folder).wait()
    assert (done.code, done.err) == (0, "")
    return machine


def test_the_tools_role_reads_history_but_no_payloads(granted: Machine) -> None:
    with granted.as_role("bi", "syncer", "bi_password") as db:
        assert db.execute("SELECT count(*) FROM history.execution_facts").fetchone() == (0,)
        with pytest.raises(InsufficientPrivilege):
            db.execute("SELECT count(*) FROM history.step_io")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TEMPORARY TABLE mine (it int)",
        "DELETE FROM history.executions",
        "CREATE TABLE history.mine (it int)",
    ],
)
def test_the_tools_role_writes_nothing(granted: Machine, statement: str) -> None:
    with (
        granted.as_role("bi", "syncer", "bi_password") as db,
        pytest.raises((ReadOnlySqlTransaction, InsufficientPrivilege)),
    ):
        db.execute(statement.encode())


def test_metabase_owns_a_database_and_sees_nothing_of_the_warehouse(granted: Machine) -> None:
    with granted.as_role("metabase", "metabase", "metabase_database_password") as db:
        db.execute("CREATE TABLE mine (it int)")
        assert db.execute("SHOW server_encoding").fetchone() == ("UTF8",)
    with (
        granted.as_role("metabase", "syncer", "metabase_database_password") as db,
        pytest.raises(InsufficientPrivilege),
    ):
        db.execute("SELECT count(*) FROM history.execution_facts")


def test_a_changed_secret_is_taken_over_and_what_is_there_stays(granted: Machine) -> None:
    (granted.secrets / "bi_password").write_text("an'other \\ one")
    with pytest.raises(OperationalError):
        granted.as_role("bi", "syncer", "bi_password")
    granted.make_roles()
    with granted.as_role("bi", "syncer", "bi_password") as db:
        assert db.execute("SELECT count(*) FROM history.execution_facts").fetchone() == (0,)
    with granted.as_role("metabase", "metabase", "metabase_database_password") as db:
        assert db.execute("SELECT count(*) FROM pg_class WHERE relname = 'mine'").fetchone() == (1,)
