"""Start, stop and find the one PostgreSQL server of a data folder.

Any process may start it; it outlives the one that did and runs until `stop()`. Below `home`:

    postgresql/     the cluster, which appears whole, by a rename
    password        of the superuser `syncer`, 0600
    port            where it listened last, kept for the sake of BI tools
    lock            held while somebody starts or stops it
    programs-18.4/  as root, where needed: a copy that `nobody` can run

Invariant: the state changes only under the lock, and a process counts as the server only while its command
line names the cluster, so that no stale postmaster.pid, no zombie and no stranger with a reused pid passes
for it. It must not know what the database holds.
"""

from __future__ import annotations

import logging
import os
import secrets
import shlex
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg.errors import DuplicateDatabase, UniqueViolation

from syncer.embedded.account import choose_home, make_home, run_program, server_account
from syncer.embedded.programs import Programs, choose_programs, reachable_programs
from syncer.errors import WarehouseError

if sys.platform != "win32":
    import fcntl

log = logging.getLogger(__name__)

CLUSTER = "postgresql"
SETTINGS = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "log_checkpoints": "off"}
START_SECONDS = 60
STOP_SECONDS = 60
POLL_SECONDS = 0.1
LAUNCHES = 20
LOG_LINES = 8


@dataclass(frozen=True)
class Postmaster:
    """A live server, as its postmaster.pid tells."""

    port: int
    ready: bool


class EmbeddedServer:
    """One PostgreSQL server on 127.0.0.1.

    `binaries` is a folder of server programs; without it the newest that can read the data are taken.
    `settings` are PostgreSQL's own and hold from the next start on. Without `port` a free one is chosen and
    kept while it stays free. `home` is where the files are: `data_dir`, or as root what may stand in for it.
    Every method raises WarehouseError, with the last lines of the server's log if it has written any.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        binaries: Path | None = None,
        settings: Mapping[str, str] | None = None,
        port: int | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if sys.platform == "win32":
            raise WarehouseError("the embedded PostgreSQL needs Linux or macOS", "set warehouse.url instead")
        self._account = server_account()
        self._configured = data_dir.expanduser().resolve()
        self.home = choose_home(self._configured, CLUSTER, self._account)
        self._data = self.home / CLUSTER
        self._log = self._data / "server.log"
        self._binaries = binaries
        self._settings = {**SETTINGS, **(settings or {})}
        self._port = port
        self._sleep = sleep

    def start(self) -> str:
        """Bring the server up unless it is, and return its URL. The first time takes a second or two."""
        with self._explained():
            make_home(self.home, self._account)
            with self._locked():
                if not (self._data / "PG_VERSION").exists():
                    self._initialise()
                try:
                    return self._bring_up()
                except WarehouseError:
                    if self.running():
                        raise
                    return self._bring_up()  # it went away as it was spoken to

    def stop(self) -> None:
        """End the server and every session on it; does nothing where none runs."""
        with self._explained():
            if not self.home.exists():
                return
            with self._locked():
                if self._postmaster() is not None:
                    self._shut_down()

    def url(self) -> str | None:
        """postgresql://syncer:PASSWORD@127.0.0.1:PORT/syncer while it takes connections, else None."""
        with self._explained():
            postmaster = self._postmaster()
            if postmaster is None or not postmaster.ready:
                return None
            password = (self.home / "password").read_text(encoding="ascii")
            return f"postgresql://syncer:{password}@127.0.0.1:{postmaster.port}/syncer"

    def running(self) -> bool:
        """Whether the server takes connections."""
        return self.url() is not None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise WarehouseError(
                f"the embedded PostgreSQL cannot use {error.filename or self.home}: {error.strerror}",
                "set warehouse.data_dir to a folder of this user's, on a disk with room",
            ) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # The descriptor is close-on-exec: a lock that the server inherited would last as long as the server.
        with os.fdopen(os.open(self.home / "lock", os.O_RDWR | os.O_CREAT, 0o600)) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _postmaster(self) -> Postmaster | None:
        try:
            lines = (self._data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return None
        if len(lines) < 4 or f" -D {self._data} " not in _command_line(int(lines[0])):
            return None
        return Postmaster(port=int(lines[3]), ready=len(lines) > 7 and lines[7].strip() == "ready")

    def _initialise(self) -> None:
        """Make the cluster aside and rename it: one that was cut short is never taken for whole."""
        for remains in self.home.glob("initdb-*"):
            shutil.rmtree(remains, ignore_errors=True)
        if self.home != self._configured:
            log.warning("nobody cannot enter %s, so the database is in %s", self._configured, self.home)
        programs = self._programs()
        work = Path(tempfile.mkdtemp(prefix="initdb-", dir=self.home))
        try:
            password = secrets.token_urlsafe(24)
            _write_private(self.home / "password", password)
            _write_private(work / "password", password)
            if self._account:
                self._account.own(work / "password", work)
            self._initdb(programs, work)
            (work / CLUSTER).rename(self._data)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _initdb(self, programs: Programs, work: Path) -> None:
        # The builtin provider sorts alike everywhere and for ever; the system's changes with an upgrade.
        provider = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if programs.major >= 17 else []
        login = ["--username=syncer", "--auth=scram-sha-256", f"--pwfile={work / 'password'}"]
        options = ["--locale=C", "--encoding=UTF8", *provider, *login, f"--pgdata={work / CLUSTER}"]
        made = run_program([programs.folder / "initdb", *options], self._account)
        if made.returncode:
            raise WarehouseError(
                f"PostgreSQL {programs.version} cannot fill {self.home}:\n{_last_lines(made.stdout)}",
                "mend what it names and start again; nothing of it was kept",
            )

    def _launch(self) -> None:
        """Start it: elsewhere if the old port is taken, again while the sessions of a killed server leave."""
        programs = self._programs()
        written = ""
        for _ in range(LAUNCHES):
            said = self._pg_ctl_start(programs)
            if self._postmaster() is not None:
                return
            written = self._log_tail() or _last_lines(said)
            if self._port is None and "could not create any TCP/IP sockets" in written:
                (self.home / "port").unlink()
            elif "shared memory block" not in written:
                break
            self._sleep(POLL_SECONDS)
        raise WarehouseError(
            f"the embedded PostgreSQL does not start:\n{written}", f"mend what its log names: {self._log}"
        )

    def _pg_ctl_start(self, programs: Programs) -> str:
        # PostgreSQL would take a zombie, or any process of the user with that pid, for a server. The sessions
        # of a killed one are still noticed without the file: their shared memory has the folder's inode.
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        if self._log.exists():
            self._log.replace(self._log.with_suffix(".log.1"))
        settings = {**self._settings, "port": str(self._chosen_port())}
        options = shlex.join(part for name, value in settings.items() for part in ("-c", f"{name}={value}"))
        wait = ["-w", f"--timeout={START_SECONDS}"]
        files = [f"--pgdata={self._data}", f"--log={self._log}"]
        start = [str(programs.folder / "pg_ctl"), "start", "-s", *wait, *files, f"--options={options}"]
        return run_program(start, self._account).stdout

    def _chosen_port(self) -> int:
        if self._port is not None:
            return self._port
        remembered = self.home / "port"
        if not remembered.exists():
            _write_private(remembered, str(_free_port()))
        return int(remembered.read_text(encoding="ascii"))

    def _bring_up(self) -> str:
        url = self._ready_url()
        self._create_database(url)
        return url

    def _ready_url(self) -> str:
        """Launch it, unless there is one that repairs itself or whose starter was killed, and wait until it is up."""
        for _ in range(int(START_SECONDS / POLL_SECONDS)):
            if self._postmaster() is None:  # there was none, or it was on its way down
                self._launch()
            url = self.url()
            if url is not None:
                return url
            self._sleep(POLL_SECONDS)
        raise WarehouseError(
            f"the embedded PostgreSQL is not up yet:\n{self._log_tail()}",
            f"after a crash it first repairs itself: try again, and look at {self._log}",
        )

    def _create_database(self, url: str) -> None:
        try:
            with psycopg.connect(urlsplit(url)._replace(path="/postgres").geturl(), autocommit=True) as db:
                if not db.execute("SELECT 1 FROM pg_database WHERE datname = 'syncer'").fetchone():
                    # The session of a starter that was killed may be at it still, whoever holds the lock.
                    with suppress(DuplicateDatabase, UniqueViolation):
                        db.execute("CREATE DATABASE syncer")
        except psycopg.Error as error:
            raise WarehouseError(
                f"the embedded PostgreSQL refuses us: {error}",
                f"look at {self._log}; if {self.home / 'password'} was changed, put it back",
            ) from error

    def _shut_down(self) -> None:
        stop = [str(self._programs().folder / "pg_ctl"), "stop", "-s", "-w", f"--timeout={STOP_SECONDS}"]
        # "immediate" is for one that hangs: it leaves a repair to the next start, and loses nothing.
        for mode in ("fast", "immediate"):
            run_program([*stop, f"--mode={mode}", f"--pgdata={self._data}"], self._account)
            if self._postmaster() is None:
                return
        raise WarehouseError(
            f"the embedded PostgreSQL does not stop:\n{self._log_tail()}", f"look at {self._log}"
        )

    def _programs(self) -> Programs:
        written_by = self._data / "PG_VERSION"
        major = int(written_by.read_text(encoding="ascii")) if written_by.exists() else None
        return reachable_programs(choose_programs(self._binaries, major), self.home, self._account)

    def _log_tail(self) -> str:
        if not self._log.exists():
            return ""
        return _last_lines(self._log.read_text(encoding="utf-8", errors="replace"))


def _command_line(pid: int) -> str:
    """The words of a live process with a blank after each; '' for a dead one or a zombie."""
    if not Path("/proc/self/cmdline").exists():
        return run_program(["ps", "-ww", "-o", "command=", "-p", str(pid)], None).stdout
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return words.replace(b"\0", b" ").decode(errors="replace")


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(text)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _last_lines(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-LOG_LINES:])
