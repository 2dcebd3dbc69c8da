"""The steps of one execution: its history, from whichever endpoint the tenant still has.

Invariant: a history is whole when its begin and its end are in hand; where they are not, one more answer must bring
nothing new, and a full one that comes again is an error. What was refused once is not asked for again
(docs/sailpoint.md, History).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
from msgspec import Struct, UnsetType, structs

from syncer.decode.answer import parse_items
from syncer.decode.record import Record
from syncer.decode.scan import first
from syncer.errors import ContractError, NotFound, RecordError
from syncer.http import Refused, TooLarge
from syncer.model import ExecutionRef, Reject, StepAnswer, StepEvent
from syncer.sources.sailpoint.api import Api
from syncer.sources.sailpoint.events import EXECUTION, LAST, Events, in_time, last_error, told_apart
from syncer.sources.sailpoint.lists import BAD_REQUEST, LARGEST
from syncer.sources.sailpoint.routes import Routes

LONGEST = 51_200
"""Events at which Temporal ends a workflow: no history has more."""

Query = list[tuple[str, str]]


class Unpaged(ContractError):
    """`offset` is passed over, so that the end of a history cannot be read."""


class History(Struct, frozen=True):
    """One answer taken apart: the events in it, and what stands beside them as a JSON object, None where nothing
    does."""

    events: list[bytes]
    beside: bytes | None = None


class Steps:
    """Reads histories. Remembers which endpoint and which parameters the tenant knows."""

    def __init__(self, api: Api, routes: Routes, events: Events) -> None:
        self._api = api
        self._routes = routes
        self._events = events
        self._has_served = False
        self._is_second = False
        self._is_paged = True

    @property
    def dialect(self) -> str:
        """Where steps come from."""
        if self._is_second:
            return "history-v2 brings the steps"
        return "history brings the steps" if self._has_served else "not seen yet"

    async def read(self, ref: ExecutionRef) -> StepAnswer:
        """All events of an execution; NotFound where there is no history of it."""
        if self._is_second:
            return await self._second(ref)
        try:
            answer = await self._first(ref)
        except (NotFound, Refused, Unpaged) as error:
            if not self._routes.has_second_history:
                raise
            return await self._second_instead(ref, error)
        self._has_served = True
        return answer

    async def _second_instead(self, ref: ExecutionRef, refusal: NotFound | Refused | Unpaged) -> StepAnswer:
        """A 404 does not tell whether this execution's history is gone or the address, which will be taken away: the
        second one tells, at one more request for each history that is gone."""
        try:
            answer = await self._second(ref)
        except (NotFound, Refused):
            raise refusal from None
        # One without its events, or with the last of them alone, is no reason to leave the first.
        self._is_second = self._is_second or (ref.has_ended and answer.is_whole)
        return answer

    async def _second(self, ref: ExecutionRef) -> StepAnswer:
        path = self._routes.second_history(ref.execution_id)
        gathered = _Gathered(self._events, ref)
        gathered.take(await self._api.get(path, endpoint="history-v2", parse=parse_history))
        return gathered.answer()

    async def _first(self, ref: ExecutionRef) -> StepAnswer:
        gathered = _Gathered(self._events, ref)
        limit = LARGEST
        while True:
            try:
                history = await self._ask(ref, limit, gathered.received)
            except TooLarge:
                if limit == 1 or not self._is_paged:
                    raise
                limit = max(1, limit // 8)
                continue
            is_new = gathered.take(history)
            if not is_new and len(history.events) == limit and not gathered.is_closed:
                raise Unpaged(
                    f"the history goes on after {limit} events, and the same ones come whatever offset is asked",
                    "with an api_path of v2025 or later it is read from history-v2, which has no pages",
                )
            if not is_new or not self._is_paged or len(history.events) > limit:
                return gathered.answer()
            if len(history.events) < limit and gathered.is_closed:
                return gathered.answer()

    async def _ask(self, ref: ExecutionRef, limit: int, offset: int) -> History:
        path = self._routes.history(ref.execution_id)
        query = [("limit", str(limit)), ("offset", str(offset))] if self._is_paged else []
        try:
            return await self._api.get(path, query, endpoint="history", parse=parse_history)
        except Refused as error:
            if error.status != BAD_REQUEST or not query or offset:
                raise
        history = await self._api.get(path, endpoint="history", parse=parse_history)
        self._is_paged = False
        return history


class _Gathered:
    """What the answers so far brought, each event once; of events that are alike each counts."""

    def __init__(self, events: Events, ref: ExecutionRef) -> None:
        self.received = 0
        self._reader = events
        self._ref = ref
        self._events: dict[str, StepEvent] = {}
        self._rejects: dict[bytes, Reject] = {}
        self._beside: bytes | None = None
        self._alike: Counter[str] = Counter()
        self._first: list[str] = []
        self._last: list[str] = []

    def take(self, history: History) -> bool:
        """Whether the answer goes on where those before it ended: it is neither empty nor one of them again."""
        page = self._reader.page(history.events, self._ref.execution_id)
        said = sorted([*(event.event_id for event in page.rows), *(repr(each.raw) for each in page.rejects)])
        self._beside = self._beside or history.beside
        if not said or self._is_again(said):
            return False
        known = len(self._events) + len(self._rejects)
        self._first, self._last = self._first or said, said
        self.received += page.size
        # While it grows, pages may shift and bring an event twice; once it has ended, what comes twice happened twice.
        alike = self._alike if self._ref.has_ended else Counter[str]()
        self._events |= {event.event_id: event for event in told_apart(page.rows, alike)}
        self._rejects |= {reject.raw: reject for reject in page.rejects}
        return self._ref.has_ended or len(self._events) + len(self._rejects) > known

    def _is_again(self, said: Sequence[str]) -> bool:
        """Whether this was answered before, or must have been; events that are all alike may fill several pages."""
        are_alike = said[0] == said[-1]
        return said == self._first or (said == self._last and not are_alike) or self.received >= LONGEST

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be missing at either end: of what still runs the end is yet to come."""
        own = [event.event_order for event in self._events.values() if event.node_type == EXECUTION]
        return not self._ref.has_ended or (LAST in own and any(order != LAST for order in own))

    def answer(self) -> StepAnswer:
        """All of it in the order of time."""
        events = sorted(self._events.values(), key=in_time)
        return StepAnswer(
            events=_with_beside(events, self._beside),
            rejects=tuple(self._rejects.values()),
            has_payloads=any(map(_has_payload, events)),
            is_whole=self.is_closed,
            message=last_error(events),
        )


def parse_history(body: bytes) -> History:
    """A list of events, an object that holds one or many as `history`, or one event; else ValueError."""
    if first(body) == b"[":
        return History(parse_items(body).items)
    try:
        record = Record.parse(body)
    except RecordError:
        raise ValueError("the answer is no history") from None
    if "history" not in record:
        return History([body] if "timestamp" in record else parse_items(body).items)
    history = record.raw("history")
    return History(_events_in(history), record.extra())


def _events_in(history: bytes | UnsetType) -> list[bytes]:
    """`history` is declared as one event and described as a list (docs/sailpoint.md, History)."""
    if not isinstance(history, bytes) or first(history) == b"n":
        return []
    return [history] if first(history) == b"{" else parse_items(history).items


def _with_beside(events: Sequence[StepEvent], beside: bytes | None) -> tuple[StepEvent, ...]:
    """What came beside the events, such as the definition that ran, stands in the extra of the first of them."""
    if beside is None or not events:
        return tuple(events)
    extra = {**_members(events[0].extra), **_members(beside)}
    return structs.replace(events[0], extra=msgspec.json.encode(extra)), *events[1:]


def _members(document: bytes | UnsetType | None) -> dict[str, msgspec.Raw]:
    return msgspec.json.decode(document or b"{}", type=dict[str, msgspec.Raw])


def _has_payload(event: StepEvent) -> bool:
    return not (isinstance(event.input, UnsetType) and isinstance(event.output, UnsetType))
