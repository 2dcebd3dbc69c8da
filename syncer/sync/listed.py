"""What the source lists in one window, read and proved as for a copy, and not written.

Invariant: what is returned was read to a verdict; a window that differs from pass to pass raises.
"""

from __future__ import annotations

from msgspec import Struct

from syncer.errors import ContractError
from syncer.model import Execution, Window
from syncer.paging import Answer, Asked, Verdict, read_window
from syncer.sync.session import Session


class Listed(Struct, frozen=True, kw_only=True):
    """The executions of a window that are to be copied, by id, and when reading began.

    `names` are all ids that the source surely has there, those of rejects included; None where a reject has none.
    `told` is the total where one span held the whole window; `found` the distinct records, rejects included.
    """

    asked: Asked
    rows: dict[str, Execution]
    names: frozenset[str] | None
    told: int | None
    found: int
    is_disputed: bool


async def list_window(session: Session, partition: str, window: Window) -> Listed:
    """Read a window to its end. Raises ContractError where it cannot be proved, and what the source raises."""
    began = session.asked()
    rows: dict[str, Execution] = {}
    ids: set[str] = set()
    names: set[str] | None = set()
    spans = []

    async def ask(part: Window, number: int) -> Answer:
        asked = session.asked()
        return Answer(
            page=await session.source.list_executions(partition, part, number, counted=True), asked=asked
        )

    async for portion in read_window(ask, window, session.source.paging):
        rows |= {row.execution_id: row for row in portion.rows}
        if (span := portion.span) is not None:
            if span.verdict is Verdict.UNPROVED:
                raise ContractError(f"window {span.window} differs from pass to pass")
            spans.append(span)
            ids |= span.ids
            names = None if names is None or span.names is None else names | span.names
    return Listed(
        asked=began,
        rows={key: row for key, row in rows.items() if key in ids and session.wants(row, partition)},
        names=None if names is None else frozenset(names),
        told=spans[0].told if len(spans) == 1 else None,
        found=len(ids),
        is_disputed=any(span.verdict is Verdict.DISPUTED for span in spans),
    )
