"""syncer measured against what one would use instead, and against the limits of the machine.

    python -m bench [--full] [--parts compare far ...] [--only syncer ...] [--more]

Figures are medians; their ratios hold elsewhere, they themselves do not. Everything measured so far is in the results
file at any moment.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

from rich.console import Console

from bench.economy import follow
from bench.field import CONTESTANTS, PLAIN, PLAIN_ALL, ROOT, SYNCER, Contestant
from bench.figures import Record, Results
from bench.report import show
from bench.rounds import compare, far_away, grow
from bench.service import connections, quiet_polls
from bench.stages import stages
from bench.trial import Taken
from bench.views import Answered
from bench.warehouse import programs
from bench.world import Size
from syncer import __version__

RESULTS = ROOT / "build" / "bench" / "results.json"


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    executions: int
    rounds: int
    far: int
    growth: tuple[int, ...]
    workflows: tuple[int, ...]
    connections: tuple[int, ...]


SMALL = Scale(2_000, 1, 500, (500, 1_000), (10, 100), (1, 10))
FULL = Scale(20_000, 3, 2_000, (1_000, 4_000, 10_000, 100_000, 1_000_000), (10, 1_000, 10_000), (1, 10, 100))
CONCURRENCY = 16
OTHERS = (
    *(("dlt", "dlt"), ("singer", "singer-sdk"), ("singer", "meltanolabs-target-postgres")),
    *(("plain", "requests"), ("plain", "sqlalchemy")),
)
"""Whose versions are told: of which lock file, which package."""

OF_A_CONNECTION = 50
"""Executions that each of many connections copies."""


class Bench:
    """All parts at one scale; what they measure is kept at once."""

    def __init__(self, scale: Scale, contestants: list[Contestant], results: Results, file: Path) -> None:
        self._scale = scale
        self._contestants = contestants
        self._results = results
        self._file = file
        self._size = Size(executions=scale.executions)

    @property
    def parts(self) -> dict[str, Callable[[], None]]:
        """By their names on the command line."""
        return {
            "compare": self._compare,
            "far": lambda: far_away(self._sized(self._scale.far), [SYNCER, PLAIN], self._note),
            "growth": lambda: grow(map(self._sized, self._scale.growth), CONCURRENCY, self._note, self._look),
            "polls": self._polls,
            "connections": self._connections,
            "economy": self._economy,
            "stages": self._stages,
        }

    def _compare(self) -> None:
        for _ in range(self._scale.rounds):
            compare(self._size, CONCURRENCY, self._contestants, self._note, self._give_up)

    def _polls(self) -> None:
        for workflows in self._scale.workflows:
            self._keep("polls", {"workflows": workflows, **asdict(quiet_polls(workflows))})

    def _connections(self) -> None:
        for number in self._scale.connections:
            taken = asdict(connections(number, OF_A_CONNECTION))
            self._keep("connections", {"connections": number, "executions": OF_A_CONNECTION, **taken})

    def _economy(self) -> None:
        for contestant in self._contestants:
            if contestant is not PLAIN_ALL:
                self._keep("followed", {"contestant": contestant.name, **asdict(follow(contestant))})

    def _stages(self) -> None:
        self._keep("stages", dict(stages(self._size, CONCURRENCY)))

    def _sized(self, executions: int) -> Size:
        return replace(self._size, executions=executions)

    def _note(self, contestant: str, job: str, size: Size, taken: Taken) -> None:
        told = {"contestant": contestant, "job": job, "executions": size.executions, **asdict(taken)}
        self._keep("runs", told)

    def _give_up(self, contestant: str, said: str) -> None:
        self._keep("broken", {"contestant": contestant})  # its words hold paths, and the file is published
        console.print(said, markup=False, highlight=False)

    def _look(self, size: Size, answers: list[Answered]) -> None:
        for each in answers:
            self._keep("views", {"executions": size.executions, **asdict(each)})

    def _keep(self, kind: str, record: Record) -> None:
        self._results.add(kind, record)
        self._results.write(self._file)
        said = [brief(value) for value in record.values() if not isinstance(value, dict)]
        console.print(*said[:4], style="dim", highlight=False)


def brief(value: object) -> str:
    """A figure as one reads it while others are measured; of several their median."""
    figure = median(value) if isinstance(value, list) else value
    return f"{figure:.4g}" if isinstance(figure, float) else f"{figure}"


def about(scale: Scale) -> Record:
    """What was measured, and on what."""
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = next(
        (line.partition(":")[2].strip() for line in cpuinfo.splitlines() if "model name" in line), ""
    )
    return {
        "processor": f"{os.cpu_count()} x {model or platform.machine()}",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "postgresql": programs().version,
        "syncer": __version__,
        **{name: locked(file, name) for file, name in OTHERS},
        "size": asdict(Size(executions=scale.executions)),
        "rounds": scale.rounds,
        "concurrency": CONCURRENCY,
    }


def locked(file: str, package: str) -> str:
    """The version that a contestant runs with."""
    text = (ROOT / "bench" / "requirements" / f"{file}.txt").read_text(encoding="utf-8")
    found = re.search(rf"^{package}(?:\[.*\])?==(\S+)", text, re.MULTILINE)
    if not found:
        raise SystemExit(f"bench/requirements/{file}.txt does not lock {package}: run `make lock`")
    return found[1]


def chosen(asked: argparse.Namespace) -> Scale:
    """The scale, with what was asked for otherwise."""
    scale = FULL if asked.full else SMALL
    return replace(
        scale,
        executions=asked.executions or scale.executions,
        rounds=asked.rounds or scale.rounds,
        growth=tuple(size for size in scale.growth if size <= (asked.largest or size)),
    )


def run(parts: Iterable[str], bench: Bench) -> None:
    """One part after the other."""
    for part in parts:
        console.rule(part, align="left", style="dim")
        bench.parts[part]()


def main() -> None:
    parts = ("compare", "far", "growth", "polls", "connections", "economy", "stages")
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure syncer against others.")
    parser.add_argument("--full", action="store_true", help="the large sizes; hours")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, default=[*CONTESTANTS])
    parser.add_argument("--executions", type=int, help="to be copied by all that are compared")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--largest", type=int, help="the most executions of the part in which they grow")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--more", action="store_true", help="keep what the results file holds")
    asked = parser.parse_args()
    scale = chosen(asked)
    results = Results.read(asked.results) if asked.more else Results(about(scale))
    run(asked.parts, Bench(scale, [CONTESTANTS[name] for name in asked.only], results, asked.results))
    show(results, console)


console = Console()

if __name__ == "__main__":
    main()
