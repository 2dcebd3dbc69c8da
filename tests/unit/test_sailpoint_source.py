"""The source against canned answers over a socket: every form in which the documents say a tenant may answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import msgspec
import pytest
from msgspec import UNSET, structs
from structlog.testing import capture_logs

from syncer.config import Connection
from syncer.errors import AuthError, ContractError, Forbidden, NotFound, RateLimited, TransientError
from syncer.http import Gate, Refused
from syncer.model import ExecutionRef, Outcome, StepAnswer, Window
from syncer.paging import Answer, Asked, Verdict, read_window
from syncer.simulator import Request
from syncer.simulator.sailpoint import SWITCHES, Switches
from syncer.simulator.sailpoint.asks import executions_ask
from syncer.simulator.sailpoint.stamps import read as nanoseconds
from syncer.sources import Order
from syncer.sources.sailpoint import ClientAuth, Options, SailPoint, connect
from tests.unit.test_http import FakeTime, Server, reply, serving

T = TypeVar("T")
Query = dict[str, str]
Handler = Callable[[Query], Any]
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(hours=1))
REF = ExecutionRef(execution_id="e1", workflow_id="w1", partition="w1", created_at=START, has_ended=True)

WORKFLOWS = "/v2024/workflows"
EXECUTIONS = "/v2024/workflows/w1/executions"
EXECUTION = "/v2024/workflow-executions/e1"
HISTORY = "/v2024/workflow-executions/e1/history"
NEW_HISTORY = "/v2025/workflow-executions/e1/history"
HISTORY_2 = "/v2025/workflow-executions/e1/history-v2"

TOKEN = {"access_token": "the-token", "token_type": "bearer", "expires_in": 749, "org": "acme"}


class Tenant:
    """Answers each path by its handler, which gets the query; every request is kept."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self.handlers = {"/oauth/token": lambda _: TOKEN, **handlers}
        self.asked: list[tuple[str, Query]] = []

    def __call__(self, server: Server, body: bytes) -> bytes:
        line, headers = server.seen[-1]
        method, target = line.split(" ")
        path, query = urlsplit(target).path, dict(parse_qsl(urlsplit(target).query, keep_blank_values=True))
        if method == "GET":
            assert headers["authorization"] == "Bearer the-token"
            self.asked.append((unquote(path), query))
        else:
            assert b"client_secret=s3cret" in body
        handler = self.handlers.get(path)
        answer = refused(404) if handler is None else handler(query)
        return answer if isinstance(answer, bytes) else reply(200, msgspec.json.encode(answer))

    def queries(self, path: str) -> list[Query]:
        return [query for asked, query in self.asked if asked == path]


def refused(status: int, *headers: str) -> bytes:
    body = {"detailCode": f"{status}", "trackingId": "e7ea", "messages": [{"locale": "en-US", "text": "no"}]}
    return reply(status, msgspec.json.encode(body), *headers)


def with_source(
    handlers: Mapping[str, Handler],
    work: Callable[[SailPoint], Awaitable[T]],
    *,
    api_path: str = "v2024",
    **changes: Any,
) -> tuple[T, Tenant]:
    async def run() -> T:
        async with serving(tenant) as server:
            auth = {"mode": "client", "client_id": "id", "client_secret": "s3cret"}
            settings: dict[str, Any] = {"timeout": timedelta(seconds=60), "requests_per_second": 0} | changes
            connection = Connection(
                name="t",
                platform="sailpoint",
                base_url=server.url,
                auth=ClientAuth.model_validate(auth),
                options=Options.model_validate({"api_path": api_path}),
                **settings,
            )
            source = connect(connection, Gate(FakeTime().clock))
            try:
                return await work(source)
            finally:
                await source.close()

    tenant = Tenant(handlers)
    return asyncio.run(run()), tenant


def workflow(number: int) -> dict[str, Any]:
    return {"id": f"w{number}", "name": f"Workflow {number}", "executionCount": 2}


def execution(number: int = 1, **changes: Any) -> dict[str, Any]:
    started = f"2026-03-01T12:00:{number:02}.356648026Z"
    return {"id": f"e{number}", "workflowId": "w1", "startTime": started, "status": "Completed", **changes}


def paged(rows: list[Any]) -> Handler:
    def answer(query: Query) -> Any:
        offset = int(query.get("offset", 0))
        return rows[offset : offset + int(query.get("limit", 250))]

    return answer


def never(status: int) -> Handler:
    return lambda _: refused(status)


# Workflows


async def two_passes(source: SailPoint) -> list[list[list[str]]]:
    passes = []
    for _ in range(2):
        pages: list[list[str]] = []
        while (page := await source.list_workflows(len(pages) + 1)).size:
            pages.append([row.workflow_id for row in page.rows])
            if len(pages) > 3:
                break
        passes.append(pages)
    return passes


def test_workflows_are_paged_where_the_tenant_pages() -> None:
    passes, tenant = with_source({WORKFLOWS: paged([workflow(n) for n in range(3)])}, two_passes, page_size=2)
    assert passes == [[["w0", "w1"], ["w2"]]] * 2
    assert tenant.queries(WORKFLOWS)[:2] == [{"limit": "2", "offset": "0"}, {"limit": "2", "offset": "2"}]


def test_workflows_come_whole_where_paging_is_refused_and_then_it_is_not_tried_again() -> None:
    rows = [workflow(n) for n in range(3)]

    def whole(query: Query) -> Any:
        return refused(400) if query else rows

    (passes, dialect), tenant = with_source({WORKFLOWS: whole}, passes_and_dialect, page_size=2)
    assert passes == [[["w0", "w1", "w2"]]] * 2
    assert [len(query) for query in tenant.queries(WORKFLOWS)] == [2, 0, 0]
    assert dialect["paging"] == "of workflows: one answer holds them all"


@pytest.mark.parametrize(("page_size", "requests"), [(2, 2), (100, 3)])
def test_workflows_come_whole_where_paging_is_passed_over(page_size: int, requests: int) -> None:
    rows = [workflow(n) for n in range(3)]
    (passes, dialect), tenant = with_source(
        {WORKFLOWS: lambda _: rows}, passes_and_dialect, page_size=page_size
    )
    assert passes[-1] == [["w0", "w1", "w2"]]
    assert {each for page in passes[0] for each in page} == {"w0", "w1", "w2"}
    assert len(tenant.queries(WORKFLOWS)) == requests
    assert dialect["paging"] == "of workflows: one answer holds them all"


async def passes_and_dialect(source: SailPoint) -> tuple[list[list[list[str]]], Mapping[str, str]]:
    return await two_passes(source), source.dialect


def clamped(rows: list[Any], most: int) -> Handler:
    """Serves no more than so many rows, however many are asked for."""
    return lambda query: paged(rows)(query)[:most]


def test_workflows_are_all_read_where_pages_are_shorter_than_asked_for() -> None:
    rows = [workflow(n) for n in range(12)]
    (passes, dialect), tenant = with_source({WORKFLOWS: clamped(rows, 3)}, passes_and_dialect, page_size=10)
    assert [[each for page in pages for each in page] for pages in passes] == [
        [f"w{n}" for n in range(12)]
    ] * 2
    assert [query["offset"] for query in tenant.queries(WORKFLOWS)] == ["0", "3", "6", "9", "10", "12"] * 2
    assert dialect["paging"] == "of workflows: limit and offset"


@pytest.mark.parametrize(("number", "requests"), [(0, 1), (3, 2), (10, 2), (13, 3)])
def test_a_list_that_is_paged_as_asked_costs_one_request_more_than_it_has_full_pages(
    number: int, requests: int
) -> None:
    rows = [workflow(n) for n in range(number)]
    _, tenant = with_source({WORKFLOWS: paged(rows)}, two_passes, page_size=10)
    assert len(tenant.queries(WORKFLOWS)) == 2 * requests


def test_what_was_the_end_of_a_list_is_asked_for_again_with_its_first_page() -> None:
    rows = [workflow(0)]

    async def grow(source: SailPoint) -> Any:
        before = [(await source.list_workflows(page)).size for page in (1,)]
        rows.extend(workflow(n) for n in range(1, 4))
        return before, [(await source.list_workflows(page)).size for page in (1, 2, 3)]

    (before, after), _ = with_source({WORKFLOWS: paged(rows)}, grow, page_size=2)
    assert (before, after) == ([1], [2, 2, 0])


def test_a_refusal_of_the_list_itself_is_told_as_one() -> None:
    async def list_them(source: SailPoint) -> Any:
        return await source.list_workflows(1)

    for status, kind in ((400, Refused), (403, Forbidden), (404, ContractError)):
        with pytest.raises(kind):
            with_source({WORKFLOWS: never(status)}, list_them)


def test_a_workflow_is_read_by_its_id_and_another_one_is_not_taken_for_it() -> None:
    handlers = {f"{WORKFLOWS}/w1": lambda _: workflow(1), f"{WORKFLOWS}/w2": lambda _: workflow(1)}

    async def read(source: SailPoint) -> Any:
        with pytest.raises(ContractError, match="another record"):
            await source.read_workflow("w2")
        return (await source.read_workflow("w1")).workflow_id

    assert with_source(handlers, read)[0] == "w1"


# Executions


def listing(*, counted: bool = False, page: int = 1, window: Window = WINDOW) -> Callable[[SailPoint], Any]:
    async def ask(source: SailPoint) -> Any:
        found = await source.list_executions("w1", window, page, counted=counted)
        return [row.execution_id for row in found.rows], found.total, len(found.rejects)

    return ask


def test_a_window_is_asked_by_start_time_with_every_nanosecond_of_its_last_microsecond() -> None:
    instant = datetime(2022, 2, 7, 20, 13, 29, 356648, tzinfo=UTC)
    ask = listing(window=Window(instant, instant), page=3)
    (ids, total, _), tenant = with_source({EXECUTIONS: paged([execution()] * 501)}, ask, page_size=1000)
    assert (ids, total) == (["e1"], None)
    filters = 'start_time ge "2022-02-07T20:13:29.356648Z" and start_time le "2022-02-07T20:13:29.356648999Z"'
    assert tenant.queries(EXECUTIONS) == [
        {"limit": "250", "offset": "500", "filters": filters},
        {"limit": "249", "offset": "501", "filters": filters},
    ]


def test_pages_fall_by_start_time_a_microsecond_at_a_time() -> None:
    async def look(source: SailPoint) -> Any:
        return source.paging, source.partitions(["w1", "w2"]), await source.list_changed("w1", 1)

    (paging, partitions, changed), tenant = with_source({}, look, page_size=300)
    assert (paging.order, paging.page_size, paging.tick, paging.max_rows) == (
        Order.DESCENDING, 250, timedelta(microseconds=1), None,
    )  # fmt: skip
    assert (partitions, changed.size, tenant.asked) == (["w1", "w2"], 0, [])


def test_a_bad_record_costs_itself_alone() -> None:
    rows = [execution(3), {"id": "e2"}, execution(1)]
    (found, _) = with_source({EXECUTIONS: lambda _: rows}, listing())
    assert found == (["e3", "e1"], None, 1)


def test_a_total_is_asked_for_only_where_wanted_and_taken_where_it_comes() -> None:
    def counting(query: Query) -> bytes:
        headers = ("X-Total-Count: 17",) if query.get("count") == "true" else ()
        return reply(200, msgspec.json.encode([execution()]), *headers)

    assert with_source({EXECUTIONS: counting}, listing(counted=True))[0][1] == 17
    assert with_source({EXECUTIONS: counting}, listing())[0][1] is None


@pytest.mark.parametrize("told", ["", "many", "-1"])
def test_a_total_that_is_no_number_is_none(told: str) -> None:
    answer = reply(200, b"[]", f"X-Total-Count: {told}")
    assert with_source({EXECUTIONS: lambda _: answer}, listing(counted=True))[0][1] is None


def test_where_count_is_refused_the_list_comes_without_and_it_is_not_asked_for_again() -> None:
    async def twice(source: SailPoint) -> Any:
        return [await listing(counted=True)(source) for _ in range(2)], source.dialect["totals"]

    def fussy(query: Query) -> Any:
        return refused(400) if "count" in query else paged([execution()])(query)

    (found, totals), tenant = with_source({EXECUTIONS: fussy}, twice, page_size=1)
    assert found == [(["e1"], None, 0)] * 2
    assert ["count" in query for query in tenant.queries(EXECUTIONS)] == [True, False, False]
    assert totals == "not told"


def test_a_list_refused_for_another_reason_says_so_and_count_is_tried_again() -> None:
    states = iter([400, 400])

    def once(query: Query) -> Any:
        status = next(states, None)
        return refused(status) if status else reply(200, b"[]", "X-Total-Count: 0")

    async def again(source: SailPoint) -> Any:
        with pytest.raises(Refused):
            await listing(counted=True)(source)
        return await listing(counted=True)(source)

    assert with_source({EXECUTIONS: once}, again)[0] == ([], 0, 0)


async def read_all(source: SailPoint, window: Window = WINDOW) -> tuple[set[str], list[Verdict]]:
    """What a window holds, and how it ended."""
    found: set[str] = set()
    verdicts: list[Verdict] = []

    async def ask(part: Window, page: int) -> Answer:
        listed = await source.list_executions("w1", part, page)
        return Answer(page=listed, asked=Asked(at=START, source_at=START))

    async for portion in read_window(ask, window, source.paging):
        found |= {row.execution_id for row in portion.rows}
        verdicts += [portion.span.verdict] if portion.span else []
    return found, verdicts


def filtered(rows: list[Any], precision: str = "ns", most: int = 250) -> Handler:
    """The newest first, compared as finely as that, and no more of them than so many."""
    switches = Switches(filter_precision=precision)  # type: ignore[arg-type]

    def answer(query: Query) -> Any:
        asked = executions_ask(Request("GET", "/?" + urlencode(query, quote_via=quote), {}), switches)
        held = [row for row in rows if asked.since_ns <= nanoseconds(row["startTime"]) <= asked.until_ns]
        return clamped(held[::-1], most)(query)

    return answer


def dense(number: int, apart: timedelta) -> list[Any]:
    """So many executions, each so long after the one before."""
    starts = (START + n * apart for n in range(number))
    return [execution(n, startTime=f"{at:%Y-%m-%dT%H:%M:%S.%f}026Z") for n, at in enumerate(starts)]


@pytest.mark.parametrize("precision", SWITCHES["filter_precision"])
@pytest.mark.parametrize("apart", [1, 307, 7_000])
def test_executions_are_all_read_however_finely_start_times_are_compared(precision: str, apart: int) -> None:
    """Three of a millisecond lie across most ends of pages where they are 307 µs apart."""
    rows = dense(1000, timedelta(microseconds=apart))
    (found, verdicts), _ = with_source({EXECUTIONS: filtered(rows, precision)}, read_all)
    assert (len(found), verdicts) == (1000, [Verdict.PROVED])


@pytest.mark.parametrize(("number", "apart"), [(90, 1_000_000), (400, 1_000_000), (400, 0)])
def test_executions_are_all_read_where_pages_are_shorter_than_asked_for(number: int, apart: int) -> None:
    rows = dense(number, timedelta(microseconds=apart))
    (found, verdicts), _ = with_source({EXECUTIONS: filtered(rows, most=30)}, read_all)
    assert (len(found), verdicts) == (number, [Verdict.PROVED])


@pytest.mark.parametrize(("number", "requests"), [(0, 1), (3, 2), (100, 3), (130, 3)])
def test_a_window_that_is_paged_as_asked_costs_a_request_more_than_it_has_full_pages(
    number: int, requests: int
) -> None:
    _, tenant = with_source({EXECUTIONS: filtered(dense(number, timedelta(seconds=1)))}, read_all)
    assert len(tenant.queries(EXECUTIONS)) == 2 * requests


@pytest.mark.parametrize("form", [execution(), [execution()]])
def test_an_execution_by_id_is_an_object_or_a_list_of_one(form: Any) -> None:
    async def read(source: SailPoint) -> Any:
        return await source.read_execution(REF)

    look, _ = with_source({EXECUTION: lambda _: form}, read)
    assert (look.execution.execution_id, look.execution.outcome, look.steps) == (
        "e1",
        Outcome.SUCCEEDED,
        None,
    )


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refused(404), NotFound),
        (refused(403), Forbidden),
        ([], TransientError),
        ([execution(1), execution(2)], TransientError),
        (execution(2), ContractError),
        ({"id": "e1"}, ContractError),
        (reply(401, b'{"error":"JWT validation failed: JWT is expired"}'), AuthError),
        (reply(429, b'{"message":" Rate Limit Exceeded "}', "Retry-After: 1200"), RateLimited),
    ],
)
def test_what_is_not_the_execution_asked_for_is_an_error_that_says_what_to_do(answer: Any, kind: Any) -> None:
    async def read(source: SailPoint) -> Any:
        with pytest.raises(kind) as caught:
            await source.read_execution(REF)
        return str(caught.value)

    text, _ = with_source({EXECUTION: lambda _: answer}, read)
    assert "s3cret" not in text
    assert "the-token" not in text
    if kind is RateLimited:
        assert "2026-03-01T12:20:00" in text


# Histories


def event(number: int, event_type: str = "ActivityTaskStarted", **attributes: Any) -> dict[str, Any]:
    at = f"2026-03-01T12:{number // 60:02}:{number % 60:02}Z"
    return {"type": event_type, "timestamp": at, "attributes": {"stepName": "a", **attributes}}


def a_history(length: int) -> list[dict[str, Any]]:
    begun, ended = event(0, "WorkflowExecutionStarted"), event(length - 1, "WorkflowExecutionCompleted")
    return [begun, *(event(number) for number in range(1, length - 1)), ended]


async def read_steps(source: SailPoint) -> StepAnswer:
    return await source.read_steps(REF)


async def read_twice(source: SailPoint) -> StepAnswer:
    await source.read_steps(REF)
    return await source.read_steps(REF)


def test_a_short_history_with_begin_and_end_is_one_request() -> None:
    answer, tenant = with_source({HISTORY: paged(a_history(5))}, read_steps)
    assert len(answer.events) == 5
    assert tenant.queries(HISTORY) == [{"limit": "250", "offset": "0"}]


@pytest.mark.parametrize("length", [249, 250, 251, 600])
def test_a_long_history_is_read_to_its_end(length: int) -> None:
    answer, tenant = with_source({HISTORY: paged(a_history(length))}, read_steps)
    assert len({each.event_id for each in answer.events}) == len(answer.events) == length
    assert len(tenant.queries(HISTORY)) == length // 250 + 1


def test_a_history_whose_pages_are_cut_shorter_than_asked_is_read_to_its_end() -> None:
    answer, tenant = with_source({HISTORY: clamped(a_history(25), 10)}, read_steps)
    assert len(answer.events) == 25
    assert [query["offset"] for query in tenant.queries(HISTORY)] == ["0", "10", "20"]


@pytest.mark.parametrize("length", [3, 250, 400])
def test_a_history_that_comes_whole_whatever_is_asked_is_not_counted_twice(length: int) -> None:
    rows = a_history(length)[:-1]
    answer, tenant = with_source({HISTORY: lambda _: rows}, read_steps)
    assert len(answer.events) == length - 1
    assert len(tenant.queries(HISTORY)) == (1 if length == 400 else 2)


RUNNING = structs.replace(REF, has_ended=False)


async def read_running(source: SailPoint) -> StepAnswer:
    return await source.read_steps(RUNNING)


def test_a_history_of_a_running_execution_is_asked_for_once() -> None:
    answer, tenant = with_source({HISTORY: paged(a_history(5)[:-1])}, read_running)
    assert (len(answer.events), len(tenant.asked), answer.is_whole) == (4, 1, True)


@pytest.mark.parametrize(
    ("events", "is_whole"),
    [
        (a_history(5), True),
        (a_history(5)[::-1], True),
        (a_history(5)[:-1], False),
        (a_history(5)[1:], False),
        ([], False),
    ],
)
def test_a_history_of_what_has_ended_is_whole_with_its_begin_and_its_end(
    events: list[Any], is_whole: bool
) -> None:
    answer, _ = with_source({HISTORY: paged(events)}, read_steps)
    assert (len(answer.events), answer.is_whole) == (len(events), is_whole)
    second = {NEW_HISTORY: never(404), HISTORY_2: lambda _: {"history": events}}
    answer, _ = with_source(second, read_steps, api_path="v2025")
    assert (len(answer.events), answer.is_whole) == (len(events), is_whole)


def test_a_history_of_which_only_the_first_page_comes_is_an_error_and_not_taken_for_whole() -> None:
    async def read(source: SailPoint) -> Any:
        with pytest.raises(ContractError, match="after 250 events") as caught:
            await source.read_steps(REF)
        return caught.value.hint

    rows = a_history(402)
    for passes_over in (lambda query: rows[: int(query["limit"])], lambda _: rows[:250]):
        hint, tenant = with_source({HISTORY: passes_over}, read)
        assert "v2025" in hint
        assert len(tenant.asked) == 2
        answer, _ = with_source({HISTORY: passes_over}, read_running)
        assert len(answer.events) == 250
    answer, _ = with_source({HISTORY: clamped(rows[:250], 100)}, read_steps)
    assert (len(answer.events), answer.is_whole) == (250, False)


def test_a_history_of_which_only_the_first_page_comes_is_read_by_the_second_address() -> None:
    rows = a_history(402)
    handlers = {NEW_HISTORY: lambda _: rows[:250], HISTORY_2: lambda _: {"history": rows}}
    answer, tenant = with_source(handlers, read_twice, api_path="v2025")
    assert (len(answer.events), answer.is_whole) == (402, True)
    assert len(tenant.queries(NEW_HISTORY)) == 2


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("number", [400, 751, 2000])
def test_events_that_are_alike_in_all_they_say_all_count_on_whatever_page_they_come(
    number: int, order: int
) -> None:
    begun, ended = event(0, "WorkflowExecutionStarted"), event(59, "WorkflowExecutionCompleted")
    rows = [begun, *[event(1)] * number, ended][::order]
    answer, _ = with_source({HISTORY: paged(rows)}, read_steps)
    ids = {each.event_id for each in answer.events}
    assert (len(ids), len(answer.events), answer.is_whole) == (len(rows), len(rows), True)
    whole, _ = with_source(
        {NEW_HISTORY: never(404), HISTORY_2: lambda _: {"history": rows}}, read_steps, api_path="v2025"
    )
    assert {each.event_id for each in whole.events} == ids


def test_what_comes_twice_because_a_history_grew_while_it_was_read_counts_once() -> None:
    rows = a_history(300)[:-1]

    def growing(query: Query) -> Any:
        """The newest first, one more with each answer."""
        rows.append(event(len(rows)))
        return paged(rows[::-1])(query)

    answer, _ = with_source({HISTORY: growing}, read_running)
    assert not [each.event_id for each in answer.events if each.event_id.endswith("-2")]
    assert len(answer.events) == 300


def test_where_pages_of_a_history_are_refused_it_comes_whole_and_they_are_not_tried_again() -> None:
    answer, tenant = with_source(
        {HISTORY: lambda query: refused(400) if query else a_history(300)}, read_twice
    )
    assert len(answer.events) == 300
    assert [len(query) for query in tenant.queries(HISTORY)] == [2, 0, 0]


def test_a_history_too_large_for_one_answer_is_read_in_smaller_ones() -> None:
    rows = [event(number, note="x" * 500) for number in range(60)]
    answer, tenant = with_source({HISTORY: paged(rows)}, read_steps, max_response_bytes=25_000)
    assert len(answer.events) == 60
    assert [query["limit"] for query in tenant.queries(HISTORY)][:3] == ["250", "31", "31"]


def test_a_bad_event_costs_itself_alone() -> None:
    rows = [*a_history(3), {"type": "ActivityTaskFailed"}]
    answer, _ = with_source({HISTORY: lambda _: rows}, read_steps)
    assert (len(answer.events), len(answer.rejects)) == (3, 1)


def test_what_failed_last_is_told_with_the_steps() -> None:
    rows = [*a_history(4), event(9, "ActivityTaskFailed", error="no such mailbox", input={"a": 1})]
    answer, _ = with_source({HISTORY: lambda _: rows}, read_steps)
    assert (answer.message, answer.has_payloads, answer.variables) == ("no such mailbox", True, UNSET)
    quiet, _ = with_source({HISTORY: lambda _: a_history(4)}, read_steps)
    assert (quiet.message, quiet.has_payloads) == (UNSET, False)


SECOND = {"definition": {"start": "a"}, "history": a_history(4), "trigger": {"type": "EVENT"}}


@pytest.mark.parametrize("status", [400, 404, 410])
def test_where_the_first_history_is_gone_the_second_serves_and_stays(status: int) -> None:
    async def read(source: SailPoint) -> Any:
        return await read_twice(source), source.dialect["history"]

    handlers = {NEW_HISTORY: never(status), HISTORY_2: lambda _: SECOND}
    (answer, dialect), tenant = with_source(handlers, read, api_path="v2025")
    assert len(answer.events) == 4
    assert dialect == "history-v2 brings the steps"
    assert len(tenant.queries(HISTORY_2)) == 2
    assert len(tenant.queries(NEW_HISTORY)) == (2 if status == 400 else 1)
    first = answer.events[0]
    assert msgspec.json.decode(first.extra) == {"definition": {"start": "a"}, "trigger": {"type": "EVENT"}}
    assert {each.extra for each in answer.events[1:]} == {None}


def test_a_history_that_is_gone_by_either_path_is_not_found() -> None:
    async def read(source: SailPoint) -> Any:
        for _ in range(2):
            with pytest.raises(NotFound):
                await source.read_steps(REF)

    _, tenant = with_source({}, read, api_path="v2025")
    assert [path for path, _ in tenant.asked] == [NEW_HISTORY, HISTORY_2] * 2
    _, tenant = with_source({}, read)
    assert [path for path, _ in tenant.asked] == [HISTORY] * 2


@pytest.mark.parametrize("gone", [refused(404), refused(410)])
def test_a_first_history_that_is_taken_away_later_is_followed_to_the_second(gone: bytes) -> None:
    answers = iter([a_history(3)])

    async def read(source: SailPoint) -> Any:
        return [len((await source.read_steps(REF)).events) for _ in range(3)]

    found, tenant = with_source(
        {NEW_HISTORY: lambda _: next(answers, gone), HISTORY_2: lambda _: SECOND}, read, api_path="v2025"
    )
    assert found == [3, 4, 4]
    asked = [path for path, _ in tenant.asked]
    assert asked == [NEW_HISTORY, NEW_HISTORY, HISTORY_2, HISTORY_2]


def test_a_history_that_is_gone_costs_one_request_more_and_leaves_the_first_address_in_use() -> None:
    answers = iter([a_history(3), refused(404), a_history(3)])

    async def read(source: SailPoint) -> Any:
        await source.read_steps(REF)
        with pytest.raises(NotFound):
            await source.read_steps(REF)
        return len((await source.read_steps(REF)).events)

    found, tenant = with_source({NEW_HISTORY: lambda _: next(answers)}, read, api_path="v2025")
    assert found == 3
    assert [path for path, _ in tenant.asked] == [NEW_HISTORY, NEW_HISTORY, HISTORY_2, NEW_HISTORY]


@pytest.mark.parametrize("events", [None, [], a_history(3)[-1]])
def test_a_second_history_that_brings_less_than_all_is_no_reason_to_leave_the_first(events: Any) -> None:
    answers = iter([refused(404), a_history(3)])

    async def read(source: SailPoint) -> Any:
        return [(await source.read_steps(REF)).is_whole for _ in range(2)]

    handlers = {NEW_HISTORY: lambda _: next(answers), HISTORY_2: lambda _: {"history": events}}
    assert with_source(handlers, read, api_path="v2025")[0] == [False, True]


# What the tenant says of itself


def test_what_will_be_taken_away_is_logged_once_and_shown() -> None:
    answer = reply(200, b"[]", "X-Deprecated: true", "Sunset: Sat, 01 Jul 2028 00:00:00 GMT")
    plain = reply(200, b"[]", "X-Deprecated: false")

    async def read(source: SailPoint) -> Any:
        await source.list_workflows(1)
        before = source.dialect["future"]
        for page in (1, 2):
            await source.list_executions("w1", WINDOW, page)
        return before, source.dialect["future"]

    with capture_logs() as logs:
        (before, after), _ = with_source({EXECUTIONS: lambda _: answer, WORKFLOWS: lambda _: plain}, read)
    assert before == "nothing will be taken away, as far as told"
    assert after == "will be taken away: executions (until 2028-07-01)"
    assert logs == [
        {
            "event": "deprecated",
            "log_level": "warning",
            "connection": "t",
            "endpoint": "executions",
            "end": "2028-07-01",
        }
    ]


def test_the_tenant_the_traffic_and_the_clock_are_known_once_answers_came() -> None:
    answer = reply(200, b"[]", "Date: Sun, 01 Mar 2026 12:00:00 GMT")

    async def look(source: SailPoint) -> Any:
        before = dict(source.facts), source.now()
        await source.list_workflows(1)
        return before, dict(source.facts), source.now(), dict(source.traffic.answers)

    (before, facts, now, answers), _ = with_source({WORKFLOWS: lambda _: answer}, look)
    assert before == ({}, None)
    assert (facts, now) == ({"org": "acme"}, START)
    assert answers == {("auth", 200): 1, ("workflows", 200): 1}


def test_records_kept_from_an_earlier_answer_are_decoded_as_then() -> None:
    async def decode(source: SailPoint) -> Any:
        workflow_row = source.decode_workflow(msgspec.json.encode(workflow(1)))
        return workflow_row.workflow_id, source.decode_execution(
            msgspec.json.encode(execution())
        ).execution_id

    assert with_source({}, decode)[0] == ("w1", "e1")
