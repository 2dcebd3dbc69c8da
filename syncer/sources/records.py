"""The records of one answer as rows and rejects.

Invariant: one bad record costs one record, and none is lost: what is no row is a reject, as sent. It must not
know a platform.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from syncer.decode.answer import Listing
from syncer.decode.record import Record
from syncer.errors import ContractError, RecordError
from syncer.model import Page, Reject, Row

Answer = TypeVar("Answer")


def to_page(
    listing: Listing,
    read: Callable[[bytes], Row],
    *,
    named_by: Sequence[str] = (),
    part_of: str | None = None,
) -> Page[Row]:
    """Read every record of a list; those without a usable identity become rejects.

    They are called by the first of these fields that is usable, else by what they are `part_of`: once a good copy
    of what bears that name has been read, they are no longer put aside.
    """
    rows: list[Row] = []
    rejects: list[Reject] = []
    for raw in listing.items:
        try:
            rows.append(read(raw))
        except RecordError as error:
            rejects.append(Reject(raw=raw, reason=error.message, identity=_name(raw, named_by) or part_of))
    return Page(rows=tuple(rows), rejects=tuple(rejects), total=listing.total)


def asked_for(what: str, read: Callable[[], Answer], is_it: Callable[[Answer], bool]) -> Answer:
    """The record that was asked for by its id; ContractError where it came without one, or is another."""
    try:
        answer = read()
    except RecordError as error:
        raise ContractError(f"the {what} asked for came without identity: {error.message}") from error
    if not is_it(answer):
        raise ContractError("the answer holds another record than the one asked for")
    return answer


def _name(raw: bytes, named_by: Sequence[str]) -> str | None:
    """What an unusable record may be called, for the one who looks at it."""
    try:
        return Record.parse(raw).identity(*named_by)
    except RecordError:
        return None
