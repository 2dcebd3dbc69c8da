"""Every field of every record missing, of another type, or not even text: one bad record costs one record at most."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import Engine

from syncer.simulator import Outline
from syncer.simulator.qualys_flow import Simulator
from syncer.simulator.qualys_flow.spoils import LONG_ID, Spoilt, Stream, spoil
from syncer.sync import backfill
from tests.integration.flows import assert_equal_to_truth
from tests.torture.hostile import HostileBench
from tests.torture.judge import differences
from tests.torture.table import FULL, SEED

AT_MOST = None if FULL else 50
"""Records spoiled in a test, None for every field and kind of damage."""

REQUIRED: dict[Stream, set[str]] = {
    "workflows": set(),
    "executions": {"workflow", "createdAt"},
    "steps": {"id", "execution", "nodeId", "createdAt"},
}
"""Fields without which there is no row. An unusable `id` is repeated elsewhere, but for steps."""


def lost(stream: Stream, spoilt: Collection[Spoilt]) -> set[str]:
    """Records without a usable identity."""
    return {each.record_id for each in spoilt if each.field in REQUIRED[stream]}


def stored(bench: HostileBench, table: str, column: str) -> set[str]:
    """Ids in a table of history."""
    return {row[0] for row in bench.rows(f"SELECT {column} FROM history.{table}")}


def put_aside(bench: HostileBench, stream: str) -> list[str]:
    """Identities of the records put aside."""
    query = f"SELECT identity FROM syncer.quarantine WHERE stream = '{stream}' AND resolved_at IS NULL"
    return [row[0] for row in bench.rows(query)]


def mend(simulator: Simulator, spoilt: Collection[Spoilt]) -> None:
    """Serve everything as it is again."""
    for each in spoilt:
        simulator.mend(each.record_id)


def test_a_spoiled_execution_lands_or_is_put_aside_and_comes_back_when_it_is_mended(engine: Engine) -> None:
    simulator = Simulator(
        Outline(seed=SEED, workflows=2, executions=150 if FULL else 40, running=3, steps=1, days=20)
    )
    spoilt = spoil(simulator, "executions", SEED, AT_MOST)
    with simulator.serve() as url:
        bench = HostileBench(engine, simulator, url, page_size=25)
        report = bench.once()
        assert report.is_complete, report
        assert set(put_aside(bench, "executions")) == lost("executions", spoilt)
        assert stored(bench, "executions", "execution_id") == simulator.truth.executions.keys() - lost(
            "executions", spoilt
        )
        assert differences(engine, simulator)["executions"].stale <= len(spoilt)

        mend(simulator, spoilt)
        simulator.end_all_running()
        bench.let_pass(1200)
        since = bench.clock.now() - timedelta(days=25)
        assert bench.once(lambda session: backfill(session, since, None)).is_complete
        bench.heal()
        bench.conclude("spoiled executions", len(spoilt))
        assert_equal_to_truth(bench, simulator)
        assert put_aside(bench, "executions") == []


def test_a_spoiled_workflow_lands_and_its_executions_with_it(engine: Engine) -> None:
    simulator = Simulator(
        Outline(seed=SEED, workflows=260 if FULL else 20, executions=1, running=0, steps=1, days=20)
    )
    spoilt = spoil(simulator, "workflows", SEED)
    with simulator.serve() as url:
        bench = HostileBench(engine, simulator, url, page_size=25)
        report = bench.once()
        assert report.is_complete, report
        assert put_aside(bench, "workflows") == []
        assert stored(bench, "workflows", "workflow_id") == simulator.truth.workflows.keys()
        assert stored(bench, "executions", "execution_id") == simulator.truth.executions.keys()

        mend(simulator, spoilt)
        assert bench.heal().is_complete
        # A step keeps the name that was known when it was written: none where the definition was spoiled.
        nameless = {each.record_id for each in spoilt if each.field == "definition"}
        bench.conclude("spoiled workflows", len(spoilt), stale={"steps": len(nameless)})


def test_a_spoiled_event_of_a_step_lands_or_is_put_aside_alone(engine: Engine) -> None:
    simulator = Simulator(
        Outline(seed=SEED, workflows=1, executions=60 if FULL else 30, running=0, steps=2, days=20)
    )
    spoilt = spoil(simulator, "steps", SEED, AT_MOST)
    with simulator.serve() as url:
        bench = HostileBench(engine, simulator, url, page_size=25)
        report = bench.once()
        assert report.is_complete, report
        events = {event.id for event in simulator.truth.events}
        assert len(put_aside(bench, "steps")) == len(lost("steps", spoilt))
        assert stored(bench, "step_events", "event_id") == events - lost("steps", spoilt)
        verdict = differences(engine, simulator)["step_events"]
        assert verdict.doubled == 0
        assert verdict.stale <= len(spoilt)
        assert bench.value("SELECT count(*) FROM history.executions WHERE steps_state <> 'read'") == 0

        mend(simulator, spoilt)
        with engine.begin() as db:
            db.exec_driver_sql("UPDATE history.executions SET steps_state = 'due'")
        assert bench.heal().is_complete
        bench.conclude("spoiled events", len(spoilt))
        assert put_aside(bench, "steps") == []


def test_records_with_ids_of_three_thousand_bytes_are_put_aside_and_all_others_land(engine: Engine) -> None:
    simulator = Simulator(Outline(seed=SEED, workflows=3, executions=4, running=0, steps=1, days=20))
    workflow = list(simulator.truth.workflows.values())[-1]
    execution, other = list(simulator.truth.executions.values())[:2]
    event = other.events[-1]
    for record_id, fields in (
        (workflow.id, ("id", "workflow")),
        (execution.id, ("id", "execution")),
        (event.id, ("id",)),
    ):
        for field in fields:
            simulator.spoil(record_id, field, "é" * (LONG_ID // 2))
    with simulator.serve() as url:
        bench = HostileBench(engine, simulator, url, page_size=25)
        report = bench.once()
        assert report.is_complete, report
        assert report.quarantined >= 2
        for stream in ("workflows", "executions", "steps"):
            assert len(put_aside(bench, stream)) == 1, stream
        served = [each for each in simulator.truth.executions.values() if each.workflow_id != workflow.id]
        assert stored(bench, "executions", "execution_id") == {each.id for each in served} - {execution.id}
        assert stored(bench, "workflows", "workflow_id") == simulator.truth.workflows.keys() - {workflow.id}
