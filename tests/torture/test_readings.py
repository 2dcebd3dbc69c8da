"""Every reading of what the documents of a platform leave open gives the same copy, and every wait is kept.

One server is enough for these: what they try is the wire.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from syncer.simulator import Outline, Tenant
from tests.integration.flows import assert_equal_to_truth
from tests.platforms import Platform, platforms
from tests.torture.hostile import HostileBench
from tests.torture.table import SEED

LIMIT = "limit_dialect"
"""What the switch is called that says how a platform puts a wait, where it has several ways."""


def readings() -> Iterator[Any]:
    """Each but the default ones, and once nothing but the default ones."""
    for platform in platforms().values():
        yield pytest.param(platform, {}, id=platform.name)
        for switch, (_, *others) in platform.simulation.SWITCHES.items():
            for reading in others:
                yield pytest.param(platform, {switch: reading}, id=f"{platform.name}-{switch}-{reading}")


def invented(platform: Platform, **changed: Any) -> Tenant:
    """A little of everything, up to the last day of what is served."""
    days = platform.simulation.Switches().horizon_days - 0.2
    outline = Outline(
        seed=SEED, workflows=2, executions=8, running=2, queued=1, tied=5, steps=2, loops=True, days=days
    )
    simulator = platform.simulate(outline, **changed)
    for status in ("Error", "Canceled", "TimedOut"):
        simulator.add_execution(status=status)
    return simulator


@pytest.mark.parametrize(("platform", "reading"), list(readings()))
def test_every_reading_of_the_documents_gives_the_same_copy(
    engine: Engine, platform: Platform, reading: dict[str, Any]
) -> None:
    simulator = invented(platform, **reading)
    # Without a Date the source's now is ours less the lookback: the newest rows would come one lookback later.
    lookback = timedelta(minutes=15 if simulator.tells_date else 0)
    with simulator.serve() as url:
        bench = HostileBench(engine, simulator, url, page_size=3, lookback=lookback)
        for happens in (list, simulator.end_all_running):
            happens()
            bench.let_pass(60)
            report = bench.once()
            assert (report.error, report.failures) == (None, []), report
            assert_equal_to_truth(bench, simulator)
        # Steps that lack their end, because none is told, are final when nothing of them can be late any more.
        assert bench.heal().is_complete
        assert_equal_to_truth(bench, simulator)
        assert bench.value("SELECT count(*) FROM history.executions WHERE settled_at IS NULL") == 0


def dialects() -> Iterator[Any]:
    """Every way in which a platform asks to wait."""
    for platform in platforms().values():
        for reading in platform.simulation.SWITCHES.get(LIMIT, ("the only one",)):
            told = {} if reading == "the only one" else {LIMIT: reading}
            yield pytest.param(platform, told, id=f"{platform.name}-{reading}")


@pytest.mark.parametrize(("platform", "dialect"), list(dialects()))
def test_a_limit_is_kept_in_every_dialect(
    engine: Engine, platform: Platform, dialect: dict[str, Any]
) -> None:
    simulator = invented(platform, rate_limit=25, rate_window=30.0, **platform.silent, **dialect)
    with simulator.serve() as url:
        bench = HostileBench(engine, simulator, url, max_concurrency=1, page_size=5)
        bench.let_pass(2)
        report = bench.once()
        assert report.is_complete, report
        assert bench.time.slept > 30
        assert simulator.impolite == 0
        bench.conclude(f"limit of {platform.name}", sum(seen.status >= 400 for seen in simulator.requests))
