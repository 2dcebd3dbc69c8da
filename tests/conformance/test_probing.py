"""What `syncer check` finds out about any source, whichever way it sorts and counts."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from msgspec import structs

from syncer.cli.probing import Finding, Group, State
from syncer.cli.probing.known import Known
from syncer.cli.probing.source import probe_all
from syncer.errors import ContractError, Forbidden
from syncer.http import Refused
from syncer.model import Execution, Page, Window, Workflow
from tests.conformance.toys import Ascending, NewestFirst, OffsetCapped, Toy, World
from tests.passes import settings


def probed(source: Toy, **changes: Any) -> dict[str, Finding]:
    """The findings about a source by subject; of several about one the worst."""
    group = Group(name="toy", is_connection=True)
    asyncio.run(probe_all(Known(connection=settings(**changes), source=source), group))
    rank = list(State)
    return {each.subject: each for each in sorted(group.findings, key=lambda each: rank.index(each.state))}


def test_a_source_that_keeps_its_word_is_taken_at_it(source: Toy, world: World) -> None:
    world.fill(30)
    found = probed(source, horizon=timedelta(days=20))
    assert found["order"].state is (State.NOTE if isinstance(source, OffsetCapped) else State.OK)
    assert found["window"].state is State.OK
    assert ("totals" in found) is isinstance(source, NewestFirst)
    assert {each.state for each in found.values()} <= {State.OK, State.NOTE, State.WARNING}
    assert len(world.requests) <= 12


def test_a_start_that_is_ignored_is_noticed_however_the_source_sorts(source: Toy, world: World) -> None:
    world.fill(30)
    world.twist.ignores_start = True
    assert "the start" in probed(source)["window"].finding


def test_a_platform_without_definitions_is_asked_for_none(world: World) -> None:
    class Bare(Ascending):
        async def list_workflows(self, page: int) -> Page[Workflow]:
            told = await super().list_workflows(page)
            return structs.replace(
                told, rows=tuple(structs.replace(row, definition=None) for row in told.rows)
            )

    world.fill(3)
    found = probed(Bare(world))["definition"]
    assert (found.state, "tells none" in found.finding) == (State.NOTE, True)
    assert "workflow" not in world.requests


def test_a_part_of_the_workflows_that_may_not_be_read_is_named_and_the_rest_is_looked_at(
    world: World,
) -> None:
    class Partly(Ascending):
        async def list_workflows(self, page: int) -> Page[Workflow]:
            told = await super().list_workflows(page)
            return structs.replace(told, lacks=(("ward-b", Forbidden("no right", "ask for it")),))

    world.fill(3)
    found = probed(Partly(world))
    assert (found["workflows"].state, found["workflows"].hint) == (State.FAILED, "ask for it")
    assert found["workflows"].finding == "ward-b: no right"
    assert found["executions"].state is State.OK


def test_a_total_is_asked_for_where_one_may_be_had(world: World) -> None:
    world.fill(3)
    probed(Ascending(world))
    assert next(each for each in world.requests if "executions" in each) == "counted executions"


def test_another_order_than_the_one_asked_for_is_noticed(world: World) -> None:
    world.fill(30)
    world.twist.ignores_order = True
    assert probed(Ascending(world))["order"].state is State.WARNING


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_executions_are_enough_to_see_that_a_start_is_ignored(
    source: Toy, world: World, count: int
) -> None:
    world.workflow_ids = ["w1"]
    world.fill(count)
    assert probed(source)["window"].state is State.OK
    world.twist.ignores_start = True
    assert probed(source)["window"].state is State.WARNING


def test_older_executions_than_the_horizon_are_noticed_however_the_source_sorts(
    source: Toy, world: World
) -> None:
    world.fill(60)
    found = probed(source, horizon=timedelta(days=10))["horizon"]
    assert found.state is State.WARNING
    assert found.hint
    assert found.hint.startswith("horizon = ")


def test_the_oldest_execution_is_not_guessed_from_a_page_of_the_newest(world: World) -> None:
    world.fill(60)
    found = probed(NewestFirst(world), horizon=timedelta(days=40))["horizon"]
    assert found.state is State.NOTE
    assert "not known" in found.finding


class Strict(Ascending):
    """Refuses to be asked for what is older than five days."""

    async def list_executions(
        self, partition: str, window: Window, page: int, *, counted: bool = False
    ) -> Page[Execution]:
        if window.start < self.world.now - timedelta(days=5):
            raise Refused("refused", None, status=400)
        return await super().list_executions(partition, window, page, counted=counted)


def test_a_refusal_to_go_that_far_back_is_narrowed_down(world: World) -> None:
    world.fill(30, span=timedelta(days=4))
    found = probed(Strict(world), horizon=timedelta(days=40))
    assert found["horizon"].hint
    assert 'horizon = "5d"' in found["horizon"].hint
    assert found["executions"].state is State.OK


class Silent(Ascending):
    """Lists workflows, and refuses every list of executions."""

    async def list_executions(
        self, partition: str, window: Window, page: int, *, counted: bool = False
    ) -> Page[Execution]:
        raise ContractError("no such list", "see the manual")


def test_what_fails_is_told_with_what_to_do_and_the_rest_is_asked_all_the_same(world: World) -> None:
    found = probed(Silent(world))
    assert (found["executions"].state, found["executions"].hint) == (State.FAILED, "see the manual")
    assert found["clock"].state in (State.OK, State.WARNING)


class Broken(Ascending):
    """Surprises in a way that nobody thought of."""

    async def read_workflow(self, workflow_id: str) -> Workflow:
        raise ZeroDivisionError


def test_a_fault_of_ours_hides_nothing_else(world: World) -> None:
    world.fill(5)
    found = probed(Broken(world))
    assert "unexpected ZeroDivisionError" in found["definition"].finding
    assert found["executions"].state is State.OK


def test_a_long_list_of_workflows_is_read_only_as_far_as_patterns_need_it(world: World) -> None:
    world.workflow_ids = [f"w{number}" for number in range(45)]
    assert "45 workflows" in probed(Ascending(world))["workflows"].finding
    assert world.requests.count("workflows") == 1
    world.requests.clear()
    assert "1 chosen" in probed(Ascending(world), workflows=("w17",))["workflows"].finding.replace(
        " of the first 20", ""
    )
    assert world.requests.count("workflows") == 2
    world.requests.clear()
    unknown = probed(Ascending(world), workflows=("w44",))["workflows"]
    assert "of the first 30" in unknown.finding
    assert world.requests.count("workflows") == 3


def test_records_without_identity_are_told(world: World) -> None:
    world.fill(5)
    next(iter(world.runs.values())).is_broken = True
    assert probed(Ascending(world))["executions"].state is State.WARNING
