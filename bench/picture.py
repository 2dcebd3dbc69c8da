"""The figures at a glance: `python -m bench.picture RESULTS PICTURE`, in an environment that has matplotlib.

Invariant: it needs nothing else that is not Python's own, for syncer is not installed where it runs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Run = dict[str, Any]

FIRST, CHANGED, QUIET = "first copy", "1 % changed", "nothing changed"
FLOORS = ("fetch only", "COPY only")
OURS, OURS_LIGHT, THEIRS, THEIRS_LIGHT, BAD = "#0b6e4f", "#7fc8a9", "#6b7280", "#c3c8d0", "#c0392b"


class Results:
    """The runs of the size that all have in common."""

    def __init__(self, kept: Run) -> None:
        self.kept = kept
        self.executions: int = kept["about"]["size"]["executions"]
        self._runs: list[Run] = kept["runs"]

    def names(self, job: str) -> list[str]:
        """Who did the job, from the bottom of a picture upwards: the floors, others, syncer."""
        found = dict.fromkeys(run["contestant"] for run in self._of(job))
        return sorted(found, key=lambda name: (name not in FLOORS, name == "syncer"))

    def median(self, name: str, job: str, of: Callable[[Run], float]) -> float:
        """Of what a run of somebody's took."""
        return median(of(run) for run in self._of(job) if run["contestant"] == name)

    def growth(self) -> list[tuple[int, list[Run]]]:
        """First copies of ours by their sizes."""
        found: dict[int, list[Run]] = {}
        for run in self._runs:
            if run["contestant"] == "syncer" and run["job"] == FIRST:
                found.setdefault(run["executions"], []).append(run)
        return sorted(found.items())

    def _of(self, job: str) -> list[Run]:
        return [run for run in self._runs if run["job"] == job and run["executions"] == self.executions]


def cpu(run: Run) -> float:
    """Seconds of the contestant's processes and of PostgreSQL's."""
    return float(run["cpu"] + run["postgres_cpu"])


def untrue(run: Run) -> int:
    """Rows lost, stale or strange."""
    return sum(sum(kind.values()) for kind in (run["verdict"] or {}).values())


def first_copies(axes: Axes, results: Results) -> None:
    """Time of the processor for each execution, the contestant's and PostgreSQL's."""
    names = [name for name in results.names(FIRST) if not name.endswith(", all again")]
    scale = 1000 / results.executions
    client = [scale * results.median(name, FIRST, lambda run: run["cpu"]) for name in names]
    postgres = [scale * results.median(name, FIRST, lambda run: run["postgres_cpu"]) for name in names]
    axes.barh(names, client, color=[OURS if name == "syncer" else THEIRS for name in names])
    pale = [OURS_LIGHT if name == "syncer" else THEIRS_LIGHT for name in names]
    axes.barh(names, postgres, left=client, color=pale)
    label(axes, [one + other for one, other in zip(client, postgres, strict=True)], "{:.1f}".format)
    axes.set_title(f"First copy of {results.executions:,}: ms of processor for each execution")
    axes.set_xlabel("dark: its own processes; light: PostgreSQL")


def polls(axes: Axes, results: Results, job: str) -> None:
    """Time of the processor for a whole poll; beside it how many rows are not true after it."""
    names = results.names(job)
    seconds = [results.median(name, job, cpu) for name in names]
    untruths = [round(results.median(name, job, untrue)) for name in names]
    if job == QUIET and (service := results.kept.get("polls")):
        names.append("syncer, in the service")
        seconds.append(cpu(service[0]))
        untruths.append(0)
    axes.barh(names, seconds, color=[OURS if name.startswith("syncer") else THEIRS for name in names])
    axes.set_xscale("log")
    axes.set_xlim(min(seconds) / 3, max(seconds) * 60)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    label(axes, seconds, lambda length: f"{length:.0f}" if length >= 10 else f"{length:.2g}")
    for at, rows in enumerate(untruths):
        told = f"{rows:,} rows untrue" if rows else "true"
        axes.text(0.99, at, told, color=BAD if rows else OURS, transform=axes.get_yaxis_transform(), **RIGHT)
    axes.set_title(f"A poll, {job}: seconds of processor")


RIGHT: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": 8}


def growth(axes: Axes, results: Results) -> None:
    """Processor and memory as the work grows."""
    found = results.growth()
    sizes = [size for size, _ in found]
    each = [1000 * median(map(cpu, runs)) / size for size, runs in found]
    peak = [median(run["peak_kb"] for run in runs) / 1024 for _, runs in found]
    axes.plot(sizes, each, "o-", color=OURS)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_formatter("")
    axes.set_ylim(0, 1.3 * max(each))
    axes.set_ylabel("ms of processor for each", color=OURS)
    axes.set_xlabel("executions")
    beside = axes.twinx()
    beside.plot(sizes, peak, "s--", color=THEIRS)
    beside.set_ylim(0, 1.3 * max(peak))
    beside.set_ylabel("MB at the peak", color=THEIRS)
    beside.spines.top.set_visible(False)
    axes.set_title("syncer, as the work grows")


def label(axes: Axes, lengths: list[float], form: Callable[[float], str]) -> None:
    """The figure at the end of each bar."""
    for at, length in enumerate(lengths):
        axes.annotate(form(length), (length, at), xytext=(3, 0), textcoords="offset points", va="center")


def draw(results: Results) -> Figure:
    """All of it."""
    mpl.rcParams.update({"font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left"})
    figure = Figure(figsize=(12, 7.5), layout="constrained")
    (first, changed), (quiet, grown) = figure.subplots(2, 2)
    first_copies(first, results)
    polls(changed, results, CHANGED)
    polls(quiet, results, QUIET)
    growth(grown, results)
    for axes in (first, changed, quiet, grown):
        axes.spines[["top", "right"]].set_visible(False)
    first.margins(x=0.15)
    return figure


def main() -> None:
    results, picture = map(Path, sys.argv[1:])
    kept = json.loads(results.read_text(encoding="utf-8"))
    draw(Results(kept)).savefig(picture, dpi=110)


if __name__ == "__main__":
    main()
