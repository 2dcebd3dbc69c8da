"""Everybody's three jobs, one contestant after the other in every round, and the floors beside them.

Invariant: whatever else the machine does while a round lasts meets all that are compared.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import psycopg

from bench.field import FETCH, LOAD, MIGRATE, SYNCER, Contestant
from bench.trial import FIRST, Broken, Taken, trial
from bench.views import Answered, asked
from bench.world import Size

Note = Callable[[str, str, Size, Taken], None]
"""Takes the names of contestant and job, how much was copied, and what that took."""

GiveUp = Callable[[str, str], None]
"""Takes the name of a contestant that broke, and what it said."""

Look = Callable[[Size, list[Answered]], None]
"""Takes how much the views were asked of, and how they answered."""
LOOKS = 3

ROOM = 80 << 10
"""Bytes of disk for each execution: 52 KiB in the database, and what the judge needs to compare them."""

FAR = "first copy, 30 ms away"
FAR_MS, FAR_CONCURRENCY = 30.0, 64


def compare(
    size: Size, concurrency: int, contestants: Sequence[Contestant], note: Note, give_up: GiveUp
) -> None:
    """One round; of one that breaks the rest is left out. COPY loads what syncer has copied in it, so without syncer
    there is none."""
    with trial(size, concurrency) as tried:
        note(FETCH.name, FIRST, size, tried.measured(FETCH))
    with tempfile.TemporaryDirectory(prefix="bench-rows-") as rows:
        for contestant in contestants:
            try:
                _jobs(size, concurrency, contestant, note, Path(rows))
            except Broken as broken:
                if contestant is SYNCER:
                    raise
                give_up(contestant.name, str(broken))
        if SYNCER in contestants:
            _load(size, concurrency, note, Path(rows))


def _jobs(size: Size, concurrency: int, contestant: Contestant, note: Note, rows: Path) -> None:
    with trial(size, concurrency) as tried:
        for job, taken in tried.jobs(contestant):
            note(contestant.name, job, size, taken)
            if contestant is SYNCER and job == FIRST:
                tried.run(LOAD, "take", str(rows))


def _load(size: Size, concurrency: int, note: Note, rows: Path) -> None:
    with trial(size, concurrency) as tried:
        tried.run(MIGRATE)
        note(LOAD.name, FIRST, size, tried.measured(LOAD, str(rows)))


def far_away(size: Size, contestants: Iterable[Contestant], note: Note) -> None:
    """First copies from a source that takes its time, by many requests at once."""
    for contestant in (FETCH, *contestants):
        with trial(size, FAR_CONCURRENCY, FAR_MS) as tried:
            note(contestant.name, FAR, size, tried.measured(contestant))


def grow(sizes: Iterable[Size], concurrency: int, note: Note, look: Look) -> None:
    """syncer's first copies of ever more, and its views of them."""
    for size in sizes:
        _require_room(size)
        with trial(size, concurrency) as tried:
            note(SYNCER.name, FIRST, size, tried.measured(SYNCER))
            tried.warehouse.calm()
            with psycopg.connect(tried.warehouse.url, autocommit=True, prepare_threshold=None) as db:
                look(size, asked(db, LOOKS, "flow-0"))


def _require_room(size: Size) -> None:
    folder, wanted = tempfile.gettempdir(), size.executions * ROOM
    if shutil.disk_usage(folder).free < wanted:
        raise SystemExit(f"{size.executions:,} executions need {wanted >> 30} GiB of disk in {folder}")
