"""A disk that is really full, at any row of a pass: the command says so, and the next one heals when there is room.

It needs the right to mount a small file system in memory, and is skipped where there is none.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from tests.servers import temporary_folder
from tests.torture.crash_ward import Case, Trial, Ward
from tests.torture.table import FULL, SEED, note

SIZE = "64m"
TIMES = 1, 12
PAGE = 8192


@dataclass(frozen=True)
class Disk:
    """A file system for the warehouse alone."""

    folder: Path

    @property
    def free(self) -> int:
        """Bytes that can still be written."""
        told = os.statvfs(self.folder)
        return told.f_bavail * told.f_frsize

    @contextmanager
    def filled_but_for(self, room: int) -> Iterator[None]:
        """Leave only so many bytes while the body runs."""
        filler = self.folder / "filler"
        filler.write_bytes(bytes(max(0, self.free - room)))
        try:
            yield
        finally:
            filler.unlink()


@pytest.fixture
def disk(ward: Ward) -> Iterator[Disk]:
    owner = (ward.postgres.home / "postgresql").stat().st_uid
    with temporary_folder() as folder:
        options = f"size={SIZE},mode=0700,uid={owner}"
        mount = ["mount", "-t", "tmpfs", "-o", options, "syncer-test", str(folder)]
        if subprocess.run(mount, check=False, capture_output=True).returncode:
            pytest.skip("no file system can be mounted here")
        try:
            yield Disk(folder)
        finally:
            subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def on(disk: Disk, case: Case) -> Iterator[None]:
    """Let the trials of a case happen on the disk."""
    server, template = case.ward.server, case.template
    server.execute(f"CREATE TABLESPACE small LOCATION '{disk.folder}'")
    case.template = f"{template} TABLESPACE small"
    try:
        yield
    finally:
        case.template = template
        server.execute("DROP TABLESPACE small")


def test_a_full_disk_is_told_and_costs_nothing(first_case: Case, disk: Disk) -> None:
    random = Random(SEED)
    with on(disk, first_case):
        needed = _needed(first_case, disk)
        assert needed > 10 * PAGE
        for _ in range(TIMES[FULL]):
            with first_case.trial() as trial:
                _run_out(trial, disk, random.randrange(needed * 8 // 10))
                verdict = trial.verdict()
                note("disk really full", 1, verdict)
                assert not any(verdict)


def _needed(case: Case, disk: Disk) -> int:
    """Bytes that an undisturbed pass takes."""
    with case.trial() as trial:
        before = disk.free
        assert trial.start("sync").wait().code == 0
        return before - disk.free


def _run_out(trial: Trial, disk: Disk, room: int) -> None:
    with disk.filled_but_for(room):
        done = trial.start("sync").wait()
    assert done.code in (1, 3), (room, done)
    assert "run out of space" in done.err, (room, done.err)
    assert "Traceback" not in done.err, done.err
    trial.examine()
    trial.heal()
    trial.assert_healed()
