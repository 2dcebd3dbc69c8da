"""What was measured: kept run by run in a file, told in medians.

Invariant: a figure is the median of its own runs; ratios alone are computed of other figures.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

Record = dict[str, Any]
Kept = Mapping[str, Any]
"""As the file holds it."""


class Results:
    """Everything measured, each with what it is about: a list for every kind."""

    def __init__(self, about: Record, kinds: Mapping[str, list[Record]] | None = None) -> None:
        self.about = about
        self._kinds = dict(kinds or {})

    @classmethod
    def read(cls, file: Path) -> Results:
        """What was kept there."""
        kept = json.loads(file.read_text(encoding="utf-8"))
        return cls(kept.pop("about"), kept)

    def add(self, kind: str, record: Record) -> None:
        """Take in one more."""
        self._kinds.setdefault(kind, []).append(record)

    def write(self, file: Path) -> None:
        """Keep everything."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"about": self.about, **self._kinds}, indent=1) + "\n", encoding="utf-8")

    def of(self, kind: str) -> list[Record]:
        """All of a kind, in the order they came."""
        return self._kinds.get(kind, [])

    def figures(self, contestant: str, job: str, executions: int) -> Figures | None:
        """The medians, or None for what was not run."""
        wanted = (contestant, job, executions)
        runs = [
            each
            for each in self.of("runs")
            if (each["contestant"], each["job"], each["executions"]) == wanted
        ]
        return Figures(runs) if runs else None


class Figures:
    """The runs of one job of one contestant in medians."""

    def __init__(self, runs: Iterable[Kept]) -> None:
        self._runs = list(runs)

    def median(self, of: Callable[[Kept], float]) -> float:
        """Of whatever is asked of a run."""
        return statistics.median(map(of, self._runs))

    @property
    def wall(self) -> float:
        """Seconds from start to end."""
        return self.median(lambda run: run["wall"])

    @property
    def client(self) -> float:
        """Seconds of the contestant's processes."""
        return self.median(lambda run: run["cpu"])

    @property
    def postgres(self) -> float:
        """Seconds of PostgreSQL's processes."""
        return self.median(lambda run: run["postgres_cpu"])

    @property
    def cpu(self) -> float:
        """Seconds of both."""
        return self.median(lambda run: run["cpu"] + run["postgres_cpu"])

    @property
    def peak_mb(self) -> float:
        """Memory of the largest process."""
        return self.median(lambda run: run["peak_kb"]) / 1024

    @property
    def requests(self) -> int:
        """But for signing in, which no limit counts."""
        return round(self.median(lambda run: asked(run["requests"])))

    @property
    def rate(self) -> float:
        """Requests a second, from the first one to the last answer."""
        return self.requests / self.median(lambda run: run["asking"])

    @property
    def rows(self) -> int:
        """Written: inserted, updated, deleted."""
        return round(self.median(lambda run: run["rows_written"]))

    @property
    def lost(self) -> int:
        """Rows, in the worst run."""
        return max(lost(run["verdict"]) for run in self._runs)

    @property
    def wrong(self) -> int:
        """Rows that are stale or should not be there, in the worst run."""
        return max(wrong(run["verdict"]) for run in self._runs)


def asked(requests: Mapping[str, int]) -> int:
    """All but signing in."""
    return sum(requests.values()) - requests.get("auth", 0)


def lost(verdict: Kept | None) -> int:
    """Rows of all kinds that are missing."""
    return sum(kind["lost"] for kind in (verdict or {}).values())


def wrong(verdict: Kept | None) -> int:
    """Rows of all kinds that are not as the source has them."""
    return sum(kind["stale"] + kind["strange"] for kind in (verdict or {}).values())
