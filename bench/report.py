"""Figures as tables: on the terminal, and in docs/performance.md, whose tables are never written by hand.

    python -m bench.report [RESULTS]      put the tables of a results file into the document

Invariant: a table says the same in both places.
"""

from __future__ import annotations

import re
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table as RichTable

from bench.economy import LIMIT, allowed, lower_bound
from bench.field import CONTESTANTS, FETCH, LOAD, ROOT, SYNCER
from bench.figures import Figures, Record, Results, lost, wrong
from bench.rounds import FAR, FAR_CONCURRENCY, FAR_MS
from bench.targets import targets
from bench.trial import FIRST, JOBS
from bench.world import Size

DOCUMENT = ROOT / "docs" / "performance.md"
PUBLISHED = ROOT / "docs" / "performance.json"
BLOCK = "<!-- table: {name} -->\n{text}<!-- end -->"
EVERYBODY = (*CONTESTANTS, FETCH.name, LOAD.name)

Row = Sequence[str]


class Table(NamedTuple):
    """What it is called, and its rows, the first one its head. All columns but the first hold numbers."""

    name: str
    rows: Sequence[Row]


def tables(results: Results) -> Iterator[Table]:
    """All that there are figures for."""
    found = (
        _machine(results),
        *(_jobs(results, job) for job in JOBS),
        _far(results),
        _growth(results),
        _views(results),
        _polls(results),
        _connections(results),
        _economy(results),
        _stages(results),
        _requests(results),
        _ratios(results),
        Table("targets", [("target", "to reach", "reached"), *targets(results)]),
    )
    return (table for table in found if len(table.rows) > 1)


def _machine(results: Results) -> Table:
    told = {name: value for name, value in results.about.items() if isinstance(value, str)}
    return Table("machine", [("", ""), *told.items(), *_upstream(results)])


def _upstream(results: Results) -> Iterator[Row]:
    """What can be asked of the source at all, with one processor of its own."""
    if fetch := results.figures(FETCH.name, FIRST, results.about["size"]["executions"]):
        rate = fetch.requests / fetch.median(lambda run: run["upstream_cpu"])
        yield "upstream", f"{rate:,.0f} requests for each second of its processor"


def _jobs(results: Results, job: str) -> Table:
    """One job of everybody, an execution being the unit where the work grows with them."""
    many = results.about["size"]["executions"]
    head = (
        *("", "wall s", "CPU s", "PostgreSQL CPU s", "ms CPU each"),
        *("peak MB", "requests", "rows written", "lost", "stale"),
    )
    measured = ((name, results.figures(name, job, many)) for name in EVERYBODY)
    rows = [(name, *_cells(figures, many)) for name, figures in measured if figures]
    return Table(job, [head, *rows])


def _cells(figures: Figures, executions: int) -> Iterator[str]:
    yield f"{figures.wall:.2f}"
    yield f"{figures.client:.2f}"
    yield f"{figures.postgres:.2f}"
    yield f"{1000 * figures.cpu / executions:.2f}"
    yield f"{figures.peak_mb:.0f}"
    yield f"{figures.requests:,}"
    yield f"{figures.rows:,}"
    yield f"{figures.lost:,}"
    yield f"{figures.wrong:,}"


def _far(results: Results) -> Table:
    """Requests a second beside what the latency allows."""
    ideal = FAR_CONCURRENCY * 1000 / FAR_MS
    head = ("", "executions", "requests a second", "of the ideal", "of fetching alone", "most in flight")
    runs = [run for run in results.of("runs") if run["job"] == FAR]
    rows = []
    for name, many in dict.fromkeys((run["contestant"], run["executions"]) for run in runs):
        mine, floor = results.figures(name, FAR, many), results.figures(FETCH.name, FAR, many)
        assert mine
        assert floor
        flight = mine.median(lambda run: run["most_in_flight"])
        rows.append(
            (
                *(name, f"{many:,}", f"{mine.rate:,.0f}", f"{mine.rate / ideal:.2f}"),
                *(f"{mine.rate / floor.rate:.2f}", f"{flight:.0f}"),
            )
        )
    return Table(FAR, [head, *rows])


def _growth(results: Results) -> Table:
    head = (
        *("executions", "ms wall each", "ms CPU each", "peak MB"),
        *("requests each", "KiB in the database each", "KiB of WAL each"),
    )
    sizes = sorted({run["executions"] for run in results.of("runs") if _is_first(run)})
    rows = []
    for many in sizes:
        figures = results.figures(SYNCER.name, FIRST, many)
        assert figures
        kib = [figures.median(lambda run, of=of: run[of]) / many / 1024 for of in ("bytes", "wal")]  # type: ignore[misc]
        rows.append(
            (
                *(f"{many:,}", f"{1000 * figures.wall / many:.2f}", f"{1000 * figures.cpu / many:.2f}"),
                *(
                    f"{figures.peak_mb:.0f}",
                    f"{figures.requests / many:.3f}",
                    *(f"{each:.1f}" for each in kib),
                ),
            )
        )
    return Table("growth", [head, *rows])


def _views(results: Results) -> Table:
    """Milliseconds of every question at every size."""
    asked = results.of("views")
    sizes = sorted({each["executions"] for each in asked})
    took = {
        (each["view"], each["words"], each["executions"]): 1000 * statistics.median(each["seconds"])
        for each in asked
    }
    questions = dict.fromkeys((each["view"], each["words"]) for each in asked)
    rows = [
        (f"`{view}`: {words}", *(f"{took[view, words, many]:,.1f}" for many in sizes))
        for view, words in questions
    ]
    return Table("views", [("ms", *(f"{many:,}" for many in sizes)), *rows])


def _is_first(run: Record) -> bool:
    return (run["contestant"], run["job"]) == (SYNCER.name, FIRST)


def _polls(results: Results) -> Table:
    head = ("workflows", "requests a poll", "ms CPU", "PostgreSQL ms CPU", "rows written", "peak MB")
    rows = [
        (
            *(f"{poll['workflows']:,}", f"{poll['requests']:.1f}", f"{1000 * poll['cpu']:.0f}"),
            *(f"{1000 * poll['postgres_cpu']:.0f}", f"{poll['rows']:,}", f"{poll['peak_kb'] / 1024:.0f}"),
        )
        for poll in results.of("polls")
    ]
    return Table("quiet polls", [head, *rows])


def _connections(results: Results) -> Table:
    head = ("connections", "executions in all", "ms wall each", "ms CPU each", "peak MB")
    rows = []
    for run in results.of("connections"):
        many = run["connections"] * run["executions"]
        cpu = run["cpu"] + run["postgres_cpu"]
        rows.append(
            (
                *(f"{run['connections']:,}", f"{many:,}", f"{1000 * run['wall'] / many:.1f}"),
                *(f"{1000 * cpu / many:.1f}", f"{run['peak_kb'] / 1024:.0f}"),
            )
        )
    return Table("connections", [head, *rows])


def _economy(results: Results) -> Table:
    head = (
        *("", "requests in a quiet hour", "with 60 executions", f"executions an hour at {LIMIT}"),
        *("lost", "stale"),
    )
    rows = [
        (
            *(each["contestant"], f"{each['quiet']:,}", f"{each['busy']:,}"),
            f"{allowed(each['quiet'], each['busy']):,}",
            *(f"{lost(each['verdict']):,}", f"{wrong(each['verdict']):,}"),
        )
        for each in results.of("followed")
    ]
    return Table("request economy", [head, *rows])


def _stages(results: Results) -> Table:
    rows = [
        (name, f"{micros:,.0f}", f"{micros / sum(found.values()):.0%}")
        for found in results.of("stages")[-1:]
        for name, micros in found.items()
    ]
    return Table("stages", [("stage", "us each", "share"), *rows])


def _requests(results: Results) -> Table:
    """Of every job, beside the fewest with which a copy can be right."""
    size = Size(**results.about["size"])
    rows: list[Row] = [("lower bound", *(f"{lower_bound(size, job):,}" for job in JOBS))]
    for name in CONTESTANTS:
        jobs = [results.figures(name, job, size.executions) for job in JOBS]
        if all(jobs):
            rows.append((name, *(f"{figures.requests:,}" for figures in jobs if figures)))
    return Table("requests", [("", *JOBS), *(rows if len(rows) > 1 else ())])


def _ratios(results: Results) -> Table:
    """How many times the time of syncer the others take."""
    many = results.about["size"]["executions"]
    head = ("times syncer", *(f"{job}: {what}" for job in JOBS for what in ("wall", "CPU")))
    ours = [results.figures(SYNCER.name, job, many) for job in JOBS]
    rows = []
    for name in CONTESTANTS:
        theirs = [results.figures(name, job, many) for job in JOBS]
        pairs = [(one, other) for one, other in zip(ours, theirs, strict=True) if one and other]
        if name != SYNCER.name and len(pairs) == len(JOBS):
            cells = (
                f"{of:.1f}" for one, other in pairs for of in (other.wall / one.wall, other.cpu / one.cpu)
            )
            rows.append((name, *cells))
    return Table("ratios", [head, *rows])


def show(results: Results, console: Console) -> None:
    """Print all tables."""
    for table in tables(results):
        head, *rows = table.rows
        shown = RichTable(title=table.name, title_justify="left")
        for at, name in enumerate(head):
            shown.add_column(name, justify="right" if at else "left")
        for row in rows:
            shown.add_row(*row)
        console.print(shown)


def markdown(table: Table) -> str:
    """As a document holds it."""
    head, *rows = table.rows
    lines = [head, ("---", *("---:" for _ in head[1:])), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def filled(document: str, results: Results) -> str:
    """The document with its tables anew; one that there are no figures for stays as it is."""
    for table in tables(results):
        block = re.compile(BLOCK.format(name=re.escape(table.name), text=".*?"), re.DOTALL)
        text = BLOCK.format(name=table.name, text=markdown(table))
        document = block.sub(lambda _, text=text: text, document)  # type: ignore[misc]
    return document


def main() -> None:
    results = Results.read(Path(sys.argv[1]) if len(sys.argv) > 1 else PUBLISHED)
    DOCUMENT.write_text(filled(DOCUMENT.read_text(encoding="utf-8"), results), encoding="utf-8")


if __name__ == "__main__":
    main()
