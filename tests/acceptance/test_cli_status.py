"""`syncer status`: whether all is well, what to do if not, on any screen."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from syncer.simulator import Outline
from syncer.simulator.qualys_flow import Simulator
from tests.acceptance.conftest import SYNCER, Cli
from tests.nursery import TIMEOUT
from tests.servers import Server

STANDING = {
    "connection", "platform", "base_url", "is_configured", "first_synced_at", "waiting_until", "waiting_reason",
    "quarantined", "steps_failed", "last_run", "audit", "leases", "partitions",
}  # fmt: skip
PARTITION = {
    "partition", "workflow_name", "watermark_at", "lag_seconds", "complete_from", "settled_until", "open_executions",
    "steps_due", "backlog_seconds", "last_success_at", "last_error", "last_error_at",
}  # fmt: skip


@pytest.fixture
def copied(cli: Cli) -> Cli:
    """A command whose one connection has been copied."""
    done = cli.run("sync")
    assert done.code == 0, done.err
    return cli


def test_the_first_line_says_that_all_is_well(copied: Cli) -> None:
    done = copied.run("status")
    assert done.code == 0
    first = done.out.splitlines()[0]
    assert first.startswith("All is well: 1 connection, 3 workflows, last read ")
    assert copied.run("status", "--json").document["is_well"] is True


def test_the_first_lines_say_what_to_do(copied: Cli, db: psycopg.Connection[Any]) -> None:
    db.execute(
        "INSERT INTO syncer.quarantine (connection_id, stream, record_id, partition, reason, first_seen_at,"
        " last_seen_at, times) VALUES ('flow', 'executions', 'r', 'w', 'no id', now(), now(), 1)"
    )
    db.execute(
        "UPDATE syncer.runs SET started_at = now() - interval '9 h', ended_at = now() - interval '8 h'"
    )
    first, idle, hint, quarantine, *_ = copied.run("status").out.splitlines()
    assert first == "2 things need you:"
    assert idle.startswith("  flow: was last polled 8h ago")
    assert "`syncer run`" in hint
    assert "1 record put aside" in quarantine
    document = copied.run("status", "--json").document
    assert document["is_well"] is False
    assert [need["kind"] for need in document["needs"]] == ["idle", "quarantine"]


def test_credentials_that_are_refused_are_told_with_their_hint(copied: Cli) -> None:
    copied.env["FLOW_PASSWORD"] = "wrong"
    assert copied.run("sync").code == 3
    (need,) = copied.run("status", "--json").document["needs"]
    assert need["kind"] == "failing"
    assert "refused the credentials" in need["message"]
    assert "wrong" not in need["message"]


def test_what_is_still_on_its_way_is_told_and_no_fault(bare: Cli) -> None:
    simulator = Simulator(Outline(workflows=2, executions=20))
    with simulator.serve() as url:
        bare.connect("flow", simulator, url)
        assert bare.run("sync", "--json").code == 0
        with psycopg.connect(str(bare.warehouse["url"]), autocommit=True) as db:
            db.execute(
                "UPDATE syncer.backfill_windows SET state = 'open', position = since + interval '5 days'"
            )
        told = bare.run("status").out
    assert told.startswith("All is well")
    assert "Still to be copied: up to 24d " in told
    assert "history in 2 workflows" in told


def test_the_document_keeps_its_keys(copied: Cli) -> None:
    document = copied.run("status", "--json").document
    assert {"at", "connections"} <= document.keys()
    (standing,) = document["connections"]
    assert standing.keys() >= STANDING
    assert all(each.keys() >= PARTITION for each in standing["partitions"])


def test_a_connection_whose_secret_is_not_here_does_not_hide_the_others(copied: Cli) -> None:
    auth = {"mode": "token", "token": {"env": "NOT_SET_HERE"}}
    copied.connections["other"] = {"platform": "qualys_flow", "base_url": "https://x.example", "auth": auth}
    done = copied.run("status")
    assert done.code == 0, done.err
    assert "other: cannot be used: connections.other.auth.token" in done.out
    assert "flow  qualys_flow" in done.out


def test_of_many_workflows_those_that_are_behind_are_shown(bare: Cli) -> None:
    simulator = Simulator(Outline(workflows=30, executions=30))
    behind, *others = simulator.truth.workflows.values()
    with simulator.serve() as url:
        bare.connect("flow", simulator, url)
        assert bare.run("sync").code == 0
    with psycopg.connect(str(bare.warehouse["url"]), autocommit=True) as db:
        db.execute(
            "UPDATE syncer.watermarks SET last_error = 'it is broken', last_error_at = now()"
            " WHERE stream = 'executions' AND partition = %s",
            [behind.id],
        )
        db.execute(
            "UPDATE history.workflows SET missing_since = now(), missing_reason = 'workflow_deleted'"
            " WHERE workflow_id = %s",
            [others[0].id],
        )
    told, every = bare.run("status").out, bare.run("status", "--all").out
    assert f"{behind.name} !" in told
    assert "and 24 more workflows, all of them well: see --all" in told
    assert "besides 1 deleted at the source" in told
    assert all(workflow.name in every for workflow in simulator.truth.workflows.values())
    assert f"{others[0].name} (deleted)" in every
    assert "see --all" not in every


@pytest.mark.parametrize("width", [40, 59, 80, 160])
def test_no_line_is_wider_than_the_screen_and_no_number_is_cut(copied: Cli, width: int) -> None:
    copied.env["COLUMNS"] = str(width)
    told = copied.run("status").out
    assert max(map(len, told.splitlines())) <= width
    rows = [line.split("  ") for line in told.splitlines() if "─" not in line and line.count("   ") > 1]
    assert len(rows) == 4
    assert not any("…" in cell for row in rows for cell in row[1:])


def test_who_works_on_what_is_shown_by_process(copied: Cli, db: psycopg.Connection[Any]) -> None:
    db.execute(
        "INSERT INTO syncer.leases (connection_id, stream, partition, lane, owner, until, version)"
        " SELECT 'flow', 'executions', partition, 'live', 'web-1/42/7', now() + interval '1 h', 1"
        " FROM unnest(ARRAY['a', 'b', 'c']) partition"
    )
    assert (
        "at work: web-1, process 42: executions a live, executions b live, and 1 more"
        in copied.run("status").out
    )


# Watching


class Screen:
    """A terminal that remembers all that was written to it."""

    def __init__(self, cli: Cli, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        env = {**cli.env, "TERM": "xterm", "COLUMNS": "80", "LINES": "40"}
        self.process = subprocess.Popen(
            [*SYNCER, *arguments], env=env, cwd=cli.folder, stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)
        self.written = ""

    def read_until(self, text: str) -> None:
        """Read on until a text that was not read before; whoever waits for ever fails."""
        until, start = time.monotonic() + TIMEOUT, len(self.written)
        while text not in self.written[start:]:
            assert time.monotonic() < until, self.written[start:]
            some = self._some()
            assert some, "it ended"
            self.written += some

    def rest(self) -> str:
        """What is written until the end."""
        rest = ""
        while some := self._some():
            rest += some
        return rest

    def _some(self) -> str:
        ready, _, _ = select.select([self._master], [], [], TIMEOUT)
        assert ready, f"nothing more came:\n{self.written}"
        try:
            return os.read(self._master, 65536).decode(errors="replace")
        except OSError:  # the other end is closed
            return ""

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)


@pytest.fixture
def screen(copied: Cli) -> Iterator[Screen]:
    copied.write()
    screen = Screen(copied, "status", "--watch")
    yield screen
    screen.close()


def test_watching_ends_with_ctrl_c_and_leaves_the_screen_as_it_was(screen: Screen) -> None:
    screen.read_until("All is well")
    assert "\x1b[?1049h" in screen.written
    screen.process.send_signal(signal.SIGINT)
    assert screen.rest().endswith("\x1b[?25h\x1b[?1049l")
    assert screen.process.wait(TIMEOUT) == 0


def test_watching_goes_on_while_the_warehouse_is_away(
    screen: Screen, server: Server, database_url: str
) -> None:
    screen.read_until("All is well")
    name = urlsplit(database_url).path.removeprefix("/")
    with psycopg.connect(server.url, autocommit=True) as db:
        db.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false".encode())
        db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        screen.read_until("does not answer")
        db.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true".encode())
    screen.read_until("All is well")


def test_watching_needs_a_terminal(copied: Cli) -> None:
    done = copied.run("status", "--watch")
    assert done.code == 2
    assert "--watch needs a terminal" in done.err
