"""/metrics as Prometheus reads it: with its own parser."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine, text

from syncer import __version__
from syncer.errors import TransientError
from syncer.http import NO_ANSWER
from syncer.service.metrics import PER_CONNECTION, Metrics
from syncer.service.web import look
from syncer.simulator import Outline
from syncer.simulator.qualys_flow import Simulator
from syncer.state.limits import note_wait
from syncer.state.standing import Standing
from tests.integration.flows import FlowBench, connected
from tests.integration.vitals import FakePoller, FakeService
from tests.passes import settings

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(service: FakeService, standings: Sequence[Standing] | None = None) -> Samples:
    """Every sample by its name and labels; a family that is declared twice fails here."""
    families = list(text_string_to_metric_families(Metrics(service).exposition(standings).decode()))
    assert len({family.name for family in families}) == len(families)
    assert all(family.documentation for family in families)
    samples = [sample for family in families for sample in family.samples]
    found = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    assert len(found) == len(samples)
    return found


def of(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"syncer_{name}", frozenset(labels.items())]


def names(samples: Samples) -> set[str]:
    return {name for name, _ in samples}


@pytest.fixture
def poller() -> FakePoller:
    return FakePoller(settings(name="prod"))


def test_counters_exist_at_zero_before_anything_was_copied(poller: FakePoller) -> None:
    samples = parsed(FakeService(polled=[poller]))
    for table in ("workflows", "executions", "steps", "step_events"):
        assert of(samples, "rows_total", connection="prod", table=table) == 0
    assert of(samples, "waits_total", connection="prod") == 0
    assert of(samples, "not_before_timestamp_seconds", connection="prod") == 0
    assert of(samples, "connection_up", connection="prod") == 1
    assert of(samples, "build_info", version=__version__) == 1


def test_requests_are_told_by_endpoint_and_status(poller: FakePoller) -> None:
    poller.traffic.answers.update({("executions", 200): 7, ("executions", NO_ANSWER): 2, ("steps", 429): 1})
    poller.rows["executions"], poller.waits = 30, 1
    samples = parsed(FakeService(polled=[poller]))
    assert of(samples, "requests_total", connection="prod", endpoint="executions", status="200") == 7
    assert of(samples, "requests_total", connection="prod", endpoint="executions", status="none") == 2
    assert of(samples, "requests_total", connection="prod", endpoint="steps", status="429") == 1
    assert of(samples, "rows_total", connection="prod", table="executions") == 30
    assert of(samples, "waits_total", connection="prod") == 1


def test_every_name_is_ours_or_the_processes_own(poller: FakePoller) -> None:
    assert all(
        name.startswith(("syncer_", "process_")) for name in names(parsed(FakeService(polled=[poller])))
    )


def test_a_connection_that_fails_or_cannot_be_used_is_down(poller: FakePoller) -> None:
    poller.trouble = TransientError("it is away")
    samples = parsed(FakeService(polled=[poller], broken={"typo": ["bad key"]}))
    assert of(samples, "connection_up", connection="prod") == 0
    assert of(samples, "connection_up", connection="typo") == 0


def test_without_a_warehouse_the_process_still_tells_what_it_did(poller: FakePoller) -> None:
    poller.last_success_at = datetime(2026, 1, 1, tzinfo=UTC)
    samples = parsed(FakeService(polled=[poller]), None)
    assert of(samples, "warehouse_up") == 0
    assert of(samples, "last_success_timestamp_seconds", connection="prod") == 1767225600
    assert not names(samples) & {f"syncer_{name}" for name in PER_CONNECTION}


def test_a_connection_that_never_succeeded_has_no_time_of_success(poller: FakePoller) -> None:
    assert "syncer_last_success_timestamp_seconds" not in names(parsed(FakeService(polled=[poller])))


def test_the_later_of_both_waits_is_told(poller: FakePoller, engine: Engine) -> None:
    bench, end = FlowBench(engine), datetime.now(UTC) + timedelta(hours=1)
    with bench.engine.begin() as db:
        note_wait(db, "prod", timedelta(hours=2), "limited")
    service = FakeService(engine, [poller])
    poller.not_before = end
    told = of(parsed(service, look(service)), "not_before_timestamp_seconds", connection="prod")
    assert told == pytest.approx((end + timedelta(hours=1)).timestamp(), abs=600)
    poller.not_before = end + timedelta(hours=5)
    told = of(parsed(service, look(service)), "not_before_timestamp_seconds", connection="prod")
    assert told == poller.not_before.timestamp()


def test_what_the_warehouse_knows_is_told_per_connection_and_partition(engine: Engine) -> None:
    simulator = Simulator(Outline(workflows=3, executions=30, running=3))
    bench = FlowBench(engine)
    with simulator.serve() as url:
        bench.run(simulator, url)
        service = FakeService(engine, [FakePoller(connected(simulator, url))])
        samples = parsed(service, look(service))
    told: dict[str, Any] = {name: of(samples, name, connection="flow") for name in PER_CONNECTION if name
                            != "seconds_until_deletion"}  # fmt: skip
    assert of(samples, "warehouse_up") == 1
    assert told["open_executions"] == 3
    assert told["backlog_windows"] == told["steps_failed"] == told["quarantined_records"] == 0
    for workflow in simulator.truth.workflows:
        assert of(samples, "watermark_lag_seconds", connection="flow", partition=workflow) >= 0
    assert of(samples, "seconds_until_deletion", connection="flow") > 0


def test_a_deleted_workflow_does_not_lag_behind_for_ever(engine: Engine) -> None:
    simulator = Simulator(Outline(workflows=2, executions=4))
    bench, (deleted, kept) = FlowBench(engine), simulator.truth.workflows
    with simulator.serve() as url:
        bench.run(simulator, url)
        with engine.begin() as db:
            db.execute(
                text(
                    "UPDATE history.workflows SET missing_since = now(), missing_reason = 'workflow_deleted'"
                    " WHERE workflow_id = :deleted"
                ),
                {"deleted": deleted},
            )
        service = FakeService(engine, [FakePoller(connected(simulator, url))])
        samples = parsed(service, look(service))
    lagging = {
        dict(labels)["partition"] for name, labels in samples if name == "syncer_watermark_lag_seconds"
    }
    assert lagging == {kept}


def test_the_document_names_every_metric_and_no_other(poller: FakePoller, engine: Engine) -> None:
    poller.traffic.answers["executions", 200] = 1
    poller.last_success_at = datetime.now(UTC)
    told = Metrics(FakeService(engine, [poller])).exposition([]).decode()
    exposed = set(re.findall(r"^# TYPE (syncer_\w+)", told, re.MULTILINE))
    documented = set(re.findall(r"^\| `(syncer_\w+)`", DOCUMENT.read_text(), re.MULTILINE))
    assert documented == exposed
