"""dbt with an interpreter and packages of its own: `make test-dbt` brings it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, make_url

from syncer.warehouse import grant

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "deploy" / "dbt"
ENVIRONMENT = os.environ.get("SYNCER_DBT")
"""The folder of dbt's environment; without one there is nothing to test with."""

TIMEOUT = 300

collect_ignore_glob = [] if ENVIRONMENT else ["test_*.py"]


class Dbt:
    """Runs the project that comes with syncer, as the role its documents ask for."""

    def __init__(self, engine: Engine, role: str, folder: Path) -> None:
        url = make_url(engine.url)
        self._program = ROOT / str(ENVIRONMENT) / "bin" / "dbt"
        self._folder = folder
        self._env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "DBT_HOST": str(url.host),
            "DBT_PORT": str(url.port),
            "DBT_DATABASE": str(url.database),
            "DBT_USER": role,
            "DBT_PASSWORD": role,
            "DBT_TARGET_PATH": str(folder / "target"),
            "DBT_LOG_PATH": str(folder / "logs"),
        }

    def run(self, *arguments: str) -> tuple[int, str]:
        """How a command ended and what it said."""
        done = subprocess.run(
            [self._program, *arguments, "--project-dir", PROJECT, "--profiles-dir", PROJECT],
            env=self._env,
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def results(self, name: str = "run_results.json") -> list[dict[str, Any]]:
        """What the last command noted of each model, test or source."""
        results: list[dict[str, Any]] = json.loads((self._folder / "target" / name).read_text())["results"]
        return results


@pytest.fixture
def dbt(engine: Engine, tmp_path: Path) -> Iterator[Dbt]:
    """dbt, with a role that reads history and writes a schema of its own."""
    role = f"dbt_{uuid4().hex}"
    with engine.begin() as db:
        db.exec_driver_sql(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
        db.exec_driver_sql(f"CREATE SCHEMA analytics AUTHORIZATION {role}")
        grant(db, role, payloads=False)
    yield Dbt(engine, role, tmp_path)
    with engine.begin() as db:
        db.exec_driver_sql(f"DROP OWNED BY {role}")
        db.exec_driver_sql(f"DROP ROLE {role}")
