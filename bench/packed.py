"""A history of any length in little memory: what has ended hardly ever is looked at, so it is kept packed.

Invariant: whoever looks finds what was put in; only that it is another object each time. What still runs is not packed.
"""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Iterator, Sequence
from typing import overload

from bench.payloads import sized
from syncer.simulator import Attempt, Execution
from syncer.simulator.payloads import Composed, Payload
from syncer.simulator.truth import Truth


class PackingTruth(Truth):
    """A truth whose payloads are of a size that one chooses."""

    def __init__(self, payload: int) -> None:
        super().__init__()
        self._payload = payload

    def add_execution(self, execution: Execution) -> None:
        self.pack(execution)
        super().add_execution(execution)

    def pack(self, execution: Execution) -> None:
        """To be called when an execution has gone on, too."""
        for attempt in execution.attempts:
            attempt.given = self._sized(attempt.given)
            attempt.made = attempt.made and self._sized(attempt.made)
        if execution.ended_ms is not None:
            execution.attempts = Packed(execution.attempts)  # type: ignore[assignment]

    def _sized(self, payload: Payload) -> Payload:
        """One of the stock for one that the simulator composed."""
        if not isinstance(payload, Composed):
            return payload
        return sized(payload.node_type, payload.side, payload.variant, self._payload)


class Packed(Sequence[Attempt]):
    """The attempts of an execution, in a tenth of the memory. A payload stands in it by its name."""

    __slots__ = ("_packed",)

    def __init__(self, attempts: Sequence[Attempt]) -> None:
        self._packed = zlib.compress(pickle.dumps(list(attempts), pickle.HIGHEST_PROTOCOL))

    def __iter__(self) -> Iterator[Attempt]:
        return iter(self._unpacked())

    def __len__(self) -> int:
        return len(self._unpacked())

    @overload
    def __getitem__(self, at: int) -> Attempt: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Attempt]: ...
    def __getitem__(self, at: int | slice) -> Attempt | Sequence[Attempt]:
        return self._unpacked()[at]

    def _unpacked(self) -> list[Attempt]:
        found: list[Attempt] = pickle.loads(zlib.decompress(self._packed))
        return found
