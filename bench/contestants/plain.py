"""What a competent engineer writes in an afternoon: requests, a pool of threads, SQLAlchemy's upsert.

Each run asks for what was created since the newest execution that it knows, less an hour; told `all`, for everything
again, which is the one way to find what has changed. Rows are written in blocks.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import requests
from sqlalchemy import (
    Column,
    Connection,
    DateTime,
    Integer,
    MetaData,
    Table,
    Text,
    create_engine,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB, insert

from bench.contestants.wire import API, CONCURRENCY, PAGE, WAREHOUSE, decoded, sign_in

BLOCK = 800
LOOKBACK = timedelta(hours=1)

Record = dict[str, Any]

metadata = MetaData()


def times() -> list[Column[Any]]:
    """What every record carries."""
    instant = DateTime(timezone=True)
    return [Column(name, instant) for name in ("created_at", "updated_at", "started_at", "ended_at")]


workflows = Table(
    "workflows",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text),
    Column("description", Text),
    Column("revision", Text),
    Column("definition", JSONB),
    Column("properties", JSONB),
)
executions = Table(
    "executions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("workflow_id", Text, index=True),
    Column("status", Text),
    Column("source", Text),
    Column("execution_type", Text),
    Column("parent_id", Text),
    Column("message", Text),
    Column("categories", JSONB),
    Column("tags", JSONB),
    *times(),
)
events = Table(
    "step_events",
    metadata,
    Column("execution_id", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("node_id", Text),
    Column("node_type", Text),
    Column("event_order", Integer),
    Column("status", Text),
    Column("message", Text),
    Column("input", JSONB(none_as_null=True)),
    Column("output", JSONB(none_as_null=True)),
    *times(),
)


class Api:
    """One session for each thread: requests' own is not made to be shared."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._token = sign_in()

    def get(self, path: str, **parameters: Any) -> Any:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.headers["Authorization"] = f"Bearer {self._token}"
        answer = self._local.session.get(f"{API}{path}", params=parameters, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def pages(self, path: str, **parameters: Any) -> Iterator[list[Record]]:
        number = 1
        while True:
            asked = {"pageSize": PAGE, "pageNumber": number, "order": "createdAt", **parameters}
            items = self.get(path, **asked)["items"]
            yield items
            if len(items) < PAGE:
                return
            number += 1

    def steps(self, execution_id: str) -> list[Record]:
        path = f"/executions/{execution_id}/steps"
        items: list[Record] = self.get(path, includeData="true", order="createdAt")["items"]
        return [event_row(item) for item in items]


def instant(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)


def times_of(item: Record) -> Record:
    return {
        "created_at": instant(item["createdAt"]),
        "updated_at": instant(item["updatedAt"]),
        "started_at": instant(item["startDate"]),
        "ended_at": instant(item["endDate"]),
    }


def message_of(item: Record) -> str | None:
    return (item["details"] or {}).get("message")


def workflow_row(item: Record) -> Record:
    copied = {name: item[name] for name in ("id", "name", "description", "revision", "properties")}
    return copied | {"definition": json.loads(item["definition"])}


def execution_row(item: Record) -> Record:
    return {
        "id": item["id"],
        "workflow_id": item["workflow"],
        "status": item["status"],
        "source": item["source"],
        "execution_type": item["executionType"],
        "parent_id": item["parentExecutionId"],
        "message": message_of(item),
        "categories": item["categories"],
        "tags": item["tags"],
        **times_of(item),
    }


def event_row(item: Record) -> Record:
    return {
        "execution_id": item["execution"],
        "id": item["id"],
        "node_id": item["nodeId"],
        "node_type": item["nodeType"],
        "event_order": item["eventOrder"],
        "status": item["status"],
        "message": message_of(item),
        "input": decoded(item.get("input")),
        "output": decoded(item.get("output")),
        **times_of(item),
    }


def upsert(db: Connection, table: Table, rows: list[Record]) -> None:
    if rows:
        statement = insert(table)
        new = {column.name: statement.excluded[column.name] for column in table.columns}
        keys = [column.name for column in table.primary_key]
        db.execute(statement.on_conflict_do_update(index_elements=keys, set_=new), rows)


def new_ones(db: Connection) -> dict[str, str]:
    newest = db.execute(select(func.max(executions.c.created_at))).scalar()
    return {} if newest is None else {"startAt": f"{newest - LOOKBACK:%Y-%m-%dT%H:%M:%SZ}"}


def copy(api: Api, db: Connection, pool: ThreadPoolExecutor) -> None:
    window = {} if "all" in sys.argv else new_ones(db)
    for listed in api.pages("/workflows"):
        upsert(db, workflows, [workflow_row(item) for item in listed])
        db.commit()
        for workflow in listed:
            for page in api.pages(f"/workflows/{workflow['id']}/executions", **window):
                copy_page(api, db, pool, page)


def copy_page(api: Api, db: Connection, pool: ThreadPoolExecutor, page: list[Record]) -> None:
    """Rows and steps of a page in one transaction."""
    upsert(db, executions, [execution_row(item) for item in page])
    steps = pool.map(api.steps, [item["id"] for item in page])
    block: list[Record] = []
    for rows in steps:
        block += rows
        if len(block) >= BLOCK:
            upsert(db, events, block)
            block = []
    upsert(db, events, block)
    db.commit()


def main() -> None:
    engine = create_engine(WAREHOUSE.replace("postgresql:", "postgresql+psycopg:"))
    metadata.create_all(engine)
    with engine.connect() as db, ThreadPoolExecutor(CONCURRENCY) as pool:
        copy(Api(), db, pool)


if __name__ == "__main__":
    main()
