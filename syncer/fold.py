"""Step events into steps: which events make up one attempt of a node, and what is said of that attempt.

Invariant: the answer depends on the set of events alone, so any order, split or repetition of the same events
gives the same steps, and an execution can be folded again whenever more of it is known. This module must not
know a platform, its words for a status, or where events are kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from syncer.decode.payload import Payload
from syncer.model import NodePayload, Outcome, Role, Step, StepEvent

Attempt = list[StepEvent]
Carried = Payload | UnsetType
Value = TypeVar("Value")

_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


def fold(
    events: Sequence[StepEvent], payloads: Sequence[NodePayload] = (), *, execution_ended: bool
) -> list[Step]:
    """Fold the events of one execution into its steps, by position and attempt.

    Of several copies of an event the one with the greatest `updated_at` counts. `position` ranks the nodes by
    their first events. A payload served for a node without any event belongs to no step and is left out.
    """
    served: defaultdict[str, list[NodePayload]] = defaultdict(list)
    for payload in payloads:
        served[payload.node_id].append(payload)
    return [
        step
        for position, (node_id, own) in enumerate(_by_node(events).items(), start=1)
        for step in _steps(position, own, served[node_id], execution_ended)
    ]


def _by_node(events: Iterable[StepEvent]) -> dict[str, list[StepEvent]]:
    """Part the events by node: nodes in the order of their first events, events in order."""
    nodes: defaultdict[str, list[StepEvent]] = defaultdict(list)
    for event in sorted(_distinct(events), key=_order):
        nodes[event.node_id].append(event)
    return nodes


def _distinct(events: Iterable[StepEvent]) -> Iterable[StepEvent]:
    newest: dict[str, StepEvent] = {}
    for event in events:
        known = newest.get(event.event_id)
        newest[event.event_id] = event if known is None else _newer(known, event)
    return newest.values()


def _newer(one: StepEvent, other: StepEvent) -> StepEvent:
    if _age(one) != _age(other):
        return max(one, other, key=_age)
    # Neither is newer: any rule will do that does not look at which came first.
    return max(one, other, key=msgspec.json.encode)


def _age(event: StepEvent) -> tuple[datetime, bool, int]:
    """Order copies of one event. The warehouse keeps payloads apart, so a copy without yields to one with."""
    carried = (event.input is not UNSET) + (event.output is not UNSET)
    return _given(event.updated_at) or _BEFORE_ALL, _given(event.ended_at) is not None, carried


def _order(event: StepEvent) -> tuple[datetime, bool, int, datetime, str]:
    """Order events; one without `event_order` comes last, where SQL's ORDER BY puts a null as well."""
    started = _given(event.started_at) or event.created_at
    order = _given(event.event_order)
    return started, order is None, order or 0, event.created_at, event.event_id


def _attempts(events: Sequence[StepEvent]) -> list[Attempt]:
    """Part a node's ordered events. Notes that came first are an attempt that the next begin or end joins."""
    attempts: list[Attempt] = []
    is_open = False
    for event in events:
        if is_open or (event.role is Role.NOTE and attempts):
            attempts[-1].append(event)
        else:
            attempts.append([event])
            is_open = True
        if event.role is Role.END:
            is_open = False
    return attempts


def _is_closed(attempt: Attempt) -> bool:
    return any(event.role is Role.END for event in attempt)


def _steps(
    position: int, events: Sequence[StepEvent], served: Sequence[NodePayload], execution_ended: bool
) -> list[Step]:
    attempts = _attempts(events)
    shares = _shares(attempts, served)
    name = _last(event.node_name for event in events)
    node_type = _last(_given(event.node_type) for event in events)
    return [
        _step(attempt, share, position, number, name, node_type, execution_ended)
        for number, (attempt, share) in enumerate(zip(attempts, shares, strict=True), start=1)
    ]


def _step(
    attempt: Attempt,
    share: Sequence[NodePayload],
    position: int,
    number: int,
    name: str | None,
    node_type: str | None,
    execution_ended: bool,
) -> Step:
    first, last = attempt[0], attempt[-1]
    never_ended = execution_ended and not _is_closed(attempt) and not last.outcome.is_terminal
    return Step(
        node_id=first.node_id,
        attempt=number,
        node_name=name,
        node_type=node_type,
        position=position,
        status=_given(last.status),
        outcome=Outcome.UNKNOWN if never_ended else last.outcome,
        message=_given(last.message),
        started_at=_given(first.started_at),
        ended_at=_given(last.ended_at),
        event_count=len(attempt),
        event_ids=tuple(event.event_id for event in attempt),
        # What is served for the node as a whole goes before what its events carried: it is asked for where
        # those lack a payload or carry a broken one.
        input=_first_present([*(own.input for own in share), *(event.input for event in attempt)]),
        output=_first_present(
            [*(own.output for own in reversed(share)), *(event.output for event in reversed(attempt))]
        ),
    )


def _shares(attempts: Sequence[Attempt], served: Sequence[NodePayload]) -> list[list[NodePayload]]:
    """Give each attempt the payloads served for it, in the order of the events they name."""
    places: dict[str | None, tuple[int, int]] = {
        event.event_id: (index, place)
        for index, attempt in enumerate(attempts)
        for place, event in enumerate(attempt)
    }
    elsewhere = (len(attempts) - 1, len(attempts[-1]))
    shares: list[list[NodePayload]] = [[] for _ in attempts]
    for payload in served:
        shares[places.get(payload.event_id, elsewhere)[0]].append(payload)
    for share in shares:
        if len(share) > 1:
            share.sort(key=lambda own: (places.get(own.event_id, elsewhere), msgspec.json.encode(own)))
    return shares


def _first_present(candidates: Sequence[Carried]) -> Carried:
    """The first payload that is not absent; an absent one where no other was carried."""
    carried = [payload for payload in candidates if not isinstance(payload, UnsetType)]
    present = (payload for payload in carried if payload.state != "absent")
    return next(present, carried[0] if carried else UNSET)


def _given(value: Value | UnsetType | None) -> Value | None:
    return None if isinstance(value, UnsetType) else value


def _last(values: Iterable[Value | None]) -> Value | None:
    last = None
    for value in values:
        last = value if value is not None else last
    return last
