"""The schema: how it is made, what it refuses, who may read it, what is said when it is out of reach."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DataError, IntegrityError, OperationalError, ProgrammingError

from alembic import command
from syncer import schema, warehouse
from syncer.errors import ConfigError, WarehouseError
from syncer.warehouse import revisions

ROOT = Path(__file__).parents[2]
WORKFLOW = """
    INSERT INTO history.workflows (connection_id, workflow_id, synced_at, _row_hash, _asked_at)
    VALUES ('c', 'w', now(), '', now())
"""


@pytest.fixture
def blank(empty_database_url: str) -> Iterator[Engine]:
    made = warehouse.engine(empty_database_url)
    yield made
    made.dispose()


@pytest.fixture
def filled(database_url: str) -> Iterator[Engine]:
    made = warehouse.engine(database_url)
    yield made
    made.dispose()


@pytest.fixture
def role(filled: Engine) -> Iterator[str]:
    """A role without rights whose name needs quoting."""
    name = f'bi "%s" {secrets.token_hex(4)}'
    quoted = '"' + name.replace('"', '""') + '"'
    execute(filled, f"CREATE ROLE {quoted}")
    yield name
    execute(filled, f"DROP OWNED BY {quoted}; DROP ROLE {quoted}")


@pytest.fixture
def next_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes this version one that has one more migration, of the given SQL."""

    def add(sql: str) -> None:
        folder = shutil.copytree(ROOT / "alembic", tmp_path / "a%lembic")
        head = warehouse.head()
        (folder / "versions" / "next.py").write_text(
            "from alembic import op\nfrom syncer.warehouse.definition import run\n"
            f"revision, down_revision = 'next', {head!r}\ndef upgrade():\n    run(op.get_bind(), {sql!r})\n"
        )
        monkeypatch.setattr(revisions, "_folder", lambda: folder)

    return add


def execute(made: Engine, sql: str) -> None:
    with made.begin() as db:
        db.exec_driver_sql(sql, execution_options={"no_parameters": True})


def scalar(made: Engine, sql: str) -> object:
    with made.begin() as db:
        return db.scalar(text(sql))


def become(db: Connection, role: str) -> None:
    db.execute(text("SELECT set_config('role', :role, true)"), {"role": role})


def address(made: Engine) -> str:
    return made.url.set(drivername="postgresql").render_as_string(hide_password=False)


def with_password(url: str, password: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.username}:{password}@{parts.hostname}:{parts.port}").geturl()


def dump(url: str) -> str:
    """The schema of a database as pg_dump tells it, without what differs by chance."""
    told = subprocess.run(
        [pg_dump(url), "--schema-only", "--no-owner", "--no-privileges", "--dbname", url],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    chance = ("--", "\\", "SET ", "SELECT ")
    return "\n".join(line for line in told.splitlines() if line and not line.startswith(chance))


def pg_dump(url: str) -> str:
    from syncer.embedded import installed_programs

    with psycopg.connect(url) as db:
        major = db.info.server_version // 10_000
    beside = [programs.folder / "pg_dump" for programs in installed_programs() if programs.major >= major]
    found = next((str(path) for path in beside if path.exists()), shutil.which("pg_dump"))
    if found is None:
        pytest.skip("there is no pg_dump here")
    return found


# migrating


def test_an_empty_database_is_brought_to_the_newest_revision(empty_database_url: str, blank: Engine) -> None:
    assert warehouse.current(blank) is None
    assert warehouse.migrate(empty_database_url) is True
    assert warehouse.current(blank) == warehouse.head()
    warehouse.check_version(blank)


def test_the_names_of_the_files_tell_the_revisions_as_alembic_does() -> None:
    scripts = ScriptDirectory(str(ROOT / "alembic")).walk_revisions()
    assert revisions._revisions() == [script.revision for script in scripts][::-1]


def test_migrating_again_changes_nothing(filled: Engine) -> None:
    execute(filled, WORKFLOW)
    before = scalar(filled, "SELECT sum(xmin::text::bigint) FROM pg_class")
    assert warehouse.migrate(filled) is False
    assert scalar(filled, "SELECT sum(xmin::text::bigint) FROM pg_class") == before
    assert scalar(filled, "SELECT count(*) FROM history.workflows") == 1


def test_base_leaves_nothing_behind_and_the_way_up_is_open_again(filled: Engine) -> None:
    warehouse.downgrade(filled, "base")
    left = "SELECT count(*) FROM pg_namespace WHERE nspname IN ('history', 'syncer')"
    assert scalar(filled, left) == 0
    assert warehouse.current(filled) is None
    assert warehouse.migrate(filled) is True
    warehouse.check_version(filled)


def test_the_way_down_stops_at_a_view_that_somebody_built(filled: Engine) -> None:
    execute(filled, "CREATE VIEW public.mine AS SELECT workflow_id FROM history.executions")
    with pytest.raises(Exception, match="depend"):
        warehouse.downgrade(filled, "base")
    assert scalar(filled, "SELECT count(*) FROM public.mine") == 0
    warehouse.check_version(filled)


def test_migrations_add_up_to_what_the_definitions_say(
    database_url: str, filled: Engine, empty_database_url: str, blank: Engine
) -> None:
    with blank.begin() as db:
        warehouse.create_all(db)
    execute(filled, "DROP TABLE syncer.alembic_version")
    defined, migrated = dump(empty_database_url), dump(database_url)
    assert "CREATE VIEW history.sync_freshness" in migrated
    assert "GENERATED ALWAYS AS" in migrated
    assert migrated == defined


def test_alembic_finds_no_difference_to_the_tables(filled: Engine) -> None:
    with filled.begin() as db:
        command.check(revisions._config(db))


def test_four_processes_migrate_at_once(empty_database_url: str, blank: Engine) -> None:
    program = "import sys; from syncer import warehouse; print(warehouse.migrate(sys.argv[1]))"
    command_line = [sys.executable, "-c", program, empty_database_url]
    running = [subprocess.Popen(command_line, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    told = [process.communicate()[0].strip() for process in running]
    assert sorted(told) == ["False", "False", "False", "True"]
    warehouse.check_version(blank)


def test_a_failure_leaves_the_database_as_it_was(blank: Engine) -> None:
    execute(blank, "CREATE SCHEMA history; CREATE TABLE history.steps (mine text)")
    with pytest.raises(ProgrammingError):
        warehouse.migrate(blank)
    assert warehouse.current(blank) is None
    assert scalar(blank, "SELECT count(*) FROM pg_tables WHERE schemaname IN ('history', 'syncer')") == 1


def test_schemas_made_by_an_administrator_are_used(blank: Engine) -> None:
    execute(blank, "CREATE SCHEMA history; CREATE SCHEMA syncer")
    assert warehouse.migrate(blank) is True


def test_a_lock_held_by_others_is_waited_for_and_then_named(
    blank: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(revisions, "_LOCK_TIMEOUT", "10ms")
    with blank.begin() as holder:
        revisions._lock(holder)
        with pytest.raises(WarehouseError, match="hold locks") as caught:
            warehouse.migrate(blank, attempts=3, sleep=pauses.append)
    assert pauses == [0, 1, 2]
    assert "pg_stat_activity" in str(caught.value)
    assert warehouse.migrate(blank) is True


def test_large_columns_use_lz4_where_the_server_has_it(filled: Engine) -> None:
    has_lz4 = scalar(
        filled, "SELECT 'lz4' = ANY(enumvals) FROM pg_settings WHERE name = 'default_toast_compression'"
    )
    methods = """
        SELECT string_agg(DISTINCT attcompression::text, ',') FROM pg_attribute
        WHERE attrelid = 'history.step_io'::regclass
          AND attname IN ('input', 'output', 'input_raw', 'output_raw')
    """
    assert scalar(filled, methods) == ("l" if has_lz4 else "")


# what is refused


def test_an_empty_warehouse_is_refused_with_what_to_do(blank: Engine) -> None:
    with pytest.raises(WarehouseError, match=r"no schema of syncer yet .*syncer migrate"):
        warehouse.check_version(blank)


def test_an_older_schema_is_refused_with_what_to_do(
    filled: Engine, next_revision: Callable[[str], None]
) -> None:
    next_revision("SELECT 1")
    with pytest.raises(WarehouseError, match=r"at revision \d+, this version needs next .*syncer migrate"):
        warehouse.check_version(filled)


def test_a_newer_schema_is_neither_used_nor_migrated(filled: Engine) -> None:
    execute(filled, "UPDATE syncer.alembic_version SET version_num = '9999'")
    with pytest.raises(WarehouseError, match=r"9999, newer than this version knows .*upgrade syncer"):
        warehouse.check_version(filled)
    with pytest.raises(WarehouseError, match="upgrade syncer"):
        warehouse.migrate(filled)


def test_an_old_server_is_refused(blank: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revisions, "OLDEST_SERVER", 99)
    with pytest.raises(WarehouseError, match="use PostgreSQL 99 or newer"):
        warehouse.migrate(blank)


def test_another_encoding_is_refused(empty_database_url: str) -> None:
    name = f"syncer_test_{secrets.token_hex(6)}"
    options = "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' LOCALE_PROVIDER libc TEMPLATE template0"
    with psycopg.connect(empty_database_url, autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name} {options}".encode())
        try:
            with pytest.raises(WarehouseError, match="encoding of the warehouse's database is LATIN1"):
                warehouse.migrate(urlsplit(empty_database_url)._replace(path=f"/{name}").geturl())
        finally:
            db.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


# reaching it


@pytest.mark.parametrize(
    "url", ["mysql://u:geheim@h/d", "no url: geheim", "postgresql://u:geheim@h:port/d", ""]
)
def test_a_url_of_something_else_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError, match="write it like postgresql://") as caught:
        warehouse.engine(url)
    assert "geheim" not in str(caught.value)


def test_every_spelling_of_the_url_works_and_the_session_is_in_utc(database_url: str) -> None:
    for scheme in ("postgresql", "postgres", "postgresql+psycopg"):
        made = warehouse.engine(urlsplit(database_url)._replace(scheme=scheme).geturl())
        assert scalar(made, "SHOW TimeZone") == "UTC"
        assert scalar(made, "SHOW application_name") == "syncer"
        made.dispose()


def test_a_session_that_was_left_in_a_transaction_is_ended_by_the_server(filled: Engine) -> None:
    assert scalar(filled, "SHOW idle_in_transaction_session_timeout") == "5min"
    assert scalar(filled, "SHOW tcp_keepalives_idle") == "20"
    filled.dispose()
    execute(filled, f"ALTER DATABASE {filled.url.database} SET idle_in_transaction_session_timeout = '20ms'")
    filled.dispose()
    with filled.connect() as db, psycopg.connect(address(filled), autocommit=True) as other:
        pid = db.scalar(text("SELECT pg_backend_pid()"))
        while other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone():
            time.sleep(0.01)
        with pytest.raises(WarehouseError, match="it ended a session of ours"):
            db.execute(text("SELECT 1"))


def refusal(url: str) -> str:
    made = warehouse.engine(url)
    try:
        with pytest.raises(WarehouseError) as caught:
            warehouse.migrate(made)
    finally:
        made.dispose()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_server_that_is_down_is_one_line_with_what_to_do() -> None:
    told = refusal("postgresql://u:geheim@127.0.0.1:1/d")
    assert "PostgreSQL at 127.0.0.1:1: it cannot be reached: Connection refused" in told
    assert "start the server" in told
    assert "geheim" not in told


def test_a_host_without_address_is_one_line_with_what_to_do() -> None:
    assert "it cannot be reached" in refusal("postgresql://u:geheim@nowhere.invalid/d")


def test_a_wrong_password_is_named_and_never_shown(empty_database_url: str) -> None:
    told = refusal(with_password(empty_database_url, "geheim"))
    assert re.search("it refuses the password of user '.*mend the password in warehouse.url", told)
    assert "geheim" not in told


def test_a_missing_database_is_named(empty_database_url: str) -> None:
    told = refusal(urlsplit(empty_database_url)._replace(path="/nowhere").geturl())
    assert "it has no database 'nowhere' (create it with encoding UTF8" in told


def test_a_missing_table_asks_for_a_migration(blank: Engine) -> None:
    with pytest.raises(WarehouseError, match=r'"history.steps" does not exist \(run `syncer migrate`\)'):
        scalar(blank, "SELECT 1 FROM history.steps")


def test_a_missing_right_is_named(filled: Engine, role: str) -> None:
    with filled.connect() as db:
        become(db, role)
        with pytest.raises(WarehouseError, match="lacks a right: permission denied"):
            db.execute(text("SELECT 1 FROM history.steps"))


@pytest.mark.parametrize(
    ("state", "told", "hint"),
    [
        ("53100", "run out of space", "more disk"),
        ("53400", "a limit of its configuration is reached", "raise that limit"),
        ("57014", "it canceled a statement", "statement_timeout"),
        ("25P03", "it ended a session of ours", "raise that timeout"),
        ("58030", "a fault of its own", "the server's log"),
        ("XX001", "a fault of its own", "the server's log"),
    ],
)
def test_what_the_server_refuses_is_told_with_what_to_do(
    filled: Engine, state: str, told: str, hint: str
) -> None:
    raising = f"DO $$ BEGIN RAISE EXCEPTION 'so it is' USING ERRCODE = '{state}'; END $$"
    with pytest.raises(WarehouseError, match=f"{told}: so it is") as caught:
        execute(filled, raising)
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize("state", ["55P03", "40P01", "40001"])
def test_locks_keep_their_type_for_whoever_tries_again_and_are_told_when_nothing_helped(
    filled: Engine, state: str
) -> None:
    raising = f"DO $$ BEGIN RAISE EXCEPTION 'so it is' USING ERRCODE = '{state}'; END $$"
    with pytest.raises(OperationalError) as caught:
        execute(filled, raising)
    assert isinstance(caught.value.orig, psycopg.Error)
    assert "hold locks" in str(warehouse.explain(caught.value.orig, filled.url))


def test_errors_of_data_and_keys_keep_their_type_for_whoever_writes(filled: Engine) -> None:
    execute(filled, WORKFLOW)
    with pytest.raises(IntegrityError):
        execute(filled, WORKFLOW)
    with pytest.raises(DataError):
        scalar(filled, "SELECT 'nowhere'::timestamptz")


def test_a_pool_survives_the_loss_of_its_connections(filled: Engine, database_url: str) -> None:
    assert scalar(filled, "SELECT 1") == 1
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    assert scalar(filled, "SELECT 1") == 1


def test_a_connection_cut_in_the_middle_is_told_as_such(filled: Engine) -> None:
    with filled.connect() as db, pytest.raises(WarehouseError, match="it cannot be reached"):
        db.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))


# reading it


def readable(made: Engine, role: str) -> set[str]:
    """Relations of both schemas that `role` can read."""
    found: set[str] = set()
    with made.connect() as db:
        names = db.scalars(
            text(
                "SELECT relname FROM pg_class"
                " WHERE relnamespace = 'history'::regnamespace AND relkind IN ('r', 'v')"
            )
        ).all()
        for relation in [f"history.{name}" for name in names] + ["syncer.watermarks"]:
            become(db, role)
            try:
                db.execute(text(f"SELECT * FROM {relation}"))
                found.add(relation)
            except WarehouseError:
                pass
            db.rollback()
    return found


EVERYTHING = {table.fullname for table in schema.HISTORY_TABLES} | {
    f"history.{view}" for view in warehouse.views()
}


def test_a_role_reads_all_but_payloads_and_writes_nothing(filled: Engine, role: str) -> None:
    with filled.begin() as db:
        warehouse.grant(db, role, payloads=False)
    assert readable(filled, role) == EVERYTHING - {"history.step_io"}
    with filled.connect() as db:
        become(db, role)
        with pytest.raises(WarehouseError, match="lacks a right"):
            db.execute(text("DELETE FROM history.steps"))


def test_payloads_are_given_and_taken_back(filled: Engine, role: str) -> None:
    with filled.begin() as db:
        warehouse.grant(db, role, payloads=True)
    assert readable(filled, role) == EVERYTHING
    with filled.begin() as db:
        warehouse.grant(db, role, payloads=False)
    assert readable(filled, role) == EVERYTHING - {"history.step_io"}


def test_an_unknown_role_is_refused_with_what_to_do(filled: Engine) -> None:
    with filled.begin() as db, pytest.raises(WarehouseError, match=r'no role .* CREATE ROLE "no one" LOGIN'):
        warehouse.grant(db, "no one", payloads=False)
    assert scalar(filled, "SELECT count(*) FROM syncer.grants") == 0


def test_a_migration_gives_again_what_was_granted(
    filled: Engine, role: str, next_revision: Callable[[str], None]
) -> None:
    with filled.begin() as db:
        warehouse.grant(db, role, payloads=True)
        dropped = {"role": "dropped since", "payloads": False, "granted_at": text("now()")}
        db.execute(schema.grants.insert().values(dropped))
    next_revision("DROP VIEW history.running_now; " + warehouse.views()["running_now"])
    assert warehouse.migrate(filled) is True
    assert readable(filled, role) == EVERYTHING


# the wheel


def test_an_installed_wheel_brings_its_migrations_and_views(tmp_path: Path, empty_database_url: str) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "installed")
    program = (
        "import sys; from syncer import warehouse;"
        "assert warehouse.__file__.startswith(sys.argv[1]), warehouse.__file__;"
        "print(warehouse.migrate(sys.argv[2]), sorted(warehouse.views()))"
    )
    told = subprocess.run(
        [sys.executable, "-P", "-c", program, str(tmp_path / "installed"), empty_database_url],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "installed")},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert told == f"True {sorted(warehouse.views())}\n"
