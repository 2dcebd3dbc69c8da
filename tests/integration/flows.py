"""A copy of a simulated platform compared with what the simulator knows to be true, table by table."""

from __future__ import annotations

from typing import Any

from syncer.config import Connection
from syncer.simulator import Execution, Tenant
from syncer.sync import Report, sync
from tests.passes import Bench, Work
from tests.platforms import platform_of, served


def connected(simulator: Tenant, url: str, **changes: Any) -> Connection:
    """A connection to the simulator, without a pace of its own and final at once."""
    return platform_of(simulator).connection(simulator, url, **changes)


class FlowBench(Bench):
    """Passes over a simulated platform that is served over a socket."""

    def run(self, simulator: Tenant, url: str, work: Work = sync, **changes: Any) -> Report:
        """Make one pass."""
        return self.make(platform_of(simulator).connect, connected(simulator, url, **changes), work)


def expected(simulator: Tenant) -> list[Execution]:
    """What a perfect copy holds of executions."""
    return served(simulator)


def assert_equal_to_truth(bench: Bench, simulator: Tenant, *, payloads: bool = True) -> None:
    """Every table equals the simulator's truth, row by row; what still runs may lack its payloads."""
    for name, table in platform_of(simulator).tables(simulator).items():
        if name == "step_io" and not payloads:
            continue
        parts = table.key.count(",") + 1
        rows = bench.rows(f"SELECT {table.key}, {table.columns} FROM history.{name}")
        stored = {tuple(row[:parts]): tuple(row[parts:]) for row in rows}
        assert len(stored) == len(rows), f"{name}: {table.key} is no key"
        wanted = {key: row for key, row in table.rows.items() if key in stored or key not in table.optional}
        assert stored == wanted, name
