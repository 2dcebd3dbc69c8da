"""Every reading of the documents can be switched on, and shows on the wire."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from syncer.simulator import Answer, Clock, Execution, Outline, Request
from syncer.simulator.qualys_flow import SWITCHES, Simulator, Switches

API = "/qflowapi/v1"
ALTERNATIVES = [
    (name, reading)
    for name, readings in SWITCHES.items()
    for reading in readings[1:]
    if name != "loop_event_order"  # shows only together with loop_nodes: see below
]
DAY_MS = 86_400_000


def simulated(**switches: Any) -> Simulator:
    outline = Outline(workflows=2, executions=60, days=29.9, running=2, failing=0.3)
    return Simulator(outline, switches=Switches(**switches), clock=Clock(frozen=True))


def ask(simulator: Simulator, path: str, **query: str | int | bool) -> Answer:
    text = urlencode({name: str(value).lower() if value is True else value for name, value in query.items()})
    headers = {"authorization": f"Bearer {simulator.issue_token()}"}
    return simulator.answer(Request("GET", f"{API}{path}" + (f"?{text}" if text else ""), headers))


def told(simulator: Simulator, path: str, **query: str | int | bool) -> Any:
    answer = ask(simulator, path, **query)
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


def listed(simulator: Simulator, **query: str | int) -> list[dict[str, Any]]:
    first = next(iter(simulator.truth.workflows))
    asked: dict[str, str | int] = {"pageSize": 100, "pageNumber": 1, **query}
    items: list[dict[str, Any]] = told(simulator, f"/workflows/{first}/executions", **asked)["items"]
    return items


def some(simulator: Simulator, outcome: str) -> Execution:
    """The newest execution of an outcome whose first node is through."""
    found = [x for x in simulator.truth.executions.values() if x.outcome == outcome and len(x.attempts) > 1]
    return max(found, key=lambda execution: execution.created_ms)


def iso(at_ms: int) -> str:
    seconds, ms = divmod(at_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03}Z"


def conversation(clock: Clock, name: str, reading: object) -> list[object]:
    """One request of every kind, and one too many."""
    chosen: dict[str, Any] = {name: reading}
    switches = Switches(**({"rate_limit": 13} | chosen))
    outline = Outline(workflows=2, executions=60, days=29.9, running=2, failing=0.3)
    simulator = Simulator(outline, switches=switches, clock=clock)
    known = simulator.credentials
    headers = {"clientid": known.client_id, "clientsecret": known.client_secret}
    form = {"content-type": "application/x-www-form-urlencoded"}
    first, second = simulator.truth.workflows
    oldest = simulator.truth.listed(first, 0, clock.now_ms(), clock.now_ms())[0]
    good, running = some(simulator, "succeeded"), some(simulator, "running")
    times = sorted(x.created_ms for x in simulator.truth.executions.values() if x.workflow_id == second)
    pages = {"pageSize": 60, "pageNumber": 1}
    said: list[object] = [simulator.answer(Request("POST", "/auth/oidc", form | headers))]
    said += [ask(simulator, "/workflows", **pages)]
    said += [ask(simulator, f"/workflows/{second}/executions", order="createdAt", **pages)]
    span = {"startAt": iso(times[9]), "endAt": iso(times[20])}
    said += [ask(simulator, f"/workflows/{second}/executions", **span, **pages)]
    old = {"startAt": "2020-01-01T00:00:00Z"}
    said += [ask(simulator, f"/workflows/{second}/executions", **old, **pages)]
    said += [ask(simulator, f"/executions/{good.id}", includeSteps=True)]
    said += [ask(simulator, f"/executions/{good.id}/steps", includeData=True)]
    said += [ask(simulator, f"/executions/{good.id}/steps/trigger{side}") for side in ("", "/input")]
    said += [ask(simulator, f"/executions/{execution.id}/steps") for execution in (running, oldest)]
    simulator.delete_workflow(first)
    said += [ask(simulator, "/workflows", **pages), ask(simulator, f"/executions/{oldest.id}")]
    said += [ask(simulator, f"/workflows/{first}"), ask(simulator, "/workflows", **pages)]
    assert simulator.counts.total() == 15
    return [*said, simulator.http_date()]


@pytest.mark.parametrize(("name", "reading"), ALTERNATIVES)
def test_a_reading_shows_on_the_wire(name: str, reading: object) -> None:
    clock = Clock(frozen=True)
    assert conversation(clock, name, reading) != conversation(clock, name, SWITCHES[name][0])


def test_the_default_is_the_first_reading() -> None:
    defaults = Switches()
    assert all(getattr(defaults, name) == readings[0] for name, readings in SWITCHES.items())
    assert all(len(set(readings)) == len(readings) > 1 for readings in SWITCHES.values())


def test_the_total_is_a_string_for_executions_and_a_number_for_steps() -> None:
    simulator = simulated()
    page = {"pageSize": 1, "pageNumber": 1}
    first, execution = next(iter(simulator.truth.workflows)), some(simulator, "succeeded")
    assert told(simulator, f"/workflows/{first}/executions", **page)["total"] == "60"
    assert told(simulator, f"/executions/{execution.id}/steps")["total"] == 8
    simulator.switches = replace(simulator.switches, total_as="absent")
    assert "total" not in told(simulator, f"/executions/{execution.id}/steps")


def test_an_exclusive_end_leaves_out_its_own_millisecond() -> None:
    simulator = simulated()
    ascending = listed(simulator, order="createdAt")
    span = {"startAt": iso(ascending[3]["createdAt"]), "endAt": iso(ascending[5]["createdAt"])}
    assert [x["id"] for x in listed(simulator, order="createdAt", **span)] == [
        x["id"] for x in ascending[3:6]
    ]
    simulator.switches = Switches(end_at="exclusive")
    assert [x["id"] for x in listed(simulator, order="createdAt", **span)] == [
        x["id"] for x in ascending[3:5]
    ]


def test_without_an_order_the_newest_come_first_and_an_ignored_order_changes_nothing() -> None:
    simulator = simulated()
    newest = [item["createdAt"] for item in listed(simulator)]
    assert newest == sorted(newest, reverse=True)
    assert [item["createdAt"] for item in listed(simulator, order="createdAt")] == newest[::-1]
    simulator.switches = Switches(honour_order=False)
    assert [item["createdAt"] for item in listed(simulator, order="createdAt")] == newest


def test_any_field_can_be_sorted_by() -> None:
    ends = [item["endDate"] for item in listed(simulated(), order="-endDate")]
    assert ends[-1] is None
    assert ends[:-1] == sorted(ends[:-1], reverse=True)


def test_pages_tile_the_list() -> None:
    simulator = simulated()
    whole = [item["id"] for item in listed(simulator, order="createdAt")]
    pages = [listed(simulator, order="createdAt", pageSize=25, pageNumber=n) for n in range(1, 5)]
    assert [item["id"] for page in pages for item in page] == whole
    assert [len(page) for page in pages] == [25, 25, 10, 0]


def test_a_page_size_over_the_cap_is_clamped_or_refused() -> None:
    simulator = simulated(max_page_size="clamp", page_cap=20)
    whole = {item["id"] for n in (1, 2, 3) for item in listed(simulator, pageNumber=n)}
    assert (len(listed(simulator)), len(whole)) == (20, 60)
    simulator.switches = Switches(max_page_size="400", page_cap=20)
    first = next(iter(simulator.truth.workflows))
    assert ask(simulator, f"/workflows/{first}/executions", pageSize=21, pageNumber=1).status == 400
    assert ask(simulator, f"/workflows/{first}/executions", pageSize=20, pageNumber=1).status == 200


def test_other_paging_dialects_do_not_understand_the_documented_one() -> None:
    simulator = simulated()
    whole = [item["id"] for item in listed(simulator)]
    simulator.switches = Switches(paging="pageSize_offset")
    path = f"/workflows/{next(iter(simulator.truth.workflows))}/executions"
    assert ask(simulator, path, pageSize=5, pageNumber=1).status == 400
    items = told(simulator, path, pageSize=5, offset=7)["items"]
    assert [item["id"] for item in items] == whole[7:12]


def test_single_records_and_steps_are_wrapped_as_told() -> None:
    simulator = simulated()
    execution = some(simulator, "succeeded")
    assert told(simulator, f"/executions/{execution.id}").keys() == {"data"}
    assert told(simulator, f"/executions/{execution.id}/steps/trigger")["nodeId"] == "trigger"
    simulator.switches = Switches(wrap_single=False, step_detail_wrapped=True)
    assert told(simulator, f"/executions/{execution.id}")["id"] == execution.id
    assert told(simulator, f"/executions/{execution.id}/steps/trigger").keys() == {"data"}


def unpacked(encoded: str) -> Any:
    return json.loads(gzip.decompress(base64.b64decode(encoded)))


def test_the_payloads_of_a_step_are_the_same_by_every_way() -> None:
    simulator = simulated()
    attempt = some(simulator, "succeeded").attempts[-1]
    path = f"/executions/{attempt.execution_id}/steps"
    event = next(
        item
        for item in told(simulator, path, includeData=True)["items"]
        if (item["nodeId"], item["eventOrder"]) == (attempt.node_id, 2)
    )
    detail = told(simulator, f"{path}/{attempt.node_id}")
    for side, value in (("input", attempt.input), ("output", attempt.output)):
        assert unpacked(event[side]) == unpacked(detail[side]) == value
        assert json.loads(told(simulator, f"{path}/{attempt.node_id}/{side}")) == value
    simulator.switches = Switches(include_data="plain", step_detail_payload="plain", io_endpoint="plain")
    assert attempt.input in [item["input"] for item in told(simulator, path, includeData=True)["items"]]
    assert told(simulator, f"{path}/{attempt.node_id}")["output"] == attempt.output
    assert told(simulator, f"{path}/{attempt.node_id}/output") == attempt.output
    simulator.switches = Switches(include_data="string")
    inputs = [json.loads(item["input"]) for item in told(simulator, path, includeData=True)["items"]]
    assert attempt.input in inputs


def test_payloads_are_served_only_when_asked_for_and_where_told() -> None:
    simulator = simulated()
    path = f"/executions/{some(simulator, 'succeeded').id}/steps"
    assert not any("input" in item for item in told(simulator, path)["items"])
    begun = [item for item in told(simulator, path, includeData=True)["items"] if item["endDate"] is None]
    assert {(type(item["input"]), item["output"]) for item in begun} == {(str, None)}
    simulator.switches = Switches(data_on="last_event")
    items = told(simulator, path, includeData=True)["items"]
    assert [item["eventOrder"] for item in items if "input" in item] == [2, 2, 2, 2]


def test_a_broken_payload_is_base64_of_half_a_stream() -> None:
    simulator = simulated(include_data="broken")
    items = told(simulator, f"/executions/{some(simulator, 'succeeded').id}/steps", includeData=True)["items"]
    broken = []
    for item in items:
        stream = zlib.decompressobj(wbits=31)
        stream.decompress(base64.b64decode(item["input"], validate=True))
        broken += [] if stream.eof else [item["nodeId"]]
    assert broken == ["trigger", "trigger"]


def test_steps_come_with_the_execution_under_the_key_told() -> None:
    simulator = simulated(include_steps="items", include_steps_data=True)
    execution = some(simulator, "succeeded")
    data = told(simulator, f"/executions/{execution.id}", includeSteps=True)["data"]
    assert [item["id"] for item in data["items"]] == [event.id for event in execution.events]
    assert "input" in data["items"][0]


def test_details_of_executions_that_did_not_fail_vary_and_failures_keep_theirs() -> None:
    simulator = simulated(details_null="absent", end_date_while_running="absent")
    running, failed = some(simulator, "running"), some(simulator, "failed")
    record = told(simulator, f"/executions/{running.id}")["data"]
    assert not {"details", "endDate"} & record.keys()
    details = {"executionEndDate": failed.ended_ms, "message": failed.message}
    assert told(simulator, f"/executions/{failed.id}")["data"]["details"] == details


def test_the_event_order_of_a_second_attempt_restarts_or_goes_on() -> None:
    simulator = simulated(loop_nodes=True)
    second = next(attempt for attempt in simulator.truth.attempts if attempt.number == 2)
    path = f"/executions/{second.execution_id}/steps"

    def orders() -> list[int]:
        items = told(simulator, path, order="createdAt")["items"]
        return [item["eventOrder"] for item in items if item["nodeId"] == second.node_id]

    assert sorted(orders()) == [1, 1, 2, 2]
    simulator.switches = replace(simulator.switches, loop_event_order="continue")
    assert sorted(orders()) == [1, 2, 3, 4]


def test_steps_grow_old_a_day_before_their_execution() -> None:
    simulator = simulated(aged_steps="404")
    oldest = min(simulator.truth.executions.values(), key=lambda execution: execution.created_ms)
    assert simulator.clock.now_ms() - oldest.created_ms > 29 * DAY_MS
    assert ask(simulator, f"/executions/{oldest.id}").status == 200
    assert ask(simulator, f"/executions/{oldest.id}/steps").status == 404
    simulator.switches = Switches(aged_steps="empty")
    assert told(simulator, f"/executions/{oldest.id}/steps") == {"total": 0, "items": []}


@pytest.mark.parametrize(
    ("reading", "listed_with", "row", "page"),
    [("404", False, 404, 404), ("soft", True, 200, 200), ("executions_served", False, 200, 200)],
)
def test_a_deleted_workflow_is_gone_as_told(reading: Any, listed_with: bool, row: int, page: int) -> None:
    simulator = simulated(gone_workflow=reading)
    execution = some(simulator, "succeeded")
    simulator.delete_workflow(execution.workflow_id)
    found = {
        x["id"]: x["deletedAt"] for x in told(simulator, "/workflows", pageSize=9, pageNumber=1)["items"]
    }
    assert (execution.workflow_id in found) == listed_with
    assert found.get(execution.workflow_id, 1) is not None
    assert ask(simulator, f"/executions/{execution.id}").status == row
    path = f"/workflows/{execution.workflow_id}/executions"
    assert ask(simulator, path, pageSize=1, pageNumber=1).status == page
