"""How many requests it takes to follow a source, and so how many executions an hour a limit allows.

Invariant: requests are counted while somebody follows, an hour of the source's time, poll by poll; only the last step,
from two such hours to the executions that a limit allows, is arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.field import Contestant
from bench.figures import asked
from bench.judge import Verdict
from bench.trial import CHANGED, FIRST, Trial, trial
from bench.world import Size

POLLS = 12
"""In an hour, one every five minutes."""

ARRIVING = 60
"""Executions that begin in the hour that is not quiet, five before every poll."""

LIMIT = 300
"""Requests an hour: what Qualys documents."""


@dataclass(frozen=True)
class Followed:
    """Requests in a quiet hour and in one in which ARRIVING executions begin; how true the copy is at its end."""

    quiet: int
    busy: int
    verdict: Mapping[str, Verdict]


PAGE = 100
"""Records in a page of a list, for everybody."""


def lower_bound(size: Size, job: str) -> int:
    """Requests without which a copy cannot be right: pages of lists, steps of what is new or has ended, and the rows
    of open executions that no list of the newest holds."""
    if job == FIRST:
        share, rest = divmod(size.executions, size.workflows)
        pages = rest * _pages(share + 1) + (size.workflows - rest) * _pages(share)
        return _pages(size.workflows) + pages + size.executions
    lists = _pages(size.workflows) + size.workflows
    return lists + (3 * size.running + size.arriving if job == CHANGED else 0)


def _pages(records: int) -> int:
    return -(-records // PAGE)


def allowed(quiet: int, busy: int) -> int:
    """Executions an hour that LIMIT requests are enough for."""
    return max(0, int((LIMIT - quiet) * ARRIVING / (busy - quiet)))


def follow(contestant: Contestant) -> Followed:
    """Copy a small tenant, then follow it for a quiet hour and for a busy one."""
    with trial(Size(executions=100), concurrency=4) as tried:
        tried.upstream.do("live_on")
        tried.run(contestant)
        quiet, busy = (_hour(tried, contestant, arriving) for arriving in (0, ARRIVING))
        return Followed(quiet, busy, tried.verdict(contestant) or {})


def _hour(tried: Trial, contestant: Contestant, arriving: int) -> int:
    """The requests of an hour in which so many executions begin."""
    tried.upstream.do("traffic")
    for _ in range(POLLS):
        tried.upstream.do("follow", str(arriving // POLLS))
        tried.run(contestant)
    return asked(tried.upstream.do("traffic")["requests"])
