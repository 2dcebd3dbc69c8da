"""The bundle of deploy/superset is whole: whatever a file names is there, in the bundle or in the warehouse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from ruamel.yaml import YAML

from syncer import schema
from syncer.dictionary import comments
from syncer.warehouse import views

BUNDLE = Path(__file__).parents[2] / "deploy" / "superset" / "bundle"
FILES = sorted(BUNDLE.rglob("*.yaml"))
COLUMNS = "columns", "all_columns", "groupby"
GRID = 12

Document = dict[str, Any]


def files(kind: str) -> list[Any]:
    """The documents of a kind, as parameters of tests."""
    return [pytest.param(document(path), id=path.stem) for path in FILES if path.parent.name == kind]


def document(path: Path) -> Document:
    read: Document = YAML(typ="safe").load(path)
    return read


def by_uuid(kind: str) -> dict[str, Document]:
    """The documents of a kind by their uuids."""
    found = [document(path) for path in (BUNDLE / kind).glob("*.yaml")]
    assert len({each["uuid"] for each in found}) == len(found)
    return {each["uuid"]: each for each in found}


DATASETS, CHARTS = by_uuid("datasets"), by_uuid("charts")


def relations(dataset: Document) -> list[str]:
    """The views and tables a dataset is made of."""
    return re.findall(r"history\.(\w+)", dataset.get("sql", "")) or [dataset["table_name"]]


def known(relation: str) -> dict[str, str]:
    """The columns of a view or table with what the data dictionary says of them."""
    if relation in views():
        _, *columns = comments(views()[relation]).items()
        return {name.removeprefix(f"{relation}."): about for name, about in columns}
    return {each.name: each.comment or "" for each in schema.metadata.tables[f"history.{relation}"].columns}


def calculated(dataset: Document) -> set[str]:
    return {each["column_name"] for each in dataset["columns"] if "expression" in each}


def places(dashboard: Document) -> dict[str, Document]:
    """The parts of a dashboard's grid by their ids."""
    return {name: part for name, part in dashboard["position"].items() if isinstance(part, dict)}


def placed(dashboard: Document) -> list[Document]:
    """What a dashboard says of its charts."""
    return [part["meta"] for part in places(dashboard).values() if part["type"] == "CHART"]


def filters(dashboard: Document) -> list[Document]:
    found: list[Document] = dashboard["metadata"]["native_filter_configuration"]
    return found


def test_every_view_that_is_not_of_labels_has_a_dataset() -> None:
    assert {each["table_name"] for each in DATASETS.values()} == views().keys() - {"execution_labels"}


@pytest.mark.parametrize("dataset", files("datasets"))
def test_a_dataset_is_a_view_with_its_columns_and_what_they_mean(dataset: Document) -> None:
    assert (dataset["schema"], dataset["catalog"]) == ("history", None)
    assert dataset["table_name"] == relations(dataset)[0]
    there = {name: about for each in reversed(relations(dataset)) for name, about in known(each).items()}
    told = {
        each["column_name"]: each["description"] for each in dataset["columns"] if "expression" not in each
    }
    assert told == {name: there.get(name) for name in told}
    joined = told.keys() - known(dataset["table_name"])
    assert [name for name in joined if f".{name}\n" not in dataset["sql"]] == []
    assert dataset["main_dttm_col"] in {
        each["column_name"] for each in dataset["columns"] if each.get("is_dttm")
    }


@pytest.mark.parametrize("dataset", files("datasets"))
def test_what_is_calculated_is_made_of_columns_that_are_there(dataset: Document) -> None:
    there = {name for each in relations(dataset) for name in known(each)}
    made = [each for each in (*dataset["metrics"], *dataset["columns"]) if "expression" in each]
    sql = re.sub(r"'[^']*'|::\w+|\b[A-Z]+\b|\b\w+(?=\()", "", " ".join(each["expression"] for each in made))
    assert set(re.findall(r"[a-z]\w*", sql)) <= there


@pytest.mark.parametrize("dataset", files("datasets"))
def test_no_metric_has_the_name_of_a_value_that_a_chart_shows(dataset: Document) -> None:
    names = {each["metric_name"] for each in dataset["metrics"]}
    assert not names & {"queued", "succeeded", "failed", "canceled", "unknown"}


@pytest.mark.parametrize("chart", files("charts"))
def test_a_chart_asks_for_what_its_dataset_has(chart: Document) -> None:
    dataset, asked = DATASETS[chart["dataset_uuid"]], chart["params"]
    columns = {name for each in relations(dataset) for name in known(each)} | calculated(dataset)
    metrics = {each["metric_name"] for each in dataset["metrics"]}
    assert asked["viz_type"] == chart["viz_type"]
    assert {name for key in COLUMNS for name in asked.get(key, ())} <= columns
    assert {*asked.get("metrics", ()), *filter(None, [asked.get("metric")])} <= metrics
    assert {asked.get("x_axis"), asked.get("timeseries_limit_metric")} <= columns | metrics | {None}
    assert {*asked.get("column_config", ())} <= columns | metrics
    assert {
        each["subject"] for each in asked["adhoc_filters"] if each["expressionType"] == "SIMPLE"
    } <= columns


@pytest.mark.parametrize("dashboard", files("dashboards"))
def test_a_dashboard_shows_charts_that_are_there(dashboard: Document) -> None:
    assert {each["uuid"]: each["sliceName"] for each in placed(dashboard)} == {
        each["uuid"]: CHARTS[each["uuid"]]["slice_name"] for each in placed(dashboard)
    }
    numbers = [each["chartId"] for each in placed(dashboard)]
    assert len({*numbers}) == len(numbers)
    assert {number for each in filters(dashboard) for number in each["scope"]["excluded"]} <= {*numbers}


def test_every_chart_is_on_a_dashboard() -> None:
    shown = {each["uuid"] for dashboard in by_uuid("dashboards").values() for each in placed(dashboard)}
    assert shown == CHARTS.keys()


@pytest.mark.parametrize("dashboard", files("dashboards"))
def test_every_row_of_a_dashboard_is_full(dashboard: Document) -> None:
    parts = places(dashboard)
    rows = [
        [parts[each]["meta"] for each in part["children"]] for part in parts.values() if part["type"] == "ROW"
    ]
    assert {sum(each["width"] for each in row) for row in rows} == {GRID}
    assert {len({each["height"] for each in row}) for row in rows} == {1}


@pytest.mark.parametrize("dashboard", files("dashboards"))
def test_every_part_of_a_dashboard_hangs_where_it_says(dashboard: Document) -> None:
    parts = places(dashboard)
    hung = {child: name for name, part in parts.items() for child in part.get("children", ())}
    assert hung.keys() == parts.keys() - {"ROOT_ID", "HEADER_ID"}
    assert {
        name: part["parents"][-1] for name, part in parts.items() if name in hung and "parents" in part
    } == {name: parent for name, parent in hung.items() if "parents" in parts[name]}


@pytest.mark.parametrize("dashboard", files("dashboards"))
def test_a_filter_offers_a_column_that_is_there(dashboard: Document) -> None:
    assert [each["name"] for each in filters(dashboard)] == ["Time", "Connection", "Workflow"]
    for target in (target for each in filters(dashboard) for target in each["targets"] if target):
        assert target["column"]["name"] in known(DATASETS[target["datasetUuid"]]["table_name"])


@pytest.mark.parametrize("dashboard", files("dashboards"))
def test_a_filter_reaches_every_chart_whose_dataset_has_its_column(dashboard: Document) -> None:
    for each in filters(dashboard):
        for target in filter(None, each["targets"]):
            reached = [
                chart for chart in placed(dashboard) if chart["chartId"] not in each["scope"]["excluded"]
            ]
            names = {CHARTS[chart["uuid"]]["dataset_uuid"] for chart in reached}
            assert [
                name for name in names if target["column"]["name"] not in known(DATASETS[name]["table_name"])
            ] == []


def test_an_outcome_has_one_colour_everywhere() -> None:
    colours = [each["metadata"]["label_colors"] for each in by_uuid("dashboards").values()]
    assert colours[0].keys() == {"queued", "running", "succeeded", "failed", "canceled", "unknown"}
    assert all(each == colours[0] for each in colours)


def test_the_time_that_is_shown_first_is_the_same_everywhere() -> None:
    charts = {
        each["comparator"]
        for chart in CHARTS.values()
        for each in chart["params"]["adhoc_filters"]
        if each.get("operator") == "TEMPORAL_RANGE"
    }
    first = {
        each["metadata"]["native_filter_configuration"][0]["defaultDataMask"]["filterState"]["value"]
        for each in by_uuid("dashboards").values()
    }
    assert charts == first
    assert len(first) == 1


def strings(value: Any) -> Iterator[tuple[str, str]]:
    """Every string of a document with the key it stands under."""
    match value:
        case dict():
            for key, inner in value.items():
                yield from ((found if found != "" else key, text) for found, text in strings(inner))
        case list():
            for inner in value:
                yield from strings(inner)
        case str():
            yield "", value


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_file_holds_a_password_or_an_address(path: Path) -> None:
    for key, text in strings(document(path)):
        assert not re.search("password|secret|token", key)
        if key == "sqlalchemy_uri":
            assert text == "postgresql+psycopg2://bi@warehouse.invalid/syncer"
        else:
            assert "://" not in text
        if key.endswith("uuid"):
            assert str(UUID(text)) == text
