"""Invents the past of a tenant: workflows and their executions, with office hours, bursts and failures.

Invariant: the same outline and the same `now` give the same truth, and nothing in it happens after `now`.
It must not know how the truth is served.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from random import Random

from syncer.simulator.playbooks import NAMES, SOURCES, path_of, revision_of, uuid_of
from syncer.simulator.plots import Plot
from syncer.simulator.story import Story
from syncer.simulator.truth import DAY_MS, Execution, Truth, Workflow

CUSTOMER_ID = "54f50897-26f3-c9af-83f9-e71459be70d9"
REGIONS = ("us-east-1", "eu-central-1", "ap-south-1")

_HOUR_MS = 3_600_000
_STILL_RUNNING_MS = 600_000  # what runs now was created in the last ten minutes
_QUIET_MS = 1_200_000  # what has ended was created at least twenty minutes ago


@dataclass(frozen=True, slots=True)
class Outline:
    """How much of what the history holds.

    `executions` is a number per workflow, or one for each. Of them, over all workflows: `running` still run,
    `queued` have not begun, `hidden` ended ones become visible only `hidden_for` seconds from now.
    `tied` executions of the first workflow share one millisecond. `steps` nodes run in a whole execution;
    with `loops` some run twice. `failing` is the share that fails, `variety` the number of different payloads
    of a node type.
    """

    seed: int = 1
    workflows: int = 5
    executions: int | tuple[int, ...] = 1000
    steps: int = 4
    days: float = 29.0
    running: int = 3
    queued: int = 0
    hidden: int = 0
    hidden_for: float = 600.0
    tied: int = 0
    loops: bool = False
    failing: float = 0.12
    variety: int = 64

    def executions_of(self, at: int) -> int:
        return self.executions if isinstance(self.executions, int) else self.executions[at]


def invent(outline: Outline, now_ms: int, into: Truth | None = None) -> Truth:
    """Write the history that ends at `now_ms`; an execution is added when its story so far is told."""
    truth = Truth() if into is None else into
    for at in range(outline.workflows):
        rng = Random(f"{outline.seed}/{at}")
        workflow = invent_workflow(rng, at, outline.steps, now_ms)
        truth.add_workflow(workflow)
        _Chronicle(outline, rng, truth, workflow, now_ms).write(at)
    _hide(truth, outline, now_ms)
    return truth


def invent_workflow(rng: Random, at: int, steps: int, now_ms: int) -> Workflow:
    """The `at`-th workflow of a tenant. Every fifth runs a node that its definition no longer holds."""
    name, description = NAMES[at % len(NAMES)]
    nodes = path_of(rng, steps)
    if at % 5 == 1 and steps > 1:
        nodes[-1].name = None
    region, account = rng.choice(REGIONS), uuid_of(rng)
    created_ms = now_ms - rng.randint(60 * DAY_MS, 400 * DAY_MS)
    author = uuid_of(rng)
    return Workflow(
        id=uuid_of(rng),
        name=name if at < len(NAMES) else f"{name} ({at // len(NAMES) + 1})",
        description=description,
        created_by=author,
        created_ms=created_ms,
        updated_ms=created_ms,
        customer_id=CUSTOMER_ID,
        region=region,
        account=account,
        nodes=nodes,
        revisions=[revision_of(nodes, region, account)],
        tags=[f"created_by={author}"],
    )


def new_execution(rng: Random, workflow: Workflow, created_ms: int) -> Execution:
    """An execution that has just been created."""
    return Execution(
        id=uuid_of(rng),
        workflow_id=workflow.id,
        customer_id=workflow.customer_id,
        status="Queued",
        outcome="queued",
        created_ms=created_ms,
        started_ms=None,
        ended_ms=None,
        updated_ms=created_ms,
        message=None,
        source=rng.choice(SOURCES),
        tags=workflow.tags,
        variables=[f"region={workflow.region}"],
        region=workflow.region,
        account=workflow.account,
    )


def start(execution: Execution, lag_ms: int) -> None:
    """It runs; the platform writes the row up to a millisecond after the start."""
    execution.status, execution.outcome = "Running", "running"
    execution.started_ms = execution.created_ms - lag_ms


def note_end(workflow: Workflow, execution: Execution) -> None:
    """A workflow shows its last execution that ended."""
    assert execution.ended_ms is not None
    if workflow.last_ended_ms is None or execution.ended_ms >= workflow.last_ended_ms:
        workflow.last_status = execution.status
        workflow.last_ended_ms = execution.ended_ms
        workflow.last_message = execution.message
        workflow.updated_ms = execution.updated_ms + 100


def moments(rng: Random, number: int, first_ms: int, last_ms: int) -> list[int]:
    """When executions are created: mostly in office hours, seldom at weekends, now and then in bursts."""
    hours = range(first_ms // _HOUR_MS, last_ms // _HOUR_MS + 1)
    weights = list(accumulate(_busy(hour) for hour in hours))
    found: list[int] = []
    while len(found) < number:
        at_ms = rng.choices(hours, cum_weights=weights)[0] * _HOUR_MS + rng.randrange(_HOUR_MS)
        size = rng.randint(3, 8) if rng.random() < 0.03 else 1
        found += [at_ms + rng.randrange(4000) for _ in range(size)] if size > 1 else [at_ms]
    return sorted(min(max(at_ms, first_ms), last_ms) for at_ms in found[:number])


def _busy(hour: int) -> int:
    """Weight of an hour since 1970 (a Thursday)."""
    weekend = (hour // 24 + 3) % 7 >= 5
    office = 7 <= hour % 24 < 18
    return (1, 2, 3, 12)[2 * (not weekend) + office]


class _Chronicle:
    """The history of one workflow."""

    def __init__(self, outline: Outline, rng: Random, truth: Truth, workflow: Workflow, now_ms: int) -> None:
        self._outline = outline
        self._rng = rng
        self._truth = truth
        self._workflow = workflow
        self._now_ms = now_ms
        self._elders = list(truth.executions.values())

    def write(self, at: int) -> None:
        outline = self._outline
        total = outline.executions_of(at)
        queued = min(total, _share(outline.queued, at, outline.workflows))
        running = min(total - queued, _share(outline.running, at, outline.workflows))
        tied = min(outline.tied, total - queued - running) if at == 0 else 0
        ended = moments(self._rng, total - queued - running - tied, self._first_ms, self._last_ms)
        for created_ms in [*ended, *[(self._first_ms + self._last_ms) // 2] * tied]:
            self._write_ended(created_ms)
        for _ in range(running):
            self._write_running()
        for _ in range(queued):
            self._truth.add_execution(new_execution(self._rng, self._workflow, self._recent_ms()))

    @property
    def _first_ms(self) -> int:
        return self._now_ms - round(self._outline.days * DAY_MS)

    @property
    def _last_ms(self) -> int:
        return self._now_ms - min(_QUIET_MS, (self._now_ms - self._first_ms) // 2)

    def _recent_ms(self) -> int:
        """Lately, but not so lately that nothing can have happened since."""
        span = min(_STILL_RUNNING_MS, self._now_ms - self._first_ms)
        return self._now_ms - self._rng.randint(span // 20, span)

    def _write_running(self) -> None:
        execution = self._started(self._recent_ms())
        halfway_ms = (execution.created_ms + self._now_ms) // 2
        self._plot(execution, until_ms=halfway_ms).halfway()
        self._truth.add_execution(execution)

    def _write_ended(self, created_ms: int) -> None:
        execution = self._started(created_ms)
        failing = self._outline.failing
        weights = (failing, 0.015, 0.005, max(0.0, 0.98 - failing))
        status = self._rng.choices(("Error", "Aborted", "TimedOut", "Success"), weights)[0]
        self._plot(execution, until_ms=self._now_ms).play(status)
        self._truth.add_execution(execution)
        note_end(self._workflow, execution)

    def _started(self, created_ms: int) -> Execution:
        execution = new_execution(self._rng, self._workflow, created_ms)
        start(execution, lag_ms=self._rng.choice((0, 0, 1)))
        if self._elders and self._rng.random() < 0.03:
            parent = self._rng.choice(self._elders)
            execution.parent_id = parent.id
            parent.linked_ids = [*(parent.linked_ids or ()), execution.id]
        return execution

    def _plot(self, execution: Execution, until_ms: int) -> Plot:
        story = Story(execution, self._rng, self._outline.variety)
        return Plot(story, self._workflow.nodes, self._rng, until_ms=until_ms, loops=self._outline.loops)


def _share(number: int, at: int, of: int) -> int:
    """The `at`-th part of a number that is spread evenly."""
    return number // of + (at < number % of)


def _hide(truth: Truth, outline: Outline, now_ms: int) -> None:
    ended = [execution for execution in truth.executions.values() if execution.ended_ms is not None]
    newest = sorted(ended, key=lambda execution: execution.created_ms)[-outline.hidden :]
    for execution in newest if outline.hidden else ():
        truth.hide(execution, until_ms=now_ms + round(outline.hidden_for * 1000))
