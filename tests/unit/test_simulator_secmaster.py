"""The simulated SecMaster serves the truth in the form of the documents, over a real socket."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from syncer.simulator import ABSENT, Clock, Execution, Outline
from syncer.simulator.secmaster import Simulator
from syncer.simulator.secmaster.records import (
    dataobject_of,
    error_of,
    node_status_of,
    trigger_of,
)
from syncer.simulator.secmaster.seeds import EXECUTION_ID, NAME, WORKFLOW_ID, seed
from syncer.simulator.secmaster.times import moment, read, written

NOON = datetime(2026, 3, 18, 12, tzinfo=UTC)
JSON = "application/json;charset=UTF-8"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\+0800")

# Of the sample, taken from the documents once.
DIGEST = "7231f4257eebde925c51e49f6ff0e64ab590cc2d7ac7889128da2750beb8059c"

# Tables 5 to 10 of the documents.
INSTANCE = {
    **dict.fromkeys(("id", "name", "trigger_type", "status", "start_time", "end_time"), str),
    **dict.fromkeys(("defense_id", "dataobject_id"), str),
    **dict.fromkeys(("workflow", "dataclass", "playbook", "topology"), dict),
    "retry_count": int,
}
NODE = {
    **dict.fromkeys(
        ("instance_type", "action_id", "action_name", "start_time", "end_time", "error_msg"), str
    ),
    **dict.fromkeys(("input", "output", "parent_instance_id", "status"), str),
    "succeed": bool,
}


@pytest.fixture
def simulator() -> Simulator:
    outline = Outline(workflows=3, executions=40, running=3, queued=2, failing=0.3)
    return Simulator(outline, clock=Clock(NOON, frozen=True))


@pytest.fixture
def client(simulator: Simulator) -> Iterator[httpx.Client]:
    headers = {"X-Auth-Token": simulator.issue_token(), "Content-Type": JSON}
    with simulator.serve() as url, httpx.Client(base_url=url, headers=headers) as client:
        yield client


def soc(simulator: Simulator, at: int = 0) -> str:
    known = simulator.credentials
    return f"/v1/{known.project_id}/workspaces/{known.workspaces[at]}/soc"


def told(client: httpx.Client, path: str, **query: str | int) -> dict[str, Any]:
    answer = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def listed(client: httpx.Client, simulator: Simulator, at: int = 0, **query: str | int) -> list[Any]:
    asked: dict[str, str | int] = {"limit": 100, **query}
    instances: list[Any] = told(client, f"{soc(simulator, at)}/workflows/instances", **asked)["instances"]
    return instances


def logged_in(simulator: Simulator, client: httpx.Client, **changes: str) -> httpx.Response:
    given = simulator.credentials
    named = {"domain": given.domain, "name": given.username, "password": given.password} | changes
    user = {**named, "domain": {"name": named["domain"]}}
    identity = {"methods": ["password"], "password": {"user": user}}
    scope = {"project": {"name": given.project}}
    return client.post("/v3/auth/tokens", json={"auth": {"identity": identity, "scope": scope}})


def truth_of(simulator: Simulator, at: int) -> list[Execution]:
    """What a workspace serves, newest first."""
    workspace = simulator.credentials.workspaces[at]
    found = [
        execution
        for execution in simulator.truth.served(simulator.clock.now_ms())
        if simulator.workspace_of(simulator.truth.workflows[execution.workflow_id]) == workspace
    ]
    return sorted(found, key=lambda execution: execution.created_ms, reverse=True)


# Coming in


def test_a_password_buys_a_token_that_says_when_it_ends(simulator: Simulator, client: httpx.Client) -> None:
    answer = logged_in(simulator, client)
    assert answer.status_code == 201
    token = answer.headers["X-Subject-Token"]
    assert token.startswith("MII")
    assert len(token) > 2000
    described = answer.json()["token"]
    assert re.fullmatch(r"2026-03-19T12:00:00\.00\d{4}Z", described["expires_at"])
    assert described["project"]["id"] == simulator.credentials.project_id
    client.headers["X-Auth-Token"] = token
    assert len(listed(client, simulator)) > 10


@pytest.mark.parametrize("changes", [{"password": "wrong"}, {"name": "nobody"}, {"domain": "elsewhere"}])
def test_a_wrong_log_in_is_refused_as_iam_does(
    simulator: Simulator, client: httpx.Client, changes: dict[str, str]
) -> None:
    answer = logged_in(simulator, client, **changes)
    assert answer.status_code == 401
    assert "X-Subject-Token" not in answer.headers
    said = {"code": 401, "message": "The username or password is wrong.", "title": "Unauthorized"}
    assert answer.json() == {"error": said}


def test_a_token_ends_with_its_lifetime_and_a_new_one_does_not_end_the_old(
    simulator: Simulator, client: httpx.Client
) -> None:
    simulator.clock.advance(86_000)
    simulator.issue_token()
    assert listed(client, simulator)
    simulator.clock.advance(401)
    refused = client.get(f"{soc(simulator)}/workflows/instances")
    assert (refused.status_code, refused.json()["error_code"]) == (401, "APIGW.0301")


def test_revoked_tokens_are_refused_and_new_ones_are_not(simulator: Simulator, client: httpx.Client) -> None:
    simulator.revoke_tokens()
    assert client.get(f"{soc(simulator)}/workflows/instances").status_code == 401
    client.headers["X-Auth-Token"] = simulator.issue_token()
    assert listed(client, simulator)


def test_the_project_is_found_by_its_name(simulator: Simulator, client: httpx.Client) -> None:
    known = simulator.credentials
    [project] = told(client, "/v3/projects", name=known.project)["projects"]
    assert (project["id"], project["name"]) == (known.project_id, known.project)
    assert told(client, "/v3/projects", name="eu-west-101")["projects"] == []


# Lists


@pytest.mark.parametrize("at", [0, 1])
def test_a_workspace_lists_its_executions_newest_first(
    simulator: Simulator, client: httpx.Client, at: int
) -> None:
    truth = truth_of(simulator, at)
    body = told(client, f"{soc(simulator, at)}/workflows/instances", limit=100)
    assert body.keys() == {"count", "instances"}
    assert body["count"] == len(truth) == (80, 40)[at]
    assert [item["id"] for item in body["instances"]] == [execution.id for execution in truth]


def test_ten_are_listed_if_nothing_else_is_said_and_pages_tile_the_list(
    simulator: Simulator, client: httpx.Client
) -> None:
    truth = truth_of(simulator, 0)
    assert len(listed(client, simulator, limit=10)) == 10
    assert len(told(client, f"{soc(simulator)}/workflows/instances")["instances"]) == 10
    pages = [listed(client, simulator, limit=30, offset=offset) for offset in (0, 30, 60, 90)]
    assert [len(page) for page in pages] == [30, 30, 20, 0]
    assert [item["id"] for page in pages for item in page] == [execution.id for execution in truth]


def test_a_list_is_sorted_by_creation_or_by_change(simulator: Simulator, client: httpx.Client) -> None:
    truth = truth_of(simulator, 0)
    ascending = listed(client, simulator, sort_key="create_time", sort_dir="ASC")
    assert [item["id"] for item in ascending] == [execution.id for execution in reversed(truth)]
    oldest = next(execution for execution in reversed(truth) if execution.outcome == "failed")
    simulator.clock.advance(60)
    simulator.reopen_execution(oldest.id)
    assert listed(client, simulator, sort_key="update_time")[0]["id"] == oldest.id
    assert listed(client, simulator)[0]["id"] != oldest.id


def test_a_window_holds_what_started_within_it_bounds_included(
    simulator: Simulator, client: httpx.Client
) -> None:
    truth = truth_of(simulator, 0)[::-1]
    span = {"from_date": truth[10].created_ms, "to_date": truth[20].created_ms}
    times: dict[str, str | int] = {name: written(at_ms, "literal_z") for name, at_ms in span.items()}
    found = listed(client, simulator, 0, sort_dir="ASC", **times)
    assert [item["id"] for item in found] == [execution.id for execution in truth[10:21]]
    body = told(client, f"{soc(simulator)}/workflows/instances", limit=1, **times)
    assert body["count"] == 11


@pytest.mark.parametrize(
    ("parameter", "place"),
    [
        ("workflow_id", ("workflow", "id")),
        ("id", ("id",)),
        ("name", ("name",)),
        ("dataobject_id", ("dataobject_id",)),
        ("dataclass_id", ("dataclass", "id")),
        ("playbook_id", ("playbook", "id")),
        ("defence_id", ("defense_id",)),
        ("status", ("status",)),
        ("trigger_type", ("trigger_type",)),
    ],
)
def test_a_filter_keeps_what_has_that_value(
    simulator: Simulator, client: httpx.Client, parameter: str, place: tuple[str, ...]
) -> None:
    def value(item: Any) -> Any:
        for name in place:
            item = item[name]
        return item

    everything = listed(client, simulator)
    wanted = value(everything[7])
    found = listed(client, simulator, **{parameter: wanted})
    assert found == [item for item in everything if value(item) == wanted]


# Records


def test_an_instance_has_the_documented_fields(simulator: Simulator, client: httpx.Client) -> None:
    for at in (0, 1):
        for item, execution in zip(listed(client, simulator, at), truth_of(simulator, at), strict=True):
            assert item.keys() == INSTANCE.keys() - {"topology"} - (
                {"end_time"} if execution.ended_ms is None else set()
            )
            assert all(type(value) is INSTANCE[name] for name, value in item.items())
            assert read(item["start_time"], "literal_z") == execution.created_ms
            assert TIME.fullmatch(item["start_time"])
            stamp = moment(execution.created_ms).strftime("%Y%m%d%H%M%S")
            assert re.fullmatch(rf"[A-Z0-9]+-{stamp}", item["name"])
            assert item["workflow"]["id"] == execution.workflow_id
            assert (item["dataobject_id"], item["trigger_type"]) == (
                dataobject_of(execution),
                trigger_of(execution),
            )
            if execution.ended_ms is not None:
                assert read(item["end_time"], "literal_z") == execution.ended_ms


def test_every_outcome_has_its_word(simulator: Simulator, client: httpx.Client) -> None:
    words = {
        "queued": "CREATED",
        "running": "RUNNING",
        "succeeded": "FINISHED",
        "failed": "FAILED",
        "canceled": "TERMINATED",
        "unknown": "TIMEOUT",
    }
    ended = simulator.truth.listed(next(iter(simulator.truth.workflows)), 0, 1 << 60, 1 << 60)
    simulator.end_execution(ended[0].id, "Aborted")
    simulator.end_execution(ended[1].id, "TimedOut")
    truth = truth_of(simulator, 0)
    assert {execution.outcome for execution in truth} == words.keys()
    served = {item["id"]: item["status"] for item in listed(client, simulator)}
    assert served == {execution.id: words[execution.outcome] for execution in truth}


def test_what_runs_again_is_retrying_until_it_has_ended(simulator: Simulator, client: httpx.Client) -> None:
    failed = next(execution for execution in truth_of(simulator, 0) if execution.outcome == "failed")
    path = f"{soc(simulator)}/workflows/instances/{failed.id}"
    assert (told(client, path)["status"], told(client, path)["retry_count"]) == ("FAILED", 0)
    simulator.reopen_execution(failed.id)
    again = told(client, path)
    assert (again["status"], again["retry_count"], "end_time" in again) == ("RETRYING", 1, False)
    simulator.end_execution(failed.id)
    assert told(client, path)["status"] == "FINISHED"


def test_the_nodes_of_an_instance_come_when_asked_for(simulator: Simulator, client: httpx.Client) -> None:
    for execution in truth_of(simulator, 0):
        path = f"{soc(simulator)}/workflows/instances/{execution.id}"
        bare = told(client, path)
        assert bare == told(client, path, show_topology="false")
        whole = told(client, path, show_topology="true")
        topology = whole.pop("topology")
        assert whole == bare
        assert topology.keys() == {"audit_logs"}
        _assert_nodes(topology["audit_logs"], execution)


def _assert_nodes(nodes: list[Any], execution: Execution) -> None:
    for node, attempt in zip(nodes, execution.attempts, strict=True):
        assert node.keys() <= NODE.keys()
        assert all(type(value) is NODE[name] for name, value in node.items())
        assert (node["action_id"], node["parent_instance_id"]) == (attempt.node_id, execution.id)
        assert (node["instance_type"], node["status"]) == ("TASK", node_status_of(attempt))
        assert node["status"] in ("RUNNING", "FAILED", "FINISHED", "TIMEOUT")
        assert node["succeed"] is (node["status"] == "FINISHED")
        assert node.get("error_msg") == error_of(attempt)
        assert ("end_time" in node) is (attempt.ended_ms is not None)
        assert json.loads(node["input"]) == attempt.input
        assert (json.loads(node["output"]) if "output" in node else None) == attempt.output


def test_only_a_node_that_went_wrong_says_why(simulator: Simulator, client: httpx.Client) -> None:
    failed = next(execution for execution in truth_of(simulator, 0) if execution.outcome == "failed")
    path = f"{soc(simulator)}/workflows/instances/{failed.id}"
    nodes = told(client, path, show_topology="true")["topology"]["audit_logs"]
    assert ["error_msg" in node for node in nodes] == [False] * (len(nodes) - 1) + [True]


# Workflows


def test_a_workspace_lists_its_workflows_in_an_envelope(simulator: Simulator, client: httpx.Client) -> None:
    first, _, third = simulator.truth.workflows.values()
    simulator.edit_workflow(third.id)
    body = told(client, f"{soc(simulator)}/workflows")
    told_of = {"code", "message", "success", "request_id"}
    assert body.keys() == told_of | {"total", "offset", "limit", "size", "page", "data"}
    assert (body["total"], body["offset"], body["limit"], body["size"], body["page"]) == (2, 0, 10, 2, 1)
    assert {item["id"] for item in body["data"]} == {first.id, third.id}
    served = {item["id"]: item for item in body["data"]}
    assert served[third.id]["version"] == "v2"
    assert read(served[third.id]["update_time"], "literal_z") == simulator.clock.now_ms()
    assert read(served[first.id]["update_time"], "literal_z") == first.created_ms
    by_change = told(client, f"{soc(simulator)}/workflows", sortby="update_time", order="DESC")["data"]
    assert by_change[0]["id"] == third.id


def test_a_workflow_is_found_by_its_id_in_its_own_workspace(
    simulator: Simulator, client: httpx.Client
) -> None:
    for workflow in simulator.truth.workflows.values():
        at = simulator.credentials.workspaces.index(simulator.workspace_of(workflow))
        body = told(client, f"{soc(simulator, at)}/workflows/{workflow.id}")
        assert body["data"] in told(client, f"{soc(simulator, at)}/workflows")["data"]
        assert body["data"]["workspace_id"] == simulator.credentials.workspaces[at]
        assert client.get(f"{soc(simulator, 1 - at)}/workflows/{workflow.id}").status_code == 404


def test_workflows_are_filtered_by_name_and_by_being_enabled(
    simulator: Simulator, client: httpx.Client
) -> None:
    first, _, third = simulator.truth.workflows.values()
    third.active = False

    def names(**query: str | int) -> list[str]:
        return [item["name"] for item in told(client, f"{soc(simulator)}/workflows", **query)["data"]]

    assert names(enabled="true") == names(name=first.name) == [first.name]
    assert names(enabled="false") == [third.name]


# What is not served


def test_an_instance_of_another_workspace_is_not_found(simulator: Simulator, client: httpx.Client) -> None:
    elsewhere = truth_of(simulator, 1)[0]
    assert client.get(f"{soc(simulator)}/workflows/instances/{elsewhere.id}").status_code == 404
    assert told(client, f"{soc(simulator, 1)}/workflows/instances/{elsewhere.id}")["id"] == elsewhere.id


def test_what_is_deleted_late_or_older_than_the_horizon_is_served_nowhere(
    simulator: Simulator, client: httpx.Client
) -> None:
    first = next(iter(simulator.truth.workflows))
    deleted = truth_of(simulator, 0)[20]
    simulator.delete_execution(deleted.id)
    now_ms = simulator.clock.now_ms()
    late = simulator.add_execution(first, visible_ms=now_ms + 60_000)
    old = simulator.add_execution(first, created_ms=now_ms - 30 * 86_400_000 - 1)
    ids = {item["id"] for item in listed(client, simulator)}
    for execution in (deleted, late, old):
        assert execution.id not in ids
        answer = client.get(f"{soc(simulator)}/workflows/instances/{execution.id}")
        assert (answer.status_code, answer.json().keys()) == (404, {"code", "message"})
    simulator.clock.advance(61)
    assert late.id in {item["id"] for item in listed(client, simulator)}


def test_a_spoiled_record_is_served_with_its_lie(simulator: Simulator, client: httpx.Client) -> None:
    execution = next(execution for execution in truth_of(simulator, 0) if execution.attempts)
    attempt = execution.attempts[0]
    simulator.spoil(execution.id, "start_time", 17)
    simulator.spoil(attempt.events[0].id, "action_id", ABSENT)
    simulator.spoil(execution.workflow_id, None, ["no", "record"])
    path = f"{soc(simulator)}/workflows/instances/{execution.id}"
    whole = told(client, path, show_topology="true")
    assert whole["start_time"] == 17
    assert "action_id" not in whole["topology"]["audit_logs"][0]
    assert ["no", "record"] in told(client, f"{soc(simulator)}/workflows")["data"]
    for record_id in (execution.id, attempt.events[0].id, execution.workflow_id):
        simulator.mend(record_id)
    _assert_nodes(told(client, path, show_topology="true")["topology"]["audit_logs"], execution)


def test_requests_are_recorded_by_what_they_ask_for(simulator: Simulator, client: httpx.Client) -> None:
    execution = truth_of(simulator, 0)[0]
    logged_in(simulator, client)
    listed(client, simulator)
    told(client, f"{soc(simulator)}/workflows")
    told(client, f"{soc(simulator)}/workflows/{execution.workflow_id}")
    told(client, f"{soc(simulator)}/workflows/instances/{execution.id}")
    client.get("/v1/nowhere")
    assert simulator.counts == dict.fromkeys(
        ("auth", "executions", "workflows", "workflow", "execution", "other"), 1
    )


# The sample of the documents


def test_the_sample_is_served_word_for_word_at_its_path() -> None:
    simulator = Simulator.from_seeds()
    headers = {"X-Auth-Token": simulator.issue_token(), "Content-Type": JSON}
    with simulator.serve() as url, httpx.Client(base_url=url, headers=headers) as client:
        asked: dict[str, str | int] = {"limit": 10, "offset": 0, "name": NAME}
        answer = client.get(f"{soc(simulator)}/workflows/instances", params=asked)
        assert (answer.status_code, answer.content) == (200, seed("instances"))
        [sample] = json.loads(seed("instances"))["instances"]
        assert told(client, f"{soc(simulator)}/workflows/instances/{EXECUTION_ID}") == sample
        assert told(client, f"{soc(simulator)}/workflows")["data"] == [sample["workflow"]]
        assert told(client, f"{soc(simulator)}/workflows/{WORKFLOW_ID}")["data"] == sample["workflow"]
        assert listed(client, simulator, offset=10) == listed(client, simulator, 1) == []
        day = {"from_date": "2025-07-18T00:00:00.000Z+0000", "to_date": "2025-07-19T00:00:00.000Z+0000"}
        assert listed(client, simulator, 0, **day) == [sample]
        assert listed(client, simulator, from_date="2025-07-18T07:11:03.001Z+0000") == []
        assert client.get(f"{soc(simulator)}/workflows/instances/{WORKFLOW_ID}").status_code == 404


def test_the_sample_is_that_of_the_documents() -> None:
    assert hashlib.sha256(seed("instances")).hexdigest() == DIGEST
    [sample] = json.loads(seed("instances"))["instances"]
    started_ms = read(sample["start_time"], "literal_z")
    assert started_ms == round(datetime(2025, 7, 18, 7, 11, 3, tzinfo=UTC).timestamp() * 1000)
    assert sample["name"].endswith(f"{moment(started_ms):%Y%m%d%H%M%S}")
    assert (sample["status"], sample["trigger_type"], sample["defense_id"]) == ("FINISHED", "EVENT", "")
    assert sample.keys() == INSTANCE.keys() - {"topology"}
