"""The source against canned answers over a socket: every form in which the documents say a tenant may answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
import pytest
from msgspec import UNSET
from structlog.testing import capture_logs

from syncer.config import Connection
from syncer.errors import AuthError, ContractError, Forbidden, NotFound, RateLimited, TransientError
from syncer.http import Gate, Refused
from syncer.model import ExecutionRef, Outcome, StepAnswer, Window
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
            settings: dict[str, Any] = {"timeout": timedelta(seconds=5), "requests_per_second": 0} | changes
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


def test_a_window_is_asked_by_start_time_up_to_the_next_microsecond() -> None:
    instant = datetime(2022, 2, 7, 20, 13, 29, 356648, tzinfo=UTC)
    ask = listing(window=Window(instant, instant), page=3)
    (ids, total, _), tenant = with_source({EXECUTIONS: lambda _: [execution()]}, ask, page_size=1000)
    assert (ids, total) == (["e1"], None)
    assert tenant.queries(EXECUTIONS) == [
        {
            "limit": "250",
            "offset": "500",
            "filters": 'start_time ge "2022-02-07T20:13:29.356648Z"'
            ' and start_time lt "2022-02-07T20:13:29.356649Z"',
        }
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
        return refused(400) if "count" in query else [execution()]

    (found, totals), tenant = with_source({EXECUTIONS: fussy}, twice)
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
    rows = a_history(25)

    def clamped(query: Query) -> Any:
        return rows[int(query["offset"]) :][:10]

    answer, tenant = with_source({HISTORY: clamped}, read_steps)
    assert len(answer.events) == 25
    assert [query["offset"] for query in tenant.queries(HISTORY)] == ["0", "10", "20"]


@pytest.mark.parametrize("length", [3, 250, 400])
def test_a_history_that_comes_whole_whatever_is_asked_is_not_counted_twice(length: int) -> None:
    rows = a_history(length)[:-1]
    answer, tenant = with_source({HISTORY: lambda _: rows}, read_steps)
    assert len(answer.events) == length - 1
    assert len(tenant.queries(HISTORY)) == (1 if length == 400 else 2)


def test_a_history_of_a_running_execution_is_asked_for_once() -> None:
    async def read(source: SailPoint) -> Any:
        running = ExecutionRef(
            execution_id="e1", workflow_id="w1", partition="w1", created_at=START, has_ended=False
        )
        return await source.read_steps(running)

    answer, tenant = with_source({HISTORY: paged(a_history(5)[:-1])}, read)
    assert (len(answer.events), len(tenant.asked)) == (4, 1)


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


def test_once_the_first_history_has_served_a_404_means_the_execution() -> None:
    answers = iter([a_history(3)])

    async def read(source: SailPoint) -> Any:
        await source.read_steps(REF)
        with pytest.raises(NotFound):
            await source.read_steps(REF)

    _, tenant = with_source(
        {NEW_HISTORY: lambda _: next(answers, refused(404)), HISTORY_2: lambda _: SECOND},
        read,
        api_path="v2025",
    )
    assert tenant.queries(HISTORY_2) == []


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
