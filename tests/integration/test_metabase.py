"""deploy/metabase: every question answers on a warehouse of all platforms, and setup.py fills a Metabase once.

The Metabase is a stand-in, written from the schemas of its API: it knows no field that they do not have.
"""

from __future__ import annotations

import http.server
import json
import re
import runpy
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner, Result
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import Connection, Engine

from syncer.warehouse import grant
from tests.questions import NOW

SETUP = Path(__file__).parents[2] / "deploy" / "metabase" / "setup.py"
QUESTIONS = sorted(SETUP.with_name("questions").glob("*.sql"))
SETTINGS = re.compile(r"-- (?:table|(?:bar|line) of (.+) by (\w+))")

EMAIL, PASSWORD = "admin@example.com", "p@ss w0rd"
WAREHOUSE_PASSWORD = "p@ss/w:rd"
WAREHOUSE_URL = "postgresql://bi:p%40ss%2Fw%3Ard@postgres:5432/syncer"


# The questions


@pytest.fixture
def reader(copied: Engine) -> Iterator[Connection]:
    """A connection with the rights of a role that `syncer grant` was asked to give them; nothing of it stays."""
    with copied.connect() as db:
        db.exec_driver_sql("CREATE ROLE metabase_reader")
        grant(db, "metabase_reader", payloads=False)
        db.exec_driver_sql("SET LOCAL ROLE metabase_reader")
        yield db
        db.rollback()


def asked(db: Connection, sql: str) -> tuple[list[str], list[Any]]:
    """Columns and rows."""
    now = f"timestamptz '{NOW:%Y-%m-%d %H:%M}+00'"
    answer = db.exec_driver_sql(sql.replace("now()", now).replace("%", "%%"))
    return list(answer.keys()), list(answer.all())


@pytest.mark.parametrize("path", QUESTIONS, ids=lambda path: path.stem)
def test_every_question_answers_to_a_role_that_only_reads(path: Path, reader: Connection) -> None:
    sql = path.read_text(encoding="utf-8")
    columns, rows = asked(reader, sql)
    assert rows
    assert not re.search(r"\{\{|\[\[", sql), "Metabase's own brackets"
    drawn = SETTINGS.fullmatch(sql.splitlines()[1])
    assert drawn
    if drawn[2]:
        assert [drawn[2], *drawn[1].split(", ")] == columns
        assert [row[0] for row in rows] == sorted({row[0] for row in rows}), "one row per day"


def test_what_the_first_question_counts_is_what_the_warehouse_holds(reader: Connection) -> None:
    _, rows = asked(reader, QUESTIONS[0].read_text(encoding="utf-8"))
    _, [(runs,)] = asked(reader, "SELECT count(*) FROM history.executions WHERE created_at <= now()")
    assert sum(sum(row[1:]) for row in rows) == runs


# The stand-in


class Strict(BaseModel):
    """What a request may hold, and nothing else."""

    model_config = ConfigDict(extra="forbid", strict=True)


class User(Strict):
    email: str = Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")
    password: str = Field(min_length=6, pattern=r"\d")
    first_name: str | None = None
    last_name: str | None = None


class Preferences(Strict):
    site_name: str = Field(min_length=1)
    site_locale: str | None = None


class Setup(Strict):
    token: str
    user: User
    prefs: Preferences


class Credentials(Strict):
    username: str
    password: str


class Details(Strict):
    """Of a PostgreSQL."""

    host: str
    port: int
    dbname: str
    user: str
    password: str
    ssl: bool = False
    schema_filters_type: str = Field(alias="schema-filters-type", pattern="^(all|inclusion|exclusion)$")
    schema_filters_patterns: str = Field(alias="schema-filters-patterns")


class Database(Strict):
    name: str = Field(min_length=1)
    engine: str = Field(pattern="^postgres$")
    details: Details
    is_full_sync: bool = True


class Collection(Strict):
    name: str = Field(min_length=1)
    description: str | None = None
    parent_id: int | None = None


class Native(Strict):
    query: str
    template_tags: dict[str, Any] = Field(default={}, alias="template-tags")


class Query(Strict):
    database: int
    type: str = Field(pattern="^native$")
    native: Native


class Card(Strict):
    name: str = Field(min_length=1)
    dataset_query: Query
    display: str = Field(pattern="^(table|bar|line)$")
    visualization_settings: dict[str, Any]
    description: str | None = None
    collection_id: int | None = None


class Dashboard(Strict):
    name: str = Field(min_length=1)
    description: str | None = None
    collection_id: int | None = None


class Place(Strict):
    id: int
    card_id: int
    row: int = Field(ge=0)
    col: int = Field(ge=0)
    size_x: int = Field(gt=0)
    size_y: int = Field(gt=0)


class Placed(Strict):
    dashcards: list[Place]


class Refused(Exception):
    """Answered with this status and document."""

    def __init__(self, status: int, document: Any) -> None:
        super().__init__(status, document)
        self.status = status
        self.document = document


MADE: dict[str, type[BaseModel]] = {
    "database": Database,
    "collection": Collection,
    "card": Card,
    "dashboard": Dashboard,
}


class StandIn:
    """A new Metabase. What was made in it is in `made`, by kind; `writes` counts what changed it."""

    def __init__(self) -> None:
        self.user: User | None = None
        self.made: dict[str, list[dict[str, Any]]] = {kind: [] for kind in MADE}
        self.writes = 0
        self.breaks_at = -1
        """The write that is answered with 500, and is lost."""

    def answer(self, method: str, path: str, session: str | None, body: Any) -> Any:
        """What the API answers; raises Refused."""
        if path in {"session/properties", "setup", "session"}:
            return self._let_in(method, path, body)
        if session != "session-1":
            raise Refused(401, "Unauthenticated")
        match method, path.split("/"):
            case "GET", ["database"]:
                return {"data": self.made["database"], "total": len(self.made["database"])}
            case "GET", ["collection"]:
                return [{"id": "root", "name": "Our analytics"}, *self.made["collection"]]
            case "GET", ["collection", number, "items"]:
                return self._items(int(number))
            case "GET", ["dashboard", number]:
                return self._one("dashboard", int(number))
            case "PUT", ["dashboard", number]:
                return self._place(int(number), Placed.model_validate(body).dashcards)
            case "POST", [kind] if kind in MADE:
                return self._make(kind, MADE[kind].model_validate(body))
        raise Refused(404, "API endpoint does not exist.")

    def _let_in(self, method: str, path: str, body: Any) -> Any:
        match method, path:
            case "GET", "session/properties":
                return {"has-user-setup": bool(self.user), "setup-token": None if self.user else "token-1"}
            case "POST", "setup":
                self._make_user(Setup.model_validate(body))
            case "POST", "session":
                self._recognise(Credentials.model_validate(body))
        return {"id": "session-1"}

    def _make_user(self, asked: Setup) -> None:
        if asked.token != "token-1":
            raise Refused(400, {"errors": {"token": "Token does not match the setup token."}})
        if self.user:
            raise Refused(403, "The /api/setup route can only be used to create the first user")
        self._write()
        self.user = asked.user

    def _recognise(self, asked: Credentials) -> None:
        if not self.user or (asked.username, asked.password) != (self.user.email, self.user.password):
            raise Refused(401, {"errors": {"password": "did not match stored password"}})

    def _items(self, collection: int) -> Any:
        self._one("collection", collection)
        rows = [
            {"id": each["id"], "name": each["name"], "model": kind}
            for kind in ("dashboard", "card")
            for each in self.made[kind]
            if each["collection_id"] == collection
        ]
        return {"data": rows, "total": len(rows), "models": ["dashboard", "card"]}

    def _one(self, kind: str, number: int) -> dict[str, Any]:
        for each in self.made[kind]:
            if each["id"] == number:
                return each
        raise Refused(404, "Not found.")

    def _make(self, kind: str, asked: BaseModel) -> dict[str, Any]:
        match asked:
            case Database(details=Details(password=password)) if password != WAREHOUSE_PASSWORD:
                raise Refused(400, {"errors": {"password": "Looks like your password is incorrect."}})
            case Card(dataset_query=query):
                self._one("database", query.database)
        self._write()
        # Ids of one kind are not those of another.
        number = 100 * (1 + list(MADE).index(kind)) + len(self.made[kind])
        row = {"id": number, "dashcards": [], **asked.model_dump(by_alias=True)}
        self.made[kind].append(row)
        return row

    def _place(self, number: int, places: list[Place]) -> Any:
        dashboard = self._one("dashboard", number)
        for place in places:
            self._one("card", place.card_id)
        self._write()
        dashboard["dashcards"] = [place.model_dump() for place in places]
        return dashboard

    def _write(self) -> None:
        self.writes += 1
        if self.writes == self.breaks_at:
            raise Refused(500, "the application database is away")


class Handler(http.server.BaseHTTPRequestHandler):
    """HTTP in front of a StandIn, which the server holds as `metabase`."""

    def do_GET(self) -> None:
        self._reply(None)

    def do_POST(self) -> None:
        self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def do_PUT(self) -> None:
        self.do_POST()

    def _reply(self, body: Any) -> None:
        metabase: StandIn = vars(self.server)["metabase"]
        path, session = self.path.removeprefix("/api/"), self.headers["X-Metabase-Session"]
        try:
            status, document = 200, metabase.answer(self.command, path, session, body)
        except Refused as refused:
            status, document = refused.status, refused.document
        except ValidationError as error:
            status, document = 400, {"errors": {str(each["loc"]): each["msg"] for each in error.errors()}}
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(document).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Stage(NamedTuple):
    """A Metabase, where it is, and the secrets of whoever fills it."""

    metabase: StandIn
    url: str
    secrets: Path

    @property
    def env(self) -> dict[str, str]:
        """As docker-compose.yml sets it; with a proxy, as clients of Docker hand it on."""
        return {"METABASE_URL": self.url, "METABASE_EMAIL": EMAIL, "http_proxy": "http://127.0.0.1:9"}

    def fill(self) -> Result:
        """Run setup.py, as its container does but for where the secrets are."""
        main = runpy.run_path(str(SETUP))["main"]
        return CliRunner(env=self.env).invoke(main, ["--secrets", str(self.secrets)])


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    (tmp_path / "metabase_admin_password").write_text(PASSWORD)
    (tmp_path / "bi_url").write_text(WAREHOUSE_URL)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        metabase = vars(server)["metabase"] = StandIn()
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Stage(metabase, f"http://127.0.0.1:{server.server_port}", tmp_path)
        finally:
            server.shutdown()
            thread.join()


# Filling it


def test_a_new_metabase_has_a_dashboard_of_all_questions(stage: Stage) -> None:
    done = stage.fill()
    assert (done.exit_code, done.stdout, done.stderr) == (0, "the dashboard is made\n", "")
    made = stage.metabase.made
    (dashboard,) = made["dashboard"]
    titles = [path.read_text(encoding="utf-8").splitlines()[0].removeprefix("-- ") for path in QUESTIONS]
    cards = {card["id"]: card["name"] for card in made["card"]}
    assert [cards[place["card_id"]] for place in dashboard["dashcards"]] == titles
    assert {each["collection_id"] for each in [*made["card"], dashboard]} == {made["collection"][0]["id"]}


def test_it_asks_the_warehouse_what_the_files_say(stage: Stage) -> None:
    stage.fill()
    (database,) = stage.metabase.made["database"]
    details = database["details"]
    assert [details[key] for key in ("host", "port", "dbname", "user")] == ["postgres", 5432, "syncer", "bi"]
    for card, path in zip(stage.metabase.made["card"], QUESTIONS, strict=True):
        assert card["dataset_query"]["database"] == database["id"]
        assert card["dataset_query"]["native"]["query"] in path.read_text(encoding="utf-8")
        drawn = card["visualization_settings"]
        assert (card["display"] == "table") == (not drawn)
    first = stage.metabase.made["card"][0]
    assert first["visualization_settings"]["graph.dimensions"] == ["day"]
    assert "failed" in first["visualization_settings"]["graph.metrics"]


def test_no_question_lies_on_another(stage: Stage) -> None:
    stage.fill()
    (dashboard,) = stage.metabase.made["dashboard"]
    taken: set[tuple[int, int]] = set()
    for place in map(Place.model_validate, dashboard["dashcards"]):
        columns = range(place.col, place.col + place.size_x)
        cells = {(x, y) for x in columns for y in range(place.row, place.row + place.size_y)}
        assert columns.stop <= 24
        assert not cells & taken
        taken |= cells


def test_a_second_run_does_nothing(stage: Stage) -> None:
    stage.fill()
    writes = stage.metabase.writes
    command: list[str | Path] = [sys.executable, SETUP, "--secrets", stage.secrets]
    said = subprocess.run(command, env=stage.env, check=True, capture_output=True, text=True).stdout
    assert said == "the dashboard was there already\n"
    assert stage.metabase.writes == writes


def test_a_dashboard_that_a_person_has_changed_stays_so(stage: Stage) -> None:
    stage.fill()
    (dashboard,) = stage.metabase.made["dashboard"]
    del dashboard["dashcards"][1:], stage.metabase.made["card"][1:]
    stage.fill()
    assert (len(dashboard["dashcards"]), len(stage.metabase.made["card"])) == (1, 1)


def test_a_run_that_broke_off_anywhere_is_made_good_by_the_next(stage: Stage) -> None:
    stage.fill()
    whole, writes = stage.metabase.made, stage.metabase.writes
    for last in range(1, writes + 1):
        vars(stage.metabase).update(vars(StandIn()), breaks_at=last)
        broken = stage.fill()
        assert broken.exit_code == 1
        assert "Metabase answered 500 to " in broken.stderr
        assert stage.fill().exit_code == 0
        assert stage.metabase.made == whole


def test_a_changed_password_is_told_and_changes_nothing(stage: Stage) -> None:
    stage.fill()
    writes = stage.metabase.writes
    (stage.secrets / "metabase_admin_password").write_text("an0ther")
    done = stage.fill()
    assert done.exit_code == 1
    assert "Metabase answered 401 to POST /api/session" in done.stderr
    assert "write the password into the secret metabase_admin_password" in done.stderr
    assert stage.metabase.writes == writes


def test_a_warehouse_that_lets_nobody_in_is_told_in_metabases_words(stage: Stage) -> None:
    (stage.secrets / "bi_url").write_text("postgresql://bi:wrong@postgres:5432/syncer")
    done = stage.fill()
    assert done.exit_code == 1
    assert "Looks like your password is incorrect." in done.stderr
    assert not stage.metabase.made["dashboard"]


def test_a_metabase_that_is_not_there_is_told(stage: Stage) -> None:
    done = stage._replace(url="http://127.0.0.1:9").fill()
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: Metabase cannot be reached at http://127.0.0.1:9")


def test_no_secret_is_printed(stage: Stage) -> None:
    stage.metabase.breaks_at = 3
    said = [stage.fill(), stage.fill(), stage.fill()]
    for done in said:
        assert not re.search(
            f"{PASSWORD}|{WAREHOUSE_PASSWORD}|{re.escape(WAREHOUSE_URL)}", done.stdout + done.stderr
        )
