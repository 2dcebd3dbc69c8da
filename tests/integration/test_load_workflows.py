"""Workflows, their revisions and nodes: what is kept when they change, vanish and come back."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec import structs
from sqlalchemy import Engine

from syncer.load.executions import mark_missing
from syncer.load.workflows import (
    deleted_workflows,
    known_workflows,
    load_workflows,
    mark_deleted,
    node_names,
    present_workflows,
    unread_deletions,
)
from syncer.model import Node, Workflow
from syncer.state.watermarks import EXECUTIONS, WORKFLOWS, note_success
from syncer.sync.workflows import to_row
from tests.integration.rows import (
    ENCODER,
    HOUR,
    MINUTE,
    NOW,
    change,
    ended,
    execution,
    one,
    reading,
    rows,
    write,
)

LATER = NOW + HOUR
TRACES = """SELECT 'w', workflow_id, xmin::text, ctid::text FROM history.workflows
    UNION ALL SELECT 'r', revision, xmin::text, ctid::text FROM history.workflow_revisions
    UNION ALL SELECT 'n', node_id, xmin::text, ctid::text FROM history.workflow_nodes ORDER BY 1, 2"""


def workflow(key: str = "w", **changes: Any) -> Workflow:
    return structs.replace(Workflow(workflow_id=key, name="Patch", updated_at=NOW), **changes)


def defined(revision: str, *nodes: str, **changes: Any) -> Workflow:
    made = tuple(
        Node(
            node_id=each.lower(),
            name=each,
            node_type="action",
            position=place,
            next_node_ids=(),
            script=None,
            inputs=None,
        )
        for place, each in enumerate(nodes)
    )
    definition = f'{{"of":"{revision}"}}'.encode()
    return workflow(**{"revision": revision, "definition": definition, "nodes": made, **changes})


def load(
    engine: Engine, *given: Workflow, at: datetime = NOW, asked: datetime | None = None, name: str = "c"
) -> int:
    with engine.begin() as db:
        listed = [to_row(ENCODER, each) for each in given]
        return load_workflows(db, name, listed, asked_at=asked or at, now=at)


def delete(engine: Engine, *listed: str, at: datetime = NOW) -> list[str]:
    with engine.begin() as db:
        return sorted(mark_deleted(db, "c", listed, at))


def test_a_workflow_lands_once_and_is_not_written_again(engine: Engine) -> None:
    assert load(engine, workflow(), workflow("v")) == 2
    before = rows(engine, TRACES)
    assert load(engine, workflow(), workflow("v"), at=LATER) == 0
    assert rows(engine, TRACES) == before
    assert load(engine, workflow(name="Patch all"), workflow("v"), workflow("new"), at=LATER) == 2
    query = "SELECT workflow_id, name, synced_at, _asked_at FROM history.workflows ORDER BY 1"
    assert rows(engine, query) == [
        ("new", "Patch", LATER, LATER),
        ("v", "Patch", NOW, NOW),
        ("w", "Patch all", LATER, LATER),
    ]


def test_a_workflow_listed_twice_lands_as_it_stood_last(engine: Engine) -> None:
    assert load(engine, workflow(name="first"), workflow(name="last")) == 1
    assert one(engine, "SELECT name FROM history.workflows") == ("last",)


def test_a_copy_asked_for_earlier_does_not_replace_one_asked_for_later(engine: Engine) -> None:
    load(engine, workflow(name="later"), asked=NOW)
    load(engine, workflow(name="earlier"), asked=NOW - MINUTE, at=LATER)
    assert one(engine, "SELECT name FROM history.workflows") == ("later",)
    load(engine, workflow(name="at once"), asked=NOW, at=LATER)
    assert one(engine, "SELECT name FROM history.workflows") == ("at once",)


def test_what_a_list_does_not_carry_stays(engine: Engine) -> None:
    load(engine, defined("1", "A", description="d", extra=b'{"a":1,"b":1}'))
    load(engine, workflow(extra=b'{"b":2}'), at=LATER)
    query = "SELECT description, revision, definition, extra FROM history.workflows"
    assert one(engine, query) == ("d", "1", {"of": "1"}, {"a": 1, "b": 2})
    assert rows(engine, "SELECT node_id, removed_at FROM history.workflow_nodes") == [("a", None)]


def test_a_definition_that_is_spelled_otherwise_is_the_same(engine: Engine) -> None:
    load(engine, defined("1", "A"))
    before = rows(engine, TRACES)
    assert load(engine, defined("1", "A", definition=b'{ "of": "1" }'), at=LATER) == 0
    assert rows(engine, TRACES) == before


def test_a_definition_that_changed_is_written_even_where_nothing_else_did(engine: Engine) -> None:
    load(engine, defined("1", "A"))
    assert load(engine, defined("1", "A", "B", definition=b'{"of":"other"}'), at=LATER) == 1
    assert one(engine, "SELECT definition FROM history.workflows") == ({"of": "other"},)
    assert rows(engine, "SELECT node_id FROM history.workflow_nodes ORDER BY 1") == [("a",), ("b",)]


def test_a_definition_fetched_after_the_list_lands_with_its_nodes(engine: Engine) -> None:
    load(engine, workflow())
    assert rows(engine, "SELECT 1 FROM history.workflow_revisions") == []
    assert load(engine, defined("1", "A"), at=LATER) == 1
    query = "SELECT workflow_id, revision, definition, first_seen_at, last_seen_at FROM history.workflow_revisions"
    assert rows(engine, query) == [("w", "1", {"of": "1"}, LATER, LATER)]


def test_a_definition_that_is_null_makes_a_revision_without_one(engine: Engine) -> None:
    load(engine, defined("1", definition=None))
    assert rows(engine, "SELECT revision, definition FROM history.workflow_revisions") == [("1", None)]


def test_a_node_that_a_later_definition_drops_keeps_its_row_and_may_come_back(engine: Engine) -> None:
    load(engine, defined("1", "A", "B"), defined("1", "A", workflow_id="v"))
    load(engine, defined("1", "A"), name="d")
    load(engine, defined("2", "A", "C"), at=LATER)
    query = (
        "SELECT workflow_id, node_id, name, position, removed_at, synced_at FROM history.workflow_nodes"
        " WHERE connection_id = 'c' ORDER BY 1, 2"
    )
    assert rows(engine, query) == [
        ("v", "a", "A", 0, None, NOW),
        ("w", "a", "A", 0, None, NOW),
        ("w", "b", "B", 1, LATER, LATER),
        ("w", "c", "C", 1, None, LATER),
    ]
    load(engine, defined("3", "A", "B"), at=LATER + HOUR)
    assert rows(engine, query)[2:] == [
        ("w", "b", "B", 1, None, LATER + HOUR),
        ("w", "c", "C", 1, LATER + HOUR, LATER + HOUR),
    ]


def test_a_node_that_stands_twice_in_a_definition_lands_once(engine: Engine) -> None:
    load(engine, defined("1", "a", "A"))
    assert rows(engine, "SELECT node_id, name FROM history.workflow_nodes") == [("a", "A")]


def revisions(engine: Engine) -> list[tuple[Any, ...]]:
    return rows(
        engine,
        "SELECT revision, first_seen_at, last_seen_at FROM history.workflow_revisions"
        " WHERE connection_id = 'c' AND workflow_id = 'w' ORDER BY first_seen_at",
    )


def note_pass(engine: Engine, at: datetime, stream: str = WORKFLOWS, partition: str = "") -> None:
    with engine.begin() as db:
        note_success(db, "c", stream, partition, now=at)


def test_a_revision_was_last_seen_at_the_last_pass_before_the_one_that_replaced_it(engine: Engine) -> None:
    load(engine, defined("1", "A"), defined("1", "A", workflow_id="v"))
    load(engine, defined("1", "A"), name="d")
    note_pass(engine, NOW + MINUTE)
    note_pass(engine, NOW + 2 * MINUTE, EXECUTIONS, "w")
    load(engine, defined("2", "A"), at=LATER)
    assert revisions(engine) == [("1", NOW, NOW + MINUTE), ("2", LATER, LATER)]
    others = "workflow_id = 'v' OR connection_id = 'd'"
    query = f"SELECT DISTINCT last_seen_at FROM history.workflow_revisions WHERE {others}"
    assert rows(engine, query) == [(NOW,)]


def test_a_revision_in_force_is_not_written_again(engine: Engine) -> None:
    load(engine, defined("1", "A"))
    note_pass(engine, NOW + MINUTE)
    load(engine, defined("1", "A", name="renamed"), at=LATER)
    assert revisions(engine) == [("1", NOW, NOW)]


def test_a_revision_was_never_last_seen_earlier_than_it_was_seen(engine: Engine) -> None:
    note_pass(engine, NOW - HOUR)
    load(engine, defined("1", "A"))
    load(engine, defined("2", "A"), at=LATER)
    assert revisions(engine) == [("1", NOW, NOW), ("2", LATER, LATER)]


def test_what_is_not_listed_is_deleted_with_its_executions_that_were_not_settled(engine: Engine) -> None:
    load(engine, workflow("kept"), workflow("w"), workflow("v"))
    load(engine, workflow("w"), name="d")
    write(engine, execution(), execution(execution_id="k", workflow_id="kept"), execution(execution_id="g"))
    write(engine, ended(execution_id="settled"), at=reading(with_steps=False))
    write(engine, execution(), at=reading(connection_id="d"))
    with engine.begin() as db:
        mark_missing(db, "c", ["g"], "gone", NOW)
    assert delete(engine, "kept", at=LATER) == ["v", "w"]
    assert delete(engine, "kept", at=LATER + HOUR) == []
    query = (
        "SELECT connection_id, workflow_id, missing_reason, missing_since, synced_at FROM history.workflows"
    )
    assert rows(engine, query + " ORDER BY 1, 2") == [
        ("c", "kept", None, None, NOW),
        ("c", "v", "workflow_deleted", LATER, LATER),
        ("c", "w", "workflow_deleted", LATER, LATER),
        ("d", "w", None, None, NOW),
    ]
    query = (
        "SELECT connection_id, execution_id, missing_reason, missing_since, synced_at FROM history.executions"
    )
    assert rows(engine, query + " WHERE missing_since IS NOT NULL ORDER BY 1, 2") == [
        ("c", "e", "workflow_deleted", LATER, LATER),
        ("c", "g", "gone", NOW, NOW),
    ]


def test_a_workflow_that_comes_back_is_followed_again_with_its_executions(engine: Engine) -> None:
    load(engine, workflow(), workflow("v"))
    write(engine, execution(), execution(execution_id="gone"), execution(execution_id="v", workflow_id="v"))
    with engine.begin() as db:
        mark_missing(db, "c", ["gone"], "gone", NOW)
    delete(engine)
    assert load(engine, workflow(), at=LATER) == 1
    query = "SELECT workflow_id, missing_since, missing_reason, synced_at FROM history.workflows ORDER BY 1"
    assert rows(engine, query) == [("v", NOW, "workflow_deleted", NOW), ("w", None, None, LATER)]
    query = "SELECT execution_id, missing_reason, missing_since, synced_at FROM history.executions ORDER BY 1"
    assert rows(engine, query) == [
        ("e", None, None, LATER),
        ("gone", "gone", NOW, NOW),
        ("v", "workflow_deleted", NOW, NOW),
    ]


def remember(engine: Engine, partition: str, connection: str = "c") -> None:
    own = {"connection": connection, "partition": partition}
    for stream in (EXECUTIONS, WORKFLOWS):
        change(
            engine,
            "INSERT INTO syncer.watermarks (connection_id, stream, partition)"
            " VALUES (:connection, :stream, :partition)",
            stream=stream,
            **own,
        )
    for kind, hours in (("initial", 3), ("backfill", 2)):
        change(
            engine,
            "INSERT INTO syncer.backfill_windows"
            " (connection_id, stream, partition, since, until, kind, position, state, created_at)"
            " VALUES (:connection, 'executions', :partition, :since, :now, :kind, :since, 'open', :now)",
            kind=kind,
            since=NOW - hours * HOUR,
            now=NOW,
            **own,
        )
    for verdict, found in (("lost", NOW - MINUTE), ("lost", NOW), ("disputed", NOW)):
        change(
            engine,
            "INSERT INTO syncer.window_audit (connection_id, stream, partition, window_start, window_end, verdict,"
            " first_seen_at, last_seen_at)"
            " VALUES (:connection, 'executions', :partition, :found, :now, :verdict, :found, :now)",
            verdict=verdict,
            found=found,
            now=NOW,
            **own,
        )


def remembered(engine: Engine) -> list[tuple[Any, ...]]:
    return rows(
        engine,
        "SELECT connection_id, partition, stream FROM syncer.watermarks"
        " UNION ALL SELECT connection_id, partition, kind FROM syncer.backfill_windows"
        " UNION ALL SELECT connection_id, partition, verdict || ' ' || (first_seen_at >= resolved_at - interval '1 h')"
        " FROM syncer.window_audit WHERE resolved_at IS NOT NULL ORDER BY 1, 2, 3",
    )


def test_a_workflow_that_comes_back_is_read_anew_and_what_was_lost_meanwhile_is_not(engine: Engine) -> None:
    load(engine, workflow(), workflow("v"))
    load(engine, workflow(), name="d")
    for partition, connection in (("w", "c"), ("v", "c"), ("w", "d")):
        remember(engine, partition, connection)
    kept = ["backfill", "executions", "initial", "workflows"]
    all_kept = [("c", "v", name) for name in kept], [("d", "w", name) for name in kept]
    assert remembered(engine) == [*all_kept[0], *(("c", "w", name) for name in kept), *all_kept[1]]
    delete(engine)
    load(engine, workflow(), at=LATER)
    again = [("c", "w", name) for name in ("backfill", "lost true", "workflows")]
    assert remembered(engine) == [*all_kept[0], *again, *all_kept[1]]


def test_a_workflow_that_was_never_away_is_not_read_anew(engine: Engine) -> None:
    load(engine, workflow())
    remember(engine, "w")
    load(engine, workflow(name="changed"), at=LATER)
    kept = ["backfill", "executions", "initial", "workflows"]
    assert remembered(engine) == [("c", "w", name) for name in kept]


def test_what_was_resolved_before_stays_as_it_was_resolved(engine: Engine) -> None:
    load(engine, workflow())
    remember(engine, "w")
    change(engine, "UPDATE syncer.window_audit SET resolved_at = :at", at=NOW + MINUTE)
    delete(engine)
    load(engine, workflow(), at=LATER)
    assert rows(engine, "SELECT DISTINCT resolved_at FROM syncer.window_audit") == [(NOW + MINUTE,)]


def test_known_workflows_tell_their_revision_whether_they_are_defined_and_when_they_changed(
    engine: Engine,
) -> None:
    load(engine, workflow(), defined("1", "A", workflow_id="v"), workflow("u", updated_at=None))
    load(engine, workflow("other"), name="d")
    with engine.begin() as db:
        assert known_workflows(db, "c") == {
            "w": (None, False, NOW),
            "v": ("1", True, NOW),
            "u": (None, False, None),
        }


def test_workflows_that_are_there_and_those_that_are_deleted_are_listed_apart(engine: Engine) -> None:
    load(engine, workflow(), workflow("v", name=None), workflow("u"), workflow("t"))
    load(engine, workflow("other"), workflow("another"), name="d")
    change(engine, "UPDATE history.workflows SET missing_since = now() WHERE workflow_id = 'another'")
    assert delete(engine, "w", "v") == ["t", "u"]
    with engine.begin() as db:
        present = present_workflows(db, "c")
        assert deleted_workflows(db, "c") == ["t", "u"]
    assert sorted((each.workflow_id, each.name) for each in present) == [("v", None), ("w", "Patch")]


@pytest.mark.parametrize(
    ("read_at", "is_unread"), [(None, True), (NOW - MINUTE, True), (NOW, False), (NOW + MINUTE, False)]
)
def test_a_deletion_is_unread_until_its_executions_were_read_since(
    engine: Engine, read_at: datetime | None, is_unread: bool
) -> None:
    load(engine, workflow(), workflow("there"))
    load(engine, workflow("other"), name="d")
    change(engine, "UPDATE history.workflows SET missing_since = now() WHERE connection_id = 'd'")
    delete(engine, "there")
    note_pass(engine, NOW + HOUR, "other stream", "w")
    note_pass(engine, NOW + HOUR, EXECUTIONS, "there")
    if read_at is not None:
        note_pass(engine, read_at, EXECUTIONS, "w")
    with engine.begin() as db:
        assert unread_deletions(db, "c", HOUR, NOW + HOUR - MINUTE) == (["w"] if is_unread else [])


@pytest.mark.parametrize(("read_at", "is_unread"), [(NOW + HOUR - MINUTE, True), (NOW + HOUR, False)])
def test_a_deletion_is_unread_again_when_what_is_late_has_shown_itself(
    engine: Engine, read_at: datetime, is_unread: bool
) -> None:
    load(engine, workflow())
    delete(engine, "there")
    note_pass(engine, read_at, EXECUTIONS, "w")
    with engine.begin() as db:
        assert unread_deletions(db, "c", HOUR, NOW + HOUR) == (["w"] if is_unread else [])


def test_names_of_nodes_are_told_for_the_workflows_asked_for(engine: Engine) -> None:
    load(
        engine, defined("1", "A", "B"), defined("1", "C", workflow_id="v"), defined("1", "D", workflow_id="u")
    )
    load(engine, defined("1", "X"), name="d")
    change(engine, "UPDATE history.workflow_nodes SET name = NULL WHERE node_id = 'b'")
    with engine.begin() as db:
        assert node_names(db, "c", {"w", "v"}) == {("w", "a"): "A", ("v", "c"): "C"}
        assert node_names(db, "c", []) == {}


def test_the_newest_of_revisions_seen_at_one_instant_is_the_one_first_seen_last(engine: Engine) -> None:
    load(engine, defined("1", "A"), at=NOW)
    load(engine, defined("2", "A"), at=LATER)
    change(engine, "UPDATE history.workflow_revisions SET last_seen_at = :at", at=LATER + MINUTE)
    load(engine, defined("2", "A", name="renamed"), at=LATER + timedelta(hours=2))
    assert revisions(engine) == [("1", NOW, LATER + MINUTE), ("2", LATER, LATER + MINUTE)]
