"""The service over a stretch of life: things happen and fail at the source, the warehouse and a process go away.

SYNCER_SOAK_MINUTES says how long, half a minute where it does not; `make soak` takes ten.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from sqlalchemy import Engine, create_engine

from syncer.embedded import EmbeddedServer
from syncer.simulator import Answer, Outline, Request
from syncer.simulator.qualys_flow import Simulator
from tests.acceptance.conftest import Configuration
from tests.acceptance.service import RunningService, eventually, running
from tests.integration.flows import FlowBench, assert_equal_to_truth
from tests.servers import temporary_server

MINUTES = float(os.environ.get("SYNCER_SOAK_MINUTES", "0.5"))
WARM = min(60.0, 12 * MINUTES)
"""Seconds after which the memory is taken that the memory at the end is compared with."""

FAULTS = 0.04
"""Part of the answers that go wrong."""


class Life:
    """What happens at the source, and what goes wrong on the way; both at random, from a seed."""

    def __init__(self, simulator: Simulator) -> None:
        self.events: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self._simulator = simulator
        self._random = Random(7)
        self._faults_random = Random(11)
        self._over = threading.Event()

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Live while the body runs; afterwards all is calm, and everything has ended."""
        self._simulator.fault = self._fault
        thread = threading.Thread(target=self._live)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()
            self._simulator.fault = None
            self._simulator.end_all_running()

    def _live(self) -> None:
        while not self._over.wait(self._random.uniform(0.1, 0.6)):
            event = self._random.choice(("begins", "begins", "ends", "ran", "failed", "late", "edited"))
            getattr(self, f"_{event}")()
            self.events[event] += 1

    def _workflow(self) -> str:
        return self._random.choice(list(self._simulator.truth.workflows))

    def _begins(self) -> None:
        self._simulator.add_execution(self._workflow(), status=self._random.choice(("Running", "Queued")))

    def _ends(self) -> None:
        with self._simulator.lock:
            still = [each.id for each in self._simulator.truth.executions.values() if each.ended_ms is None]
            if still:
                self._simulator.end_execution(
                    self._random.choice(still), self._random.choice(("Success", "Error"))
                )

    def _ran(self) -> None:
        self._simulator.add_execution(self._workflow())

    def _failed(self) -> None:
        self._simulator.add_execution(self._workflow(), status="Error")

    def _late(self) -> None:
        shown_ms = self._simulator.clock.now_ms() + 5_000
        self._simulator.add_execution(self._workflow(), visible_ms=shown_ms)

    def _edited(self) -> None:
        self._simulator.edit_workflow(self._workflow())

    def _fault(self, request: Request, answer: Answer) -> Answer:
        if self._faults_random.random() > FAULTS:
            return answer
        name, wrong = self._faults_random.choice(list(_wrong(answer).items()))
        self.faults[name] += 1
        return wrong


def _wrong(answer: Answer) -> dict[str, Answer]:
    body = answer.body
    return {
        "500": Answer(500),
        "503": Answer(503, b"<html>maintenance</html>", "text/html"),
        "limit": Answer(429, headers=(("Retry-After", "1"),)),
        "unauthorized": Answer(401),
        "html": Answer(200, b"<html>log in</html>", "text/html"),
        "cut": Answer(200, body, conduct="cut", cut_at=len(body) // 2),
        "short": Answer(200, body[: len(body) // 2]),
        "reset": Answer(conduct="reset"),
        "slow": Answer(answer.status, body, answer.content_type, answer.headers, delay=0.5),
    }


def test_after_a_stretch_of_life_the_tables_equal_the_truth(tmp_path: Path) -> None:
    simulator = Simulator(Outline(workflows=4, executions=100, running=5))
    with temporary_server() as postgres, simulator.serve() as url:
        address = postgres.start()
        engine = create_engine(address.replace("postgresql://", "postgresql+psycopg://"))
        cli = Configuration(tmp_path, address)
        cli.service = {"listen": "", "log_format": "json"}
        cli.connect("flow", simulator, url, poll="2s", sweep="15s", lookback="5m")
        life, bench = Life(simulator), FlowBench(engine)
        with running(cli) as service, running(cli) as second:
            service.await_event("started")
            # A node that a definition loses before it was ever read has no name here, and is told apart by that alone.
            names = "SELECT count(DISTINCT workflow_id) FROM history.workflow_nodes"
            eventually(lambda: bench.value(names) == len(simulator.truth.workflows), "the definitions")
            with life.going_on():
                first = _live_through(service, second, postgres, engine)
            eventually(lambda: _is_copied(bench, simulator), "the truth")
            last = service.memory
            assert service.end() == 0
        engine.dispose()
    print(f"\nlife: {dict(life.events)}\nfaults: {dict(life.faults)}")  # noqa: T201
    print(f"executions: {len(simulator.truth.executions)}, requests: {len(simulator.requests)}")  # noqa: T201
    print(f"memory: {first / 1e6:.1f} MB after {WARM:.0f} s, {last / 1e6:.1f} MB at the end")  # noqa: T201
    if MINUTES >= 5:
        assert set(life.faults) == set(_wrong(Answer())), "every fault happened"
    assert set(life.events) == {"begins", "ends", "ran", "failed", "late", "edited"}
    assert last < first * (1.1 if MINUTES >= 5 else 1.5)


def _live_through(
    service: RunningService, second: RunningService, postgres: EmbeddedServer, engine: Engine
) -> int:
    """Restart the warehouse twice and kill a process meanwhile; returns the memory after the beginning."""
    pause = threading.Event()
    rest = MINUTES * 60 - WARM
    pause.wait(WARM)
    memory = service.memory
    pause.wait(rest / 4)
    _restart(postgres, engine)
    pause.wait(rest / 4)
    second.kill()
    pause.wait(rest / 4)
    _restart(postgres, engine)
    pause.wait(rest / 4)
    return memory


def _restart(postgres: EmbeddedServer, engine: Engine) -> None:
    engine.dispose()
    postgres.stop()
    postgres.start()


def _is_copied(bench: FlowBench, simulator: Simulator) -> bool:
    assert_equal_to_truth(bench, simulator)
    unsettled = "SELECT count(*) FROM history.executions WHERE settled_at IS NULL"
    return bool(bench.value(unsettled) == 0)
