"""The judge of the torture tests sees what is wrong, and nothing where nothing is."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text

from syncer.simulator import Outline, Tenant
from tests.integration.flows import FlowBench
from tests.platforms import platforms
from tests.torture.judge import combined, judge
from tests.torture.table import Verdict


@pytest.fixture(scope="module")
def simulator() -> Tenant:
    platform = next(iter(platforms().values()))
    return platform.simulate(Outline(workflows=2, executions=10, running=2, loops=True))


@pytest.fixture
def copied(engine: Engine, simulator: Tenant) -> Engine:
    with simulator.serve() as url:
        assert not FlowBench(engine).run(simulator, url).error
    return engine


def test_a_perfect_copy_is_found_perfect(copied: Engine, simulator: Tenant) -> None:
    assert judge(copied, simulator) == Verdict()


# None of those that are harmed again below: a row that is wrong twice is one stale row.
AN_ENDED = "SELECT min(execution_id) FROM history.executions WHERE ended_at IS NOT NULL"
HARMS = {
    "DELETE FROM history.step_events WHERE ctid = (SELECT min(ctid) FROM history.step_events)": (1, 0, 0),
    "DELETE FROM history.step_io WHERE ctid = (SELECT min(ctid) FROM history.step_io)": (1, 0, 0),
    "UPDATE history.steps SET attempt = 99 WHERE ctid = (SELECT min(ctid) FROM history.steps)": (1, 1, 0),
    f"UPDATE history.executions SET message = '' WHERE execution_id = ({AN_ENDED})": (0, 0, 1),
    "UPDATE history.executions SET settled_at = now() WHERE ended_at IS NULL": (0, 0, 2),
    "UPDATE history.executions SET missing_reason = 'gone' WHERE ended_at IS NULL": (0, 0, 2),
    "UPDATE history.workflows SET definition = '{}'": (0, 0, 2),
}


def test_whatever_is_wrong_is_counted(copied: Engine, simulator: Tenant) -> None:
    expected = Verdict()
    for harm, verdict in HARMS.items():
        with copied.begin() as db:
            assert db.execute(text(harm)).rowcount
        expected = combined(expected, Verdict(*verdict))
        assert judge(copied, simulator) == expected, harm
