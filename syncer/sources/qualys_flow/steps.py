"""The steps of one execution: all events with one request, payloads node by node only where that must be.

Invariant: a list that is shorter than its own total is never taken for whole. What `includeData` brings is
not documented: payloads with the events, nothing at all, or broken ones (docs/qualys-flow.md, Steps and
payloads).
"""

from __future__ import annotations

from msgspec import UNSET, UnsetType, structs

from syncer.decode import jsonb
from syncer.decode.answer import parse_items, parse_object
from syncer.decode.payload import Payload
from syncer.errors import NotFound, RecordError
from syncer.http import Client, Incomplete, Refused, TooLarge, segment
from syncer.model import ExecutionRef, NodePayload, Role, StepAnswer, StepEvent
from syncer.sources.qualys_flow.records import Records

PREFIX = "/qflowapi/v1"
_PACKED = b'"H4sI'
"""How base64 of gzip begins: a text like this is a payload whose end was cut off."""

TOO_LARGE = Payload(None, "too_large")
"""For a payload that is longer than a whole answer may be."""


class Steps:
    """Reads steps. Remembers whether `includeData` does anything, so as not to ask in vain."""

    def __init__(self, client: Client, records: Records, *, with_payloads: bool) -> None:
        self._client = client
        self._records = records
        self._with_payloads = with_payloads
        self._flag_is_idle = False
        self._flag_has_served = False

    @property
    def dialect(self) -> str:
        """Whether `includeData` brings payloads."""
        if not self._with_payloads:
            return "not copied (step_io = false)"
        if self._flag_is_idle:
            return "includeData brings none: a request per node"
        return "with the list of steps (includeData)" if self._flag_has_served else "not seen yet"

    async def read(self, ref: ExecutionRef) -> StepAnswer:
        """All events, with payloads where they are copied."""
        answer = await self._list(ref)
        if not self._with_payloads:
            return answer
        carried = carries_payloads(answer.events)
        payloads = [
            await self._node(ref, node_id) for node_id in _lacking(answer.events, ref, carried=carried)
        ]
        self._flag_has_served |= carried
        self._flag_is_idle |= not carried and any(map(_brings_something, payloads))
        return structs.replace(answer, payloads=tuple(payloads), has_payloads=carried or bool(payloads))

    def parse(self, body: bytes, ref: ExecutionRef) -> StepAnswer:
        """The events in a list; raises ValueError for a list that is none or is not whole."""
        page = self._records.page(parse_items(body), lambda raw: self._records.event(raw, ref.execution_id))
        received = len({event.event_id for event in page.rows}) + len(page.rejects)
        if page.total is not None and received < page.total:
            raise Incomplete(f"{received} of {page.total} steps")
        return StepAnswer(events=page.rows, rejects=page.rejects, has_payloads=carries_payloads(page.rows))

    async def _list(self, ref: ExecutionRef) -> StepAnswer:
        with_data = self._with_payloads and not self._flag_is_idle
        try:
            return await self._events(ref, with_data=with_data)
        except TooLarge:
            if not with_data:
                raise
        return await self._events(ref, with_data=False)

    async def _events(self, ref: ExecutionRef, *, with_data: bool) -> StepAnswer:
        query = [("order", "createdAt")]
        if with_data:
            query.append(("includeData", "true"))
        path = f"{PREFIX}/executions/{segment(ref.execution_id)}/steps"
        return await self._client.get(path, query, endpoint="steps", parse=lambda body: self.parse(body, ref))

    async def _node(self, ref: ExecutionRef, node_id: str) -> NodePayload:
        """Input and output of one node: from its details, else each from its own endpoint."""
        path = f"{PREFIX}/executions/{segment(ref.execution_id)}/steps/{segment(node_id)}"
        try:
            details = await self._client.get(path, endpoint="step", parse=parse_object)
            payload = self._records.node(details, node_id)
        except NotFound:
            absent = self._records.payload(None)
            return NodePayload(node_id=node_id, event_id=None, input=absent, output=absent)
        except (TooLarge, Refused, RecordError):
            payload = NodePayload(node_id=node_id, event_id=None)
        return structs.replace(
            payload,
            input=await self._better(payload.input, f"{path}/input", "input"),
            output=await self._better(payload.output, f"{path}/output", "output"),
        )

    async def _better(self, payload: Payload | UnsetType, path: str, endpoint: str) -> Payload | UnsetType:
        """The payload itself if it is whole, else the one at the path, as far as there is one."""
        if not isinstance(payload, UnsetType) and not is_broken(payload):
            return payload
        try:
            body = await self._client.get(path, endpoint=endpoint, parse=_json)
        except NotFound:
            return self._records.payload(None) if isinstance(payload, UnsetType) else payload
        except TooLarge:
            return TOO_LARGE
        except Refused:
            return payload
        return self._records.payload(body)


def carries_payloads(events: tuple[StepEvent, ...]) -> bool:
    """Whether any event came with an input or output, be it null."""
    return any(event.input is not UNSET or event.output is not UNSET for event in events)


def is_whole(answer: StepAnswer, *, with_payloads: bool) -> bool:
    """Whether nothing more need be asked for these steps."""
    if not answer.events or answer.rejects:
        return False
    if not with_payloads:
        return True
    ended = (event for event in answer.events if event.role is Role.END)
    return all(_has_payloads(event) for event in ended) and not any(map(_is_damaged, answer.events))


def is_broken(payload: Payload | UnsetType) -> bool:
    """Whether it was damaged on the way or where it is kept."""
    if isinstance(payload, UnsetType):
        return False
    is_cut = payload.state == "text" and payload.value is not None and payload.value.startswith(_PACKED)
    return payload.state == "undecodable" or is_cut


def _has_payloads(event: StepEvent) -> bool:
    return event.input is not UNSET and event.output is not UNSET


def _is_damaged(event: StepEvent) -> bool:
    return is_broken(event.input) or is_broken(event.output)


def _lacking(events: tuple[StepEvent, ...], ref: ExecutionRef, *, carried: bool) -> list[str]:
    """The nodes to ask for one by one: the damaged ones, or all that have ended where none was carried."""
    if carried:
        asked = [event for event in events if _is_damaged(event)]
    else:
        asked = [event for event in events if ref.has_ended or event.role is Role.END]
    return list(dict.fromkeys(event.node_id for event in asked))


def _brings_something(node: NodePayload) -> bool:
    sides = (node.input, node.output)
    return any(not isinstance(side, UnsetType) and side.state != "absent" for side in sides)


def _json(body: bytes) -> bytes | None:
    if not body.strip():
        return None
    if jsonb.check(body) is jsonb.Safety.NOT_JSON:
        raise ValueError("not JSON")
    return body
