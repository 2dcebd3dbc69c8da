"""The ways rows reach a table: typed, in groups of columns, and never touching what stays the same."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Connection, Engine, create_engine, text

from syncer.load.rows import EXTRA, bisect, copy, delete, distinct, driver, key_of, name_of, upsert
from syncer.schema import executions, step_events, step_io, steps, workflows
from tests.integration.rows import MINUTE, NOW, one, rows

Row = dict[str, Any]


def workflow(key: str, **changes: Any) -> Row:
    own = {"connection_id": "c", "workflow_id": key, "synced_at": NOW, "_row_hash": b"h", "_asked_at": NOW}
    return {**own, **changes}


def names(engine: Engine) -> list[tuple[Any, ...]]:
    return rows(engine, "SELECT workflow_id, name, description FROM history.workflows ORDER BY 1")


def test_every_type_of_column_lands_as_it_was_given(engine: Engine) -> None:
    with engine.begin() as db:
        copy(
            db,
            workflows,
            [
                workflow(
                    "w", name="n", is_active=True, tags=["a", "b"], properties=b'{"n":1.50}', created_at=NOW
                )
            ],
        )
        copy(
            db,
            step_io,
            [
                {
                    "connection_id": "c",
                    "execution_id": "e",
                    "node_id": "n",
                    "attempt": 2,
                    "input": None,
                    "input_state": "unsafe",
                    "output_state": "absent",
                    "input_bytes": 2**40,
                    "input_raw": b"\x00\xff",
                    "redacted_paths": [],
                    "synced_at": NOW,
                    "_row_hash": b"\x01",
                }
            ],
        )
    assert one(
        engine, "SELECT name, is_active, tags, properties::text, created_at, _row_hash FROM history.workflows"
    ) == ("n", True, ["a", "b"], '{"n": 1.50}', NOW, b"h")
    assert one(
        engine,
        "SELECT attempt, input, input_bytes, input_raw, redacted_paths, _row_hash FROM history.step_io",
    ) == (2, None, 2**40, b"\x00\xff", [], b"\x01")


def test_rows_with_different_columns_land_together(engine: Engine) -> None:
    with engine.begin() as db:
        copy(
            db, workflows, [workflow("a", name="n"), workflow("b"), workflow("c", description="d", name=None)]
        )
        copy(db, workflows, [])
    assert names(engine) == [("a", "n", None), ("b", None, None), ("c", None, "d")]


def test_rows_are_written_in_key_order(engine: Engine) -> None:
    with engine.begin() as db:
        copy(db, workflows, [workflow(key) for key in "cab"])
        assert upsert(db, workflows, [workflow(key) for key in "fde"], changed=always) == [
            ("c", "d"),
            ("c", "e"),
            ("c", "f"),
        ]
    assert rows(engine, "SELECT workflow_id FROM history.workflows ORDER BY ctid") == [(k,) for k in "abcdef"]


def test_rows_go_into_another_table_of_the_same_shape_where_one_is_named(engine: Engine) -> None:
    with engine.begin() as db:
        db.execute(text("CREATE TEMPORARY TABLE elsewhere (LIKE history.workflows)"))
        copy(db, workflows, [workflow("a")], into=sql.Identifier("elsewhere"))
        assert db.execute(text("SELECT workflow_id FROM elsewhere")).scalar_one() == "a"
    assert names(engine) == []


def always(columns: Sequence[str], new: str) -> sql.Composable:
    return sql.SQL("true")


def never(columns: Sequence[str], new: str) -> sql.Composable:
    return sql.SQL("false")


def differing(columns: Sequence[str], new: str) -> sql.Composable:
    return distinct((name for name in columns if name in ("name", "extra")), new)


def test_an_upsert_writes_what_is_new_and_what_changed_and_says_so(engine: Engine) -> None:
    with engine.begin() as db:
        copy(db, workflows, [workflow("same", name="n"), workflow("changed", name="n"), workflow("other")])
    traces = "SELECT workflow_id, xmin::text FROM history.workflows WHERE workflow_id IN ('same', 'other')"
    before = rows(engine, traces)
    with engine.begin() as db:
        given = [workflow("new", name="n"), workflow("changed", name="m"), workflow("same", name="n")]
        assert upsert(db, workflows, given, changed=differing) == [("c", "changed"), ("c", "new")]
        assert upsert(db, workflows, [], changed=differing) == []
    assert rows(engine, traces) == before
    assert names(engine) == [
        ("changed", "m", None),
        ("new", "n", None),
        ("other", None, None),
        ("same", "n", None),
    ]


def test_what_did_not_change_is_not_even_locked(engine: Engine) -> None:
    with engine.begin() as db:
        copy(db, workflows, [workflow("a")])
    with engine.begin() as db:
        assert upsert(db, workflows, [workflow("a", name="n")], changed=never) == []
    assert one(engine, "SELECT xmax::text FROM history.workflows") == ("0",)


def test_an_upsert_writes_new_rows_whatever_is_said_of_changed_ones(engine: Engine) -> None:
    with engine.begin() as db:
        assert upsert(db, workflows, [workflow("a")], changed=never) == [("c", "a")]


def test_a_column_that_a_row_does_not_hold_stays(engine: Engine) -> None:
    with engine.begin() as db:
        copy(db, workflows, [workflow(key, name="n", description="d") for key in "ab"])
        upsert(db, workflows, [workflow("a", name="m"), workflow("b", description=None)], changed=always)
    assert names(engine) == [("a", "m", "d"), ("b", "n", None)]


def test_a_value_set_otherwise_is_set_even_where_the_row_does_not_hold_its_column(engine: Engine) -> None:
    overrides = {
        "description": sql.SQL("coalesce(t.description, '') || '!'"),
        "name": sql.SQL("t.name || excluded.name"),
    }
    with engine.begin() as db:
        copy(db, workflows, [workflow("a", name="n", description="d")])
        upsert(db, workflows, [workflow("a", name="m")], changed=always, overrides=overrides)
    assert names(engine) == [("a", "nm", "d!")]


def test_one_transaction_may_upsert_twice_into_one_table(engine: Engine) -> None:
    with engine.begin() as db:
        upsert(db, workflows, [workflow("a", name="first")], changed=always)
        assert upsert(db, workflows, [workflow("b")], changed=always) == [("c", "b")]
        with db.begin_nested() as part:
            upsert(db, workflows, [workflow("a", name="undone")], changed=always)
            part.rollback()
        upsert(db, executions, [], changed=always)
    assert names(engine) == [("a", "first", None), ("b", None, None)]


def test_one_session_stages_again_after_its_transaction(database_url: str) -> None:
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    for name in ("first", "second"):
        with engine.begin() as db:
            assert upsert(db, workflows, [workflow("a", name=name)], changed=always) == [("c", "a")]
    assert names(engine) == [("a", "second", None)]
    engine.dispose()


def test_a_row_that_another_process_wrote_meanwhile_is_judged_again(engine: Engine) -> None:
    def newer(columns: Sequence[str], new: str) -> sql.Composable:
        return sql.SQL("{}.synced_at > t.synced_at").format(sql.Identifier(new))

    with engine.begin() as db:
        copy(db, workflows, [workflow("a")])

    def write() -> None:
        with engine.begin() as late:
            given = [workflow("a", name="late", synced_at=NOW + MINUTE)]
            assert upsert(late, workflows, given, changed=newer) == []

    thread = threading.Thread(target=write)
    with engine.begin() as db:
        upsert(db, workflows, [workflow("a", name="newest", synced_at=NOW + 2 * MINUTE)], changed=newer)
        thread.start()
        with engine.connect() as other:
            while not other.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one():
                pass
    thread.join()
    assert names(engine) == [("a", "newest", None)]


@pytest.mark.parametrize(
    ("stored", "given", "after"),
    [
        (b'{"a":1,"b":2}', b'{"b":3}', {"a": 1, "b": 3}),
        (b'{"a":1}', None, {"a": 1}),
        (None, b'{"a":1}', {"a": 1}),
        (None, None, None),
    ],
)
def test_fields_without_a_column_are_merged(engine: Engine, stored: Any, given: Any, after: Any) -> None:
    with engine.begin() as db:
        copy(db, workflows, [workflow("a", extra=stored)])
        upsert(db, workflows, [workflow("a", extra=given)], changed=always, overrides={"extra": EXTRA})
    assert one(engine, "SELECT extra FROM history.workflows") == (after,)


@pytest.mark.parametrize(
    ("stored", "given", "differs"),
    [
        ({"name": "n"}, {"name": "n"}, False),
        ({"name": "n"}, {"name": "m"}, True),
        ({"name": "n"}, {"name": None}, True),
        ({"name": None}, {"name": "n"}, True),
        ({"name": None}, {"name": None}, False),
        ({"name": "n", "extra": b'{"a":1,"b":2}'}, {"name": "n", "extra": b'{"b":2}'}, False),
        ({"name": "n", "extra": b'{"a":1,"b":2}'}, {"name": "n", "extra": b'{"b":3}'}, True),
        ({"name": "n", "extra": b'{"a":1}'}, {"name": "n", "extra": None}, False),
        ({"name": "n", "extra": None}, {"name": "n", "extra": b'{"a":1}'}, True),
        ({"name": "n", "extra": None}, {"name": "m", "extra": None}, True),
    ],
)
def test_a_row_differs_by_its_columns_and_by_the_extra_fields_it_holds(
    engine: Engine, stored: Row, given: Row, differs: bool
) -> None:
    with engine.begin() as db:
        copy(db, workflows, [workflow("a", **stored)])
        written = upsert(db, workflows, [workflow("a", **given)], changed=differing)
    assert bool(written) is differs


def test_rows_are_deleted_by_their_keys_and_no_others(engine: Engine) -> None:
    def event(execution: str, key: str, connection: str = "c") -> Row:
        return {
            "connection_id": connection,
            "execution_id": execution,
            "event_id": key,
            "node_id": "n",
            "created_at": NOW,
            "synced_at": NOW,
            "_row_hash": b"",
            "_outcome": "failed",
            "_role": "end",
        }

    with engine.begin() as db:
        stored = [event("e", "1"), event("e", "2"), event("f", "1"), event("f", "2"), event("e", "1", "d")]
        copy(db, step_events, stored)
        delete(db, step_events, [])
        delete(db, step_events, [("c", "e", "1"), ("c", "f", "2"), ("c", "g", "1")])
    found = rows(
        engine, "SELECT connection_id, execution_id, event_id FROM history.step_events ORDER BY 1, 2, 3"
    )
    assert found == [("c", "e", "2"), ("c", "f", "1"), ("d", "e", "1")]


def test_rows_with_numbers_in_their_keys_are_deleted_as_well(engine: Engine) -> None:
    with engine.begin() as db:
        db.execute(
            text(
                "INSERT INTO history.steps (connection_id, execution_id, node_id, attempt, position, outcome,"
                " event_count, synced_at, _row_hash)"
                " SELECT 'c', 'e', 'n', number, 1, 'failed', 1, now(), '' FROM generate_series(1, 3) AS number"
            )
        )
        delete(db, steps, [("c", "e", "n", 1), ("c", "e", "n", 3)])
    assert rows(engine, "SELECT attempt FROM history.steps") == [(2,)]


def test_names_and_keys_are_those_of_the_schema() -> None:
    assert name_of(step_io) == sql.Identifier("history", "step_io")
    assert key_of(step_io) == ("connection_id", "execution_id", "node_id", "attempt")


def test_no_other_driver_is_taken_for_psycopg() -> None:
    with create_engine("sqlite://").connect() as db, pytest.raises(TypeError, match="psycopg"):
        driver(db)


def refused_of(db: Connection, values: list[str]) -> list[tuple[str, str]]:
    refused: list[tuple[str, str]] = []

    def write(part: Sequence[str]) -> None:
        for value in part:
            driver(db).execute("INSERT INTO numbers VALUES (%s::text::integer)", (value,))

    db.execute(text("CREATE TEMPORARY TABLE IF NOT EXISTS numbers (value integer CHECK (value <> 7))"))
    bisect(db, values, write, lambda item, why: refused.append((item, why)))
    return refused


@pytest.mark.parametrize("place", range(5))
def test_what_cannot_be_stored_is_left_out_and_all_else_lands_in_order(engine: Engine, place: int) -> None:
    values = ["1", "2", "3", "4"]
    values.insert(place, "x")
    with engine.begin() as db:
        why = "PostgreSQL cannot store it: InvalidTextRepresentation"
        assert refused_of(db, values) == [("x", why)]
        assert db.execute(text("SELECT value FROM numbers")).scalars().all() == [1, 2, 3, 4]


def test_several_that_cannot_be_stored_are_refused_each_for_its_reason(engine: Engine) -> None:
    with engine.begin() as db:
        assert refused_of(db, ["7", "1", "x", "99999999999"]) == [
            ("7", "PostgreSQL cannot store it: CheckViolation"),
            ("x", "PostgreSQL cannot store it: InvalidTextRepresentation"),
            ("99999999999", "PostgreSQL cannot store it: NumericValueOutOfRange"),
        ]
        assert refused_of(db, []) == []


def test_a_failure_that_is_nobody_s_data_is_not_blamed_on_a_record(engine: Engine) -> None:
    def write(part: Sequence[int]) -> None:
        driver(db).execute("SELECT * FROM nowhere")

    with engine.begin() as db, pytest.raises(psycopg.errors.UndefinedTable):
        bisect(db, [1, 2], write, lambda item, why: pytest.fail("refused"))


def test_leaving_out_what_cannot_be_stored_commits_nothing_even_where_a_transaction_begins_with_it(
    engine: Engine,
) -> None:
    with suppress(ZeroDivisionError), engine.begin() as db:
        bisect(
            db,
            [workflow("a")],
            lambda part: copy(db, workflows, part),
            lambda row, why: pytest.fail("refused"),
        )
        raise ZeroDivisionError
    assert names(engine) == []


def test_times_keep_their_microseconds(engine: Engine) -> None:
    exact = NOW + timedelta(microseconds=1)
    with engine.begin() as db:
        upsert(db, workflows, [workflow("a", created_at=exact)], changed=always)
    assert one(engine, "SELECT created_at FROM history.workflows") == (exact,)
