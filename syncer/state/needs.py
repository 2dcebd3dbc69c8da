"""What a person has to do something about, told from how far everything is copied.

Invariant: every need says what is wrong and what to do; waiting for a source is none. It must not know the screen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from syncer.config import Connection, Cron, format_duration
from syncer.state.audit import DIFFERS, LOST
from syncer.state.glance import called
from syncer.state.standing import Standing
from syncer.words import length, plural

SOON = timedelta(days=1)
"""What the source deletes within this time is pressing; a pass gives history half the requests from there on."""

FIRST_HOUR = timedelta(hours=1)
"""How long a first copy may work at the edge of what the source serves before that is told."""

FRESHLY_LOST = timedelta(days=7)
"""How long a loss is told as news; it stays listed ever after."""

MISSED = 3
SLACK = timedelta(minutes=10)
"""Polls missed, and time besides, before nobody seems to poll."""

LONGEST_PAUSE = timedelta(hours=1)
"""How long the service may leave alone what fails."""

CHECK = "`syncer check` tells what to do"
LIMITS = (
    "ask the vendor for a higher limit, raise requests_per_second or max_concurrency, choose fewer `workflows`, "
    "or set step_io or steps to false"
)
RUNNING = "start `syncer run`; where cron runs `syncer sync`, write its schedule as `poll`"


class Need(Struct, frozen=True):
    """One thing that needs a person: of which kind, what is wrong, what to do."""

    kind: str
    connection: str
    message: str
    hint: str


KINDS = (
    "lost",
    "deletion",
    "failing",
    "configuration",
    "idle",
    "behind",
    "error",
    "differs",
    "unclear",
    "quarantine",
    "steps",
)
"""Kinds of needs, the most pressing first."""


def needs(
    standings: Iterable[Standing],
    connections: Mapping[str, Connection],
    broken: Mapping[str, Sequence[str]],
    now: datetime,
) -> list[Need]:
    """All there is to do, the most pressing first; `broken` are connections that cannot be used, and why."""
    found = [
        need
        for each in standings
        if (connection := connections.get(each.connection)) is not None
        for need in _needs(each, connection, now)
    ]
    found += _broken(broken)
    return sorted(found, key=lambda need: KINDS.index(need.kind))


def _needs(each: Standing, connection: Connection, now: datetime) -> Iterator[Need]:
    stalled = [*_failing(each, now), *_idle(each, connection, now)]
    for kind, message, hint in (
        *_lost(each, now),
        *_deletion(each, now, is_stalled=bool(stalled)),
        *stalled,
        *(() if stalled else _behind(each)),
        *_errors(each),
        *_differing(each),
        *_unclear(each),
        *_put_aside(each),
    ):
        yield Need(kind, each.connection, message, hint)


Told = Iterator[tuple[str, str, str]]


def _lost(each: Standing, now: datetime) -> Told:
    rows = [row for row in each.audit if row["verdict"] == LOST and row["last_seen_at"] > now - FRESHLY_LOST]
    if rows:
        yield (
            "lost",
            f"lost {plural(len(rows), 'span')} of history, deleted at the source before being copied",
            "what is gone cannot be had again: see that syncer always runs and that the limits allow it",
        )


def _deletion(each: Standing, now: datetime, *, is_stalled: bool) -> Told:
    left = each.seconds_until_deletion
    is_begun = each.history_began_at is not None and each.history_began_at > now - FIRST_HOUR
    if left is None or left >= SOON.total_seconds() or is_begun:
        return
    when = f"in {length(timedelta(seconds=left))}" if left else "now"
    hint = "mend first what keeps it from being copied, see below" if is_stalled else LIMITS
    yield "deletion", f"the source deletes {when} what is not copied yet", hint


def _is_failing(each: Standing) -> bool:
    return each.last_run is not None and each.last_run["state"] == "failed"


def _failing(each: Standing, now: datetime) -> Told:
    if each.last_run and each.failing_since and _is_failing(each):
        why = each.last_run["error"] or "the log says why"
        yield "failing", f"has failed for {length(now - each.failing_since)}: {why}", CHECK


def _idle(each: Standing, connection: Connection, now: datetime) -> Told:
    if each.leases or (each.waiting_until and each.waiting_until > now):
        return
    poll = connection.poll
    schedule = str(poll) if isinstance(poll, Cron) else format_duration(poll)
    if each.last_run is None:
        yield "idle", "has never been polled", RUNNING
        return
    last = each.last_run["ended_at"] or each.last_run["started_at"]
    if now > _overdue(last, poll) + (LONGEST_PAUSE if _is_failing(each) else timedelta(0)):
        ago = length(now - last)
        yield "idle", f'was last polled {ago} ago, with poll = "{schedule}": does syncer run?', RUNNING


def _overdue(last: datetime, poll: timedelta | Cron) -> datetime:
    """When nobody seems to poll any more."""
    if isinstance(poll, timedelta):
        return last + MISSED * poll + SLACK
    trigger = poll.trigger()
    for _ in range(2):
        last = trigger.get_next_fire_time(None, last + timedelta(seconds=1)) or last
    return last + SLACK


def _behind(each: Standing) -> Told:
    if each.falls_behind:
        arriving, copied = each.executions_arriving_per_hour, each.executions_copied_per_hour
        pace = f"{arriving:,.0f} executions an hour arrive, {copied:,.0f} are copied"
        yield "behind", f"falls behind: {pace}; the source will delete some before", LIMITS


def _errors(each: Standing) -> Told:
    failing = [row for row in each.followed if row["last_error"]]
    if not failing or _is_failing(each):
        return
    yield (
        "error",
        f"{plural(len(failing), 'workflow')} cannot be read: {called(failing[0])}: {failing[0]['last_error']}",
        f"it is tried again with each poll; if it stays, {CHECK}",
    )


def _differing(each: Standing) -> Told:
    rows = [row for row in each.audit if row["verdict"] == DIFFERS]
    if rows:
        yield (
            "differs",
            f"{plural(len(rows), 'window')} held otherwise than the source lists",
            "`syncer verify` lists what differs, `syncer verify --repair` reads it again",
        )


def _unclear(each: Standing) -> Told:
    rows = [row for row in each.audit if row["verdict"] not in (LOST, DIFFERS)]
    if rows:
        yield (
            "unclear",
            f"{plural(len(rows), 'window')} listed otherwise than the source told",
            "`syncer backfill` over that time reads it again; if it stays, ask the vendor",
        )


def _put_aside(each: Standing) -> Told:
    if each.quarantined:
        yield (
            "quarantine",
            f"{plural(each.quarantined, 'record')} put aside, without a usable identity",
            "see `syncer quarantine list`",
        )
    if each.steps_failed:
        yield (
            "steps",
            f"the steps of {plural(each.steps_failed, 'execution')} cannot be read",
            "they are tried again, ever more rarely; the log says why",
        )


def _broken(broken: Mapping[str, Sequence[str]]) -> Iterator[Need]:
    for name, problems in broken.items():
        yield Need("configuration", name, f"cannot be used: {'; '.join(problems)}", "mend the configuration")
