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
from collections.abc import Iterable, Iterator
from pathlib import Path

from syncer.simulator import Attempt, Execution
from syncer.simulator.payloads import Payload

Row = tuple[object, ...]


def write_truth(folder: Path, executions: Iterable[Execution]) -> None:
    """Write all four files; the folder must exist."""
    executions = list(executions)
    attempts = [attempt for execution in executions for attempt in execution.attempts]
    stock = _stock(attempts)
    _write(folder / "executions.csv", ((e.id, e.status, e.ended_ms, e.message) for e in executions))
    _write(folder / "events.csv", _events(executions))
    _write(folder / "payloads.csv", _payloads(attempts, stock))
    _write(folder / "documents.csv", _documents(stock))


def _stock(attempts: Iterable[Attempt]) -> dict[Payload, int]:
    """Every payload there is, with a number."""
    found = (payload for attempt in attempts for payload in (attempt.given, attempt.made) if payload)
    return {payload: at for at, payload in enumerate(dict.fromkeys(found))}


def _events(executions: Iterable[Execution]) -> Iterator[Row]:
    for execution in executions:
        for event in execution.events:
            yield execution.id, event.id, event.status, event.ended_ms


def _payloads(attempts: Iterable[Attempt], stock: dict[Payload, int]) -> Iterator[Row]:
    for attempt in attempts:
        made = None if attempt.made is None else stock[attempt.made]
        yield attempt.execution_id, attempt.node_id, stock[attempt.given], made


def _documents(stock: dict[Payload, int]) -> Iterator[Row]:
    for payload, number in stock.items():
        yield number, json.dumps(payload.value), json.dumps(payload.redacted)


def _write(file: Path, rows: Iterable[Row]) -> None:
    with file.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows(rows)
