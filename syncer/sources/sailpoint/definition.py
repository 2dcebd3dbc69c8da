"""The nodes of a workflow: its trigger, and those in {start, steps: {<name>: {type, actionId, nextStep, ...}}}.

Invariant: nodes are read as far as they can be, and what cannot be read costs nothing else (docs/sailpoint.md,
Records).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

from syncer.decode.answer import parse_items
from syncer.decode.record import Record
from syncer.decode.scan import first, members
from syncer.errors import RecordError
from syncer.model import Node, Text

TRIGGER = "trigger"
"""The node that stands for what starts a workflow; events of an execution as a whole belong to it."""

_TAKEN = re.compile(rf"{TRIGGER}( \(step\))*")


def read_nodes(definition: bytes, trigger: bytes) -> tuple[Node, ...]:
    """The trigger and the nodes in the definition's order (see `step_id`)."""
    nodes = {TRIGGER: _trigger(trigger, definition)}
    for position, (name, raw) in enumerate(_steps(definition), start=1):
        try:
            node = _node(name, Record.parse(raw), position)
        except RecordError:
            continue
        nodes[node.node_id] = node
    return tuple(nodes.values())


def step_id(name: str) -> str:
    """What a step is called as a node: its name, and another for one that is called like the trigger.

    One that is called like that other is renamed as well, so that no two names become one.
    """
    return f"{name} (step)" if _TAKEN.fullmatch(name) else name


def _trigger(trigger: bytes, definition: bytes) -> Node:
    told, start = _object(trigger), _known(_object(definition).text("start"))
    inputs = told.json("attributes")
    return Node(
        node_id=TRIGGER,
        name=_known(told.text("displayName")) or "Trigger",
        node_type=_known(told.text("type")) or None,
        position=0,
        next_node_ids=(step_id(start),) if start else (),
        script=None,
        inputs=inputs if isinstance(inputs, bytes) else None,
    )


def _object(raw: bytes) -> Record:
    try:
        return Record.parse(raw)
    except RecordError:
        return Record({})


def _steps(definition: bytes) -> list[tuple[bytes, bytes]]:
    try:
        steps = Record.parse(definition).raw("steps")
        return members(steps) if isinstance(steps, bytes) and first(steps) == b"{" else []
    except (RecordError, ValueError):
        return []


def _node(name: bytes, step: Record, position: int) -> Node:
    inputs = step.json("attributes")
    own_name = Record.parse(b'{"name":' + name + b"}").identity("name")
    return Node(
        node_id=step_id(own_name),
        name=_known(step.text("displayName")) or own_name,
        node_type=_known(step.text("type")),
        position=position,
        next_node_ids=_next(step),
        script=_known(step.text("actionId")),
        inputs=inputs if isinstance(inputs, bytes) else None,
    )


def _next(step: Record) -> tuple[str, ...]:
    """`nextStep`, and where there is a choice that of each choice and the one taken if none fits."""
    found = [step.text("nextStep"), *_choices(step), step.text("defaultStep")]
    return tuple(dict.fromkeys(step_id(each) for each in found if isinstance(each, str) and each))


def _choices(step: Record) -> Iterator[Text]:
    choices = step.raw("choiceList")
    if not isinstance(choices, bytes) or first(choices) != b"[":
        return
    for raw in parse_items(choices).items:
        with suppress(RecordError):
            yield Record.parse(raw).text("nextStep")


def _known(text: Text) -> str | None:
    return text if isinstance(text, str) else None
