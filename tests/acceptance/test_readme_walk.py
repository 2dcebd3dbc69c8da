"""The README's way from a clone to a running service, followed line by line in an empty home.

What a machine of its own has for itself is exchanged: ports, and the name of role and database. The first two commands,
which install syncer, are left out: what they install is what runs here.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from syncer.embedded import installed_programs
from tests.acceptance.service import eventually
from tests.nursery import ROOT, TIMEOUT
from tests.servers import Server

README = (ROOT / "README.md").read_text(encoding="utf-8")
WALK = README.split("## From a clone to a running service\n")[1].split("\n## ")[0]
INSTALLING = 2
END = "--- end "


def steps() -> list[tuple[str, list[str]]]:
    """Commands with the lines shown below them."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", WALK, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def told(lines: list[str]) -> list[str]:
    """Lines without what differs from day to day and from machine to machine."""
    kept = [re.sub(r"PostgreSQL .*? at ", "PostgreSQL at ", line) for line in lines]
    kept = [re.sub(r"database \w+ as \w+", "database as", line) for line in kept]
    return [re.sub(r"\d[\d.,]*", "N", " ".join(line.split())) for line in kept]


class Shell:
    """A person's shell: one command after the other, in one session."""

    def __init__(self, env: dict[str, str], folder: Path) -> None:
        self.process = subprocess.Popen(
            ["bash"],
            env=env,
            cwd=folder,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def run(self, command: str) -> tuple[int, list[str]]:
        """Its exit code and what it printed."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f'{command}\necho "{END}$?"\n')
        self.process.stdin.flush()
        lines: list[str] = []
        watch = threading.Timer(TIMEOUT, self.process.kill)
        watch.start()
        for line in self.process.stdout:
            if line.startswith(END):
                watch.cancel()
                return int(line.removeprefix(END)), lines
            lines.append(line.rstrip("\n"))
        raise AssertionError(f"the shell ended in: {command}")

    def close(self) -> None:
        """End it with all that it started."""
        for stream in (self.process.stdin, self.process.stdout):
            assert stream
            stream.close()
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(TIMEOUT)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def shell(tmp_path: Path, server: Server) -> Iterator[Shell]:
    """A shell in an empty home, with syncer installed and a PostgreSQL at hand."""
    psql = shutil.which("psql") or next(
        (str(each.folder / "psql") for each in installed_programs() if (each.folder / "psql").exists()), None
    )
    if psql is None or shutil.which("curl") is None:
        pytest.skip("the README's way needs psql and curl")
    installed = tmp_path / "bin"
    installed.mkdir()
    (installed / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (installed / "syncer").write_text(f'#!/bin/sh\nexec {sys.executable} -m syncer "$@"\n')
    for program in installed.iterdir():
        program.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    at = urlsplit(server.url)
    env = {
        "PATH": f"{installed}:{Path(psql).parent}:/usr/bin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(ROOT),
        "PGHOST": at.hostname or "",
        "PGPORT": str(at.port),
        "PGUSER": at.username or "",
        "PGPASSWORD": at.password or "",
    }
    walking = Shell(env, home)
    yield walking
    walking.close()
    server.execute(f"DROP DATABASE IF EXISTS {name_of(server)} WITH (FORCE)")
    server.execute(f"DROP ROLE IF EXISTS {name_of(server)}")


def name_of(server: Server) -> str:
    """Of role and database: the README's may be taken here."""
    return f"walker_{urlsplit(server.url).port}"


def test_the_way_from_a_clone_to_a_running_service(shell: Shell, server: Server) -> None:
    name, ours, theirs = name_of(server), free_port(), free_port()
    changes = {
        "ROLE syncer": f"ROLE {name}",
        "DATABASE syncer OWNER syncer": f"DATABASE {name} OWNER {name}",
        "syncer:choose-one": f"{name}:choose-one",
        "5432/syncer": f"{urlsplit(server.url).port}/{name}",
        "8765": str(theirs),
        "9108": str(ours),
    }
    for command, shown in steps()[INSTALLING:]:
        typed = command
        for old, new in changes.items():
            typed = typed.replace(old, new)
        if typed == "syncer run &":
            shell.run(f"sed -i s/9108/{ours}/ config.toml")
        if typed.startswith("syncer init"):
            eventually(
                lambda: shell.run(f"curl --silent --output /dev/null http://127.0.0.1:{theirs}/")[0] == 0,
                "the tenant",
            )
        if typed == "syncer status":
            eventually(lambda: shell.run("syncer status | grep -q ', last read'")[0] == 0, "a poll")
        code, lines = shell.run(typed)
        assert code == 0, (typed, lines)
        if typed == "syncer status":
            assert lines[0].startswith("All is well: 1 connection, 5 workflows")
            assert {line.split("  ")[0] for line in shown if "-" in line[-2:]} <= {
                line.split("  ")[0] for line in lines
            }
        else:
            assert told(lines) == told(shown), typed
    assert shell.run("kill %2; wait %2")[0] == 0, "the service ends in good order"
