"""What a pass says of itself, what it asks for, and what becomes of each thing that goes wrong on the way."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec import UNSET, structs
from structlog.testing import capture_logs

from syncer.decode.payload import Payload
from syncer.errors import (
    AuthError,
    ContractError,
    Forbidden,
    NotFound,
    RateLimited,
    RecordError,
    Stopped,
    SyncerError,
    TransientError,
    Unreachable,
)
from syncer.model import Execution, ExecutionRef, Look, Page, Reject, StepAnswer, Window, Workflow
from syncer.state.quarantine import open_records
from syncer.state.watermarks import add_entry
from syncer.sync import Report, Session, Tenant, backfill, estimate, sync
from syncer.sync.hints import Hint, Hints
from syncer.sync.replay import Replayed, replay
from syncer.sync.report import Failure
from tests.conformance.conftest import ToyBench
from tests.conformance.toys import NOW, Ascending, NewestFirst, OffsetCapped, Run, Toy, Twist, World
from tests.passes import Work, settings

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


class Faulty(Ascending):
    """Raises what it is told to, for the records it is told to."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.faults: dict[str, SyncerError] = {}

    def fail(self, name: str) -> None:
        if name in self.faults:
            raise self.faults[name]

    async def list_workflows(self, page: int) -> Page[Workflow]:
        self.fail("workflows")
        return await super().list_workflows(page)

    async def read_workflow(self, workflow_id: str) -> Workflow:
        self.fail(workflow_id)
        return await super().read_workflow(workflow_id)

    async def list_executions(
        self, partition: str, window: Window, page: int, *, counted: bool = False
    ) -> Page[Execution]:
        self.fail(f"list {partition}")
        return await super().list_executions(partition, window, page, counted=counted)

    async def read_execution(self, ref: ExecutionRef) -> Look:
        self.fail(f"row {ref.execution_id}")
        return await super().read_execution(ref)

    async def read_steps(self, ref: ExecutionRef) -> StepAnswer:
        self.fail(f"steps {ref.execution_id}")
        return await super().read_steps(ref)


def states(bench: ToyBench) -> dict[str, tuple[Any, ...]]:
    query = "SELECT execution_id, outcome, steps_state, settled_at IS NOT NULL, missing_reason FROM history.executions"
    return {key: tuple(rest) for key, *rest in bench.rows(query)}


def test_a_report_counts_what_a_pass_did(bench: ToyBench, world: World) -> None:
    for number in range(26):
        world.add(f"w{number % 2 + 1}", NOW - 2 * HOUR - number * DAY / 2)
    world.add("w1", NOW - 5 * MINUTE, lasts=None)
    report = bench.run(Ascending(world))
    assert report.connection_id == "toy"
    assert report.rows == Counter(
        {"workflows": 2, "executions": 27, "step_events": 53, "steps": 27, "step_io": 26}
    )
    assert (report.steps_read, report.steps_expected) == (27, 27)
    assert (report.failures, report.disputed, report.quarantined, report.missing, report.lost) == (
        [],
        0,
        0,
        0,
        [],
    )
    assert (report.phase, report.unserved, report.waiting_until, report.held_by) == ("", None, None, None)
    assert (report.stopped, report.error, report.is_complete, report.state) == (None, None, True, "done")


def test_a_report_counts_what_was_put_aside_and_what_is_missing(bench: ToyBench, world: World) -> None:
    runs = [world.add("w1", NOW - minute * MINUTE) for minute in range(5, 15)]
    for run in runs[:3]:
        run.is_broken = True
    report = bench.run(Ascending(world))
    assert (report.quarantined, report.rows["executions"], report.missing) == (3, 7, 0)
    for run in runs[:5]:
        del world.runs[run.execution_id]
    report = bench.run(Ascending(world))
    assert (report.quarantined, report.missing) == (0, 2)
    world.workflow_ids.remove("w2")
    assert bench.run(Ascending(world)).missing == 1


def test_put_aside_are_the_record_the_reason_and_where_it_stood(bench: ToyBench, world: World) -> None:
    world.add("w1", NOW - 5 * MINUTE).is_broken = True
    bench.run(Ascending(world))
    query = "SELECT connection_id, stream, partition, reason, raw, times FROM syncer.quarantine"
    assert bench.rows(query) == [("toy", "executions", "w1", "it has no id", b'{"n":"e00000"}', 1)]


class OddWorkflows(Ascending):
    """One of its workflows has no usable record."""

    is_odd = True

    async def list_workflows(self, page: int) -> Page[Workflow]:
        listed = await super().list_workflows(page)
        odd = (Reject(raw=b'{"id":"w9"}', reason="it is odd", identity="w2"),)
        return structs.replace(listed, rows=listed.rows[:1], rejects=odd) if self.is_odd else listed


def test_a_workflow_put_aside_is_listed_until_a_good_copy_lands(bench: ToyBench, world: World) -> None:
    source = OddWorkflows(world)
    assert bench.run(source).quarantined == 1
    query = "SELECT stream, partition, identity, reason, resolved_at FROM syncer.quarantine"
    assert bench.rows(query) == [("workflows", "", "w2", "it is odd", None)]
    source.is_odd = False
    bench.run(source)
    assert bench.value("SELECT count(*) FROM syncer.quarantine WHERE resolved_at IS NULL") == 0


def test_a_failure_says_where_and_what_and_all_else_is_copied(bench: ToyBench, world: World) -> None:
    world.fill(2)
    source = Faulty(world)
    source.faults["list w1"] = ContractError("it is odd", hint="look at it")
    report = bench.run(source)
    failed = Failure(stream="executions", partition="w1", message="it is odd", hint="look at it")
    assert set(map(str, report.failures)) == {str(failed)}
    assert (report.is_complete, report.did_nothing, report.state, report.error) == (
        False,
        False,
        "partial",
        None,
    )
    query = "SELECT workflow_id, count(*) FROM history.executions GROUP BY 1"
    assert bench.rows(query) == [("w2", 2)]
    query = "SELECT partition, last_error FROM syncer.watermarks WHERE last_error_at IS NOT NULL"
    assert bench.rows(query) == [("w1", "it is odd")]
    source.faults.clear()
    bench.run(source)
    assert bench.value("SELECT count(last_error) FROM syncer.watermarks") == 0


def test_a_source_that_fails_three_times_in_a_row_is_away(bench: ToyBench, world: World) -> None:
    world.workflow_ids = [f"w{number}" for number in range(9)]
    world.fill(1)
    source = Faulty(world)
    bench.run(source)
    world.requests.clear()
    source.faults.update({f"list {each}": TransientError("no answer") for each in world.workflow_ids})
    report = bench.run(source)
    assert 3 <= len(report.failures) < len(world.workflow_ids)  # those under way come to their end, too
    assert report.error is not None
    assert (report.error.message, report.error.connection, report.error.stream) == (
        "no answer",
        "toy",
        "executions",
    )
    assert report.state == "failed"


def test_a_source_that_answers_in_between_is_not_away(bench: ToyBench, world: World) -> None:
    async def coughs(session: Session) -> Report:
        async def work(item: int) -> bool:
            if item % 3:
                raise TransientError("no answer")
            return True

        await session.each("executions", range(9), work, workers=1, name=lambda item: f"number {item}")
        return session.report

    report = bench.run(Ascending(world), coughs)
    assert [each.partition for each in report.failures] == [f"number {n}" for n in (1, 2, 4, 5, 7, 8)]


def test_answers_that_cannot_be_trusted_do_not_mean_that_the_source_is_away(
    bench: ToyBench, world: World
) -> None:
    async def odd(session: Session) -> Report:
        async def work(item: int) -> bool:
            raise ContractError("odd") if item == 2 else TransientError("no answer")

        await session.each("steps", range(5), work, workers=1)
        return session.report

    assert len(bench.run(Ascending(world), odd).failures) == 5


def test_refused_credentials_end_the_pass(bench: ToyBench, world: World) -> None:
    source = Faulty(world)
    source.faults["workflows"] = AuthError("credentials refused", hint="renew them")
    report = bench.run(source)
    assert str(report.error) == "toy: credentials refused (renew them)"
    assert (report.did_nothing, report.state) == (True, "failed")


def test_without_the_right_to_list_workflows_nothing_can_be_done(bench: ToyBench, world: World) -> None:
    source = Faulty(world)
    source.faults["workflows"] = Forbidden("not allowed", hint="ask")
    report = bench.run(source)
    assert type(report.error) is AuthError
    assert (report.error.message, report.error.hint) == ("not allowed", "ask")


def test_a_pass_narrowed_to_some_workflows_copies_theirs_alone_but_lists_all(
    bench: ToyBench, world: World
) -> None:
    world.fill(2)
    report = bench.run(Ascending(world), lambda session: sync(session, ["w2"]))
    assert report.is_complete
    assert bench.rows("SELECT DISTINCT workflow_id FROM history.executions") == [("w2",)]
    assert bench.value("SELECT count(*) FROM history.workflows") == 2
    assert bench.value("SELECT count(*) FROM history.executions WHERE steps_state = 'read'") == 2


def test_narrowed_passes_leave_open_executions_and_steps_of_others_alone(
    bench: ToyBench, world: World
) -> None:
    for workflow in ("w1", "w2"):
        world.add(workflow, NOW - 2 * DAY, lasts=None)
    bench.run(Ascending(world))
    for run in world.runs.values():
        world.end(run)
    world.now += 10 * MINUTE
    bench.run(Ascending(world), lambda session: sync(session, ["W1"]))
    assert states(bench) == {
        "e00000": ("succeeded", "read", True, None),
        "e00001": ("running", "read", False, None),
    }


def test_workflows_that_are_not_configured_are_not_copied(bench: ToyBench, world: World) -> None:
    world.fill(2)
    assert bench.run(Ascending(world), workflows=("W2",)).rows["workflows"] == 1
    assert bench.rows("SELECT workflow_id FROM history.workflows") == [("w2",)]
    assert bench.rows("SELECT DISTINCT workflow_id FROM history.executions") == [("w2",)]


def test_known_workflows_are_read_where_the_list_fails_today(bench: ToyBench, world: World) -> None:
    source = Faulty(world)
    bench.run(source)
    world.add("w1", NOW - 5 * MINUTE)
    world.add("w2", NOW - 5 * MINUTE)
    source.faults["workflows"] = TransientError("no list", hint="look later")
    report = bench.run(source)
    assert [failure.message for failure in report.failures] == ["no list"]
    assert bench.value("SELECT count(*) FROM history.executions") == 2
    report = bench.run(source, lambda session: sync(session, ["w1"]), workflows=("w2",))
    assert report.error is not None
    assert (report.error.message, report.error.hint, report.state) == ("no list", "look later", "failed")


def test_a_definition_is_asked_for_once_per_revision(bench: ToyBench, world: World) -> None:
    bench.run(Ascending(world))
    assert world.requests.count("workflow") == 2
    assert bench.rows("SELECT definition, name, revision FROM history.workflows ORDER BY 1, 2") == [
        ({"n": 1}, "W1", "r1"),
        ({"n": 1}, "W2", "r1"),
    ]
    bench.run(Ascending(world))
    assert world.requests.count("workflow") == 2


class Dated(Ascending):
    """Tells when a workflow changed, and no revision; may carry the definition in the list."""

    updated_at: datetime | None = NOW
    definition: Any = UNSET

    async def list_workflows(self, page: int) -> Page[Workflow]:
        listed = await super().list_workflows(page)
        rows = tuple(
            structs.replace(
                row,
                revision=UNSET,
                updated_at=self.updated_at,
                definition=self.definition,
                nodes=UNSET if self.definition is UNSET else (),
            )
            for row in listed.rows
        )
        return structs.replace(listed, rows=rows)


def test_without_a_revision_a_definition_is_asked_for_when_its_workflow_changed(
    bench: ToyBench, world: World
) -> None:
    source = Dated(world)
    bench.run(source)
    bench.run(source)
    assert world.requests.count("workflow") == 2
    source.updated_at = NOW + MINUTE
    bench.run(source)
    assert world.requests.count("workflow") == 4
    assert bench.value("SELECT count(*) FROM history.workflow_revisions WHERE length(revision) = 32") == 2


def test_a_definition_that_the_list_carries_is_not_asked_for(bench: ToyBench, world: World) -> None:
    source = Dated(world)
    source.definition = b'{"listed":true}'
    bench.run(source)
    assert "workflow" not in world.requests
    assert bench.rows("SELECT DISTINCT definition FROM history.workflow_revisions") == [({"listed": True},)]


@pytest.mark.parametrize(
    "error", [NotFound("gone"), TransientError("no"), ContractError("odd"), Forbidden("not this")]
)
def test_a_definition_that_cannot_be_had_is_asked_for_again(
    bench: ToyBench, world: World, error: SyncerError
) -> None:
    source = Faulty(world)
    source.faults["w1"] = error
    report = bench.run(source)
    own = [] if isinstance(error, NotFound) else [("workflows", "w1", error.message)]
    assert [(each.stream, each.partition, each.message) for each in report.failures] == own
    assert bench.rows("SELECT workflow_id, name, revision FROM history.workflows ORDER BY 1") == [
        ("w1", "W1", None),
        ("w2", "W2", "r1"),
    ]
    source.faults.clear()
    bench.run(source)
    assert bench.value("SELECT count(*) FROM history.workflows WHERE revision = 'r1'") == 2


@pytest.mark.parametrize(("hours", "reason"), [(1, "gone"), (31 * 24, "aged_out")])
def test_a_single_execution_that_is_not_found_is_gone_or_beyond_the_horizon(
    bench: ToyBench, world: World, hours: int, reason: str
) -> None:
    run = world.add("w1", NOW - 2 * HOUR, lasts=None)
    bench.run(Ascending(world), horizon=timedelta(days=365))
    with bench.engine.begin() as db:
        db.exec_driver_sql("UPDATE history.executions SET created_at = %s", (NOW - timedelta(hours=hours),))
    del world.runs[run.execution_id]
    world.requests.clear()
    report = bench.run(Ascending(world))
    assert states(bench)[run.execution_id][3] == reason
    assert report.missing == (1 if reason == "gone" else 0)


class StepsInDetails(Ascending):
    """Its answer for one execution carries the steps too."""

    async def read_execution(self, ref: ExecutionRef) -> Look:
        look = await super().read_execution(ref)
        answer = await super().read_steps(ref)
        rejects = (Reject(raw=b"{}", reason="it has no time", identity=None),)
        return structs.replace(look, steps=structs.replace(answer, rejects=rejects))


def test_steps_that_come_with_an_execution_land_with_it(bench: ToyBench, world: World) -> None:
    run = world.add("w1", NOW - 2 * DAY, lasts=None)
    bench.run(StepsInDetails(world))
    world.end(run)
    world.now += 10 * MINUTE
    world.requests.clear()
    report = bench.run(StepsInDetails(world))
    assert states(bench) == {"e00000": ("succeeded", "read", True, None)}
    assert report.rows["executions"] == 1
    assert (report.rows["step_events"], report.rows["steps"]) == (1, 1)
    assert world.requests.count("steps") == 1
    query = "SELECT stream, partition, reason FROM syncer.quarantine"
    assert bench.rows(query) == [("steps", "e00000", "it has no time")]


def test_steps_that_are_not_found_are_gone(bench: ToyBench, world: World) -> None:
    world.add("w1", NOW - HOUR)
    source = Faulty(world)
    source.faults["steps e00000"] = NotFound("gone")
    assert bench.run(source).is_complete
    assert states(bench) == {"e00000": ("succeeded", "gone", True, None)}


@pytest.mark.parametrize("error", [TransientError("no"), ContractError("odd"), Forbidden("not this")])
def test_steps_that_cannot_be_read_wait_a_minute_and_hold_up_no_other(
    bench: ToyBench, world: World, error: SyncerError
) -> None:
    for minute in range(5, 45):
        world.add("w1", NOW - HOUR - minute * MINUTE)
    source = Faulty(world)
    source.faults["steps e00007"] = error
    report = bench.run(source)
    assert [(each.stream, each.partition, each.message) for each in report.failures] == [
        ("steps", "w1/e00007", error.message)
    ]
    assert (report.steps_read, report.steps_expected) == (39, 40)
    assert Counter(state for _, state, *_ in states(bench).values()) == {"read": 39, "due": 1}
    wait = "_steps_retry_at - synced_at"
    assert bench.rows(f"SELECT _steps_tries, {wait} FROM history.executions WHERE _steps_tries > 0") == [
        (1, MINUTE)
    ]


class UnstorableSteps(Ascending):
    """The steps of one of its executions cannot be stored."""

    unstorable = "e00001"

    async def read_steps(self, ref: ExecutionRef) -> StepAnswer:
        answer = await super().read_steps(ref)
        if ref.execution_id != self.unstorable:
            return answer
        broken = Payload(value=b'"\\u0000"', state="decoded", size=1, raw=None, redacted_paths=())
        events = tuple(structs.replace(each, output=broken) for each in answer.events)
        return structs.replace(answer, events=events)


class Away(Ascending):
    """Nobody answers where steps are asked for."""

    async def read_steps(self, ref: ExecutionRef) -> StepAnswer:
        raise Unreachable("cannot reach the source: connection refused")


def test_a_source_that_is_away_counts_against_no_execution(bench: ToyBench, world: World) -> None:
    world.fill(8)
    for _ in range(5):
        assert bench.run(Away(world)).failures
        assert set(
            bench.rows("SELECT steps_state, _steps_tries, _steps_retry_at FROM history.executions")
        ) == {("due", 0, None)}
    assert bench.run(Ascending(world)).is_complete
    assert bench.rows("SELECT DISTINCT steps_state FROM history.executions") == [("read",)]


def test_steps_that_postgresql_refuses_are_listed_and_tried_again(bench: ToyBench, world: World) -> None:
    for minute in range(3):
        world.add("w1", NOW - HOUR - minute * MINUTE)
    source = UnstorableSteps(world)
    bench.run(source)
    assert Counter(state for _, state, *_ in states(bench).values()) == {"read": 2, "due": 1}
    query = "SELECT connection_id, stream, partition, identity, reason, resolved_at IS NULL FROM syncer.quarantine"
    refused = ("toy", "steps", "e00001", "e00001", "PostgreSQL cannot store it: UntranslatableCharacter")
    assert bench.rows(query) == [(*refused, True)]
    tries = "SELECT _steps_tries, _steps_retry_at - synced_at FROM history.executions WHERE _steps_tries > 0"
    assert bench.rows(tries) == [(1, MINUTE)]
    source.unstorable = ""
    bench.end_pauses()
    bench.run(source)
    assert Counter(state for _, state, *_ in states(bench).values()) == {"read": 3}
    assert bench.rows(query) == [(*refused, False)]


def test_steps_that_postgresql_refused_are_resolved_when_the_source_has_them_no_more(
    bench: ToyBench, world: World
) -> None:
    for minute in range(3):
        world.add("w1", NOW - HOUR - minute * MINUTE)
    bench.run(UnstorableSteps(world))
    del world.runs["e00001"]
    bench.end_pauses()
    bench.run(UnstorableSteps(world))
    assert states(bench)["e00001"][1] == "gone"
    assert bench.rows("SELECT identity FROM syncer.quarantine WHERE resolved_at IS NULL") == []


class RejectedSteps(Ascending):
    """One event of each of its `odd` executions cannot be used."""

    odd: tuple[str, ...] = ("e00000", "e00001")

    async def read_steps(self, ref: ExecutionRef) -> StepAnswer:
        answer = await super().read_steps(ref)
        if ref.execution_id not in self.odd:
            return answer
        good, bad = answer.events
        reject = Reject(raw=bad.event_id.encode(), reason="it is odd", identity=bad.event_id)
        return structs.replace(answer, events=(good,), rejects=(reject,))


def test_events_put_aside_stand_under_their_execution_until_they_themselves_land(
    bench: ToyBench, world: World
) -> None:
    for minute in (1, 2):
        world.add("w1", NOW - HOUR - minute * MINUTE)
    source = RejectedSteps(world)
    bench.run(source)
    query = (
        "SELECT connection_id, stream, partition, identity, reason, times, resolved_at IS NULL"
        " FROM syncer.quarantine ORDER BY identity"
    )
    put = {key: ("toy", "steps", key, f"{key}-2", "it is odd") for key in world.runs}
    assert bench.rows(query) == [(*put["e00000"], 1, True), (*put["e00001"], 1, True)]
    assert {state for _, state, *_ in states(bench).values()} == {"read"}
    source.odd = ("e00000",)
    with bench.engine.begin() as db:
        db.exec_driver_sql("UPDATE history.executions SET steps_state = 'due'")
    bench.run(source)
    assert bench.rows(query) == [(*put["e00000"], 2, True), (*put["e00001"], 1, False)]


LOOKBACK = settings().lookback
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("began", "lasts", "state"),
    [
        (LOOKBACK + MINUTE, MINUTE + SECOND, "due"),
        (LOOKBACK + MINUTE, MINUTE, "gone"),
        (2 * DAY, 2 * DAY - SECOND, "due"),
        (LOOKBACK - SECOND, None, "due"),
        (LOOKBACK, None, "gone"),
    ],
)
def test_steps_that_are_not_found_are_put_off_while_their_execution_is_so_young_that_they_may_be_late(
    bench: ToyBench, world: World, began: timedelta, lasts: timedelta | None, state: str
) -> None:
    world.add("w1", NOW - began, lasts=lasts)
    world.add("w1", NOW - HOUR)
    source = Faulty(world)
    source.faults["steps e00000"] = NotFound("no steps")
    report = bench.run(source)
    assert report.is_complete, "that they are late is no failure"
    wait = "_steps_retry_at - synced_at"
    query = f"SELECT steps_state, _steps_tries, {wait} FROM history.executions ORDER BY execution_id"
    late = ("due", 1, MINUTE)
    assert bench.rows(query) == [late if state == "due" else (state, 0, None), ("read", 0, None)]


def test_no_lease_is_held_while_steps_wait_for_what_the_source_allows(
    bench: ToyBench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for minute in range(40):
        world.add("w1", NOW - HOUR - minute * MINUTE)
    until, held = bench.time.now + 5 * MINUTE, []

    def limit(_number: int) -> None:
        if world.requests.count("steps") > 20 and bench.time.now < until:
            raise RateLimited("slow down", until)

    world.twist = Twist(before_request=limit)

    async def watched(session: Session) -> Report:
        doze = session.gate.doze

        async def watched_doze(seconds: float, check: Callable[[], None]) -> None:
            held.extend(bench.rows("SELECT stream, lane FROM syncer.leases WHERE owner IS NOT NULL"))
            held.append(bench.value("SELECT count(*) FROM history.executions WHERE steps_state = 'read'"))
            await doze(seconds, check)

        monkeypatch.setattr(session.gate, "doze", watched_doze)
        return await sync(session)

    assert bench.run(Ascending(world), watched).is_complete
    assert held == [20], "what was read before has landed"
    assert {state for _, state, *_ in states(bench).values()} == {"read"}
    assert bench.time.slept == 5 * MINUTE


def test_steps_are_read_round_by_round_until_none_is_due(
    bench: ToyBench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncer.sync.steps.ROUND", 5)
    for minute in range(12):
        world.add("w1", NOW - HOUR - minute * MINUTE)
    report = bench.run(Ascending(world))
    assert (report.steps_read, report.steps_expected, world.requests.count("steps")) == (12, 12, 12)


def test_steps_of_a_row_that_always_changes_after_they_were_asked_for_end_the_pass_and_stay_due(
    bench: ToyBench, world: World
) -> None:
    world.add("w1", NOW - HOUR)
    source = Ascending(world)
    bench.run(source)
    with bench.engine.begin() as db:
        db.exec_driver_sql(
            "UPDATE history.executions SET steps_state = 'due', _asked_at = _asked_at + interval '1 day'"
        )
    world.requests.clear()

    def count(number: int) -> None:
        assert number < 50, "the same steps are read for ever"

    world.twist = Twist(before_request=count)
    assert bench.run(source).is_complete
    assert bench.value("SELECT steps_state FROM history.executions") == "due"
    assert world.requests.count("steps") == 2, "once in either turn of the pass"


def test_what_left_the_horizon_uncopied_is_listed_and_the_unbroken_span_begins_behind_it(
    bench: ToyBench, world: World
) -> None:
    world.add("w1", NOW - HOUR)
    bench.run(Ascending(world), steps=False)
    mark = bench.value(
        "SELECT watermark_at FROM syncer.watermarks WHERE partition = 'w1' AND stream = 'executions'"
    )
    world.now += 40 * DAY
    bench.time.now += 40 * DAY
    world.add("w1", world.now - HOUR)
    with bench.engine.begin() as db:
        db.exec_driver_sql("UPDATE syncer.watermarks SET asked_at = asked_at - interval '40 days'")
    report = bench.run(Ascending(world), steps=False)
    horizon = world.now - 30 * DAY + MINUTE
    span = Window(mark, horizon)
    assert min(report.lost) == f"w1 {span}"
    query = "SELECT partition, window_start, window_end, verdict FROM syncer.window_audit ORDER BY 1"
    assert bench.rows(query)[0] == ("w1", mark, horizon, "lost")
    query = "SELECT complete_from FROM syncer.watermarks WHERE partition = 'w1' AND stream = 'executions'"
    assert bench.rows(query) == [(horizon,)]
    assert bench.value("SELECT count(*) FROM history.executions") == 2


def test_a_backfill_says_which_part_is_no_longer_served(bench: ToyBench, world: World) -> None:
    world.fill(3)
    since = NOW - 40 * DAY
    report = bench.run(Ascending(world), lambda session: backfill(session, since, NOW - DAY))
    assert report.unserved == str(Window(since, NOW - 30 * DAY + MINUTE))
    report = bench.run(Ascending(world), lambda session: backfill(session, since, NOW - 35 * DAY))
    assert report.unserved == str(Window(since, NOW - 35 * DAY))
    report = bench.run(Ascending(world), lambda session: backfill(session, NOW - DAY, None))
    assert report.unserved is None


def test_a_backfill_copies_its_span_and_its_steps_alone(bench: ToyBench, world: World) -> None:
    for day in range(1, 9):
        world.add("w1", NOW - day * DAY)
        world.add("w2", NOW - day * DAY)

    def some(session: Session) -> Any:
        return backfill(session, NOW - 6 * DAY, NOW - 3 * DAY, ["w1"])

    report = bench.run(Ascending(world), some)
    assert report.is_complete
    found = "SELECT workflow_id, created_at, steps_state FROM history.executions ORDER BY 2"
    due = ("w1", NOW - 3 * DAY, "due")  # the end does not belong to the span
    assert bench.rows(found) == [*(("w1", NOW - day * DAY, "read") for day in (6, 5, 4)), due]
    query = "SELECT partition, kind, since, until, state FROM syncer.backfill_windows"
    assert bench.rows(query) == [("w1", "backfill", NOW - 6 * DAY, NOW - 3 * DAY, "done")]


def test_a_backfill_leaves_steps_of_what_was_created_before_and_after_it_alone(
    bench: ToyBench, world: World
) -> None:
    for day in range(1, 7):
        world.add("w1", NOW - day * DAY)
    source = Ascending(world)

    def day_before(days: int) -> Work:
        return lambda session: backfill(session, NOW - (days + 1) * DAY, NOW - days * DAY)

    # The end of a span does not belong to it: what was created just then is copied and its steps stay due.
    for days in (5, 1, 3):
        bench.run(source, day_before(days))
    found = "SELECT created_at, steps_state FROM history.executions ORDER BY 1"
    read = {6: "read", 5: "due", 4: "read", 3: "due", 2: "read", 1: "due"}
    assert bench.rows(found) == [(NOW - day * DAY, state) for day, state in read.items()]


def test_an_unfinished_backfill_without_an_end_goes_on_where_it_stood_up_to_the_new_now(
    bench: ToyBench, world: World
) -> None:
    world.workflow_ids = ["w1"]
    for day in range(1, 10):
        world.add("w1", NOW - day * DAY)
    source, since = Ascending(world, page_size=2), NOW - 10 * DAY

    def up_to_now(session: Session) -> Any:
        return backfill(session, since, None)

    def cut(_number: int) -> None:
        if world.requests.count("executions") == 3:
            raise TransientError("cut short")

    world.twist = Twist(before_request=cut)
    assert not bench.run(source, up_to_now).is_complete
    ledger = "SELECT connection_id, since, until, state FROM syncer.backfill_windows ORDER BY 1"
    assert bench.rows(ledger) == [("toy", since, NOW, "open")]
    assert bench.value("SELECT position FROM syncer.backfill_windows") > since
    with bench.engine.begin() as db:
        add_entry(db, "other", "w1", Window(since, NOW), "backfill", NOW)
    world.twist = Twist()
    world.now += DAY
    world.add("w1", NOW + HOUR)
    report = bench.run(source, up_to_now)
    assert bench.rows(ledger) == [("other", since, NOW, "open"), ("toy", since, NOW + DAY, "done")]
    assert report.is_complete
    assert bench.value("SELECT count(*) FROM history.executions") == len(world.runs)
    assert report.rows["executions"] < len(world.runs), "what was copied before the cut is not read again"


def guess(
    bench: ToyBench, source: Toy, since: timedelta, until: timedelta | None = None, **changes: Any
) -> Any:
    found = []

    async def ask(session: Session) -> Report:
        end = None if until is None else NOW - until
        found.append(await estimate(session, NOW - since, end, changes.pop("only", ())))
        return session.report

    bench.run(source, ask, **{name: value for name, value in changes.items() if name != "only"})
    return found[0]


def test_an_estimate_asks_once_per_partition_and_counts_pages_and_steps(
    bench: ToyBench, world: World
) -> None:
    for number in range(25):
        world.add("w1", NOW - DAY - number * MINUTE)
    world.add("w2", NOW - DAY)
    made = guess(bench, Ascending(world), 2 * DAY)
    assert (made.served, made.unserved) == (Window(NOW - 2 * DAY, NOW), None)
    assert made.executions == {"w1": 25, "w2": 1}
    assert (made.list_requests, made.step_requests, made.requests) == (4, 26, 30)
    assert world.requests.count("counted executions") == 2
    assert guess(bench, Ascending(world), 2 * DAY, steps=False).requests == 4
    assert guess(bench, Ascending(world), 2 * DAY, only=["w2"]).executions == {"w2": 1}
    assert guess(bench, Ascending(world), 2 * DAY, DAY).executions == {"w1": 25, "w2": 1}
    assert guess(bench, Ascending(world), 3 * DAY, 2 * DAY).executions == {"w1": 0, "w2": 0}


def test_an_estimate_knows_what_is_not_served_and_what_is_not_told(bench: ToyBench, world: World) -> None:
    world.add("w1", NOW - DAY)
    horizon = NOW - 30 * DAY + MINUTE
    made = guess(bench, NewestFirst(world), 40 * DAY)
    assert (made.served, made.unserved) == (Window(horizon, NOW), Window(NOW - 40 * DAY, horizon))
    assert (made.executions, made.list_requests, made.step_requests) == ({"w1": None, "w2": None}, 2, 0)
    made = guess(bench, Ascending(world), 40 * DAY, 35 * DAY)
    assert (made.served, made.unserved) == (None, Window(NOW - 40 * DAY, NOW - 35 * DAY))
    assert (made.executions, made.requests) == ({}, 0)
    assert bench.value("SELECT count(*) FROM history.executions") == 0


def test_a_wait_beyond_the_deadline_stops_the_work_in_good_order(bench: ToyBench, world: World) -> None:
    world.fill(2)
    until = bench.time.now + HOUR

    def limit(number: int) -> None:
        if number == 3:
            raise RateLimited("slow down", until)

    world.twist = Twist(before_request=limit)

    async def until_soon(session: Session) -> Report:
        return await sync(Session(tenant_of(session), deadline=bench.time.now + HOUR))

    report = bench.run(Ascending(world), until_soon)
    assert report.stopped == f"the source asks to wait until {until:%Y-%m-%d %H:%M:%S} UTC"
    assert (report.state, report.error, report.failures, report.waiting_until) == ("stopped", None, [], None)
    assert bench.time.slept == timedelta(0)


def tenant_of(session: Session) -> Tenant:
    """What a session was made of, to make another of it."""
    return Tenant(
        connection=session.connection,
        source=session.source,
        gate=session.gate,
        writer=session.writer,
        encoder=session.encoder,
        room=session.room,
        hints=session.hints,
    )


def test_a_wait_is_reported_while_it_lasts_and_written_down_for_others(
    bench: ToyBench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    until = bench.time.now + 5 * MINUTE
    seen: list[Any] = []

    def limit(number: int) -> None:
        if number == 1:
            raise RateLimited("slow down", until)

    world.twist = Twist(before_request=limit)

    async def watched(session: Session) -> Report:
        doze = session.gate.doze

        async def watched_doze(seconds: float, check: Callable[[], None]) -> None:
            seen.append(session.report.waiting_until)
            await doze(seconds, check)

        monkeypatch.setattr(session.gate, "doze", watched_doze)
        return await sync(session)

    report = bench.run(Ascending(world), watched)
    assert set(seen) == {until}
    assert (report.waiting_until, report.is_complete) == (None, True)
    assert bench.time.slept == 5 * MINUTE
    assert bench.value("SELECT reason FROM syncer.rate_limits") == "slow down"


def test_a_wait_of_several_lanes_is_told_once_with_what_the_source_said(
    bench: ToyBench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    until = bench.time.now + 5 * MINUTE
    limit = RateLimited("waiting until then: too often", until)
    dozed: list[float] = []

    async def doze(seconds: float, check: Callable[[], None]) -> None:
        dozed.append(seconds)
        check()

    async def refused(session: Session) -> Report:
        monkeypatch.setattr(session.gate, "doze", doze)
        session.gate.wait_until(until, "too often")
        await session.wait(limit)
        await Session(tenant_of(session), deadline=until + HOUR).wait(limit)
        return session.report

    with capture_logs() as logs:
        assert bench.run(Ascending(world), refused).waiting_until is None
    assert dozed == [300, 300]
    told = [each for each in logs if each["event"] == "waiting"]
    assert [(each["connection"], each["until"], each["reason"]) for each in told] == [
        ("toy", until.isoformat(timespec="seconds"), "too often")
    ]
    lasts = "round(extract(epoch FROM not_before - updated_at))"
    query = f"SELECT connection_id, reason, {lasts} FROM syncer.rate_limits"
    assert bench.rows(query) == [("toy", "too often", 300)]


def test_a_wait_hides_no_longer_one_that_another_process_was_told(bench: ToyBench, world: World) -> None:
    until = bench.time.now + 5 * MINUTE
    found: list[datetime | None] = []

    async def refused(session: Session) -> Report:
        with bench.engine.begin() as db:
            db.exec_driver_sql(
                "INSERT INTO syncer.rate_limits (connection_id, not_before, reason, updated_at)"
                " VALUES ('toy', clock_timestamp() + interval '1 day', 'too often', now())"
            )
        await session.wait(RateLimited("slow down", until))
        found.append(session.gate.not_before)
        return session.report

    bench.run(Ascending(world), refused)
    assert found[0] is not None
    assert found[0] > until + HOUR
    assert bench.value("SELECT not_before - updated_at > interval '1 hour' FROM syncer.rate_limits")


def test_a_wait_in_which_work_is_stopped_is_over(
    bench: ToyBench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    until = bench.time.now + HOUR
    seen: list[Any] = []

    async def stopped(session: Session) -> Report:
        async def doze(_seconds: float, check: Callable[[], None]) -> None:
            seen.append(session.report.waiting_until)
            session.gate.stop("asked to stop")
            check()

        monkeypatch.setattr(session.gate, "doze", doze)
        with pytest.raises(Stopped, match="asked to stop"):
            await session.wait(RateLimited("slow down", until))
        return session.report

    assert bench.run(Ascending(world), stopped).waiting_until is None
    assert seen == [until]


def test_work_that_another_process_is_at_is_tried_again_ever_more_rarely(
    bench: ToyBench, world: World
) -> None:
    tries: list[float] = []
    held: list[Any] = []

    async def busy(session: Session) -> Report:
        async def work(item: str) -> bool:
            tries.append(bench.time.slept.total_seconds())
            held.append(session.report.held_by)
            return len(tries) > 7

        await session.each("executions", ["w1"], work, workers=4)
        return session.report

    report = bench.run(Ascending(world), busy)
    assert tries == [0, 1, 3, 7, 15, 30, 45, 60]
    assert held == [None, *["another process"] * 7]
    assert report.held_by is None


def test_items_are_worked_on_once_each_and_no_more_at_a_time_than_there_are_workers(
    bench: ToyBench, world: World
) -> None:
    done: list[int] = []
    at_once: list[int] = []
    running = 0

    async def crowd(session: Session) -> Report:
        async def work(item: int) -> bool:
            nonlocal running
            running += 1
            at_once.append(running)
            await asyncio.sleep(0)
            running -= 1
            done.append(item)
            return True

        await session.each("executions", range(20), work, workers=3, name=lambda item: f"number {item}")
        return session.report

    bench.run(Ascending(world), crowd)
    assert sorted(done) == list(range(20))
    assert max(at_once) == 3


def test_an_error_of_nobody_s_own_ends_the_work_when_the_others_have_put_theirs_away(
    bench: ToyBench, world: World
) -> None:
    done: list[int] = []

    async def crash(session: Session) -> Report:
        async def work(item: int) -> bool:
            if item == 2:
                raise Stopped("enough")
            done.append(item)
            return True

        with pytest.raises(Stopped):
            await session.each("executions", range(9), work, workers=1)
        return session.report

    assert bench.run(Ascending(world), crash).failures == []
    assert done == [0, 1]


def test_a_hint_is_kept_with_the_instant_at_which_it_was_first_shown() -> None:
    hints = Hints()
    assert hints.of("w") is None
    hints.note("w", "1", NOW)
    hints.note("w", "1", NOW + MINUTE)
    assert hints.of("w") == Hint("1", NOW)
    hints.note("w", "2", NOW + 2 * MINUTE)
    hints.note("v", "1", NOW)
    assert hints.of("w") == Hint("2", NOW + 2 * MINUTE)
    hints.note("w", None, NOW + 3 * MINUTE)
    hints.note("never", None, NOW)
    hints.forget(["v", "unknown"])
    assert (hints.of("w"), hints.of("v")) == (None, None)


class Readable(Ascending):
    """Its records are JSON, of which those that lack an id cannot be used."""

    def decode_workflow(self, raw: bytes) -> Workflow:
        return Workflow(workflow_id=self._id(raw), name="replayed")

    def decode_execution(self, raw: bytes) -> Execution:
        noise = "x" * 20_000 if b"unstorable" in raw else "w1"
        run = Run(self._id(raw), noise, NOW - HOUR, NOW - HOUR / 2)
        return self._execution(run)

    def _id(self, raw: bytes) -> str:
        fields = json.loads(raw)
        if "id" not in fields:
            raise RecordError("it has no id")
        return str(fields["id"])


def put_aside(bench: ToyBench, stream: str, raw: bytes | None, partition: str = "w1") -> None:
    with bench.engine.begin() as db:
        db.exec_driver_sql(
            "INSERT INTO syncer.quarantine (connection_id, stream, partition, record_id, raw, reason, first_seen_at,"
            " last_seen_at, times) VALUES ('toy', %s, %s, md5(%s), %s, 'odd', %s, %s, 1)",
            (stream, partition, f"{stream}{partition}{raw!r}", raw, NOW - HOUR, NOW - HOUR / 4),
        )


def try_again(bench: ToyBench, source: Toy) -> tuple[int, list[str]]:
    found: list[Replayed] = []

    async def work(session: Session) -> Report:
        records = await session.writer.run(open_records)
        ids = {record["record_id"] for record in records}
        done = await replay(session, records)
        assert {*done.resolved, *(each.record_id for each in done.remaining)} == ids
        found.append(done)
        return session.report

    bench.run(source, work)
    return len(found[0].resolved), [each.reason for each in found[0].remaining]


def test_records_put_aside_land_when_they_can_be_read_and_stay_where_they_cannot(
    bench: ToyBench, world: World
) -> None:
    put_aside(bench, "workflows", b'{"id":"w7"}', "")
    put_aside(bench, "executions", b'{"id":"e7"}')
    put_aside(bench, "executions", b"{}")
    resolved, remaining = try_again(bench, Readable(world))
    assert (resolved, remaining) == (2, ["it has no id"])
    assert bench.rows("SELECT workflow_id, name, _asked_at FROM history.workflows") == [
        ("w7", "replayed", NOW - HOUR / 4)
    ]
    query = (
        "SELECT execution_id, _partition, _asked_at, settled_at, _final_at IS NULL FROM history.executions"
    )
    # By the source's clock the copy may be older by the lookback: half an hour after its end is just 0 minutes then.
    assert bench.rows(query) == [("e7", "w1", NOW - HOUR / 4, None, True)]
    assert bench.value("SELECT count(*) FROM syncer.quarantine WHERE resolved_at IS NULL") == 1


def test_a_record_of_which_nothing_was_kept_or_that_cannot_be_stored_stays(
    bench: ToyBench, world: World
) -> None:
    put_aside(bench, "executions", None)
    resolved, remaining = try_again(bench, Readable(world))
    assert (resolved, remaining) == (0, ["nothing of it was kept, because it might have held a secret"])


def test_steps_put_aside_are_due_again(bench: ToyBench, world: World) -> None:
    world.add("w1", NOW - HOUR)
    world.add("w1", NOW - 2 * HOUR)
    bench.run(Readable(world))
    with bench.engine.begin() as db:
        db.exec_driver_sql(
            "UPDATE history.executions SET _steps_tries = 5, steps_state = 'failed', _steps_retry_at = now()"
        )
    put_aside(bench, "steps", None, "e00000")
    put_aside(bench, "steps", b"{}", "unknown")
    resolved, remaining = try_again(bench, Readable(world))
    assert (resolved, remaining) == (1, ["its execution is not in the warehouse"])
    query = "SELECT execution_id, steps_state, _steps_tries, _steps_retry_at IS NULL FROM history.executions ORDER BY 1"
    assert bench.rows(query) == [("e00000", "due", 0, True), ("e00001", "failed", 5, False)]


def test_steps_put_aside_are_due_again_in_their_own_connection_alone(bench: ToyBench, world: World) -> None:
    world.add("w1", NOW - HOUR)
    for name in ("toy", "other"):
        bench.run(Readable(world), name=name)
    with bench.engine.begin() as db:
        db.exec_driver_sql("UPDATE history.executions SET _steps_tries = 5, steps_state = 'failed'")
    put_aside(bench, "steps", None, "e00000")
    assert try_again(bench, Readable(world)) == (1, [])
    query = "SELECT connection_id, steps_state, _steps_tries FROM history.executions ORDER BY 1"
    assert bench.rows(query) == [("other", "failed", 5), ("toy", "due", 0)]


def test_a_record_is_left_alone_while_another_process_is_at_work_there(bench: ToyBench, world: World) -> None:
    put_aside(bench, "executions", b'{"id":"e7"}')
    put_aside(bench, "workflows", b'{"id":"w7"}', "")
    bench.hold("executions", "w1", "open")
    resolved, remaining = try_again(bench, Readable(world))
    assert (resolved, remaining) == (1, ["another process is at work there: try again in a moment"])


def test_a_workspace_is_one_partition_for_all_its_workflows(bench: ToyBench, world: World) -> None:
    world.fill(5)
    assert bench.run(OffsetCapped(world)).is_complete
    query = "SELECT partition FROM syncer.watermarks WHERE stream = 'executions'"
    assert bench.rows(query) == [("space",)]
