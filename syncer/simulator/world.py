"""The truth as something one may change while it is served: tests and demos play the tenant's users here.

Invariant: each change happens under the lock, at the clock's time, in the truth alone; what clients see
follows from it. It must not know how any platform serves it.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from random import Random

from syncer.simulator.clock import Clock
from syncer.simulator.history import Outline, invent_workflow, new_execution, note_end, start
from syncer.simulator.payloads import Given, Side
from syncer.simulator.playbooks import failure_of, revision_of
from syncer.simulator.plots import Plot
from syncer.simulator.story import Story
from syncer.simulator.truth import Attempt, Execution, Truth, Workflow, outcome_of


class Absent:
    """Stands for a field that is not served at all."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = Absent()


class World:
    """A tenant whose history goes on. Times are milliseconds since 1970 by `clock`."""

    def __init__(self, truth: Truth, clock: Clock, outline: Outline) -> None:
        self.truth = truth
        self.clock = clock
        self.lock = threading.RLock()
        self._outline = outline
        self._rng = Random(f"{outline.seed}/world")

    def add_workflow(self) -> Workflow:
        """A new workflow without executions."""
        with self.lock:
            now_ms = self.clock.now_ms()
            at = len(self.truth.workflows)
            workflow = invent_workflow(self._rng, at, self._outline.steps, now_ms)
            workflow.created_ms = workflow.updated_ms = now_ms
            self.truth.add_workflow(workflow)
            return workflow

    def add_execution(
        self,
        workflow_id: str | None = None,
        *,
        created_ms: int | None = None,
        status: str = "Success",
        visible_ms: int = 0,
    ) -> Execution:
        """Something ran: an execution of that workflow, or of the first, created now if not told otherwise.

        With status "Running" it still does, with "Queued" it has not begun. One created now has ended
        within a second. It shows itself from `visible_ms` on.
        """
        with self.lock:
            workflow = self._workflow(workflow_id)
            now_ms = self.clock.now_ms()
            execution = new_execution(self._rng, workflow, now_ms if created_ms is None else created_ms)
            self._play(execution, workflow, status, now_ms)
            self.truth.add_execution(execution)
            self.truth.hide(execution, visible_ms)
            return execution

    def end_execution(self, execution_id: str, status: str = "Success", message: str | None = None) -> None:
        """A running execution ends now, its running steps with it."""
        with self.lock:
            execution, story = self._story(execution_id)
            now_ms = self.clock.now_ms()
            if execution.started_ms is None:
                start(execution, lag_ms=0)
            for attempt in execution.attempts:
                if attempt.ended_ms is None:
                    said = "Success" if status == "Success" else failure_of(self._rng, execution.region)
                    story.finish(attempt, status, said, max(attempt.started_ms, now_ms - 150))
            failed = outcome_of(status) == "failed"
            story.close(
                status, message or ("Task failed" if failed else None), max(now_ms, execution.created_ms)
            )
            note_end(self.truth.workflows[execution.workflow_id], execution)

    def end_all_running(self, status: str = "Success") -> list[Execution]:
        """Everything that is open at the source ends now."""
        with self.lock:
            open_ones = [
                execution
                for execution in self.truth.executions.values()
                if execution.ended_ms is None and execution.deleted_ms is None
            ]
            for execution in open_ones:
                self.end_execution(execution.id, status)
            return open_ones

    def reopen_execution(self, execution_id: str) -> Attempt:
        """An ended execution runs again: its last node makes a new attempt."""
        with self.lock:
            execution, story = self._story(execution_id)
            now_ms = self.clock.now_ms()
            story.reopen(now_ms)
            nodes = self.truth.workflows[execution.workflow_id].nodes
            ran = {attempt.node_id for attempt in execution.attempts}
            last = [node for node in nodes if node.id in ran][-1:] or nodes[:1]
            return story.begin(last[0], now_ms)

    def delete_execution(self, *execution_ids: str) -> None:
        """The source forgets them."""
        with self.lock:
            for execution_id in execution_ids:
                self.truth.delete_execution(self.truth.executions[execution_id], self.clock.now_ms())

    def delete_workflow(self, workflow_id: str) -> None:
        with self.lock:
            self.truth.workflows[workflow_id].deleted_ms = self.clock.now_ms()

    def edit_workflow(self, workflow_id: str) -> Workflow:
        """A new revision, without the last node that the former had."""
        with self.lock:
            workflow = self.truth.workflows[workflow_id]
            known = [node for node in workflow.nodes if node.name is not None]
            workflow.nodes = [replace(node) for node in known[:-1]] or workflow.nodes
            note = f"edit {len(workflow.revisions)}"
            workflow.revisions.append(revision_of(workflow.nodes, workflow.region, workflow.account, note))
            workflow.edited_ms = workflow.updated_ms = self.clock.now_ms()
            return workflow

    def spoil(self, record_id: str, field: str | None, value: object = ABSENT) -> None:
        """Serve a workflow, execution or event with a field removed (ABSENT) or replaced.

        Without a field the whole record is replaced. A value may be `msgspec.Raw`: bytes served as they are.
        """
        with self.lock:
            self.truth.spoiled.setdefault(record_id, {})[field] = value

    def mend(self, record_id: str) -> None:
        """Serve the record as it is again."""
        with self.lock:
            self.truth.spoiled.pop(record_id, None)

    def set_payload(self, execution_id: str, node_id: str, side: Side, text: bytes) -> None:
        """Give the last attempt of a node this JSON text as its input or output."""
        with self.lock:
            attempts = self.truth.executions[execution_id].attempts
            attempt = next(attempt for attempt in reversed(attempts) if attempt.node_id == node_id)
            if side == "input":
                attempt.given = Given(text)
            else:
                attempt.made = Given(text)

    def _workflow(self, workflow_id: str | None) -> Workflow:
        return self.truth.workflows[workflow_id or next(iter(self.truth.workflows))]

    def _story(self, execution_id: str) -> tuple[Execution, Story]:
        execution = self.truth.executions[execution_id]
        return execution, Story(execution, self._rng, self._outline.variety)

    def _play(self, execution: Execution, workflow: Workflow, status: str, now_ms: int) -> None:
        if status == "Queued":
            return
        start(execution, lag_ms=0)
        story = Story(execution, self._rng, self._outline.variety)
        plot = Plot(story, workflow.nodes, self._rng, until_ms=now_ms, loops=self._outline.loops)
        if status == "Running":
            plot.halfway()
        else:
            plot.play(status)
            note_end(workflow, execution)
