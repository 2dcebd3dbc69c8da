"""How an execution goes, step by step: writes attempts and their events into the truth.

Invariant: the attempt is known first and the events follow from it; nothing here reads events to find out
what happened. It must not know what is served or when.
"""

from __future__ import annotations

from random import Random

from syncer.simulator.payloads import Composed
from syncer.simulator.playbooks import failure_of, success_of
from syncer.simulator.truth import Attempt, Event, Execution, Node, outcome_of

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Story:
    """Continues the story of one execution. `variety` is how many payloads a node type has."""

    def __init__(self, execution: Execution, rng: Random, variety: int) -> None:
        self.execution = execution
        self._rng = rng
        self._variety = variety

    def begin(self, node: Node, at_ms: int) -> Attempt:
        """A node starts to run."""
        attempt = Attempt(
            execution_id=self.execution.id,
            node_id=node.id,
            node_type=node.type,
            node_name=node.name,
            number=1 + sum(attempt.node_id == node.id for attempt in self.execution.attempts),
            status="Running",
            outcome="running",
            started_ms=at_ms,
            ended_ms=None,
            message=None,
            given=Composed(node.type, "input", self._rng.randrange(self._variety)),
            made=None,
        )
        self.execution.attempts.append(attempt)
        self._record(attempt, order=1, started_ms=at_ms, ended_ms=None, created_ms=at_ms + self._delay())
        return attempt

    def finish(self, attempt: Attempt, status: str, message: str | None, at_ms: int) -> None:
        """A node is through, well or badly; only success makes an output."""
        attempt.status = status
        attempt.outcome = outcome_of(status)
        attempt.ended_ms = at_ms
        attempt.message = message
        if attempt.outcome == "succeeded":
            attempt.made = Composed(attempt.node_type, "output", self._rng.randrange(self._variety))
        took = at_ms - attempt.started_ms
        started = attempt.started_ms + min(took, self._rng.randrange(30))
        self._record(attempt, order=2, started_ms=started, ended_ms=at_ms, created_ms=at_ms + self._delay())

    def run(self, node: Node, at_ms: int, took_ms: int, status: str = "Success") -> Attempt:
        """A node from begin to end."""
        attempt = self.begin(node, at_ms)
        if outcome_of(status) == "failed":
            message = failure_of(self._rng, self.execution.region)
        else:
            message = success_of(self._rng, node.type) if status == "Success" else status
        self.finish(attempt, status, message, at_ms + took_ms)
        return attempt

    def close(self, status: str, message: str | None, at_ms: int) -> None:
        """The execution has ended; an attempt without an end will never have one."""
        execution = self.execution
        execution.status, execution.outcome = status, outcome_of(status)
        execution.ended_ms = at_ms
        execution.updated_ms = at_ms + self._rng.randint(16, 90)
        execution.message = message
        for attempt in execution.attempts:
            if attempt.ended_ms is None:
                attempt.outcome = "unknown"

    def reopen(self, at_ms: int) -> None:
        """It runs again; what was cut off runs with it."""
        execution = self.execution
        execution.status, execution.outcome = "Running", "running"
        execution.ended_ms, execution.message = None, None
        execution.updated_ms = at_ms
        for attempt in execution.attempts:
            if attempt.ended_ms is None:
                attempt.outcome = "running"

    def _delay(self) -> int:
        """The source writes an event down a little after it happened."""
        return self._rng.randint(40, 70)

    def _record(
        self, attempt: Attempt, *, order: int, started_ms: int, ended_ms: int | None, created_ms: int
    ) -> None:
        attempt.events.append(
            Event(
                id=ulid(self._rng, created_ms),
                attempt=attempt,
                order=order,
                status=attempt.status,
                created_ms=created_ms,
                updated_ms=created_ms - (self._rng.random() < 0.05),
                started_ms=started_ms,
                ended_ms=ended_ms,
                message=attempt.message,
                tags=self.execution.tags,
            )
        )


def ulid(rng: Random, at_ms: int) -> str:
    """A ULID: 48 bits of time, 80 of chance."""
    bits = at_ms << 80 | rng.getrandbits(80)
    return "".join(_CROCKFORD[bits >> shift & 31] for shift in range(125, -1, -5))
