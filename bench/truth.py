"""What a perfect copy holds, in files that PostgreSQL's COPY reads: it crosses from the upstream to the judge there.

    executions.csv   id, status, end in ms, message
    events.csv       execution, id, status, end in ms
    payloads.csv     execution, node, number of the document that went in, of the one that came out
    documents.csv    number, document, document as the default `redact_keys` leave it

Invariant: it is written from what the tenant remembers, never from what was served.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from syncer.simulator import Execution
from syncer.simulator.payloads import Payload

Row = tuple[object, ...]


def write_truth(folder: Path, executions: Collection[Execution]) -> None:
    """Write all four files; the folder must exist."""
    stock: dict[Payload, int] = {}
    _write(folder / "executions.csv", ((e.id, e.status, e.ended_ms, e.message) for e in executions))
    _write(folder / "events.csv", _events(executions))
    _write(folder / "payloads.csv", _payloads(executions, stock))
    _write(folder / "documents.csv", _documents(stock))


def _events(executions: Iterable[Execution]) -> Iterator[Row]:
    for execution in executions:
        for event in execution.events:
            yield execution.id, event.id, event.status, event.ended_ms


def _payloads(executions: Iterable[Execution], stock: dict[Payload, int]) -> Iterator[Row]:
    """Whatever is not in stock yet gets the next number."""
    for execution in executions:
        for attempt in execution.attempts:
            given = stock.setdefault(attempt.given, len(stock))
            made = None if attempt.made is None else stock.setdefault(attempt.made, len(stock))
            yield execution.id, attempt.node_id, given, made


def _documents(stock: dict[Payload, int]) -> Iterator[Row]:
    for payload, number in stock.items():
        yield number, json.dumps(payload.value), json.dumps(payload.redacted)


def _write(file: Path, rows: Iterable[Row]) -> None:
    with file.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows(rows)
