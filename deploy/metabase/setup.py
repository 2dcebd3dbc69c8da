"""Fills a new Metabase: its administrator, the warehouse, and a dashboard of the questions beside this file.

METABASE_URL says where it is and METABASE_EMAIL who signs in; the password and the warehouse's URL are secrets. A
dashboard that is there is left as it is, so this may run at every start.

A question is a file of SQL with its title in the first line and how it is shown in the second: `-- table`, or
`-- bar of A, B by C`, which draws columns A and B over C.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import click
import httpx

NAME = "syncer"
"""What the database, the collection and the dashboard are called."""

HEADER = re.compile(r"-- (?P<title>.+)\n-- (?P<display>\w+)(?: of (?P<metrics>.+) by (?P<dimension>\w+))?\n")
COLUMNS, WIDTH, HEIGHT = 24, 12, 8
"""Metabase's grid is 24 columns wide: two questions stand side by side."""

TIMEOUT = 60
"""Seconds: while it starts, and as it looks at a new database, Metabase takes its time."""

HINTS = {
    401: "its administrator has another password or e-mail address by now: write the password into the secret"
    " metabase_admin_password, the address into METABASE_EMAIL"
}
"""What to do about an answer of this status."""


class Question(NamedTuple):
    """A file of questions/: what Metabase calls a card."""

    title: str
    display: str
    settings: dict[str, Any]
    sql: str


class Metabase:
    """Its HTTP API, as far as it is needed here. What it refuses ends the program with its words."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The answer, parsed."""
        try:
            answer = self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise click.ClickException(
                f"Metabase cannot be reached at {self._http.base_url}: {error}"
            ) from None
        if answer.is_error:
            raise click.ClickException(_refusal(method, path, answer))
        return answer.json()

    def named(self, there: Iterable[dict[str, Any]], path: str, body: dict[str, Any]) -> int:
        """The id of the one among `there` that is called as `body` says, else of a new one."""
        for each in there:
            if each["name"] == body["name"]:
                return int(each["id"])
        return int(self.ask("POST", path, body)["id"])

    def sign_in(self, email: str, password: str) -> None:
        """As the administrator, who is made where there is none yet."""
        properties = self.ask("GET", "/api/session/properties")
        if properties["has-user-setup"]:
            session = self.ask("POST", "/api/session", {"username": email, "password": password})
        else:
            session = self.ask("POST", "/api/setup", _first_user(properties["setup-token"], email, password))
        self._http.headers["X-Metabase-Session"] = session["id"]


def _refusal(method: str, path: str, answer: httpx.Response) -> str:
    said = f"Metabase answered {answer.status_code} to {method} {path}: {answer.text[:500]}"
    hint = HINTS.get(answer.status_code)
    return f"{said} ({hint})" if hint else said


def _first_user(token: str, email: str, password: str) -> dict[str, Any]:
    return {
        "token": token,
        "user": {"email": email, "password": password, "first_name": "Admin", "last_name": NAME},
        "prefs": {"site_name": NAME},
    }


def questions(folder: Path) -> Iterator[Question]:
    """Those of a folder, in the order of their names."""
    for path in sorted(folder.glob("*.sql")):
        text = path.read_text(encoding="utf-8")
        header = HEADER.match(text)
        if not header:
            raise click.ClickException(f"{path.name} does not begin with a title and how it is shown")
        settings = _chart(header["dimension"], header["metrics"]) if header["dimension"] else {}
        yield Question(header["title"], header["display"], settings, text[header.end() :])


def _chart(dimension: str, metrics: str) -> dict[str, Any]:
    return {
        "graph.dimensions": [dimension],
        "graph.metrics": metrics.split(", "),
        "stackable.stack_type": "stacked" if "," in metrics else None,
    }


def connection(url: str) -> dict[str, Any]:
    """A PostgreSQL database as Metabase wants to be told of one."""
    parts = urlsplit(url)
    return {
        "name": NAME,
        "engine": "postgres",
        "details": {
            "host": parts.hostname,
            "port": parts.port,
            "dbname": parts.path.removeprefix("/"),
            "user": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
            "ssl": False,
            "schema-filters-type": "inclusion",
            "schema-filters-patterns": "history",
        },
    }


def card(question: Question, database: int, collection: int) -> dict[str, Any]:
    """A question as Metabase keeps it."""
    return {
        "name": question.title,
        "collection_id": collection,
        "display": question.display,
        "visualization_settings": question.settings,
        "dataset_query": {"database": database, "type": "native", "native": {"query": question.sql}},
    }


def placed(cards: list[int]) -> list[dict[str, Any]]:
    """Where each stands on the dashboard; a negative id is that of a place which is new."""
    return [
        {
            "id": -1 - nth,
            "card_id": made,
            "row": nth * WIDTH // COLUMNS * HEIGHT,
            "col": nth * WIDTH % COLUMNS,
            "size_x": WIDTH,
            "size_y": HEIGHT,
        }
        for nth, made in enumerate(cards)
    ]


def fill(metabase: Metabase, warehouse: str, asked: Iterable[Question]) -> bool:
    """Make what is missing. False if the dashboard was there already, with whatever is on it."""
    database = metabase.named(
        metabase.ask("GET", "/api/database")["data"], "/api/database", connection(warehouse)
    )
    collection = metabase.named(metabase.ask("GET", "/api/collection"), "/api/collection", {"name": NAME})
    items = metabase.ask("GET", f"/api/collection/{collection}/items")["data"]
    there = {kind: [each for each in items if each["model"] == kind] for kind in ("card", "dashboard")}
    dashboard = metabase.named(
        there["dashboard"], "/api/dashboard", {"name": NAME, "collection_id": collection}
    )
    if metabase.ask("GET", f"/api/dashboard/{dashboard}")["dashcards"]:
        return False
    cards = [metabase.named(there["card"], "/api/card", card(each, database, collection)) for each in asked]
    metabase.ask("PUT", f"/api/dashboard/{dashboard}", {"dashcards": placed(cards)})
    return True


@click.command()
@click.option("--url", envvar="METABASE_URL", required=True)
@click.option("--email", envvar="METABASE_EMAIL", required=True)
@click.option("--secrets", type=click.Path(path_type=Path), default="/run/secrets", show_default=True)
def main(url: str, email: str, secrets: Path) -> None:
    """Fill a new Metabase."""
    # No proxy of the environment: it lives in the same network.
    with httpx.Client(base_url=url, timeout=TIMEOUT, trust_env=False) as http:
        metabase = Metabase(http)
        metabase.sign_in(email, (secrets / "metabase_admin_password").read_text(encoding="utf-8"))
        warehouse = (secrets / "bi_url").read_text(encoding="utf-8")
        filled = fill(metabase, warehouse, questions(Path(__file__).with_name("questions")))
    click.echo("the dashboard is made" if filled else "the dashboard was there already")


if __name__ == "__main__":
    main()
