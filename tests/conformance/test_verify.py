"""Source against warehouse over every way of paging: what differs is found and mended, and nothing else is told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec import UNSET, structs

from syncer.model import Execution
from syncer.sync import Report, Session, backfill
from syncer.sync import verify as verification
from syncer.sync.differences import Verified
from syncer.sync.verify import verify
from tests.conformance.conftest import ToyBench
from tests.conformance.toys import NOW, TICK, TOYS, Ascending, Run, Toy, Twist, World


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


EVERY = pytest.mark.parametrize("source", TOYS, indirect=True)
"""Over every way of paging; else over the one that tells the most."""


@pytest.fixture
def source(request: pytest.FixtureRequest, world: World) -> Toy:
    toy: type[Toy] = getattr(request, "param", Ascending)
    return toy(world)


@pytest.fixture
def check(bench: ToyBench, source: Toy) -> Checked:
    return Checked(bench, source)


@pytest.fixture
def copied(bench: ToyBench, world: World, source: Toy) -> World:
    """A world of two workflows, copied and settled."""
    world.fill(6)
    assert bench.run(source).is_complete
    return world


def kinds(found: Verified) -> list[tuple[str, str, str | None]]:
    return sorted((each.kind.value, each.table, each.identity) for each in found.differences)


@EVERY
def test_a_true_copy_differs_in_nothing_and_is_left_as_it_is(
    bench: ToyBench, copied: World, check: Checked
) -> None:
    before = bench.fingerprints()
    found = check(sample=100)
    assert (kinds(found), found.executions, found.sampled) == ([], 12, 12)
    assert bench.fingerprints() == before


def test_a_horizon_that_a_coarse_clock_moves_back_leaves_nothing_uncopied(
    copied: World, check: Checked
) -> None:
    copied.now -= timedelta(milliseconds=20)
    assert check(sample=0).not_copied == {}


@EVERY
@pytest.mark.parametrize("position", [0, 11])
def test_a_row_that_was_lost_is_found_and_comes_back_with_its_steps(
    bench: ToyBench, copied: World, check: Checked, position: int
) -> None:
    lost = sorted(run.execution_id for run in copied.runs.values())[position]
    for table in ("executions", "step_events", "steps", "step_io"):
        bench.execute(f"DELETE FROM history.{table} WHERE execution_id = '{lost}'")
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
    assert bench.execute(damage.format(changed)) > 0
    assert kinds(check(sample=100)) == [(kind, table, "e00004")]
    mended = check(sample=100, repair=True)
    assert (mended.remaining, mended.repaired.total()) == (0, 1)
    before = bench.fingerprints()
    assert check(sample=100).counts.total() == 0
    assert bench.run(check.source).is_complete
    assert bench.fingerprints() == before
    assert bench.value("SELECT count(*) FROM history.executions WHERE settled_at IS NULL") == 0


def test_few_requests_find_the_place(bench: ToyBench, world: World, check: Checked) -> None:
    for minutes in range(400):
        world.add("w1", NOW - timedelta(hours=2, minutes=minutes))
    bench.run(check.source)
    lost = ["e00080", "e00081"]
    bench.execute(f"DELETE FROM history.executions WHERE execution_id IN {tuple(lost)}")
    world.requests.clear()
    assert [each.identity for each in check(sample=0).differences] == lost
    assert world.requests.count("executions") < 20, "all of it would be forty pages"
    assert check(sample=0, repair=True).remaining == 0
    assert check(sample=0).counts.total() == 0


def test_a_whole_history_that_was_lost_comes_back(bench: ToyBench, copied: World, check: Checked) -> None:
    for table in ("executions", "step_events", "steps", "step_io"):
        bench.execute(f"DELETE FROM history.{table}")
    assert check(sample=0).counts == {"missing": 12}
    assert check(sample=0, repair=True).repaired == {"missing": 12}
    assert bench.value("SELECT count(*) FROM history.executions WHERE settled_at IS NOT NULL") == 12


def test_what_the_source_deleted_unnoticed_is_found_and_marked_on_repair_alone(
    bench: ToyBench, copied: World, check: Checked
) -> None:
    del copied.runs["e00005"]
    assert kinds(check(sample=0)) == [("gone", "executions", "e00005")]
    assert bench.value("SELECT count(*) FROM history.executions WHERE missing_since IS NOT NULL") == 0
    assert check(sample=0, repair=True).remaining == 0
    assert bench.rows(
        "SELECT execution_id, missing_reason FROM history.executions WHERE missing_since IS NOT NULL"
    ) == [("e00005", "gone")]
    assert check(sample=100).counts.total() == 0


def test_what_is_marked_wrongly_is_found_and_cleared(bench: ToyBench, copied: World, check: Checked) -> None:
    bench.execute(
        "UPDATE history.executions SET missing_since = now(), missing_reason = 'gone' WHERE execution_id = 'e00005'",
    )
    assert kinds(check(sample=0)) == [("marked", "executions", "e00005")]
    assert check(sample=0, repair=True).remaining == 0
    assert bench.value("SELECT count(*) FROM history.executions WHERE missing_since IS NOT NULL") == 0


def test_a_workflow_that_was_lost_is_found_and_comes_back(
    bench: ToyBench, copied: World, check: Checked
) -> None:
    bench.execute("DELETE FROM history.workflows WHERE workflow_id = 'w2'")
    assert check(sample=0).counts.total() <= 1, "a toy tells no time of creation, so it may be new"
    check(sample=0, repair=True)


# What is no difference


@EVERY
def test_what_is_open_new_late_or_beyond_the_horizon_is_no_difference(
    bench: ToyBench, copied: World, check: Checked
) -> None:
    copied.add("w1", NOW - timedelta(days=3), lasts=None)
    copied.add("w1", NOW - timedelta(days=29, hours=23))
    bench.run(check.source, lambda session: backfill(session, NOW - timedelta(days=30), NOW))
    copied.now += timedelta(hours=2)
    copied.add("w1", copied.now - timedelta(minutes=3))
    copied.add("w2", copied.now - timedelta(minutes=65))
    late = copied.add("w2", NOW - timedelta(minutes=10))
    late.visible_at = copied.now
    found = check(sample=100)
    assert (kinds(found), found.not_copied) == ([], {})


@EVERY
def test_what_happens_while_it_is_compared_is_no_difference(
    bench: ToyBench, copied: World, check: Checked
) -> None:
    running = [copied.add("w1", NOW - timedelta(hours=3), lasts=None) for _ in range(4)]
    bench.run(check.source, lambda session: backfill(session, NOW - timedelta(days=1), NOW))

    def live(world: World) -> None:
        world.now += timedelta(minutes=1)
        world.add("w1", world.now - timedelta(seconds=30))
        if running:
            world.end(running.pop())

    copied.twist = Twist(after_page=live)
    assert kinds(check(sample=100)) == []


@EVERY
def test_records_put_aside_count_for_the_total_and_are_no_difference(
    bench: ToyBench, copied: World, check: Checked
) -> None:
    for number in (2, 15):
        copied.add("w1", NOW - timedelta(days=number)).is_broken = True
    bench.run(check.source, lambda session: backfill(session, NOW - timedelta(days=29), NOW))
    assert bench.value("SELECT count(*) FROM syncer.quarantine WHERE resolved_at IS NULL") == 2
    assert kinds(check(sample=100)) == []


def test_rows_at_the_bounds_of_windows_are_no_difference(
    bench: ToyBench, world: World, check: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "WINDOW_PAGES", 1)
    for number in range(45):
        world.add("w1", NOW - timedelta(hours=5) + (number // 3) * TICK)
    bench.run(check.source)
    found = check(sample=0)
    assert (kinds(found), found.windows > 3) == ([], True)
    bench.execute("DELETE FROM history.executions WHERE execution_id = 'e00022'")
    assert kinds(check(sample=0)) == [("missing", "executions", "e00022")]


def test_what_is_not_copied_yet_is_named(bench: ToyBench, world: World, check: Checked) -> None:
    world.fill(12)
    found = check()
    assert (kinds(found), sorted(found.not_copied), found.windows) == (
        [],
        sorted(check.source.partitions(world.workflow_ids)),
        0,
    )
    bench.run(check.source)
    bench.execute(f"UPDATE syncer.watermarks SET complete_from = '{NOW - timedelta(days=3)}'")
    bench.execute(f"DELETE FROM history.executions WHERE created_at < '{NOW - timedelta(days=4)}'")
    found = check(sample=100)
    assert kinds(found) == []
    assert {window.end for window in found.not_copied.values()} == {NOW - timedelta(days=3)}


def test_deleted_workflows_are_not_asked_for(bench: ToyBench, copied: World, check: Checked) -> None:
    copied.workflow_ids.remove("w2")
    for run in [run for run in copied.runs.values() if run.workflow_id == "w2"]:
        del copied.runs[run.execution_id]
    assert kinds(check(sample=0)) == []


def test_a_total_that_lies_is_told_and_says_nothing_of_any_row(
    bench: ToyBench, copied: World, check: Checked
) -> None:
    standing = "SELECT count(*) FROM syncer.window_audit WHERE resolved_at IS NULL"
    lost = copied.runs.pop("e00005")
    copied.twist = Twist(total=lambda total: total + 5)
    assert set(check(sample=0).counts) == {"count"}
    copied.twist = Twist()
    assert kinds(check(sample=0)) == [("gone", "executions", "e00005")]
    assert bench.value(standing) > 0
    copied.runs["e00005"] = lost
    assert check(sample=0).counts.total() == 0
    assert bench.value(standing) == 0


class Bare(Ascending):
    """Tells no time of a change."""

    def _execution(self, run: Run) -> Execution:
        return structs.replace(super()._execution(run), updated_at=UNSET)


@pytest.mark.parametrize("source", [Bare], indirect=True)
def test_what_the_source_does_not_carry_is_left_as_it_is(
    bench: ToyBench, copied: World, check: Checked
) -> None:
    own = "SELECT execution_id, updated_at, _row_hash, _asked_at FROM history.executions ORDER BY 1"
    before = bench.rows(own)
    assert check(sample=100).counts.total() == 0
    bench.execute("DELETE FROM history.steps WHERE execution_id = 'e00005'")
    assert check(sample=0, repair=True).remaining == 0
    assert bench.rows(own) == before
    assert check(sample=100).counts.total() == 0


def test_a_difference_stands_in_the_audit_until_it_is_repaired(
    bench: ToyBench, copied: World, check: Checked
) -> None:
    bench.execute("DELETE FROM history.executions WHERE execution_id = 'e00007'")
    standing = "SELECT verdict, told_total - read_ids FROM syncer.window_audit WHERE resolved_at IS NULL"
    check(sample=0)
    check(sample=0)
    assert bench.rows(standing) == [("differs", 1)]
    check(sample=0, repair=True)
    assert bench.rows(standing) == []
