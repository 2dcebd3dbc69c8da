"""What a platform must be able to do: one module or folder beside this file per platform, named after it.

A source fetches and decodes; it knows one platform's wire and nothing of windows, watermarks or SQL. It asks exactly
what it is asked to ask, once, and says truthfully what came: which rows, in the order sent, and which total. How a
window is read, proved and committed is `syncer.paging` and `syncer.sync`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from syncer.http import Traffic
from syncer.model import Execution, ExecutionRef, Look, Page, StepAnswer, Window, Workflow


class Order(StrEnum):
    """How the source promises to sort executions when asked by this module."""

    ASCENDING = "ascending"
    DESCENDING = "descending"
    NONE = "none"


class Paging(Struct, frozen=True, kw_only=True):
    """How the source's list of executions is paged.

    `tick` is the smallest step its bounds can express; `max_rows` how many rows page numbers can reach in one
    window, None where there is no cap. `shows_changes`: there is a list by last change as well. `bounds_are_sure`: they
    are known to filter by what rows tell as `created_at`; else what a window lacks is asked for by its id before it
    counts as gone.
    """

    order: Order
    page_size: int
    tick: timedelta
    max_rows: int | None = None
    shows_changes: bool = False
    bounds_are_sure: bool = True


class Source(Protocol):
    """One platform as the algorithm sees it. Pages count from 1, and each begins where the one before it ended, however
    short that was.

    Every method raises AuthError, TransientError, RateLimited, Stopped or ContractError as `syncer.errors` says,
    and NotFound where the source answers 404.
    """

    @property
    def paging(self) -> Paging:
        """How executions are paged."""

    @property
    def facts(self) -> Mapping[str, str]:
        """What holds for the whole tenant, such as its id; known once answers carried it."""

    @property
    def traffic(self) -> Traffic:
        """What went over the wire so far."""

    @property
    def dialect(self) -> Mapping[str, str]:
        """What was found out by asking about how the platform answers, a few words for a person by subject."""

    def now(self) -> datetime | None:
        """A lower bound of the source's clock, from the Date of its last answer; None before any answer had one."""

    def partitions(self, workflow_ids: Sequence[str]) -> Sequence[str]:
        """What watermarks belong to: the workflows themselves, or fixed workspaces."""

    async def list_workflows(self, page: int) -> Page[Workflow]:
        """One page of all workflows, in any order; `lacks` says of which part of them it can tell nothing."""

    async def read_workflow(self, workflow_id: str) -> Workflow:
        """One workflow with its definition."""

    async def list_executions(
        self, partition: str, window: Window, page: int, *, counted: bool = False
    ) -> Page[Execution]:
        """One page of the executions created in the window, bounds included, in `paging.order`.

        A bound finer than the source can express is widened: the start goes down, the end goes up. `counted` asks
        for the total where the source may tell it but does not by itself.
        """

    async def list_changed(self, partition: str, page: int) -> Page[Execution]:
        """One page of the executions by their last change, the newest change first; an empty one past the last that
        can be asked for. Nobody asks where `paging` shows no changes."""

    async def read_execution(self, ref: ExecutionRef) -> Look:
        """One execution by its id, with its steps where the same answer carries all that is wanted."""

    async def read_steps(self, ref: ExecutionRef) -> StepAnswer:
        """All step events of one execution, with payloads where they are copied."""

    def decode_workflow(self, raw: bytes) -> Workflow:
        """One record of the list of workflows, kept from an earlier answer; RecordError if it is still unusable."""

    def decode_execution(self, raw: bytes) -> Execution:
        """One record of a list of executions, kept from an earlier answer; RecordError if it is still unusable."""

    async def close(self) -> None:
        """Give connections back."""
