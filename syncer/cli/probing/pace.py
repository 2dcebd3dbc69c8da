"""What the limits come to: how much of an hour's requests polling takes, and how many executions can be followed.

Invariant: it asks for nothing; the figures come from the configuration and from what the probes before have seen.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from math import ceil

from syncer.cli.forecast import requests_per_hour
from syncer.cli.probing.findings import Finding, failed, noted, ok, warning
from syncer.cli.probing.known import Known
from syncer.config import Cron
from syncer.errors import SyncerError
from syncer.words import length, plural

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


async def pace(known: Known) -> AsyncIterator[Finding]:
    """Limits, hints, and what they mean for polling."""
    yield _limits(known)
    if finding := _concurrency(known):
        yield finding
    if known.chosen:
        polling = requests_for_polling(known)
        yield _hints(known, polling)
        yield _following(known, polling)


def requests_for_polling(known: Known) -> float:
    """Requests an hour that go into looking for what is new, even if nothing ran."""
    listed = ceil(max(len(known.workflows), 1) / known.source.paging.page_size)
    partitions = len(known.partitions())
    polls = polls_per_hour(known.connection.poll)
    if has_hints(known):
        return polls * listed + partitions * (HOUR / known.connection.sweep)
    return polls * (listed + partitions)


def polls_per_hour(poll: timedelta | Cron) -> float:
    """How often an hour, on average over a day for a cron expression."""
    if isinstance(poll, timedelta):
        return HOUR / poll
    trigger, count = poll.trigger(), 0
    begin = at = datetime.now(UTC)
    while (at := trigger.get_next_fire_time(at, at)) and at < begin + DAY and count < 1440:
        count += 1
        at += timedelta(seconds=1)
    return count / 24


def has_hints(known: Known) -> bool:
    """Whether the list of workflows carries signs of change."""
    return any(each.hint is not None for each in known.workflows)


def _limits(known: Known) -> Finding:
    rate = known.source.traffic.rate
    own = known.connection.requests_per_second
    ours = f"our own is {own:g} a second" if own else "and we set none"
    if rate is None or not (rate.limit or rate.concurrency):
        return noted("limits", f"the source tells none; {ours}")
    words = []
    if rate.limit is not None:
        words.append(
            f"{plural(rate.limit, 'request')} in {length(rate.window)}"
            if rate.window
            else plural(rate.limit, "request")
        )
    if rate.remaining is not None:
        words.append(f"{rate.remaining:,} left")
    if rate.concurrency is not None:
        words.append(f"{rate.concurrency:,} at once")
    return ok("limits", ", ".join(words))


def _concurrency(known: Known) -> Finding | None:
    rate, wanted = known.source.traffic.rate, known.connection.max_concurrency
    if rate is None or not rate.concurrency or wanted <= rate.concurrency:
        return None
    told = f"the source allows {rate.concurrency:,} requests at once, max_concurrency is {wanted:,}"
    return warning("limits", told, f"set max_concurrency = {rate.concurrency}")


def _hints(known: Known, polling: float) -> Finding:
    cost = f"polling takes about {plural(ceil(polling), 'request')} an hour"
    if has_hints(known):
        return ok("hints", f"the list of workflows tells what ran: {cost}, if nothing did")
    return noted(
        "hints", f"the list of workflows does not tell what ran, so each is read at every poll: {cost}"
    )


def _following(known: Known, polling: float) -> Finding:
    allowed = requests_per_hour(known.connection, known.source)
    if allowed is None:
        return noted("pace", "no limit is known: what the source said while working will be heeded")
    if polling >= allowed:
        error = SyncerError(
            f"polling alone takes {ceil(polling):,} of {allowed:,.0f} requests an hour",
            "raise poll, or choose fewer workflows with `workflows`",
        )
        return failed("pace", error)
    steps = 1 if known.requests_per_execution is None else known.requests_per_execution
    cost = steps + 1 / known.source.paging.page_size
    told = f"about {(allowed - polling) / cost:,.0f} executions an hour can be followed"
    rate = known.source.traffic.rate
    whose = "the source's limit" if rate and allowed == rate.per_hour else "our own limit"
    return ok("pace", f"{told}, at {allowed:,.0f} requests an hour ({whose})")
