"""Every reading of SecMaster's documents can be switched on and shows on the wire, and its lists can lie."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import urlencode

import pytest

from syncer.simulator import Answer, Clock, Execution, Outline, Request
from syncer.simulator.secmaster import SWITCHES, Simulator, Switches, lies
from syncer.simulator.secmaster.records import creation_ms
from syncer.simulator.secmaster.times import read, written

NOON = datetime(2026, 3, 18, 12, tzinfo=UTC)
INSTANCES = "/workflows/instances"


def simulated(clock: Clock, **switches: Any) -> Simulator:
    outline = Outline(workflows=3, executions=60, running=2, queued=2, failing=0.3, loops=True)
    return Simulator(outline, switches=Switches(**switches), clock=clock)


@pytest.fixture
def simulator() -> Simulator:
    return simulated(Clock(NOON, frozen=True))


def ask(simulator: Simulator, path: str, **query: str | int) -> Answer:
    known = simulator.credentials
    soc = f"/v1/{known.project_id}/workspaces/{known.workspaces[0]}/soc"
    headers = {"x-auth-token": simulator.issue_token(), "content-type": "application/json"}
    return simulator.answer(Request("GET", f"{soc}{path}?{urlencode(query)}", headers))


def told(simulator: Simulator, path: str, **query: str | int) -> dict[str, Any]:
    answer = ask(simulator, path, **query)
    assert answer.status == 200, answer.body
    body: dict[str, Any] = json.loads(answer.body)
    return body


def ids(body: dict[str, Any]) -> list[str]:
    return [item["id"] for item in body["instances"]]


def some(simulator: Simulator, outcome: str) -> Execution:
    """The newest execution of an outcome in the first workspace."""
    first = simulator.credentials.workspaces[0]
    workflows = simulator.truth.workflows
    found = [
        execution
        for execution in simulator.truth.executions.values()
        if execution.outcome == outcome and simulator.workspace_of(workflows[execution.workflow_id]) == first
    ]
    return max(found, key=lambda execution: execution.created_ms)


def conversation(**chosen: Any) -> list[object]:
    """One request of every kind, and one too many, always at the same millisecond."""
    simulator = simulated(the_clock(), **({"rate_limit": 15} | chosen))
    first, *_ = simulator.truth.workflows
    times = sorted(execution.created_ms for execution in simulator.truth.executions.values())
    span = {"from_date": written(times[9], "literal_z"), "to_date": written(times[90], "literal_z")}
    said: list[object] = [
        ask(simulator, INSTANCES, limit=20, offset=9, sort_dir="ASC"),
        ask(simulator, INSTANCES, limit=100, **span),
        ask(simulator, INSTANCES, limit=101),
        ask(simulator, INSTANCES, limit=100, offset=9900),
        ask(simulator, INSTANCES, limit=100, offset=9901),
        ask(simulator, "/workflows"),
        ask(simulator, f"/workflows/{first}"),
    ]
    shown = [some(simulator, outcome).id for outcome in ("succeeded", "failed", "running", "queued")]
    said += [ask(simulator, f"{INSTANCES}/{each}", show_topology="true") for each in shown]
    simulator.reopen_execution(shown[0])
    said.append(ask(simulator, f"{INSTANCES}/{shown[0]}"))
    simulator.delete_workflow(first)
    said += [ask(simulator, INSTANCES), ask(simulator, f"/workflows/{first}")]
    return [*said, ask(simulator, INSTANCES), ask(simulator, INSTANCES), simulator.http_date()]


@cache
def the_clock() -> Clock:
    return Clock(NOON, frozen=True)


@cache
def usual_conversation() -> list[object]:
    return conversation()


@pytest.mark.parametrize(
    ("name", "reading"), [(name, reading) for name, every in SWITCHES.items() for reading in every[1:]]
)
def test_a_reading_shows_on_the_wire(name: str, reading: object) -> None:
    assert conversation(**{name: reading}) != usual_conversation()


def test_the_same_readings_say_the_same() -> None:
    assert conversation() == usual_conversation()


def test_the_default_is_the_first_reading() -> None:
    defaults = Switches()
    assert all(getattr(defaults, name) == readings[0] for name, readings in SWITCHES.items())
    assert all(len(set(readings)) == len(readings) > 1 for readings in SWITCHES.values())


def test_a_count_is_of_all_that_matches_or_of_the_page_or_missing(simulator: Simulator) -> None:
    asked = {"limit": 7, "offset": 117}
    assert told(simulator, INSTANCES, **asked)["count"] == 120
    assert told(simulator, "/workflows", limit=1)["total"] == 2
    simulator.switches = Switches(count_as="page")
    assert told(simulator, INSTANCES, **asked)["count"] == 3
    assert told(simulator, "/workflows", limit=1)["total"] == 1
    simulator.switches = Switches(count_as="absent")
    assert told(simulator, INSTANCES, **asked).keys() == {"instances"}
    assert "total" not in told(simulator, "/workflows")


def test_lists_and_records_are_wrapped_as_told(simulator: Simulator) -> None:
    first = next(iter(simulator.truth.workflows))
    instance = some(simulator, "succeeded").id
    bare = [told(simulator, path) for path in (INSTANCES, f"{INSTANCES}/{instance}")]
    wrapped = [told(simulator, path) for path in ("/workflows", f"/workflows/{first}")]
    simulator.switches = Switches(
        instances_as="envelope", instance_as="envelope", workflows_as="bare", workflow_as="bare"
    )
    listing = told(simulator, INSTANCES)
    assert (listing["total"], listing["data"]) == (bare[0]["count"], bare[0]["instances"])
    assert told(simulator, f"{INSTANCES}/{instance}")["data"] == bare[1]
    assert told(simulator, "/workflows") == {"count": 2, "workflows": wrapped[0]["data"]}
    assert told(simulator, f"/workflows/{first}") == wrapped[1]["data"]


def test_a_page_that_is_too_long_is_refused_clamped_or_served(simulator: Simulator) -> None:
    assert ask(simulator, INSTANCES, limit=1000).status == 400
    simulator.switches = Switches(long_pages="clamp")
    assert len(told(simulator, INSTANCES, limit=1000)["instances"]) == 100
    simulator.switches = Switches(long_pages="served")
    assert len(told(simulator, INSTANCES, limit=1000)["instances"]) == 120


def test_a_page_holds_no_more_rows_than_the_server_likes(simulator: Simulator) -> None:
    honest = told(simulator, INSTANCES, limit=10)
    simulator.switches = Switches(page_rows="two")
    short = told(simulator, INSTANCES, limit=10)
    assert (short["count"], short["instances"]) == (honest["count"], honest["instances"][:2])
    assert told(simulator, INSTANCES, limit=10, offset=2)["instances"] == honest["instances"][2:4]
    simulator.switches = Switches(page_rows="two", count_as="page")
    assert told(simulator, INSTANCES, limit=10)["count"] == 2


@pytest.mark.parametrize(
    ("reach", "statuses"),
    [("sum", (200, 400, 400)), ("sum_below", (400, 400, 400)), ("offset", (200, 200, 400))],
)
def test_a_list_reaches_so_deep_and_no_deeper(
    simulator: Simulator, reach: Any, statuses: tuple[int, ...]
) -> None:
    simulator.switches = Switches(page_reach=reach)
    places = ((9900, 100), (10_000, 100), (10_001, 1))
    assert tuple(ask(simulator, INSTANCES, offset=at, limit=n).status for at, n in places) == statuses


@pytest.mark.parametrize(
    ("bounds", "kept"), [("inclusive", (3, 9)), ("to_exclusive", (3, 8)), ("exclusive", (4, 8))]
)
@pytest.mark.parametrize("form", SWITCHES["times"])
def test_the_ends_of_a_window_belong_to_it_or_not(
    simulator: Simulator, bounds: Any, kept: tuple[int, int], form: Any
) -> None:
    simulator.switches = Switches(date_bounds=bounds, times=form)
    everything = told(simulator, INSTANCES, limit=100, sort_dir="ASC")["instances"]
    times = sorted({item["start_time"] for item in everything}, key=lambda text: read(text, form) or 0)
    found = told(simulator, INSTANCES, limit=100, from_date=times[3], to_date=times[9])["instances"]
    assert {item["start_time"] for item in found} == set(times[kept[0] : kept[1] + 1])


def test_dates_may_bound_a_creation_that_no_answer_tells(simulator: Simulator) -> None:
    since_ms = sorted(execution.created_ms for execution in simulator.truth.executions.values())[60]
    asked: dict[str, str | int] = {
        "limit": 100,
        "sort_dir": "ASC",
        "from_date": written(since_ms, "literal_z"),
    }
    started = ids(told(simulator, INSTANCES, **asked))
    simulator.switches = Switches(creation_lead=500_000.0)
    truth = simulator.truth.executions
    created = {key: creation_ms(each, simulator.switches) for key, each in truth.items()}
    leads = {round((each.created_ms - created[key]) / 100_000_000) for key, each in truth.items()}
    assert leads == {0, 1, 2, 3, 4, 5}
    shown = ids(told(simulator, INSTANCES, **asked))
    assert shown == sorted((key for key in started if created[key] >= since_ms), key=created.__getitem__)
    assert len(shown) < len(started)


def test_dates_and_sorting_that_are_ignored_change_nothing(simulator: Simulator) -> None:
    usual = told(simulator, INSTANCES, limit=100)
    simulator.switches = Switches(honour_dates=False, honour_sort=False)
    far = written(0, "literal_z")
    assert told(simulator, INSTANCES, limit=100, to_date=far, sort_dir="ASC") == usual
    assert told(simulator, INSTANCES, limit=100, from_date=far, sort_key="update_time") == usual


def test_times_of_whole_seconds_are_earlier_never_later(simulator: Simulator) -> None:
    simulator.switches = Switches(times="seconds")
    execution = some(simulator, "succeeded")
    shown = told(simulator, f"{INSTANCES}/{execution.id}", show_topology="true")
    node, attempt = shown["topology"]["audit_logs"][0], execution.attempts[0]
    assert read(shown["start_time"], "seconds") == execution.created_ms // 1000 * 1000
    assert read(node["end_time"], "seconds") == (attempt.ended_ms or 0) // 1000 * 1000


def test_what_is_empty_is_left_out_null_or_an_empty_text(simulator: Simulator) -> None:
    path = f"{INSTANCES}/{some(simulator, 'running').id}"

    def empties() -> tuple[Any, ...]:
        shown = told(simulator, path, show_topology="true")
        node = shown["topology"]["audit_logs"][-1]
        places = ((shown, "end_time"), (node, "end_time"), (node, "output"), (node, "error_msg"))
        return tuple(record.get(name, "missing") for record, name in places)

    for reading, value in (("absent", "missing"), ("null", None), ("empty", "")):
        simulator.switches = replace(Switches(), empty_values=reading)  # type: ignore[arg-type]
        assert empties() == (value,) * 4


def test_what_is_retried_tells_the_end_it_came_to_before_or_not(simulator: Simulator) -> None:
    execution = some(simulator, "failed")
    path = f"{INSTANCES}/{execution.id}"
    last_ms = max(attempt.ended_ms or 0 for attempt in execution.attempts)
    simulator.reopen_execution(execution.id)
    assert told(simulator, path).get("end_time", "missing") == "missing"
    simulator.switches = Switches(former_end="told")
    shown = told(simulator, path)
    assert (shown["status"], shown["end_time"]) == ("RETRYING", written(last_ms, "literal_z"))


def test_a_topology_may_be_later_than_the_end(simulator: Simulator) -> None:
    simulator.switches = Switches(topology_delay=300.0)
    execution = some(simulator, "running")
    path = f"{INSTANCES}/{execution.id}"
    assert told(simulator, path, show_topology="true")["topology"]["audit_logs"]
    simulator.end_execution(execution.id)
    for seconds, is_shown in ((0, False), (299, False), (2, True)):
        simulator.clock.advance(seconds)
        shown = told(simulator, path, show_topology="true")
        assert (shown["status"], bool(shown["topology"]["audit_logs"])) == ("FINISHED", is_shown)


def test_a_topology_without_nodes_is_empty_null_or_left_out(simulator: Simulator) -> None:
    path = f"{INSTANCES}/{some(simulator, 'queued').id}"
    for reading, value in (("empty", {"audit_logs": []}), ("null", None), ("absent", "missing")):
        simulator.switches = replace(Switches(), empty_topology=reading)  # type: ignore[arg-type]
        assert told(simulator, path, show_topology="true").get("topology", "missing") == value
        assert "topology" not in told(simulator, path)


def test_a_list_may_hold_the_topology_as_well(simulator: Simulator) -> None:
    simulator.switches = Switches(list_topology=True)
    for item in told(simulator, INSTANCES)["instances"]:
        assert told(simulator, f"{INSTANCES}/{item['id']}", show_topology="true") == item


def test_payloads_are_json_in_a_string_or_in_its_place(simulator: Simulator) -> None:
    path = f"{INSTANCES}/{some(simulator, 'succeeded').id}"

    def sides() -> list[Any]:
        nodes = told(simulator, path, show_topology="true")["topology"]["audit_logs"]
        return [node[side] for node in nodes for side in ("input", "output")]

    texts = sides()
    simulator.switches = Switches(payloads="plain")
    assert [json.loads(text) for text in texts] == sides()


def test_names_are_english_or_have_an_english_one_beside_them(simulator: Simulator) -> None:
    workflow = next(iter(simulator.truth.workflows.values()))
    asked: dict[str, str | int] = {"workflow_id": workflow.id, "limit": 1}
    [item] = told(simulator, INSTANCES, **asked)["instances"]
    assert item["workflow"]["name"] == workflow.name
    assert not {"name_en", "en_name"} & item["workflow"].keys()
    simulator.switches = Switches(english_names="present")
    [item] = told(simulator, INSTANCES, **asked)["instances"]
    assert item["workflow"]["name_en"] == item["playbook"]["en_name"] == workflow.name
    assert item["workflow"]["name"] == item["playbook"]["name"] != workflow.name


def test_ids_of_nodes_are_their_own(simulator: Simulator) -> None:
    simulator.switches = Switches(node_instance_id=True, list_topology=True)
    items = told(simulator, INSTANCES, limit=50)["instances"]
    nodes = [node for item in items for node in item["topology"]["audit_logs"]]
    assert len({node["instance_id"] for node in nodes}) == len(nodes) > 100


def test_a_deleted_workflow_takes_its_instances_along_or_not(simulator: Simulator) -> None:
    execution = some(simulator, "succeeded")
    simulator.delete_workflow(execution.workflow_id)
    for reading, count, status in (("with_instances", 60, 404), ("alone", 120, 200)):
        simulator.switches = replace(Switches(), gone_workflow=reading)  # type: ignore[arg-type]
        assert told(simulator, INSTANCES)["count"] == count
        assert ask(simulator, f"{INSTANCES}/{execution.id}").status == status
        assert told(simulator, "/workflows")["total"] == 1
        assert ask(simulator, f"/workflows/{execution.workflow_id}").status == 404


# Lies


def page(simulator: Simulator, at: int = 1, size: int = 10) -> dict[str, Any]:
    return told(simulator, INSTANCES, limit=size, offset=(at - 1) * size, sort_dir="ASC")


@pytest.mark.parametrize(("kind", "is_more"), [("total-more", True), ("total-less", False)])
def test_a_total_lies_and_the_page_does_not(simulator: Simulator, kind: str, *, is_more: bool) -> None:
    honest, listing = page(simulator), told(simulator, "/workflows")
    liar = simulator.lie({kind: 1.0})
    lie = page(simulator)
    assert ids(lie) == ids(honest)
    assert (lie["count"] > honest["count"]) is is_more
    assert (told(simulator, "/workflows")["total"] > listing["total"]) is is_more
    assert liar.told == {kind: 2}


def test_a_page_is_repeated_in_the_place_of_the_next_but_never_for_another_list(simulator: Simulator) -> None:
    first, second = page(simulator, 1), page(simulator, 2)
    simulator.lie({"repeated": 1.0})
    assert page(simulator, 1) == first
    assert page(simulator, 2) == first
    assert page(simulator, 2) == second
    assert page(simulator, 2, size=7) not in (first, second)


@pytest.mark.parametrize("kind", ["unsorted", "reversed"])
def test_a_page_holds_the_right_records_in_the_wrong_order(simulator: Simulator, kind: str) -> None:
    honest = page(simulator)
    simulator.lie({kind: 1.0})
    lie = page(simulator)
    assert ids(lie) != ids(honest)
    assert sorted(ids(lie)) == sorted(ids(honest))


def test_a_page_is_shorter_than_was_asked_though_there_is_more(simulator: Simulator) -> None:
    honest = page(simulator)
    liar = simulator.lie({"clamped": 1.0}, seed=2)
    told_pages = [page(simulator) for _ in range(5)]
    assert min(len(ids(lie)) for lie in told_pages) < 10
    assert all(ids(lie) == ids(honest)[: len(ids(lie))] for lie in told_pages)
    assert liar.told["clamped"] == sum(len(ids(lie)) < 10 for lie in told_pages)


def test_a_liar_who_has_confessed_tells_the_truth(simulator: Simulator) -> None:
    honest = page(simulator)
    liar = simulator.lie(dict.fromkeys(lies.KINDS, 0.15))
    for _ in range(60):
        page(simulator)
    assert liar.told.total() > 20
    liar.confess()
    assert page(simulator) == honest


def test_a_lie_that_nobody_knows_is_refused_by_name(simulator: Simulator) -> None:
    with pytest.raises(ValueError, match="earthquake"):
        simulator.lie({"earthquake": 0.5})
