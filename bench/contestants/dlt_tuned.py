"""dlt as fast as its documentation knows to make it: Arrow tables, COPY of CSV files, upsert, threads, larger buffers.

Payloads stay JSON text from the wire to PostgreSQL. Executions are loaded incrementally by the time of their creation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import dlt
import pyarrow as pa
from dlt.sources.helpers.rest_client import RESTClient
from dlt.sources.helpers.rest_client.auth import BearerTokenAuth
from dlt.sources.helpers.rest_client.paginators import PageNumberPaginator

from bench.contestants.wire import API, CONCURRENCY, HOME, PAGE, WAREHOUSE, sign_in, unpacked

Record = dict[str, Any]

UPSERT = {"disposition": "merge", "strategy": "upsert"}
TIMES = [(name, pa.int64()) for name in ("createdAt", "updatedAt", "startDate", "endDate")]
EXECUTIONS = pa.schema(
    [(name, pa.string()) for name in ("id", "workflow", "status", "source", "executionType")]
    + [(name, pa.string()) for name in ("parentExecutionId", "details", "categories", "tags")]
    + TIMES
)
EVENTS = pa.schema(
    [(name, pa.string()) for name in ("execution", "id", "nodeId", "nodeType", "status", "details", "tags")]
    + [("eventOrder", pa.int64()), ("input", pa.string()), ("output", pa.string())]
    + TIMES
)


def client() -> RESTClient:
    paginator = PageNumberPaginator(base_page=1, page_param="pageNumber", total_path=None)
    return RESTClient(API, auth=BearerTokenAuth(sign_in()), paginator=paginator, data_selector="items")


def of_json(*names: str) -> dict[str, Any]:
    """Hints for columns; dlt writes each one's name into its hint."""
    return {name: {"data_type": "json"} for name in names}


def as_text(record: Record) -> Record:
    """What goes into a column of JSON, as JSON."""
    return {
        name: json.dumps(value) if isinstance(value, dict | list) else value for name, value in record.items()
    }


def event(record: Record) -> Record:
    packed = {name: record.get(name) for name in ("input", "output")}
    return as_text(record) | {name: value and unpacked(value).decode() for name, value in packed.items()}


@dlt.source
def qualys_flow() -> Any:
    api = client()
    pool = ThreadPoolExecutor(CONCURRENCY)

    def steps(execution_id: str) -> list[Record]:
        asked = {"includeData": "true", "order": "createdAt"}
        found: list[Record] = api.get(f"executions/{execution_id}/steps", params=asked).json()["items"]
        return [event(record) for record in found]

    @dlt.resource(primary_key="id", write_disposition=UPSERT, max_table_nesting=0)
    def workflows() -> Iterator[Any]:
        yield from api.paginate("workflows", params={"pageSize": PAGE, "order": "createdAt"})

    @dlt.transformer(
        data_from=workflows,
        primary_key="id",
        write_disposition=UPSERT,
        columns=of_json("details", "categories", "tags"),
    )
    def executions(
        listed: list[Record],
        created: Any = dlt.sources.incremental("createdAt", initial_value=0),  # noqa: B008 - dlt's way
    ) -> Iterator[pa.Table]:
        since = f"{datetime.fromtimestamp(created.start_value / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
        asked = {"pageSize": PAGE, "order": "createdAt", "startAt": since}
        for workflow in listed:
            for page in api.paginate(f"workflows/{workflow['id']}/executions", params=asked):
                yield pa.Table.from_pylist([as_text(record) for record in page], EXECUTIONS)

    @dlt.transformer(
        data_from=executions,
        primary_key=("execution", "id"),
        write_disposition=UPSERT,
        columns=of_json("details", "tags", "input", "output"),
    )
    def step_events(page: pa.Table) -> Iterator[pa.Table]:
        rows = [row for found in pool.map(steps, page["id"].to_pylist()) for row in found]
        yield pa.Table.from_pylist(rows, EVENTS)

    return workflows, executions, step_events


def main() -> None:
    dlt.config["runtime.dlthub_telemetry"] = False
    dlt.config["normalize.workers"] = 2
    dlt.config["data_writer.buffer_max_items"] = 20_000
    pipeline = dlt.pipeline(
        "qualys_flow",
        destination=dlt.destinations.postgres(WAREHOUSE),
        dataset_name="flow",
        pipelines_dir=f"{HOME}/dlt",
    )
    pipeline.run(qualys_flow(), loader_file_format="csv")


if __name__ == "__main__":
    main()
