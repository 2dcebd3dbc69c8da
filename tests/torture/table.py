"""The table of what was done to the daemon and what it cost, printed once at the end of a session.

    fault | injected | lost | doubled | stale

Tests `note` their faults from any process of the session; rows of the same fault add up. Invariant: what was noted
is printed, also under pytest-xdist, whose workers write to a folder that the controller reads. It must not know what
a fault is.

SYNCER_TORTURE=full asks for the large versions, SYNCER_TORTURE_SEED for other random choices.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple

import pytest

FULL = os.environ.get("SYNCER_TORTURE") == "full"
SEED = int(os.environ.get("SYNCER_TORTURE_SEED", "20260310"))

_FOLDER = "SYNCER_TORTURE_NOTES"
_HEADS = ("fault", "injected", "lost", "doubled", "stale")


class Verdict(NamedTuple):
    """Rows that differ from the truth: missing ones, ones too many, ones with other values."""

    lost: int = 0
    doubled: int = 0
    stale: int = 0


def note(fault: str, injected: int, verdict: Verdict) -> None:
    """Put a line into the table: how often a fault was injected, and what the tables looked like afterwards."""
    line = json.dumps([fault, [injected, *verdict]])
    folder = Path(os.environ[_FOLDER])
    folder.mkdir(exist_ok=True)
    with (folder / str(os.getpid())).open("a", encoding="utf-8") as notes:
        notes.write(f"{line}\n")


class Table:
    """The pytest plugin that gathers the notes of a session and prints them."""

    def __init__(self, config: pytest.Config) -> None:
        self._is_worker = hasattr(config, "workerinput")
        if not self._is_worker:
            os.environ[_FOLDER] = str(Path(tempfile.gettempdir()) / f"syncer-torture-{token_hex(6)}")

    def pytest_report_header(self) -> str:
        """The seed, to be able to repeat a failure."""
        return f"torture: {'full' if FULL else 'bounded'}, seed {SEED}"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table, if anything was noted."""
        if rows := self._rows():
            terminalreporter.section(f"torture, seed {SEED}")
            terminalreporter.write("\n".join([*_lines(rows), ""]))

    def pytest_unconfigure(self) -> None:
        """Forget the notes."""
        if not self._is_worker:
            shutil.rmtree(os.environ.pop(_FOLDER), ignore_errors=True)

    def _rows(self) -> dict[str, list[int]]:
        rows: dict[str, list[int]] = {}
        for fault, figures in self._notes():
            known = rows.get(fault, [0, 0, 0, 0])
            rows[fault] = [before + more for before, more in zip(known, figures, strict=True)]
        return rows

    def _notes(self) -> Iterator[tuple[str, list[int]]]:
        for file in sorted(Path(os.environ[_FOLDER]).glob("*")):
            yield from map(json.loads, file.read_text(encoding="utf-8").splitlines())


def _lines(rows: dict[str, list[int]]) -> Iterator[str]:
    width = max(map(len, [_HEADS[0], *rows]))
    yield " | ".join([_HEADS[0].ljust(width), *_HEADS[1:]])
    for fault in sorted(rows):
        figures = (str(figure).rjust(len(head)) for figure, head in zip(rows[fault], _HEADS[1:], strict=True))
        yield " | ".join([fault.ljust(width), *figures])
