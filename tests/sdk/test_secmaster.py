"""Huawei's own SDKs understand the simulated SecMaster and its IAM, and sign what it lets in."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from syncer.simulator import Execution, Outline
from syncer.simulator.secmaster import Simulator, Switches
from syncer.simulator.secmaster.times import moment, written
from tests.sdk.conftest import Sdks, plain

SDK = "huawei", "drive_secmaster.py"


class Judge:
    """The SDK that talks to a simulated SecMaster, with the good keys unless `keys` says otherwise."""

    def __init__(self, simulator: Simulator, url: str, sdks: Sdks) -> None:
        known = simulator.credentials
        self.simulator = simulator
        self.keys: dict[str, Any] = {
            "url": url,
            "access_key": known.access_key,
            "secret_key": known.secret_key,
            "project_id": known.project_id,
        }
        self.workspace = known.workspaces[0]
        self._sdk = sdks[SDK]

    def outcome(self, operation: str, /, **attributes: Any) -> dict[str, Any]:
        """What one call gave or raised."""
        [outcome] = self._sdk.calls(self.keys, [(operation, attributes)])
        return outcome

    def value(self, operation: str, /, **attributes: Any) -> Any:
        """What one call in the workspace gave, as far as a client can tell."""
        outcome = self.outcome(operation, workspace_id=self.workspace, **attributes)
        assert "value" in outcome, outcome
        return plain(outcome["value"])

    def error(self, operation: str = "list_aop_workflow_instance", /, **attributes: Any) -> dict[str, Any]:
        """What one call in the workspace raised."""
        outcome = self.outcome(operation, workspace_id=self.workspace, **attributes)
        assert "error" in outcome, outcome
        error: dict[str, Any] = outcome["error"]
        return error

    def sent(self, path: str, token: str | None = None, **query: Any) -> Any:
        """What the workspace sends, as far as a client can tell."""
        url = f"{self.keys['url']}/v1/{self.simulator.credentials.project_id}/workspaces/{self.workspace}/soc"
        headers = {"X-Auth-Token": token or self.simulator.issue_token(), "Content-Type": "application/json"}
        answer = httpx.get(url + path, params=query, headers=headers, trust_env=False)
        assert answer.status_code == 200, answer.text
        return plain(answer.json())

    def instances(self) -> list[Execution]:
        """Those of the workspace, the latest first."""
        truth = self.simulator.truth
        mine = [
            each
            for each in truth.executions.values()
            if self.simulator.workspace_of(truth.workflows[each.workflow_id]) == self.workspace
        ]
        return sorted(mine, key=lambda each: -each.created_ms)


@pytest.fixture
def simulator() -> Simulator:
    return Simulator(Outline(workflows=2, executions=10, steps=4, running=2, queued=1, failing=0.4))


@pytest.fixture
def judge(simulator: Simulator, sdks: Sdks) -> Iterator[Judge]:
    with simulator.serve() as url:
        yield Judge(simulator, url, sdks)


def without(parsed: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in parsed.items() if key not in names}


# Lists and records


def test_instances_are_listed_page_by_page(judge: Judge) -> None:
    pages = [judge.value("list_aop_workflow_instance", limit=4, offset=offset) for offset in (0, 4, 8, 12)]
    assert [len(page["instances"]) for page in pages] == [4, 4, 2, 0]
    assert {page["count"] for page in pages} == {10}
    listed = [each for page in pages for each in page["instances"]]
    assert [each["id"] for each in listed] == [each.id for each in judge.instances()]
    assert listed == judge.sent("/workflows/instances", limit=100)["instances"]


def test_a_window_goes_in_as_its_documents_write_times(judge: Judge) -> None:
    third = judge.instances()[2].created_ms
    late = {"from_date": written(third, "literal_z"), "sort_key": "create_time", "sort_dir": "ASC"}
    listed = judge.value("list_aop_workflow_instance", **late)["instances"]
    assert [each["id"] for each in listed] == [each.id for each in judge.instances()[2::-1]]
    before = {"to_date": written(third - 1, "literal_z")}
    assert judge.value("list_aop_workflow_instance", **before)["count"] == 7


def test_an_instance_is_shown_with_its_topology(judge: Judge) -> None:
    failed = next(each for each in judge.instances() if each.outcome == "failed")
    shown = judge.value("show_aop_workflow_instance", instance_id=failed.id, show_topology=True)
    assert shown == judge.sent(f"/workflows/instances/{failed.id}", show_topology="true")
    nodes = shown["topology"]["audit_logs"]
    assert [node["action_id"] for node in nodes] == [attempt.node_id for attempt in failed.attempts]
    assert nodes[-1]["succeed"] is False
    alone = judge.value("show_aop_workflow_instance", instance_id=failed.id)
    assert "topology" not in alone


def test_workflows_are_listed_and_shown(judge: Judge) -> None:
    listed = judge.value("list_workflows", enabled=True)
    sent = judge.sent("/workflows", enabled="true")
    assert listed["data"] == sent["data"]
    assert listed["total"] == len(sent["data"])
    first = listed["data"][0]["id"]
    shown = judge.value("show_aop_workflow", workflow_id=first)
    assert without(shown, "request_id") == without(judge.sent(f"/workflows/{first}"), "request_id")


# Access


@pytest.mark.parametrize(
    ("key", "value"),
    [("secret_key", "another"), ("access_key", "ANOTHER"), ("project_id", "0" * 32)],
)
def test_only_the_right_keys_come_in(judge: Judge, key: str, value: str) -> None:
    judge.keys[key] = value
    assert judge.error()["status_code"] in (401, 403)


def test_a_signature_that_does_not_fit_is_told_as_the_gateway_tells_it(judge: Judge) -> None:
    judge.keys["secret_key"] += "x"
    error = judge.error()
    assert (error["status_code"], error["error_code"]) == (401, "APIGW.0301")
    assert "verify aksk signature fail" in error["error_msg"]
    assert error["request_id"]


@pytest.mark.parametrize("text", ["a b+c", "ü&=/?#", "%41~*'()", '"<>"'])
def test_a_signature_holds_whatever_is_asked_for(judge: Judge, text: str) -> None:
    assert judge.value("list_aop_workflow_instance", name=text)["count"] == 0


def test_a_signature_of_another_hour_is_refused(judge: Judge) -> None:
    judge.simulator.clock.advance(timedelta(hours=1).total_seconds())
    assert judge.error()["status_code"] == 401


def test_the_projects_id_is_found_by_its_name(judge: Judge) -> None:
    del judge.keys["project_id"]
    judge.keys["project"] = judge.simulator.credentials.project
    assert judge.value("list_aop_workflow_instance")["count"] == 10
    assert judge.simulator.counts["projects"] == 1


def token_for(judge: Judge, **changes: str) -> dict[str, Any]:
    known = judge.simulator.credentials
    names = ("domain", "username", "password", "project")
    return judge.outcome("token", **{name: getattr(known, name) for name in names} | changes)


def test_iams_token_comes_in_a_header_and_opens(judge: Judge) -> None:
    token = token_for(judge)["value"]
    assert token["token"]["project"]["id"] == judge.simulator.credentials.project_id
    day = moment(judge.simulator.clock.now_ms() + 86_400_000).timestamp()
    assert abs(plain(token["token"]["expires_at"]).timestamp() - day) < 60
    assert judge.sent("/workflows/instances", token=token["header"])["count"] == 10


@pytest.mark.parametrize("key", ["domain", "username", "password", "project"])
def test_iam_lets_nobody_else_in(judge: Judge, key: str) -> None:
    error = token_for(judge, **{key: "another"})["error"]
    assert error["status_code"] in (401, 403)
    assert error["error_msg"]


# Errors and limits


@pytest.mark.parametrize("form", ["documented", "code", "error_code", "errorCode", "nested"])
def test_an_error_is_read_in_every_form(judge: Judge, form: str) -> None:
    judge.simulator.switches = Switches(error_body=form)  # type: ignore[arg-type]
    error = judge.error("show_aop_workflow_instance", instance_id="nobody")
    assert (error["status_code"], error["error_msg"]) == (404, "no such instance")
    assert error["error_code"]


def test_too_many_requests_end_in_an_error_without_words(judge: Judge) -> None:
    """The SDK swallows what a 429 says; syncer reads it."""
    judge.simulator.switches = Switches(rate_limit=0)
    error = judge.error()
    assert (error["status_code"], error["error_code"]) == (429, "429")
    assert [seen.status for seen in judge.simulator.requests] == [429]


def test_a_limit_told_with_another_status_keeps_its_words(judge: Judge) -> None:
    judge.simulator.switches = Switches(rate_limit=0, limit_dialect="403_APIGW")
    error = judge.error()
    assert (error["status_code"], error["error_code"]) == (403, "APIGW.0308")
    assert "limit:0,time:1 second" in error["error_msg"]


def test_the_line_that_the_command_prints_is_all_it_needs(sdks: Sdks) -> None:
    command = [sys.executable, "-m", "syncer.simulator", "--platform", "secmaster", "--executions", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        told = json.loads(process.stdout.readline())
        calls = [("list_aop_workflow_instance", {"workspace_id": each}) for each in told["workspaces"]]
        outcomes = sdks[SDK].calls(told, calls)
        process.terminate()
    assert sum(outcome["value"]["count"] for outcome in outcomes) == 15
