"""What a tenant of SailPoint answers, one request after another.

Invariant: a page holds what was asked and nothing is guessed. Lists come newest first and cannot be told otherwise
(docs/sailpoint.md, Lists); fields are `records`, events `events`, histories `steps`, the form of lists `lists`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from syncer.config import Connection
from syncer.decode.answer import parse_items, parse_object
from syncer.decode.scan import first
from syncer.errors import ContractError, NotFound
from syncer.http import Traffic
from syncer.model import Execution, ExecutionRef, Look, Page, StepAnswer, Window, Workflow
from syncer.sources import Order, Paging
from syncer.sources.records import asked_for
from syncer.sources.sailpoint.access import Access
from syncer.sources.sailpoint.api import Api
from syncer.sources.sailpoint.events import Events
from syncer.sources.sailpoint.lists import TICK, Lists
from syncer.sources.sailpoint.records import read_execution, read_workflow
from syncer.sources.sailpoint.routes import Routes
from syncer.sources.sailpoint.steps import Steps


class SailPoint:
    """One tenant. See `syncer.sources.Source` for what each method promises."""

    def __init__(
        self, api: Api, access: Access, routes: Routes, events: Events, connection: Connection
    ) -> None:
        self._api = api
        self._access = access
        self._routes = routes
        self._lists = Lists(api, routes, connection.page_size)
        self._steps = Steps(api, routes, events)

    @property
    def paging(self) -> Paging:
        """Pages of executions fall by start time."""
        return Paging(order=Order.DESCENDING, page_size=self._lists.page_size, tick=TICK)

    @property
    def facts(self) -> Mapping[str, str]:
        """Which tenant it is, as the answer that brought the token says."""
        return self._access.facts

    @property
    def traffic(self) -> Traffic:
        """What went over the wire so far."""
        return self._api.client.traffic

    @property
    def dialect(self) -> Mapping[str, str]:
        """How lists are paged and counted, where steps come from, and what will be taken away."""
        return {**self._lists.dialect, "history": self._steps.dialect, "future": self._api.dialect}

    def now(self) -> datetime | None:
        """A lower bound of SailPoint's clock."""
        return self._api.client.now()

    def partitions(self, workflow_ids: Sequence[str]) -> Sequence[str]:
        """Executions are listed per workflow."""
        return workflow_ids

    async def list_workflows(self, page: int) -> Page[Workflow]:
        """One page of all workflows; where the tenant does not page, the first holds them all."""
        try:
            return await self._lists.workflows(page)
        except NotFound as error:
            raise ContractError(
                f"{error.message}: this is no Identity Security Cloud API, or not of this version",
                "base_url must be like https://tenant.api.identitynow.com; check api_path, too",
            ) from error

    async def read_workflow(self, workflow_id: str) -> Workflow:
        """One workflow with its definition."""
        raw = await self._api.get(self._routes.workflow(workflow_id), endpoint="workflow", parse=parse_object)
        return asked_for("workflow", lambda: read_workflow(raw), lambda it: it.workflow_id == workflow_id)

    async def list_executions(
        self, partition: str, window: Window, page: int, *, counted: bool = False
    ) -> Page[Execution]:
        """One page of the executions of a workflow."""
        return await self._lists.executions(partition, window, page, counted=counted)

    async def list_changed(self, partition: str, page: int) -> Page[Execution]:  # noqa: ARG002 - the protocol's
        """There is no such list."""
        return Page(rows=())

    async def read_execution(self, ref: ExecutionRef) -> Look:
        """One execution, as an object or a list of one; its history is a request of its own."""
        path = self._routes.execution(ref.execution_id)
        raw = await self._api.get(path, endpoint="execution", parse=_parse_one)
        execution = asked_for(
            "execution", lambda: read_execution(raw), lambda it: it.execution_id == ref.execution_id
        )
        return Look(execution=execution)

    async def read_steps(self, ref: ExecutionRef) -> StepAnswer:
        """All events of an execution, with the error of the last that failed."""
        return await self._steps.read(ref)

    def decode_workflow(self, raw: bytes) -> Workflow:
        """One record of the list of workflows."""
        return read_workflow(raw)

    def decode_execution(self, raw: bytes) -> Execution:
        """One record of a list of executions."""
        return read_execution(raw)

    async def close(self) -> None:
        """Give connections back."""
        await self._api.client.close()


def _parse_one(body: bytes) -> bytes:
    """The schema leaves open whether one execution is an object or a list of one (docs/sailpoint.md, Records)."""
    if first(body) != b"[":
        return parse_object(body)
    (raw,) = parse_items(body).items
    return raw
