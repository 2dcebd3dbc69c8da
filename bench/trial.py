"""One contestant copies one tenant: all of it, then what has changed, then nothing.

Invariant: what is measured is a process of its own, a PostgreSQL of its own and an upstream of its own, all new.
"""

from __future__ import annotations

import compileall
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.field import ROOT, Contestant, Environment
from bench.judge import Verdict, judge
from bench.processes import cpu_seconds
from bench.warehouse import Warehouse, new_warehouse
from bench.world import Size

FIRST, CHANGED, QUIET = JOBS = ("first copy", "1 % changed", "nothing changed")
HAPPENS = {CHANGED: "live_on", QUIET: "rest"}
TAIL = 2000


@dataclass(frozen=True)
class Taken:
    """What one job took. Times in seconds; `cpu` is of the contestant's processes alone, `asking` lasts from its first
    request to its last answer."""

    wall: float
    cpu: float
    postgres_cpu: float
    upstream_cpu: float
    peak_kb: int
    requests: Mapping[str, int]
    most_in_flight: int
    asking: float
    rows_written: int
    wal: int
    bytes: int
    verdict: Mapping[str, Verdict] | None


class Broken(SystemExit):
    """A command that is measured ended with an error; the text says which and how."""


class Upstream:
    """The upstream's process, steered from here."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        line = process.stdout.readline()
        if not line:
            raise SystemExit("the upstream did not start: its own words stand above")
        told = json.loads(line)
        self.url: str = told["url"]
        self.environment = {
            "BENCH_SOURCE": self.url,
            "BENCH_USERNAME": told["username"],
            "BENCH_PASSWORD": told["password"],
        }
        self._pid = process.pid

    @property
    def cpu(self) -> float:
        """Seconds up to now."""
        return cpu_seconds(self._pid)

    def do(self, what: str, body: str = "") -> Any:
        """What it is told, see `bench.upstream`."""
        method = "GET" if what == "traffic" else "POST"
        request = urllib.request.Request(f"{self.url}/bench/{what}", body.encode() or None, method=method)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)


@contextmanager
def serving(size: Size, latency_ms: float = 0.0) -> Iterator[Upstream]:
    """An upstream with a new tenant."""
    options = [f"--{name}={value}" for name, value in asdict(size).items()]
    command = [sys.executable, "-m", "bench.upstream", *options, f"--latency-ms={latency_ms}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Upstream(process)
        finally:
            process.terminate()


class Trial:
    """A contestant with its upstream, its warehouse and a folder."""

    def __init__(self, upstream: Upstream, warehouse: Warehouse, folder: Path, concurrency: int) -> None:
        self.upstream = upstream
        self.warehouse = warehouse
        self.folder = folder
        self.environment: Environment = {
            **os.environ,
            **upstream.environment,
            "BENCH_WAREHOUSE": warehouse.url,
            "BENCH_CONCURRENCY": str(concurrency),
            "BENCH_HOME": str(folder),
            "SYNCER_CONFIG": str(folder / "config.toml"),
        }

    def jobs(self, contestant: Contestant) -> Iterator[tuple[str, Taken]]:
        """All three, one after the other."""
        for job in JOBS:
            if job in HAPPENS:
                self.upstream.do(HAPPENS[job])
            yield job, self.measured(contestant)

    def measured(self, contestant: Contestant, *arguments: str) -> Taken:
        """Run it once; what is given are more arguments for its command."""
        contestant.prepare(self.environment)
        self.warehouse.calm()
        self.upstream.do("traffic")
        upstream_cpu, before = self.upstream.cpu, self.warehouse.meters()
        used = self._timed([*contestant.command, *arguments])
        took = self.warehouse.meters().since(before)
        upstream_cpu = self.upstream.cpu - upstream_cpu
        traffic = self.upstream.do("traffic")
        return Taken(
            wall=used["wall"],
            cpu=used["cpu"],
            postgres_cpu=took.cpu,
            upstream_cpu=upstream_cpu,
            peak_kb=used["peak_kb"],
            requests=traffic["requests"],
            most_in_flight=traffic["most_in_flight"],
            asking=traffic["seconds"],
            rows_written=took.rows,
            wal=took.wal,
            bytes=self.warehouse.bytes(),
            verdict=self.verdict(contestant),
        )

    @property
    def said_in(self) -> Path:
        """Where what it prints goes."""
        return self.folder / "said.txt"

    def said(self) -> str:
        """The end of what was printed last."""
        return self.said_in.read_text(encoding="utf-8", errors="replace")[-TAIL:]

    def run(self, contestant: Contestant, *arguments: str) -> None:
        """Run it unmeasured."""
        contestant.prepare(self.environment)
        self._timed([*contestant.command, *arguments])

    def _timed(self, command: list[str]) -> Any:
        """What the stopwatch saw."""
        file = self.folder / "taken.json"
        watch = [sys.executable, "-I", "-S", str(ROOT / "bench" / "stopwatch.py"), str(file)]
        with self.said_in.open("wb") as out:
            subprocess.run(
                [*watch, *command], cwd=ROOT, env=dict(self.environment), stdout=out, stderr=out, check=True
            )
        used = json.loads(file.read_text())
        if used["code"]:
            raise Broken(f"{' '.join(command)} ended with {used['code']}:\n{self.said()}")
        return used

    def verdict(self, contestant: Contestant) -> Mapping[str, Verdict] | None:
        """What the copy is worth now; None where nothing is to be judged."""
        if contestant.copied is None:
            return None
        truth = self.folder / "truth"
        truth.mkdir(exist_ok=True)
        self.upstream.do("truth", str(truth))
        return judge(self.warehouse.url, truth, contestant.copied)


@contextmanager
def trial(size: Size, concurrency: int, latency_ms: float = 0.0) -> Iterator[Trial]:
    """Everything new."""
    for folder in ("syncer", "bench"):  # as what is installed is: some environments keep no bytecode
        compileall.compile_dir(ROOT / folder, quiet=1)
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        new_warehouse() as warehouse,
        serving(size, latency_ms) as upstream,
    ):
        yield Trial(upstream, warehouse, Path(folder), concurrency)
