"""The tap's records through a pipe into meltanolabs-target-postgres, which writes by COPY; the state is kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench.contestants.wire import HOME, WAREHOUSE, sign_in

TAP = "bench.contestants.singer_tap"
TARGET = Path(sys.executable).with_name("target-postgres")


def written(name: str, content: object) -> Path:
    """A file that a program of Singer's reads."""
    file = Path(HOME) / name
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def main() -> None:
    url = WAREHOUSE.replace("postgresql:", "postgresql+psycopg:")
    target = {"sqlalchemy_url": url, "default_target_schema": "flow", "use_copy": True}
    tap = [sys.executable, "-m", TAP, "--config", str(written("tap.json", {"token": sign_in()}))]
    state = Path(HOME) / "state.json"
    if state.exists():
        tap += ["--state", str(state)]
    with subprocess.Popen(tap, stdout=subprocess.PIPE) as records:
        command = [TARGET, "--config", written("target.json", target)]
        told = subprocess.run(command, stdin=records.stdout, stdout=subprocess.PIPE, text=True, check=True)
    if records.returncode:
        sys.exit(records.returncode)
    state.write_text(told.stdout.splitlines()[-1], encoding="utf-8")


if __name__ == "__main__":
    main()
