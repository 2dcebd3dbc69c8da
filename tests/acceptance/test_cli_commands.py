"""The other commands: what they tell a person, and the one JSON document they give a program."""

from __future__ import annotations

import json
import signal
import tomllib
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine

from syncer.cli import COMMANDS
from syncer.simulator import ABSENT, PLANTED_SECRET, Outline
from syncer.simulator.platforms import simulated
from syncer.simulator.qualys_flow import Simulator, Switches
from tests.acceptance.conftest import CANARY, Cli, Counted
from tests.acceptance.service import eventually
from tests.integration.flows import FlowBench, assert_equal_to_truth
from tests.servers import temporary_folder


@pytest.fixture
def bench(engine: Engine) -> FlowBench:
    return FlowBench(engine)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(bare: Cli, name: str) -> None:
    help_ = bare.run(name, "--help")
    assert help_.code == 0
    commands = [line.split()[0] for line in help_.out.partition("Commands:\n")[2].splitlines()]
    for path in [[name, each] for each in commands] or [[name]]:
        told = bare.run(*path, "--help").out
        assert "Example" in told
        assert f"syncer {' '.join(path)}" in told.replace("--config config.toml ", "")


def test_help_and_version_need_no_configuration(bare: Cli) -> None:
    bare.env["SYNCER_CONFIG"] = "nowhere.toml"
    assert all(name in bare.run().out for name in COMMANDS)
    assert bare.run("--version").out.startswith("syncer ")


# migrate, db, config


def test_migrate_says_what_it_did_and_does_it_once(bare: Cli, empty_database_url: str) -> None:
    bare.warehouse["url"] = empty_database_url
    first, second = bare.run("migrate", "--json"), bare.run("migrate", "--json")
    assert first.document == {"changed": True, "before": None, "revision": first.document["revision"]}
    assert second.document["changed"] is False
    assert second.document["before"] == first.document["revision"]


def test_db_url_prints_the_url_and_nothing_else(bare: Cli, database_url: str) -> None:
    assert bare.run("db", "url").out == f"{database_url}\n"
    assert bare.run("db", "url", "--json").document == {"url": database_url}


def test_a_server_of_ones_own_is_not_started_or_stopped(bare: Cli) -> None:
    for what in ("start", "stop"):
        done = bare.run("db", what)
        assert done.code == 2
        assert "server of your own" in done.err


def test_the_embedded_server_starts_serves_and_stops(bare: Cli) -> None:
    with temporary_folder() as folder:
        bare.warehouse = {"url": "embedded", "data_dir": str(folder / "data")}
        before = bare.run("db", "url")
        assert (before.code, before.out) == (3, "")
        assert "syncer db start" in before.err
        try:
            assert bare.run("db", "start", "--json").document["running"] is True
            with psycopg.connect(bare.run("db", "url").out.strip()) as session:
                assert session.execute("SELECT 1").fetchone() == (1,)
        finally:
            assert bare.run("db", "stop", "--json").document == {"running": False, "was_running": True}
        assert bare.run("db", "stop").code == 0


def test_the_configuration_is_shown_without_its_secrets(cli: Cli, simulator: Simulator) -> None:
    cli.warehouse["url"] = f"postgresql://someone:{CANARY}@127.0.0.1/x"
    done = cli.run("config", "show")
    assert done.code == 0
    assert CANARY not in done.out
    assert simulator.credentials.password not in done.out
    shown = tomllib.loads(done.out)
    assert shown["connections"]["flow"]["auth"]["password"] == {"env": "FLOW_PASSWORD"}
    assert cli.run("config", "show", "--json").document == shown


# status


def test_status_of_an_empty_warehouse_says_what_to_do(bare: Cli, empty_database_url: str) -> None:
    bare.warehouse["url"] = empty_database_url
    done = bare.run("status")
    assert done.code == 0
    assert "syncer sync" in done.out
    assert bare.run("status", "--json").document["connections"] == []


def test_status_tells_how_far_each_workflow_is(cli: Cli, simulator: Simulator) -> None:
    cli.run("sync")
    (standing,) = cli.run("status", "--json").document["connections"]
    assert standing["connection"] == "flow"
    assert standing["last_run"]["state"] == "done"
    assert {each["partition"] for each in standing["partitions"]} == set(simulator.truth.workflows)
    assert sum(each["open_executions"] for each in standing["partitions"]) == 3
    assert all(each["lag_seconds"] >= 0 for each in standing["partitions"])
    told = cli.run("status").out
    assert all(workflow.name in told for workflow in simulator.truth.workflows.values())


def test_status_tells_what_stands_in_the_way(bare: Cli, db: psycopg.Connection[Any]) -> None:
    limited = Simulator(Outline(workflows=2, executions=20), switches=Switches(rate_limit=8))
    with limited.serve() as url:
        bare.connect("flow", limited, url)
        bare.run("sync", "--for", "30s")
        (standing,) = bare.run("status", "--json").document["connections"]
        told = bare.run("status").out
    assert standing["waiting_until"]
    assert sum(each["steps_due"] for each in standing["partitions"]) > 0
    assert "waiting: until" in told


def test_status_lists_lost_and_disputed_windows(cli: Cli, db: psycopg.Connection[Any]) -> None:
    cli.run("sync")
    db.execute(
        "INSERT INTO syncer.window_audit (connection_id, stream, partition, window_start, window_end, told_total,"
        " read_ids, verdict, first_seen_at, last_seen_at)"
        " SELECT 'flow', 'executions', 'w', now() - interval '2 days', now(), told, 3, verdict, now(), now()"
        " FROM (VALUES (4, 'disputed'), (NULL, 'lost')) AS found (told, verdict)"
    )
    told = cli.run("status").out
    assert "lost: w " in told
    assert "disputed, told 4, read 3" in told


# backfill


def test_a_backfill_copies_the_span_and_no_more(cli: Cli, bench: FlowBench, simulator: Simulator) -> None:
    done = cli.run("backfill", "--since", "20d", "--until", "10d", "--json")
    assert done.code == 0, done.err
    (since, until) = bench.rows("SELECT DISTINCT since, until FROM syncer.backfill_windows")[0]
    span = since.timestamp() * 1000, until.timestamp() * 1000
    wanted = {e.id for e in simulator.truth.executions.values() if span[0] <= e.created_ms <= span[1]}
    assert {row[0] for row in bench.rows("SELECT execution_id FROM history.executions")} == wanted
    assert wanted
    assert done.document["command"] == "backfill"


def test_an_interrupted_backfill_goes_on_where_it_was(
    cli: Cli, bench: FlowBench, simulator: Simulator
) -> None:
    running = cli.start("backfill", "--since", "29d", "--until", "1d")
    steps_read = "SELECT count(*) FROM history.executions WHERE steps_state = 'read'"

    def kill() -> None:
        eventually(lambda: bench.value(steps_read) > 0)  # steps are committed in bundles
        running.kill()

    Counted(simulator, 40, kill)
    running.wait()
    simulator.fault = None
    read_before = bench.value(steps_read)
    simulator.clear_requests()
    assert cli.run("backfill", "--since", "29d", "--until", "1d").code == 0
    total = bench.value("SELECT count(*) FROM history.executions")
    assert read_before > 0
    assert simulator.counts["steps"] == total - read_before
    assert bench.rows("SELECT DISTINCT state FROM syncer.backfill_windows") == [("done",)]


def test_a_dry_run_tells_the_cost_and_copies_nothing(
    cli: Cli, bench: FlowBench, simulator: Simulator
) -> None:
    cli.connections["flow"]["requests_per_second"] = 2
    done = cli.run("backfill", "--since", "45d", "--dry-run", "--json")
    assert done.code == 0, done.err
    (plan,) = done.document["connections"]
    assert plan["executions"] == len(simulator.truth.executions)
    assert plan["executions_by_workflow"] == dict.fromkeys(simulator.truth.workflows, 30)
    assert plan["requests"] == plan["list_requests"] + plan["step_requests"]
    assert plan["hours"] == pytest.approx(plan["requests"] / 7200)
    assert plan["unserved"]["since"] < plan["served"]["since"] == plan["unserved"]["until"]
    assert bench.value("SELECT count(*) FROM history.executions") == 0
    told = cli.run("backfill", "--since", "45d", "--dry-run").out
    assert "no longer serves" in told
    assert "an hour" in told


def test_a_dry_run_of_a_source_that_is_away_is_an_error(cli: Cli) -> None:
    cli.connections["flow"]["base_url"] = "http://127.0.0.1:1"
    done = cli.run("backfill", "--since", "2d", "--dry-run", "--json")
    assert done.code == 3
    assert "cannot reach" in done.document["connections"][0]["error"]["message"]


# quarantine


def mend_kept(db: psycopg.Connection[Any], field: str, value: object) -> None:
    """Change a field of the one record kept: as good as a version of syncer that understands what was sent."""
    row = db.execute("SELECT raw FROM syncer.quarantine").fetchone()
    assert row is not None
    db.execute(
        "UPDATE syncer.quarantine SET raw = %s", (json.dumps(json.loads(row[0]) | {field: value}).encode(),)
    )


def test_a_spoiled_record_is_listed_shown_and_resolved_by_a_good_copy(
    cli: Cli, bench: FlowBench, simulator: Simulator
) -> None:
    spoiled = next(iter(simulator.truth.executions))
    simulator.spoil(spoiled, "createdAt", None)
    assert "1 record put aside" in cli.run("sync").out
    (record,) = cli.run("quarantine", "list", "--json").document["records"]
    assert (record["connection"], record["stream"], record["identity"]) == ("flow", "executions", spoiled)
    assert "createdAt" in record["reason"]
    assert record["record_id"][:10] in cli.run("quarantine", "list").out
    shown = cli.run("quarantine", "show", record["record_id"][:8])
    assert spoiled in shown.out
    simulator.mend(spoiled)
    assert cli.run("backfill", "--since", "30d").code == 0
    assert cli.run("quarantine", "list", "--json").document["records"] == []
    assert_equal_to_truth(bench, simulator)


def test_a_record_that_is_still_unusable_stays_and_leaves_with_1(cli: Cli, simulator: Simulator) -> None:
    simulator.spoil(next(iter(simulator.truth.executions)), "workflow", ABSENT)
    cli.run("sync")
    done = cli.run("quarantine", "replay", "--all", "--json")
    assert done.code == 1
    assert done.document["resolved"] == []
    assert "workflow" in done.document["remaining"][0]["reason"]


def test_a_record_that_can_be_used_by_now_lands_when_it_is_replayed(
    cli: Cli, bench: FlowBench, simulator: Simulator, db: psycopg.Connection[Any]
) -> None:
    spoiled = next(iter(simulator.truth.executions.values()))
    simulator.spoil(spoiled.id, "createdAt", "once unreadable")
    cli.run("sync")
    mend_kept(db, "createdAt", spoiled.created_ms)
    done = cli.run("quarantine", "replay", "--all")
    assert done.code == 0, done.out
    assert "1 record resolved" in done.out
    assert bench.value("SELECT count(*) FROM syncer.quarantine WHERE resolved_at IS NULL") == 0
    simulator.mend(spoiled.id)
    assert cli.run("sync").code == 0
    assert_equal_to_truth(bench, simulator)


def test_a_workflow_put_aside_lands_when_it_is_replayed(
    cli: Cli, bench: FlowBench, simulator: Simulator, db: psycopg.Connection[Any]
) -> None:
    spoiled = next(iter(simulator.truth.workflows))
    simulator.spoil(spoiled, None, {"name": "kept as it came"})
    cli.run("sync")
    mend_kept(db, "id", spoiled)
    assert cli.run("quarantine", "replay", "--all").code == 0
    stored = bench.rows(f"SELECT name FROM history.workflows WHERE workflow_id = '{spoiled}'")
    assert stored == [("kept as it came",)]


def test_steps_put_aside_are_read_again_after_a_replay(
    cli: Cli, bench: FlowBench, simulator: Simulator
) -> None:
    event = next(iter(simulator.truth.events))
    simulator.spoil(event.id, "nodeId", None)
    assert cli.run("sync").code == 0
    (record,) = cli.run("quarantine", "list", "--json").document["records"]
    assert record["stream"] == "steps"
    simulator.mend(event.id)
    assert cli.run("quarantine", "replay", record["record_id"][:6]).code == 0
    assert cli.run("sync").code == 0
    assert_equal_to_truth(bench, simulator)


# secrets, and text that would steer a terminal


def test_no_output_and_no_row_holds_a_secret(
    cli: Cli, simulator: Simulator, db: psycopg.Connection[Any]
) -> None:
    simulator.spoil(next(iter(simulator.truth.executions)), "createdAt", None)
    cli.connect("away", simulator, "http://127.0.0.1:1")
    secrets = (simulator.credentials.password, PLANTED_SECRET, db.info.password)
    for command in (
        ["--debug", "sync"],
        ["sync", "--json"],
        ["status", "--json"],
        ["backfill", "--since", "2d", "--dry-run"],
        ["quarantine", "list"],
        ["config", "show"],
    ):
        done = cli.run(*command)
        for secret in filter(None, secrets):
            assert secret not in done.out, command
            assert secret not in done.err, command
    runs = json.dumps(db.execute("SELECT row_to_json(r) FROM syncer.runs r").fetchall())
    assert not any(secret in runs for secret in filter(None, secrets))


def test_text_of_the_source_cannot_steer_the_terminal(cli: Cli, simulator: Simulator) -> None:
    workflow = next(iter(simulator.truth.workflows))
    simulator.spoil(workflow, "name", "\x1b]0;owned\x07[red]x[/red]")
    cli.run("sync")
    told = cli.run("status").out
    assert "\x1b" not in told
    assert "[red]x[/red]" in told


# demo


def test_the_demo_shows_everything_and_leaves_nothing_behind(bare: Cli, tmp_path: Path) -> None:
    with temporary_folder() as folder:
        folder.chmod(0o777)
        bare.env |= {"TMPDIR": str(folder), "SYNCER_CONFIG": "nowhere.toml", "HOME": "/nonexistent"}
        done = bare.run("demo", "--executions", "20", "--json")
        assert done.code == 0, done.err
        assert done.document["tables"]["executions"] == 100
        assert done.document["connections"][0]["state"] == "done"
        assert len(done.document["queries"]) >= 4
        assert all(query["rows"] for query in done.document["queries"])
        assert list(folder.iterdir()) == []
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(done.document["url"])


def test_a_demo_of_all_platforms_answers_one_query_over_all_of_them(bare: Cli) -> None:
    names = list(simulated())
    with temporary_folder() as folder:
        folder.chmod(0o777)
        bare.env |= {"TMPDIR": str(folder), "HOME": "/nonexistent"}
        done = bare.run("demo", "--platform", "all", "--executions", "5", "--json")
    assert done.code == 0, done.err
    assert [each["connection"] for each in done.document["connections"]] == names
    assert done.document["tables"]["connections"] == len(names)
    (over_all,) = (each for each in done.document["queries"] if "GROUP BY platform" in each["sql"])
    assert [(row["platform"], row["runs"]) for row in over_all["rows"]] == [(name, 25) for name in names]


def test_a_demo_that_is_kept_serves_until_it_is_interrupted(bare: Cli) -> None:
    with temporary_folder() as folder:
        folder.chmod(0o777)
        bare.env["TMPDIR"] = str(folder)
        running = bare.start("demo", "--executions", "10", "--keep")
        lines = running.lines()
        url = next(
            line.split("'")[1] if "'" in line else line.split()[1]
            for line in lines
            if line.startswith("psql ")
        )
        with psycopg.connect(url) as session:
            assert session.execute("SELECT count(*) FROM history.executions").fetchone() == (50,)
        running.signal(signal.SIGINT)
        assert running.wait().code == 0
        assert list(folder.iterdir()) == []


def test_an_interrupted_demo_leaves_nothing_behind_either(bare: Cli) -> None:
    with temporary_folder() as folder:
        folder.chmod(0o777)
        bare.env["TMPDIR"] = str(folder)
        running = bare.start("demo", "--executions", "500")
        for line in running.lines():
            if line.startswith("syncer sync"):
                break
        running.signal(signal.SIGINT)
        assert running.wait().code == 130
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("command", [["migrate"], ["db", "url"], ["quarantine", "list"], ["status"]])
def test_what_only_needs_the_warehouse_bears_a_wrong_connection(cli: Cli, command: list[str]) -> None:
    cli.connections["flow"]["poll"] = "5 minutes"
    done = cli.run(*command)
    assert done.code == 0, done.err
