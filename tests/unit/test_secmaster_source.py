"""The source against a server that answers as told: what is asked, in which words, and what comes of each reading."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import pytest
from msgspec import UNSET

from syncer.config import Connection
from syncer.errors import AuthError, ContractError, Forbidden, NotFound, RateLimited, TransientError
from syncer.http import Gate, TooLarge
from syncer.model import Execution, ExecutionRef, Page, Window
from syncer.sources import Order
from syncer.sources.secmaster import KeyAuth, Options, PasswordAuth, SecMaster, connect
from tests.unit.test_http import START, FakeTime, Server, reply, serving

T = TypeVar("T")
SOC = "/v1/p1/workspaces/{}/soc"
INSTANCES = SOC.format("w1") + "/workflows/instances"
FIRST = datetime(2025, 7, 18, 7, tzinfo=UTC)
DAY = Window(FIRST, FIRST + timedelta(days=1))
PASSWORD = {"mode": "password", "domain": "d", "username": "u", "password": "p", "project": "r"}
KEY = KeyAuth.model_validate({"mode": "aksk", "access_key": "AKEXAMPLE", "secret_key": "sk"})


@dataclass
class Asked:
    """One GET as the server saw it."""

    path: str
    query: dict[str, str]
    raw: str
    headers: Mapping[str, str]


@dataclass
class Platform:
    """Answers GETs by `answer`, gives tokens, and remembers what it was asked."""

    answer: Callable[[Asked], bytes]
    asked: list[Asked] = field(default_factory=list)
    signed_in: list[bytes] = field(default_factory=list)

    def script(self, server: Server, body: bytes) -> bytes:
        line, headers = server.seen[-1]
        verb, _, target = line.partition(" ")
        if verb == "POST":
            self.signed_in.append(body)
            number = len(self.signed_in)
            return reply(201, b'{"token":{"expires_at":"x"}}', f"X-Subject-Token: token-{number}")
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        self.asked.append(Asked(parts.path, query, target, headers))
        return self.answer(self.asked[-1])

    @property
    def queries(self) -> list[dict[str, str]]:
        return [asked.query for asked in self.asked]

    @property
    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]


def with_source(platform: Platform, work: Callable[[SecMaster], Awaitable[T]], **changes: Any) -> T:
    """Run `work` with a source that talks to the platform."""
    workspaces = changes.pop("workspaces", ["w1"])
    auth = changes.pop("auth", None)

    async def run() -> T:
        async with serving(platform.script) as server:
            password = {**PASSWORD, "iam_url": f"{server.url}/iam"}
            settings: dict[str, Any] = {"requests_per_second": 0, "timeout": timedelta(seconds=60)} | changes
            connection = Connection(
                name="t",
                platform="any",
                base_url=server.url,
                auth=auth or PasswordAuth.model_validate(password),
                options=Options.model_validate({"project_id": "p1", "workspaces": workspaces}),
                **settings,
            )
            source = connect(connection, Gate(FakeTime().clock))
            try:
                return await work(source)
            finally:
                await source.close()

    return asyncio.run(run())


def told(document: object, status: int = 200) -> bytes:
    return reply(status, msgspec.json.encode(document))


def an_instance(name: str, **changes: object) -> dict[str, object]:
    return {
        "id": name, "workflow": {"id": "f1", "name": "n"}, "start_time": "2025-07-18T15:00:00.000Z+0800",
        "status": "FINISHED",
    } | changes  # fmt: skip


def instances(names: Iterable[str], **also: object) -> bytes:
    return told({"instances": [an_instance(name) for name in names]} | also)


def listing(number: int, *, served: int | None = None, count: str = "all") -> Callable[[Asked], bytes]:
    """A list of so many instances by offset and limit, of which an answer has no more than `served`."""
    names = [f"e{each}" for each in range(number)]

    def answer(asked: Asked) -> bytes:
        start, limit = int(asked.query["offset"]), int(asked.query["limit"])
        page = names[start : start + min(limit, served or limit)]
        counts = {"all": number, "page": len(page)}
        return instances(page, **({"count": counts[count]} if count in counts else {}))

    return answer


async def pages(ask: Callable[[int], Awaitable[Page[Execution]]]) -> list[Page[Execution]]:
    found: list[Page[Execution]] = []
    while not found or found[-1].size:
        found.append(await ask(len(found) + 1))
    return found


def ids(found: Iterable[Page[Execution]]) -> list[str]:
    return [row.execution_id for page in found for row in page.rows]


def ref(name: str = "e1", partition: str = "w1") -> ExecutionRef:
    return ExecutionRef(
        execution_id=name, workflow_id="f1", partition=partition, created_at=FIRST, has_ended=True
    )


def look_at(answer: Callable[[Asked], bytes], **changes: Any) -> tuple[Any, Platform]:
    platform = Platform(answer)
    return with_source(platform, lambda source: source.read_execution(ref()), **changes), platform


def list_day(source: SecMaster) -> Awaitable[list[Page[Execution]]]:
    return pages(lambda page: source.list_executions("w1", DAY, page))


# What is asked


def test_instances_are_asked_for_by_time_a_millisecond_wider_at_both_ends() -> None:
    platform = Platform(listing(1))
    window = Window(FIRST + timedelta(microseconds=1_500), FIRST + timedelta(seconds=1, microseconds=10))
    with_source(platform, lambda source: source.list_executions("w1", window, 1), page_size=50)
    asked = platform.asked[0]
    assert asked.path == INSTANCES
    assert asked.query == {
        "offset": "0",
        "limit": "50",
        "from_date": "2025-07-18T07:00:00.000Z+0000",
        "to_date": "2025-07-18T07:00:01.001Z+0000",
        "sort_key": "create_time",
        "sort_dir": "ASC",
    }
    assert "%2B0000" in asked.raw
    assert "+" not in asked.raw
    assert asked.headers["x-auth-token"] == "token-1"
    assert asked.headers["content-type"] == "application/json;charset=UTF-8"


def test_what_changed_last_is_asked_for_without_a_window_newest_first() -> None:
    platform = Platform(listing(3))
    page = with_source(platform, lambda source: source.list_changed("w1", 1), page_size=2)
    assert ids([page]) == ["e0", "e1"]
    assert platform.queries == [{"offset": "0", "limit": "2", "sort_key": "update_time", "sort_dir": "DESC"}]


def test_ids_lead_nowhere_else_than_into_their_segment_of_a_path() -> None:
    platform = Platform(lambda _: reply(404))
    odd = "../../w2?x=1#y"

    async def work(source: SecMaster) -> None:
        with pytest.raises(NotFound):
            await source.read_execution(ref(odd))
        with pytest.raises(NotFound):
            await source.read_workflow("..")

    with_source(platform, work, workspaces=["a/b"])
    first, second = platform.asked
    assert (unquote(first.path), first.query) == (f"{INSTANCES}/{odd}", {"show_topology": "true"})
    assert first.path.count("/") == INSTANCES.count("/") + 1
    assert second.path == SOC.format("a%2Fb") + "/workflows/%2E%2E"


# Pages


def test_pages_turn_by_offset_and_tell_the_total() -> None:
    platform = Platform(listing(250))
    found = with_source(platform, list_day)
    assert ids(found) == [f"e{each}" for each in range(250)]
    assert [page.total for page in found] == [250] * 4
    assert [(query["offset"], query["limit"]) for query in platform.queries] == [
        ("0", "100"), ("100", "100"), ("200", "100"), ("300", "100"),
    ]  # fmt: skip


def test_no_page_is_larger_than_the_documents_allow() -> None:
    async def work(source: SecMaster) -> None:
        assert source.paging.page_size == 100
        assert (source.paging.order, source.paging.max_rows, source.paging.tick) == (
            Order.NONE, 9_900, timedelta(milliseconds=1),
        )  # fmt: skip
        assert source.paging.shows_changes
        await source.list_executions("w1", DAY, 1)

    platform = Platform(listing(1))
    with_source(platform, work, page_size=1000)
    assert platform.queries[0]["limit"] == "100"


@pytest.mark.parametrize(("page_size", "last"), [(100, 99), (70, 141), (1, 9_900)])
def test_an_offset_beyond_what_is_served_is_never_asked_for(page_size: int, last: int) -> None:
    platform = Platform(lambda _: instances([], count=0))

    async def work(source: SecMaster) -> None:
        await source.list_executions("w1", DAY, last)
        with pytest.raises(ContractError, match="9,900"):
            await source.list_executions("w1", DAY, last + 1)
        assert await source.list_changed("w1", last + 1) == Page(rows=())

    with_source(platform, work, page_size=page_size)
    [asked] = platform.queries
    assert int(asked["offset"]) + int(asked["limit"]) <= 9_900


def test_a_server_that_serves_fewer_than_asked_hides_no_row() -> None:
    platform = Platform(listing(57, served=10))
    found = with_source(platform, list_day, page_size=25)
    assert ids(found) == [f"e{each}" for each in range(57)]
    assert {page.total for page in found} == {57}
    assert all(page.size in (25, 7, 0) for page in found)


@pytest.mark.parametrize("count", ["page", "none"])
def test_a_server_that_serves_fewer_than_asked_and_tells_no_total_hides_no_row(count: str) -> None:
    platform = Platform(listing(90, served=50, count=count))
    found = with_source(platform, list_day)
    assert ids(found) == [f"e{each}" for each in range(90)]
    assert {page.total for page in found} == {None}


def test_what_a_count_counts_is_asked_once_and_not_with_each_short_page() -> None:
    platform = Platform(listing(3))

    async def work(source: SecMaster) -> None:
        for _ in range(3):
            page = await source.list_executions("w1", DAY, 1)
            assert (page.size, page.total) == (3, 3)

    with_source(platform, work)
    assert [query["offset"] for query in platform.queries] == ["0", "3", "0", "0"]


@pytest.mark.parametrize("count", ["page", "none"])
def test_a_page_as_long_as_asked_shows_that_a_shorter_one_is_the_last(count: str) -> None:
    platform = Platform(listing(25, count=count))
    with_source(platform, list_day, page_size=10)
    assert [query["offset"] for query in platform.queries] == ["0", "10", "20", "30"]


def test_nothing_at_all_takes_no_second_look() -> None:
    platform = Platform(listing(0))
    assert with_source(platform, list_day) == [Page(rows=(), total=0)]
    assert len(platform.asked) == 1


@pytest.mark.parametrize("count", ["all", "page", "none"])
def test_a_list_too_long_for_one_answer_is_read_in_smaller_parts(count: str) -> None:
    short = listing(57, count=count)

    def answer(asked: Asked) -> bytes:
        return short(asked) if int(asked.query["limit"]) <= 6 else instances(["x" * 5000])

    platform = Platform(answer)
    found = with_source(platform, list_day, page_size=25, max_response_bytes=2000)
    assert ids(found) == [f"e{each}" for each in range(57)]
    assert [query["limit"] for query in platform.queries][:4] == ["25", "12", "6", "6"]


def test_an_instance_too_long_for_any_answer_is_told_and_not_left_out() -> None:
    with pytest.raises(TooLarge):
        with_source(Platform(lambda _: instances(["x" * 5000])), list_day, max_response_bytes=2000)


def test_totals_that_differ_within_a_page_are_none() -> None:
    totals = iter([30, 29])
    platform = Platform(
        lambda asked: instances([f"e{int(asked.query['offset']) + n}" for n in range(10)], count=next(totals))
    )
    page = with_source(platform, lambda source: source.list_executions("w1", DAY, 1), page_size=20)
    assert (page.size, page.total) == (20, None)


def test_a_count_of_the_pages_rows_is_found_out_and_no_total() -> None:
    platform = Platform(listing(25, count="page"))

    async def work(source: SecMaster) -> None:
        assert "of all" in source.dialect["paging"]
        await list_day(source)
        assert "of the page" in source.dialect["paging"]
        assert [page.total for page in await list_day(source)] == [None] * 4

    with_source(platform, work, page_size=10)


def test_without_a_count_there_is_no_total_and_every_row() -> None:
    found = with_source(Platform(listing(25, count="none")), list_day, page_size=10)
    assert (len(ids(found)), {page.total for page in found}) == (25, {None})


def test_a_bad_record_is_put_aside_and_counts_towards_the_page() -> None:
    body = {"count": 2, "instances": [an_instance("e1", start_time=None), an_instance("e2")]}
    page = with_source(
        Platform(lambda asked: told(body if asked.query["offset"] == "0" else body | {"instances": []})),
        lambda source: source.list_executions("w1", DAY, 1),
    )
    assert (ids([page]), [reject.identity for reject in page.rejects], page.total) == (["e2"], ["e1"], 2)


# Workflows


def workflows(served: Mapping[str, int], *, envelope: str = "data") -> Callable[[Asked], bytes]:
    """So many workflows in each workspace, in one of the envelopes; "paged" counts those of the page."""

    def answer(asked: Asked) -> bytes:
        workspace = asked.path.split("/")[4]
        names = [f"{workspace}-{each}" for each in range(served[workspace])]
        start = int(asked.query["offset"])
        rows = [{"id": name, "name": name} for name in names[start : start + int(asked.query["limit"])]]
        if envelope == "data":
            return told({"code": "0", "success": True, "total": len(names), "data": rows})
        counts = {"workflows": len(names), "paged": len(rows)}
        counted = {"count": counts[envelope]} if envelope in counts else {}
        return told({"workflows": rows} | counted)

    return answer


@pytest.mark.parametrize("envelope", ["data", "workflows", "uncounted"])
def test_the_workflows_of_all_workspaces_are_one_list(envelope: str) -> None:
    platform = Platform(workflows({"a": 25, "b": 0, "c": 5}, envelope=envelope))

    async def work(source: SecMaster) -> None:
        for _ in range(2):  # a list may be read again
            found = [await source.list_workflows(page) for page in range(1, 5)]
            listed = [row.workflow_id for page in found for row in page.rows]
            assert sorted(listed) == sorted([*(f"a-{n}" for n in range(25)), *(f"c-{n}" for n in range(5))])
            assert found[0].total == (None if envelope == "uncounted" else 30)
            before = len(platform.asked)
            assert await source.list_workflows(5) == Page(rows=())
            assert len(platform.asked) == before, "nothing is left to ask"

    with_source(platform, work, workspaces=["a", "b", "c"], page_size=10)
    assert platform.queries[0] == {"offset": "0", "limit": "10", "order": "ASC", "sortby": "create_time"}


@pytest.mark.parametrize(("status", "kind"), [(403, Forbidden), (404, ContractError)])
def test_a_workspace_that_refuses_is_lacking_and_the_others_are_listed(
    status: int, kind: type[Exception]
) -> None:
    served = workflows({"a": 15, "c": 3})
    platform = Platform(lambda asked: reply(status) if "/b/" in asked.path else served(asked))

    async def work(source: SecMaster) -> None:
        for _ in range(2):
            found = [await source.list_workflows(page) for page in (1, 2, 3)]
            assert [(page.size, page.total) for page in found] == [(13, 18), (5, 15), (0, None)]
            [(workspace, error)] = found[0].lacks
            assert (workspace, type(error)) == ("b", kind)
            assert found[1].lacks == found[2].lacks == ()

    with_source(platform, work, workspaces=["a", "b", "c"], page_size=10)
    assert sum("/b/" in path for path in platform.paths) == 2, "asked once each time"


@pytest.mark.parametrize(("status", "kind"), [(403, Forbidden), (404, ContractError)])
def test_where_every_workspace_refuses_there_is_no_list(status: int, kind: type[Exception]) -> None:
    async def work(source: SecMaster) -> None:
        with pytest.raises(kind):
            await source.list_workflows(1)

    with_source(Platform(lambda _: reply(status)), work, workspaces=["a", "b"])


def test_a_full_page_with_a_count_of_its_own_is_not_all_there_is() -> None:
    async def work(source: SecMaster) -> None:
        found = [await source.list_workflows(page) for page in (1, 2, 3)]
        assert [page.size for page in found] == [10, 10, 5]
        assert found[0].total is None

    with_source(Platform(workflows({"a": 25}, envelope="paged")), work, workspaces=["a"], page_size=10)


def test_partitions_are_the_workspaces_whatever_workflows_there_are() -> None:
    async def work(source: SecMaster) -> None:
        assert [*source.partitions(["f1", "f2"])] == ["a", "b"]
        assert source.facts == {"project_id": "p1"}

    with_source(Platform(lambda _: reply(404)), work, workspaces=["a", "b"])


def test_a_workflow_is_read_where_it_was_listed_else_wherever_it_is_found() -> None:
    def answer(asked: Asked) -> bytes:
        *_, workspace, _, _, name = asked.path.split("/")
        found = name == "b-0" and workspace == "b"
        return (
            told({"code": "0", "success": True, "data": {"id": name, "name": "x"}}) if found else reply(404)
        )

    served = workflows({"a": 1, "b": 1})
    platform = Platform(lambda asked: served(asked) if asked.query else answer(asked))

    async def work(source: SecMaster) -> None:
        assert (await source.read_workflow("b-0")).workflow_id == "b-0"
        await source.list_workflows(1)
        assert (await source.read_workflow("b-0")).name == "x"
        with pytest.raises(NotFound):
            await source.read_workflow("b-9")

    with_source(platform, work, workspaces=["a", "b"])
    places = [path.split("/")[4] for path in platform.paths]
    # The list of the first workspace is asked once more: what its count counts is not known yet.
    assert places == ["a", "b", "a", "a", "b", "b", "a", "b"]


def test_a_list_that_is_not_there_is_a_wrong_configuration_and_nothing_that_is_gone() -> None:
    async def work(source: SecMaster) -> None:
        for ask in (source.list_workflows(1), source.list_executions("w1", DAY, 1)):
            with pytest.raises(ContractError, match="no such project or workspace") as caught:
                await ask
            assert "workspaces" in str(caught.value.hint)

    with_source(Platform(lambda _: told({"error_code": "APIGW.0101"}, 404)), work)


# One instance


TOPOLOGY = {
    "audit_logs": [
        {
            "action_id": "n1", "start_time": "2025-07-18T15:00:00.000Z+0800", "status": "FAILED",
            "error_msg": "no route", "input": "{}", "output": "", "succeed": False,
        }
    ]
}  # fmt: skip


def test_an_instance_comes_with_its_steps_and_why_it_failed() -> None:
    look, platform = look_at(lambda _: told(an_instance("e1", status="FAILED", topology=TOPOLOGY)))
    assert (look.execution.message, [event.node_id for event in look.steps.events]) == ("no route", ["n1"])
    [asked] = platform.asked
    assert (asked.path, asked.query) == (f"{INSTANCES}/e1", {"show_topology": "true"})


@pytest.mark.parametrize("wrap", [False, True])
def test_steps_are_the_topology_of_the_instance(wrap: bool) -> None:
    body: object = an_instance("e1", status="FAILED", topology=TOPOLOGY)
    platform = Platform(lambda _: told({"code": "0", "data": body} if wrap else body))
    steps = with_source(platform, lambda source: source.read_steps(ref()))
    assert ([event.node_id for event in steps.events], steps.message) == (["n1"], "no route")
    assert platform.queries == [{"show_topology": "true"}]


def test_no_steps_are_asked_for_where_they_are_not_copied() -> None:
    look, platform = look_at(lambda _: told(an_instance("e1")), steps=False)
    assert (look.steps, look.execution.message) == (None, UNSET)
    assert platform.queries == [{}]


def test_no_payloads_are_kept_where_they_are_not_copied() -> None:
    look, _ = look_at(lambda _: told(an_instance("e1", topology=TOPOLOGY)), step_io=False)
    assert [(event.input, event.output) for event in look.steps.events] == [(UNSET, UNSET)]


def test_an_instance_whose_topology_is_too_long_lands_without_its_steps() -> None:
    def answer(asked: Asked) -> bytes:
        long = {"audit_logs": [{"action_id": "n1", "input": "x" * 5000}]}
        return told(an_instance("e1", **({"topology": long} if asked.query else {})))

    look, platform = look_at(answer, max_response_bytes=2000)
    assert (look.execution.execution_id, look.steps) == ("e1", None)
    assert platform.queries == [{"show_topology": "true"}, {}]
    with pytest.raises(TooLarge):
        with_source(Platform(answer), lambda source: source.read_steps(ref()), max_response_bytes=2000)


@pytest.mark.parametrize(
    "body", [an_instance("e2"), {"workflow": {"id": "f1"}}, an_instance("e1", workflow=None)]
)
def test_an_answer_that_is_not_the_instance_asked_for_is_no_answer(body: object) -> None:
    with pytest.raises(ContractError):
        look_at(lambda _: told(body))


def test_kept_records_are_decoded_as_those_of_lists() -> None:
    async def work(source: SecMaster) -> None:
        assert source.decode_execution(msgspec.json.encode(an_instance("e1"))).execution_id == "e1"
        assert source.decode_workflow(b'{"id":"f1"}').workflow_id == "f1"

    with_source(Platform(lambda _: reply(404)), work)


# Refusals


@pytest.mark.parametrize(
    "body",
    [
        {"code": "SecMaster.10010001", "message": "bad"},
        {"error_code": "APIGW.0201", "error_msg": "bad", "request_id": "r"},
        {"errorCode": "X", "errorMsg": "bad"},
        {"error": {"code": 400, "message": "bad", "title": "Bad Request"}},
        {"error_code": "X", "error_msg": "bad", "encoded_authorization_message": "s3cret"},
    ],
)
@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, ContractError), (403, AuthError), (404, NotFound), (500, TransientError)],
)
def test_a_refusal_is_told_by_its_status_and_its_body_is_never_shown(
    body: object, status: int, kind: type[Exception]
) -> None:
    with pytest.raises(kind) as caught:
        look_at(lambda _: told(body, status))
    assert "bad" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("status", [400, 403, 429])
def test_a_limit_is_waited_out_as_long_as_its_text_says(status: int) -> None:
    text = "policy user over ratelimit,limit:10,time:1 minute"
    with pytest.raises(RateLimited) as caught:
        look_at(lambda _: told({"error_code": "APIGW.0308", "error_msg": text}, status))
    assert caught.value.until == START + timedelta(minutes=1)


def test_a_token_that_is_refused_is_renewed_once() -> None:
    def answer(asked: Asked) -> bytes:
        return told(an_instance("e1")) if asked.headers["x-auth-token"] == "token-2" else reply(401)

    _, platform = look_at(answer)
    assert len(platform.signed_in) == 2
    assert [asked.headers["x-auth-token"] for asked in platform.asked] == ["token-1", "token-2"]


@pytest.mark.parametrize(("status", "says"), [(401, "refused the credentials"), (404, "gives no tokens")])
def test_where_no_token_is_given_the_message_names_iam_and_its_key(status: int, says: str) -> None:
    async def run() -> AuthError:
        async with serving(lambda *_: reply(status)) as iam:
            changes = {**PASSWORD, "iam_url": f"{iam.url}/iam"}
            with pytest.raises(AuthError, match=says) as caught:
                await asyncio.to_thread(
                    look_at, lambda _: reply(200), auth=PasswordAuth.model_validate(changes)
                )
            assert iam.url in str(caught.value)
            assert iam.lines == ["POST /iam/v3/auth/tokens"]
            return caught.value

    assert "auth.iam_url" in str(asyncio.run(run()).hint)


def test_a_refused_signature_is_made_anew_once_with_the_time_that_the_refusal_told() -> None:
    """The local clock is hours behind: without the platform's time no signature would ever be right."""
    late = "Date: Sun, 01 Mar 2026 17:30:00 GMT"

    def answer(asked: Asked) -> bytes:
        is_dated = asked.headers["x-sdk-date"].startswith("20260301T1730")
        return told(an_instance("e1")) if is_dated else reply(401, b"{}", late)

    _, platform = look_at(answer, auth=KEY)
    assert [asked.headers["x-sdk-date"] for asked in platform.asked] == [
        "20260301T120000Z",
        "20260301T173000Z",
    ]
    assert not platform.signed_in


@pytest.mark.parametrize(("status", "requests"), [(401, 2), (403, 1)])
def test_a_key_without_rights_is_not_tried_again_and_again(status: int, requests: int) -> None:
    platform = Platform(lambda _: reply(status))

    async def work(source: SecMaster) -> None:
        with pytest.raises(AuthError):
            await source.read_execution(ref())

    with_source(platform, work, auth=KEY)
    assert len(platform.asked) == requests
