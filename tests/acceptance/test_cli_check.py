"""`syncer check`: each thing that can be wrong is named, with what to do; and nothing is changed by looking."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from syncer.config import parse_duration
from syncer.simulator import Answer, Outline, Request
from syncer.simulator.clock import Clock
from syncer.simulator.qualys_flow import Simulator, Switches
from tests.acceptance.conftest import CANARY, Cli
from tests.nursery import Done
from tests.servers import temporary_folder

NOBODY = "http://127.0.0.1:1"
AWAY = f"postgresql://someone:{CANARY}@127.0.0.1:1/warehouse"
SMALL = Outline(workflows=3, executions=30)

Row = dict[str, Any]


def findings(done: Done, part: str = "flow") -> dict[str, Row]:
    """What was found about a part, by subject; the worst of a subject wins."""
    document = done.document
    parts = {each["name"]: each for each in [document["warehouse"], document["configuration"]]}
    parts |= {each["name"]: each for each in document["connections"]}
    rank = ["ok", "note", "skipped", "warning", "failed"]
    found = sorted(parts[part]["findings"], key=lambda each: rank.index(each["state"]))
    return {each["subject"]: each for each in found}


def states(done: Done, part: str = "flow") -> dict[str, str]:
    return {subject: each["state"] for subject, each in findings(done, part).items()}


@pytest.fixture
def serve(bare: Cli) -> Iterator[Callable[..., Simulator]]:
    """Starts a simulator as told and connects `flow` to it."""
    serving = []

    def start(outline: Outline = SMALL, *, clock: Clock | None = None, **changes: Any) -> Simulator:
        switches = {key: changes.pop(key) for key in list(changes) if key in Switches.__slots__}
        simulator = Simulator(outline, switches=Switches(**switches), clock=clock)
        context = simulator.serve()
        bare.connect("flow", simulator, context.__enter__(), **changes)
        serving.append(context)
        return simulator

    yield start
    for context in serving:
        context.__exit__(None, None, None)


# Where all is well


def test_where_all_is_well_everything_is_marked_so_and_little_is_asked(
    cli: Cli, simulator: Simulator
) -> None:
    done = cli.run("check", "--json")
    assert done.code == done.document["exit_code"] == 0
    wanted = {"sign in", "workflows", "definition", "executions", "order", "window", "execution", "steps"}
    assert wanted <= {subject for subject, state in states(done).items() if state == "ok"}
    assert "failed" not in {*states(done).values(), *states(done, "warehouse").values()}
    (connection,) = done.document["connections"]
    assert connection["requests"] == len(simulator.requests) <= 12


def test_looking_leaves_the_warehouse_as_it_is(bare: Cli, cli: Cli, db: psycopg.Connection[Any]) -> None:
    cli.run("check")
    tables = db.execute(
        "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('history', 'syncer')"
        " AND tablename <> 'alembic_version'"
    ).fetchall()
    assert len(tables) > 10
    assert [name for (name,) in tables if db.execute(f"SELECT 1 FROM {name}".encode()).fetchone()] == []


def test_only_what_a_sync_sends_is_asked(cli: Cli, simulator: Simulator) -> None:
    cli.run("check")
    assert {seen.method for seen in simulator.requests if seen.endpoint != "auth"} == {"GET"}
    assert {seen.status for seen in simulator.requests} <= {200, 201}


def test_a_person_reads_a_line_per_finding_under_the_name_of_each_connection(cli: Cli) -> None:
    done = cli.run("check")
    lines = done.out.splitlines()
    assert done.err == ""
    assert lines[0] == "configuration"
    assert any(line.startswith("flow  qualys_flow  http://127.0.0.1") for line in lines)
    assert any(line.split()[:2] == ["✓", "workflows"] and "3 workflows" in line for line in lines)
    assert "Nothing is wrong" in lines[-1]
    assert "requests made" in lines[-1]


def test_what_cannot_be_printed_is_marked_in_ascii(cli: Cli) -> None:
    cli.env |= {"PYTHONIOENCODING": "ascii", "LANG": "C"}
    cli.connections["flow"]["base_url"] = NOBODY
    told = cli.run("check").out
    assert told.isascii()
    assert "  x reached" in told
    assert "\\u" not in told


def test_text_of_the_source_cannot_steer_the_terminal(cli: Cli, simulator: Simulator) -> None:
    for workflow in simulator.truth.workflows:
        simulator.spoil(workflow, "name", "\x1b]0;owned\x07[red]x[/red]")
    told = cli.run("check").out
    assert "\x1b" not in told
    assert "[red]x[/red]" in told


# What a source does otherwise


@pytest.mark.parametrize(
    ("switch", "subject", "state", "words"),
    [
        ({"honour_order": False}, "order", "warning", "not ascending"),
        ({"honour_start_at": False}, "window", "warning", "the start of a window is not honoured"),
        ({"honour_end_at": False}, "window", "warning", "the end of a window is not honoured"),
        ({"end_at": "exclusive"}, "window", "ok", "honoured"),
        ({"total_as": "absent"}, "totals", "note", "not told"),
        ({"list_has_hints": False}, "hints", "note", "does not tell what ran"),
        ({"list_has_hints": True}, "hints", "ok", "tells what ran"),
        ({"list_has_definition": False}, "definition", "ok", "takes a request for each"),
        ({"include_data": "absent"}, "steps", "warning", "requests for an execution"),
        ({"include_data": "absent"}, "payloads", "ok", "a request per node"),
        ({"include_data": "plain"}, "payloads", "ok", "with the list of steps"),
        ({"paging": "limit_page"}, "paging", "ok", "limit and page"),
        ({"date_header": False}, "clock", "note", "tells no time"),
        ({"rate_limit": 300}, "limits", "warning", "2 requests at once, max_concurrency is 4"),
        ({"rate_limit": 300, "rate_headers": False}, "limits", "note", "tells none"),
        ({"aged_steps": "404"}, "steps", "ok", "1 request"),
    ],
)
def test_how_a_source_answers_is_found_out_by_asking(
    bare: Cli, serve: Callable[..., Simulator], switch: Row, subject: str, state: str, words: str
) -> None:
    serve(**switch)
    done = bare.run("check", "--json")
    found = findings(done)[subject]
    assert (found["state"], done.code) == (state, 0), found
    assert words in found["finding"]
    assert state != "warning" or found["hint"]


@pytest.mark.parametrize(
    ("days", "switch", "horizon", "state", "days_told"),
    [
        (29.0, {}, "30d", "ok", None),
        (59.0, {"horizon_days": 60.0}, "30d", "warning", range(56, 61)),
        (29.0, {}, "7d", "warning", range(26, 31)),
        (29.0, {}, "60d", "warning", range(27, 31)),
        (29.0, {"horizon_reaction": "400"}, "60d", "warning", range(30, 31)),
        (29.0, {"horizon_reaction": "400"}, "30d", "ok", None),
    ],
)
def test_the_real_horizon_is_compared_with_the_configured_one(
    bare: Cli,
    serve: Callable[..., Simulator],
    days: float,
    switch: Row,
    horizon: str,
    state: str,
    days_told: range | None,
) -> None:
    simulator = serve(Outline(workflows=3, executions=200, days=days), horizon=horizon, **switch)
    done = bare.run("check", "--json")
    found = findings(done)["horizon"]
    assert (found["state"], done.code) == (state, 0), found
    if days_told is None:
        assert found["hint"] is None
    else:
        (told,) = re.findall(r'horizon = "(\w+)"', found["hint"])
        assert parse_duration(told).days in days_told
    assert len(simulator.requests) <= 16


def test_a_young_tenant_is_not_taken_for_a_short_horizon(bare: Cli, serve: Callable[..., Simulator]) -> None:
    serve(Outline(workflows=1, executions=30, days=5.0))
    found = findings(bare.run("check", "--json"))["horizon"]
    assert found["state"] == "note"
    assert "nothing ran before" in found["finding"]


def test_a_tenant_without_executions_is_probed_as_far_as_that_goes(
    bare: Cli, serve: Callable[..., Simulator]
) -> None:
    serve(Outline(workflows=2, executions=0, running=0))
    done = bare.run("check", "--json")
    assert done.code == 0
    assert findings(done)["executions"]["state"] == "note"
    assert "order" not in findings(done)


def test_a_tenant_that_shows_no_workflow_says_that_rights_may_be_narrow(
    bare: Cli, serve: Callable[..., Simulator]
) -> None:
    serve(Outline(workflows=0))
    found = findings(bare.run("check", "--json"))["workflows"]
    assert found["state"] == "warning"
    assert "rights" in found["hint"]


def test_what_is_not_copied_is_not_probed(cli: Cli, simulator: Simulator) -> None:
    cli.connections["flow"]["steps"] = False
    assert findings(cli.run("check", "--json"))["steps"]["state"] == "skipped"
    assert simulator.counts["steps"] == 0


def test_patterns_that_name_nothing_are_named(cli: Cli, simulator: Simulator) -> None:
    name = next(iter(simulator.truth.workflows.values())).name
    cli.connections["flow"]["workflows"] = [name, "Nobody *"]
    done = cli.run("check", "--json")
    assert "'Nobody *'" in findings(done)["workflows"]["finding"]
    (connection,) = done.document["connections"]
    assert any("1 chosen" in each["finding"] for each in connection["findings"])


def test_limits_are_told_with_what_they_come_to(bare: Cli, serve: Callable[..., Simulator]) -> None:
    serve(rate_limit=300, max_concurrency=2)
    done = bare.run("check", "--json")
    assert "300 requests in 1h" in findings(done)["limits"]["finding"]
    assert "executions an hour" in findings(done)["pace"]["finding"]


def test_polling_that_exceeds_the_limit_is_wrong(bare: Cli, serve: Callable[..., Simulator]) -> None:
    serve(rate_limit=100, list_has_hints=False, poll="1m")
    done = bare.run("check", "--json")
    assert done.code == 1
    assert findings(done)["pace"]["state"] == "failed"
    assert "raise poll" in findings(done)["pace"]["hint"]


def test_a_poll_by_cron_is_counted_too(bare: Cli, serve: Callable[..., Simulator]) -> None:
    serve(poll="*/15 * * * *", list_has_hints=False)
    assert "16 requests an hour" in findings(bare.run("check", "--json"))["hints"]["finding"]


@pytest.mark.parametrize(("hours", "word"), [(3, "behind"), (-3, "ahead of")])
def test_a_clock_that_is_wrong_is_told_and_loses_nothing(
    bare: Cli, serve: Callable[..., Simulator], hours: int, word: str
) -> None:
    serve(clock=Clock(datetime.now(UTC) + timedelta(hours=hours)))
    done = bare.run("check", "--json")
    assert done.code == 0
    found = findings(done)["clock"]
    assert found["state"] == "warning"
    assert word in found["finding"]
    assert "nothing is lost" in found["hint"]


# What is wrong at the source


def refusing(endpoint: str, status: int = 403) -> Callable[[Request, Answer], Answer]:
    def fault(request: Request, answer: Answer) -> Answer:
        return Answer(status) if request.path.endswith(endpoint) else answer

    return fault


def test_a_right_that_is_missing_is_named_and_the_rest_is_probed(cli: Cli, simulator: Simulator) -> None:
    simulator.fault = refusing("/steps")
    done = cli.run("check", "--json")
    assert done.code == 1
    steps = findings(done)["steps"]
    assert steps["state"] == "failed"
    assert "does not allow to read steps (403)" in steps["finding"]
    assert "role" in steps["hint"]
    assert {"executions", "execution", "horizon", "clock"} <= {
        subject for subject, state in states(done).items() if state == "ok"
    }


def test_without_the_right_to_list_workflows_nothing_can_be_done(cli: Cli, simulator: Simulator) -> None:
    simulator.fault = refusing("/workflows")
    done = cli.run("check", "--json")
    assert done.code == 3
    assert findings(done)["workflows"]["state"] == "failed"
    assert "sign in" not in findings(done)


def test_refused_credentials_are_told_without_showing_them(cli: Cli) -> None:
    cli.env["FLOW_PASSWORD"] = CANARY
    done = cli.run("check")
    assert done.code == 3
    assert "✗ sign in" in done.out
    assert "-> check auth.username and auth.password" in done.out
    assert CANARY not in done.out + done.err


@pytest.mark.parametrize(
    ("url", "words"), [(NOBODY, "connection refused"), ("https://gateway.invalid", "its name is unknown")]
)
def test_a_gateway_that_is_away_keeps_the_warehouse_from_nothing(cli: Cli, url: str, words: str) -> None:
    cli.connections["flow"]["base_url"] = url
    done = cli.run("check", "--json")
    assert done.code == 3
    assert words in findings(done)["reached"]["finding"]
    assert "base_url" in findings(done)["reached"]["hint"]
    assert set(states(done, "warehouse").values()) == {"ok"}


def test_one_connection_that_is_away_leaves_with_1(cli: Cli, simulator: Simulator) -> None:
    cli.connect("away", simulator, NOBODY)
    done = cli.run("check", "--json")
    assert done.code == 1
    assert states(done, "away")["reached"] == "failed"
    assert states(done)["workflows"] == "ok"
    assert cli.run("check", "--connection", "flow").code == 0


def test_answers_that_make_no_sense_are_told(cli: Cli, simulator: Simulator) -> None:
    def page(request: Request, answer: Answer) -> Answer:
        is_list = request.path.endswith("/executions")
        return Answer(200, b"<html>maintenance</html>", "text/html") if is_list else answer

    simulator.fault = page
    done = cli.run("check", "--json")
    assert done.code == 1
    assert "something else (200, text/html)" in findings(done)["executions"]["finding"]


# Waiting


def test_while_the_source_wants_us_to_wait_nothing_is_asked(
    cli: Cli, simulator: Simulator, db: psycopg.Connection[Any]
) -> None:
    db.execute(
        "INSERT INTO syncer.rate_limits (connection_id, not_before, reason, updated_at)"
        " VALUES ('flow', now() + interval '1 hour', 'it said so', now())"
    )
    done = cli.run("check", "--json")
    assert done.code == 0
    assert "it said so" in findings(done)["waiting"]["finding"]
    assert "until" in findings(done)["waiting"]["finding"]
    assert simulator.requests == []


def test_a_limit_met_while_looking_is_heeded_by_the_next_command(
    bare: Cli, serve: Callable[..., Simulator]
) -> None:
    simulator = serve(rate_limit=3)
    first, second = bare.run("check", "--json"), bare.run("check", "--json")
    assert states(first)["waiting"] == states(second)["waiting"] == "warning"
    assert second.document["connections"][0]["requests"] == 0
    assert simulator.impolite == 0


# The configuration


def test_a_connection_that_is_misconfigured_does_not_hide_the_others(cli: Cli, simulator: Simulator) -> None:
    cli.connect("bad", simulator, "ftp://x", pol="5m")
    done = cli.run("check", "--json")
    assert done.code == 1
    found = next(each for each in done.document["connections"] if each["name"] == "bad")["findings"]
    told = " ".join(each["finding"] for each in found)
    assert "did you mean 'poll'?" in told
    assert "connections.bad.base_url" in told
    assert states(done)["workflows"] == "ok"


@pytest.mark.parametrize("arguments", [[], ["--connection", "flow"]])
def test_a_configuration_that_cannot_be_used_at_all_is_an_error(cli: Cli, arguments: list[str]) -> None:
    cli.connections["flow"]["pol"] = "5m"
    done = cli.run("check", *arguments)
    assert done.code == 2
    assert "connections.flow.pol" in done.err


def test_only_a_misconfigured_connection_asked_for_is_an_error(cli: Cli, simulator: Simulator) -> None:
    cli.connect("bad", simulator, "ftp://x")
    assert cli.run("check", "--connection", "bad").code == 2
    assert cli.run("check", "--connection", "nobody").code == 2


def test_secrets_that_others_may_read_are_told(cli: Cli, simulator: Simulator) -> None:
    auth = cli.connections["flow"]["auth"]
    assert isinstance(auth, dict)
    cli.write()
    cli.file.chmod(0o644)
    auth["password"] = simulator.credentials.password
    open_file = cli.run("check", "--json")
    cli.file.chmod(0o600)
    closed_file = cli.run("check", "--json")
    assert states(open_file, "configuration")["secrets"] == "warning"
    assert "secrets" not in states(closed_file, "configuration")
    assert simulator.credentials.password not in open_file.out


# The warehouse


def test_a_warehouse_that_is_away_does_not_keep_the_sources_from_being_probed(cli: Cli) -> None:
    cli.warehouse["url"] = AWAY
    done = cli.run("check", "--json")
    assert done.code == 3
    assert "cannot be reached" in findings(done, "warehouse")["reached"]["finding"]
    assert states(done)["steps"] == "ok"
    assert CANARY not in done.out + done.err


def test_a_missing_schema_is_told_and_not_made(cli: Cli, empty_database_url: str) -> None:
    cli.warehouse["url"] = empty_database_url
    done = cli.run("check", "--json")
    assert done.code == 0
    assert findings(done, "warehouse")["schema"]["state"] == "note"
    with psycopg.connect(empty_database_url) as db:
        assert db.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'history'").fetchone() is None
    cli.warehouse["auto_migrate"] = False
    done = cli.run("check", "--json")
    assert done.code == 3
    assert "syncer migrate" in findings(done, "warehouse")["schema"]["hint"]


def test_a_schema_of_a_newer_version_is_refused(cli: Cli, db: psycopg.Connection[Any]) -> None:
    db.execute("UPDATE syncer.alembic_version SET version_num = '9999'")
    done = cli.run("check", "--json")
    assert done.code == 3
    assert "upgrade syncer" in findings(done, "warehouse")["schema"]["hint"]


@contextmanager
def role(db: psycopg.Connection[Any], name: str) -> Iterator[str]:
    """A role without rights, and the warehouse's URL for it."""
    db.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{CANARY}'".encode())
    try:
        info = db.info
        yield f"postgresql://{name}:{CANARY}@{info.host}:{info.port}/{info.dbname}"
    finally:
        db.execute(f"DROP OWNED BY {name}; DROP ROLE {name}".encode())


def test_rights_that_are_missing_are_named(cli: Cli, db: psycopg.Connection[Any]) -> None:
    with role(db, f"check_{db.info.backend_pid}") as url:
        cli.warehouse["url"] = url
        done = cli.run("check", "--json")
        assert done.code == 3
        assert states(done, "warehouse")["rights"] == "failed"
        assert "history.executions" in findings(done, "warehouse")["rights"]["finding"]
        assert CANARY not in done.out + done.err


def test_a_role_that_may_write_but_not_migrate_is_told_so(cli: Cli, db: psycopg.Connection[Any]) -> None:
    name = f"writer_{db.info.backend_pid}"
    with role(db, name) as url:
        for schema in ("history", "syncer"):
            db.execute(f"GRANT USAGE ON SCHEMA {schema} TO {name}".encode())
            db.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {name}".encode())
        cli.warehouse["url"] = url
        done = cli.run("check", "--json")
        assert done.code == 0
        assert findings(done, "warehouse")["rights"]["state"] == "warning"
        assert "syncer migrate" in findings(done, "warehouse")["rights"]["hint"]


def test_a_role_that_may_not_make_the_schemas_is_told_how_to(cli: Cli, empty_database_url: str) -> None:
    with (
        psycopg.connect(empty_database_url, autocommit=True) as db,
        role(db, f"maker_{db.info.backend_pid}") as url,
    ):
        cli.warehouse["url"] = url
        done = cli.run("check", "--json")
    assert done.code == 3
    assert "GRANT CREATE ON DATABASE" in findings(done, "warehouse")["rights"]["hint"]


def test_a_name_that_stands_for_another_tenant_is_refused(cli: Cli, db: psycopg.Connection[Any]) -> None:
    db.execute(
        "INSERT INTO history.connections (connection_id, platform, base_url, first_synced_at)"
        " VALUES ('flow', 'qualys_flow', 'https://gateway.other.example', now())"
    )
    done = cli.run("check", "--json")
    assert done.code == 3
    assert "https://gateway.other.example" in findings(done)["name"]["finding"]
    assert "name of its own" in findings(done)["name"]["hint"]


def test_the_embedded_server_is_started_if_it_is_there_and_not_made_if_it_is_not(cli: Cli) -> None:
    with temporary_folder() as folder:
        data = folder / "data"
        cli.warehouse = {"url": "embedded", "data_dir": str(data)}
        done = cli.run("check", "--json")
        assert done.code == 0
        assert "none yet" in findings(done, "warehouse")["reached"]["finding"]
        assert not data.exists()
        try:
            cli.run("migrate")
            cli.run("db", "stop")
            assert set(states(cli.run("check", "--json"), "warehouse").values()) == {"ok"}
        finally:
            cli.run("db", "stop")
