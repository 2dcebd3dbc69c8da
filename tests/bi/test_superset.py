"""The bundle in deploy/superset: a Superset started as its container starts it shows what the warehouse holds."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest
from ruamel.yaml import YAML
from sqlalchemy import Engine, text

from tests.bi.conftest import BUNDLE, PICTURES, TIMEOUT, Superset
from tests.browser import CHROMIUM

SOC = (
    "?native_filters=(NATIVE_FILTER-connection:(id:NATIVE_FILTER-connection,ownState:(),"
    "extraFormData:(filters:!((col:connection_id,op:IN,val:!(soc)))),filterState:(value:!(soc))))"
)
PAGES = {
    "superset-overview": "/superset/dashboard/syncer-overview/",
    "superset-failures": "/superset/dashboard/syncer-failures/",
    "overview of soc": f"/superset/dashboard/syncer-overview/{SOC}",
    "failures of soc": f"/superset/dashboard/syncer-failures/{SOC}",
}
KINDS = ("database", "dataset", "chart", "dashboard")

LATELY = "day > (now() AT TIME ZONE 'UTC')::date - 30"
NUMBERS = {
    "Runs": f"SELECT count(*) FROM history.execution_facts WHERE {LATELY}",
    "Success rate": (
        "SELECT sum((outcome = 'succeeded')::int)::float / sum((outcome IN ('succeeded', 'failed'))::int)"
        f" FROM history.execution_facts WHERE {LATELY}"
    ),
    "Failed": f"SELECT count(*) FROM history.execution_facts WHERE {LATELY} AND outcome = 'failed'",
    "p95 duration": (
        "SELECT percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms)"
        f" FROM history.execution_facts WHERE {LATELY}"
    ),
    "Running now": "SELECT count(*) FROM history.executions WHERE outcome IN ('queued', 'running')",
    "Workflows concerned": (
        "SELECT count(*) FROM (SELECT DISTINCT connection_id, workflow_id"
        f" FROM history.execution_facts WHERE {LATELY} AND outcome = 'failed') concerned"
    ),
    "Different reasons": (
        f"SELECT count(DISTINCT failure_reason) FROM history.execution_facts WHERE {LATELY} AND outcome = 'failed'"
    ),
    "Failed steps": f"SELECT count(*) FROM history.step_facts WHERE {LATELY} AND outcome = 'failed'",
}
Seen = dict[str, Any]


@pytest.fixture(scope="module")
def seen(superset: Superset, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Both dashboards as a person sees them, whole and narrowed to one connection."""
    if not CHROMIUM:
        pytest.skip("there is no Chromium here")
    folder = tmp_path_factory.mktemp("pictures")
    with superset.running():
        seen = superset.look(PAGES, folder)
    for name in PAGES:
        if PICTURES and name.startswith("superset-"):
            shutil.copy(folder / f"{name}.png", PICTURES)
    return seen


def rows_of(seen: Seen, page: str) -> dict[str, list[dict[str, Any]]]:
    """What each chart of a page shows."""
    return {title: chart["rows"] for title, chart in seen["pages"][page]["charts"].items()}


def value(engine: Engine, query: str) -> Any:
    with engine.connect() as db:
        return db.execute(text(query)).scalar_one()


def titles(slug: str) -> set[str]:
    """The charts of a dashboard, as its file places them."""
    document = YAML(typ="safe").load(BUNDLE / "dashboards" / f"{slug}.yaml")
    places = document["position"].values()
    return {
        each["meta"]["sliceName"] for each in places if isinstance(each, dict) and each["type"] == "CHART"
    }


@pytest.mark.parametrize("slug", ["overview", "failures"])
def test_every_chart_shows_something(slug: str, seen: Seen) -> None:
    page = seen["pages"][f"superset-{slug}"]
    assert set(page["charts"]) == titles(slug)
    assert {(chart["status"], chart["error"]) for chart in page["charts"].values()} == {(200, None)}
    assert [title for title, chart in page["charts"].items() if not chart["rows"]] == []


@pytest.mark.parametrize("page", PAGES)
def test_no_page_complains(page: str, seen: Seen) -> None:
    assert seen["pages"][page]["complaints"] == []


def test_nothing_is_needed_from_elsewhere(seen: Seen) -> None:
    assert seen["elsewhere"] == []


@pytest.mark.parametrize("title", NUMBERS)
def test_a_number_is_the_one_that_the_warehouse_gives(title: str, seen: Seen, weeks: Engine) -> None:
    shown = rows_of(seen, "superset-overview") | rows_of(seen, "superset-failures")
    ((number,),) = (row.values() for row in shown[title])
    assert number == pytest.approx(value(weeks, NUMBERS[title]))


def test_the_time_that_is_shown_is_not_all_there_is(weeks: Engine) -> None:
    assert value(weeks, f"SELECT count(*) FROM history.execution_facts WHERE NOT {LATELY}") > 100


def test_the_outcomes_of_all_days_add_up_to_the_runs(seen: Seen) -> None:
    shown = rows_of(seen, "superset-overview")
    by_day = sum(count or 0 for row in shown["Runs by day"] for key, count in row.items() if key != "day")
    assert by_day == sum(row["runs"] for row in shown["Runs by outcome"]) == shown["Runs"][0]["runs"]


def test_a_rate_of_many_days_is_no_average_of_their_rates(seen: Seen, weeks: Engine) -> None:
    with weeks.connect() as db:
        counted = db.execute(
            text(
                "SELECT connection_id, workflow_name, sum((outcome = 'succeeded')::int),"
                " sum((outcome = 'failed')::int)"
                f" FROM history.execution_facts WHERE {LATELY} GROUP BY 1, 2"
            )
        ).all()
    shown = rows_of(seen, "superset-overview")["Workflows with most failures"]
    assert {(row["connection_id"], row["workflow_name"]): row["success_rate"] for row in shown} == {
        (connection, workflow): pytest.approx(good / (good + bad))
        for connection, workflow, good, bad in counted
    }
    assert [row["failed_runs"] for row in shown] == sorted((bad for *_, bad in counted), reverse=True)


def test_the_days_are_days_of_utc(seen: Seen, weeks: Engine) -> None:
    first = value(weeks, f"SELECT extract(epoch FROM min(day)) FROM history.execution_facts WHERE {LATELY}")
    assert rows_of(seen, "superset-overview")["Runs by day"][0]["day"] == 1000 * first


def test_a_chosen_connection_is_the_only_one_that_is_shown(seen: Seen, weeks: Engine) -> None:
    shown = rows_of(seen, "overview of soc")
    assert shown["Runs"] == [{"runs": value(weeks, f"{NUMBERS['Runs']} AND connection_id = 'soc'")}]
    assert shown["Running now"] == [
        {"running": value(weeks, f"{NUMBERS['Running now']} AND connection_id = 'soc'")}
    ]
    every = [
        row
        for page in ("overview of soc", "failures of soc")
        for rows in rows_of(seen, page).values()
        for row in rows
    ]
    assert {row["connection_id"] for row in every if "connection_id" in row} == {"soc"}
    assert {*shown["Success rate by day"][0]} == {"day", "soc"}


def test_the_whole_copy_is_shown_whatever_the_time(seen: Seen, weeks: Engine) -> None:
    shown = rows_of(seen, "superset-overview")
    assert len(shown["How far the copy is"]) == value(weeks, "SELECT count(*) FROM history.sync_freshness")
    assert shown["Furthest behind"][0]["furthest_behind_ms"] == pytest.approx(
        max(row["behind_ms"] for row in shown["How far the copy is"]), abs=60_000
    )


def counts(api: httpx.Client) -> dict[str, int]:
    """How many there are of each kind."""
    return {kind: api.get(f"/api/v1/{kind}/").raise_for_status().json()["count"] for kind in KINDS}


def shipped() -> dict[str, int]:
    """How many of each kind the bundle holds."""
    return {kind: len([*(BUNDLE / f"{kind}s").glob("*.yaml")]) for kind in KINDS}


def title_of(api: httpx.Client) -> str:
    """That of the first dashboard."""
    title: str = (
        api.get("/api/v1/dashboard/syncer-overview").raise_for_status().json()["result"]["dashboard_title"]
    )
    return title


def retitle(api: httpx.Client, title: str) -> None:
    number = api.get("/api/v1/dashboard/syncer-overview").raise_for_status().json()["result"]["id"]
    api.put(f"/api/v1/dashboard/{number}", json={"dashboard_title": title}).raise_for_status()


def zipped(bundle: Path) -> bytes:
    """As one makes it to import it by hand: the folder, with its name."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for file in bundle.rglob("*.yaml"):
            archive.write(file, file.relative_to(bundle.parent))
    return made.getvalue()


def test_edits_outlive_a_restart_and_give_way_to_a_new_bundle(
    superset: Superset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with superset.running() as api:
        assert counts(api) == shipped()
        retitle(api, "Ours")
    monkeypatch.setattr(superset, "bundle", shutil.copytree(BUNDLE, tmp_path / "bundle"))
    superset.tell("superset_admin_password", "another")
    with superset.running() as api:
        assert title_of(api) == "Ours"
        retitle(api, "Ours alone")
        imported = api.post(
            "/api/v1/dashboard/import/",
            files={"formData": ("b.zip", zipped(BUNDLE))},
            data={"overwrite": "true"},
        )
        assert imported.raise_for_status().json() == {"message": "OK"}
        assert counts(api) == shipped()
        assert title_of(api) != "Ours alone"
        retitle(api, "Ours again")
    file = superset.bundle / "dashboards" / "overview.yaml"
    file.write_text(file.read_text().replace("Workflows: overview", "Newer"))
    with superset.running() as api:
        assert title_of(api) == "Newer"
        assert counts(api) == shipped()


def test_the_password_of_the_warehouse_is_kept_nowhere(superset: Superset, bi_url: str) -> None:
    password = str(httpx.URL(bi_url).password)
    with superset.running() as api:
        (database,) = api.get("/api/v1/database/").raise_for_status().json()["result"]
        views = api.get(f"/api/v1/database/{database['id']}/tables/", params={"q": "(schema_name:history)"})
    assert "execution_facts" in views.text, "it came in"
    kept = [file.name for file in superset.home.rglob("*") if file.is_file() and password in _text(file)]
    assert kept == []
    assert password not in superset.said()


def _text(file: Path) -> str:
    return file.read_bytes().decode("latin-1")


@pytest.mark.parametrize("name", ["bi_url", "superset_secret_key", "superset_admin_password"])
def test_a_secret_that_is_missing_is_named(name: str, tmp_path: Path) -> None:
    secrets = {
        "bi_url": "postgresql://bi@127.0.0.1/x",
        "superset_secret_key": "k",
        "superset_admin_password": "p",
    }
    superset = Superset(tmp_path, secrets | {name: "\n"})
    assert superset.start().wait(TIMEOUT) == 1
    assert f"{name} is empty" in superset.said()
    (superset.secrets / name).unlink()
    assert superset.start().wait(TIMEOUT) == 1
    assert f"the secret {name} cannot be read" in superset.said()
