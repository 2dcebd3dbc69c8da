"""The simulator refuses what the documents do not describe, so that a client's misreading shows."""

from __future__ import annotations

import base64
import json
from urllib.parse import urlencode

import pytest

from syncer.simulator import Answer, Clock, Outline, Request
from syncer.simulator.qualys_flow import Simulator, Switches

FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture
def simulator() -> Simulator:
    return Simulator(Outline(workflows=2, executions=30, running=0), clock=Clock(frozen=True))


def ask(simulator: Simulator, path: str, **query: str | int) -> Answer:
    headers = {"authorization": f"Bearer {simulator.issue_token()}"}
    target = f"/qflowapi/v1{path}" + (f"?{urlencode(query)}" if query else "")
    return simulator.answer(Request("GET", target, headers))


def ids(simulator: Simulator) -> tuple[str, str]:
    execution = next(iter(simulator.truth.executions.values()))
    return execution.workflow_id, execution.id


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"pageSize": 10},
        {"pageNumber": 1},
        {"pageSize": 0, "pageNumber": 1},
        {"pageSize": 10, "pageNumber": 0},
        {"pageSize": "ten", "pageNumber": 1},
        {"pageSize": -1, "pageNumber": 1},
        {"limit": 2, "page": 1},
        {"pageSize": 2, "pageNumber": 1, "sort": "createdAt"},
        {"pageSize": 2, "pageNumber": 1, "order": "tenure"},
        {"pageSize": 2, "pageNumber": 1, "order": "+createdAt"},
        {"pageSize": 2, "pageNumber": 1, "startAt": '"2024-10-15T00:00:00Z"'},
        {"pageSize": 2, "pageNumber": 1, "startAt": "2024-10-15"},
        {"pageSize": 2, "pageNumber": 1, "startAt": "2024-10-15T00:00:00"},
        {"pageSize": 2, "pageNumber": 1, "startAt": "2024-10-15T00:00:00.123456Z"},
        {"pageSize": 2, "pageNumber": 1, "endAt": "2024-13-15T00:00:00Z"},
        {"pageSize": 2, "pageNumber": 1, "endAt": 1744786878828},
        {"pageSize": 2, "pageNumber": 1, "query": "state: Success"},
    ],
)
def test_a_list_of_executions_demands_the_documented_parameters(
    simulator: Simulator, query: dict[str, str | int]
) -> None:
    workflow_id, _ = ids(simulator)
    assert ask(simulator, f"/workflows/{workflow_id}/executions", **query).status == 400


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/workflows/not-a-uuid", 400),
        ("/workflows/not-a-uuid/executions?pageSize=1&pageNumber=1", 400),
        ("/workflows/00000000-0000-4000-8000-000000000000", 404),
        ("/workflows/00000000-0000-4000-8000-000000000000/executions?pageSize=1&pageNumber=1", 404),
        ("/executions/7", 400),
        ("/executions/00000000-0000-4000-8000-000000000000", 404),
        ("/executions/00000000-0000-4000-8000-000000000000/steps", 404),
        ("/executions/{execution}/steps/no-such-node", 404),
        ("/executions/{execution}/steps/no-such-node/input", 404),
        ("/executions/{execution}/steps?pageSize=10&pageNumber=1", 400),
        ("/executions/{execution}/steps?includeData=1", 400),
        ("/executions/{execution}?includeSteps=yes", 400),
        ("/executions/{execution}/steps?order=workflow", 400),
        ("/workflows/workflows/{execution}/executions?pageSize=1&pageNumber=1", 404),
    ],
)
def test_bad_ids_and_unknown_records_are_told_apart(simulator: Simulator, path: str, status: int) -> None:
    _, execution_id = ids(simulator)
    assert ask(simulator, path.format(execution=execution_id)).status == status


def test_the_wrong_verb_is_refused(simulator: Simulator) -> None:
    headers = {"authorization": f"Bearer {simulator.issue_token()}"}
    workflow_id, _ = ids(simulator)
    path = f"/qflowapi/v1/workflows/{workflow_id}"
    assert simulator.answer(Request("POST", path, headers)).status == 405
    assert simulator.answer(Request("GET", f"{path}/run", headers)).status == 405
    assert simulator.answer(Request("GET", "/auth", headers)).status == 405


def test_running_a_workflow_is_recorded(simulator: Simulator) -> None:
    headers = {"authorization": f"Bearer {simulator.issue_token()}"}
    workflow_id, _ = ids(simulator)
    answer = simulator.answer(Request("POST", f"/qflowapi/v1/workflows/{workflow_id}/run", headers))
    assert "executionId" in json.loads(answer.body)["data"]
    assert simulator.counts["run"] == 1


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer x.y.z", "Basic dTpw", "bearer {token}", "{token}"])
def test_a_request_without_a_good_bearer_token_is_refused(simulator: Simulator, value: str) -> None:
    headers = {"authorization": value.format(token=simulator.issue_token())}
    path = "/qflowapi/v1/workflows?pageSize=1&pageNumber=1"
    assert simulator.answer(Request("GET", path, headers)).status == 401
    assert simulator.answer(Request("GET", path, {})).status == 401


def test_a_token_ends_with_its_lifetime_which_it_tells(simulator: Simulator) -> None:
    token = simulator.issue_token()
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["exp"] == simulator.clock.now_ms() // 1000 + 14_400
    path = "/qflowapi/v1/workflows?pageSize=1&pageNumber=1"
    request = Request("GET", path, {"authorization": f"Bearer {token}"})
    simulator.clock.advance(14_399)
    assert simulator.answer(request).status == 200
    simulator.clock.advance(1)
    assert simulator.answer(request).status == 401


def test_revoked_tokens_are_refused_and_new_ones_are_not(simulator: Simulator) -> None:
    token = simulator.issue_token()
    simulator.revoke_tokens()
    path = "/qflowapi/v1/workflows?pageSize=1&pageNumber=1"
    assert simulator.answer(Request("GET", path, {"authorization": f"Bearer {token}"})).status == 401
    assert ask(simulator, "/workflows", pageSize=1, pageNumber=1).status == 200


def log_in(simulator: Simulator, form: dict[str, str], headers: dict[str, str] = FORM) -> Answer:
    return simulator.answer(Request("POST", "/auth", headers, urlencode(form).encode()))


def good_form(simulator: Simulator) -> dict[str, str]:
    known = simulator.credentials
    return {"username": known.username, "password": known.password, "token": "true"}


def test_a_password_buys_a_token_as_plain_text(simulator: Simulator) -> None:
    answer = log_in(simulator, good_form(simulator))
    assert (answer.status, answer.content_type) == (201, "text/plain")
    good = Request(
        "GET",
        "/qflowapi/v1/workflows?pageSize=1&pageNumber=1",
        {"authorization": f"Bearer {answer.body.decode()}"},
    )
    assert simulator.answer(good).status == 200


def test_a_wrong_log_in_is_refused(simulator: Simulator) -> None:
    good = good_form(simulator)
    assert log_in(simulator, good | {"password": "guess"}).status == 401
    assert log_in(simulator, good | {"token": "false"}).status == 400
    assert log_in(simulator, good, {"content-type": "application/json"}).status == 415


def test_a_client_logs_in_by_headers(simulator: Simulator) -> None:
    known = simulator.credentials
    headers = FORM | {"clientid": known.client_id, "clientsecret": known.client_secret}
    assert simulator.answer(Request("POST", "/auth/oidc", headers)).body.startswith(b"ey")
    in_body = urlencode({"clientId": known.client_id, "clientSecret": known.client_secret}).encode()
    assert simulator.answer(Request("POST", "/auth/oidc", FORM, in_body)).status == 401


def test_what_is_older_than_the_horizon_is_not_served_anywhere() -> None:
    simulator = Simulator(Outline(workflows=1, executions=40, days=2, running=0), clock=Clock(frozen=True))
    workflow_id, execution_id = ids(simulator)
    simulator.clock.advance(29 * 86_400)
    listed = json.loads(
        ask(simulator, f"/workflows/{workflow_id}/executions", pageSize=99, pageNumber=1).body
    )
    limit_ms = simulator.clock.now_ms() - 30 * 86_400_000
    young = {x.id for x in simulator.truth.executions.values() if x.created_ms >= limit_ms}
    assert 0 < len(young) < 40
    assert {item["id"] for item in listed["items"]} == young
    assert execution_id not in young
    for path in ("", "/steps", "/steps/trigger"):
        assert ask(simulator, f"/executions/{execution_id}{path}").status == 404


def test_a_query_filters_by_status_and_by_name(simulator: Simulator) -> None:
    workflow_id, _ = ids(simulator)
    page = {"pageSize": 99, "pageNumber": 1}
    answer = ask(simulator, f"/workflows/{workflow_id}/executions", query="status: Error", **page)
    failed = [x.id for x in simulator.truth.executions.values() if x.status == "Error"]
    assert {item["id"] for item in json.loads(answer.body)["items"]} <= set(failed)
    assert {item["status"] for item in json.loads(answer.body)["items"]} == {"Error"}
    name = simulator.truth.workflows[workflow_id].name
    named = json.loads(ask(simulator, "/workflows", query=f"qflow.name: {name}", **page).body)
    assert [item["id"] for item in named["items"]] == [workflow_id]


def test_every_request_is_recorded_and_counted_by_endpoint(simulator: Simulator) -> None:
    workflow_id, execution_id = ids(simulator)
    ask(simulator, f"/workflows/{workflow_id}/executions", pageSize=1, pageNumber=1)
    ask(simulator, f"/executions/{execution_id}/steps/nothing")
    assert [(seen.endpoint, seen.status) for seen in simulator.requests] == [
        ("executions", 200),
        ("step", 404),
    ]
    path, query = f"/qflowapi/v1/workflows/{workflow_id}/executions", {"pageSize": "1", "pageNumber": "1"}
    assert simulator.requests[0][:4] == ("GET", path, query, 200)
    assert simulator.counts["step"] == 1
    assert simulator.counts["output"] == 0
    simulator.clear_requests()
    assert not simulator.requests


@pytest.mark.parametrize(
    "dialect", ["429_retry_after", "429_retry_date", "429_towait", "409_xml", "429_bare"]
)
def test_the_limit_holds_until_the_window_has_passed(dialect: str) -> None:
    switches = Switches(rate_limit=3, rate_window=60, limit_dialect=dialect)  # type: ignore[arg-type]
    simulator = Simulator(Outline(workflows=1, executions=5), switches=switches, clock=Clock(frozen=True))
    page = {"pageSize": 1, "pageNumber": 1}
    allowed = [ask(simulator, "/workflows", **page) for _ in range(3)]
    assert [answer.status for answer in allowed] == [200, 200, 200]
    assert dict(allowed[2].headers)["X-RateLimit-Remaining"] == "0"
    refused = ask(simulator, "/workflows", **page)
    assert refused.status == (409 if dialect == "409_xml" else 429)
    assert ("60" in dict(refused.headers).values()) == (dialect not in ("429_bare", "429_retry_date"))
    assert (b"SECONDS_TO_WAIT</KEY><VALUE>60<" in refused.body) == (dialect == "409_xml")
    simulator.clock.advance(59)
    assert ask(simulator, "/workflows", **page).status != 200
    assert simulator.impolite == (0 if dialect == "429_bare" else 1)
    simulator.clock.advance(1)
    assert ask(simulator, "/workflows", **page).status == 200


def test_logging_in_is_exempt_from_the_limit() -> None:
    simulator = Simulator(Outline(workflows=0), switches=Switches(rate_limit=0))
    assert log_in(simulator, good_form(simulator)).status == 201
