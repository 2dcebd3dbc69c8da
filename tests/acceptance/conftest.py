"""The command as a process of its own, against a simulated platform and a real PostgreSQL."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from syncer.config.values import toml_text
from syncer.simulator import Answer, Outline, Request, Tenant
from syncer.simulator.qualys_flow import Simulator
from tests.nursery import ROOT, TIMEOUT, Child, Done, Nursery
from tests.platforms import platform_of

SYNCER = [sys.executable, "-m", "syncer"]
"""The command where it needs a terminal or is read while it runs; otherwise a nursery has it sooner."""

CANARY = "canary-7f3a-password"


def execute(command: list[str], env: dict[str, str], cwd: Path) -> Done:
    """Run a program to its end; one that hangs fails the test."""
    done = subprocess.run(
        command,
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


class Configuration:
    """A configuration that a test can change key by key, and the environment of commands that use it."""

    def __init__(self, folder: Path, warehouse: str) -> None:
        self.folder = folder
        self.file = folder / "config.toml"
        self.warehouse: dict[str, object] = {"url": warehouse}
        self.service: dict[str, object] = {}
        self.connections: dict[str, dict[str, object]] = {}
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "error",
            "SYNCER_CONFIG": str(self.file),
        }

    def connect(self, name: str, simulator: Tenant, url: str, **changes: object) -> None:
        """Configure a connection to a simulator; None leaves a key out."""
        self.connections[name] = platform_of(simulator).keys(name, simulator, url, self.env) | changes

    def write(self) -> None:
        """Write the configuration as it stands, whole at any moment: another command may be reading it."""
        tables = {"warehouse": self.warehouse, "service": self.service} | {
            f"connections.{name}": keys for name, keys in self.connections.items()
        }
        new = self.file.with_suffix(".new")
        new.write_text("\n".join(_table(name, keys) for name, keys in tables.items()))
        if self.file.exists():
            shutil.copymode(self.file, new)
        new.replace(self.file)


class Cli(Configuration):
    """Runs `syncer` with a configuration."""

    def __init__(self, folder: Path, warehouse: str, nursery: Nursery) -> None:
        super().__init__(folder, warehouse)
        self._nursery = nursery

    def start(self, *arguments: str) -> Child:
        """Start a command; the configuration is written first."""
        self.write()
        return self._nursery.start(list(arguments), self.env, self.folder)

    def run(self, *arguments: str) -> Done:
        """Run a command to its end."""
        return self.start(*arguments).wait()


def _table(name: str, keys: dict[str, object]) -> str:
    lines = [f"{key} = {_toml(value)}" for key, value in keys.items() if value is not None]
    return "\n".join([f"[{name}]", *lines, ""])


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(each)}' for key, each in value.items())} }}"
    return toml_text(value) if isinstance(value, str) else json.dumps(value)


class Counted:
    """Does something when the simulator answers the n-th request, in its thread and before the answer leaves."""

    def __init__(self, simulator: Tenant, number: int, act: Callable[[], object]) -> None:
        self._left = number
        self._act = act
        simulator.fault = self

    def __call__(self, _request: Request, answer: Answer) -> Answer:
        self._left -= 1
        if self._left == 0:
            self._act()
        return answer


@pytest.fixture
def simulator() -> Simulator:
    return Simulator(Outline(workflows=3, executions=30, running=3))


@pytest.fixture
def url(simulator: Simulator) -> Iterator[str]:
    with simulator.serve() as url:
        yield url


@pytest.fixture
def bare(tmp_path: Path, database_url: str, nursery: Nursery) -> Cli:
    """A command with a warehouse and no connection."""
    return Cli(tmp_path, database_url, nursery)


@pytest.fixture
def cli(bare: Cli, simulator: Simulator, url: str) -> Cli:
    """A command with a warehouse and one connection, to the simulator."""
    bare.connect("flow", simulator, url)
    return bare


@pytest.fixture
def db(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A session on the warehouse, for a look or a lock."""
    with psycopg.connect(database_url, autocommit=True) as session:
        yield session
