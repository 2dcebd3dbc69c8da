"""What probing one connection has brought so far, for the probes that follow.

Invariant: everything here came out of answers of the source; nothing is asked for by this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from msgspec import Struct, field

from syncer.config import Connection
from syncer.decode.redact import Redactor
from syncer.model import Execution, ExecutionRef, Page, Window, Workflow
from syncer.plan import horizon_start
from syncer.sources import Order, Source


class Known(Struct, kw_only=True):
    """One connection, its source, and what was learnt of it.

    `window` is the widest span that was answered, `page` its first page, `rows` all executions seen. `refused` is
    the shortest age that the source would not be asked for.
    """

    connection: Connection
    source: Source
    workflows: list[Workflow] = field(default_factory=list)
    chosen: list[Workflow] = field(default_factory=list)
    has_all_workflows: bool = True
    partition: str | None = None
    window: Window | None = None
    page: Page[Execution] | None = None
    rows: dict[str, Execution] = field(default_factory=dict)
    refused: timedelta | None = None
    is_ordered: bool = True
    requests_per_execution: int | None = None

    @property
    def requests(self) -> int:
        """Requests made so far, those that failed included."""
        return self.source.traffic.answers.total()

    @property
    def now(self) -> datetime:
        """The source's clock, else ours."""
        return self.source.now() or datetime.now(UTC)

    @property
    def is_whole(self) -> bool:
        """Whether the page holds all that the window does."""
        return self.page is not None and self._is_whole(self.page)

    def oldest_of(self, page: Page[Execution] | None) -> datetime | None:
        """When the oldest execution of the page's window was created; None where the page cannot tell."""
        from_the_start = self.source.paging.order is Order.ASCENDING and self.is_ordered
        if page is None or not page.rows or not (self._is_whole(page) or from_the_start):
            return None
        return min(row.created_at for row in page.rows)

    def _is_whole(self, page: Page[Execution]) -> bool:
        if page.total is not None:
            return page.size >= page.total
        return page.size < self.source.paging.page_size

    def partitions(self) -> Sequence[str]:
        """What to ask for executions: first where something ran last."""
        latest = sorted(self.chosen, key=_ended, reverse=True)
        return self.source.partitions([each.workflow_id for each in latest])

    def name_of(self, partition: str) -> str:
        """What a person calls the partition, without a secret that stands in it."""
        names = {each.workflow_id: each.name for each in self.workflows}
        return Redactor(self.connection.redact_keys).text(str(names.get(partition) or partition))

    def span(self, age: timedelta) -> Window:
        """From that long ago, with a margin for a request on its way, to now."""
        return Window(horizon_start(self.now, age), self.now)

    async def ask(self, partition: str, window: Window) -> Page[Execution]:
        """The first page of a window, its rows remembered; with the total where one may be had."""
        page = await self.source.list_executions(partition, window, 1, counted=True)
        self.rows |= {row.execution_id: row for row in page.rows}
        return page

    def sample(self) -> ExecutionRef | None:
        """The execution to look at closely: the newest that has ended, else the newest."""
        if self.partition is None or not self.rows:
            return None
        row = max(self.rows.values(), key=lambda each: (each.has_ended, each.created_at))
        return ExecutionRef(
            execution_id=row.execution_id,
            workflow_id=row.workflow_id,
            partition=self.partition,
            created_at=row.created_at,
            has_ended=row.has_ended,
        )


def _ended(workflow: Workflow) -> float:
    told = workflow.last_execution_ended_at
    return told.timestamp() if isinstance(told, datetime) else 0.0
