"""Records in which one field is not what the documents promise, each field and each way in turn.

Invariant: every field that is served is spoiled, and a spoiled record is otherwise as it was. It must not know what a
reader makes of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product
from random import Random
from typing import Literal, NamedTuple

from msgspec import Raw

from syncer.simulator.history import Outline, invent
from syncer.simulator.qualys_flow.records import event_record, execution_record, workflow_record
from syncer.simulator.qualys_flow.switches import Switches
from syncer.simulator.world import ABSENT, World

Stream = Literal["workflows", "executions", "steps"]

LONG_ID = 3_000
"""Bytes of an id that is too long."""

KINDS: Mapping[str, object] = {
    "absent": ABSENT,
    "null": None,
    "text": "twelve o'clock",
    "number": Raw(b"-12345678901234567890123.5"),
    "boolean": True,
    "list": [1, [2, {}]],
    "object": {"id": {}, "": []},
    "empty": "",
    "long": "x" * LONG_ID,
    "nul": Raw(rb'"a\u0000b"'),
    "surrogate": Raw(rb'"a\ud800b"'),
    "not-utf8": Raw(b'"a\xff\xfeb"'),
    "huge": Raw(b"1e400"),
    "digits": Raw(b"9" * 400),
    "deep": Raw(b"[" * 5_000 + b"]" * 5_000),
}
"""What may stand in the place of any value, by name."""

KEYS = frozenset(("id", "workflow", "execution", "nodeId"))
"""Fields that name a record or its parent."""

NAMES = frozenset(("text", "digits"))
"""Kinds that are no damage there: they are another name."""


class Spoilt(NamedTuple):
    """What is wrong with one record."""

    record_id: str
    field: str
    kind: str


def spoils(stream: Stream) -> Iterator[tuple[str, str]]:
    """Every field of a record with every kind of damage."""
    for field, kind in product(_fields()[stream], KINDS):
        if not (field in KEYS and kind in NAMES):
            yield field, kind


def spoil(world: World, stream: Stream, seed: int, at_most: int | None = None) -> list[Spoilt]:
    """Spoil a record of the stream for each of its fields and kinds, or for so many of them by chance."""
    rng = Random(f"{seed}/spoils")
    chosen = list(spoils(stream))
    rng.shuffle(chosen)
    done = [
        Spoilt(record_id, field, kind)
        for record_id, (field, kind) in zip(_records(world, stream), chosen[:at_most], strict=False)
    ]
    for each in done:
        world.spoil(each.record_id, each.field, KINDS[each.kind])
    return done


def _records(world: World, stream: Stream) -> list[str]:
    truth = world.truth
    if stream == "workflows":
        return list(truth.workflows)
    return list(truth.executions) if stream == "executions" else [event.id for event in truth.events]


@cache
def _fields() -> dict[Stream, tuple[str, ...]]:
    """As they stand in the records of an invented history."""
    truth, switches = invent(Outline(workflows=1, executions=1, running=0), 1 << 40), Switches()
    execution = next(iter(truth.executions.values()))
    workflow = truth.workflows[execution.workflow_id]
    return {
        "workflows": tuple(workflow_record(workflow, switches, listed=True)),
        "executions": tuple(execution_record(execution, switches, listed=True)),
        "steps": tuple(event_record(execution, execution.events[0], switches)),
    }
