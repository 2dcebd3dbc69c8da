"""SailPoint's own SDK understands the simulated tenant, in both of its generations."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest

from syncer.simulator import Execution, Outline
from syncer.simulator.sailpoint import Simulator, Switches
from tests.sdk.conftest import Call, Sdks, plain

DRIVER = "drive_sailpoint.py"


class Generation(NamedTuple):
    """A package of an SDK: how its methods end, and the paths it asks for."""

    sdk: str
    package: str
    ending: str
    workflows: str
    executions: str


def _yearly(version: str) -> Generation:
    paths = f"/{version}/workflows", f"/{version}/workflow-executions"
    return Generation("sailpoint-1", f"sailpoint.{version}", "", *paths)


GENERATIONS = {
    "v2024": _yearly("v2024"),
    "v2025": _yearly("v2025"),
    "per-service": Generation(
        "sailpoint-2", "sailpoint.workflows", "_v1", "/workflows/v1", "/workflow-executions/v1"
    ),
}


class Judge:
    """An SDK that talks to a simulated tenant."""

    def __init__(self, simulator: Simulator, url: str, generation: Generation, sdks: Sdks) -> None:
        self.simulator = simulator
        self.url = url
        self.generation = generation
        self.secret = simulator.credentials.client_secret
        self._sdk = sdks[generation.sdk, DRIVER]

    def outcomes(self, *calls: Call) -> list[dict[str, Any]]:
        """Of methods, called without the generation's ending."""
        known = self.simulator.credentials
        asked = {"url": self.url, "client_id": known.client_id, "client_secret": self.secret}
        ended = [
            (name if name == "paginate" else name + self.generation.ending, args) for name, args in calls
        ]
        return self._sdk.calls({**asked, "package": self.generation.package}, ended)

    def value(self, method: str, /, **arguments: Any) -> Any:
        """What one call gave, as far as a client can tell."""
        [outcome] = self.outcomes((method, arguments))
        assert "value" in outcome, outcome
        return plain(outcome["value"])

    def sent(self, path: str, **query: Any) -> Any:
        """What the tenant sends, as far as a client can tell."""
        headers = {"Authorization": f"Bearer {self.simulator.issue_token()}"}
        answer = httpx.get(self.url + path, params=query, headers=headers, trust_env=False)
        assert answer.status_code == 200, answer.text
        return plain(answer.json())

    def statuses(self) -> list[int]:
        """Of all answers but the token's."""
        return [seen.status for seen in self.simulator.requests if seen.endpoint != "auth"]


@pytest.fixture
def simulator() -> Simulator:
    return Simulator(Outline(workflows=2, executions=10, steps=4, running=2, queued=1, failing=0.4))


@pytest.fixture(params=GENERATIONS)
def judge(request: pytest.FixtureRequest, simulator: Simulator, sdks: Sdks) -> Iterator[Judge]:
    with simulator.serve() as url:
        yield Judge(simulator, url, GENERATIONS[request.param], sdks)


def newest_first(simulator: Simulator) -> list[Execution]:
    """The executions of the first workflow."""
    first = next(iter(simulator.truth.workflows))
    every = [each for each in simulator.truth.executions.values() if each.workflow_id == first]
    return sorted(every, key=lambda each: -each.created_ms)


def succeeded(simulator: Simulator) -> str:
    return next(each.id for each in newest_first(simulator) if each.outcome == "succeeded")


def told(workflow: dict[str, Any]) -> dict[str, Any]:
    """All but the attributes of its trigger: of three kinds of them the SDK takes the first that does not fail."""
    return {**workflow, "trigger": {**workflow["trigger"], "attributes": None}}


def test_workflows_are_listed_and_shown(judge: Judge) -> None:
    paths, ids = judge.generation.workflows, list(judge.simulator.truth.workflows)
    listed = judge.value("list_workflows")
    assert [each["id"] for each in listed] == ids
    assert [*map(told, listed)] == [*map(told, judge.sent(paths))]
    shown = [judge.value("get_workflow", id=each) for each in ids]
    assert [*map(told, shown)] == [told(judge.sent(f"{paths}/{each}")) for each in ids]


def test_its_paginator_reaches_the_end_of_a_list_of_executions(judge: Judge) -> None:
    executions = newest_first(judge.simulator)
    method = f"get_workflow_executions{judge.generation.ending}"
    workflow = executions[0].workflow_id
    listed = judge.value("paginate", method=method, id=workflow, limit=4)
    assert [each["id"] for each in listed] == [each.id for each in executions]
    assert [seen.query["offset"] for seen in judge.simulator.requests[1:]] == ["0", "4", "8"]
    assert listed == judge.sent(f"{judge.generation.workflows}/{workflow}/executions")


def test_its_filters_are_understood(judge: Judge) -> None:
    executions = newest_first(judge.simulator)
    workflow = executions[0].workflow_id
    failed = judge.value("get_workflow_executions", id=workflow, filters='status eq "Failed"')
    assert {each["id"] for each in failed} == {each.id for each in executions if each.outcome == "failed"}
    assert failed
    middle = judge.sent(f"{judge.generation.workflows}/{workflow}/executions")[4]["startTime"].isoformat()
    older = judge.value("get_workflow_executions", id=workflow, filters=f'start_time lt "{middle}"')
    assert [each["id"] for each in older] == [each.id for each in executions[5:]]


def test_an_execution_is_an_object_to_one_and_a_list_to_the_other(judge: Judge) -> None:
    """The description of the second generation declares a list, though tenants send an object."""
    if judge.generation.ending:
        judge.simulator.switches = Switches(execution_by_id="list")
    execution = succeeded(judge.simulator)
    assert judge.value("get_workflow_execution", id=execution) == judge.sent(
        f"{judge.generation.executions}/{execution}"
    )


def test_a_history_is_read_event_by_event(judge: Judge) -> None:
    execution = succeeded(judge.simulator)
    history = judge.value("get_workflow_execution_history", id=execution)
    assert history == judge.sent(f"{judge.generation.executions}/{execution}/history")
    assert history[-1]["type"] == "WorkflowExecutionCompleted"


@pytest.mark.parametrize("judge", ["v2025"], indirect=True)
def test_the_second_history_is_read_as_declared(judge: Judge) -> None:
    """Its `history` is declared as one event; a list of them fails in the SDK, as it would with a tenant."""
    execution = succeeded(judge.simulator)
    [refused] = judge.outcomes(("get_workflow_execution_history_v2", {"id": execution}))
    assert refused["error"]["type"] == "ValidationError"
    judge.simulator.switches = Switches(history_v2="object")
    parsed = judge.value("get_workflow_execution_history_v2", id=execution)
    sent = judge.sent(f"/v2025/workflow-executions/{execution}/history-v2")
    assert (parsed["history"], parsed["trigger"]) == (sent["history"], sent["trigger"])
    assert parsed["definition"]["steps"] == sent["definition"]["steps"]


def test_a_refusal_is_read_as_one(judge: Judge) -> None:
    [outcome] = judge.outcomes(("get_workflow", {"id": "nobody"}))
    assert outcome["error"]["status"] == 404
    assert "no such workflow" in outcome["error"]["text"]


def test_a_wrong_secret_obtains_no_token(judge: Judge) -> None:
    judge.secret += "x"
    [outcome] = judge.outcomes(("list_workflows", {}))
    assert "error" in outcome
    assert [(seen.endpoint, seen.status) for seen in judge.simulator.requests] == [("auth", 401)]


def test_it_waits_as_long_as_a_limit_says(judge: Judge) -> None:
    judge.simulator.switches = Switches(rate_limit=1, rate_window=1)
    assert all(
        "value" in outcome for outcome in judge.outcomes(("list_workflows", {}), ("list_workflows", {}))
    )
    assert judge.statuses() == [200, 429, 200]
    assert judge.simulator.impolite == 0


def test_it_gives_up_on_a_limit_that_does_not_end(judge: Judge) -> None:
    judge.simulator.switches = Switches(rate_limit=0, rate_window=1)
    [outcome] = judge.outcomes(("list_workflows", {}))
    assert outcome["error"]["status"] == 429
    assert judge.statuses() == [429] * 4


@pytest.mark.parametrize("name", GENERATIONS)
def test_the_line_that_the_command_prints_is_all_it_needs(name: str, sdks: Sdks) -> None:
    command = [sys.executable, "-m", "syncer.simulator", "--platform", "sailpoint", "--workflows", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        told = json.loads(process.stdout.readline())
        known = {key: told[key] for key in ("url", "client_id", "client_secret")}
        generation = GENERATIONS[name]
        asked = {**known, "package": generation.package}
        [outcome] = sdks[generation.sdk, DRIVER].calls(asked, [(f"list_workflows{generation.ending}", {})])
        process.terminate()
    assert len(outcome["value"]) == 3
