"""Secrets stay secret: planted wherever a source can put them, and searched for wherever the daemon can leave them.

The source quotes credentials in its errors, cuts bodies short and redirects; the payloads hold secrets in every shape
and wrapping. Then every word the commands have said, every metric and every byte of the database folder is searched.
"""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg import sql

from syncer.embedded import EmbeddedServer, installed_programs
from syncer.simulator import Outline
from syncer.simulator.payloads import PLANTED_SECRET
from syncer.simulator.qualys_flow import Credentials, Simulator
from syncer.warehouse import migrate
from tests.acceptance.conftest import Cli
from tests.acceptance.service import eventually, running
from tests.nursery import Done, Nursery
from tests.servers import QUICK, temporary_folder
from tests.torture.gossip import LIMIT, Gossip, document, payloads
from tests.torture.secrets_hunt import files, harmless, leaks, raw_bytes, secret, shows_harmless
from tests.torture.table import FULL, Verdict, note

CREDENTIALS = Credentials(password=secret("password ü&%"), client_secret=secret("client+/="))


def plant(simulator: Simulator) -> None:
    """Put secrets, and harmless values beside them, wherever a record has room."""
    truth = simulator.truth
    for workflow in truth.workflows.values():
        found = document("workflow")
        simulator.spoil(workflow.id, "description", f"uses token={secret('description')}")
        simulator.spoil(workflow.id, "properties", found)
        simulator.spoil(workflow.id, "futureField", found)
        simulator.spoil(workflow.id, "tags", [f"password={secret('tag')}", harmless("tag")])
        script = f"// {harmless('script')}\nlogin({{'password': '{secret('script')}'}}); x.token = '{secret('script')}'"
        component = {"id": "c", "name": harmless("node"), "target": {"script": script}, "inputs": found}
        definition = json.dumps({"variables": found, "components": [component]})
        simulator.spoil(workflow.id, "definition", definition)
        simulator.spoil(
            workflow.id, "last_execution_details", {"message": f"secret={secret('last')}", "x": found}
        )
    executions = sorted(truth.executions.values(), key=lambda each: each.created_ms)
    for execution in executions:
        found = document("execution")
        simulator.spoil(
            execution.id, "details", {"message": f"{harmless('m')} {json.dumps(found)}", "more": found}
        )
        simulator.spoil(execution.id, "categories", found)
        simulator.spoil(execution.id, "variables", [f"db_password={secret('variable')}", found])
        simulator.spoil(execution.id, "tags", [f"api key={secret('tag')}", harmless("tag")])
        simulator.spoil(execution.id, "source", f"Authorization={secret('trigger')}")
        simulator.spoil(execution.id, "futureField", found)
    inputs = [msgspec.Raw(payload) for payload in payloads().values()]
    attempts = [attempt for execution in executions[4:] for attempt in execution.attempts]
    for number, attempt in enumerate(attempts):
        for event in attempt.events:
            simulator.spoil(event.id, "input", inputs[number % len(inputs)])
            simulator.spoil(event.id, "output", inputs[(number + 10) % len(inputs)])
            simulator.spoil(
                event.id, "details", {"message": f"token={secret('step')}", "more": document("event")}
            )
    for attempt in attempts[
        len(inputs) : 2 * len(inputs)
    ]:  # in quarantine nothing is taken apart as a payload
        simulator.spoil(attempt.events[-1].id, "id", None)
    for execution in executions[:2]:
        simulator.spoil(execution.id, "createdAt", f"password={secret('created')}")
    simulator.spoil(
        executions[2].id, None, f'cut {{"password": "{secret("item")}", "n": "{harmless("item")}"'
    )
    simulator.spoil(executions[3].id, None, msgspec.Raw(json.dumps(document("item")).encode()))


@contextmanager
def warehouse(folder: Path) -> Iterator[tuple[EmbeddedServer, str]]:
    """A server that logs every statement and packs nothing, and the address for a role whose password is a secret."""
    loud = {"log_statement": "all", "log_min_duration_statement": "0", "log_parameter_max_length": "-1"}
    server = EmbeddedServer(folder / "warehouse", settings=QUICK | loud)
    try:
        url = server.start()
        with psycopg.connect(url, autocommit=True) as db:
            hashed = db.pgconn.encrypt_password(secret("db").encode(), b"canary", b"scram-sha-256").decode()
            db.execute(sql.SQL("CREATE ROLE canary LOGIN SUPERUSER PASSWORD {}").format(hashed))
        migrate(url)
        with psycopg.connect(url, autocommit=True) as db:
            _unpack(db)
        host = url.rpartition("@")[2]
        yield server, f"postgresql://canary:{secret('db')}@{host}"
    finally:
        server.stop()


def _unpack(db: psycopg.Connection[Any]) -> None:
    """Store values beside the table as they are: what lies on the disk can then be searched."""
    long = db.execute(
        "SELECT a.attrelid::regclass::text, quote_ident(a.attname)"
        " FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
        " WHERE c.relnamespace IN ('history'::regnamespace, 'syncer'::regnamespace) AND c.relkind = 'r'"
        " AND a.attnum > 0 AND a.attstorage = 'x'"
    ).fetchall()
    for table, column in long:
        db.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STORAGE EXTERNAL".encode())


@pytest.fixture
def simulator() -> Simulator:
    simulator = Simulator(Outline(workflows=2, executions=10, running=1, steps=3), credentials=CREDENTIALS)
    plant(simulator)
    return simulator


def configured(nursery: Nursery, folder: Path, simulator: Simulator, url: str, address: str) -> Cli:
    """Two connections, one for each way to sign in, their secrets in the environment, in a file and in the text."""
    cli = Cli(folder, address, nursery)
    cli.service = {"listen": "", "log_format": "json"}
    plain = {"max_payload_bytes": LIMIT, "max_response_bytes": 3_000_000, "variables": True, "poll": "1s"}
    cli.connect("flow", simulator, url, **plain)
    (folder / "client").write_text(simulator.credentials.client_secret)
    client = {
        "mode": "client",
        "client_id": simulator.credentials.client_id,
        "client_secret": {"file": str(folder / "client")},
    }
    cli.connect("client", simulator, url, auth=client, **plain | {"steps": False})
    token = {"mode": "token", "token": secret("token")}
    cli.connect("refused", simulator, url, auth=token, **plain)
    return cli


class Heard:
    """Everything the commands have said, by who said it."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    def add(self, name: str, *texts: str) -> None:
        self.words[name] = "\n".join([self.words.get(name, ""), *texts])

    def run(self, cli: Cli, *arguments: str) -> Done:
        done = cli.run("--debug", *arguments)
        self.add(" ".join(arguments), done.out, done.err)
        assert "Traceback" not in done.err or "--debug" in done.err, done.err
        return done


def use(cli: Cli, heard: Heard) -> None:
    """What people do with it, while the source misbehaves."""
    heard.run(cli, "check")
    heard.run(cli, "sync", "--json", "--for", "40s")
    heard.run(cli, "sync", "--connection", "flow", "--for", "20s")
    heard.run(cli, "status", "--json")
    heard.run(cli, "backfill", "--since", "3d", "--dry-run")
    heard.run(cli, "config", "show")
    listed = heard.run(cli, "quarantine", "list", "--json").document["records"]
    assert len(listed) > len(payloads())
    shown = [record["record_id"] for record in listed if record["stream"] == "steps"]
    heard.run(cli, "quarantine", "show", shown[0], "--json")
    heard.run(cli, "quarantine", "replay", "--all", "--json")
    if FULL:
        heard.run(cli, "check", "--json")
        heard.run(cli, "sync")
        heard.run(cli, "status")
        heard.run(cli, "config", "show", "--json")
        heard.run(cli, "verify", "--since", "2d", "--json")
        heard.run(cli, "quarantine", "list")
        for record_id in shown[1::9]:
            heard.run(cli, "quarantine", "show", record_id)


def serve(cli: Cli, heard: Heard, simulator: Simulator) -> None:
    """The service with its pages, while the source misbehaves."""
    cli.service["listen"] = "127.0.0.1:0"
    with running(cli) as service:
        service.await_event("listening")
        (told,) = service.told("listening")
        address = next(str(value) for value in told.values() if "127.0.0.1:" in str(value))
        base = address if address.startswith("http") else f"http://{address}"
        simulator.clear_requests()
        eventually(lambda: simulator.counts["workflows"] > 6, "a few polls")
        for page in ("/metrics", "/healthz", "/readyz", "/"):
            with urllib.request.urlopen(base + page) as answer:
                heard.add(page, answer.read().decode())
        service.end()
    heard.add("run", *service.said)


def dumped(url: str) -> bytes:
    """The whole database as pg_dump tells it; nothing where no fitting program is found."""
    with psycopg.connect(url) as db:
        major = db.info.server_version // 10_000
    for programs in installed_programs():
        if programs.major == major and (programs.folder / "pg_dump").exists():
            return subprocess.run([programs.folder / "pg_dump", url], check=True, capture_output=True).stdout
    return b""


def states(url: str) -> Counter[str]:
    """How many inputs have which state."""
    with psycopg.connect(url) as db:
        return Counter(
            dict(db.execute("SELECT input_state, count(*) FROM history.step_io GROUP BY 1").fetchall())
        )


def test_no_secret_turns_up_in_anything_the_daemon_says_or_stores(
    simulator: Simulator, nursery: Nursery, tmp_path: Path
) -> None:
    gossip, heard = Gossip(), Heard()
    with temporary_folder() as folder, warehouse(folder) as (server, address), simulator.serve() as url:
        cli = configured(nursery, tmp_path, simulator, url, address)
        simulator.fault = gossip
        use(cli, heard)
        serve(cli, heard, simulator)
        (tmp_path / "heard.json").write_text(json.dumps(heard.words, indent=1))
        text, raw, found = dumped(address), raw_bytes(address), states(address)
        with psycopg.connect(address, autocommit=True) as db:
            db.execute("CHECKPOINT")
        server.stop()
        stored = {str(path.relative_to(server.home)): path.read_bytes() for path in files(server.home)}
    assert min(gossip.told.values()) > 0
    assert len(gossip.told) == 10
    assert set(found) >= {"decoded", "text", "unsafe", "undecodable", "too_large"}, found
    said = [leak for name, words in heard.words.items() for leak in leaks(name, words)]
    kept = [leak for name, data in stored.items() for leak in leaks(name, data)]
    note("secrets planted, in everything said and stored", sum(gossip.told.values()), Verdict())
    assert said == []
    assert leaks("the dump", text) == []
    assert leaks("raw bytes", raw) == []
    assert kept == []
    assert not any(PLANTED_SECRET.encode() in data for data in stored.values())
    # The same search finds what is no secret in every one of these places.
    assert shows_harmless(heard.words["quarantine show " + first_shown(heard)])
    assert shows_harmless(text) or not text
    assert shows_harmless(raw)
    for kind in ("base/", "pg_wal/", "server.log"):
        assert any(shows_harmless(data) for name, data in stored.items() if kind in name), kind


def first_shown(heard: Heard) -> str:
    """The rest of the first command that showed a record."""
    return next(name for name in heard.words if name.startswith("quarantine show ")).removeprefix(
        "quarantine show "
    )
