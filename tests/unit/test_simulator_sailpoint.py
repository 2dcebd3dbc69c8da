"""The simulated SailPoint over a real socket: answers as its descriptions say, and refusals of everything else."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import jsonschema  # type: ignore[import-untyped]
import pytest

from syncer.simulator import ABSENT, Clock, Execution, Outline
from syncer.simulator.sailpoint import Credentials, Simulator, Switches
from syncer.simulator.sailpoint.events import event_key
from syncer.simulator.sailpoint.limits import TIERS
from syncer.simulator.sailpoint.stamps import read, told

NOON = datetime(2026, 3, 18, 12, tzinfo=UTC)
TLS = ssl.create_default_context()  # made once, because it takes longer than a test
NOBODY = "00000000-0000-4000-8000-000000000000"
DESCRIPTIONS = {
    "v2024": "workflows-v2024.prefixed",
    "per-service": "workflows-perservice-v1",
}
STYLES = {
    "/v2024/workflow": ("/v2024/workflows", "/v2024/workflow-executions"),
    "/v2025/workflow": ("/v2025/workflows", "/v2025/workflow-executions"),
    "/v2026/workflow": ("/v2026/workflows", "/v2026/workflow-executions"),
    "per-service": ("/workflows/v1", "/workflow-executions/v1"),
}


@pytest.fixture
def simulator() -> Simulator:
    outline = Outline(workflows=2, executions=30, running=3, queued=1, failing=0.3, steps=8)
    return Simulator(outline, clock=Clock(NOON, frozen=True))


@contextmanager
def talking(simulator: Simulator) -> Iterator[httpx.Client]:
    """A client that has logged in."""
    headers = {"Authorization": f"Bearer {simulator.issue_token()}"}
    with (
        simulator.serve() as url,
        httpx.Client(base_url=url, headers=headers, trust_env=False, verify=TLS) as client,
    ):
        yield client


@pytest.fixture
def client(simulator: Simulator) -> Iterator[httpx.Client]:
    with talking(simulator) as client:
        yield client


def first(simulator: Simulator) -> str:
    return next(iter(simulator.truth.workflows))


def some(simulator: Simulator, outcome: str) -> Execution:
    """The newest execution of the first workflow with an outcome."""
    rows = [x for x in simulator.truth.executions.values() if x.workflow_id == first(simulator)]
    return max((x for x in rows if x.outcome == outcome), key=lambda x: x.created_ms)


def listed(client: httpx.Client, simulator: Simulator, **query: str | int) -> list[dict[str, Any]]:
    answer = client.get(f"/v2024/workflows/{first(simulator)}/executions", params=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()
    return items


def form(simulator: Simulator, **changes: str) -> dict[str, str]:
    known = simulator.credentials
    given = {"client_id": known.client_id, "client_secret": known.client_secret}
    return {"grant_type": "client_credentials", **given, **changes}


# Access


def test_a_client_logs_in_with_a_form_a_multipart_form_or_the_query(
    simulator: Simulator, client: httpx.Client
) -> None:
    fields = form(simulator)
    for answer in (
        client.post("/oauth/token", data=fields),
        client.post("/oauth/token", files={name: (None, value) for name, value in fields.items()}),
        client.post("/oauth/token", params=fields),
    ):
        body = answer.json()
        assert (answer.status_code, body["token_type"], body["expires_in"]) == (200, "bearer", 749)
        headers = {"Authorization": f"Bearer {body['access_token']}"}
        assert client.get("/v2024/workflows", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"client_secret": "guess"}, 401, "invalid_client"),
        ({"client_id": ""}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ],
)
def test_a_wrong_client_is_refused(
    simulator: Simulator, client: httpx.Client, changes: dict[str, str], status: int, error: str
) -> None:
    answer = client.post("/oauth/token", data=form(simulator, **changes))
    assert (answer.status_code, answer.json()) == (status, {"error": error})


def test_a_log_in_that_is_no_form_or_names_something_twice_is_refused(
    simulator: Simulator, client: httpx.Client
) -> None:
    fields = form(simulator)
    assert client.post("/oauth/token", json=fields).status_code == 415
    assert client.post("/oauth/token", data=fields, params=fields).status_code == 400
    assert client.get("/oauth/token", params=fields).status_code == 405


def test_a_token_is_a_jwt_that_ends_with_its_lifetime(simulator: Simulator, client: httpx.Client) -> None:
    token = client.headers["Authorization"].removeprefix("Bearer ")
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["exp"] == simulator.clock.now_ms() // 1000 + 749
    simulator.clock.advance(748)
    assert client.get("/v2024/workflows").status_code == 200
    simulator.clock.advance(1)
    answer = client.get("/v2024/workflows")
    assert answer.status_code == 401
    assert answer.json() == {"error": "JWT validation failed: JWT is expired"}


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer x.y.z", "Basic dTpw"])
def test_a_request_without_a_good_bearer_token_is_refused(client: httpx.Client, value: str) -> None:
    answer = client.get("/v2024/workflows", headers={"Authorization": value})
    assert answer.status_code == 401
    assert answer.json().keys() == {"error"}


def test_revoked_tokens_are_refused_and_new_ones_are_not(simulator: Simulator, client: httpx.Client) -> None:
    simulator.revoke_tokens()
    assert client.get("/v2024/workflows").status_code == 401
    client.headers["Authorization"] = f"Bearer {simulator.issue_token()}"
    assert client.get("/v2024/workflows").status_code == 200


@pytest.mark.parametrize(
    ("credentials", "allowed"),
    [
        (Credentials(scopes=("sp:workflow:read",)), "workflows"),
        (Credentials(scopes=("sp:workflow-execution:read",)), "executions execution history history-v2"),
        (Credentials(scopes=("sp:workflow:manage",)), "workflows executions execution history history-v2"),
        (Credentials(user_level="SOURCE_ADMIN"), "workflows executions history history-v2"),
    ],
)
def test_scopes_and_the_level_of_the_user_open_what_they_are_for(
    credentials: Credentials, allowed: str
) -> None:
    outline = Outline(workflows=1, executions=5, running=0, failing=0.0)
    simulator = Simulator(outline, clock=Clock(NOON, frozen=True), credentials=credentials)
    with talking(simulator) as client:
        statuses = {
            path.rpartition("/")[2]: client.get(path).status_code for path in paths(simulator, "per-service")
        }
    names = {"v1": "workflows", some(simulator, "succeeded").id: "execution"}
    opened = {names.get(part, part) for part, status in statuses.items() if status == 200}
    assert opened - {first(simulator)} == set(allowed.split())
    assert set(statuses.values()) <= {200, 403}


# Shapes


def paths(simulator: Simulator, style: str) -> list[str]:
    workflows, executions = STYLES.get(style, STYLES["per-service"])
    execution = f"{executions}/{some(simulator, 'succeeded').id}"
    found = [workflows, f"{workflows}/{first(simulator)}", f"{workflows}/{first(simulator)}/executions"]
    found += [execution, f"{execution}/history"]
    return found if "v2024" in style else [*found, f"{execution}/history-v2"]


@pytest.mark.parametrize("style", STYLES)
def test_every_style_of_paths_serves_the_same(simulator: Simulator, client: httpx.Client, style: str) -> None:
    usual = [client.get(path) for path in paths(simulator, "per-service")]
    answers = [client.get(path) for path in paths(simulator, style)]
    assert {answer.status_code for answer in answers} == {200}
    assert [answer.json() for answer in answers] == [answer.json() for answer in usual][: len(answers)]


def test_the_second_history_came_after_v2024(simulator: Simulator, client: httpx.Client) -> None:
    path = f"/workflow-executions/{some(simulator, 'succeeded').id}/history-v2"
    assert client.get(f"/v2024{path}").status_code == 404
    assert client.get(f"/v2025{path}").status_code == 200
    assert client.get(f"/v3{path}").status_code == 404


def description(version: str) -> dict[str, Any]:
    file = Path(__file__).parent / "data" / "sailpoint" / f"{DESCRIPTIONS[version]}.openapi.json"
    found: dict[str, Any] = _nullable(json.loads(file.read_text(encoding="utf-8")))
    return found


def _nullable(part: Any) -> Any:
    """OpenAPI's word for what JSON Schema says with a list of types."""
    if isinstance(part, list):
        return [_nullable(each) for each in part]
    if not isinstance(part, dict):
        return part
    inner = {name: _nullable(value) for name, value in part.items()}
    if inner.get("nullable") is True and isinstance(inner.get("type"), str):
        inner["type"] = [inner["type"], "null"]
    return inner


def conform(described: dict[str, Any], template: str, answer: httpx.Response) -> None:
    """Raise unless the body is what the description shows for that path and status."""
    response = described["paths"][template]["get"]["responses"][str(answer.status_code)]
    if "$ref" in response:
        response = described["components"]["responses"][response["$ref"].rpartition("/")[2]]
    schema = response["content"]["application/json"]["schema"]
    jsonschema.validate(answer.json(), {**schema, "components": described["components"]})


def templates(simulator: Simulator, version: str) -> list[tuple[str, str]]:
    """Every path of a description with the request that asks for it."""
    style = "per-service" if version == "per-service" else f"/{version}/workflow"
    return list(zip(description(version)["paths"], paths(simulator, style), strict=True))


@pytest.mark.parametrize("version", DESCRIPTIONS)
def test_answers_are_what_the_descriptions_show(
    simulator: Simulator, client: httpx.Client, version: str
) -> None:
    # Both are contradictions: a time that is null, and a list that is described as one object.
    simulator.switches = Switches(close_time_while_open="absent", history_v2="object")
    described = description(version)
    for template, path in templates(simulator, version):
        answer = client.get(path)
        assert answer.status_code == 200
        conform(described, template, answer)


@pytest.mark.parametrize("version", DESCRIPTIONS)
def test_refusals_are_what_the_descriptions_show(
    simulator: Simulator, client: httpx.Client, version: str
) -> None:
    described = description(version)
    known = {first(simulator), some(simulator, "succeeded").id}
    for template, path in templates(simulator, version):
        unknown = path
        for record_id in known:
            unknown = unknown.replace(record_id, NOBODY)
        answers = [
            client.get(path, params={"surprise": 1}),
            client.get(path, headers={"Authorization": "Bearer x"}),
            *([client.get(unknown)] if unknown != path else []),
        ]
        assert [answer.status_code for answer in answers] == [400, 401, 404][: len(answers)]
        for answer in answers:
            conform(described, template, answer)


def test_an_execution_has_the_fields_of_the_sample_in_their_order(
    simulator: Simulator, client: httpx.Client
) -> None:
    execution = some(simulator, "succeeded")
    record = client.get(f"/v2024/workflow-executions/{execution.id}").json()
    assert list(record) == ["id", "workflowId", "requestId", "startTime", "closeTime", "status"]
    assert record["status"] == "Completed"
    assert read(record["startTime"]) // 1_000_000 == execution.created_ms
    assert read(record["closeTime"]) // 1_000_000 == execution.ended_ms
    assert len(record["startTime"]) == len("2022-02-07T20:13:29.356648026Z")
    assert record in listed(client, simulator)


def test_what_runs_and_what_waits_has_no_end(simulator: Simulator, client: httpx.Client) -> None:
    open_ones = [item for item in listed(client, simulator) if item["closeTime"] is None]
    assert {item["status"] for item in open_ones} == {"Running", "Queued"}
    simulator.end_all_running()
    assert [item for item in listed(client, simulator) if item["closeTime"] is None] == []


def test_a_workflow_counts_its_executions_and_keeps_its_date_when_they_end(
    simulator: Simulator, client: httpx.Client
) -> None:
    path = f"/v2024/workflows/{first(simulator)}"
    before = client.get(path).json()
    failed = sum(item["status"] == "Failed" for item in listed(client, simulator))
    assert (before["executionCount"], before["failureCount"]) == (30, failed)
    simulator.add_execution(first(simulator), status="Error")
    after = client.get(path).json()
    assert (after["executionCount"], after["failureCount"]) == (31, failed + 1)
    assert after["modified"] == before["modified"]
    simulator.edit_workflow(first(simulator))
    assert client.get(path).json()["modified"] > before["modified"]


def test_a_definition_links_its_steps_from_start_to_success(
    simulator: Simulator, client: httpx.Client
) -> None:
    defined = client.get(f"/v2024/workflows/{first(simulator)}").json()["definition"]
    walked, name = [], defined["start"]
    while name != "success":
        walked.append(name)
        name = defined["steps"][name]["nextStep"]
    nodes = simulator.truth.workflows[first(simulator)].nodes
    assert walked == [node.id for node in nodes if node.type != "trigger"]


# Histories


def history(client: httpx.Client, execution: Execution, **query: int) -> list[dict[str, Any]]:
    answer = client.get(f"/v2024/workflow-executions/{execution.id}/history", params=query)
    assert answer.status_code == 200
    events: list[dict[str, Any]] = answer.json()
    return events


def test_a_history_tells_every_attempt_with_what_it_was_given_and_made(
    simulator: Simulator, client: httpx.Client
) -> None:
    execution = some(simulator, "succeeded")
    events = history(client, execution)
    assert [event["type"] for event in events[:2]] == [
        "WorkflowExecutionScheduled",
        "WorkflowExecutionStarted",
    ]
    assert events[1]["attributes"] == {"input": execution.attempts[0].input}
    assert events[-1]["type"] == "WorkflowExecutionCompleted"
    actions = execution.attempts[1:]
    for attempt, began, ended in zip(actions, events[2:-1:3], events[4:-1:3], strict=True):
        names = {"displayName": attempt.node_name, "stepName": attempt.node_id}
        names["technicalName"] = f"sp:{attempt.node_type}"
        assert began["attributes"] == {**names, "input": attempt.input}
        assert ended["attributes"] == {**names, "result": attempt.output}


def test_a_workflow_that_an_action_runs_has_events_of_its_own_kind(
    simulator: Simulator, client: httpx.Client
) -> None:
    kinds = [event["type"] for event in history(client, some(simulator, "succeeded"))]
    assert kinds[-4:-1] == [
        "StartChildWorkflowExecutionInitiated",
        "ChildWorkflowExecutionStarted",
        "ChildWorkflowExecutionCompleted",
    ]


def test_the_last_event_that_failed_says_why(simulator: Simulator, client: httpx.Client) -> None:
    execution = some(simulator, "failed")
    events = history(client, execution)
    assert events[-2]["type"] in ("ActivityTaskFailed", "ChildWorkflowExecutionFailed")
    assert events[-1]["type"] == "WorkflowExecutionFailed"
    assert events[-2]["attributes"]["error"] == execution.attempts[-1].message
    assert "result" not in events[-2]["attributes"]


def test_times_of_events_rise_and_later_events_only_follow(
    simulator: Simulator, client: httpx.Client
) -> None:
    running = (x for x in simulator.truth.executions.values() if x.outcome == "running")
    execution = next(x for x in running if len(x.attempts) > 1)
    before = history(client, execution)
    simulator.end_execution(execution.id)
    after = history(client, execution)
    times = [read(event["timestamp"]) // 1000 for event in after]
    assert times == sorted(set(times))
    assert after[: len(before)] == before
    assert len(after) == len(before) + 2
    assert after[-1]["type"] == "WorkflowExecutionCompleted"


def test_what_has_not_begun_is_only_scheduled(simulator: Simulator, client: httpx.Client) -> None:
    execution = some(simulator, "queued")
    assert [event["type"] for event in history(client, execution)] == ["WorkflowExecutionScheduled"]


def test_a_history_is_read_in_pages(simulator: Simulator, client: httpx.Client) -> None:
    execution = some(simulator, "succeeded")
    whole = history(client, execution)
    assert len(whole) == 24
    assert history(client, execution, limit=10) == whole[:10]
    assert history(client, execution, limit=10, offset=20) == whole[20:]
    assert history(client, execution, offset=24) == []


def test_the_second_history_brings_definition_and_trigger(simulator: Simulator, client: httpx.Client) -> None:
    execution = some(simulator, "succeeded")
    told_at_once = client.get(f"/v2025/workflow-executions/{execution.id}/history-v2").json()
    workflow = client.get(f"/v2025/workflows/{first(simulator)}").json()
    assert told_at_once == {
        "definition": workflow["definition"],
        "history": history(client, execution),
        "trigger": workflow["trigger"],
    }


# Pages and filters


def test_executions_come_newest_first_in_pages(simulator: Simulator, client: httpx.Client) -> None:
    whole = listed(client, simulator)
    starts = [read(item["startTime"]) for item in whole]
    assert len(whole) == 30
    assert starts == sorted(starts, reverse=True)
    pages = [listed(client, simulator, limit=7, offset=offset) for offset in range(0, 42, 7)]
    assert [item for page in pages for item in page] == whole
    assert listed(client, simulator, limit=0) == []


def test_a_page_holds_250_at_most_and_by_default(client: httpx.Client, simulator: Simulator) -> None:
    for _ in range(230):
        simulator.add_execution(first(simulator))
    whole = listed(client, simulator)
    assert len(whole) == 250
    assert len(listed(client, simulator, offset=250)) == 10
    path = f"/v2024/workflows/{first(simulator)}/executions"
    assert client.get(path, params={"limit": 251}).status_code == 400


def test_ties_of_a_millisecond_stand_in_the_order_of_their_nanoseconds() -> None:
    simulator = Simulator(Outline(workflows=1, executions=20, running=0, tied=20))
    with talking(simulator) as client:
        starts = [item["startTime"] for item in listed(client, simulator)]
    assert len({start[:-7] for start in starts}) == 1
    assert starts == sorted(starts, reverse=True)


@pytest.mark.parametrize("quote", ['"', ""])
@pytest.mark.parametrize(
    ("operator", "first_of", "past"),
    [("eq", 9, 10), ("lt", 10, 30), ("le", 9, 30), ("gt", 0, 9), ("ge", 0, 10)],
)
def test_a_filter_on_start_time_compares_to_the_nanosecond(
    simulator: Simulator, client: httpx.Client, operator: str, quote: str, first_of: int, past: int
) -> None:
    whole = listed(client, simulator)
    text = f"start_time {operator} {quote}{whole[9]['startTime']}{quote}"
    assert listed(client, simulator, filters=text) == whole[first_of:past]


def test_filters_are_joined_by_and(simulator: Simulator, client: httpx.Client) -> None:
    whole = listed(client, simulator)
    low, high = whole[20]["startTime"], whole[5]["startTime"]
    span = f'start_time ge "{low}" and start_time lt "{high}"'
    assert listed(client, simulator, filters=span) == whole[6:21]
    failed = f'{span} and status eq "Failed"'
    assert listed(client, simulator, filters=failed) == [x for x in whole[6:21] if x["status"] == "Failed"]
    assert listed(client, simulator, filters='status eq "Nonsense"') == []


def test_a_filter_takes_other_zones_and_any_fraction(simulator: Simulator, client: httpx.Client) -> None:
    whole = listed(client, simulator)
    half_past = "2026-03-18T17:30:00+05:30"
    assert listed(client, simulator, filters=f'start_time le "{half_past}"') == whole
    assert listed(client, simulator, filters=f'start_time gt "{half_past}"') == []
    third = read(whole[3]["startTime"])
    shortened = told(third - third % 1000, Switches(time_digits="trimmed"))
    assert listed(client, simulator, filters=f"start_time ge {shortened}") == whole[:4]


@pytest.mark.parametrize(
    "query",
    [
        {"limit": -1},
        {"limit": "ten"},
        {"limit": 1.5},
        {"offset": -1},
        {"offset": 1 << 31},
        {"sorters": "startTime"},
        {"count": "yes"},
        {"filters": ""},
        {"filters": 'startTime ge "2026-03-18T12:00:00Z"'},
        {"filters": 'start_time GE "2026-03-18T12:00:00Z"'},
        {"filters": 'start_time ge "2026-03-18"'},
        {"filters": 'start_time ge "2026-03-18T12:00:00"'},
        {"filters": 'start_time ge "2026-02-30T12:00:00Z"'},
        {"filters": 'start_time ge "2026-03-18T12:00:00.1234567890Z"'},
        {"filters": 'start_time in ("2026-03-18T12:00:00Z")'},
        {"filters": 'status ge "Failed"'},
        {"filters": "status eq Failed"},
        {"filters": 'status eq "Failed" or status eq "Running"'},
        {"filters": 'status eq "Failed" and'},
        {"filters": 'not status eq "Failed"'},
    ],
)
def test_a_list_of_executions_takes_the_documented_parameters_alone(
    simulator: Simulator, client: httpx.Client, query: dict[str, str | int]
) -> None:
    path = f"/v2024/workflows/{first(simulator)}/executions"
    assert client.get(path, params=query).status_code == 400


def test_a_parameter_given_twice_is_refused(simulator: Simulator, client: httpx.Client) -> None:
    path = f"/v2024/workflows/{first(simulator)}/executions"
    assert client.get(path, params=[("limit", "1"), ("limit", "1")]).status_code == 400


def test_only_the_documented_verbs_are_allowed(simulator: Simulator, client: httpx.Client) -> None:
    for path in paths(simulator, "per-service"):
        assert client.post(path).status_code == 405
        assert client.delete(path).status_code == 405


def test_a_total_is_told_when_it_is_asked_for(simulator: Simulator, client: httpx.Client) -> None:
    path = f"/v2024/workflows/{first(simulator)}/executions"
    whole = listed(client, simulator)
    query = {"count": "true", "limit": "3", "filters": f'start_time le "{whole[9]["startTime"]}"'}
    assert client.get(path, params=query).headers["X-Total-Count"] == "21"
    assert "X-Total-Count" not in client.get(path, params={"count": "false"}).headers


# What goes away


def test_what_is_older_than_90_days_is_archived() -> None:
    simulator = Simulator(Outline(workflows=1, executions=40, days=2, running=0), clock=Clock(frozen=True))
    oldest = min(simulator.truth.executions.values(), key=lambda x: x.created_ms)
    simulator.clock.advance(89 * 86_400)
    limit_ms = simulator.clock.now_ms() - 90 * 86_400_000
    young = {x.id for x in simulator.truth.executions.values() if x.created_ms >= limit_ms}
    assert 0 < len(young) < 40
    with talking(simulator) as client:
        assert {item["id"] for item in listed(client, simulator)} == young
        execution = f"/v2025/workflow-executions/{oldest.id}"
        for path in (execution, f"{execution}/history", f"{execution}/history-v2"):
            assert client.get(path).status_code == 404


def test_what_was_deleted_is_served_nowhere(simulator: Simulator, client: httpx.Client) -> None:
    execution = some(simulator, "succeeded")
    simulator.delete_execution(execution.id)
    assert execution.id not in {item["id"] for item in listed(client, simulator)}
    assert client.get(f"/v2024/workflow-executions/{execution.id}").status_code == 404
    simulator.delete_workflow(first(simulator))
    kept = [item["id"] for item in client.get("/v2024/workflows").json()]
    assert kept == [each for each in simulator.truth.workflows if each != first(simulator)]
    assert client.get(f"/v2024/workflows/{first(simulator)}").status_code == 404
    assert client.get(f"/v2024/workflow-executions/{some(simulator, 'failed').id}").status_code == 404


def test_what_shows_itself_late_is_not_served_before(simulator: Simulator, client: httpx.Client) -> None:
    later_ms = simulator.clock.now_ms() + 5000
    execution = simulator.add_execution(first(simulator), visible_ms=later_ms)
    path = f"/v2024/workflow-executions/{execution.id}"
    assert client.get(path).status_code == 404
    simulator.clock.advance(5)
    assert client.get(path).status_code == 200
    assert listed(client, simulator, limit=1)[0]["id"] == execution.id


@pytest.mark.parametrize("value", [ABSENT, None, 7])
def test_a_record_of_every_kind_can_be_spoiled(
    simulator: Simulator, client: httpx.Client, value: object
) -> None:
    execution = some(simulator, "succeeded")
    for key, field in (
        (first(simulator), "name"),
        (execution.id, "startTime"),
        (event_key(execution.id, 3), "timestamp"),
    ):
        simulator.spoil(key, field, value)
    records = [
        (client.get(f"/v2024/workflows/{first(simulator)}").json(), "name"),
        (next(x for x in listed(client, simulator) if x["id"] == execution.id), "startTime"),
        (history(client, execution)[3], "timestamp"),
    ]
    assert [record.get(field, ABSENT) for record, field in records] == [value] * 3


# Limits


def test_a_request_too_many_waits_as_long_as_it_is_told(simulator: Simulator, client: httpx.Client) -> None:
    simulator.switches = Switches(rate_limit=2)
    assert [client.get("/v2024/workflows").status_code for _ in range(3)] == [200, 200, 429]
    answer = client.get("/v2024/workflows")
    assert (answer.json(), answer.headers["Retry-After"]) == ({"message": " Rate Limit Exceeded "}, "10")
    assert simulator.impolite == 1
    simulator.clock.advance(10)
    assert client.get("/v2024/workflows").status_code == 200
    assert simulator.impolite == 1


def test_each_version_has_a_limit_of_its_own(simulator: Simulator, client: httpx.Client) -> None:
    simulator.switches = Switches(rate_limit=1)
    paths = ["/v2024/workflows", "/v2025/workflows", "/workflows/v1"]
    assert [client.get(path).status_code for path in paths] == [200, 200, 200]
    assert [client.get(path).status_code for path in paths] == [429, 429, 429]
    assert client.post("/oauth/token", data=form(simulator)).status_code == 200


def overdo(client: httpx.Client, simulator: Simulator) -> int:
    """Ask too often in intervals that follow each other; gives the longest wait that was told."""
    waits = []
    for _ in range(3):
        answers = [client.get("/v2024/workflows") for _ in range(2)]
        waits += [int(x.headers["Retry-After"]) for x in answers if x.status_code == 429]
        simulator.clock.advance(10)
    return max(waits)


def test_a_route_that_is_asked_too_often_again_and_again_stays_closed_longer_each_time(
    simulator: Simulator, client: httpx.Client
) -> None:
    simulator.switches = Switches(rate_limit=1, backoff_tiers=True, token_lifetime=1e9)
    client.headers["Authorization"] = f"Bearer {simulator.issue_token()}"
    for tier in (*TIERS, TIERS[-1]):
        assert overdo(client, simulator) == tier
        impolite = simulator.impolite
        simulator.clock.advance(tier - 10 - 1)
        answer = client.get("/v2024/workflows")
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
        assert simulator.impolite == impolite + 1
        assert client.get(f"/v2024/workflows/{first(simulator)}").status_code == 200
        simulator.clock.advance(11)
    simulator.clock.advance(3600 + 11)
    assert overdo(client, simulator) == TIERS[0]


def test_every_request_is_recorded_by_endpoint(simulator: Simulator, client: httpx.Client) -> None:
    for path in paths(simulator, "per-service"):
        client.get(path)
    client.post("/oauth/token", data=form(simulator))
    client.get("/v2024/elsewhere")
    assert [seen.endpoint for seen in simulator.requests] == [
        *("workflows", "workflow", "executions", "execution", "history", "history_v2"),
        *("auth", "other"),
    ]


def test_the_date_is_the_simulators(simulator: Simulator, client: httpx.Client) -> None:
    simulator.clock.advance(3.9)
    assert client.get("/v2024/workflows").headers["date"] == "Wed, 18 Mar 2026 12:00:03 GMT"
    simulator.switches = Switches(date_header=False)
    assert "date" not in client.get("/v2024/workflows").headers
