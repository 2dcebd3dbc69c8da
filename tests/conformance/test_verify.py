"""Source against warehouse over every way of paging: what differs is found and mended, and nothing else is told."""

from __future__ import annotations

from typing import Any

import pytest

from syncer.sync import Report, Session
from syncer.sync.differences import Verified
from syncer.sync.verify import verify
from tests.conformance.conftest import ToyBench
from tests.conformance.toys import Toy, World


class Checked:
    """A comparison as a pass of a bench."""

    def __init__(self, bench: ToyBench, source: Toy) -> None:
        self.bench = bench
        self.source = source

    def __call__(self, **options: Any) -> Verified:
        """Compare, and return what was found; whatever could not be compared fails the test."""
        found: list[Verified] = []

        async def work(session: Session) -> Report:
            found.append(await verify(session, **options))
            return session.report

        report = self.bench.run(self.source, work)
        assert report.error is None
        assert report.failures == []
        return found[0]


@pytest.fixture
def check(bench: ToyBench, source: Toy) -> Checked:
    return Checked(bench, source)


@pytest.fixture
def copied(bench: ToyBench, world: World, source: Toy) -> World:
    """A world of two workflows, copied and settled."""
    world.fill(12)
    assert bench.run(source).is_complete
    return world


def execute(bench: ToyBench, statement: str) -> int:
    with bench.engine.begin() as db:
        return db.exec_driver_sql(statement).rowcount


def kinds(found: Verified) -> list[tuple[str, str, str | None]]:
    return sorted((each.kind.value, each.table, each.identity) for each in found.differences)


def test_a_true_copy_differs_in_nothing_and_is_left_as_it_is(
    bench: ToyBench, copied: World, check: Checked
) -> None:
    before = bench.fingerprints()
    found = check(sample=100)
    assert (kinds(found), found.executions, found.sampled) == ([], 24, 24)
    assert bench.fingerprints() == before


@pytest.mark.parametrize("position", [0, 23])
def test_a_row_that_was_lost_is_found_and_comes_back_with_its_steps(
    bench: ToyBench, copied: World, check: Checked, position: int
) -> None:
    lost = sorted(run.execution_id for run in copied.runs.values())[position]
    for table in ("executions", "step_events", "steps", "step_io"):
        execute(bench, f"DELETE FROM history.{table} WHERE execution_id = '{lost}'")
    assert kinds(check(sample=0)) == [("missing", "executions", lost)]
    mended = check(sample=0, repair=True)
    assert mended.remaining == 0
    assert mended.repaired == {"missing": 1}
    assert bench.rows(
        f"SELECT steps_state, settled_at IS NOT NULL FROM history.executions WHERE execution_id = '{lost}'"
    ) == [("read", True)]
    assert check(sample=100).counts.total() == 0


DAMAGE = {
    "status": ("UPDATE history.executions SET status = 'Lost' WHERE {}", "values", "executions"),
    "the time of the last change": (
        "UPDATE history.executions SET updated_at = '2099-01-01' WHERE {}",
        "values",
        "executions",
    ),
    "an event's message": ("UPDATE history.step_events SET message = 'x' WHERE {}", "values", "step_events"),
    "a step's outcome": ("UPDATE history.steps SET status = 'x' WHERE {}", "values", "steps"),
    "a payload": ("UPDATE history.step_io SET output = '{{}}' WHERE {}", "values", "step_io"),
    "a payload's row": ("DELETE FROM history.step_io WHERE {}", "steps", "step_io"),
    "steps": ("DELETE FROM history.steps WHERE {}", "steps", "steps"),
    "events": ("DELETE FROM history.step_events WHERE {}", "steps", "steps"),
}


@pytest.mark.parametrize(("damage", "kind", "table"), DAMAGE.values(), ids=DAMAGE)
def test_what_was_changed_by_hand_is_found_and_mended(
    bench: ToyBench, copied: World, check: Checked, damage: str, kind: str, table: str
) -> None:
    changed = "execution_id = 'e00004'"
    assert execute(bench, damage.format(changed)) > 0
    assert kinds(check(sample=100)) == [(kind, table, "e00004")]
    mended = check(sample=100, repair=True)
    assert (mended.remaining, mended.repaired.total()) == (0, 1)
    before = bench.fingerprints()
    assert check(sample=100).counts.total() == 0
    assert bench.run(check.source).is_complete
    assert bench.fingerprints() == before
    assert bench.value("SELECT count(*) FROM history.executions WHERE settled_at IS NULL") == 0
