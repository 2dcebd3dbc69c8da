"""The embedded server: one per folder, whoever starts it and whatever became of the last one."""

from __future__ import annotations

import ctypes
import os
import pwd
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from syncer.embedded import EmbeddedServer, Programs, installed_programs
from syncer.errors import WarehouseError
from tests.servers import QUICK, temporary_folder, temporary_server

STARTER = """
import os, signal, sys
from pathlib import Path
from syncer.embedded import EmbeddedServer
print(EmbeddedServer(Path(sys.argv[1])).start(), flush=True)
os.killpg(0, signal.SIGKILL)
"""
BROKEN_INITDB = """#!/bin/sh
for each; do case $each in --pgdata=*) mkdir -p "${each#--pgdata=}/base" ;; esac; done
echo 'No space left on device'
exit 1
"""

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as somebody else")


@pytest.fixture(scope="module")
def cluster() -> Iterator[EmbeddedServer]:
    """One for the tests that start it and do not mind what the others left in it."""
    with temporary_server() as server:
        yield server


@pytest.fixture
def server(cluster: EmbeddedServer) -> Iterator[EmbeddedServer]:
    yield cluster
    cluster.stop()


@pytest.fixture
def folder() -> Iterator[Path]:
    with temporary_folder() as folder:
        yield folder


def test_stop_and_start_keep_the_data_and_the_address(server: EmbeddedServer) -> None:
    url = server.start()
    execute(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    server.stop()
    assert server.url() is None
    assert not server.running()
    assert server.start() == url == server.url()
    assert server.running()
    assert ask(url, "SELECT answer FROM kept") == 42


def test_a_server_that_never_ran_is_down_and_leaves_no_trace(folder: Path) -> None:
    server = EmbeddedServer(folder / "never")
    server.stop()
    assert server.url() is None
    assert not server.home.exists()


def test_starting_twice_is_starting_once(server: EmbeddedServer) -> None:
    url = server.start()
    pid = postmaster_pid(server)
    assert server.start() == url
    assert postmaster_pid(server) == pid


def test_a_server_on_its_way_down_is_waited_for_and_started_again() -> None:
    with temporary_server() as server:
        with psycopg.connect(server.start()) as session:
            former = postmaster_pid(server)
            os.kill(former, signal.SIGTERM)  # it waits for its sessions to leave
            eager = EmbeddedServer(server.home, settings=QUICK, sleep=lambda _: session.close())
            assert ask(eager.start(), "SELECT 42") == 42
        assert postmaster_pid(server) != former


@needs_linux
def test_four_processes_starting_at_once_share_one_server_that_outlives_them() -> None:
    with temporary_server() as server:
        asked_for = server.home
        starters = [start_elsewhere(asked_for) for _ in range(4)]
        urls = {starter.communicate(timeout=120)[0].strip() for starter in starters}
        assert urls == {server.url()}
        assert len(postmasters_of(server)) == 1
        assert ask(urls.pop(), "SELECT current_database()") == "syncer"


@needs_linux
@pytest.mark.parametrize("reaped", [True, False], ids=["gone", "zombie"])
def test_a_killed_server_is_seen_as_down_and_starts_again(server: EmbeddedServer, reaped: bool) -> None:
    with as_parent_of_orphans():
        url = server.start()
        pid = postmaster_pid(server)
        kill(pid)
        if reaped:
            os.waitpid(pid, 0)
        assert server.url() is None
        assert server.start() == url
        assert postmaster_pid(server) != pid
        assert ask(url, "SELECT 1") == 1
        if not reaped:
            os.waitpid(pid, 0)
        server.stop()


def test_a_process_that_was_given_the_servers_pid_is_not_the_server(server: EmbeddedServer) -> None:
    server.start()
    pid_file = server.home / "postgresql" / "postmaster.pid"
    told = pid_file.read_text().split("\n", 1)[1]
    server.stop()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, user=pid_file.parent.stat().st_uid) as stranger:
        pid_file.write_text(f"{stranger.pid}\n{told}")
        assert not server.running()
        server.stop()
        assert stranger.poll() is None
        server.start()
        assert server.running()


def test_stopping_ends_open_sessions(server: EmbeddedServer) -> None:
    with psycopg.connect(server.start()) as db:
        server.stop()
        assert not server.running()
        with pytest.raises(psycopg.OperationalError):
            db.execute("SELECT 1")


def test_only_the_password_opens_it_and_only_its_owner_reads_that(server: EmbeddedServer) -> None:
    url = server.start()
    kept = server.home / "password"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert kept.stat().st_uid == os.geteuid()
    assert kept.read_text() == urlsplit(url).password
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url.replace(kept.read_text(), "guessed"))


def test_it_listens_on_loopback_alone(server: EmbeddedServer) -> None:
    url = server.start()
    assert ask(url, "SHOW listen_addresses") == "127.0.0.1"
    assert ask(url, "SHOW unix_socket_directories") == ""


@needs_linux
def test_the_server_sees_nothing_of_our_environment(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUALYS_PASSWORD", "not-for-the-server")
    monkeypatch.setenv("PGOPTIONS", "-c search_path=elsewhere")
    server.start()
    assert b"not-for-the-server" not in Path(f"/proc/{postmaster_pid(server)}/environ").read_bytes()


def test_it_moves_when_another_program_took_its_port(server: EmbeddedServer) -> None:
    first = urlsplit(server.start()).port
    server.stop()
    with socket.create_server(("127.0.0.1", first)):
        url = server.start()
        assert urlsplit(url).port != first
        assert ask(url, "SELECT 1") == 1


def test_a_configured_port_is_used_or_refused(server: EmbeddedServer) -> None:
    server.start()
    server.stop()
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken: int = other.getsockname()[1]
        fixed = EmbeddedServer(server.home, port=taken)
        with pytest.raises(WarehouseError, match=f"port {taken}"):
            fixed.start()
    assert urlsplit(fixed.start()).port == taken


def test_a_lost_database_is_made_again(server: EmbeddedServer) -> None:
    url = server.start()
    execute(urlsplit(url)._replace(path="/postgres").geturl(), "DROP DATABASE syncer WITH (FORCE)")
    assert ask(server.start(), "SELECT current_database()") == "syncer"


def test_a_database_that_another_session_is_making_too_is_no_error(server: EmbeddedServer) -> None:
    url = server.start()
    execute(urlsplit(url)._replace(path="/postgres").geturl(), "DROP DATABASE syncer WITH (FORCE)")
    with ThreadPoolExecutor() as pool:
        list(pool.map(server._create_database, [url] * 4))
    assert ask(url, "SELECT current_database()") == "syncer"


def test_a_refused_setting_shows_what_the_log_says_and_where_it_is(server: EmbeddedServer) -> None:
    server.start()
    server.stop()
    with pytest.raises(WarehouseError) as refused:
        EmbeddedServer(server.home, settings={"shared_buffers": "plenty of 'them'"}).start()
    assert "shared_buffers" in refused.value.message
    assert str(server.home / "postgresql" / "server.log") in str(refused.value.hint)
    assert not server.running()


def test_a_changed_password_file_is_named(server: EmbeddedServer) -> None:
    server.start()
    kept = server.home / "password"
    password = kept.read_text()
    kept.write_text("mistaken")
    with pytest.raises(WarehouseError, match=str(kept)) as refused:
        server.start()
    kept.write_text(password)
    assert "mistaken" not in str(refused.value)


def test_a_cluster_cut_short_is_made_again(folder: Path) -> None:
    broken = folder / "programs"
    broken.mkdir(mode=0o755)
    for name in ("postgres", "pg_ctl"):
        (broken / name).symlink_to(installed_programs()[0].folder / name)
    (broken / "initdb").write_text(BROKEN_INITDB)
    (broken / "initdb").chmod(0o755)
    with temporary_server(binaries=broken) as server:
        with pytest.raises(WarehouseError, match="No space left on device"):
            server.start()
        assert not server.running()
        killed = server.home / "initdb-killed" / "postgresql"
        killed.mkdir(parents=True)
        (killed / "PG_VERSION").write_text("18\n")
        whole = EmbeddedServer(server.home, settings=QUICK)
        assert ask(whole.start(), "SELECT 1") == 1
        assert not killed.exists()


@pytest.mark.parametrize("programs", installed_programs(), ids=lambda programs: f"pg{programs.major}")
def test_every_version_found_here_serves_utf8_in_an_order_that_never_changes(programs: Programs) -> None:
    with temporary_server(programs.folder) as server:
        url = server.start()
        assert ask(url, "SELECT current_setting('server_version_num')::int / 10000") == programs.major
        assert (
            ask(url, "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'syncer'")
            == "UTF8"
        )
        assert ask(url, "SELECT string_agg(x, '' ORDER BY x) FROM unnest('{b,é,B,a}'::text[]) x") == "Babé"
        assert ask(url, "SHOW timezone") == "UTC"


def test_without_programs_it_says_what_to_install(folder: Path) -> None:
    with pytest.raises(WarehouseError) as missing:
        EmbeddedServer(folder / "data", binaries=folder).start()
    assert "no PostgreSQL server of version 15 or newer" in missing.value.message
    assert "syncer[embedded]" in str(missing.value.hint)
    assert "warehouse.url" in str(missing.value.hint)


def test_data_of_a_version_that_is_gone_are_left_alone(server: EmbeddedServer) -> None:
    server.start()
    server.stop()
    version = server.home / "postgresql" / "PG_VERSION"
    written_by = version.read_text()
    version.write_text("14\n")
    with pytest.raises(WarehouseError, match="written by PostgreSQL 14"):
        server.start()
    version.write_text(written_by)


def test_a_folder_that_cannot_be_made_is_named(folder: Path) -> None:
    (folder / "file").write_text("in the way")
    with pytest.raises(WarehouseError, match=r"file/data.*Not a directory.*warehouse\.data_dir"):
        EmbeddedServer(folder / "file" / "data").start()


@needs_root
def test_as_root_it_runs_as_nobody_who_owns_the_cluster_alone(server: EmbeddedServer) -> None:
    server.start()
    nobody = pwd.getpwnam("nobody").pw_uid
    assert {each.name for each in server.home.iterdir() if each.stat().st_uid == nobody} == {"postgresql"}
    assert Path(f"/proc/{postmaster_pid(server)}").stat().st_uid == nobody


@needs_root
def test_as_root_a_closed_folder_is_replaced_by_one_that_is_kept_to(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedServer(closed / "data", settings=QUICK)
    try:
        assert server.home.parent == Path("/var/lib/syncer")
        url = server.start()
        assert str(server.home) in caplog.text
        closed.chmod(0o755)
        assert EmbeddedServer(closed / "data").url() == url
    finally:
        server.stop()
        shutil.rmtree(server.home, ignore_errors=True)


@needs_root
def test_as_root_programs_out_of_reach_are_copied_whatever_the_umask(folder: Path) -> None:
    real = installed_programs()[0].folder.parent
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    package = closed / real.parent.name
    package.mkdir()
    (package / real.name).symlink_to(real)
    package.with_name(f"{package.name}.libs").symlink_to(real.parent.with_name(f"{package.name}.libs"))
    before = os.umask(0o077)
    try:
        with temporary_server(package / real.name / "bin") as server:
            assert ask(server.start(), "SELECT 1") == 1
            server.stop()
            assert ask(server.start(), "SELECT 1") == 1
    finally:
        os.umask(before)


def ask(url: str, query: str) -> Any:
    with psycopg.connect(url) as db:
        row = db.execute(query.encode()).fetchone()
        return row[0] if row else None


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(statement.encode())


def postmaster_pid(server: EmbeddedServer) -> int:
    return int((server.home / "postgresql" / "postmaster.pid").read_text().split()[0])


def postmasters_of(server: EmbeddedServer) -> list[Path]:
    cluster = f"\0-D\0{server.home / 'postgresql'}\0".encode()
    return [each for each in Path("/proc").glob("[0-9]*") if cluster in command_line(each)]


def command_line(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def start_elsewhere(data_dir: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", STARTER, str(data_dir)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def kill(pid: int) -> None:
    """kill -9, and wait until it is dead, though perhaps not buried."""
    watch = os.pidfd_open(pid)
    try:
        os.kill(pid, signal.SIGKILL)
        select.select([watch], [], [])
    finally:
        os.close(watch)


@contextmanager
def as_parent_of_orphans() -> Iterator[None]:
    """The server becomes our child once pg_ctl is gone, so that it stays a zombie until we wait for it."""
    set_child_subreaper, libc = 36, ctypes.CDLL(None)
    libc.prctl(set_child_subreaper, 1, 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(set_child_subreaper, 0, 0, 0, 0)
