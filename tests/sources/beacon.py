"""Beacon, a platform that does not exist: the example of docs/adding-a-source.md, a source in one file.

Its lists are paged by an opaque cursor and tell no total. This module must not know windows, watermarks or SQL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

import httpx
from msgspec import UNSET, UnsetType
from pydantic import Field

from syncer.config import Connection, HeaderSecret, PlatformSpec, Section
from syncer.decode.answer import Listing, parse_items, parse_object
from syncer.decode.payload import Payload, decode_payload
from syncer.decode.record import Record
from syncer.decode.redact import Redactor
from syncer.decode.times import to_iso_ms
from syncer.errors import ContractError, RecordError
from syncer.http import Answer, Client, Gate, Rate, Token, Traffic, segment
from syncer.model import (
    Execution,
    ExecutionRef,
    Look,
    Outcome,
    Page,
    Role,
    StepAnswer,
    StepEvent,
    Window,
    Workflow,
)
from syncer.sources import Order, Paging
from syncer.sources.records import asked_for, to_page


class Options(Section):
    """Beacon's own keys in a connection's table."""

    team: str = Field(min_length=1, description="write the team's name, as in Beacon's addresses")


class KeyAuth(Section):
    """A key made in Beacon's settings."""

    mode: Literal["key"]
    key: HeaderSecret = Field(description='write { env = "NAME" } or { file = "/path" }')


PLATFORM = PlatformSpec(options=Options, auth=(KeyAuth,), horizon=timedelta(days=60))


class Access:
    """Beacon's manners: a key in a header, no token; limits are 429 with Retry-After, which the client knows."""

    rights = "the key needs the right to read runs"
    credentials = "check auth.key: it may have been withdrawn in Beacon's settings"

    def __init__(self, auth: KeyAuth) -> None:
        self._auth = auth

    def token_request(self) -> None:
        return None

    def token_from(self, answer: Answer, now: datetime | None) -> Token:
        raise ValueError("there are no tokens")

    def sign(self, request: httpx.Request, token: str | None) -> None:
        request.headers["X-Beacon-Key"] = self._auth.key.get_secret_value()

    def wait(self, answer: Answer, rate: Rate | None, retry_after: timedelta | None) -> timedelta | None:
        return None


KEPT = 100


class Lists:
    """Numbers of pages turned into cursors: each page but the first is named by the one before it."""

    def __init__(self, client: Client, page_size: int) -> None:
        self._client = client
        self._page_size = page_size
        self._cursors: dict[tuple[object, ...], list[str | None]] = {}

    async def page(self, path: str, items: str, query: list[tuple[str, str]], page: int) -> Listing:
        """One page of the list; an empty one past its end."""
        cursors = self._of((path, *query), page)
        after = cursors[page - 1]
        if page > 1 and after is None:
            return Listing(None, [])
        asked = [*query, ("limit", str(self._page_size)), *([("after", after)] if after else [])]
        listing, cursors[page:] = await self._client.get(
            path, asked, endpoint=items, parse=lambda body: (parse_items(body, items=items), [_cursor(body)])
        )
        return listing

    def _of(self, key: tuple[object, ...], page: int) -> list[str | None]:
        """The cursors of a list so far, by page. Lists that nobody goes on reading are forgotten."""
        if page == 1:
            self._cursors.pop(key, None)
            self._cursors[key] = [None]
            for old in list(self._cursors)[:-KEPT]:
                del self._cursors[old]
        if len(self._cursors.get(key, ())) < page:
            raise ContractError("a page was asked for before the one that names it")
        return self._cursors[key]


def _cursor(body: bytes) -> str | None:
    after = Record.parse(parse_object(body)).text("after")
    return after if isinstance(after, str) else None


OUTCOMES = {
    "waiting": Outcome.QUEUED,
    "working": Outcome.RUNNING,
    "done": Outcome.SUCCEEDED,
    "broken": Outcome.FAILED,
    "stopped": Outcome.CANCELED,
}


def read_workflow(raw: bytes) -> Workflow:
    """A flow. None has a definition; so that none is asked for, it is None and not left out."""
    record = Record.parse(raw)
    return Workflow(
        workflow_id=record.identity("key"),
        name=record.text("title", column="name"),
        is_active=record.boolean("on"),
        updated_at=record.time_iso("edited"),
        definition=None,
        extra=record.extra(),
    )


def read_execution(record: Record) -> Execution:
    """A run; its tasks have been taken out before."""
    state = record.text("state", column="status")
    return Execution(
        execution_id=record.identity("key"),
        workflow_id=record.identity("flow"),
        created_at=_time(record, "created"),
        status=state,
        outcome=_outcome(state),
        trigger=record.text("by", column="trigger"),
        ended_at=record.time_iso("ended"),
        extra=record.extra(),
    )


def _outcome(state: object) -> Outcome:
    return OUTCOMES.get(state, Outcome.UNKNOWN) if isinstance(state, str) else Outcome.UNKNOWN


def _time(record: Record, name: str) -> datetime:
    found = record.time_iso(name)
    if not isinstance(found, datetime):
        raise RecordError(f"no usable creation time: {name} is missing or no time")
    return found


class Tasks:
    """Tasks of a run as events of steps. Beacon tells each task once, as it stands now."""

    def __init__(self, connection: Connection) -> None:
        self._redactor = Redactor(connection.redact_keys)
        self._limit = connection.max_payload_bytes
        self._with_payloads = connection.step_io

    def answer(self, execution_id: str, tasks: Sequence[bytes]) -> StepAnswer:
        """All tasks; one without an identity becomes a reject."""
        listing = Listing(None, list(tasks))
        page: Page[StepEvent] = to_page(
            listing, lambda raw: self._event(execution_id, raw), part_of=execution_id
        )
        return StepAnswer(events=page.rows, rejects=page.rejects, has_payloads=self._with_payloads)

    def _event(self, execution_id: str, raw: bytes) -> StepEvent:
        record = Record.parse(raw)
        state, ended_at = record.text("state", column="status"), record.time_iso("ended")
        title = record.text("title", column="node_name")
        given, made = self._payload(record, "given"), self._payload(record, "made")
        began_at = _time(record, "began")
        return StepEvent(
            execution_id=execution_id,
            event_id=record.identity("key"),
            node_id=record.identity("task"),
            node_name=title if isinstance(title, str) else None,
            created_at=began_at,
            started_at=began_at,
            ended_at=ended_at,
            status=state,
            outcome=_outcome(state),
            role=Role.END if isinstance(ended_at, datetime) else Role.BEGIN,
            message=record.text("error", column="message"),
            extra=record.extra(),
            input=given,
            output=made,
        )

    def _payload(self, record: Record, name: str) -> Payload | UnsetType:
        raw = record.raw(name)
        if not self._with_payloads or not isinstance(raw, bytes):
            return UNSET
        return decode_payload(raw, limit=self._limit, redactor=self._redactor)


class Beacon:
    """One team. See `syncer.sources.Source` for what each method promises."""

    def __init__(self, client: Client, connection: Connection, team: str) -> None:
        self.client = client
        self._lists = Lists(client, connection.page_size)
        self._tasks = Tasks(connection)
        self._with_steps = connection.steps
        self._place = f"/v1/{segment(team)}"
        self.paging = Paging(
            order=Order.ASCENDING, page_size=connection.page_size, tick=timedelta(milliseconds=1)
        )
        self.facts: Mapping[str, str] = {"team": team}
        self.dialect: Mapping[str, str] = {"paging": f"by cursor, {connection.page_size} rows a page"}

    @property
    def traffic(self) -> Traffic:
        return self.client.traffic

    def now(self) -> datetime | None:
        return self.client.now()

    def partitions(self, workflow_ids: Sequence[str]) -> Sequence[str]:
        return workflow_ids  # runs are listed by flow

    async def list_workflows(self, page: int) -> Page[Workflow]:
        listing = await self._lists.page(f"{self._place}/flows", "flows", [], page)
        return to_page(listing, self.decode_workflow, named_by=("key",))

    async def read_workflow(self, workflow_id: str) -> Workflow:
        path = f"{self._place}/flows/{segment(workflow_id)}"
        raw = await self.client.get(path, endpoint="flow", parse=parse_object)
        return asked_for("flow", lambda: read_workflow(raw), lambda it: it.workflow_id == workflow_id)

    async def list_executions(
        self, partition: str, window: Window, page: int, *, counted: bool = False
    ) -> Page[Execution]:
        query = [
            ("flow", partition),
            ("from", to_iso_ms(window.start)),
            ("to", to_iso_ms(window.end, up=True)),
        ]
        listing = await self._lists.page(f"{self._place}/runs", "runs", query, page)
        return to_page(listing, self.decode_execution, named_by=("key",))

    async def list_changed(self, partition: str, page: int) -> Page[Execution]:
        return Page(rows=())  # there is no such list, and `paging` says so

    async def read_execution(self, ref: ExecutionRef) -> Look:
        path = f"{self._place}/runs/{segment(ref.execution_id)}"
        raw = await self.client.get(path, endpoint="run", parse=parse_object)
        return asked_for(
            "run", lambda: self._look(raw), lambda it: it.execution.execution_id == ref.execution_id
        )

    async def read_steps(self, ref: ExecutionRef) -> StepAnswer:
        steps = (await self.read_execution(ref)).steps
        assert steps is not None
        return steps

    def decode_workflow(self, raw: bytes) -> Workflow:
        return read_workflow(raw)

    def decode_execution(self, raw: bytes) -> Execution:
        return read_execution(Record.parse(raw))

    async def close(self) -> None:
        await self.client.close()

    def _look(self, raw: bytes) -> Look:
        record = Record.parse(raw)
        tasks = record.array("tasks")
        execution = read_execution(record)
        steps = self._tasks.answer(execution.execution_id, tasks if isinstance(tasks, list) else [])
        return Look(execution=execution, steps=steps if self._with_steps else None)


def connect(connection: Connection, gate: Gate) -> Beacon:
    """The source of one configured team; its requests pass the gate. Makes none yet."""
    auth, options = connection.auth, connection.options
    assert isinstance(auth, KeyAuth)
    assert isinstance(options, Options)
    return Beacon(Client(connection, Access(auth), gate), connection, options.team)
