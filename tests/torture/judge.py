"""Judges a copy of a simulated platform by what the simulator knows to be true, row by row.

Invariant: what the source does not serve any more is neither missed nor in the way, and everything else counts. It
must not know what was done to the daemon, nor which platform it is.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy import Engine, text

from syncer.simulator import Tenant
from tests.platforms import Table, listed, platform_of, served
from tests.torture.table import Verdict


def judge(engine: Engine, simulator: Tenant, connection: str = "flow") -> Verdict:
    """Compare every table with the truth of this moment; what still runs must not be called settled."""
    return combined(*differences(engine, simulator, connection).values())


def differences(engine: Engine, simulator: Tenant, connection: str = "flow") -> dict[str, Verdict]:
    """The verdict on each table."""
    copy = _Copy(engine, connection)
    with simulator.lock:
        tables = platform_of(simulator).tables(simulator)
        executions = served(simulator)
        past = simulator.truth.workflows.keys() - {each.id for each in listed(simulator)}
        past |= simulator.truth.executions.keys() - {each.id for each in executions}
    verdicts = {name: _compared(copy.rows(name, table), table, past) for name, table in tables.items()}
    running = {each.id for each in executions if each.ended_ms is None}
    return verdicts | {"settled": Verdict(stale=len(copy.settled() & running))}


def combined(*verdicts: Verdict) -> Verdict:
    """Several verdicts as one."""
    return Verdict(*map(sum, zip(*verdicts, strict=True))) if verdicts else Verdict()


class _Copy:
    """What the warehouse holds of one connection."""

    def __init__(self, engine: Engine, connection: str) -> None:
        self._engine = engine
        self._connection = connection

    def rows(self, name: str, table: Table) -> list[tuple[Any, Any]]:
        """Key and values of every row."""
        parts = table.key.count(",") + 1
        found = self._select(
            f"SELECT {table.key}, {table.columns} FROM history.{name} WHERE connection_id = :connection"
        )
        return [(row[:parts], row[parts:]) for row in found]

    def settled(self) -> set[str]:
        """Executions whose copy is said to be final."""
        query = "SELECT execution_id FROM history.executions WHERE connection_id = :connection"
        return {row[0] for row in self._select(f"{query} AND settled_at IS NOT NULL")}

    def _select(self, query: str) -> list[tuple[Any, ...]]:
        with self._engine.connect() as db:
            return [tuple(row) for row in db.execute(text(query), {"connection": self._connection})]


def _compared(stored: list[tuple[Any, Any]], table: Table, past: set[str]) -> Verdict:
    """`past` are the ids that are not served any more: their rows are right as they are."""
    expected = table.rows
    rows = [(key, values) for key, values in stored if key[0] not in past]
    times = Counter(key for key, _ in rows)
    wrong = sum(key in expected and expected[key] != values for key, values in rows)
    doubles = len(rows) - len(times) + len(times.keys() - expected.keys())
    return Verdict(lost=len(expected.keys() - times.keys() - table.optional), doubled=doubles, stale=wrong)
