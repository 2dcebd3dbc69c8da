"""`syncer grant` as an owner uses it: what a role may read then, what it may not, and what it is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from tests.acceptance.conftest import Cli


@pytest.fixture
def role(db: psycopg.Connection[Any]) -> Iterator[str]:
    """A role that has no rights, whose name needs quotes."""
    name = f"BI {uuid4().hex}"
    db.execute(f'CREATE ROLE "{name}" LOGIN'.encode())
    yield name
    db.execute(f'DROP OWNED BY "{name}"'.encode())
    db.execute(f'DROP ROLE "{name}"'.encode())


def may(db: psycopg.Connection[Any], role: str, statement: str) -> bool:
    """Whether the role gets an answer."""
    db.execute(f'SET ROLE "{role}"'.encode())
    try:
        db.execute(statement.encode())
    except InsufficientPrivilege:
        return False
    finally:
        db.execute("RESET ROLE")
    return True


def test_a_role_reads_history_and_inputs_and_outputs_only_with_payloads(
    cli: Cli, db: psycopg.Connection[Any], role: str
) -> None:
    assert cli.run("sync").code == 0
    done = cli.run("grant", role)
    assert done.code == 0, done.err
    assert "but no inputs and outputs" in done.out
    assert "rights of its own" not in done.err
    payloads = "SELECT input FROM history.step_io"
    assert may(db, role, "SELECT * FROM history.executions")
    assert may(db, role, "SELECT * FROM history.workflow_daily")
    assert not may(db, role, payloads)
    assert not may(db, role, "SELECT * FROM syncer.watermarks")
    for statement in (
        "DELETE FROM history.steps",
        "UPDATE history.steps SET message = ''",
        "TRUNCATE history.steps",
    ):
        assert not may(db, role, statement)
    with_payloads = cli.run("grant", role, "--payloads", "--json").document
    assert with_payloads["payloads"] is True
    assert "history.step_io" in with_payloads["reads"]
    assert may(db, role, payloads)
    assert "history.step_io" not in cli.run("grant", role, "--json").document["reads"]
    assert not may(db, role, payloads)


def test_a_role_that_is_not_there_is_named_with_what_to_do(cli: Cli) -> None:
    done = cli.run("grant", "nobody's")
    assert done.code == 3
    assert "the warehouse has no role" in done.err
    assert "CREATE ROLE" in done.err


def test_a_role_that_may_do_more_by_rights_of_its_own_is_told_apart(
    cli: Cli, db: psycopg.Connection[Any], role: str
) -> None:
    db.execute(f'GRANT pg_write_all_data TO "{role}"'.encode())
    done = cli.run("grant", role)
    assert done.code == 0
    assert "may write history" in done.err
    assert cli.run("grant", role, "--json").document["more"]
