"""Who takes part: how each is run, and where its rows are.

Invariant: everybody reads where to copy from and to from the environment alone:

    BENCH_SOURCE, BENCH_USERNAME, BENCH_PASSWORD    the upstream
    BENCH_WAREHOUSE                                 postgresql://...
    BENCH_CONCURRENCY                               requests in flight
    BENCH_HOME                                      a folder to keep what must outlive a run
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.judge import Copied

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = ROOT / "build" / "bench"

Environment = Mapping[str, str]


def nothing(_environment: Environment) -> None:
    """Most need no preparation."""


@dataclass(frozen=True)
class Contestant:
    """`command` is run in the folder of the repository; `prepare` comes before and is not measured."""

    name: str
    command: Sequence[str]
    copied: Copied | None = None
    prepare: Callable[[Environment], None] = nothing


def program(name: str, environment: str | None = None) -> tuple[str, ...]:
    """How to run a program of `contestants`, in an environment of its own if it has one."""
    python = str(ENVIRONMENTS / environment / "bin" / "python") if environment else sys.executable
    return python, "-m", f"bench.contestants.{name}"


def configure(environment: Environment, connections: int = 1, **keys: object) -> None:
    """Write a configuration for syncer: so many connections to the one upstream, without limits of our own."""
    lines = _configuration(environment, connections, keys)
    Path(environment["SYNCER_CONFIG"]).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _configuration(environment: Environment, connections: int, keys: Mapping[str, object]) -> Iterator[str]:
    defaults = {"requests_per_second": 0, "max_concurrency": int(environment["BENCH_CONCURRENCY"]), **keys}
    username, url = json.dumps(environment["BENCH_USERNAME"]), json.dumps(environment["BENCH_SOURCE"])
    yield '[warehouse]\nurl = { env = "BENCH_WAREHOUSE" }'
    yield '[service]\nlog_level = "warning"\nlisten = ""\n[defaults]'
    yield from (f"{key} = {json.dumps(value)}" for key, value in defaults.items())
    for number in range(connections):
        yield f'[connections.flow-{number}]\nplatform = "qualys_flow"\nbase_url = {url}'
        yield f'auth = {{ mode = "password", username = {username}, password = {{ env = "BENCH_PASSWORD" }} }}'


def syncer(*arguments: str) -> tuple[str, ...]:
    """The installed command."""
    return sys.executable, "-m", "syncer", *arguments


def milliseconds(column: str) -> str:
    """SQL for a time as the truth tells it."""
    return f"(extract(epoch FROM {column}) * 1000)::bigint"


SYNCER = Contestant(
    "syncer",
    syncer("sync", "--json"),
    Copied(
        f"SELECT execution_id AS id, status, {milliseconds('ended_at')} AS ended_ms, message FROM history.executions",
        f"SELECT execution_id, event_id AS id, status, {milliseconds('ended_at')} AS ended_ms FROM history.step_events",
        "SELECT execution_id, node_id, input, output FROM history.step_io",
        redacts=True,
    ),
    configure,
)

DLT_ROWS = Copied(
    "SELECT id, status, end_date AS ended_ms, details ->> 'message' AS message FROM flow.executions",
    "SELECT execution AS execution_id, id, status, end_date AS ended_ms FROM flow.step_events",
    "SELECT execution AS execution_id, node_id, input, output FROM flow.step_events WHERE input IS NOT NULL",
)
DLT = Contestant("dlt as documented", program("dlt_documented", environment="dlt"), DLT_ROWS)
DLT_TUNED = Contestant("dlt tuned", program("dlt_tuned", environment="dlt"), DLT_ROWS)

SINGER = Contestant(
    "Singer",
    program("singer", environment="singer"),
    Copied(
        """SELECT id, status, "endDate" AS ended_ms, details ->> 'message' AS message FROM flow.executions""",
        'SELECT execution AS execution_id, id, status, "endDate" AS ended_ms FROM flow.step_events',
        # What is missing is JSON's null there, not SQL's.
        """SELECT execution AS execution_id, "nodeId" AS node_id, input, nullif(output, 'null') AS output
        FROM flow.step_events WHERE input <> 'null'""",
    ),
)

PLAIN_ROWS = Copied(
    f"SELECT id, status, {milliseconds('ended_at')} AS ended_ms, message FROM executions",
    f"SELECT execution_id, id, status, {milliseconds('ended_at')} AS ended_ms FROM step_events",
    "SELECT execution_id, node_id, input, output FROM step_events WHERE input IS NOT NULL",
)
PLAIN = Contestant("requests + SQLAlchemy", program("plain", environment="plain"), PLAIN_ROWS)
PLAIN_ALL = Contestant(f"{PLAIN.name}, all again", (*PLAIN.command, "all"), PLAIN_ROWS)

CONTESTANTS = {each.name: each for each in (SYNCER, DLT, DLT_TUNED, SINGER, PLAIN, PLAIN_ALL)}

FETCH = Contestant("fetch only", program("fetch"))
LOAD = Contestant("COPY only", program("load"))
MIGRATE = Contestant("", syncer("migrate"), prepare=configure)
"""Brings the tables that COPY fills."""
