"""The source against the simulated Qualys Flow, over its socket, under every reading of the documents."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec
import pytest
from msgspec import UNSET, UnsetType

from syncer.config import Connection
from syncer.decode.payload import Payload
from syncer.errors import AuthError, ContractError, NotFound, RateLimited, TransientError
from syncer.fold import fold
from syncer.http import Clock, Gate, Refused, TooLarge
from syncer.model import Execution, ExecutionRef, Page, Step, StepAnswer, Window, Workflow
from syncer.simulator import PLANTED_SECRET, Answer, Attempt, Outline, Request
from syncer.simulator import Clock as SourceClock
from syncer.simulator import Execution as RealExecution
from syncer.simulator.qualys_flow import SWITCHES, Simulator, Switches
from syncer.simulator.qualys_flow.seeds import EXECUTION_ID, NODE_ID, STEPS_EXECUTION_ID, WORKFLOW_ID
from syncer.sources.qualys_flow import Options, PasswordAuth, QualysFlow, connect

T = TypeVar("T")
SMALL = Outline(workflows=2, executions=12, days=20, running=2, queued=1)
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def simulator(outline: Outline = SMALL, **switches: Any) -> Simulator:
    return Simulator(outline, switches=Switches(**switches), clock=SourceClock(START, frozen=True))


def clock_of(sim: Simulator) -> Clock:
    """Our time passes as the source's does: a pause lets it pass at once."""

    async def sleep(seconds: float) -> None:
        sim.clock.advance(seconds)

    return Clock(
        now=lambda: instant(sim.clock.now_ms()), monotonic=lambda: sim.clock.now_ms() / 1000, sleep=sleep
    )


def with_source(sim: Simulator, work: Callable[[QualysFlow], Awaitable[T]], **changes: Any) -> T:
    """Run `work` with a source connected to the simulator. Whatever it does, it may only read."""

    async def run(url: str) -> T:
        source = connect(_connection(sim, url, changes), Gate(clock_of(sim)))
        try:
            return await work(source)
        finally:
            await source.close()

    with sim.serve() as url:
        result = asyncio.run(run(url))
    assert {seen.method for seen in sim.requests if seen.endpoint not in ("auth", "oidc")} <= {"GET"}
    return result


def _connection(sim: Simulator, url: str, changes: dict[str, Any]) -> Connection:
    password = {
        "mode": "password", "username": sim.credentials.username, "password": sim.credentials.password,
    }  # fmt: skip
    settings: dict[str, Any] = {
        "auth": PasswordAuth.model_validate(password),
        "options": Options(),
        "base_url": url + changes.pop("below", ""),
        "requests_per_second": 0,
        "timeout": timedelta(seconds=20),
    }
    return Connection(name="prod", platform="qualys_flow", **(settings | changes))


def instant(ms: int | None) -> datetime:
    assert ms is not None
    return datetime.fromtimestamp(ms / 1000, UTC)


def whole(source: QualysFlow) -> Window:
    """Everything the simulator has to serve, and not quite its horizon."""
    now = source.now() or START
    return Window(now - timedelta(days=29), now)


async def all_workflows(source: QualysFlow) -> list[Workflow]:
    return await pages(source.list_workflows)


async def all_executions(source: QualysFlow, workflow_id: str) -> list[Execution]:
    return await pages(lambda page: source.list_executions(workflow_id, whole(source), page))


async def pages(ask: Callable[[int], Awaitable[Page[T]]]) -> list[T]:
    rows: list[T] = []
    number = 1
    while (page := await ask(number)).size:
        rows += page.rows
        number += 1
    return rows


def ref_to(execution: RealExecution) -> ExecutionRef:
    return ExecutionRef(
        execution_id=execution.id,
        workflow_id=execution.workflow_id,
        partition=execution.workflow_id,
        created_at=instant(execution.created_ms),
        has_ended=execution.ended_ms is not None,
    )


def ended(sim: Simulator) -> list[RealExecution]:
    return [each for each in sim.truth.executions.values() if each.ended_ms is not None]


def running(sim: Simulator) -> RealExecution:
    return next(each for each in sim.truth.executions.values() if each.status == "Running" and each.attempts)


def seen_steps(execution: RealExecution, answer: StepAnswer) -> list[Any]:
    return [_as_seen(step) for step in fold(answer.events, answer.payloads, execution_ended=True)]


def _as_seen(step: Step) -> tuple[Any, ...]:
    return (
        step.node_id, step.attempt, step.node_type, step.status, step.outcome.value, step.started_at, step.ended_at,
        step.message, _value(step.input), _value(step.output), step.event_count,
    )  # fmt: skip


def real_steps(execution: RealExecution) -> list[Any]:
    in_order = sorted(execution.attempts, key=lambda attempt: attempt.started_ms)
    nodes = list(dict.fromkeys(attempt.node_id for attempt in in_order))
    return [_as_is(each) for node in nodes for each in in_order if each.node_id == node]


def _as_is(attempt: Attempt) -> tuple[Any, ...]:
    return (
        attempt.node_id, attempt.number, attempt.node_type, attempt.status, attempt.outcome,
        instant(attempt.started_ms), instant(attempt.ended_ms), attempt.message,
        attempt.given.redacted, None if attempt.made is None else attempt.made.redacted, len(attempt.events),
    )  # fmt: skip


def _value(payload: Payload | UnsetType) -> Any:
    if isinstance(payload, UnsetType) or payload.value is None:
        return None
    assert payload.state == "decoded"
    return msgspec.json.decode(payload.value)


async def read_all_steps(source: QualysFlow, sim: Simulator, at_most: int = 1000) -> None:
    """Read the steps of what has ended and compare them with what really happened."""
    for execution in ended(sim)[:at_most]:
        answer = await source.read_steps(ref_to(execution))
        assert answer.rejects == ()
        assert seen_steps(execution, answer) == real_steps(execution)


# Every reading

READINGS = [(name, reading) for name, readings in SWITCHES.items() for reading in readings]


@pytest.mark.parametrize(
    ("name", "reading"), READINGS, ids=[f"{name}={reading}" for name, reading in READINGS]
)
def test_under_every_reading_what_is_read_is_what_happened(name: str, reading: Any) -> None:
    sim = simulator(replace(SMALL, executions=15), **{name: reading, "page_cap": 7})

    async def work(source: QualysFlow) -> None:
        workflows = await all_workflows(source)
        assert {each.workflow_id for each in workflows} == set(sim.truth.workflows)
        for workflow in workflows:
            detailed = await source.read_workflow(workflow.workflow_id)
            real = sim.truth.workflows[workflow.workflow_id]
            assert (detailed.name, detailed.revision) == (real.name, real.revision)
            assert isinstance(detailed.nodes, tuple)
            assert [node.node_id for node in detailed.nodes] == [each.id for each in real.nodes if each.name]
            _compare(sim, workflow.workflow_id, await all_executions(source, workflow.workflow_id))
        await read_all_steps(source, sim, at_most=6)

    with_source(sim, work, page_size=12)


def _compare(sim: Simulator, workflow_id: str, rows: list[Execution]) -> None:
    found = {row.execution_id: row for row in rows}
    real = [each for each in sim.truth.executions.values() if each.workflow_id == workflow_id]
    assert set(found) == {each.id for each in real}
    for each in real:
        row = found[each.id]
        assert (row.created_at, row.status, row.outcome.value) == (
            instant(each.created_ms), each.status, each.outcome,
        )  # fmt: skip
        if each.ended_ms is None:
            assert not isinstance(row.ended_at, datetime)
        else:
            assert row.ended_at == instant(each.ended_ms)
        assert (row.message if row.message is not UNSET else None) == each.message
        assert row.extra is None or sim.switches.unannounced_fields


# The samples of the documents


def test_the_documents_own_samples_are_read_from_their_places() -> None:
    sim = Simulator.from_seeds()

    async def work(source: QualysFlow) -> None:
        now = instant(sim.clock.now_ms())
        listed = await source.list_workflows(1)
        assert [row.workflow_id for row in listed.rows] == [WORKFLOW_ID]
        page = await source.list_executions(WORKFLOW_ID, Window(now - timedelta(days=29), now), 1)
        assert (page.total, [row.status for row in page.rows]) == (9, ["Success", "Success"])
        ref = ExecutionRef(
            execution_id=EXECUTION_ID, workflow_id=WORKFLOW_ID, partition=WORKFLOW_ID, created_at=now, has_ended=True
        )  # fmt: skip
        look = await source.read_execution(ref)
        assert look.execution.variables is not UNSET
        assert look.steps is None
        answer = await source.read_steps(replace_id(ref, STEPS_EXECUTION_ID))
        assert len(answer.events) == 6
        assert answer.has_payloads
        served = {each.node_id: each.input for each in answer.payloads}
        assert len(served) == 6
        detailed = served.pop(NODE_ID)
        assert detailed is not UNSET
        assert (detailed.state, detailed.size) == ("decoded", 4256)
        assert {payload.state for payload in served.values() if payload is not UNSET} == {"absent"}
        assert source.facts == {"customerId": "54f50897-26f3-c9af-83f9-e71459be70d9"}

    with_source(sim, work)


def replace_id(ref: ExecutionRef, execution_id: str) -> ExecutionRef:
    return msgspec.structs.replace(ref, execution_id=execution_id)


# Lists


@pytest.mark.parametrize("end_at", ["inclusive", "exclusive"])
def test_a_row_of_the_last_instant_of_the_window_is_in_it_whatever_end_at_means(end_at: str) -> None:
    sim = simulator(end_at=end_at)
    last = ended(sim)[3]
    before, after = timedelta(milliseconds=1), timedelta(milliseconds=1)

    async def ids(source: QualysFlow, window: Window) -> list[str]:
        page = await source.list_executions(last.workflow_id, window, 1)
        return [row.execution_id for row in page.rows]

    async def work(source: QualysFlow) -> None:
        end = instant(last.created_ms)
        assert last.id in await ids(source, Window(end - timedelta(hours=1), end))
        assert last.id in await ids(source, Window(end - before, end + timedelta(microseconds=400)))
        assert last.id in await ids(source, Window(end, end + after))
        assert last.id not in await ids(source, Window(end + after, end + 2 * after))

    with_source(sim, work)


def test_lists_are_asked_oldest_first_with_plain_times_in_milliseconds() -> None:
    sim = simulator()
    workflow_id = next(iter(sim.truth.workflows))

    async def work(source: QualysFlow) -> None:
        window = Window(START - timedelta(days=1, microseconds=1), START)
        await source.list_executions(workflow_id, window, 3)

    with_source(sim, work, page_size=7)
    assert sim.requests[-1].query == {
        "pageSize": "7",
        "pageNumber": "3",
        "startAt": "2026-02-28T11:59:59.999Z",
        "endAt": "2026-03-01T12:00:00.001Z",
        "order": "createdAt",
    }


def test_the_largest_page_is_found_out_once() -> None:
    sim = simulator(max_page_size="400", page_cap=30)

    async def work(source: QualysFlow) -> None:
        assert source.paging.page_size == 100
        await source.list_workflows(1)
        assert source.paging.page_size == 25
        await all_executions(source, next(iter(sim.truth.workflows)))
        assert source.client.traffic.answers["workflows", 400] == 2
        assert source.client.traffic.answers["executions", 400] == 0

    with_source(sim, work, page_size=100)


@pytest.mark.parametrize("form", ["limit_page", "pageSize_offset"])
def test_the_names_of_the_page_parameters_are_found_out_once(form: str) -> None:
    sim = simulator(paging=form)

    async def work(source: QualysFlow) -> None:
        assert len(await all_workflows(source)) == 2
        refused = source.client.traffic.answers["workflows", 400]
        assert refused > 0
        await all_executions(source, next(iter(sim.truth.workflows)))
        assert source.client.traffic.answers["workflows", 400] == refused
        assert source.client.traffic.answers["executions", 400] == 0

    with_source(sim, work, page_size=5)


def test_a_refusal_that_has_another_reason_leaves_the_page_size_alone() -> None:
    sim = simulator(horizon_reaction="400")
    workflow_id = next(iter(sim.truth.workflows))
    old = Window(START - timedelta(days=400), START)

    async def work(source: QualysFlow) -> None:
        with pytest.raises(Refused):
            await source.list_executions(workflow_id, old, 1)
        assert source.paging.page_size == 100
        await source.list_workflows(1)
        asked = len(sim.requests)
        with pytest.raises(Refused):
            await source.list_executions(workflow_id, old, 1)
        assert len(sim.requests) == asked + 1
        assert source.paging.page_size == 100

    with_source(sim, work)


def test_a_page_that_is_too_long_is_asked_for_in_smaller_ones() -> None:
    sim = simulator(replace(SMALL, executions=60))

    async def work(source: QualysFlow) -> None:
        workflow_id = next(iter(sim.truth.workflows))
        # Pages asked for before the size changed overlap those after it; none is left out.
        assert len({row.execution_id for row in await all_executions(source, workflow_id)}) == 60
        assert 5 < source.paging.page_size < 50

    with_source(sim, work, max_response_bytes=20_000)


def test_a_single_record_longer_than_allowed_is_no_page_at_all() -> None:
    async def work(source: QualysFlow) -> None:
        with pytest.raises(TooLarge):
            await source.list_workflows(1)
        assert source.paging.page_size == 100

    with_source(simulator(), work, max_response_bytes=500)


def test_a_bad_record_costs_one_record_and_the_page_counts_it() -> None:
    sim = simulator()
    bad, *_ = ended(sim)
    sim.spoil(bad.id, "createdAt", "yesterday")
    sim.spoil(bad.id, "note", "kept")

    async def work(source: QualysFlow) -> None:
        page = await source.list_executions(bad.workflow_id, whole(source), 1)
        assert bad.id not in {row.execution_id for row in page.rows}
        assert [reject.identity for reject in page.rejects] == [bad.id]
        assert b'"yesterday"' in page.rejects[0].raw
        assert page.size == page.total == 12

    with_source(sim, work)


def test_an_address_without_qualys_flow_is_not_taken_for_an_empty_one() -> None:
    sim = simulator()
    token = {"mode": "token", "token": sim.issue_token()}

    async def work(source: QualysFlow) -> None:
        with pytest.raises(ContractError, match="this is no Qualys Flow API") as caught:
            await source.list_workflows(1)
        assert caught.value.hint == "base_url must be the gateway of your platform"

    with_source(sim, work, below="/elsewhere", auth=_token(token))


def _token(fields: dict[str, str]) -> Any:
    from syncer.sources.qualys_flow import TokenAuth

    return TokenAuth.model_validate(fields)


# Single records


def test_a_deleted_workflow_or_execution_is_not_found() -> None:
    sim = simulator()
    execution, *_ = ended(sim)
    sim.delete_execution(execution.id)
    sim.delete_workflow(execution.workflow_id)

    async def work(source: QualysFlow) -> None:
        ref = ref_to(execution)
        window = whole(source)
        for ask in (
            lambda: source.read_workflow(execution.workflow_id),
            lambda: source.list_executions(execution.workflow_id, window, 1),
            lambda: source.read_execution(ref),
            lambda: source.read_steps(ref),
        ):
            with pytest.raises(NotFound):
                await ask()

    with_source(sim, work)


@pytest.mark.parametrize("id_sent", ["0e71f117-648f-4ad2-a3a9-8f1b857a1b70", None])
def test_another_record_than_the_one_asked_for_is_not_believed(id_sent: str | None) -> None:
    sim = simulator()
    execution, *_ = ended(sim)
    for record_id in (execution.id, execution.workflow_id):
        for name in ("id", "execution", "workflow"):
            sim.spoil(record_id, name, id_sent)

    async def work(source: QualysFlow) -> None:
        with pytest.raises(ContractError):
            await source.read_execution(ref_to(execution))
        with pytest.raises(ContractError):
            await source.read_workflow(execution.workflow_id)

    with_source(sim, work)


def test_a_look_brings_the_steps_only_where_nothing_more_need_be_asked() -> None:
    sim = simulator()
    execution, *_ = ended(sim)
    ref = ref_to(execution)

    async def look(source: QualysFlow) -> bool:
        found = await source.read_execution(ref)
        assert found.execution.execution_id == ref.execution_id
        assert found.execution.extra is None
        if found.steps is not None and source.client.traffic.answers["steps", 200] == 0:
            assert len(found.steps.events) == len(execution.events)
        return found.steps is not None

    assert not with_source(sim, look), "the steps lack their payloads"
    assert with_source(sim, look, step_io=False)
    assert not with_source(sim, look, steps=False)
    assert sim.requests[-1].query == {"includeSteps": "false"}
    for form, data, expected in (
        ("steps", True, True),
        ("items", True, True),
        ("absent", True, False),
    ):
        sim.switches = replace(sim.switches, include_steps=form, include_steps_data=data)  # type: ignore[arg-type]
        assert with_source(sim, look) is expected
    sim.switches = replace(sim.switches, include_steps="steps", include_data="broken")
    assert not with_source(sim, look), "one payload is broken"


def test_the_steps_in_a_look_are_those_that_happened() -> None:
    sim = simulator(include_steps_data=True)

    async def work(source: QualysFlow) -> None:
        for execution in ended(sim):
            look = await source.read_execution(ref_to(execution))
            assert look.steps is not None
            assert seen_steps(execution, look.steps) == real_steps(execution)

    with_source(sim, work)


def test_a_look_too_long_with_its_steps_is_made_without_them() -> None:
    sim = simulator(include_steps_data=True)
    execution = max(ended(sim), key=lambda each: len(each.events))

    async def work(source: QualysFlow) -> None:
        look = await source.read_execution(ref_to(execution))
        assert (look.execution.execution_id, look.steps) == (execution.id, None)

    with_source(sim, work, max_response_bytes=3_000)


# Steps


def test_steps_with_payloads_cost_one_request() -> None:
    sim = simulator()

    async def work(source: QualysFlow) -> None:
        await read_all_steps(source, sim)

    with_source(sim, work)
    assert sim.counts == {"auth": 1, "steps": len(ended(sim))}
    assert sim.requests[-1].query == {"includeData": "true", "order": "createdAt"}


def test_steps_without_payloads_ask_for_none_and_keep_none() -> None:
    sim = simulator()

    async def work(source: QualysFlow) -> None:
        answer = await source.read_steps(ref_to(ended(sim)[0]))
        assert answer.events
        assert not answer.has_payloads
        assert answer.payloads == ()

    with_source(sim, work, step_io=False)
    assert sim.counts == {"auth": 1, "steps": 1}
    assert sim.requests[-1].query == {"order": "createdAt"}


def test_variables_cost_one_more_request_and_none_where_no_payloads_are_copied() -> None:
    sim = simulator()
    execution, *_ = ended(sim)

    async def work(source: QualysFlow) -> StepAnswer:
        return await source.read_steps(ref_to(execution))

    both = with_source(sim, work, variables=True)
    assert sim.counts == {"auth": 1, "execution": 1, "steps": 1}
    sim.clear_requests()
    at_once = with_source(sim, work, variables=True, step_io=False)
    assert sim.counts == {"auth": 1, "execution": 1}
    assert len(at_once.events) == len(both.events) == len(execution.events)
    for answer in (both, at_once):
        assert isinstance(answer.variables, bytes)
        assert msgspec.json.decode(answer.variables) == execution.variables
    sim.switches = replace(sim.switches, include_steps="absent")
    sim.clear_requests()
    assert len(with_source(sim, work, variables=True, step_io=False).events) == len(execution.events)
    assert sim.counts == {"auth": 1, "execution": 1, "steps": 1}
    assert with_source(sim, work).variables is UNSET


def test_where_include_data_does_nothing_nodes_are_asked_one_by_one_and_it_is_sent_no_more() -> None:
    sim = simulator(include_data="absent")
    first, second, *_ = ended(sim)

    async def work(source: QualysFlow) -> None:
        for execution in (first, second):
            answer = await source.read_steps(ref_to(execution))
            assert answer.has_payloads
            assert seen_steps(execution, answer) == real_steps(execution)

    with_source(sim, work)
    asked = [seen.query.get("includeData") for seen in sim.requests if seen.endpoint == "steps"]
    assert asked == ["true", None]
    assert sim.counts["step"] == len(first.attempts) + len(second.attempts)
    assert sim.counts["input"] == sim.counts["output"] == 0


def test_only_the_node_with_a_broken_payload_is_asked_for_again() -> None:
    sim = simulator(include_data="broken")
    execution, *_ = ended(sim)

    async def work(source: QualysFlow) -> None:
        answer = await source.read_steps(ref_to(execution))
        assert [each.node_id for each in answer.payloads] == [execution.attempts[0].node_id]
        assert seen_steps(execution, answer) == real_steps(execution)

    with_source(sim, work)
    assert sim.counts == {"auth": 1, "steps": 1, "step": 1}


def of(
    endpoint: str, change: Callable[[Answer], Answer], *, times: int = 1000
) -> Callable[[Request, Answer], Answer]:
    """A fault that changes the answers whose path ends with these words."""
    left = [times]

    def fault(request: Request, answer: Answer) -> Answer:
        if not _is(request, endpoint) or not left[0]:
            return answer
        left[0] -= 1
        return change(answer)

    return fault


def _is(request: Request, endpoint: str) -> bool:
    parts = request.path.split("/")
    return parts[-2] == "steps" if endpoint == "step" else parts[-1] == endpoint


def without(*names: str) -> Callable[[Answer], Answer]:
    def change(answer: Answer) -> Answer:
        record = msgspec.json.decode(answer.body)
        return replace(
            answer, body=msgspec.json.encode({key: record[key] for key in record if key not in names})
        )

    return change


@pytest.mark.parametrize("io_endpoint", ["string_of_json", "plain"])
def test_payloads_that_the_details_lack_come_from_their_own_endpoints(io_endpoint: str) -> None:
    sim = simulator(include_data="absent", io_endpoint=io_endpoint)
    execution, *_ = ended(sim)
    sim.fault = of("step", without("input", "output"))

    async def work(source: QualysFlow) -> None:
        answer = await source.read_steps(ref_to(execution))
        assert seen_steps(execution, answer) == real_steps(execution)

    with_source(sim, work)
    assert sim.counts["input"] == sim.counts["output"] == sim.counts["step"] == len(execution.attempts)


def test_a_node_the_source_has_no_details_of_has_no_payload() -> None:
    sim = simulator(include_data="absent")
    execution, *_ = ended(sim)
    sim.fault = of("step", lambda answer: Answer(404, b"{}"))

    async def work(source: QualysFlow) -> None:
        answer = await source.read_steps(ref_to(execution))
        assert len(answer.events) == len(execution.events)
        states = {
            side.state for each in answer.payloads for side in (each.input, each.output) if side is not UNSET
        }
        assert states == {"absent"}

    with_source(sim, work)
    assert sim.counts["input"] == 0


def test_steps_too_long_with_their_payloads_are_read_node_by_node() -> None:
    sim = simulator()
    execution = max(ended(sim), key=lambda each: len(each.attempts))
    node = execution.attempts[1].node_id
    sim.set_payload(execution.id, node, "output", b'"' + b"x y " * 20_000 + b'"')
    sim.switches = replace(sim.switches, include_data="plain", step_detail_payload="plain")

    async def work(source: QualysFlow) -> None:
        answer = await source.read_steps(ref_to(execution))
        payloads = {each.node_id: each for each in answer.payloads}
        assert len(payloads) == len({attempt.node_id for attempt in execution.attempts})
        huge = payloads.pop(node)
        assert huge.output is not UNSET
        assert (huge.output.state, huge.output.value) == ("too_large", None)
        assert _value(huge.input) == execution.attempts[1].given.redacted
        assert {side.state for each in payloads.values() for side in (each.input,) if side is not UNSET} == {
            "decoded"
        }

    with_source(sim, work, max_response_bytes=20_000)
    asked = [seen.query.get("includeData") for seen in sim.requests if seen.endpoint == "steps"]
    assert asked == ["true", None]
    assert (sim.counts["input"], sim.counts["output"]) == (1, 1)


def test_nodes_of_a_running_execution_are_asked_for_once_they_have_ended() -> None:
    sim = simulator(include_data="absent")
    execution = running(sim)
    over = {attempt.node_id for attempt in execution.attempts if attempt.ended_ms is not None}

    async def work(source: QualysFlow) -> None:
        answer = await source.read_steps(ref_to(execution))
        assert {each.node_id for each in answer.payloads} == over
        assert len(answer.events) == len(execution.events)

    with_source(sim, work)


def shorter(answer: Answer) -> Answer:
    listing = msgspec.json.decode(answer.body)
    return replace(answer, body=msgspec.json.encode({**listing, "items": listing["items"][:-1]}))


def doubled(answer: Answer) -> Answer:
    listing = msgspec.json.decode(answer.body)
    return replace(
        answer, body=msgspec.json.encode({**listing, "items": [*listing["items"][:-1], listing["items"][0]]})
    )


@pytest.mark.parametrize("change", [shorter, doubled])
def test_a_list_of_steps_shorter_than_its_total_is_asked_for_again_and_never_believed(
    change: Callable[[Answer], Answer],
) -> None:
    sim = simulator()
    execution, *_ = ended(sim)

    async def work(source: QualysFlow) -> None:
        sim.fault = of("steps", change, times=2)
        assert len((await source.read_steps(ref_to(execution))).events) == len(execution.events)
        sim.fault = of("steps", change)
        with pytest.raises(
            TransientError, match=rf"in part: {len(execution.events) - 1} of {len(execution.events)} steps"
        ):
            await source.read_steps(ref_to(execution))

    with_source(sim, work)


def test_a_bad_event_costs_one_event() -> None:
    sim = simulator()
    execution, *_ = ended(sim)
    bad = execution.events[1]
    sim.spoil(bad.id, "nodeId", None)

    async def work(source: QualysFlow) -> None:
        answer = await source.read_steps(ref_to(execution))
        assert [reject.identity for reject in answer.rejects] == [bad.id]
        assert len(answer.events) == len(execution.events) - 1

    with_source(sim, work)


def test_ids_of_nodes_cannot_lead_to_another_path() -> None:
    sim = simulator(include_data="absent")
    execution, *_ = ended(sim)
    event = execution.events[0]
    sim.spoil(event.id, "nodeId", "..")
    sim.spoil(execution.events[1].id, "nodeId", "a/../../b?c#d")

    async def work(source: QualysFlow) -> None:
        await source.read_steps(ref_to(execution))

    with_source(sim, work)
    paths = {
        seen.path.partition(f"{execution.id}/steps/")[2] for seen in sim.requests if seen.endpoint == "step"
    }
    assert {"%2E%2E", "a%2F..%2F..%2Fb%3Fc%23d"} <= paths


# Access and limits


def test_secrets_never_come_out_of_a_source() -> None:
    sim = simulator(include_data="broken", include_steps_data=True)

    async def work(source: QualysFlow) -> list[Any]:
        found: list[Any] = [vars(source), vars(source.client)]
        for execution in ended(sim):
            found += [
                await source.read_steps(ref_to(execution)),
                await source.read_execution(ref_to(execution)),
            ]
        return found

    shown = repr(with_source(sim, work))
    assert PLANTED_SECRET not in shown
    assert sim.credentials.password not in shown
    assert "eyJ" not in shown, "no token"


def test_tokens_revoked_on_the_way_are_renewed_once() -> None:
    sim = simulator()

    async def work(source: QualysFlow) -> None:
        await source.list_workflows(1)
        sim.revoke_tokens()
        await asyncio.gather(*(source.list_workflows(1) for _ in range(8)))

    with_source(sim, work, max_concurrency=8)
    assert sim.counts["auth"] == 2


def test_a_token_is_renewed_by_its_own_lifetime_before_the_source_refuses_it() -> None:
    sim = simulator(token_lifetime=600.0)

    async def work(source: QualysFlow) -> None:
        for _ in range(10):
            await source.list_workflows(1)
            sim.clock.advance(200)

    with_source(sim, work)
    assert sim.counts["auth"] == 4
    assert not [seen for seen in sim.requests if seen.status == 401]


@pytest.mark.parametrize("status", [200, 201])
def test_a_client_signs_in_by_its_headers(status: int) -> None:
    from syncer.sources.qualys_flow import ClientAuth

    sim = simulator(oidc_status=status)
    auth = ClientAuth.model_validate(
        {
            "mode": "client",
            "client_id": sim.credentials.client_id,
            "client_secret": sim.credentials.client_secret,
        }
    )

    async def work(source: QualysFlow) -> None:
        assert (await source.list_workflows(1)).rows

    with_source(sim, work, auth=auth)
    assert sim.counts["oidc"] == 1


def test_refused_credentials_say_which_keys_to_check() -> None:
    sim = simulator()
    auth = PasswordAuth.model_validate({"mode": "password", "username": "api-user", "password": "wr0ng-pw"})

    async def work(source: QualysFlow) -> None:
        with pytest.raises(AuthError, match="refused the credentials") as caught:
            await source.list_workflows(1)
        assert "auth.password" in str(caught.value)
        assert "wr0ng-pw" not in str(caught.value)

    with_source(sim, work, auth=auth)


@pytest.mark.parametrize("dialect", SWITCHES["limit_dialect"])
def test_in_every_dialect_of_waiting_no_request_is_made_too_early_and_all_is_read(dialect: str) -> None:
    sim = simulator(limit_dialect=dialect, rate_limit=5, rate_window=900.0)
    waits = []

    async def work(source: QualysFlow) -> None:
        todo = ended(sim)
        while todo:
            try:
                answer = await source.read_steps(ref_to(todo[-1]))
            except RateLimited as limit:
                waits.append((limit.until - instant(sim.clock.now_ms())).total_seconds())
                sim.clock.advance(waits[-1])
            else:
                execution = todo.pop()
                assert seen_steps(execution, answer) == real_steps(execution)

    with_source(sim, work)
    assert len(waits) >= (len(ended(sim)) - 1) // 5
    assert sim.impolite == 0


def test_the_sources_clock_is_the_one_in_its_answers() -> None:
    sim = simulator()

    async def work(source: QualysFlow) -> None:
        assert source.now() is None
        await source.list_workflows(1)
        assert source.now() == START
        sim.clock.advance(0.5)
        assert source.now() == START + timedelta(seconds=0.5)

    with_source(sim, work)
