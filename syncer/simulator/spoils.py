"""Records in which one field is not what the documents promise, each field and each way in turn.

Invariant: every field that is given is spoiled, and a spoiled record is otherwise as it was. It must not know a
platform, nor what a reader makes of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import product
from random import Random
from typing import NamedTuple

from msgspec import Raw

from syncer.simulator.world import ABSENT, World

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

NAMES = frozenset(("text", "digits"))
"""Kinds that are no damage to a name: they are another one."""


class Spoilt(NamedTuple):
    """What is wrong with one record."""

    record_id: str
    field: str
    kind: str


def spoils(fields: Sequence[str], names: Collection[str]) -> Iterator[tuple[str, str]]:
    """Every field with every kind of damage; `names` are those that name a record or its parent."""
    for field, kind in product(fields, KINDS):
        if not (field in names and kind in NAMES):
            yield field, kind


def spoil(
    world: World,
    record_ids: Sequence[str],
    fields: Sequence[str],
    names: Collection[str],
    *,
    seed: int,
    at_most: int | None = None,
) -> list[Spoilt]:
    """Spoil one of the records for each of their fields and kinds, or for so many of them by chance."""
    chosen = list(spoils(fields, names))
    Random(f"{seed}/spoils").shuffle(chosen)
    done = [
        Spoilt(record_id, field, kind)
        for record_id, (field, kind) in zip(record_ids, chosen[:at_most], strict=False)
    ]
    for each in done:
        world.spoil(each.record_id, each.field, KINDS[each.kind])
    return done
