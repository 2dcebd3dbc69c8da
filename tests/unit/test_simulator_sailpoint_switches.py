"""Every reading of SailPoint's documents can be switched on, and shows on the wire."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from syncer.simulator import Answer, Clock, Execution, Outline, Request
from syncer.simulator.sailpoint import SWITCHES, Credentials, Simulator, Switches, lies
from syncer.simulator.sailpoint.stamps import read
from syncer.simulator.sailpoint.stamps import told as stamp
from syncer.simulator.sailpoint.texts import seed

NOON = datetime(2026, 3, 18, 12, tzinfo=UTC)
ALTERNATIVES = [(name, reading) for name, readings in SWITCHES.items() for reading in readings[1:]]


def simulated(credentials: Credentials | None = None, **switches: Any) -> Simulator:
    outline = Outline(workflows=2, executions=60, days=89.9, running=2, queued=1, failing=0.3)
    clock = Clock(NOON, frozen=True)
    simulator = Simulator(outline, switches=Switches(**switches), clock=clock, credentials=credentials)
    for status in ("TimedOut", "Canceled"):
        simulator.add_execution(created_ms=clock.now_ms() - 60_000, status=status)
    return simulator


def ask(simulator: Simulator, path: str, **query: str | int) -> Answer:
    headers = {"authorization": f"Bearer {simulator.issue_token()}"}
    return simulator.answer(
        Request("GET", path + (f"?{urlencode(query, quote_via=quote)}" if query else ""), headers)
    )


def told(simulator: Simulator, path: str, **query: str | int) -> Any:
    answer = ask(simulator, path, **query)
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


def first(simulator: Simulator) -> str:
    return next(iter(simulator.truth.workflows))


def executions(simulator: Simulator) -> str:
    return f"/v2024/workflows/{first(simulator)}/executions"


def history(execution: Execution, version: str = "") -> str:
    return f"/v2025/workflow-executions/{execution.id}/history{version}"


def some(simulator: Simulator, outcome: str) -> Execution:
    """The newest execution with an outcome."""
    found = [x for x in simulator.truth.executions.values() if x.outcome == outcome]
    return max(found, key=lambda execution: execution.created_ms)


def conversation(reader: Credentials, **chosen: Any) -> list[object]:
    """Requests of every kind, some that are refused, and too many in interval after interval."""
    simulator = simulated(reader, **({"rate_limit": 30} | chosen))
    listed = executions(simulator)
    oldest = min(simulator.truth.executions.values(), key=lambda x: x.created_ms)
    kinds = [some(simulator, outcome) for outcome in ("succeeded", "queued", "canceled", "unknown")]
    start = stamp(oldest.created_ms * 1_000_000, Switches(time_digits="three"))
    said: list[object] = [ask(simulator, f"/{style}/workflows") for style in ("v2024", "v2025", "v2026")]
    said += [ask(simulator, "/workflows/v1"), ask(simulator, "/v2024/workflows", limit=1)]
    said += [ask(simulator, listed, count="true"), ask(simulator, listed, offset=1001)]
    for workflow_id in simulator.truth.workflows:
        path = f"/v2024/workflows/{workflow_id}/executions"
        said += [ask(simulator, path, filters=f'start_time le "{start}"')]
    for execution in (*kinds, oldest):
        said += [ask(simulator, history(execution)), ask(simulator, history(execution, "-v2"))]
    said += [ask(simulator, history(kinds[0]), limit=3)]
    said += [ask(simulator, f"/v2025/workflow-executions/{each.id}") for each in kinds]
    simulator.delete_workflow(first(simulator))
    said += [ask(simulator, listed), ask(simulator, "/v2024/nowhere")]
    simulator.clock.advance(10)
    for _ in range(3):
        said += [ask(simulator, "/v2024/workflows") for _ in range(31)]
        simulator.clock.advance(10)
    return [*said, simulator.http_date()]


@cache
def usual(reader: Credentials) -> list[object]:
    return conversation(reader)


@pytest.mark.parametrize(("name", "reading"), ALTERNATIVES)
def test_a_reading_shows_on_the_wire(name: str, reading: object) -> None:
    scopes = ("sp:workflow-execution:read", *(("sp:workflow:read",) if name != "execution_scope" else ()))
    reader = Credentials(scopes=scopes)
    assert conversation(reader, **{name: reading}) != usual(reader)


def test_the_same_readings_give_the_same_conversation() -> None:
    assert conversation(Credentials()) == usual(Credentials())


def test_the_default_is_the_first_reading() -> None:
    defaults = Switches()
    assert all(getattr(defaults, name) == readings[0] for name, readings in SWITCHES.items())
    assert all(len(set(readings)) == len(readings) > 1 for readings in SWITCHES.values())


def test_only_the_chosen_style_of_paths_is_served() -> None:
    simulator = simulated()
    paths = {"v2024": "/v2024/workflows", "v2026": "/v2026/workflows", "per-service": "/workflows/v1"}
    for style in paths:
        simulator.switches = replace(simulator.switches, paths=style)
        served = [each for each, path in paths.items() if ask(simulator, path).status == 200]
        assert served == [style]


def test_workflows_can_be_read_in_pages_where_that_is_honoured() -> None:
    simulator = simulated()
    page: dict[str, str | int] = {"limit": 1, "offset": 1}
    assert ask(simulator, "/v2024/workflows", **page).status == 400
    whole = told(simulator, "/v2024/workflows")
    simulator.switches = Switches(workflow_paging="ignored")
    assert told(simulator, "/v2024/workflows", **page) == whole
    simulator.switches = Switches(workflow_paging="honoured")
    assert told(simulator, "/v2024/workflows", **page) == whole[1:]
    simulator.switches = Switches(workflow_paging="clamped")
    assert told(simulator, "/v2024/workflows", limit=2) == whole[:1]
    assert told(simulator, "/v2024/workflows", limit=2, offset=1) == whole[1:]


def test_a_count_is_served_ignored_or_refused() -> None:
    simulator = simulated()
    assert ("X-Total-Count", "62") in ask(simulator, executions(simulator), count="true").headers
    simulator.switches = Switches(total_count="ignored")
    answer = ask(simulator, executions(simulator), count="true")
    assert (answer.status, answer.headers) == (200, (("X-Deprecated", "true"),))
    simulator.switches = Switches(total_count="refused")
    assert ask(simulator, executions(simulator), count="true").status == 400


@pytest.mark.parametrize(
    ("operator", "first_of", "past"),
    [("eq", 3, 6), ("lt", 6, 9), ("le", 3, 9), ("gt", 0, 3), ("ge", 0, 6)],
)
def test_times_can_be_compared_to_the_millisecond(operator: str, first_of: int, past: int) -> None:
    simulator = Simulator(Outline(workflows=1, executions=0, running=0), clock=Clock(NOON, frozen=True))
    now_ms = simulator.clock.now_ms()
    for at_ms in (now_ms - 3, now_ms - 2, now_ms - 1):
        for _ in range(3):
            simulator.add_execution(created_ms=at_ms)
    whole = told(simulator, executions(simulator))
    assert len(whole) == 9
    simulator.switches = Switches(filter_precision="ms")
    text = f'start_time {operator} "{whole[4]["startTime"]}"'
    assert told(simulator, executions(simulator), filters=text) == whole[first_of:past]


def test_zeros_at_the_end_of_a_time_can_be_left_out() -> None:
    usual, trimmed = simulated(), simulated(time_digits="trimmed")
    pairs = zip(told(usual, executions(usual)), told(trimmed, executions(trimmed)), strict=True)
    lengths = set()
    for long, short in pairs:
        assert read(long["startTime"]) == read(short["startTime"])
        assert not short["startTime"].endswith("0Z")
        lengths.add(len(short["startTime"]))
    assert len(lengths) > 1


def test_times_of_three_digits_tie() -> None:
    simulator = Simulator(Outline(workflows=1, executions=9, running=0, tied=9))
    simulator.switches = Switches(time_digits="three")
    starts = {item["startTime"] for item in told(simulator, executions(simulator))}
    assert len(starts) == 1
    assert len(starts.pop()) == len("2022-02-07T20:13:29.356Z")


def test_what_runs_may_be_called_executing_and_have_no_end_at_all() -> None:
    simulator = simulated(running_word="Executing", close_time_while_open="absent")
    running = some(simulator, "running")
    record = told(simulator, f"/v2024/workflow-executions/{running.id}")
    assert record["status"] == "Executing"
    assert "closeTime" not in record
    path = f"/v2024/workflows/{running.workflow_id}/executions"
    assert told(simulator, path, filters='status eq "Running"') == []
    assert record in told(simulator, path, filters='status eq "Executing"')


def test_counts_may_move_only_when_executions_end() -> None:
    simulator = simulated(execution_counts="ended")
    path = f"/v2024/workflows/{first(simulator)}"
    before = told(simulator, path)["executionCount"]
    execution = simulator.add_execution(first(simulator), status="Running")
    assert told(simulator, path)["executionCount"] == before
    simulator.end_execution(execution.id)
    assert told(simulator, path)["executionCount"] == before + 1


def test_a_history_may_come_newest_first_and_without_pages() -> None:
    simulator = simulated()
    execution = some(simulator, "succeeded")
    whole = told(simulator, history(execution))
    simulator.switches = Switches(history_order="newest_first")
    assert told(simulator, history(execution)) == whole[::-1]
    simulator.switches = Switches(history_paging="ignored")
    assert told(simulator, history(execution), limit=2, offset=4) == whole


def test_the_first_history_may_be_gone() -> None:
    simulator = simulated(history="removed")
    execution = some(simulator, "succeeded")
    assert ask(simulator, history(execution)).status == 404
    assert len(told(simulator, history(execution, "-v2"))["history"]) > 3


def test_the_second_history_may_show_one_event_as_an_object() -> None:
    simulator = simulated()
    alone, many = some(simulator, "queued"), some(simulator, "succeeded")
    events = {each.id: told(simulator, history(each)) for each in (alone, many)}
    simulator.switches = Switches(history_v2="object_when_alone")
    assert told(simulator, history(alone, "-v2"))["history"] == events[alone.id][0]
    assert told(simulator, history(many, "-v2"))["history"] == events[many.id]
    simulator.switches = Switches(history_v2="object")
    assert told(simulator, history(many, "-v2"))["history"] == events[many.id][-1]


def test_actions_may_tell_nothing_of_what_they_were_given_and_made() -> None:
    simulator = simulated(step_payloads="absent")
    events = told(simulator, history(some(simulator, "succeeded")))
    told_of = {name for event in events[2:] for name in event["attributes"]}
    assert told_of == {"displayName", "stepName", "technicalName"}
    assert "input" in events[1]["attributes"]


def test_an_end_without_a_documented_word_is_told_only_on_request() -> None:
    simulator = simulated()
    ends = {"canceled": "WorkflowExecutionCanceled", "unknown": "WorkflowExecutionTimedOut"}
    for outcome, word in ends.items():
        path = history(some(simulator, outcome))
        simulator.switches = Switches()
        before = told(simulator, path)
        simulator.switches = Switches(unlisted_events=True)
        assert [event["type"] for event in told(simulator, path)[len(before) :]] == [word]


def test_a_status_that_nobody_documented_is_served() -> None:
    simulator = simulated()
    record = told(simulator, f"/v2024/workflow-executions/{some(simulator, 'unknown').id}")
    assert record["status"] == "TimedOut"
    assert record["closeTime"] is not None


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429])
def test_every_error_has_a_documented_body(status: int) -> None:
    simulator = simulated(Credentials(scopes=()) if status == 403 else None, error_body="sample")
    if status == 429:
        simulator.switches = replace(simulator.switches, rate_limit=1)
        ask(simulator, "/v2024/workflows")
    headers = {} if status == 401 else {"authorization": f"Bearer {simulator.issue_token()}"}
    path = {400: "/v2024/workflows?limit=1", 404: "/v2024/nowhere"}.get(status, "/v2024/workflows")
    answer = simulator.answer(Request("GET", path, headers))
    assert (answer.status, answer.body) == (status, seed(str(status)))


# Lies


def ids(items: list[dict[str, Any]]) -> list[str]:
    return [item["id"] for item in items]


@pytest.mark.parametrize(("kind", "is_more"), [("total-more", True), ("total-less", False)])
def test_a_total_lies_and_the_page_does_not(kind: str, *, is_more: bool) -> None:
    simulator = simulated()
    honest = told(simulator, executions(simulator))
    liar = simulator.lie({kind: 1.0})
    answer = ask(simulator, executions(simulator), count="true")
    assert json.loads(answer.body) == honest
    assert (int(dict(answer.headers)["X-Total-Count"]) > 62) is is_more
    assert told(simulator, executions(simulator)) == honest
    assert liar.told == {kind: 1}


def test_a_page_is_repeated_in_the_place_of_the_next_but_never_for_another_list() -> None:
    simulator = simulated()
    pages = [told(simulator, executions(simulator), limit=5, offset=offset) for offset in (0, 5)]
    simulator.lie({"repeated": 1.0})
    assert told(simulator, executions(simulator), limit=5) == pages[0]
    assert told(simulator, executions(simulator), limit=5, offset=5) == pages[0]
    assert told(simulator, executions(simulator), limit=5, offset=5) == pages[1]
    assert told(simulator, executions(simulator), limit=6) not in pages


@pytest.mark.parametrize("kind", ["unsorted", "reversed"])
@pytest.mark.parametrize("path", ["executions", "workflows"])
def test_a_list_holds_the_right_records_in_the_wrong_order(kind: str, path: str) -> None:
    simulator = simulated()
    asked = executions(simulator) if path == "executions" else "/v2024/workflows"
    honest = told(simulator, asked)
    liar = simulator.lie({kind: 1.0}, seed=3)
    lies_told = [told(simulator, asked) for _ in range(4)]
    assert any(ids(lie) != ids(honest) for lie in lies_told)
    assert all(sorted(ids(lie)) == sorted(ids(honest)) for lie in lies_told)
    assert liar.told[kind] == sum(lie != honest for lie in lies_told)


def test_a_page_is_shorter_than_was_asked_though_there_is_more() -> None:
    simulator = simulated()
    honest = told(simulator, executions(simulator), limit=10)
    liar = simulator.lie({"clamped": 1.0}, seed=2)
    lies_told = [told(simulator, executions(simulator), limit=10) for _ in range(5)]
    assert min(len(lie) for lie in lies_told) < 10
    assert all(lie == honest[: len(lie)] for lie in lies_told)
    assert liar.told["clamped"] == sum(len(lie) < 10 for lie in lies_told)


def test_signs_of_change_stand_still_or_move_for_nothing() -> None:
    simulator = simulated()
    honest = told(simulator, "/v2024/workflows")
    liar = simulator.lie({"hints-still": 1.0})
    assert {item["executionCount"] for item in told(simulator, "/v2024/workflows")} == {0}
    liar.confess()
    assert told(simulator, "/v2024/workflows") == honest
    simulator.lie({"hints-restless": 1.0})
    counts = {told(simulator, "/v2024/workflows")[0]["executionCount"] for _ in range(3)}
    assert len(counts) == 3


def test_no_lie_is_told_of_what_could_not_be_found_out() -> None:
    simulator = simulated()
    honest = told(simulator, "/v2024/workflows")
    liar = simulator.lie(dict.fromkeys(("total-more", "total-less", "repeated", "clamped"), 0.25))
    assert [told(simulator, "/v2024/workflows") for _ in range(9)] == [honest] * 9
    assert liar.told.total() == 0
    with pytest.raises(ValueError, match="nonsense"):
        simulator.lie({"nonsense": 1.0})
    assert set(lies.KINDS) >= {"total-more", "repeated", "unsorted", "reversed", "clamped", "hints-still"}


# The samples of the documents

SAMPLE = "d201c5d9-d37b-4a2f-af14-66414f39d568", "b393f4e2-4785-4d7f-ab27-3a6b8ded4c81"
# Taken from the documents once.
DIGESTS = {
    "400": "b5eac50d185d7b179e1fa37648901ea99ec602f454278f27182848b2bcfe68b4",
    "401": "f05f5cd0671758f94ac7477e88e23f5a7ae4b5eff67267dea343b3c1851d909d",
    "403": "faa8dc8ef833c9aa58c43b883c1c3131c50a48c504aeed85762626426705ad2b",
    "404": "eccda11ea04413e039d3fa8876a793e20f6603be757715a37d2d9a6b86af483f",
    "429": "b49d38bb9b3f9513ea42c38cf7e7d455f8a0e3aa763baffb8ababa4188449c69",
    "500": "d148c6ec0dfdfc7fe1ee68fd3d5e07351b403fbacfd906134752b42db7dc3eb8",
    "event": "4d1a8f0b6313acf5186cbc51954a6fca24e000273f2c7bde553f7bd4edc5c92d",
    "execution": "03022975ef478ecbcde8bf22d84ddcbdd4787bac1adfc3053667999b6c90e87d",
    "executions": "8b98b5bf5445112b15ff7a45e2b135597bcb6228ed1adf8b3939f0eb919130bb",
}


@pytest.mark.parametrize("name", DIGESTS)
def test_a_sample_is_kept_byte_for_byte(name: str) -> None:
    assert hashlib.sha256(seed(name)).hexdigest() == DIGESTS[name]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2024/workflows/{0}/executions", seed("executions")),
        ("/v2024/workflow-executions/{1}", seed("execution")),
        ("/v2024/workflow-executions/{1}/history", b"[" + seed("event") + b"]"),
    ],
)
def test_a_sample_is_served_at_its_path(path: str, body: bytes) -> None:
    answer = ask(Simulator.from_seeds(), path.format(*SAMPLE))
    assert (answer.status, answer.body) == (200, body)


def test_the_samples_belong_to_one_workflow_that_is_listed() -> None:
    simulator = Simulator.from_seeds()
    assert ids(told(simulator, "/v2024/workflows")) == [SAMPLE[0]]
    assert told(simulator, f"/v2024/workflows/{SAMPLE[0]}/executions", offset=1) == []
    record = told(simulator, f"/v2024/workflow-executions/{SAMPLE[1]}")
    assert [record] == told(simulator, f"/v2024/workflows/{SAMPLE[0]}/executions")
    age_ms = simulator.clock.now_ms() - read(record["startTime"]) // 1_000_000
    assert 0 < age_ms < 90 * 86_400_000


def test_what_the_documents_do_not_show_is_refused_with_their_sample() -> None:
    simulator = Simulator.from_seeds()
    answer = ask(simulator, "/v2024/workflow-executions/elsewhere")
    assert (answer.status, answer.body) == (404, seed("404"))
    expired = simulator.answer(Request("GET", "/v2024/workflows", {}))
    assert (expired.status, expired.body) == (401, seed("401"))
