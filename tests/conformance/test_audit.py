"""The window audit tells a trouble once, for as long as it goes on, and says where it is."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec import structs
from sqlalchemy import Engine, text
from structlog.testing import capture_logs

from syncer.errors import TransientError
from syncer.model import Execution, Page, Window
from syncer.state.audit import Finding, debts, note_reading, note_window, resolve_windows
from syncer.state.watermarks import advance
from tests.conformance.conftest import ToyBench
from tests.conformance.toys import NOW, Ascending, Toy, World

HOUR = timedelta(hours=1)


def at(hours: float) -> datetime:
    return NOW + hours * HOUR


def span(start: float, end: float) -> Window:
    return Window(at(start), at(end))


class Audit:
    """One partition's audit, with hours from NOW for instants."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def note(self, start: float, end: float, verdict: str = "disputed", *, told: int = 1) -> bool:
        """Note that two were listed of so many that were told."""
        with self._engine.begin() as db:
            return note_window(db, "toy", "w1", Finding(span(start, end), verdict, told, 2), NOW)

    def debts(self, hours: float) -> list[tuple[float, float]]:
        """What is due by then, and read again now."""
        with self._engine.begin() as db:
            found = debts(db, "toy", at(hours))
            for debt in found:
                note_reading(db, debt, at(hours))
            return [((each.window.start - NOW) / HOUR, (each.window.end - NOW) / HOUR) for each in found]

    def prove(self, start: float, end: float, partition: str = "w1") -> int:
        with self._engine.begin() as db:
            return resolve_windows(db, "toy", partition, span(start, end), NOW)

    def mark(self, hours: float) -> None:
        """Move the watermark."""
        with self._engine.begin() as db:
            advance(db, "toy", "w1", start=at(-100), covered=at(hours), lookback_from=at(hours), asked_at=NOW)

    @property
    def open(self) -> list[tuple[str, float, float]]:
        with self._engine.connect() as db:
            rows = db.exec_driver_sql(
                "SELECT verdict, window_start, window_end FROM syncer.window_audit"
                " WHERE resolved_at IS NULL ORDER BY verdict, window_start, window_end"
            )
            return [(verdict, (start - NOW) / HOUR, (end - NOW) / HOUR) for verdict, start, end in rows]


@pytest.fixture
def audit(engine: Engine) -> Audit:
    return Audit(engine)


def test_a_finding_is_news_once(audit: Audit) -> None:
    assert [audit.note(0, 1), audit.note(0, 1), audit.note(0, 1)] == [True, False, False]
    assert audit.open == [("disputed", 0, 1)]


def test_findings_that_meet_are_one_and_others_are_not(audit: Audit) -> None:
    audit.note(0, 2)
    audit.note(6, 8)
    assert audit.note(1, 3) is False
    assert audit.note(4, 5) is True
    assert audit.note(0.5, 1, "unproved") is True
    assert audit.open == [("disputed", 0, 3), ("disputed", 4, 5), ("disputed", 6, 8), ("unproved", 0.5, 1)]
    assert audit.note(2, 7) is False
    assert audit.open == [("disputed", 0, 8), ("unproved", 0.5, 1)]


def test_the_newest_window_slides_and_its_finding_with_it(audit: Audit) -> None:
    audit.note(0, 2)
    audit.mark(2)
    assert audit.note(1.75, 3) is False
    audit.mark(3)
    assert audit.note(2.75, 4) is False
    assert audit.open == [("disputed", 2.75, 4)]


def test_where_something_may_be_missing_the_newest_part_proves_nothing_of_the_rest(audit: Audit) -> None:
    audit.note(0, 2, told=3)
    audit.mark(2)
    audit.note(1.75, 3, told=3)
    audit.mark(3)
    assert audit.open == [("disputed", 0, 3)]
    assert audit.prove(2.75, 4) == 0
    assert audit.open == [("disputed", 0, 2.75)]
    assert audit.prove(0, 2.75) == 1


def test_what_may_be_missing_is_read_again_ever_more_rarely(audit: Audit) -> None:
    audit.note(0, 2, told=3)
    audit.note(5, 6, told=1)
    assert audit.debts(-0.1) == []
    assert [hour for hour in range(20) if audit.debts(hour)] == [0, 1, 2, 4, 8, 16]


def test_it_is_over_when_the_newest_part_is_proved(audit: Audit) -> None:
    audit.note(0, 2)
    audit.mark(2)
    assert audit.prove(1.75, 3) == 1
    assert audit.open == []
    assert audit.note(2, 3) is True


def test_the_newest_window_leaves_what_was_found_of_history_alone(audit: Audit) -> None:
    audit.note(-90, 1)
    audit.note(0, 2)
    audit.mark(2)
    history = ("disputed", -90, 2)
    assert audit.open == [history]
    audit.mark(2.5)
    assert audit.note(1.75, 3) is True
    audit.mark(3)
    assert audit.note(2.75, 4) is False
    assert audit.open == [history, ("disputed", 2.75, 4)]
    audit.mark(4)
    assert audit.prove(3.75, 5) == 1
    assert audit.open == [history]


def test_a_proof_of_a_part_says_where_the_rest_is(audit: Audit) -> None:
    audit.note(0, 10)
    assert audit.prove(0, 4) == 0
    assert audit.prove(8, 12) == 0
    assert audit.prove(5, 6) == 0
    assert audit.open == [("disputed", 4, 8)]
    assert audit.prove(4, 8) == 1
    assert audit.open == []


def test_a_proof_says_nothing_of_another_partition_or_of_what_is_lost(audit: Audit) -> None:
    audit.note(0, 1)
    audit.note(0, 1, "lost")
    assert audit.prove(0, 1, partition="w2") == 0
    assert audit.prove(0, 1) == 1
    assert audit.open == [("lost", 0, 1)]


def test_every_span_that_is_lost_is_told(audit: Audit) -> None:
    assert [audit.note(0, 1, "lost"), audit.note(1, 2, "lost"), audit.note(1, 2, "lost")] == [
        True,
        True,
        False,
    ]
    assert audit.open == [("lost", 0, 1), ("lost", 1, 2)]


@pytest.fixture(params=[Ascending], ids=["Ascending"])
def source(request: pytest.FixtureRequest, world: World) -> Toy:
    toy: Toy = request.param(world)
    return toy


def disputes(bench: ToyBench) -> list[Any]:
    return bench.rows("SELECT partition FROM syncer.window_audit WHERE resolved_at IS NULL ORDER BY 1")


def passes(bench: ToyBench, source: Toy, count: int) -> list[tuple[str, str]]:
    """Make passes, five minutes apart; returns what they logged of windows."""
    told = []
    for _ in range(count):
        with capture_logs() as logs:
            bench.run(source)
        told += [
            (each["event"], each["partition"])
            for each in logs
            if each["event"] in ("disputed", "agrees again")
        ]
        source.world.now += timedelta(minutes=5)
    return told


def owe_at_once(bench: ToyBench) -> None:
    """Let what is owed be due: how long that takes is counted by the warehouse's clock, which goes on meanwhile."""
    with bench.engine.begin() as db:
        db.execute(text("UPDATE syncer.window_audit SET read_again_at = first_seen_at"))


def test_a_total_that_is_always_off_by_one_is_told_when_it_begins_and_when_it_ends(
    bench: ToyBench, world: World, source: Toy
) -> None:
    world.fill(4)
    assert bench.run(source).is_complete
    world.now += timedelta(minutes=5)
    world.twist.total = lambda total: total + 1
    assert sorted(passes(bench, source, 5)) == [("disputed", "w1"), ("disputed", "w2")]
    assert disputes(bench) == [("w1",), ("w2",)]
    assert not bench.run(source).is_complete, "a dispute that is not news is one all the same"
    world.twist.total = None
    world.now += timedelta(minutes=5)
    owe_at_once(bench)
    assert sorted(passes(bench, source, 3)) == [("agrees again", "w1"), ("agrees again", "w2")]
    assert disputes(bench) == []


class Repeating(Ascending):
    """Serves its first page for every page, and sorts nothing, as long as it lies."""

    lies = True

    async def list_executions(
        self, partition: str, window: Window, page: int, *, counted: bool = False
    ) -> Page[Execution]:
        if not self.lies:
            return await super().list_executions(partition, window, page, counted=counted)
        listed = await super().list_executions(partition, window, 1, counted=counted)
        return structs.replace(listed, rows=listed.rows[::-1])


def test_what_a_list_kept_back_for_a_while_is_found_by_the_next_pass(bench: ToyBench, world: World) -> None:
    world.fill(120)
    source = Repeating(world)
    assert bench.run(source).disputed > 0
    assert bench.value("SELECT count(*) FROM history.executions") < len(world.runs)
    source.lies = False
    world.now += timedelta(hours=2)
    assert bench.run(source).is_complete
    assert bench.value("SELECT count(*) FROM history.executions") == len(world.runs)
    assert bench.value("SELECT count(*) FROM syncer.window_audit WHERE resolved_at IS NULL") == 0


def test_what_was_kept_back_until_the_source_deleted_it_is_listed_as_lost(
    bench: ToyBench, world: World
) -> None:
    world.fill(120)
    bench.run(Repeating(world))
    world.now += timedelta(days=70)
    world.runs.clear()
    assert bench.run(Ascending(world)).lost
    verdicts = bench.rows("SELECT DISTINCT verdict FROM syncer.window_audit WHERE resolved_at IS NULL")
    assert verdicts == [("lost",)]


def test_a_window_that_cannot_be_read_again_is_named_by_its_partition(
    bench: ToyBench, world: World, source: Toy
) -> None:
    world.workflow_ids = ["w1"]
    world.fill(2)
    world.twist.total = lambda total: total + 1
    bench.run(source)
    owe_at_once(bench)

    def cough(_number: int) -> None:
        if world.requests[-1] == "counted executions":
            raise TransientError("this one coughs")

    world.twist.before_request = cough
    report = bench.run(source)
    assert {(each.stream, each.partition, each.message) for each in report.failures} == {
        ("executions", "w1", "this one coughs")
    }
    noted = "SELECT partition, last_error FROM syncer.watermarks WHERE last_error IS NOT NULL"
    assert bench.rows(noted) == [("w1", "this one coughs")]


class Counting(Ascending):
    """Keeps which windows it was asked for with a total."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.counted: set[tuple[str, Window]] = set()

    async def list_executions(
        self, partition: str, window: Window, page: int, *, counted: bool = False
    ) -> Page[Execution]:
        if counted:
            self.counted.add((partition, window))
        return await super().list_executions(partition, window, page, counted=counted)


def test_what_is_owed_is_lost_where_it_is_no_longer_served_and_else_read_as_far_as_it_is(
    bench: ToyBench, world: World
) -> None:
    source = Counting(world)
    bench.run(source)
    horizon = NOW - timedelta(days=30) + timedelta(minutes=1)

    def owe(start: int, end: int, partition: str = "w1", name: str = "toy") -> Window:
        window = Window(horizon + start * HOUR, horizon + end * HOUR)
        with bench.engine.begin() as db:
            note_window(db, name, partition, Finding(window, "disputed", 5, 3), NOW)
        return window

    gone = [owe(-72, -48), owe(-24, 0)]
    served, in_part = owe(24, 48), owe(-1, 1, "w2")
    owe(-72, -48, name="other")
    report = bench.run(source)
    assert sorted(report.lost) == [f"w1 {window}" for window in gone]
    assert source.counted == {("w1", served), ("w2", Window(horizon, in_part.end))}
    query = (
        "SELECT connection_id, partition, window_start, verdict, resolved_at IS NULL, read_again_at IS NULL"
        " FROM syncer.window_audit ORDER BY 1, 2, 3"
    )
    assert bench.rows(query) == [
        ("other", "w1", gone[0].start, "disputed", True, True),
        *(("toy", "w1", window.start, "lost", True, True) for window in gone),
        ("toy", "w1", served.start, "disputed", False, False),
        ("toy", "w2", in_part.start, "disputed", False, False),
    ]
    assert bench.run(source).lost == [], "it is told once"
