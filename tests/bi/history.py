"""Some weeks of three platforms that end now, to be looked at: busy days, quiet weekends, a bad day for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine

from syncer.simulator import Clock, Outline, Tenant
from tests.integration.flows import FlowBench
from tests.platforms import platforms
from tests.questions import DENIED

HOUR_MS = 3_600_000


@dataclass(frozen=True)
class Weeks:
    """What one connection lived through; on its bad day a workflow fails again and again, for one reason."""

    platform: str
    outline: Outline
    names: Sequence[str]
    fails: int
    bad_day: int
    reason: str


LIVED: Mapping[str, Weeks] = {
    "qualys-eu": Weeks(
        platform="qualys_flow",
        outline=Outline(seed=11, workflows=5, executions=(340, 260, 190, 130, 80), steps=5, failing=0.06),
        names=(),
        fails=3,
        bad_day=2,
        reason=DENIED,
    ),
    "identity": Weeks(
        platform="sailpoint",
        outline=Outline(seed=12, days=45, workflows=3, executions=(290, 210, 90), failing=0.03, running=2),
        names=("Joiner: birthright access", "Leaver: disable accounts", "Certify privileged access"),
        fails=2,
        bad_day=9,
        reason="Connection to source 'HR' timed out after 30 seconds",
    ),
    "soc": Weeks(
        platform="secmaster",
        outline=Outline(
            seed=13, days=45, workflows=3, executions=(250, 170, 90), failing=0.12, running=2, queued=2
        ),
        names=("Isolate infected host", "Block brute-force source", "Notify owner of leaked key"),
        fails=0,
        bad_day=16,
        reason="Playbook stopped: the host i-0663d3f3e572608d5 did not answer",
    ),
}


def live(engine: Engine) -> None:
    """Copy all of it."""
    for name, weeks in LIVED.items():
        platform = platforms()[weeks.platform]
        simulator = platform.simulate(weeks.outline, clock=Clock(frozen=True))
        _rename(simulator, weeks.names)
        _spoil_a_day(simulator, weeks)
        with simulator.serve() as url:
            assert FlowBench(engine).run(simulator, url, name=name).is_complete


def _rename(simulator: Tenant, names: Sequence[str]) -> None:
    for workflow, name in zip(simulator.truth.workflows.values(), names, strict=False):
        workflow.name = name


def _spoil_a_day(simulator: Tenant, weeks: Weeks) -> None:
    workflow = [*simulator.truth.workflows][weeks.fails]
    began_ms = simulator.clock.now_ms() - weeks.bad_day * 24 * HOUR_MS
    for hour in range(14):
        failed = simulator.add_execution(workflow, created_ms=began_ms + hour * HOUR_MS, status="Error")
        failed.message = weeks.reason
