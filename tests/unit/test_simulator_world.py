"""A simulated history can be changed while it is served, and the truth changes with it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

from syncer.simulator import ABSENT, Answer, Clock, Outline, Request, Seen
from syncer.simulator.payloads import Given
from syncer.simulator.qualys_flow import Simulator


@pytest.fixture
def simulator() -> Simulator:
    return Simulator(Outline(workflows=2, executions=20, running=2), clock=Clock(frozen=True))


def ask(simulator: Simulator, path: str, **query: str | int) -> Answer:
    headers = {"authorization": f"Bearer {simulator.issue_token()}"}
    target = f"/qflowapi/v1{path}" + (f"?{urlencode(query)}" if query else "")
    return simulator.answer(Request("GET", target, headers))


def listed(simulator: Simulator, workflow_id: str | None = None, **query: str | int) -> list[Any]:
    asked: dict[str, str | int] = {"pageSize": 100, "pageNumber": 1, "order": "createdAt", **query}
    path = f"/workflows/{workflow_id or next(iter(simulator.truth.workflows))}/executions"
    items: list[Any] = json.loads(ask(simulator, path, **asked).body)["items"]
    return items


def told(simulator: Simulator, execution_id: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(ask(simulator, f"/executions/{execution_id}").body)["data"]
    return data


def running(simulator: Simulator) -> str:
    return next(x.id for x in simulator.truth.executions.values() if x.outcome == "running")


def test_what_is_served_is_the_truth(simulator: Simulator) -> None:
    simulator.delete_execution(listed(simulator)[4]["id"])
    served = [item for workflow_id in simulator.truth.workflows for item in listed(simulator, workflow_id)]
    truth = simulator.truth.served(simulator.clock.now_ms())
    assert [(item["id"], item["status"], item["createdAt"], item["endDate"]) for item in served] == [
        (x.id, x.status, x.created_ms, x.ended_ms) for x in truth
    ]
    for execution in truth:
        steps = json.loads(ask(simulator, f"/executions/{execution.id}/steps", order="createdAt").body)[
            "items"
        ]
        assert [(item["id"], item["nodeId"], item["startDate"], item["endDate"]) for item in steps] == [
            (event.id, event.node_id, event.started_ms, event.ended_ms) for event in execution.events
        ]


def test_what_is_added_is_served_with_its_steps(simulator: Simulator) -> None:
    simulator.clock.advance(60)
    added = simulator.add_execution()
    assert listed(simulator)[-1]["id"] == added.id
    assert added.created_ms == simulator.clock.now_ms()
    assert json.loads(ask(simulator, f"/executions/{added.id}/steps").body)["total"] == 8
    assert max(event.created_ms for event in added.events) < simulator.clock.now_ms() + 1000


def test_what_is_added_in_the_past_stands_in_its_place(simulator: Simulator) -> None:
    times = [item["createdAt"] for item in listed(simulator)]
    added = simulator.add_execution(created_ms=times[5])
    assert added.id in [item["id"] for item in listed(simulator)[5:8]]


def test_an_added_execution_moves_the_hint_of_its_workflow_when_it_has_ended(simulator: Simulator) -> None:
    workflow = next(iter(simulator.truth.workflows.values()))
    before = workflow.updated_ms
    execution = simulator.add_execution(workflow.id, status="Running")
    assert workflow.updated_ms == before
    simulator.clock.advance(30)
    simulator.end_execution(execution.id, "Error", "it broke")
    shown = json.loads(ask(simulator, f"/workflows/{workflow.id}").body)["data"]
    assert shown["updatedAt"] > before
    assert shown["last_execution_status"] == "Error"
    assert shown["last_execution_details"]["message"] == "it broke"


def test_what_is_hidden_shows_itself_in_time(simulator: Simulator) -> None:
    late_ms = simulator.clock.now_ms() + 5_000
    hidden = simulator.add_execution(visible_ms=late_ms)
    for _ in range(2):
        assert hidden.id not in [item["id"] for item in listed(simulator)]
        assert ask(simulator, f"/executions/{hidden.id}").status == 404
        assert hidden not in simulator.truth.served(simulator.clock.now_ms())
        simulator.clock.advance(2)
    simulator.clock.advance(1)
    assert hidden.id in [item["id"] for item in listed(simulator)]
    assert told(simulator, hidden.id)["createdAt"] == late_ms - 5_000


def test_an_ended_execution_ends_its_running_step_and_changes_its_row(simulator: Simulator) -> None:
    execution = simulator.truth.executions[running(simulator)]
    before = told(simulator, execution.id)
    simulator.clock.advance(10)
    simulator.end_execution(execution.id)
    after = told(simulator, execution.id)
    assert (before["status"], before["endDate"]) == ("Running", None)
    assert (after["status"], after["endDate"]) == ("Success", simulator.clock.now_ms())
    assert after["updatedAt"] > before["updatedAt"]
    assert {attempt.outcome for attempt in execution.attempts} == {"succeeded"}
    assert [event.status for event in execution.attempts[-1].events] == ["Running", "Success"]


def test_all_running_executions_end_at_once(simulator: Simulator) -> None:
    queued = simulator.add_execution(status="Queued")
    ended = simulator.end_all_running("Aborted")
    assert len(ended) == 3
    assert queued.outcome == "canceled"
    assert not [x for x in simulator.truth.executions.values() if x.ended_ms is None]
    assert simulator.end_all_running() == []


def test_a_reopened_execution_runs_again_with_a_new_attempt(simulator: Simulator) -> None:
    execution = simulator.add_execution(status="Error")
    failed = execution.attempts[-1]
    simulator.clock.advance(20)
    attempt = simulator.reopen_execution(execution.id)
    assert (attempt.node_id, attempt.number, attempt.outcome) == (failed.node_id, 2, "running")
    assert told(simulator, execution.id)["endDate"] is None
    simulator.clock.advance(20)
    simulator.end_execution(execution.id)
    assert [a.outcome for a in execution.attempts[-2:]] == ["failed", "succeeded"]


def test_deleted_executions_are_gone_but_remembered(simulator: Simulator) -> None:
    first, second = [item["id"] for item in listed(simulator)[:2]]
    simulator.delete_execution(first, second)
    assert len(listed(simulator)) == 18
    assert ask(simulator, f"/executions/{first}/steps").status == 404
    assert simulator.truth.executions[first].deleted_ms == simulator.clock.now_ms()
    assert len(simulator.truth.served(simulator.clock.now_ms())) == 38


def test_a_deleted_workflow_takes_its_executions_along(simulator: Simulator) -> None:
    workflow_id = next(iter(simulator.truth.workflows))
    simulator.delete_workflow(workflow_id)
    assert len(simulator.truth.served(simulator.clock.now_ms())) == 20
    assert ask(simulator, f"/workflows/{workflow_id}").status == 404


def test_an_edited_workflow_has_a_new_revision_without_its_last_node(simulator: Simulator) -> None:
    workflow = next(iter(simulator.truth.workflows.values()))
    dropped = workflow.nodes[-1]
    simulator.clock.advance(5)
    simulator.edit_workflow(workflow.id)
    shown = json.loads(ask(simulator, f"/workflows/{workflow.id}").body)["data"]
    assert dropped.id not in [component["id"] for component in json.loads(shown["definition"])["components"]]
    assert shown["revision"] == workflow.revisions[1].revision != workflow.revisions[0].revision
    assert shown["updatedAt"] == simulator.clock.now_ms()
    assert simulator.add_execution(workflow.id).attempts[-1].node_id != dropped.id


def test_a_new_workflow_is_listed_and_can_run(simulator: Simulator) -> None:
    workflow = simulator.add_workflow()
    added = simulator.add_execution(workflow.id)
    assert [item["id"] for item in listed(simulator, workflow.id)] == [added.id]


def test_rows_can_vanish_between_two_pages(simulator: Simulator) -> None:
    pages: list[list[str]] = []

    def forget_the_first(seen: Seen) -> None:
        if seen.query["pageNumber"] == "1":
            simulator.delete_execution(pages[0][0])

    pages.append([item["id"] for item in listed(simulator, pageSize=10)])
    simulator.after_page = forget_the_first
    whole = [item["id"] for item in listed(simulator)]
    shifted = [item["id"] for item in listed(simulator, pageSize=10, pageNumber=2)]
    assert shifted == whole[11:]


def test_a_spoiled_record_is_served_with_its_lie_in_lists_and_alone(simulator: Simulator) -> None:
    record_id = listed(simulator)[3]["id"]
    simulator.spoil(record_id, "createdAt", "yesterday")
    simulator.spoil(record_id, "status", msgspec.Raw(b'"\\ud800"'))
    simulator.spoil(record_id, "tags")
    body = ask(
        simulator,
        f"/workflows/{next(iter(simulator.truth.workflows))}/executions",
        pageSize=9,
        pageNumber=1,
        order="createdAt",
    ).body
    assert b'"status":"\\ud800"' in body
    for record in (listed(simulator)[3], told(simulator, record_id)):
        assert record["createdAt"] == "yesterday"
        assert "tags" not in record
    assert simulator.truth.spoiled[record_id]["tags"] is ABSENT
    simulator.mend(record_id)
    assert listed(simulator)[3]["createdAt"] == simulator.truth.executions[record_id].created_ms


def test_a_whole_record_can_be_replaced_and_events_and_workflows_spoiled(simulator: Simulator) -> None:
    execution = simulator.truth.executions[listed(simulator)[0]["id"]]
    simulator.spoil(execution.id, None, [1, 2])
    assert listed(simulator)[0] == [1, 2]
    simulator.mend(execution.id)
    simulator.spoil(execution.events[0].id, "id")
    steps = json.loads(ask(simulator, f"/executions/{execution.id}/steps", order="createdAt").body)
    assert ["id" in item for item in steps["items"]] == [False, *[True] * (steps["total"] - 1)]
    simulator.spoil(execution.workflow_id, "name", 7)
    items = json.loads(ask(simulator, "/workflows", pageSize=9, pageNumber=1).body)["items"]
    assert 7 in [item["name"] for item in items]


def test_a_payload_can_be_chosen(simulator: Simulator) -> None:
    execution = simulator.add_execution()
    simulator.set_payload(execution.id, "trigger", "output", b'{"nul":"\\u0000"}')
    assert execution.attempts[0].output == {"nul": "\x00"}
    assert execution.attempts[0].made == Given(b'{"nul":"\\u0000"}')
    answer = ask(simulator, f"/executions/{execution.id}/steps/trigger/output")
    assert json.loads(json.loads(answer.body)) == {"nul": "\x00"}
