"""What syncer is to reach, and what it has reached.

Invariant: every target is a ratio or a size that does not depend on how fast the machine is.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.economy import lower_bound
from bench.field import DLT, DLT_TUNED, FETCH, LOAD, PLAIN, PLAIN_ALL, SYNCER, Contestant
from bench.figures import Figures, Results
from bench.rounds import FAR, FAR_CONCURRENCY, FAR_MS
from bench.trial import FIRST, JOBS, QUIET
from bench.world import Size

Target = tuple[str, str, str]
"""What, how much is wanted, how much it is."""

FASTER = ((DLT, 8.0), (DLT_TUNED, 2.5), (PLAIN, 6.0))


def targets(results: Results) -> Iterator[Target]:
    """Those that there are figures for."""
    size = Size(**results.about["size"])
    yield from _faster(results, size)
    yield from _floors(results, size)
    yield from _far(results)
    yield from _quiet(results, size)
    yield from _memory(results)
    yield from _requests(results, size)


def _of(results: Results, contestant: Contestant, job: str, size: Size) -> Figures | None:
    return results.figures(contestant.name, job, size.executions)


def _faster(results: Results, size: Size) -> Iterator[Target]:
    ours = _of(results, SYNCER, FIRST, size)
    for contestant, wanted in FASTER:
        theirs = _of(results, contestant, FIRST, size)
        if ours and theirs:
            yield (
                f"first copy: as fast as {contestant.name}",
                f"{wanted} x",
                f"{theirs.wall / ours.wall:.1f} x",
            )


def _floors(results: Results, size: Size) -> Iterator[Target]:
    ours, fetch, load = (_of(results, each, FIRST, size) for each in (SYNCER, FETCH, LOAD))
    if ours and fetch and load:
        wall, cpu = max(fetch.wall, load.wall), fetch.cpu + load.cpu
        yield "first copy: wall, the slower floor being 1", "at most 1.5", f"{ours.wall / wall:.1f}"
        yield "first copy: processor, both floors being 1", "at most 1.8", f"{ours.cpu / cpu:.1f}"


def _far(results: Results) -> Iterator[Target]:
    sizes = {
        run["executions"]
        for run in results.of("runs")
        if run["job"] == FAR and run["contestant"] == SYNCER.name
    }
    for executions in sizes:
        if ours := results.figures(SYNCER.name, FAR, executions):
            rate = ours.rate / (FAR_CONCURRENCY * 1000 / FAR_MS)
            what = f"{FAR_MS:.0f} ms away, {FAR_CONCURRENCY} in flight: part of the ideal rate of requests"
            yield what, "0.9", f"{rate:.2f}"


def _quiet(results: Results, size: Size) -> Iterator[Target]:
    ours, right, best = (_of(results, each, QUIET, size) for each in (SYNCER, PLAIN_ALL, PLAIN))
    if not ours or not right or not best:
        return
    found = f"{right.cpu / ours.cpu:.1f} x"
    yield f"nothing changed: processor of {PLAIN_ALL.name}, nothing stale", "50 x", found
    yield f"nothing changed: processor of {PLAIN.name}, rows stale", "50 x", f"{best.cpu / ours.cpu:.1f} x"
    yield "nothing changed: rows written", "0", f"{ours.rows}"
    if polls := results.of("polls"):
        poll = polls[0]["cpu"] + polls[0]["postgres_cpu"]
        yield "the same, a poll of the service: nothing stale", "50 x", f"{right.cpu / poll:.0f} x"
        yield "the same, a poll of the service: rows stale", "50 x", f"{best.cpu / poll:.0f} x"


def _memory(results: Results) -> Iterator[Target]:
    runs = [run for run in results.of("runs") if (run["contestant"], run["job"]) == (SYNCER.name, FIRST)]
    if runs:
        yield "memory at its peak", "under 200 MB", f"{max(run['peak_kb'] for run in runs) / 1024:.0f} MB"
    few, many = (results.figures(SYNCER.name, FIRST, size) for size in (4_000, 20_000))
    if few and many:
        yield "memory, 4,000 and 20,000 executions", "within 10 %", f"{many.peak_mb / few.peak_mb - 1:+.0%}"


def _requests(results: Results, size: Size) -> Iterator[Target]:
    for job in JOBS:
        if ours := _of(results, SYNCER, job, size):
            over = ours.requests / lower_bound(size, job) - 1
            yield f"{job}: requests over the lower bound", "within 2 %", f"{over:+.1%}"
