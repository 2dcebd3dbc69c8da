"""The dashboards of deploy/grafana: every query answers on a warehouse of all platforms, every metric exists.

Grafana's macros are expanded here as its documents say.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tests.questions import NOW

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "deploy" / "grafana"
DASHBOARDS = {
    path.stem: json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))
}
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"

WAREHOUSE, PROMETHEUS = "syncer-warehouse", "syncer-prometheus"


def panels(source: str) -> list[Any]:
    """Every panel that asks this source, as parameters of tests."""
    return [
        pytest.param(panel, id=f"{name}: {panel['title']}")
        for name, dashboard in DASHBOARDS.items()
        for panel in dashboard["panels"]
        if panel["datasource"]["uid"] == source
    ]


def expanded(sql: str, connections: str) -> str:
    """The query as Grafana sends it for the last thirty days."""
    start, end = (f"'{each:%Y-%m-%dT%H:%M:%SZ}'" for each in (NOW - timedelta(days=30), NOW))
    sql = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 BETWEEN {start} AND {end}", sql)
    sql = sql.replace("$__timeFrom()", start).replace("$__timeTo()", end).replace("$connection", connections)
    assert "$" not in sql
    return sql


def asked(engine: Engine, sql: str) -> tuple[list[str], list[Any]]:
    """Columns and rows."""
    with engine.connect() as db:
        names = [name for (name,) in db.execute(text("SELECT connection_id FROM history.connections"))]
        answer = db.exec_driver_sql(
            expanded(sql, ", ".join(f"'{name}'" for name in names)).replace("%", "%%")
        )
        return list(answer.keys()), list(answer.all())


@pytest.mark.parametrize("panel", panels(WAREHOUSE))
def test_every_query_answers(panel: dict[str, Any], copied: Engine) -> None:
    (target,) = panel["targets"]
    columns, rows = asked(copied, target["rawSql"])
    assert rows
    if target["format"] == "time_series":
        assert columns[:2] == ["time", "metric"]
        assert {type(row[0]) for row in rows} == {datetime}
        assert [row[0] for row in rows] == sorted(row[0] for row in rows)
        assert all(row[0].astimezone(UTC).hour == 0 for row in rows), "days are days of UTC"
    if panel["type"] == "stat":
        assert len(rows) == len(rows[0]) == 1
    named = {each["matcher"]["options"] for each in panel["fieldConfig"]["overrides"]}
    outcomes = {"succeeded", "failed", "canceled", "running", "queued", "unknown"}
    assert named <= {*columns, *outcomes}, "what is overridden is there"


@pytest.mark.parametrize("panel", panels(WAREHOUSE))
def test_every_query_is_narrowed_to_the_chosen_connections(panel: dict[str, Any], copied: Engine) -> None:
    (target,) = panel["targets"]
    with copied.connect() as db:
        rows = db.exec_driver_sql(expanded(target["rawSql"], "'nobody'").replace("%", "%%")).all()
    assert all(value in (None, 0) for row in rows for value in row)


def test_what_a_dashboard_counts_is_what_the_warehouse_holds(copied: Engine) -> None:
    stats = {
        panel["title"]: asked(copied, panel["targets"][0]["rawSql"])[1][0][0]
        for panel in DASHBOARDS["overview"]["panels"]
        if panel["type"] == "stat"
    }
    with copied.connect() as db:
        runs, failed, succeeded = db.execute(
            text(
                "SELECT count(*), count(*) FILTER (WHERE outcome = 'failed'),"
                " count(*) FILTER (WHERE outcome = 'succeeded') FROM history.executions WHERE created_at <= :now"
            ),
            {"now": NOW},
        ).one()
    assert (stats["Runs"], stats["Failed"]) == (runs, failed)
    assert stats["Success rate"] == pytest.approx(succeeded / (succeeded + failed))


def metrics_of(expression: str) -> set[str]:
    return set(re.findall(r"\b(syncer_\w+|process_\w+)", expression))


@pytest.mark.parametrize("panel", panels(PROMETHEUS))
def test_every_metric_is_documented(panel: dict[str, Any]) -> None:
    documented = set(
        re.findall(r"^\| `(syncer_\w+)`", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE)
    )
    counters = {f"{name}_total" for name in documented} | documented | {"process_resident_memory_bytes"}
    for target in panel["targets"]:
        assert metrics_of(target["expr"])
        assert metrics_of(target["expr"]) <= counters


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_is_whole(name: str) -> None:
    dashboard = DASHBOARDS[name]
    assert dashboard["uid"] == f"syncer-{name}"
    assert dashboard["timezone"] == "utc"
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, "no panel lies on another"
        taken |= cells


def test_the_sources_that_dashboards_ask_are_provisioned() -> None:
    provisioned = set(
        re.findall(r"uid: (\S+)", (GRAFANA / "provisioning/datasources/syncer.yaml").read_text())
    )
    named = {panel["datasource"]["uid"] for each in DASHBOARDS.values() for panel in each["panels"]}
    assert named == provisioned == {WAREHOUSE, PROMETHEUS}


def test_the_alerts_are_those_of_the_runbook() -> None:
    assert f"```yaml\n{ALERTS.read_text()}```" in (ROOT / "docs" / "operations.md").read_text()


@pytest.mark.skipif(not shutil.which("promtool"), reason="there is no promtool here")
def test_prometheus_accepts_alerts_and_expressions(tmp_path: Path) -> None:
    expressions = [
        target["expr"].replace("$connection", ".*").replace("$__rate_interval", "5m")
        for dashboard in DASHBOARDS.values()
        for panel in dashboard["panels"]
        for target in panel["targets"]
        if "expr" in target
    ]
    rules = [{"record": f"panel:{place}", "expr": each} for place, each in enumerate(expressions)]
    panels = tmp_path / "panels.yml"
    panels.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    for command in (
        ["promtool", "check", "rules", str(ALERTS), str(panels)],
        ["promtool", "check", "config", str(ALERTS.with_name("prometheus.yml"))],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
