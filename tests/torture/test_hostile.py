"""Everything that can go wrong between a client and a source, and with the source: nothing lost, doubled or stale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from sqlalchemy import Engine

from syncer.simulator import KINDS, Clock, Outline, Tenant
from syncer.simulator.bustle import EVENTS
from syncer.sync import poll, recent_steps
from tests.platforms import Platform, each_platform, platforms
from tests.torture.hostile import HostileBench, everywhere
from tests.torture.table import FULL, SEED

SHORT = timedelta(seconds=0.3)
"""A client's patience where the source may be silent."""

OUTLINE = Outline(seed=SEED, workflows=2, executions=8, running=2, steps=2, days=20, tied=5, loops=True)

FAMILIES: dict[str, tuple[str, ...]] = {
    "errors": ("500", "502", "503", "504", "401", "redirect", "html", "empty", "json-cut"),
    "waits": (
        *("429-seconds", "429-date", "429-bare", "429-in-words", "503-retry-after"),
        *("409-too-often", "409-too-many", "409-to-wait"),
    ),
    "connections": (
        *("refused", "reset", "reset-in-head", "reset-in-body"),
        *("cut", "cut-chunked", "unended", "silence"),
    ),
    "wrappings": (
        *("chunked", "wrong-type", "gzip", "deflate", "gzip-cut", "gzip-lie"),
        *("unknown-encoding", "date-ahead", "date-behind", "endless-head", "flood", "bomb"),
    ),
}
ALONE = {kind: (kind,) for kind in KINDS}

SEEDS = [SEED + number for number in range(5 if FULL else 1)]
CASES = [*((kind, SEED) for kind in ALONE if FULL), *product(FAMILIES, SEEDS)]

EVERYWHERE = each_platform()


def lies(*chosen: str) -> list[Any]:
    """Each platform with each of its lies, or of these."""
    return [
        pytest.param(platform, kind, id=f"{platform.name}-{kind}")
        for platform in platforms().values()
        for kind in platform.lies
        if not chosen or kind in chosen
    ]


def hard_readings() -> list[Any]:
    """Each platform as documented, and under readings that make its lists hard to prove."""
    return [
        pytest.param(platform, reading, id=f"{platform.name}-{name}")
        for platform in platforms().values()
        for name, reading in list({**platform.hard, "as documented": {}}.items())[: None if FULL else 1]
    ]


@pytest.fixture
def simulator(platform: Platform) -> Tenant:
    return platform.simulate(OUTLINE)


@pytest.fixture
def url(simulator: Tenant) -> Iterator[str]:
    with simulator.serve() as url:
        yield url


@pytest.fixture
def bench(engine: Engine, simulator: Tenant, url: str) -> HostileBench:
    return HostileBench(engine, simulator, url)


def off_by(hours: int) -> Clock:
    """A source's clock that is not ours."""
    return Clock(datetime.now(UTC) + timedelta(hours=hours))


# What goes wrong on the way


def test_every_fault_has_its_family() -> None:
    assert sorted(kind for family in FAMILIES.values() for kind in family) == sorted(KINDS)


@EVERYWHERE
@pytest.mark.parametrize(("kinds", "seed"), CASES)
def test_faults_on_the_way_cost_no_row(bench: HostileBench, simulator: Tenant, kinds: str, seed: int) -> None:
    wanted = (FAMILIES | ALONE)[kinds]
    faults = simulator.misbehave(everywhere(simulator, wanted, 0.3), seed=seed)
    timeout = SHORT if "silence" in wanted else timedelta(seconds=30)
    bench.until(lambda: faults.injected.keys() >= set(wanted), at_least=2, timeout=timeout)
    faults.calm()
    report = bench.heal()
    assert report.is_complete, report
    for kind in wanted:
        bench.conclude(kind, faults.injected[kind])


def dialects() -> list[Any]:
    """Each platform with all ways in which it asks to wait; in a full run with each of them, too."""
    return [
        pytest.param(platform, kinds, id=f"{platform.name}-{'-or-'.join(kinds)}")
        for platform in platforms().values()
        for kinds in (platform.waits, *((kind,) for kind in platform.waits if FULL))
    ]


@pytest.mark.parametrize(("platform", "wanted"), dialects())
def test_no_request_leaves_before_the_wait_is_over_by_the_sources_own_clock(
    engine: Engine, platform: Platform, wanted: tuple[str, ...]
) -> None:
    # Many lists to read side by side over one connection: whoever does not hear of the wait is seen.
    simulator = platform.simulate(replace(OUTLINE, workflows=8, executions=2, steps=1), clock=off_by(-1))
    with simulator.serve() as url:
        bench = HostileBench(engine, simulator, url, max_concurrency=1)
        faults = simulator.misbehave({"executions": dict.fromkeys(wanted, 0.25 / len(wanted))}, seed=SEED)
        bench.until(lambda: faults.injected.total() > 5)
        assert faults.impolite == 0


@EVERYWHERE
def test_a_redirect_is_not_followed(bench: HostileBench, simulator: Tenant) -> None:
    simulator.misbehave({"*": {"redirect": 0.2}}, seed=SEED)
    bench.passes(2)
    assert simulator.counts["other"] == 0


# What is wrong with the lists


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("platform", "kind"), lies())
def test_a_list_that_lies_for_a_while_costs_no_row(
    bench: HostileBench, platform: Platform, simulator: Tenant, kind: str, seed: int
) -> None:
    if kind == "repeated":
        simulator.switches = replace(simulator.switches, **platform.by_number)
    liar = simulator.lie({kind: 0.4}, seed=seed)
    bench.until(lambda: liar.told[kind] > 0)
    liar.confess()
    report = bench.heal()
    assert report.is_complete, report
    bench.conclude(f"lie: {kind}", liar.told[kind])


@pytest.mark.parametrize(("platform", "kind"), lies("total-more", "total-less"))
def test_a_total_that_lies_for_ever_is_disputed_and_costs_no_row(
    bench: HostileBench, simulator: Tenant, kind: str
) -> None:
    simulator.end_all_running()
    liar = simulator.lie({kind: 1.0}, seed=SEED)
    bench.let_pass(1200)
    (report,) = bench.passes(1)
    assert report.disputed > 0
    assert not report.is_complete
    assert bench.value("SELECT count(*) FROM syncer.window_audit WHERE resolved_at IS NULL") > 0
    bench.conclude(f"lie for ever: {kind}", liar.told[kind])


@pytest.mark.parametrize(("platform", "kind"), lies("hints-still", "hints-restless"))
def test_hints_that_lie_delay_a_row_to_the_next_sweep_at_most(
    bench: HostileBench, simulator: Tenant, kind: str
) -> None:
    every = timedelta(minutes=5)
    liar = simulator.lie({kind: 1.0}, seed=SEED)
    bench.once()
    simulator.end_all_running()
    for seconds in (300, 4000, 7 * 3600):
        bench.let_pass(seconds)
        bench.once(lambda session: poll(session, every))
        bench.once(recent_steps)
        if seconds == 300:
            for workflow_id in simulator.truth.workflows:
                simulator.add_execution(workflow_id)
    bench.conclude(f"polled, lie for ever: {kind}", liar.told[kind])


# What happens while they are read


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("platform", "reading"), hard_readings())
def test_what_happens_between_two_pages_costs_no_row(
    engine: Engine, platform: Platform, reading: dict[str, Any], seed: int
) -> None:
    simulator = platform.simulate(OUTLINE, **reading)
    with simulator.serve() as url:
        bench = HostileBench(engine, simulator, url)
        bustle = simulator.bustle(dict.fromkeys(EVENTS, 0.15), seed=seed)
        bench.until(lambda: bustle.happened.keys() >= EVENTS.keys(), at_least=3)
        bustle.calm()
        report = bench.heal()
        assert report.is_complete, report
        for event in EVENTS:
            bench.conclude(f"between pages: {event}", bustle.happened[event])


@EVERYWHERE
@pytest.mark.parametrize("hours", [-1, 1], ids=["behind", "ahead"])
def test_a_source_whose_clock_is_an_hour_off_costs_no_row(
    engine: Engine, platform: Platform, hours: int
) -> None:
    simulator = platform.simulate(OUTLINE, clock=off_by(hours))
    with simulator.serve() as url:
        bench = HostileBench(engine, simulator, url)
        bustle = simulator.bustle({"runs": 0.2, "begins": 0.2, "ends": 0.2, "shows-late": 0.2}, seed=SEED)
        bench.passes(3)
        bustle.calm()
        assert bench.heal().is_complete
        bench.conclude(f"clock skew of {hours:+} h", 3)


@EVERYWHERE
@pytest.mark.parametrize("kind", ["date-ahead", "date-behind"])
def test_a_gateway_whose_clock_is_an_hour_off_that_of_its_records_costs_no_row(
    bench: HostileBench, simulator: Tenant, kind: str
) -> None:
    faults = simulator.misbehave({"*": {kind: 1.0}}, seed=SEED)
    for _ in range(3):
        bench.passes(1)
        bench.live()
    faults.calm()
    assert bench.heal().is_complete
    bench.conclude(f"always: {kind}", faults.injected[kind])


# All of it


@EVERYWHERE
@pytest.mark.parametrize("seed", SEEDS)
def test_everything_at_once_costs_no_row(engine: Engine, platform: Platform, seed: int) -> None:
    simulator = platform.simulate(OUTLINE)
    with simulator.serve() as url:
        bench = HostileBench(engine, simulator, url, timeout=SHORT)
        faults = simulator.misbehave(everywhere(simulator, KINDS, 0.15), seed=seed)
        told = {kind: 0.03 for kind in platform.lies if not kind.startswith("hints")}
        liar = simulator.lie(told, seed=seed)
        bustle = simulator.bustle(dict.fromkeys(EVENTS, 0.03), seed=seed)
        bench.until(lambda: faults.injected.total() > (200 if FULL else 50))
        for happening in (faults, bustle):
            happening.calm()
        liar.confess()
        bench.heal()
        report = bench.heal()  # what the first one met may have been put off
        assert report.is_complete, report
        injected = faults.injected.total() + liar.told.total() + bustle.happened.total()
        bench.conclude("all of it at once", injected)
