"""A Singer tap of Qualys Flow, as singer-sdk's own guides write one: a stream of children for each of the parents.

Executions are loaded incrementally by the time of their creation, workflow by workflow. The kit asks one thing at a
time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, ClassVar

import requests
from singer_sdk import RESTStream, Stream, Tap
from singer_sdk import typing as th
from singer_sdk.authenticators import BearerTokenAuthenticator
from singer_sdk.pagination import PageNumberPaginator, SinglePagePaginator

from bench.contestants.wire import API, PAGE, decoded

Record = dict[str, Any]
Context = Mapping[str, Any] | None

DOCUMENT = th.CustomType({"type": ["object", "array", "null"]})


def properties(*, texts: str, numbers: str, documents: str) -> Any:
    """The schema of a stream, its columns by their kinds."""
    kinds = ((texts, th.StringType), (numbers, th.IntegerType), (documents, DOCUMENT))
    return th.PropertiesList(
        *(th.Property(name, kind) for names, kind in kinds for name in names.split())
    ).to_dict()


class Pages(PageNumberPaginator):
    """Until one is not full."""

    def has_more(self, response: requests.Response) -> bool:
        return len(response.json()["items"]) == PAGE


class Listed(RESTStream[int]):
    """A list in pages."""

    url_base = API
    records_jsonpath = "$.items[*]"

    @cached_property
    def authenticator(self) -> BearerTokenAuthenticator:
        return BearerTokenAuthenticator(token=self.tap_token)

    @property
    def tap_token(self) -> str:
        token: str = self.config["token"]
        return token

    def get_new_paginator(self) -> Any:
        return Pages(1)

    def get_url_params(self, context: Context, next_page_token: int | None) -> Record:  # noqa: ARG002
        return {"pageSize": PAGE, "pageNumber": next_page_token or 1, "order": "createdAt"}


class Workflows(Listed):
    """All of them, every time."""

    name = "workflows"
    path = "/workflows"
    primary_keys = ("id",)
    schema = properties(
        texts="id name description revision definition",
        numbers="createdAt updatedAt",
        documents="properties tags",
    )

    def get_child_context(self, record: Record, context: Context) -> Record:  # noqa: ARG002
        return {"workflow": record["id"]}


class Executions(Listed):
    """Of each workflow, from the newest one known."""

    name = "executions"
    parent_stream_type = Workflows
    path = "/workflows/{workflow}/executions"
    primary_keys = ("id",)
    replication_key = "createdAt"
    is_sorted = True
    check_sorted = False  # asked from a whole second on, a list begins before the newest that is known
    schema = properties(
        texts="id workflow status source executionType parentExecutionId",
        numbers="createdAt updatedAt startDate endDate",
        documents="details categories tags",
    )

    def get_url_params(self, context: Context, next_page_token: int | None) -> Record:
        asked = super().get_url_params(context, next_page_token)
        newest = self.get_starting_replication_key_value(context)
        if newest is not None:
            asked["startAt"] = f"{datetime.fromtimestamp(newest / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
        return asked

    def get_child_context(self, record: Record, context: Context) -> Record:  # noqa: ARG002
        return {"execution": record["id"]}


class StepEvents(Listed):
    """Of each execution."""

    name = "step_events"
    parent_stream_type = Executions
    path = "/executions/{execution}/steps"
    primary_keys = ("execution", "id")
    state_partitioning_keys: ClassVar[list[str]] = []
    schema = properties(
        texts="id execution nodeId nodeType status",
        numbers="eventOrder createdAt updatedAt startDate endDate",
        documents="details tags input output",
    )

    def get_new_paginator(self) -> Any:
        return SinglePagePaginator()

    def get_url_params(self, context: Context, next_page_token: int | None) -> Record:  # noqa: ARG002
        return {"includeData": "true", "order": "createdAt"}

    def post_process(self, row: Record, context: Context = None) -> Record:  # noqa: ARG002
        return row | {"input": decoded(row.get("input")), "output": decoded(row.get("output"))}


class QualysFlow(Tap):
    """The tap."""

    name = "tap-qualys-flow"
    config_jsonschema = th.PropertiesList(th.Property("token", th.StringType, secret=True)).to_dict()

    def discover_streams(self) -> Iterable[Stream]:
        return [Workflows(self), Executions(self), StepEvents(self)]


if __name__ == "__main__":
    QualysFlow.cli()
