"""The simulated SecMaster refuses what the documents do not describe, so that a client's misreading shows."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest

from syncer.simulator import Answer, Clock, Outline, Request
from syncer.simulator.secmaster import SWITCHES, Simulator, Switches
from syncer.simulator.secmaster.signing import canonical_request, is_signed, signature_of, string_to_sign
from syncer.simulator.secmaster.times import read, written

NOON = datetime(2026, 3, 18, 12, tzinfo=UTC)
TIME = "2026-03-18T15:11:03.000Z+0800"


@pytest.fixture
def simulator() -> Simulator:
    return Simulator(Outline(workflows=2, executions=30, running=0), clock=Clock(NOON, frozen=True))


def soc(simulator: Simulator) -> str:
    known = simulator.credentials
    return f"/v1/{known.project_id}/workspaces/{known.workspaces[0]}/soc"


def ask(simulator: Simulator, target: str, method: str = "GET", **headers: str) -> Answer:
    given = {"x-auth-token": simulator.issue_token(), "content-type": "application/json;charset=UTF-8"}
    return simulator.answer(Request(method, target, given | headers))


def instances(simulator: Simulator, **query: str | int) -> Answer:
    return ask(simulator, f"{soc(simulator)}/workflows/instances?{urlencode(query)}")


def told(answer: Answer) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(answer.body)
    return body


# Parameters


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 101},
        {"limit": "ten"},
        {"limit": -1},
        {"limit": ""},
        {"limit": "٣"},
        {"offset": -1},
        {"offset": 10001},
        {"offset": 9901, "limit": 100},
        {"page": 1},
        {"pageSize": 10},
        {"sort_key": "start_time"},
        {"sort_key": "CREATE_TIME"},
        {"sort_dir": "asc"},
        {"sortby": "create_time"},
        {"order": "ASC"},
        {"status": "Success"},
        {"trigger_type": "CRON"},
        {"defense_id": "x"},
        {"show_topology": "true"},
        {"from_date": "2025-07-18"},
        {"from_date": "2026-03-18T15:11:03Z"},
        {"from_date": "2026-03-18T15:11:03.000Z"},
        {"from_date": "2026-03-18T15:11:03.000+08:00"},
        {"from_date": "2026-03-18T15:11:03.000+0800"},
        {"from_date": "2026-03-18T15:11:03.000Z+08:00"},
        {"from_date": "2026-03-18T15:11:03Z+0800"},
        {"from_date": "2026-03-18T15:11:03.000000Z+0800"},
        {"from_date": "2026-13-18T15:11:03.000Z+0800"},
        {"to_date": 1773846663000},
        {"to_date": ""},
    ],
)
def test_a_list_of_instances_takes_the_documented_parameters_alone(
    simulator: Simulator, query: dict[str, str | int]
) -> None:
    answer = instances(simulator, **query)
    assert (answer.status, set(told(answer))) == (400, {"code", "message"})


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 100, "offset": 9900},
        {"limit": 1, "offset": 9999},
        {"from_date": TIME, "to_date": "2026-03-18T07:11:03.001Z+0000"},
        {"from_date": "2026-03-18T07:11:03.000Z-0330"},
        {"status": "CREATED", "trigger_type": "DEBUG", "defence_id": ""},
    ],
)
def test_what_is_documented_is_understood(simulator: Simulator, query: dict[str, str | int]) -> None:
    assert instances(simulator, **query).status == 200


def test_a_plus_that_is_not_encoded_is_a_space(simulator: Simulator) -> None:
    path = f"{soc(simulator)}/workflows/instances"
    assert ask(simulator, f"{path}?from_date={TIME}").status == 400
    assert ask(simulator, f"{path}?from_date={quote(TIME)}").status == 200


def test_a_parameter_given_twice_is_refused(simulator: Simulator) -> None:
    assert ask(simulator, f"{soc(simulator)}/workflows/instances?limit=10&limit=10").status == 400


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/workflows?sort_key=create_time", 400),
        ("/workflows?sortby=name", 400),
        ("/workflows?enabled=1", 400),
        ("/workflows?limit=101", 400),
        ("/workflows?from_date=x", 400),
        ("/workflows/nope?limit=1", 400),
        ("/workflows/nope", 404),
        ("/workflows/instances/nope", 404),
        ("/workflows/instances/nope?show_topology=1", 400),
        ("/workflows/instances/nope?show_topology=True", 400),
        ("/workflows/instances/nope/topology", 404),
        ("/workflows/", 404),
    ],
)
def test_bad_parameters_and_unknown_records_are_told_apart(
    simulator: Simulator, path: str, status: int
) -> None:
    assert ask(simulator, soc(simulator) + path).status == status


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD"])
def test_the_wrong_verb_is_refused(simulator: Simulator, method: str) -> None:
    assert ask(simulator, f"{soc(simulator)}/workflows/instances", method).status == 405
    assert ask(simulator, "/v3/auth/tokens").status == 405


def test_the_header_that_the_documents_demand_is_demanded(simulator: Simulator) -> None:
    path = f"{soc(simulator)}/workflows/instances"
    assert ask(simulator, path, **{"content-type": "application/json"}).status == 200
    assert ask(simulator, path, **{"content-type": "text/plain"}).status == 400


def test_a_strange_project_workspace_or_path_is_refused_by_who_knows(simulator: Simulator) -> None:
    known = simulator.credentials
    project = ask(simulator, f"/v1/{'0' * 32}/workspaces/{known.workspaces[0]}/soc/workflows")
    assert (project.status, told(project)["error_code"]) == (403, "APIGW.0302")
    assert "encoded_authorization_message" in told(project)
    workspace = ask(simulator, f"/v1/{known.project_id}/workspaces/{known.project_id}/soc/workflows")
    assert (workspace.status, set(told(workspace))) == (404, {"code", "message"})
    path = ask(simulator, "/v2/anything")
    assert (path.status, told(path)["error_code"]) == (404, "APIGW.0101")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"auth":{}}',
        b'{"auth":{"identity":{"methods":["password"]},"scope":{"project":{"name":"cn-north-4"}}}}',
    ],
)
def test_a_log_in_that_is_not_as_documented_is_a_bad_request(simulator: Simulator, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = simulator.answer(Request("POST", "/v3/auth/tokens", headers, body))
    assert (answer.status, told(answer)["error"]["title"]) == (400, "Bad Request")


def test_a_token_is_asked_for_in_json(simulator: Simulator) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert simulator.answer(Request("POST", "/v3/auth/tokens", form, b"name=x")).status == 400


# Signatures

# The vendor's client signs this request so.
SIGNED = "content-type;host;x-project-id;x-sdk-date"
VECTOR = Request(
    "GET",
    "/v1/pid123/workspaces/ws1/soc/workflows/instances?from_date=2025-07-18T15%3A11%3A03.000Z%2B0800"
    "&limit=100&offset=0&sort_dir=ASC&sort_key=update_time",
    {
        "x-sdk-date": "20261120T000000Z",
        "content-type": "application/json",
        "x-project-id": "pid123",
        "host": "secmaster.cn-north-4.myhuaweicloud.com",
        "authorization": f"SDK-HMAC-SHA256 Access=AKEXAMPLE, SignedHeaders={SIGNED}, "
        "Signature=cbe7424ec0ae2d5ffbcc813760672712d08a6d0960ed72a150702dcd34321e4c",
    },
)
CANONICAL = """\
GET
/v1/pid123/workspaces/ws1/soc/workflows/instances/
from_date=2025-07-18T15%3A11%3A03.000Z%2B0800&limit=100&offset=0&sort_dir=ASC&sort_key=update_time
content-type:application/json
host:secmaster.cn-north-4.myhuaweicloud.com
x-project-id:pid123
x-sdk-date:20261120T000000Z

content-type;host;x-project-id;x-sdk-date
e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"""


def test_a_request_of_the_vendors_client_is_read_as_it_was_signed() -> None:
    given = signature_of(VECTOR)
    assert given is not None
    assert (given.access_key, ";".join(given.signed_headers)) == ("AKEXAMPLE", SIGNED)
    assert canonical_request(VECTOR, given.signed_headers) == CANONICAL
    text = string_to_sign(VECTOR, given.signed_headers)
    assert text.endswith("\nafd56cce9e1bfca78aa0df757914a9db43eb521d82150270191e5731d4ee359b")
    assert is_signed(VECTOR, given, "SKEXAMPLE")
    assert not is_signed(VECTOR, given, "SKEXAMPLF")


def signed(simulator: Simulator, url: str, target: str, **changes: str) -> dict[str, str]:
    """The headers of a signed GET, written from the vendor's description a second time."""
    known = simulator.credentials
    path, _, query = target.partition("?")
    headers = {
        "content-type": "application/json",
        "host": url.removeprefix("http://"),
        "x-sdk-date": "20260318T121459Z",
    } | changes
    names = sorted(headers)
    parts = ["GET", f"{path}/", query, *(f"{name}:{headers[name]}" for name in names), "", ";".join(names)]
    canonical = "\n".join([*parts, hashlib.sha256(b"").hexdigest()])
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"SDK-HMAC-SHA256\n{headers['x-sdk-date']}\n{digest}"
    signature = hmac.new(known.secret_key.encode(), text.encode(), hashlib.sha256).hexdigest()
    access = f"Access={known.access_key}, SignedHeaders={';'.join(names)}, Signature={signature}"
    return headers | {"authorization": f"SDK-HMAC-SHA256 {access}"}


@pytest.fixture
def served(simulator: Simulator) -> Iterator[tuple[str, httpx.Client]]:
    with simulator.serve() as url, httpx.Client(base_url=url) as client:
        yield url, client


def test_a_signed_request_needs_no_token(simulator: Simulator, served: tuple[str, httpx.Client]) -> None:
    url, client = served
    target = f"{soc(simulator)}/workflows/instances?from_date={quote(TIME, safe='')}&limit=1"
    headers = signed(simulator, url, target)
    assert client.get(target, headers=headers).status_code == 200
    simulator.revoke_tokens()
    assert client.get(target, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("at", "status"),
    [
        ("20260318T114458Z", 401),
        ("20260318T114502Z", 200),
        ("20260318T121458Z", 200),
        ("20260318T121502Z", 401),
        ("2026-03-18T12:00:00Z", 401),
        ("", 401),
    ],
)
def test_a_signature_is_good_a_quarter_of_an_hour_around_its_date(
    simulator: Simulator, served: tuple[str, httpx.Client], at: str, status: int
) -> None:
    url, client = served
    target = f"{soc(simulator)}/workflows"
    headers = signed(simulator, url, target, **{"x-sdk-date": at})
    assert client.get(target, headers=headers).status_code == status


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda given: {"authorization": given["authorization"][:-1] + "x"},
        lambda given: {"authorization": given["authorization"].replace("Access=SIM", "Access=XIM")},
        lambda given: {"authorization": given["authorization"].replace("SDK-HMAC", "V11-HMAC")},
        lambda given: {"authorization": given["authorization"].replace("host;", "")},
        lambda _given: {"content-type": "application/json;charset=UTF-8"},
        lambda _given: {"host": "secmaster.cn-north-4.myhuaweicloud.com"},
        lambda _given: {"x-sdk-date": "20260318T120000Z"},
        lambda _given: {"authorization": ""},
    ],
)
def test_a_request_that_is_not_the_one_signed_is_refused(
    simulator: Simulator, served: tuple[str, httpx.Client], spoilt: Any
) -> None:
    url, client = served
    target = f"{soc(simulator)}/workflows"
    given = signed(simulator, url, target)
    answer = client.get(target, headers=given | spoilt(given))
    assert (answer.status_code, answer.json()["error_code"]) == (401, "APIGW.0301")
    assert client.get(f"{target}?limit=1", headers=given).status_code == 401


def test_a_bad_token_is_not_mended_by_a_good_signature(
    simulator: Simulator, served: tuple[str, httpx.Client]
) -> None:
    url, client = served
    target = f"{soc(simulator)}/workflows"
    headers = signed(simulator, url, target) | {"x-auth-token": "MIIgarbage"}
    assert client.get(target, headers=headers).status_code == 401


# Errors and limits


@pytest.mark.parametrize("form", SWITCHES["error_body"])
def test_an_error_is_told_in_the_form_chosen(simulator: Simulator, form: Any) -> None:
    simulator.switches = Switches(error_body=form)
    body = told(instances(simulator, limit=0))
    code, message = "SecMaster.00000400", "limit must be from 1 to 100"
    coded = {"error_code": code, "error_msg": message}
    assert {name: value for name, value in body.items() if name != "request_id"} == {
        "documented": {"code": code, "message": message},
        "code": {"code": code, "message": message},
        "error_code": coded,
        "errorCode": {"errorCode": code, "errorMsg": message},
        "nested": {"error": coded | {"request_id": body.get("error", {}).get("request_id")}},
        "iam": {"error": {"code": code, "message": message, "title": "Bad Request"}},
    }[form]


@pytest.mark.parametrize("dialect", SWITCHES["limit_dialect"])
@pytest.mark.parametrize(("window", "told_as"), [(1.0, "1 second"), (60.0, "1 minute"), (90.0, "90 second")])
def test_the_limit_is_told_in_words_and_holds_until_its_window_is_over(
    simulator: Simulator, dialect: Any, window: float, told_as: str
) -> None:
    simulator.switches = Switches(limit_dialect=dialect, rate_limit=3, rate_window=window)
    assert [instances(simulator).status for _ in range(3)] == [200] * 3
    refused = instances(simulator)
    assert "Retry-After" not in dict(refused.headers)
    if dialect == "429_bare":
        assert (refused.status, refused.body) == (429, b"")
    else:
        status, _, gateway = dialect.partition("_")
        code = None if gateway == "words" else f"{gateway}.0308"
        assert (refused.status, told(refused).get("error_code")) == (int(status), code)
        said = f"policy user over ratelimit,limit:3,time:{told_as}"
        assert told(refused)["error_msg"] == f"The throttling threshold has been reached: {said}"
    simulator.clock.advance(window)
    assert instances(simulator).status == 200


def test_impatience_is_counted_and_logging_in_is_free(simulator: Simulator) -> None:
    simulator.switches = Switches(rate_limit=1, rate_window=60.0)
    for _ in range(4):
        instances(simulator)
    assert simulator.impolite == 2
    headers = {"content-type": "application/json"}
    assert simulator.answer(Request("POST", "/v3/auth/tokens", headers, b"{}")).status == 400


def test_every_answer_carries_the_id_of_its_request(simulator: Simulator) -> None:
    good, bad = instances(simulator), instances(simulator, limit=0)
    ids = [dict(answer.headers)["X-Request-Id"] for answer in (good, bad)]
    assert len(set(ids)) == 2


# Times


@pytest.mark.parametrize("form", SWITCHES["times"])
def test_a_time_is_read_back_in_the_form_it_is_written_in(form: str) -> None:
    at_ms = 1_752_822_664_577
    assert read(written(at_ms, form), form) == (at_ms // 1000 * 1000 if form == "seconds" else at_ms)
    shown = {
        "literal_z": "2025-07-18T15:11:04.577Z+0800",
        "colon": "2025-07-18T15:11:04.577+08:00",
        "seconds": "2025-07-18T15:11:04Z+0800",
        "utc": "2025-07-18T07:11:04.577Z",
    }
    assert written(at_ms, form) == shown[form]
    assert read(shown["literal_z"], form) == at_ms


def test_no_time_is_out_of_reach(simulator: Simulator) -> None:
    assert instances(simulator, from_date="9999-12-31T23:59:59.999Z-1200").status == 200
    assert instances(simulator, from_date="0000-01-01T00:00:00.000Z+0000").status == 400
    simulator.switches = replace(simulator.switches, date_bounds="exclusive")
    assert instances(simulator, to_date="0001-01-01T00:00:00.000Z+0000").status == 200
