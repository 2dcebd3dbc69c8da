"""What the runbook promises of a service that is changed while it runs: new secrets, a newer schema."""

from __future__ import annotations

import http.client
import socket
from typing import Any

import psycopg
import pytest

from syncer.simulator.qualys_flow import Simulator
from tests.acceptance.conftest import Cli
from tests.acceptance.service import eventually, running

Db = psycopg.Connection[Any]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def readiness(port: int) -> tuple[int, str]:
    """What /readyz answers; 0 while nobody does."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except ConnectionError:
        return 0, ""
    finally:
        connection.close()


def copied(db: Db) -> set[str]:
    return {row[0] for row in db.execute("SELECT execution_id FROM history.executions").fetchall()}


@pytest.fixture
def often(cli: Cli) -> Cli:
    """A service that polls its simulator every second."""
    cli.service = {"listen": "", "log_format": "json"}
    cli.connections["flow"]["poll"] = "1s"
    return cli


def test_a_secret_in_a_file_is_taken_up_at_a_signal(often: Cli, simulator: Simulator, db: Db) -> None:
    secret = often.folder / "secret"
    secret.write_text("the former one")
    auth = {
        "mode": "password",
        "username": simulator.credentials.username,
        "password": {"file": str(secret)},
    }
    often.connections["flow"]["auth"] = auth
    with running(often) as service:
        service.await_event("failing")
        secret.write_text(simulator.credentials.password)
        service.reload()
        service.await_event("reloaded", changed=["flow"])
        eventually(lambda: copied(db) == set(simulator.truth.executions), "the copy")
        assert service.end() == 0


def test_a_newer_schema_is_told_and_who_runs_already_works_on(
    often: Cli, simulator: Simulator, db: Db
) -> None:
    port = free_port()
    often.service["listen"] = f"127.0.0.1:{port}"
    with running(often) as service:
        eventually(lambda: copied(db) == set(simulator.truth.executions), "the copy")
        eventually(lambda: readiness(port)[0] == 200, "readiness")
        db.execute("UPDATE syncer.alembic_version SET version_num = 'later'")
        eventually(lambda: readiness(port)[0] == 503, "the newer schema")
        assert "newer than this version knows" in readiness(port)[1]
        late = simulator.add_execution()
        eventually(lambda: late.id in copied(db), "what happened later")
        done = often.run("sync")
        assert (done.code, "newer than this version knows" in done.err) == (3, True)
        assert service.end() == 0
