"""The memory of a copy does not grow with the length of the history, nor with the number of workflows.

The command and the simulator are processes of their own, and the command's peak is what the kernel says of it (VmHWM).
SYNCER_TORTURE=full compares 10,000 executions with 100,000, and 200 workflows with 2,000.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from syncer.simulator import Outline
from tests.acceptance.conftest import SYNCER, Configuration
from tests.nursery import ROOT
from tests.platforms import Platform, platforms
from tests.servers import temporary_server
from tests.torture.table import FULL

pytestmark = pytest.mark.parametrize(
    "platform", list(platforms().values())[: None if FULL else 1], ids=lambda each: each.name
)

PART = 1.2
"""How many times the memory for a tenth of it the whole may take."""

LOOK = 0.02
"""Seconds between two looks at a process' memory."""


PATIENCE = 3600 if FULL else 300
"""Seconds after which a copy hangs, on however slow a machine."""


class Measured(Configuration):
    """Runs the command and tells its peak."""

    def peak(self, *arguments: str) -> int:
        """Run a command to a good end; returns the most bytes it ever held."""
        self.write()
        highest = 0
        with (self.folder / "said").open("w") as said:
            process = subprocess.Popen(
                [*SYNCER, *arguments], env=self.env, cwd=self.folder, stdout=said, stderr=said
            )
            until = time.monotonic() + PATIENCE
            while process.poll() is None:
                if time.monotonic() > until:
                    process.kill()
                highest = max(highest, _peak(process.pid))
                with suppress(subprocess.TimeoutExpired):
                    process.wait(LOOK)
        assert process.returncode == 0, (self.folder / "said").read_text()[-2000:]
        return highest


def _peak(process: int) -> int:
    """The most bytes a process has held so far; 0 if it is no more."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    _, _, rest = status.partition("VmHWM:")
    return 1024 * int(rest.split()[0]) if rest else 0


@contextmanager
def simulated(platform: Platform, workflows: int, executions: int) -> Iterator[str]:
    """A simulator in a process of its own while the body runs; its address."""
    outline = {"workflows": workflows, "executions": executions, "steps": 1, "days": 20, "running": 0}
    told = {"platform": platform.name, **outline}
    options = [f"--{name}={value}" for name, value in told.items()]
    command = [sys.executable, "-m", "syncer.simulator", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield str(json.loads(process.stdout.readline())["url"])
        finally:
            process.terminate()


def measure(folder: Path, platform: Platform, workflows: int, executions: int) -> int:
    """Copy so many workflows with so many executions each into a new warehouse; returns the peak in bytes."""
    folder.mkdir()
    with temporary_server() as postgres, simulated(platform, workflows, executions) as url:
        cli = Measured(folder, postgres.start())
        likeness = platform.simulate(Outline(workflows=1, executions=1))
        likeness.url = url
        cli.connect("flow", likeness, url)
        highest = cli.peak("sync")
        with psycopg.connect(str(cli.warehouse["url"])) as db:
            copied = db.execute(
                "SELECT count(*) FROM history.executions WHERE settled_at IS NOT NULL"
            ).fetchone()
    assert copied == (workflows * executions,)
    return highest


def grows(folder: Path, platform: Platform, small: tuple[int, int], large: tuple[int, int]) -> float:
    """How many times the memory of the small copy the large one takes."""
    first, second = (measure(folder / str(size), platform, *size) for size in (small, large))
    print(f"\n{platform.name} {small}: {first / 1e6:.1f} MB, {large}: {second / 1e6:.1f} MB")  # noqa: T201
    return second / first


def test_the_peak_does_not_grow_with_the_length_of_the_history(tmp_path: Path, platform: Platform) -> None:
    small, large = (1_000, 10_000) if FULL else (20, 200)
    assert grows(tmp_path, platform, (10, small), (10, large)) < PART


def test_the_peak_does_not_grow_with_the_number_of_workflows(tmp_path: Path, platform: Platform) -> None:
    small, large = (200, 2_000) if FULL else (20, 200)
    assert grows(tmp_path, platform, (small, 2), (large, 2)) < PART
