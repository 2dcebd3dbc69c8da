"""Qualys Flow as the algorithm sees it: lists, single records and steps, asked as its parameter tables say.

Invariant: it asks exactly what it is asked to ask, and tells truthfully what came. It knows the paths and
their parameters (docs/qualys-flow.md, Lists and paging); fields are `records`, steps are `steps`, the form of
lists is `paging`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import UNSET, structs

from syncer.config import Connection
from syncer.decode.answer import parse_object
from syncer.decode.times import to_iso_ms
from syncer.errors import ContractError, NotFound
from syncer.http import Client, TooLarge, Traffic, segment
from syncer.model import Document, Execution, ExecutionRef, Look, Page, StepAnswer, Window, Workflow
from syncer.sources import Order, Paging
from syncer.sources.qualys_flow.paging import Lists
from syncer.sources.qualys_flow.records import Records
from syncer.sources.qualys_flow.steps import PREFIX, Steps, is_whole
from syncer.sources.records import asked_for

TICK = timedelta(milliseconds=1)


class QualysFlow:
    """One subscription. See `syncer.sources.Source` for what each method promises."""

    def __init__(self, client: Client, records: Records, connection: Connection) -> None:
        self.client = client
        self._records = records
        self._lists = Lists(client, connection.page_size)
        self._steps = Steps(client, records, with_payloads=connection.step_io)
        self._with_steps = connection.steps
        self._with_payloads = connection.step_io
        self._with_variables = connection.variables

    @property
    def paging(self) -> Paging:
        """Pages of executions rise by creation time."""
        return Paging(order=Order.ASCENDING, page_size=self._lists.page_size, tick=TICK)

    @property
    def facts(self) -> Mapping[str, str]:
        """The customer id, once a record has named it."""
        return self._records.facts

    @property
    def traffic(self) -> Traffic:
        """What went over the wire so far."""
        return self.client.traffic

    @property
    def dialect(self) -> Mapping[str, str]:
        """Which parameters page the lists, and where payloads come from."""
        return {"paging": self._lists.dialect, "payloads": self._steps.dialect}

    def now(self) -> datetime | None:
        """A lower bound of Qualys' clock."""
        return self.client.now()

    def partitions(self, workflow_ids: Sequence[str]) -> Sequence[str]:
        """Executions are listed per workflow."""
        return workflow_ids

    async def list_workflows(self, page: int) -> Page[Workflow]:
        """One page of all workflows, the oldest first."""
        try:
            listing = await self._lists.page(
                f"{PREFIX}/workflows", "workflows", page, [("order", "createdAt")]
            )
        except NotFound as error:
            raise ContractError(
                f"{error.message}: this is no Qualys Flow API",
                "base_url must be the gateway of your platform",
            ) from error
        return self._records.page(listing, self._records.workflow)

    async def read_workflow(self, workflow_id: str) -> Workflow:
        """One workflow with its definition."""
        path = f"{PREFIX}/workflows/{segment(workflow_id)}"
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
        """One page of the executions of a workflow.

        `endAt` may be exclusive (docs/qualys-flow.md, Lists and paging), so it is the first millisecond after
        the window: rows of that millisecond may come too, none of the window's is missed.
        """
        query = [
            ("startAt", to_iso_ms(window.start)),
            ("endAt", to_iso_ms(window.end + TICK)),
            ("order", "createdAt"),
        ]
        path = f"{PREFIX}/workflows/{segment(partition)}/executions"
        listing = await self._lists.page(path, "executions", page, query)
        return self._records.page(listing, self._records.execution)

    async def list_changed(self, partition: str, page: int) -> Page[Execution]:  # noqa: ARG002 - the protocol's
        """There is no such list."""
        return Page(rows=())

    async def read_execution(self, ref: ExecutionRef) -> Look:
        """One execution, with its steps where the answer holds all that is wanted of them."""
        if not self._with_steps:
            return await self._look(ref, with_steps=False)
        try:
            return await self._look(ref, with_steps=True)
        except TooLarge:
            return await self._look(ref, with_steps=False)

    async def read_steps(self, ref: ExecutionRef) -> StepAnswer:
        """All step events; with the execution's variables, at one more request, where those are copied."""
        variables: Document = UNSET
        if self._with_variables:
            # Without payloads to ask for, the steps in the execution's own answer are as good as the list.
            look = await self._look(ref, with_steps=not self._with_payloads)
            variables = look.execution.variables
            if look.steps is not None:
                return structs.replace(look.steps, variables=variables)
        return structs.replace(await self._steps.read(ref), variables=variables)

    def decode_workflow(self, raw: bytes) -> Workflow:
        """One record of the list of workflows."""
        return self._records.workflow(raw)

    def decode_execution(self, raw: bytes) -> Execution:
        """One record of a list of executions."""
        return self._records.execution(raw)

    async def close(self) -> None:
        """Give connections back."""
        await self.client.close()

    async def _look(self, ref: ExecutionRef, *, with_steps: bool) -> Look:
        raw = await self.client.get(
            f"{PREFIX}/executions/{segment(ref.execution_id)}",
            [("includeSteps", "true" if with_steps else "false")],
            endpoint="execution",
            parse=parse_object,
        )
        execution, nested = asked_for(
            "execution",
            lambda: self._records.execution_with_steps(raw),
            lambda it: it[0].execution_id == ref.execution_id,
        )
        return Look(execution=execution, steps=self._nested(nested, ref) if with_steps else None)

    def _nested(self, nested: bytes | None, ref: ExecutionRef) -> StepAnswer | None:
        if nested is None:
            return None
        try:
            answer = self._steps.parse(nested, ref)
        except ValueError:
            return None
        return answer if is_whole(answer, with_payloads=self._with_payloads) else None
