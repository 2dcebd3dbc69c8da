"""How executions usually go: all is well, a step fails, somebody aborts it, it times out, it still runs.

Invariant: whatever the plot, it fits between the creation of the execution and `until_ms` where that leaves
room. It must not know how many executions there are or who reads of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from syncer.simulator.playbooks import uuid_of
from syncer.simulator.story import Story
from syncer.simulator.truth import Node


class Plot:
    """One way through the nodes of a workflow."""

    def __init__(
        self, story: Story, nodes: Sequence[Node], rng: Random, *, until_ms: int, loops: bool
    ) -> None:
        self._story = story
        self._nodes = nodes
        self._rng = rng
        self._loops = loops
        self._at_ms = story.execution.created_ms
        self._longest_ms = max(1, (until_ms - 200 - self._at_ms) // (2 * (len(nodes) + 4)))

    def play(self, status: str) -> None:
        """From the beginning to an end with this status."""
        if status == "Success":
            self._run(self._nodes)
            self._close(status, None)
            return
        place = self._rng.randrange(min(1, len(self._nodes) - 1), len(self._nodes))
        self._run(self._nodes[:place])
        if status == "Error":
            self._fail(self._nodes[place])
        else:
            self._break_off(self._nodes[place], status)

    def halfway(self) -> None:
        """Some nodes are through and one is running."""
        place = self._rng.randrange(len(self._nodes))
        self._run(self._nodes[:place])
        self._step_forward()
        self._story.begin(self._nodes[place], self._at_ms)
        self._story.execution.updated_ms = self._at_ms

    def _run(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            for status in self._runs(node):
                self._run_once(node, status)

    def _run_once(self, node: Node, status: str) -> str | None:
        """One attempt from begin to end; gives what it said."""
        self._step_forward()
        took_ms = max(1, min(self._longest_ms, 120_000, int(self._rng.lognormvariate(7.5, 1.2))))
        attempt = self._story.run(node, self._at_ms, took_ms, status)
        self._at_ms += took_ms
        return attempt.message

    def _runs(self, node: Node) -> tuple[str, ...]:
        """A filter may run in a loop, an action may need a second try."""
        if self._loops and node.type == "filter" and self._rng.random() < 0.3:
            return ("Success", "Success")
        if self._loops and node.type == "action" and self._rng.random() < 0.3:
            return ("Error", "Success")
        return ("Success",)

    def _fail(self, node: Node) -> None:
        said = self._run_once(node, self._rng.choice(("Error", "Error", "Failed")))
        self._close("Error", f"Task {uuid_of(self._rng)} failed with status: FAILED and reason: '{said}'")

    def _break_off(self, node: Node, status: str) -> None:
        """The node that ran then may learn of it, or its end is never told."""
        if status == "Aborted" and self._rng.random() < 0.5:
            self._run_once(node, status)
        else:
            self._step_forward()
            self._story.begin(node, self._at_ms)
        self._close(status, f"Execution ended: {status}")

    def _close(self, status: str, message: str | None) -> None:
        self._at_ms += self._rng.randint(70, 120)
        self._story.close(status, message, self._at_ms)

    def _step_forward(self) -> None:
        self._at_ms += min(self._longest_ms, self._rng.randint(20, 1500))
