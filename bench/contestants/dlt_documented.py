"""dlt as its documentation writes a pipeline of a REST API: declared, with dependent resources, merged by keys.

Executions are loaded incrementally by the time of their creation, the one that the API filters by.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import dlt
from dlt.sources.rest_api import RESTAPIConfig, rest_api_source

from bench.contestants.wire import API, CONCURRENCY, HOME, PAGE, WAREHOUSE, decoded, sign_in

JSON = {"data_type": "json"}
BEGINNING = datetime.now(UTC) - timedelta(days=30)


def iso(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def with_payloads(event: dict[str, Any]) -> dict[str, Any]:
    return event | {"input": decoded(event.get("input")), "output": decoded(event.get("output"))}


def config() -> RESTAPIConfig:
    return {
        "client": {
            "base_url": API,
            "auth": {"type": "bearer", "token": sign_in()},
            "paginator": {
                "type": "page_number",
                "base_page": 1,
                "page_param": "pageNumber",
                "total_path": None,
            },
        },
        "resource_defaults": {
            "primary_key": "id",
            "write_disposition": "merge",
            "max_table_nesting": 0,
            "endpoint": {"data_selector": "items", "params": {"order": "createdAt"}},
        },
        "resources": [
            {"name": "workflows", "endpoint": {"path": "workflows", "params": {"pageSize": PAGE}}},
            {
                "name": "executions",
                "endpoint": {
                    "path": "workflows/{resources.workflows.id}/executions",
                    # `start_param` would ask the second workflow from the newest of the first (dlt issue 2429).
                    "params": {"pageSize": PAGE, "startAt": "{incremental.start_value}"},
                    "incremental": {
                        "cursor_path": "createdAt",
                        "initial_value": round(BEGINNING.timestamp() * 1000),
                        "convert": iso,
                    },
                },
            },
            {
                "name": "step_events",
                "columns": {"input": JSON, "output": JSON},
                "processing_steps": [{"map": with_payloads}],
                "parallelized": True,
                "endpoint": {
                    "path": "executions/{resources.executions.id}/steps",
                    "params": {"includeData": "true"},
                    "paginator": "single_page",
                },
            },
        ],
    }


def main() -> None:
    dlt.config["runtime.dlthub_telemetry"] = False
    dlt.config["extract.workers"] = CONCURRENCY
    pipeline = dlt.pipeline(
        "qualys_flow",
        destination=dlt.destinations.postgres(WAREHOUSE),
        dataset_name="flow",
        pipelines_dir=f"{HOME}/dlt",
    )
    pipeline.run(rest_api_source(config()))


if __name__ == "__main__":
    main()
