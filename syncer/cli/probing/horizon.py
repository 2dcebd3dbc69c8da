"""How far back the source really serves, found out by asking for what is older.

Invariant: it claims no more than the answers show: that nothing old came may mean that nothing ran.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

from syncer.cli.probing.findings import Finding, noted, ok, warning
from syncer.cli.probing.known import Known
from syncer.config import format_duration
from syncer.errors import ContractError
from syncer.http import Refused
from syncer.model import Window
from syncer.sources import Order
from syncer.words import length

DAY = timedelta(days=1)
LONGEST_AGO = timedelta(days=400)
REFINEMENTS = 2
"""Requests spent on the place between an age that is answered and one that is refused."""

MUCH = 0.8
"""The part of the horizon that the oldest execution should at least reach, to say that it is all served."""

OTHERS = 2
"""Partitions asked besides, where the first one reaches much less far."""


async def horizon(known: Known) -> AsyncIterator[Finding]:
    """Compare the configured horizon with what is served."""
    if known.partition is None or known.page is None:
        return
    if known.refused is not None:
        yield await _refused(known, known.partition, known.refused)
        return
    if age := await _older(known, known.partition):
        told = f"the source serves older ones, too: {length(age)} at least, and horizon is {_set(known)}"
        days = format_duration(timedelta(days=age // DAY + 1))
        yield warning("horizon", told, f'horizon = "{days}" copies those, too')
    elif oldest := known.oldest_of(known.page):
        yield await _reach(known, known.partition, known.now - oldest)
    elif known.page.rows:
        told = f"nothing older than {_set(known)} is served; how old the oldest is, is not known"
        yield noted("horizon", told)


async def _refused(known: Known, partition: str, refused: timedelta) -> Finding:
    """Say between which ages the source begins to refuse."""
    answered = known.window.length if known.window else timedelta(0)
    for _ in range(REFINEMENTS):
        between = _whole((answered + refused) / 2)
        if not answered < between < refused:
            break
        try:
            await known.ask(partition, known.span(between))
            answered = between
        except Refused:
            refused = between
    suits = format_duration(_whole(answered + timedelta(minutes=2)))
    return warning(
        "horizon",
        f"the source refuses to be asked {length(refused)} back and answers {suits}; horizon is {_set(known)}",
        f'set horizon = "{suits}": with a longer one nothing older than that can be read',
    )


async def _older(known: Known, partition: str) -> timedelta | None:
    """The age of the oldest execution beyond the horizon, as far as it can be seen; None where there is none."""
    age = known.connection.horizon
    edge = known.now - age - age / 100
    found = None
    for since in (edge - DAY, known.now - max(LONGEST_AGO, 2 * age)):
        try:
            page = await known.source.list_executions(partition, Window(since, edge), 1)
        except ContractError:  # not even a refusal: what was found so far counts
            return found
        times = [row.created_at for row in page.rows if row.created_at <= edge]
        if times and (found is None or known.source.paging.order is Order.ASCENDING):
            found = known.now - min(times)
    return found


async def _reach(known: Known, partition: str, age: timedelta) -> Finding:
    """Whether what is served reaches as far back as the horizon."""
    wanted = known.connection.horizon
    if age >= MUCH * wanted:
        return ok(
            "horizon", f"{_set(known)}: the oldest execution is {length(age)} old, none older is served"
        )
    ages = [age]
    for other in [each for each in known.partitions() if each != partition][:OTHERS]:
        page = await known.source.list_executions(other, known.span(wanted), 1)
        reach = known.oldest_of(page)
        ages += [known.now - reach] if reach else []
    oldest = max(ages)
    told = f"the oldest execution seen is {length(oldest)} old, and horizon is {_set(known)}"
    if oldest >= MUCH * wanted:
        return ok("horizon", f"{_set(known)}: the oldest execution is {length(oldest)} old")
    if len(ages) > 1 and min(ages) > oldest - 2 * DAY:
        days = format_duration(timedelta(days=oldest // DAY + 1))
        hint = f'that many begin at once says that the source serves no more: set horizon = "{days}"'
        return warning("horizon", told, hint)
    return noted("horizon", f"{told}: the source serves less, or nothing ran before")


def _set(known: Known) -> str:
    return format_duration(known.connection.horizon)


def _whole(age: timedelta) -> timedelta:
    """Whole days, or hours where it is less than two days."""
    unit = DAY if age >= 2 * DAY else timedelta(hours=1)
    return max(age // unit, 1) * unit
