"""The installed command against a source that cannot be relied on: its memory, its exit codes, and what it says."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from syncer.simulator import KINDS, Outline, Tenant
from tests.acceptance.conftest import Cli, execute
from tests.nursery import Done, Nursery
from tests.platforms import Platform, each_platform, platforms
from tests.torture.hostile import everywhere
from tests.torture.judge import judge
from tests.torture.table import FULL, SEED, note

MAX_RESPONSE = 4 << 20
ALLOWED = 64 << 20
"""Bytes by which the memory may grow, whatever is sent: a sixteenth of one such answer."""

# Runs the command in this process and tells afterwards how much memory it took at most.
MEASURED = """
import pathlib, runpy, sys
try:
    runpy.run_module("syncer", run_name="__main__", alter_sys=True)
finally:
    status = pathlib.Path("/proc/self/status").read_text()
    print("VmHWM", next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")), file=sys.stderr)
"""

AT_ONCE = [kind for kind in KINDS if not kind.startswith(("429", "409", "503-", "silence"))]
"""Faults that ask for no wait, which here would be a real one."""


@pytest.fixture
def platform() -> Platform:
    return next(iter(platforms().values()))


@pytest.fixture
def simulator(platform: Platform) -> Tenant:
    return platform.simulate(Outline(seed=SEED, workflows=2, executions=15, running=0, steps=2, days=20))


@pytest.fixture
def url(simulator: Tenant) -> Iterator[str]:
    with simulator.serve() as url:
        yield url


@pytest.fixture
def cli(tmp_path: Path, database_url: str, nursery: Nursery, simulator: Tenant, url: str) -> Cli:
    cli = Cli(tmp_path, database_url, nursery)
    cli.connect("flow", simulator, url, max_response_bytes=MAX_RESPONSE, timeout="5s", page_size=20)
    return cli


def measured(cli: Cli) -> int:
    """Bytes of memory that one pass took at most."""
    cli.write()
    done = execute([sys.executable, "-c", MEASURED, "sync"], cli.env, cli.folder)
    assert "Traceback" not in done.err, done.err
    return 1024 * int(done.err.rpartition("VmHWM ")[2].split()[0])


def silent_about_itself(done: Done) -> None:
    """No traceback: whatever happened was told in sentences."""
    assert "Traceback" not in done.err + done.out, done.err
    assert "Error" not in done.out


@pytest.mark.parametrize("platform", list(platforms().values())[: None if FULL else 1])
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is told by Linux alone")
def test_answers_of_a_gigabyte_cost_no_memory(cli: Cli, simulator: Tenant, engine: Engine) -> None:
    usual = measured(cli)
    for workflow_id in simulator.truth.workflows:
        for _ in range(5):
            simulator.add_execution(workflow_id)
    simulator.clock.advance(5)
    faults = simulator.misbehave(everywhere(simulator, ("flood", "bomb"), 0.4), seed=SEED)
    hostile = measured(cli)
    faults.calm()
    assert faults.injected.keys() == {"flood", "bomb"}
    assert hostile - usual < ALLOWED
    with engine.begin() as db:
        db.exec_driver_sql("UPDATE history.executions SET _steps_retry_at = NULL")
    simulator.clock.advance(60)
    assert cli.run("sync").code == 0
    note("command: flood and bomb", faults.injected.total(), judge(engine, simulator))
    assert judge(engine, simulator) == (0, 0, 0)


@each_platform()
@pytest.mark.parametrize("seed", [SEED + number for number in range(10 if FULL else 1)])
def test_whatever_goes_wrong_is_told_in_sentences_and_costs_no_row(
    cli: Cli, simulator: Tenant, engine: Engine, seed: int
) -> None:
    faults = simulator.misbehave(everywhere(simulator, AT_ONCE, 0.2), seed=seed)
    codes = set()
    for _ in range(3):
        done = cli.run("sync")
        silent_about_itself(done)
        codes.add(done.code)
    assert codes <= {0, 1, 3}
    faults.calm()
    with engine.begin() as db:
        db.exec_driver_sql("UPDATE history.executions SET _steps_retry_at = NULL")
    simulator.clock.advance(60)
    assert cli.run("sync").code == 0
    note("command: everything that asks for no wait", faults.injected.total(), judge(engine, simulator))
    assert faults.injected.total() > 0
    assert judge(engine, simulator) == (0, 0, 0)


def test_a_total_that_lies_for_ever_is_told_and_exits_with_1(cli: Cli, simulator: Tenant) -> None:
    simulator.lie({"total-more": 1.0}, seed=SEED)
    done = cli.run("sync")
    silent_about_itself(done)
    assert done.code == 1
    assert "disputed" in done.out + done.err
    status = cli.run("status")
    assert "disputed" in status.out


def test_an_id_that_is_too_long_is_told_and_listed(cli: Cli, platform: Platform, simulator: Tenant) -> None:
    records = platform.records(simulator)["executions"]
    for field in records.own:
        simulator.spoil(records.ids[0], field, "x" * 3000)
    done = cli.run("sync")
    silent_about_itself(done)
    assert done.code == 0
    listed = cli.run("quarantine", "list")
    assert "longer than 512 bytes" in listed.out
    assert "x" * 600 not in listed.out
