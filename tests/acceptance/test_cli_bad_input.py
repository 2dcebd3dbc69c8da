"""What a person did wrong: a sentence that says what, a hint that says how to mend it, and the right exit code."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from syncer.simulator.qualys_flow import Simulator
from tests.acceptance.conftest import CANARY, Cli
from tests.nursery import Done

NOBODY = "http://127.0.0.1:1"
AWAY = f"postgresql://someone:{CANARY}@127.0.0.1:1/warehouse"


def assert_said(done: Done, code: int, *words: str) -> None:
    """The exit code, and every word in what was said; never a traceback or a secret."""
    assert done.code == code, done.err
    for word in words:
        assert word in done.err
    assert "error: " in done.err
    for text in (done.out, done.err):
        assert "Traceback" not in text
        assert CANARY not in text


def test_a_misspelt_key_is_named_with_the_one_that_is_meant(cli: Cli) -> None:
    cli.connections["flow"]["page_sise"] = 10
    assert_said(cli.run("sync"), 2, "connections.flow.page_sise", "did you mean 'page_size'?")


def test_a_wrong_type_is_named_with_what_would_be_right(cli: Cli) -> None:
    cli.connections["flow"]["page_size"] = "10"
    assert_said(cli.run("sync"), 2, "connections.flow.page_size", "whole number, without quotes")


def test_all_problems_are_told_at_once(cli: Cli) -> None:
    cli.connections["flow"] |= {"page_size": "10", "pol": "5m"}
    assert_said(cli.run("sync"), 2, "connections.flow.page_size", "connections.flow.pol")


def test_a_missing_secret_is_named(cli: Cli) -> None:
    del cli.env["FLOW_PASSWORD"]
    assert_said(cli.run("sync"), 2, "connections.flow.auth.password", "FLOW_PASSWORD is not set")


def test_an_unknown_platform_is_refused(cli: Cli) -> None:
    cli.connections["flow"]["platform"] = "qualys"
    assert_said(cli.run("sync"), 2, "connections.flow.platform", "qualys_flow")


@pytest.mark.parametrize("arguments", [["sync"], ["--config", "other.toml", "sync"]])
def test_a_missing_file_is_named_with_how_to_get_one(cli: Cli, arguments: list[str]) -> None:
    cli.env["SYNCER_CONFIG"] = "nowhere.toml"
    assert_said(cli.run(*arguments), 2, "there is no file", "syncer init")


def test_a_configuration_without_connections_says_so(bare: Cli) -> None:
    assert_said(bare.run("sync"), 2, "no connection is configured", "[connections.NAME]")


def test_an_unknown_connection_is_answered_with_those_known(cli: Cli) -> None:
    assert_said(cli.run("sync", "--connection", "prod"), 2, "no connection is called prod", "known: flow")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sync", "--for", "soon"], ["'--for'", "not a duration"]),
        (["sync", "--for", "0s"], ["'--for'", "longer than nothing"]),
        (["backfill"], ["--since"]),
        (["backfill", "--since", "yesterday"], ["'--since'", "2026-10-01", "7d"]),
        (["backfill", "--since", "2d", "--until", "3d"], ["is not before --until"]),
        (["backfill", "--since", "2999-01-01"], ["is not before now"]),
        (["quarantine", "replay"], ["--all"]),
        (["quarantine", "show", "abc"], ["no record's id begins with abc", "quarantine list"]),
        (["status", "--watch"], ["needs a terminal"]),
        (["sink"], ["sink", "syncer --help"]),
        (["sync", "--config", "x"], ["before the command"]),
    ],
)
def test_a_wrong_command_line_is_answered_with_what_would_be_right(
    cli: Cli, arguments: list[str], words: list[str]
) -> None:
    assert_said(cli.run(*arguments), 2, "hint: ", *words)


def test_an_unreachable_gateway_is_named(cli: Cli) -> None:
    cli.connections["flow"]["base_url"] = NOBODY
    done = cli.run("sync")
    assert_said(done, 3, f"cannot reach {NOBODY}: connection refused", "check base_url")


def test_refused_credentials_name_the_keys_to_check_and_not_their_values(cli: Cli) -> None:
    cli.env["FLOW_PASSWORD"] = CANARY
    assert_said(cli.run("sync"), 3, "refused the credentials", "auth.password")


def test_a_missing_right_names_what_the_role_needs(cli: Cli, simulator: Simulator) -> None:
    from syncer.simulator import Answer, Request

    def forbid(request: Request, answer: Answer) -> Answer:
        return answer if "/auth" in request.path else Answer(403)

    simulator.fault = forbid
    assert_said(cli.run("sync"), 3, "(403)", "role needs API Access")


@pytest.mark.parametrize(
    "arguments", [["sync"], ["migrate"], ["status"], ["backfill", "--since", "2d"], ["quarantine", "list"]]
)
def test_a_warehouse_that_is_down_is_named(cli: Cli, arguments: list[str]) -> None:
    cli.warehouse["url"] = AWAY
    assert_said(cli.run(*arguments), 3, "PostgreSQL at 127.0.0.1:1", "warehouse.url")


def test_an_address_that_is_no_warehouse_is_refused_without_being_shown(cli: Cli) -> None:
    cli.warehouse["url"] = f"mysql://someone:{CANARY}@127.0.0.1/x"
    assert_said(cli.run("sync"), 2, "warehouse.url", "postgresql://")


def test_a_newer_schema_is_left_alone(cli: Cli, db: psycopg.Connection[Any]) -> None:
    db.execute("UPDATE syncer.alembic_version SET version_num = '9999'")
    for command in ("sync", "migrate", "status"):
        assert_said(cli.run(command), 3, "newer than this version knows", "upgrade syncer")


def test_an_older_schema_is_not_migrated_where_that_is_turned_off(
    bare: Cli, empty_database_url: str, simulator: Simulator, url: str
) -> None:
    bare.warehouse |= {"url": empty_database_url, "auto_migrate": False}
    bare.connect("flow", simulator, url)
    assert_said(bare.run("sync"), 3, "no schema of syncer yet", "syncer migrate")
    assert bare.run("migrate").code == 0
    assert bare.run("sync").code == 0


def test_a_name_that_stands_for_another_tenant_is_refused(cli: Cli, simulator: Simulator) -> None:
    assert cli.run("sync").code == 0
    with simulator.serve() as elsewhere:
        cli.connections["flow"]["base_url"] = elsewhere
        done = cli.run("sync")
    assert_said(done, 2, "connections.flow.base_url", "two tenants must not be mixed")


def test_an_error_is_part_of_the_document_where_one_is_expected(cli: Cli) -> None:
    cli.warehouse["url"] = AWAY
    done = cli.run("status", "--json")
    assert_said(done, 3)
    assert done.document["error"]["kind"] == "WarehouseError"
    assert "warehouse.url" in done.document["error"]["hint"]
