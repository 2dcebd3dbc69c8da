"""Where syncer's own time goes in a first copy: what its threads did when a sampler looked, by stage.

Invariant: a sample counts for the innermost function of ours, so what a library does counts for whoever called it.
PostgreSQL's time is not guessed at, it is that of its processes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from bench.field import ENVIRONMENTS, SYNCER, Contestant
from bench.trial import trial
from bench.world import Size

STAGES = (
    ("start", r"<frozen importlib|_compile_bytecode"),
    ("redact", r"syncer/decode/(redact|needles)\.py"),
    ("decode", r"syncer/(decode|sources)/|syncer/decode\.py"),
    ("fetch", r"syncer/(http|paging|budget)"),
    ("fold", r"syncer/fold\.py"),
    ("encode", r"syncer/encode\.py"),
    ("COPY and upsert", r"syncer/(load|writer)"),
    ("progress kept", r"syncer/state/"),
    ("all else", r""),
)
"""By the files of ours, the first that fits."""

RATE = 200
"""Samples a second. Threads that wait are not counted."""


def stages(size: Size, concurrency: int) -> dict[str, float]:
    """Microseconds of processor for each execution by stage: of a run that nobody watched, parted as in one watched."""
    with trial(size, concurrency) as tried:
        taken = tried.measured(SYNCER)
    counted = _samples(size, concurrency)
    micros = 1e6 / size.executions
    own = micros * taken.cpu / counted.total()
    found = {name: own * counted[name] for name, _ in STAGES}
    return found | {"PostgreSQL": micros * taken.postgres_cpu}


def _samples(size: Size, concurrency: int) -> Counter[str]:
    with trial(size, concurrency) as tried:
        samples = tried.folder / "samples.txt"
        spy = (str(ENVIRONMENTS / "tools" / "bin" / "py-spy"), "record", "--format=raw")
        options = (f"--rate={RATE}", f"--output={samples}", "--")
        tried.run(Contestant(SYNCER.name, (*spy, *options, *SYNCER.command), prepare=SYNCER.prepare))
        return by_stage(samples.read_text(encoding="utf-8").splitlines())


def by_stage(lines: Iterable[str]) -> Counter[str]:
    """Samples of each stage; a line is a stack, outermost first, and how often it was seen."""
    found: Counter[str] = Counter()
    for line in lines:
        stack, _, times = line.rpartition(" ")
        found[stage(stack.split(";"))] += int(times)
    return found


def stage(stack: list[str]) -> str:
    """What was being done."""
    if any(re.search(STAGES[0][1], frame) for frame in stack):
        return STAGES[0][0]
    ours = next((frame for frame in reversed(stack) if "syncer/" in frame), "")
    return next(name for name, files in STAGES[1:] if re.search(files, ours))
