"""A source written by following docs/adding-a-source.md is found and works, and nothing else was edited for it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import psycopg
import pytest

from syncer.simulator import Answer, Request
from syncer.simulator.server import serving
from tests.acceptance.conftest import Cli, execute
from tests.nursery import ROOT, Done

FOLDER = ROOT / "tests" / "sources"
DOCUMENT = ROOT / "docs" / "adding-a-source.md"
KEY, TEAM = "b34con-k3y", "red team"

LAUNCH = f"""
import sys
from syncer import sources
sources.__path__.append({str(FOLDER)!r})
from syncer.cli import main
sys.exit(main())
"""
"""syncer, with the folder of the new source beside those of the others."""


class Server:
    """Beacon: two flows with runs of every state, served in pages of at most four with cursors nobody can read."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_busy = False
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.runs = [self._run(flow, number) for flow in ("f1", "f2") for number in range(15)]

    def _run(self, flow: str, number: int) -> dict[str, Any]:
        """The first is still at work; the others began hours ago, three of them in the same millisecond."""
        state = ["working", "done", "broken", "stopped"][number % 4] if number else "working"
        created = self.now - timedelta(hours=max(number, 3), milliseconds=number == 0)
        run = {
            "key": f"{flow}-{number}",
            "flow": flow,
            "created": told(created),
            "by": "clock",
            "mood": "calm",
        }
        return {
            **run,
            "state": state,
            "ended": None if state == "working" else told(created + timedelta(minutes=1)),
        }

    def end_all(self) -> None:
        """Nothing is at work any more."""
        for run in self.runs:
            if run["state"] == "working":
                run |= {"state": "done", "ended": told(self.now)}

    def __call__(self, request: Request) -> Answer:
        query = dict(request.query)
        self.asked.append(request.path)
        if request.headers.get("x-beacon-key") != KEY:
            return Answer(401)
        if self.is_busy:
            self.is_busy = False
            return Answer(429, headers=(("Retry-After", "1"),))
        match request.path.split("/")[2:]:
            case ["red%20team", "flows"]:
                flows = [{"key": each, "title": f"Flow {each}", "on": True} for each in ("f1", "f2")]
                return page("flows", flows, query)
            case ["red%20team", "runs"]:
                return page("runs", self._between(query), query)
            case ["red%20team", "runs", key] if found := [each for each in self.runs if each["key"] == key]:
                return Answer(body=json.dumps(found[0] | {"tasks": tasks(found[0])}).encode())
        return Answer(404)

    def _between(self, query: dict[str, str]) -> list[dict[str, Any]]:
        first, last = query["from"], query["to"]
        chosen = [
            each for each in self.runs if each["flow"] == query["flow"] and first <= each["created"] <= last
        ]
        return sorted(chosen, key=lambda each: (each["created"], each["key"]))


def told(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def page(name: str, rows: list[dict[str, Any]], query: dict[str, str]) -> Answer:
    """At most four rows, and the cursor of the next where there are more."""
    start = int(bytes.fromhex(query["after"]).decode()) if "after" in query else 0
    end = start + min(int(query["limit"]), 4)
    after = str(end).encode().hex() if end < len(rows) else None
    return Answer(body=json.dumps({name: rows[start:end], "after": after}).encode())


def tasks(run: dict[str, Any]) -> list[dict[str, Any]]:
    """Two of a run that has ended, one of another."""
    began, ended = run["created"], run["ended"]
    given = {"host": "h1", "api_token": "t0p-s3cret"}
    first = {"key": f"{run['key']}/1", "task": "look", "title": "Look up", "began": began, "given": given}
    if ended is None:
        return [{**first, "state": "working"}]
    second = {"key": f"{run['key']}/2", "task": "act", "title": "Act", "began": ended, "state": run["state"]}
    error = "it broke" if run["state"] == "broken" else None
    made = json.dumps({"hosts": 3})
    return [
        {**first, "state": "done", "ended": ended, "made": made},
        {**second, "ended": ended, "error": error},
    ]


@pytest.fixture
def beacon() -> Server:
    return Server()


@pytest.fixture
def cli(bare: Cli, beacon: Server) -> Iterator[Cli]:
    """syncer with one connection, to Beacon."""

    def http_date() -> str:
        return format_datetime(datetime.now(UTC), usegmt=True)

    bare.env["BEACON_KEY"] = KEY
    with serving(beacon, http_date) as url:
        bare.connections["red"] = {
            "platform": "beacon",
            "base_url": url,
            "auth": {"mode": "key", "key": {"env": "BEACON_KEY"}},
            "team": TEAM,
            "settle": "0s",
            "requests_per_second": 0,
        }
        yield bare


def run(cli: Cli, *arguments: str) -> Done:
    cli.write()
    return execute([sys.executable, "-c", LAUNCH, *arguments], cli.env, cli.folder)


# The document


def test_the_document_shows_the_whole_file() -> None:
    shown = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    written = (FOLDER / "beacon.py").read_text(encoding="utf-8")
    assert "\n\n".join(each.strip() for each in shown).split() == written.split()
    assert all(each.strip() in written for each in shown)


# The source


def test_it_is_found_and_its_keys_are_known(cli: Cli) -> None:
    del cli.connections["red"]["team"]
    done = run(cli, "check")
    assert done.code != 0
    assert "connections.red.team: missing; write the team's name" in done.out + done.err


def test_check_finds_nothing_wrong(cli: Cli, beacon: Server) -> None:
    done = run(cli, "check")
    assert done.code == 0, done.out + done.err
    assert "✗" not in done.out
    assert "by cursor, 100 rows a page" in done.out
    assert "beacon" in done.out


def test_a_wrong_key_is_told_with_the_hint_that_the_source_gives(cli: Cli) -> None:
    cli.env["BEACON_KEY"] = "wrong"
    done = run(cli, "check")
    assert done.code == 3
    assert "withdrawn in Beacon's settings" in done.out


def test_everything_is_copied_and_stays_as_it_is(
    cli: Cli, beacon: Server, db: psycopg.Connection[Any]
) -> None:
    beacon.is_busy = True
    done = run(cli, "sync")
    assert done.code == 0, done.out + done.err
    rows = "SELECT execution_id, workflow_id, status, outcome, trigger, extra FROM history.executions"
    outcomes = {"working": "running", "done": "succeeded", "broken": "failed", "stopped": "canceled"}
    assert {row[0]: row[1:] for row in db.execute(rows)} == {
        each["key"]: (each["flow"], each["state"], outcomes[each["state"]], "clock", {"mood": "calm"})
        for each in beacon.runs
    }
    steps = "SELECT execution_id, count(*)::int FROM history.steps GROUP BY 1"
    ended = {each["key"]: 2 for each in beacon.runs if each["ended"]}
    assert {key: count for key, count in db.execute(steps).fetchall() if key in ended} == ended
    io = "SELECT input, output FROM history.step_io WHERE execution_id = 'f1-1' AND node_id = 'look'"
    assert db.execute(io).fetchall() == [({"host": "h1", "api_token": "[redacted]"}, {"hosts": 3})]
    before = db.execute("SELECT xmin, ctid, execution_id FROM history.executions ORDER BY 3").fetchall()
    assert run(cli, "sync").code == 0
    assert (
        db.execute("SELECT xmin, ctid, execution_id FROM history.executions ORDER BY 3").fetchall() == before
    )


def test_what_was_at_work_is_read_again_until_it_has_ended(
    cli: Cli, beacon: Server, db: psycopg.Connection[Any]
) -> None:
    run(cli, "sync")
    beacon.end_all()
    assert run(cli, "sync").code == 0
    open_ones = "SELECT count(*)::int FROM history.executions WHERE settled_at IS NULL"
    assert db.execute(open_ones).fetchone() == (0,)
    status = run(cli, "status", "--json")
    assert status.code == 0
    assert [each["connection"] for each in json.loads(status.out)["connections"]] == ["red"]
