"""Rows on their way into a real PostgreSQL: what is compared, what is left alone, what is repaired."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from syncer.decode.payload import Payload
from syncer.load.executions import load_executions
from syncer.load.steps import StepsRead, load_steps
from syncer.load.workflows import load_workflows
from syncer.model import (
    Execution,
    ExecutionRef,
    Node,
    Outcome,
    Reject,
    StepAnswer,
    Workflow,
)
from syncer.state.quarantine import put_aside
from syncer.state.watermarks import WORKFLOWS, note_success
from syncer.sync.workflows import to_row
from tests.integration.rows import ENCODER, NOW, event, execution, one, reading, steps, write

BAD = "a\x00b\ud800c"


def test_an_answer_that_says_nothing_of_the_outcome_leaves_it_and_the_end_as_they_are(engine: Engine) -> None:
    write(engine, execution(outcome=Outcome.SUCCEEDED, status="Success"))
    sparse = Execution(execution_id="e", workflow_id="w", created_at=NOW - timedelta(hours=1), message="more")
    write(engine, sparse, at=reading(NOW + timedelta(minutes=5)))
    assert one(engine, "SELECT outcome, status, message, _ended_at IS NOT NULL FROM history.executions") == (
        "succeeded",
        "Success",
        "more",
        True,
    )


@pytest.mark.parametrize("is_stored_first", [True, False], ids=["update", "insert"])
def test_an_older_copy_that_waited_for_a_newer_one_does_not_overwrite_it(
    engine: Engine, is_stored_first: bool
) -> None:
    if is_stored_first:
        write(engine, execution(updated_at=NOW - timedelta(minutes=9)))
    newer = execution(updated_at=NOW, outcome=Outcome.SUCCEEDED, status="Success", ended_at=NOW)
    older = execution(updated_at=NOW - timedelta(minutes=5), message="older")
    late = threading.Thread(target=write, args=(engine, older), kwargs={"at": reading(NOW + timedelta(1))})
    with engine.begin() as db:
        load_executions(db, [ENCODER.execution(newer)], reading())
        late.start()
        waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        with engine.connect() as other:
            while not other.execute(waiting).scalar_one():
                pass
    late.join()
    assert one(engine, "SELECT outcome, message FROM history.executions") == ("succeeded", None)


def test_an_end_without_a_time_counts_from_the_first_read_that_said_so_and_settles(engine: Engine) -> None:
    done = execution(outcome=Outcome.FAILED, status="Failed")
    for minutes in (0, 1, 3):
        write(engine, done, at=reading(NOW + timedelta(minutes=minutes), with_steps=False))
    assert one(
        engine, "SELECT _ended_at, ended_at, steps_state, settled_at IS NOT NULL FROM history.executions"
    ) == (NOW, None, "off", True)


def test_an_execution_found_open_again_is_not_final_any_more(engine: Engine) -> None:
    write(engine, execution(outcome=Outcome.FAILED, ended_at=NOW - timedelta(minutes=30)))
    steps(engine, event())
    assert one(engine, "SELECT settled_at IS NOT NULL FROM history.executions") == (True,)
    write(engine, execution(ended_at=None), at=reading(NOW + timedelta(minutes=1)))
    assert one(
        engine, "SELECT outcome, ended_at, settled_at, _final_at, steps_state FROM history.executions"
    ) == ("running", None, None, None, "due")


def test_text_that_postgresql_cannot_hold_is_repaired_in_every_column(engine: Engine) -> None:
    texts = (
        "workflow_name",
        "status",
        "execution_type",
        "trigger",
        "subject_id",
        "parent_execution_id",
        "message",
    )
    changes: dict[str, Any] = dict.fromkeys(texts, BAD)
    documents = dict.fromkeys(("extra", "variables", "categories"), b'{"a":"x\\u0000\\ud800"}')
    lists = dict.fromkeys(("tags", "linked_execution_ids"), (BAD,))
    write(engine, execution(**changes, **documents, **lists, outcome=Outcome.FAILED))
    row = one(engine, "SELECT status, tags, variables->>'a', extra->'_repaired' FROM history.executions")
    assert row[:3] == ("a\ufffdb\ufffdc", ["a\ufffdb\ufffdc"], "x\ufffd\ufffd")
    assert set(row[3]) == {*changes, *documents, *lists}
    worst = event(
        node_name=BAD, node_type=BAD, status=BAD, message=BAD, tags=(BAD,), details=b'"\\u0000"', extra=b"{}"
    )
    assert steps(engine, worst) == []
    assert one(engine, "SELECT status, node_type, node_name FROM history.steps") == ("a\ufffdb\ufffdc",) * 3


def test_workflows_and_quarantine_hold_repaired_text_as_well(engine: Engine) -> None:
    node = Node(
        node_id="n",
        name=BAD,
        node_type=BAD,
        position=0,
        next_node_ids=(BAD,),
        script=BAD,
        inputs=b'"\\u0000"',
    )
    texts: dict[str, Any] = dict.fromkeys(
        ("name", "description", "type", "revision", "created_by", "last_execution_status"), BAD
    )
    workflow = Workflow(workflow_id="w", definition=b'{"a":"\\u0000"}', nodes=(node,), **texts)
    with engine.begin() as db:
        load_workflows(db, "c", [to_row(ENCODER, workflow)], asked_at=NOW, now=NOW)
        put_aside(db, "c", "s", "p", [ENCODER.reject(Reject(raw=b"\x00", reason=BAD, identity=BAD))], NOW)
    assert one(engine, "SELECT script, next_node_ids FROM history.workflow_nodes") == (
        "a\ufffdb\ufffdc",
        ["a\ufffdb\ufffdc"],
    )


@pytest.mark.parametrize(
    "document",
    [
        b"[" * 512 + b"]" * 512,
        b"[" * 600 + b"]" * 600,
        b"9" * 100,
        b"1e308",
        b"1e400",
        b'{"a":1,"a":2}',
        b'{"":null}',
        b"-0.0",
        b'"' + b"x" * 1_000_000 + b'"',
        b"null",
    ],
    ids=[
        "deep",
        "too deep",
        "digits",
        "large",
        "too large",
        "twice",
        "empty key",
        "minus zero",
        "long",
        "null",
    ],
)
def test_odd_documents_land_once_and_are_not_written_again(engine: Engine, document: bytes) -> None:
    odd = execution(
        variables=document, categories=document, extra=b'{"odd":' + document + b"}", message="m" * 1_000_000
    )
    write(engine, odd)
    steps(engine, event(details=document, event_order=2**63 - 1))
    query = "SELECT e.xmin::text, e.ctid::text, v.xmin::text FROM history.executions e, history.step_events v"
    before = one(engine, query)
    write(engine, odd, at=reading(NOW + timedelta(minutes=1)))
    steps(engine, event(details=document, event_order=2**63 - 1), at=NOW + timedelta(minutes=1))
    assert one(engine, query) == before


def test_ids_of_512_bytes_and_the_ends_of_the_calendar_land(engine: Engine) -> None:
    long = "\u00e9" * 256
    first = datetime(1, 1, 1, tzinfo=UTC)
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    ends = execution(execution_id=long, workflow_id=long, created_at=first, started_at=first, ended_at=last)
    write(engine, ends, at=reading(partition=long))
    assert one(engine, "SELECT created_at, ended_at FROM history.executions") == (first, last)
    ref = ExecutionRef(execution_id=long, workflow_id=long, partition=long, created_at=first, has_ended=True)
    answer = StepAnswer(
        events=(
            event(
                execution_id=long,
                event_id=long,
                node_id=long,
                input=Payload(value=b"1", state="decoded", size=1, raw=None, redacted_paths=()),
            ),
        )
    )
    with engine.begin() as db:
        read = StepsRead(ref=ref, answer=answer, asked_at=NOW)
        assert load_steps(db, "c", [read], ENCODER, now=NOW).refused == []


def test_numbers_in_extra_keep_their_digits_when_a_column_was_repaired(engine: Engine) -> None:
    write(engine, execution(status=BAD, extra=b'{"n":1.00000000000000000001}'))
    assert one(engine, "SELECT extra->>'n' FROM history.executions") == ("1.00000000000000000001",)


def test_a_definition_that_comes_back_is_the_one_seen_last(engine: Engine) -> None:
    for day, revision in enumerate(("a", "b", "a", "c")):
        now = NOW + timedelta(days=day)
        workflow = Workflow(workflow_id="w", revision=revision, definition=f'"{revision}"'.encode(), nodes=())
        with engine.begin() as db:
            load_workflows(db, "c", [to_row(ENCODER, workflow)], asked_at=now, now=now)
            note_success(db, "c", WORKFLOWS, "", now=now + timedelta(hours=1))
    with engine.connect() as db:
        query = "SELECT revision, last_seen_at FROM history.workflow_revisions ORDER BY 1"
        seen = {row.revision: row.last_seen_at for row in db.execute(text(query))}
    hour = timedelta(hours=1)
    assert seen == {
        "a": NOW + timedelta(days=2) + hour,
        "b": NOW + timedelta(days=1) + hour,
        "c": NOW + timedelta(days=3),
    }


def test_a_stored_event_that_is_newer_stays_when_an_older_copy_arrives(engine: Engine) -> None:
    write(engine, execution(outcome=Outcome.FAILED))
    steps(engine, event(updated_at=NOW, message="last"))
    steps(
        engine, event(updated_at=NOW - timedelta(minutes=1), message="first"), at=NOW + timedelta(minutes=1)
    )
    assert one(engine, "SELECT v.message, s.message FROM history.step_events v, history.steps s") == (
        "last",
        "last",
    )


def test_a_copy_of_what_seemed_new_meets_a_row_after_all(engine: Engine) -> None:
    with engine.begin() as one_process:
        load_executions(one_process, [ENCODER.execution(execution())], reading())
        others = [execution(message="later"), execution(execution_id="f")]
        late = threading.Thread(
            target=write, args=(engine, *others), kwargs={"at": reading(NOW + timedelta(1))}
        )
        late.start()
        with engine.connect() as other:
            while not other.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one():
                pass
    late.join()
    assert one(engine, "SELECT count(*), max(message) FROM history.executions") == (2, "later")
