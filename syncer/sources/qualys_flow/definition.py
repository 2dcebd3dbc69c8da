"""A workflow's definition and the nodes in it.

Invariant: the definition is kept whatever it looks like; nodes are read as far as they can be. Qualys
sends it as a JSON string of {variables, components: [{id, name, type, next, inputs, target: {script}}]}
(docs/qualys-flow.md, Records).
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from syncer.decode import jsonb
from syncer.decode.answer import parse_items
from syncer.decode.record import Record
from syncer.decode.redact import REDACTED, Redactor
from syncer.errors import RecordError
from syncer.model import Document, Node, Text, Texts


def read_definition(record: Record, redactor: Redactor) -> Document:
    """The definition as JSON: what the string holds, or the string itself where that is no JSON."""
    text = record.text("definition")
    if isinstance(text, str):
        return _unpacked(text, redactor)
    return record.json("definition") if "definition" in record else text


def _unpacked(text: str, redactor: Redactor) -> bytes:
    raw = text.encode()
    if jsonb.check(raw) is not jsonb.Safety.NOT_JSON:
        return raw
    # Secrets cannot be found in what cannot be parsed: keep it only if there are none.
    return msgspec.json.encode(REDACTED if redactor.occurs(raw) else text)


def read_nodes(definition: bytes) -> tuple[Node, ...]:
    """The nodes in the definition's order; of two with one id the first counts."""
    nodes: dict[str, Node] = {}
    for position, raw in enumerate(_components(definition)):
        try:
            node = _node(Record.parse(raw), position)
        except RecordError:
            continue
        nodes.setdefault(node.node_id, node)
    return tuple(nodes.values())


def _components(definition: bytes) -> list[bytes]:
    try:
        components = Record.parse(definition).raw("components")
        return parse_items(components).items if isinstance(components, bytes) else []
    except (RecordError, ValueError):
        return []


def _node(record: Record, position: int) -> Node:
    target = record.record("target")
    inputs = record.json("inputs")
    return Node(
        node_id=record.identity("id"),
        name=_known(record.text("name")),
        node_type=_known(record.text("type")),
        position=position,
        next_node_ids=_next(record),
        script=_known(target.text("script")) if isinstance(target, Record) else None,
        inputs=inputs if isinstance(inputs, bytes) else None,
    )


def _next(record: Record) -> tuple[str, ...]:
    """One id, a list of ids, or null at the end."""
    one: Text = record.text("next")
    if isinstance(one, str):
        return (one,)
    many: Texts = record.strings("next")
    return many if isinstance(many, tuple) else ()


def _known(text: Text) -> str | None:
    return None if text is UNSET else text
