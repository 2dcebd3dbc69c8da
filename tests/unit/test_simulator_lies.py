"""Lies about lists, bustle between pages and spoiled records: each happens, is counted, and ends when told to."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from syncer.simulator import Clock, Outline, Request, spoils
from syncer.simulator.bustle import EVENTS, LATEST
from syncer.simulator.qualys_flow import Simulator, Switches, lies

NOON = datetime(2026, 3, 18, 12, tzinfo=UTC)


@pytest.fixture
def simulator() -> Simulator:
    return Simulator(Outline(workflows=2, executions=30, running=4), clock=Clock(NOON, frozen=True))


def ask(simulator: Simulator, path: str, **query: str | int) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {simulator.issue_token()}"}
    target = f"/qflowapi/v1{path}" + (f"?{urlencode(query)}" if query else "")
    answer: dict[str, Any] = json.loads(simulator.answer(Request("GET", target, headers)).body)
    return answer


def executions(simulator: Simulator, page: int = 1, size: int = 10) -> dict[str, Any]:
    workflow_id = next(iter(simulator.truth.workflows))
    return ask(
        simulator,
        f"/workflows/{workflow_id}/executions",
        pageSize=size,
        pageNumber=page,
        order="createdAt",
    )


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["id"] for item in answer["items"]]


# Lies


@pytest.mark.parametrize(("kind", "is_more"), [("total-more", True), ("total-less", False)])
@pytest.mark.parametrize("told_as", ["string", "number"])
def test_a_total_lies_and_the_page_does_not(
    simulator: Simulator, kind: str, told_as: Any, *, is_more: bool
) -> None:
    simulator.switches = Switches(total_as=told_as)
    honest = executions(simulator)
    liar = simulator.lie({kind: 1.0})
    lie = executions(simulator)
    assert ids(lie) == ids(honest)
    assert type(lie["total"]) is type(honest["total"])
    assert (int(lie["total"]) > int(honest["total"])) is is_more
    assert liar.told == {kind: 1}


def test_a_page_is_repeated_in_the_place_of_the_next_but_never_for_another_list(simulator: Simulator) -> None:
    first, second = executions(simulator, 1), executions(simulator, 2)
    simulator.lie({"repeated": 1.0})
    assert executions(simulator, 1) == first
    assert executions(simulator, 2) == first
    assert executions(simulator, 2) == second
    assert executions(simulator, 2, size=7) not in (first, second)


@pytest.mark.parametrize("kind", ["unsorted", "reversed"])
def test_a_page_holds_the_right_records_in_the_wrong_order(simulator: Simulator, kind: str) -> None:
    honest = executions(simulator)
    simulator.lie({kind: 1.0})
    lie = executions(simulator)
    assert ids(lie) != ids(honest)
    assert sorted(ids(lie)) == sorted(ids(honest))


def test_a_page_is_shorter_than_was_asked_though_there_is_more(simulator: Simulator) -> None:
    honest = executions(simulator)
    liar = simulator.lie({"clamped": 1.0}, seed=2)
    lies_told = [executions(simulator) for _ in range(5)]
    assert min(len(ids(lie)) for lie in lies_told) < 10
    assert all(ids(lie) == ids(honest)[: len(ids(lie))] for lie in lies_told)
    assert all(lie["total"] == honest["total"] for lie in lies_told)
    assert liar.told["clamped"] == sum(len(ids(lie)) < 10 for lie in lies_told)


def test_hints_stand_still_or_move_for_nothing_and_executions_are_told_truly(simulator: Simulator) -> None:
    def hints() -> list[Any]:
        items = ask(simulator, "/workflows", pageSize=10, pageNumber=1)["items"]
        return [(item["updatedAt"], item["last_execution_details"]) for item in items]

    honest = hints()
    simulator.lie({"hints-restless": 1.0})
    assert hints() != hints() != honest
    simulator.lie({"hints-still": 1.0})
    still = hints()
    simulator.end_all_running()
    assert hints() == still != honest
    assert len(ids(executions(simulator))) == 10


def test_a_liar_who_has_confessed_tells_the_truth(simulator: Simulator) -> None:
    honest = executions(simulator)
    liar = simulator.lie(dict.fromkeys(lies.KINDS, 0.1))
    for _ in range(60):
        executions(simulator)
        ask(simulator, "/workflows", pageSize=10, pageNumber=1)
    assert liar.told.total() > 20
    liar.confess()
    assert executions(simulator) == honest


# Bustle


def test_everything_happens_between_pages_and_nothing_when_all_is_calm(simulator: Simulator) -> None:
    known = set(simulator.truth.executions)
    bustle = simulator.bustle(dict.fromkeys(EVENTS, 0.5), seed=3)
    for _ in range(20):
        executions(simulator)
        simulator.clock.advance(10)
    assert bustle.happened.keys() == EVENTS.keys()
    truth = simulator.truth.executions.values()
    assert sum(each.deleted_ms is not None for each in truth) == bustle.happened["vanishes"]
    came = [each for each in truth if each.id not in known]
    assert len(came) == sum(bustle.happened[event] for event in ("runs", "begins", "shows-late"))
    bustle.calm()
    happened = bustle.happened.total()
    executions(simulator)
    assert bustle.happened.total() == happened


def test_what_shows_late_is_not_served_before_and_never_later_than_promised(simulator: Simulator) -> None:
    bustle = simulator.bustle({"shows-late": 1.0}, seed=3)
    known = set(simulator.truth.executions)
    for _ in range(30):
        executions(simulator)
    bustle.calm()
    late = [each for each in simulator.truth.executions.values() if each.id not in known]
    assert len(late) == 30
    assert any(each.visible_ms > simulator.clock.now_ms() for each in late)
    assert all(each.visible_ms - each.created_ms <= LATEST * 1000 for each in late)


# Spoiled records


def test_every_field_is_spoiled_in_every_way() -> None:
    every = list(spoils.spoils(("id", "createdAt", "tags"), {"id"}))
    assert len(every) == len(set(every)) == 3 * len(spoils.KINDS) - len(spoils.NAMES)
    assert {field for field, _ in every} == {"id", "createdAt", "tags"}


def test_a_spoiled_record_has_one_field_wrong_and_is_mended(simulator: Simulator) -> None:
    def record(record_id: str) -> dict[str, Any]:
        served: dict[str, Any] = ask(simulator, f"/executions/{record_id}")["data"]
        return served

    honest = {record_id: record(record_id) for record_id in simulator.truth.executions}
    parsable = {"absent", "null", "text", "boolean", "list", "object", "empty", "long", "nul"}
    fields = tuple(record(next(iter(honest))))
    done = spoils.spoil(simulator, list(honest), fields, {"id", "workflow", "execution"}, seed=1)
    spoilt = [each for each in done if each.kind in parsable]
    assert len(spoilt) > 20
    for record_id, field, _ in spoilt:
        served = record(record_id)
        differing = {name for name, value in honest[record_id].items() if served.get(name, served) != value}
        assert differing <= {field}
        simulator.mend(record_id)
        assert record(record_id) == honest[record_id]
    assert {each.record_id for each in spoilt} <= honest.keys()


@pytest.mark.parametrize("attempt", [Simulator.lie, Simulator.bustle], ids=["lie", "bustle"])
def test_what_nobody_knows_is_refused_by_name(simulator: Simulator, attempt: Callable[..., object]) -> None:
    with pytest.raises(ValueError, match="earthquake"):
        attempt(simulator, {"earthquake": 0.5})
