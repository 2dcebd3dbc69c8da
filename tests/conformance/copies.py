"""What a copy of a living world promises at every moment, and what it must be once all is calm.

Invariant: the judgement rests on what the world remembers to have shown, never on what the daemon says of itself,
but for its promises: watermarks, `settled_at`, spans listed as lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Engine, text

from syncer.model import Window
from tests.conformance.living import HORIZON, LOOKBACK, SETTLE, LivingWorld, Version
from tests.conformance.toys import Run, Toy
from tests.passes import HISTORY

MARGIN = timedelta(minutes=2)
"""At the horizon, what is read and what is deleted cross each other."""


class Row(NamedTuple):
    """An execution as copied, with the ids of its events."""

    execution_id: str
    workflow_id: str
    created_at: datetime
    ended_at: datetime | None
    updated_at: datetime | None
    settled_at: datetime | None
    missing_reason: str | None
    steps_state: str
    events: frozenset[str]
    xmin: str


class Mark(NamedTuple):
    """How far a partition is copied."""

    complete_from: datetime
    watermark_at: datetime


class State(NamedTuple):
    """The copy at one moment."""

    rows: Mapping[str, Row]
    marks: Mapping[str, Mark]
    put_aside: frozenset[str]
    lost: Mapping[str, list[Window]]
    away: frozenset[str]


class Copy:
    """The copy of one connection, and the world it is a copy of."""

    def __init__(self, engine: Engine, name: str, world: LivingWorld, toy: Toy) -> None:
        self._engine = engine
        self._own = f"connection_id = '{name}'"
        self._world = world
        self._toy = toy
        self._known_since: dict[str, datetime] = {}

    def rows(self, query: str) -> list[Any]:
        """What a query returns; `{own}` names this connection."""
        with self._engine.connect() as db:
            return list(db.execute(text(query.format(own=self._own))).all())

    def state(self) -> State:
        """Look at everything that is promised."""
        events: dict[str, set[str]] = {}
        for execution_id, event_id in self.rows(
            "SELECT execution_id, event_id FROM history.step_events WHERE {own}"
        ):
            events.setdefault(execution_id, set()).add(event_id)
        executions = self.rows(
            "SELECT execution_id, workflow_id, created_at, ended_at, updated_at, settled_at, missing_reason,"
            " steps_state, xmin::text FROM history.executions WHERE {own}"
        )
        marks = self.rows(
            "SELECT partition, complete_from, watermark_at FROM syncer.watermarks"
            " WHERE {own} AND stream = 'executions' AND watermark_at IS NOT NULL"
        )
        lost: dict[str, list[Window]] = {}
        for partition, *span in self.rows(
            "SELECT partition, window_start, window_end FROM syncer.window_audit WHERE {own} AND verdict = 'lost'"
        ):
            lost.setdefault(partition, []).append(Window(*span))
        return State(
            rows={
                row[0]: Row._make((*row[:8], frozenset(events.get(row[0], ())), row[8])) for row in executions
            },
            marks={partition: Mark(*mark) for partition, *mark in marks},
            put_aside=frozenset(
                bytes(raw).decode() for (raw,) in self.rows("SELECT raw FROM syncer.quarantine WHERE {own}")
            ),
            lost=lost,
            away=frozenset(
                each
                for (each,) in self.rows(
                    "SELECT workflow_id FROM history.workflows WHERE {own} AND missing_since IS NOT NULL"
                )
            ),
        )

    def fingerprints(self) -> dict[str, list[Any]]:
        """xmin, xmax and ctid of every row of every history table."""
        return {
            name: self.rows(
                f"SELECT ctid::text, xmin::text, xmax::text FROM history.{name} WHERE {{own}} ORDER BY 1"
            )
            for name in HISTORY
        }

    def check(self, before: State, now: State) -> None:
        """Assert what holds at every moment, whatever happens."""
        for partition, mark in now.marks.items():
            self._known_since.setdefault(partition, self._world.now)
            self._is_whole(partition, mark, now)
        for partition, mark in before.marks.items():
            self._has_not_gone_back(partition, mark, before, now)
        for execution_id, former in before.rows.items():
            self._is_kept(former, now.rows.get(execution_id))
        for row in now.rows.values():
            self._is_true(row)

    def _is_whole(self, partition: str, mark: Mark, now: State) -> None:
        """What the world shows before the watermark is there, but for what came late and is looked for again."""
        for run in self._world.visible():
            is_covered = mark.complete_from <= run.created_at < mark.watermark_at
            if not self._toy.belongs(run, partition) or not is_covered or run.workflow_id in now.away:
                continue
            is_young = run.created_at >= mark.watermark_at - LOOKBACK
            if run.execution_id in self._world.late and is_young:
                continue
            assert self._is_copied(run, now), f"the watermark {mark} of {partition} ran ahead of {run}"

    def _is_copied(self, run: Run, state: State) -> bool:
        if run.is_broken:
            return f'{{"n":"{run.execution_id}"}}' in state.put_aside
        return run.execution_id in state.rows

    def _has_not_gone_back(self, partition: str, mark: Mark, before: State, now: State) -> None:
        came_back = before.away - now.away | self._world.went
        if partition in now.marks:
            assert now.marks[partition].watermark_at >= mark.watermark_at or partition in came_back, partition
        else:
            assert partition in came_back, f"{partition} lost its watermark"

    def _is_kept(self, former: Row, row: Row | None) -> None:
        assert row is not None, f"{former} vanished"
        assert former.events <= row.events, f"events of {former} vanished"
        assert not former.updated_at or (row.updated_at and row.updated_at >= former.updated_at), (
            former,
            row,
        )
        if (
            former.settled_at
            and row._replace(xmin="") == former._replace(xmin="")
            and not former.missing_reason
        ):
            assert row.xmin == former.xmin or self._moved_lately(row), f"{row} was rewritten in vain"

    def _moved_lately(self, row: Row) -> bool:
        versions = self._world.versions[row.execution_id]
        is_odd = row.execution_id in self._world.absent or row.workflow_id in self._world.went
        return is_odd or versions[-1] != self._world.versions[row.execution_id][0]

    def _is_true(self, row: Row) -> None:
        """A row is as the world once showed it; one that is final as it was shown at its end + settle or later."""
        run, shown = self._world.runs[row.execution_id], self._world.versions[row.execution_id]
        assert (run.workflow_id, run.created_at) == (row.workflow_id, row.created_at)
        assert row.events <= shown[-1].events
        spans = zip(shown, [*(each.since for each in shown[1:]), self._world.now], strict=True)
        alike = [(version, until) for version, until in spans if _equals(row, version)]
        assert alike, f"{row} never was so: {shown}"
        if row.settled_at:
            without_steps = self._is_without_steps(row)
            assert any(
                version.ended_at
                and until >= version.ended_at + SETTLE
                and (row.events >= version.events or without_steps)
                for version, until in alike
            ), f"{row} is called final: {shown}"
        self._is_rightly_missing(row)

    def _is_without_steps(self, row: Row) -> bool:
        """Whether the steps were asked for while the execution was not there."""
        is_past = row.created_at < self._world.now - HORIZON + MARGIN
        return row.steps_state == "gone" and (is_past or row.execution_id in self._world.absent)

    def _is_rightly_missing(self, row: Row) -> None:
        match row.missing_reason:
            case "gone":
                assert row.execution_id in self._world.absent, f"{row} was always there"
            case "workflow_deleted":
                assert row.workflow_id in self._world.went, f"the workflow of {row} was always there"
            case "aged_out":
                assert row.created_at < self._world.now - HORIZON + MARGIN, f"{row} is still served"

    def check_calm(self, before: State, now: State) -> None:
        """Assert that the copy is the world, `before` being the state before the first calm pass."""
        for run in self._world.runs.values():
            is_known = run.workflow_id in now.away and not self._world.hides_deleted
            if run.workflow_id in self._world.workflow_ids or is_known:
                self._is_copied_or_listed(run, now)
            row = now.rows.get(run.execution_id)
            if row is not None and self._world.is_served(run) and run.workflow_id in self._world.workflow_ids:
                self._is_fresh(run, row, before)
            elif row is not None and not self._world.is_served(run):
                assert row.settled_at or row.missing_reason, f"{row} is open for ever"
        self._are_workflows_right()

    def _is_copied_or_listed(self, run: Run, now: State) -> None:
        if self._world.is_served(run) and run.created_at >= self._world.now - HORIZON + MARGIN:
            assert self._is_copied(run, now), f"{run} was never copied"
        elif run.execution_id not in self._world.absent | self._world.late and self._was_promised(run):
            spans = [
                span
                for partition, spans in now.lost.items()
                if self._toy.belongs(run, partition)
                for span in spans
            ]
            is_listed = any(span.start <= run.created_at <= span.end for span in spans)
            assert self._is_copied(run, now) or is_listed, f"{run} was lost in silence"

    def _was_promised(self, run: Run) -> bool:
        """Whether the execution was still served when its partition was first read."""
        since = [since for each, since in self._known_since.items() if self._toy.belongs(run, each)]
        return any(run.created_at >= instant - HORIZON + MARGIN for instant in since)

    def _is_fresh(self, run: Run, row: Row, before: State) -> None:
        *_, last = shown = self._world.versions[run.execution_id]
        if run.created_at >= self._world.now - HORIZON + MARGIN:
            assert row.missing_reason is None, f"{row} is there"
        if row.settled_at and not self._is_read_again(run, before):
            return  # what changes after settle and lookback is not looked for
        assert _equals(row, last), f"{row} is stale: {last}"
        known = last if last.ended_at else next(each for each in shown if _equals(row, each))
        assert row.events >= known.events, f"the steps of {row} are stale: {known}"
        assert bool(row.settled_at) == (last.ended_at is not None), f"{row} is not final: {last}"
        assert row.steps_state == "read", row

    def _is_read_again(self, run: Run, before: State) -> bool:
        partitions = [each for each in before.marks if self._toy.belongs(run, each)]
        return not partitions or run.created_at >= before.marks[partitions[0]].watermark_at - LOOKBACK

    def _are_workflows_right(self) -> None:
        copied = self.rows(
            "SELECT workflow_id, definition ->> 'n', missing_reason FROM history.workflows WHERE {own}"
        )
        there = {row[0]: int(row[1]) for row in copied if row[2] is None}
        assert there == {each: self._world.revision(each) for each in self._world.workflow_ids}
        assert {row[0] for row in copied if row[2]} <= self._world.went


def _equals(row: Row, version: Version) -> bool:
    return (row.ended_at, row.updated_at) == (version.ended_at, version.updated_at)
