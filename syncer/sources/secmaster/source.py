"""What is asked of SecMaster, and in which words.

Invariant: `list_executions` asks for exactly the window, a millisecond wider at both ends because either may be
exclusive (docs/secmaster.md, Lists and paging); fields are `records`, pages are `paging`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from msgspec import structs

from syncer.config import Connection
from syncer.decode.answer import Listing, parse_object
from syncer.decode.times import to_iso_ms
from syncer.errors import ContractError, Forbidden, NotFound, SyncerError
from syncer.http import Client, TooLarge, Traffic, segment
from syncer.model import Execution, ExecutionRef, Look, Page, StepAnswer, Window, Workflow
from syncer.sources import Order, Paging
from syncer.sources.records import asked_for, to_page
from syncer.sources.secmaster.access import Options
from syncer.sources.secmaster.paging import REACH, Lists
from syncer.sources.secmaster.records import Records

TICK = timedelta(milliseconds=1)


class SecMaster:
    """Some workspaces of one project. See `syncer.sources.Source` for what each method promises."""

    def __init__(self, client: Client, records: Records, connection: Connection, options: Options) -> None:
        self.client = client
        self._records = records
        self._project = f"/v1/{segment(options.project_id)}/workspaces"
        self._workspaces = options.workspaces
        self._lists = Lists(client, connection.page_size)
        self._with_steps = connection.steps
        self._listed_to_the_end: set[str] = set()
        self._unlisted: set[str] = set()
        self._workspace_of: dict[str, str] = {}

    @property
    def paging(self) -> Paging:
        """Pages of a window turn by number, as far as offsets reach."""
        return Paging(
            order=Order.NONE,
            page_size=self._lists.page_size,
            tick=TICK,
            max_rows=REACH,
            shows_changes=True,
            bounds_are_sure=False,
        )

    @property
    def facts(self) -> Mapping[str, str]:
        """The project's id."""
        return self._records.facts

    @property
    def traffic(self) -> Traffic:
        """What went over the wire so far."""
        return self.client.traffic

    @property
    def dialect(self) -> Mapping[str, str]:
        """How lists are paged, and where payloads come from."""
        return {"paging": self._lists.dialect, "payloads": "with the topology of an instance"}

    def now(self) -> datetime | None:
        """A lower bound of SecMaster's clock."""
        return self.client.now()

    def partitions(self, workflow_ids: Sequence[str]) -> Sequence[str]:  # noqa: ARG002 - the protocol's
        """Instances are listed per workspace, of all its workflows at once."""
        return self._workspaces

    async def list_workflows(self, page: int) -> Page[Workflow]:
        """That page of every workspace which still has one; once none has, an empty one without a request.

        A workspace that may not be read, or is not there, is lacking and keeps none of the others from being read; the
        error is raised where it is so with all of them.
        """
        if page == 1:
            self._listed_to_the_end.clear()
            self._unlisted.clear()
        pages: list[Page[Workflow]] = []
        lacks: list[tuple[str, SyncerError]] = []
        for workspace in self._workspaces:
            if workspace in self._listed_to_the_end | self._unlisted:
                continue
            try:
                pages.append(await self._workflows_of(workspace, page))
            except (Forbidden, ContractError) as error:
                self._unlisted.add(workspace)
                if len(self._unlisted) == len(self._workspaces):
                    raise
                lacks.append((workspace, error))
        totals = [each.total for each in pages if each.total is not None]
        return Page(
            rows=tuple(row for each in pages for row in each.rows),
            rejects=tuple(reject for each in pages for reject in each.rejects),
            total=sum(totals) if totals and len(totals) == len(pages) else None,
            lacks=tuple(lacks),
        )

    async def _workflows_of(self, workspace: str, page: int) -> Page[Workflow]:
        query = [("order", "ASC"), ("sortby", "create_time")]
        listing = await self._list(workspace, "workflows", page, query)
        if not listing.items or self._is_last(listing, page):
            self._listed_to_the_end.add(workspace)
        found = to_page(listing, self._records.workflow, named_by=("id",))
        self._workspace_of |= {row.workflow_id: workspace for row in found.rows}
        return found

    def _is_last(self, listing: Listing, page: int) -> bool:
        reached = (page - 1) * self._lists.page_size + len(listing.items)
        return listing.total is not None and reached >= listing.total

    async def read_workflow(self, workflow_id: str) -> Workflow:
        """One workflow, from the workspace it was listed in, else from the first that has it."""
        known = self._workspace_of.get(workflow_id)
        *others, last = (known,) if known else self._workspaces
        for workspace in others:
            with suppress(NotFound):
                return await self._workflow_in(workspace, workflow_id)
        return await self._workflow_in(last, workflow_id)

    async def _workflow_in(self, workspace: str, workflow_id: str) -> Workflow:
        path = f"{self._soc(workspace)}/workflows/{segment(workflow_id)}"
        raw = await self.client.get(path, endpoint="workflow", parse=parse_object)
        return asked_for(
            "workflow", lambda: self._records.workflow(raw), lambda it: it.workflow_id == workflow_id
        )

    async def list_executions(
        self,
        partition: str,
        window: Window,
        page: int,
        *,
        counted: bool = False,  # noqa: ARG002 - the total is told in any case
    ) -> Page[Execution]:
        """One page of the instances of a workspace that started in the window."""
        query = [
            ("from_date", _as_sent(window.start - TICK)),
            ("to_date", _as_sent(window.end + TICK)),
            ("sort_key", "create_time"),
            ("sort_dir", "ASC"),
        ]
        return await self._instances(partition, page, query)

    async def list_changed(self, partition: str, page: int) -> Page[Execution]:
        """One page of a workspace's instances, the latest changed first; empty where offsets do not reach."""
        if not self._lists.reaches(page):
            return Page(rows=())
        return await self._instances(partition, page, [("sort_key", "update_time"), ("sort_dir", "DESC")])

    async def read_execution(self, ref: ExecutionRef) -> Look:
        """One instance, with its steps where those are copied and the answer is not too long for it."""
        if not self._with_steps:
            return await self._look(ref, with_steps=False)
        try:
            return await self._look(ref, with_steps=True)
        except TooLarge:
            return await self._look(ref, with_steps=False)

    async def read_steps(self, ref: ExecutionRef) -> StepAnswer:
        """All step events, with payloads: the instance read with its topology."""
        steps = (await self._look(ref, with_steps=True)).steps
        assert steps is not None
        return steps

    def decode_workflow(self, raw: bytes) -> Workflow:
        """One record of the list of workflows."""
        return self._records.workflow(raw)

    def decode_execution(self, raw: bytes) -> Execution:
        """One record of a list of instances."""
        return self._records.execution(raw)

    async def close(self) -> None:
        """Give connections back."""
        await self.client.close()

    def _soc(self, workspace: str) -> str:
        return f"{self._project}/{segment(workspace)}/soc"

    async def _instances(self, workspace: str, page: int, query: list[tuple[str, str]]) -> Page[Execution]:
        listing = await self._list(workspace, "executions", page, query)
        return to_page(listing, self._records.execution, named_by=("id",))

    async def _list(self, workspace: str, endpoint: str, page: int, query: list[tuple[str, str]]) -> Listing:
        path, items = _LISTS[endpoint]
        try:
            return await self._lists.page(f"{self._soc(workspace)}{path}", endpoint, items, page, query)
        except NotFound as error:
            # Never that something is gone: what is asked for is a list, which may be empty.
            raise ContractError(
                f"{error.message}: there is no such project or workspace",
                "check base_url, project_id and workspaces",
            ) from error

    async def _look(self, ref: ExecutionRef, *, with_steps: bool) -> Look:
        raw = await self.client.get(
            f"{self._soc(ref.partition)}/workflows/instances/{segment(ref.execution_id)}",
            [("show_topology", "true")] if with_steps else [],
            endpoint="execution",
            parse=parse_object,
        )
        look = asked_for(
            "instance",
            lambda: self._records.look(raw, had_ended=ref.has_ended),
            lambda it: it.execution.execution_id == ref.execution_id,
        )
        return look if with_steps else structs.replace(look, steps=None)


_LISTS = {"workflows": ("/workflows", "workflows"), "executions": ("/workflows/instances", "instances")}


def _as_sent(instant: datetime) -> str:
    """A literal Z and then the offset (docs/secmaster.md, Times)."""
    return f"{to_iso_ms(instant)}+0000"
