"""What the runbook has people do to the warehouse, done: roles, dumps, connections that go or change their name."""

from __future__ import annotations

import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from sqlalchemy import Engine, create_engine

from syncer.embedded import Programs, installed_programs
from syncer.errors import ConfigError
from syncer.simulator import Outline
from syncer.simulator.qualys_flow import Simulator
from syncer.state.runs import register_connection
from syncer.sync import backfill
from syncer.warehouse import migrate
from tests.integration.flows import FlowBench, assert_equal_to_truth
from tests.servers import Server

TEXT = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")


def statements(about: str) -> str:
    """The one block of SQL that holds these words."""
    blocks: list[str] = re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL)
    (block,) = [each for each in blocks if about in each]
    return block


def execute(url: str, sql: str) -> None:
    """Run a block, each statement by itself as psql does."""
    with psycopg.connect(url, autocommit=True) as db:
        for statement in [sql] if "DO $$" in sql else filter(str.strip, sql.split(";")):
            db.execute(statement.encode())


def url_of(engine: Engine) -> str:
    text: str = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    return text


@pytest.fixture
def simulator() -> Simulator:
    return Simulator(Outline(workflows=2, executions=40, running=2))


@pytest.fixture
def bench(engine: Engine) -> FlowBench:
    return FlowBench(engine)


# Roles and databases


def test_the_role_and_database_of_the_runbook_are_all_that_is_needed(server: Server) -> None:
    name = "syncer_runbook"
    try:
        execute(server.url, re.sub(r"\bsyncer\b", name, statements("CREATE DATABASE")))
        place = urlsplit(server.url)
        netloc = f"{name}:{quote('choose one')}@{place.hostname}:{place.port}"
        assert migrate(place._replace(netloc=netloc, path=f"/{name}").geturl())
    finally:
        execute(server.url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE); DROP ROLE IF EXISTS {name}")


# Dumps


def programs_for(url: str) -> Programs:
    """pg_dump and pg_restore of this server's version."""
    with psycopg.connect(url) as db:
        major = db.info.server_version // 10_000
    fitting = [
        each for each in installed_programs() if each.major == major and (each.folder / "pg_dump").exists()
    ]
    if not fitting:
        pytest.skip(f"there is no pg_dump of version {major} here")
    return fitting[0]


def options(program: str) -> list[str]:
    """The options that the runbook gives this program, without places."""
    (line,) = re.findall(rf"^\$ {program} (.*)$", TEXT, re.MULTILINE)
    return [word for word in line.split() if word.startswith("--") and not re.match("--(file|dbname)", word)]


def test_an_older_dump_is_read_on_from_where_it_was(
    bench: FlowBench, empty_database_url: str, simulator: Simulator, tmp_path: Path
) -> None:
    source, file = url_of(bench.engine), tmp_path / "syncer.dump"
    folder = programs_for(source).folder
    with simulator.serve() as url:
        bench.run(simulator, url)
        dump = [str(folder / "pg_dump"), *options("pg_dump"), f"--file={file}", source]
        subprocess.run(dump, check=True, capture_output=True)
        for workflow in simulator.truth.workflows:
            simulator.add_execution(workflow)
        simulator.end_all_running()
        simulator.clock.advance(1)  # the source tells its time in whole seconds
        bench.run(simulator, url)
        restore = [
            str(folder / "pg_restore"),
            *options("pg_restore"),
            f"--dbname={empty_database_url}",
            str(file),
        ]
        subprocess.run(restore, check=True, capture_output=True)
        engine = create_engine(empty_database_url.replace("postgresql://", "postgresql+psycopg://"))
        restored = FlowBench(engine)
        with pytest.raises(AssertionError):
            assert_equal_to_truth(restored, simulator)
        assert not migrate(empty_database_url)
        simulator.clear_requests()
        assert restored.run(simulator, url).is_complete
        assert_equal_to_truth(restored, simulator)
        engine.dispose()
    assert simulator.counts["steps"] < 10, "what the dump held is not copied again"


# Connections


def run_as(bench: FlowBench, simulator: Simulator, url: str, name: str) -> Any:
    report = bench.run(simulator, url, name=name)
    assert report.is_complete
    return report


def counts(bench: FlowBench) -> dict[str, int]:
    """Rows by connection, over all tables of both schemas."""
    tables = bench.rows(
        "SELECT table_schema, table_name FROM information_schema.columns JOIN information_schema.tables"
        " USING (table_schema, table_name) WHERE column_name = 'connection_id' AND table_type = 'BASE TABLE'"
    )
    found: dict[str, int] = {}
    for schema, table in tables:
        query = f"SELECT connection_id, count(*) FROM {schema}.{table} GROUP BY 1"
        for name, count in bench.rows(query):
            found[name] = found.get(name, 0) + count
    return found


def test_a_connection_is_deleted_with_all_its_rows_and_no_others(
    bench: FlowBench, simulator: Simulator
) -> None:
    with simulator.serve() as url:
        run_as(bench, simulator, url, "old")
        run_as(bench, simulator, url, "other")
    before = counts(bench)
    execute(url_of(bench.engine), statements("DELETE FROM"))
    assert counts(bench) == {"other": before["other"]}


def test_a_connection_that_was_renamed_goes_on_where_it_was(bench: FlowBench, simulator: Simulator) -> None:
    simulator.end_all_running()
    simulator.clock.advance(1)  # it tells its time in whole seconds: by them, too, all have ended
    with simulator.serve() as url:
        run_as(bench, simulator, url, "old")
        run_as(bench, simulator, url, "old")
        execute(url_of(bench.engine), statements("UPDATE %s"))
        before = bench.fingerprints()
        simulator.clear_requests()
        run_as(bench, simulator, url, "new")
    assert set(counts(bench)) == {"new"}
    assert bench.fingerprints() == before, "nothing was written again"
    assert simulator.counts["steps"] == 0


def test_a_tenant_at_a_new_address_is_taken_after_it_was_told(bench: FlowBench) -> None:
    (update,) = re.findall(r"`(UPDATE history\.connections .*?)`", TEXT)
    with bench.engine.begin() as db:
        register_connection(db, "prod", "qualys_flow", "https://former.example")
    with bench.engine.begin() as db, pytest.raises(ConfigError):
        register_connection(db, "prod", "qualys_flow", "https://...")
    execute(url_of(bench.engine), update)
    with bench.engine.begin() as db:
        register_connection(db, "prod", "qualys_flow", "https://...")


def test_payloads_that_were_left_out_come_with_one_request_for_each_execution(
    bench: FlowBench, simulator: Simulator
) -> None:
    simulator.end_all_running()
    with simulator.serve() as url:
        bench.run(simulator, url, step_io=False)
        execute(url_of(bench.engine), statements("steps_state = 'due'").replace("prod", "flow"))
        simulator.clear_requests()
        assert bench.run(simulator, url).is_complete
        assert_equal_to_truth(bench, simulator)
    assert simulator.counts["steps"] == len(simulator.truth.executions)


def test_steps_that_were_left_out_come_with_a_backfill(bench: FlowBench, simulator: Simulator) -> None:
    simulator.end_all_running()
    since = datetime.now(UTC) - timedelta(days=29, hours=12)
    with simulator.serve() as url:
        bench.run(simulator, url, steps=False)
        assert bench.run(simulator, url, work=lambda session: backfill(session, since, None)).is_complete
        assert_equal_to_truth(bench, simulator)


def test_workflows_chosen_later_bring_their_history(bench: FlowBench, simulator: Simulator) -> None:
    simulator.end_all_running()
    first, *_ = simulator.truth.workflows.values()
    with simulator.serve() as url:
        bench.run(simulator, url, workflows=(first.id,))
        assert bench.run(simulator, url).is_complete
        assert_equal_to_truth(bench, simulator)
