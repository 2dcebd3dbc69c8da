"""Measures what a copy costs: requests, disk, WAL, memory, processor and network per execution.

Invariant: nothing is estimated; whatever is printed was counted while `syncer`, a process of its own, copied from the
simulator into an embedded PostgreSQL with its own defaults.

    python -m bench.sizing copy [--executions 3000] [--payload 4096]
    python -m bench.sizing follow [--executions 120] [--limit 300]

`copy` makes one whole copy in each of three ways: everything, without payloads, without steps. `follow` lets so many
executions arrive in an hour at a source that allows so many requests in an hour, and lets the service follow them for
two hours; a second of it stands for a minute, in the source's limit, in the configuration and in what happens.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg

from bench.payloads import Sized
from bench.warehouse import new_warehouse
from syncer.simulator import Answer, Outline, Request
from syncer.simulator.qualys_flow import Simulator

WORKFLOWS, STEPS, VARIETY = 10, 8, 200
MINUTE = 1.0
"""Seconds that stand for a minute while executions are followed."""

HOURS = 2
LIVED = {"poll": "5s", "sweep": "60s", "lookback": "15s", "settle": "2s", "max_concurrency": 4}
"""The defaults in such minutes."""

WAYS: dict[str, dict[str, object]] = {
    "everything": {},
    "without payloads": {"step_io": False},
    "without steps": {"steps": False},
}
RELATIONS = """
SELECT relname, pg_table_size(oid) AS data, pg_indexes_size(oid) AS indexes
FROM pg_class WHERE relkind = 'r' AND relnamespace = 'history'::regnamespace ORDER BY relname
"""


DUE = "SELECT count(*) FROM history.executions WHERE steps_state = 'due' AND ended_at IS NOT NULL"


class Counted:
    """Counts the bytes of all answers' bodies."""

    def __init__(self) -> None:
        self.bytes = 0

    def __call__(self, _request: Request, answer: Answer) -> Answer:
        self.bytes += len(answer.body)
        return answer


@dataclass(frozen=True)
class Cost:
    """What one whole copy took."""

    report: Mapping[str, Any]
    relations: Mapping[str, tuple[int, int]]
    received: int
    wal: int
    decoded: int
    user_seconds: float
    peak_kilobytes: int

    def per_execution(self, amount: float) -> float:
        """The share of one execution."""
        return amount / float(self.report["rows"]["executions"])

    @property
    def disk(self) -> int:
        """Bytes of all tables with their indexes."""
        return sum(data + indexes for data, indexes in self.relations.values())


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what a copy costs.")
    commands = parser.add_subparsers(dest="command", required=True)
    copy = commands.add_parser("copy")
    copy.add_argument("--executions", type=int, default=3000)
    copy.add_argument(
        "--payload", type=int, default=4096, help="bytes of JSON in each input and in each output"
    )
    follow = commands.add_parser("follow")
    follow.add_argument("--executions", type=int, default=120, help="arriving in an hour")
    follow.add_argument("--limit", type=int, default=300, help="requests in an hour")
    given = parser.parse_args()
    if given.command == "follow":
        follow_live(given.executions, given.limit)
        return
    simulator = invented(given.executions, given.payload)
    for way, keys in WAYS.items():
        tell(way, measured(simulator, keys))


def invented(executions: int, payload: int) -> Simulator:
    """A history in which every execution runs all its steps, each with an input and an output of that size."""
    outline = Outline(
        workflows=WORKFLOWS, executions=executions // WORKFLOWS, steps=STEPS, running=0, failing=0
    )
    simulator = Simulator(outline)
    stock: dict[tuple[str, int], Sized] = {}
    for number, execution in enumerate(simulator.truth.executions.values()):
        for place, attempt in enumerate(execution.attempts):
            for side, shift in (("given", 0), ("made", 1)):
                key = attempt.node_type, (number * 2 * STEPS + 2 * place + shift) % VARIETY
                setattr(attempt, side, stock.setdefault(key, Sized(key[0], "output", key[1], payload)))
    return simulator


@contextmanager
def copying(
    simulator: Simulator, keys: Mapping[str, object]
) -> Iterator[tuple[dict[str, str], psycopg.Connection]]:
    """The environment of commands that copy it into a new server, and a connection to that."""
    with (
        tempfile.TemporaryDirectory(prefix="sizing-") as folder,
        simulator.serve() as url,
        new_warehouse() as warehouse,
        psycopg.connect(warehouse.url, autocommit=True) as db,
    ):
        yield configured(Path(folder), warehouse.url, simulator, url, keys), db


def measured(simulator: Simulator, keys: Mapping[str, object]) -> Cost:
    """Copy everything once into a new server."""
    simulator.fault = counted = Counted()
    with copying(simulator, keys) as (environment, db):
        run(environment, "migrate")
        before = amount(db, "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")
        report, usage = run(environment, "sync", "--json")
        after = amount(db, "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")
        db.execute("VACUUM (ANALYZE)")
        return Cost(
            report=json.loads(report)["connections"][0],
            relations={row[0]: (row[1], row[2]) for row in db.execute(RELATIONS).fetchall()},
            received=counted.bytes,
            wal=after - before,
            decoded=amount(db, "SELECT coalesce(sum(input_bytes + output_bytes), 0) FROM history.step_io"),
            user_seconds=usage.ru_utime + usage.ru_stime,
            peak_kilobytes=usage.ru_maxrss,
        )


def follow_live(executions: int, limit: int) -> None:
    """Let the service follow a live source, and tell what it asked for and what it had left at the end."""
    simulator = Simulator(Outline(workflows=WORKFLOWS, executions=20, steps=STEPS, running=0, failing=0))
    with copying(simulator, LIVED) as (environment, db):
        run(environment, "sync")
        simulator.switches = replace(simulator.switches, rate_limit=limit, rate_window=60 * MINUTE)
        simulator.clear_requests()
        with subprocess.Popen([sys.executable, "-m", "syncer", "run"], env=environment) as service:
            arrived = live(simulator, executions)
            print(f"{arrived} executions in {HOURS} h at {limit} requests an hour, {WORKFLOWS} workflows")
            print(f"  {simulator.counts.total() / HOURS:.0f} requests an hour: {dict(simulator.counts)}")
            refused = sum(seen.status == 429 for seen in simulator.requests)
            print(f"  {refused} refused, {simulator.impolite} asked while told to wait")
            print(f"  left at the end: {amount(db, DUE)} executions without steps")
            service.terminate()


def live(simulator: Simulator, executions: int) -> int:
    """Two hours in which executions begin evenly and run for two minutes each; gives how many began."""
    workflows, pause = list(simulator.truth.workflows), threading.Event()
    running: deque[str] = deque()
    total = HOURS * executions
    for number in range(total):
        begun = simulator.add_execution(workflows[number % len(workflows)], status="Running")
        running.append(begun.id)
        if len(running) > 2 * executions / 60:
            simulator.end_execution(running.popleft())
        pause.wait(60 * MINUTE / executions)
    if not total:
        pause.wait(HOURS * 60 * MINUTE)
    return total


def amount(db: psycopg.Connection, query: str) -> int:
    row = db.execute(query.encode()).fetchone()
    assert row
    return int(row[0])


def configured(
    folder: Path, warehouse: str, simulator: Simulator, url: str, keys: Mapping[str, object]
) -> dict[str, str]:
    """Write a configuration; gives the environment in which `syncer` finds it."""
    told = {"platform": "qualys_flow", "base_url": url, "requests_per_second": 0} | dict(keys)
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in told.items())
    who = json.dumps(simulator.credentials.username)
    file = folder / "config.toml"
    file.write_text(
        f"[warehouse]\nurl = {json.dumps(warehouse)}\n[connections.flow]\n{lines}\n"
        f'auth = {{ mode = "password", username = {who}, password = {{ env = "FLOW_PASSWORD" }} }}\n'
    )
    return {**os.environ, "SYNCER_CONFIG": str(file), "FLOW_PASSWORD": simulator.credentials.password}


def run(environment: Mapping[str, str], *arguments: str) -> tuple[str, Any]:
    """Run a command to its end; gives what it printed and the resources it took."""
    command = [sys.executable, "-m", "syncer", *arguments]
    with subprocess.Popen(command, env=dict(environment), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return printed, usage


def tell(way: str, cost: Cost) -> None:
    """The figures of one execution; tables by size, heap with TOAST first, then indexes."""
    rows, requests = cost.report["rows"], cost.report["requests"]
    print(f"{way}: {rows['executions']:,} executions with {cost.per_execution(rows['steps']):.1f} steps")
    print(f"  {requests['total']:,} requests {requests['by_endpoint']}, {cost.report['seconds']:.1f} s")
    print(f"  {cost.per_execution(requests['total']):.3f} requests an execution")
    for what, many in (
        ("disk", cost.disk),
        ("WAL", cost.wal),
        ("received", cost.received),
        ("decoded", cost.decoded),
    ):
        print(f"  {what} {cost.per_execution(many) / 1024:.1f} KiB an execution")
    for name, (data, indexes) in sorted(cost.relations.items(), key=lambda item: -sum(item[1])):
        heap, index = cost.per_execution(data) / 1024, cost.per_execution(indexes) / 1024
        print(f"    {name}: {heap:.2f} + {index:.2f} KiB")
    milliseconds = 1000 * cost.per_execution(cost.user_seconds)
    print(f"  {milliseconds:.1f} ms of processor an execution, peak {cost.peak_kilobytes / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
