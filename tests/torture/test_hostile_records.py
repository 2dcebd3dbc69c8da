"""Every field of every record missing, of another type, or not even text: one bad record costs one record at most."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import Engine

from syncer.simulator import Outline, Tenant
from syncer.simulator.spoils import LONG_ID, Spoilt, spoil
from syncer.sync import backfill
from tests.integration.flows import assert_equal_to_truth
from tests.platforms import Platform, each_platform
from tests.torture.hostile import HostileBench
from tests.torture.judge import differences
from tests.torture.table import FULL, SEED

pytestmark = each_platform()

AT_MOST = None if FULL else 50
"""Records spoiled in a test, None for every field and kind of damage."""


def spoiled(
    platform: Platform, simulator: Tenant, stream: str, at_most: int | None
) -> tuple[list[Spoilt], set[str]]:
    """What was spoiled of a stream, and those of them that are no record any more."""
    records = platform.records(simulator)[stream]
    spoilt = spoil(simulator, records.ids, records.fields, records.names, seed=SEED, at_most=at_most)
    return spoilt, {each.record_id for each in spoilt if each.field in records.required}


def stored(bench: HostileBench, table: str, column: str) -> set[str]:
    """Ids in a table of history."""
    return {row[0] for row in bench.rows(f"SELECT {column} FROM history.{table}")}


def put_aside(bench: HostileBench, stream: str) -> int:
    """How many records are put aside."""
    query = f"SELECT count(*) FROM syncer.quarantine WHERE stream = '{stream}' AND resolved_at IS NULL"
    return int(bench.value(query))


def mend(simulator: Tenant, spoilt: Collection[Spoilt]) -> None:
    """Serve everything as it is again."""
    for each in spoilt:
        simulator.mend(each.record_id)


def test_a_spoiled_execution_lands_or_is_put_aside_and_comes_back_when_it_is_mended(
    engine: Engine, platform: Platform
) -> None:
    simulator = platform.simulate(
        Outline(seed=SEED, workflows=2, executions=150 if FULL else 40, running=3, steps=1, days=20)
    )
    spoilt, lost = spoiled(platform, simulator, "executions", AT_MOST)
    with simulator.serve() as url:
        bench = HostileBench(engine, simulator, url, page_size=25)
        report = bench.once()
        assert report.is_complete, report
        assert put_aside(bench, "executions") == len(lost)
        assert stored(bench, "executions", "execution_id") == simulator.truth.executions.keys() - lost
        assert differences(engine, simulator)["executions"].stale <= len(spoilt)

        mend(simulator, spoilt)
        simulator.end_all_running()
        bench.let_pass(1200)
        since = bench.clock.now() - timedelta(days=25)
        assert bench.once(lambda session: backfill(session, since, None)).is_complete
        bench.heal()
        bench.conclude("spoiled executions", len(spoilt))
        assert_equal_to_truth(bench, simulator)
        own = platform.records(simulator)["executions"].own
        nameless = {each.record_id for each in spoilt if own == (each.field,)}
        assert put_aside(bench, "executions") == len(nameless), "nothing tells whose good copy has come"


def test_a_spoiled_workflow_lands_and_its_executions_with_it(engine: Engine, platform: Platform) -> None:
    simulator = platform.simulate(
        Outline(seed=SEED, workflows=260 if FULL else 20, executions=1, running=0, steps=1, days=20)
    )
    spoilt, lost = spoiled(platform, simulator, "workflows", None)
    with simulator.serve() as url:
        bench = HostileBench(engine, simulator, url, page_size=25)
        report = bench.once()
        assert report.is_complete, report
        assert put_aside(bench, "workflows") == len(lost)
        assert stored(bench, "workflows", "workflow_id") == simulator.truth.workflows.keys() - lost
        assert stored(bench, "executions", "workflow_id") >= simulator.truth.workflows.keys() - lost

        mend(simulator, spoilt)
        assert bench.heal().is_complete
        # A step keeps the name that was known when it was written: none where the definition was spoiled.
        nameless = {each.record_id for each in spoilt if each.field == "definition"}
        bench.conclude("spoiled workflows", len(spoilt), stale={"steps": len(nameless)})


def test_a_spoiled_event_of_a_step_lands_or_is_put_aside_alone(engine: Engine, platform: Platform) -> None:
    simulator = platform.simulate(
        Outline(seed=SEED, workflows=1, executions=60 if FULL else 30, running=0, steps=2, days=20),
        **platform.whole,  # or what was spoiled and is left out when it is mended would stay
    )
    spoilt, lost = spoiled(platform, simulator, "steps", AT_MOST)
    with simulator.serve() as url:
        bench = HostileBench(engine, simulator, url, page_size=25)
        report = bench.once()
        assert report.is_complete, report
        events = platform.step_events(simulator).rows
        assert put_aside(bench, "steps") == len(lost)
        assert bench.value("SELECT count(*) FROM history.step_events") == len(events) - len(lost)
        verdict = differences(engine, simulator)["step_events"]
        assert verdict.doubled == 0 or not platform.names_events
        assert verdict.stale <= len(spoilt)
        assert bench.value("SELECT count(*) FROM history.executions WHERE steps_state <> 'read'") == 0

        mend(simulator, spoilt)
        with engine.begin() as db:
            db.exec_driver_sql("UPDATE history.executions SET steps_state = 'due'")
        assert bench.heal().is_complete
        if platform.names_events:
            renamed = sum(each.field in platform.step_names for each in spoilt)
            bench.conclude("spoiled events", len(spoilt), stale={"steps": renamed})
        assert differences(engine, simulator)["step_events"].lost == 0
        assert put_aside(bench, "steps") == 0


def test_records_with_ids_of_three_thousand_bytes_are_put_aside_and_all_others_land(
    engine: Engine, platform: Platform
) -> None:
    simulator = platform.simulate(Outline(seed=SEED, workflows=3, executions=4, running=0, steps=1, days=20))
    records = platform.records(simulator)
    chosen = {
        stream: each.ids[{"workflows": -1, "executions": 0}.get(stream, len(each.ids) // 4)]
        for stream, each in records.items()
        if each.own
    }
    for stream, record_id in chosen.items():
        for field in records[stream].own:
            simulator.spoil(record_id, field, "é" * (LONG_ID // 2))
    with simulator.serve() as url:
        bench = HostileBench(engine, simulator, url, page_size=25)
        report = bench.once()
        assert report.is_complete, report
        assert report.quarantined >= 2
        assert {stream: put_aside(bench, stream) for stream in chosen} == dict.fromkeys(chosen, 1)
        workflow_id = chosen["workflows"]
        unread = {
            each.id
            for each in simulator.truth.executions.values()
            if platform.partition_of(simulator, each) == workflow_id
        }
        read = simulator.truth.executions.keys() - unread - {chosen["executions"]}
        assert stored(bench, "executions", "execution_id") == read
        assert stored(bench, "workflows", "workflow_id") == simulator.truth.workflows.keys() - {workflow_id}
