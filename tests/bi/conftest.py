"""Superset with an interpreter and packages of its own, and Chromium to look at it: `make test-bi` brings the first."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import Engine, make_url

from syncer.warehouse import grant
from tests.bi.history import live
from tests.browser import CHROMIUM
from tests.servers import Server

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy" / "superset"
BUNDLE = DEPLOY / "bundle"
ENVIRONMENT = os.environ.get("SYNCER_BI")
"""The folder of Superset's environment; without one there is nothing to test with."""

PICTURES = os.environ.get("SYNCER_PICTURES")
"""Where the pictures of the dashboards go, if they are to be kept."""

TIMEOUT = 600

collect_ignore_glob = [] if ENVIRONMENT else ["test_*.py"]


class Superset:
    """Started as its container starts it, with the secrets and the home of a folder of its own."""

    def __init__(self, folder: Path, secrets: Mapping[str, str]) -> None:
        self.home = folder / "home"
        self.secrets = folder / "secrets"
        self.bundle = BUNDLE
        self.url = ""
        self._log = folder / "log"
        for each in (self.home, self.secrets):
            each.mkdir()
        for name, text in secrets.items():
            self.tell(name, text)

    def tell(self, secret: str, text: str) -> None:
        """Write a secret."""
        (self.secrets / secret).write_text(text)

    @property
    def password(self) -> str:
        """The admin's."""
        return (self.secrets / "superset_admin_password").read_text()

    def start(self, address: str = "", **options: Any) -> subprocess.Popen[bytes]:
        """Start it; what it says goes into its log."""
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "SUPERSET_ENV": "production",
            "SUPERSET_HOME": str(self.home),
            "SUPERSET_SECRETS": str(self.secrets),
            "SUPERSET_BUNDLE": str(self.bundle),
            "SUPERSET_ADDRESS": address,
        }
        command = [ROOT / str(ENVIRONMENT) / "bin" / "python", DEPLOY / "start"]
        with self._log.open("wb") as log:
            return subprocess.Popen(command, env=variables, cwd=self.home, stdout=log, stderr=log, **options)

    def said(self) -> str:
        """What it said since it was started last."""
        return self._log.read_text()

    @contextmanager
    def running(self) -> Iterator[httpx.Client]:
        """It serves while the body runs; gives its API, signed in as the admin."""
        with socket.create_server(("127.0.0.1", 0)) as door:
            self.url = f"http://127.0.0.1:{door.getsockname()[1]}"
            process = self.start(f"fd://{door.fileno()}", pass_fds=[door.fileno()])
        # Whoever knocks before it serves waits at the door, and is sent away should it die.
        try:
            with httpx.Client(base_url=self.url, timeout=TIMEOUT) as api:
                self._sign_in(api)
                yield api
        except httpx.TransportError as error:
            raise AssertionError(self.said()) from error
        finally:
            process.terminate()
            process.wait(TIMEOUT)

    def _sign_in(self, api: httpx.Client) -> None:
        person = {"username": "admin", "password": self.password, "provider": "db"}
        token = api.post("/api/v1/security/login", json=person).raise_for_status().json()["access_token"]
        api.headers["Authorization"] = f"Bearer {token}"
        api.headers["X-CSRFToken"] = (
            api.get("/api/v1/security/csrf_token/").raise_for_status().json()["result"]
        )
        api.headers["Referer"] = self.url

    def look(self, pages: Mapping[str, str], folder: Path) -> dict[str, Any]:
        """What Chromium sees of the pages, with a picture of each in the folder."""
        done = subprocess.run(
            [
                ROOT / str(ENVIRONMENT) / "bin" / "python",
                ROOT / "tests/bi/look.py",
                str(CHROMIUM),
                self.url,
                folder,
            ],
            input=json.dumps({"password": self.password, "pages": pages}),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        seen: dict[str, Any] = json.loads(done.stdout)
        return seen


@pytest.fixture(scope="session")
def weeks(server: Server, migrated_template: str) -> Iterator[Engine]:
    """A warehouse with some weeks of three platforms; nobody may change it."""
    with server.filled(migrated_template, live) as engine:
        yield engine


@pytest.fixture(scope="session")
def bi_url(weeks: Engine) -> Iterator[str]:
    """The address of the warehouse for a role that reads history, without payloads."""
    role = f"bi_{uuid4().hex}"
    with weeks.begin() as db:
        db.exec_driver_sql(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
        db.exec_driver_sql(f"ALTER ROLE {role} SET TimeZone = 'Pacific/Auckland'")
        grant(db, role, payloads=False)
    yield (
        make_url(weeks.url).set(drivername="postgresql", username=role, password=role).render_as_string(False)
    )
    with weeks.begin() as db:
        db.exec_driver_sql(f"DROP OWNED BY {role}")
        db.exec_driver_sql(f"DROP ROLE {role}")


@pytest.fixture(scope="session")
def superset(bi_url: str, tmp_path_factory: pytest.TempPathFactory) -> Superset:
    """One with all its secrets, not running."""
    secrets = {
        "bi_url": f"{bi_url}\n",
        "superset_secret_key": uuid4().hex,
        "superset_admin_password": uuid4().hex,
    }
    return Superset(tmp_path_factory.mktemp("superset"), secrets)
