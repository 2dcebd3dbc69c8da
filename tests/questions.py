"""docs/queries.md: its questions, the warehouse they are asked of, and what they answer.

`python -m tests.questions` writes the answers into the document anew. In it `now()` means NOW, so that an answer stays
what it is; everything else is SQL as it would be typed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Engine, create_engine

from syncer.simulator import Clock, Outline, Tenant
from syncer.warehouse import migrate
from tests.integration.flows import FlowBench
from tests.platforms import Platform, platforms
from tests.servers import temporary_server

DOCUMENT = Path(__file__).parents[1] / "docs" / "queries.md"
NOW = datetime(2026, 3, 10, 7, 0, tzinfo=UTC)
EVENING = NOW - timedelta(hours=14)
FIRST_LOOK = NOW - timedelta(days=2)
HOUR = timedelta(hours=1)

DENIED = (
    "Task 7d0f3f3c-9c5b-4a77-9f0f-3f1f1f6f2a10 failed with status: FAILED and reason: "
    "'User is not authorized to perform ec2:StopInstances on i-0663d3f3e572608d5'"
)


class Question(NamedTuple):
    """A query of the document, and the answer that stands under it."""

    title: str
    sql: str
    answer: str


def questions() -> list[Question]:
    """All of them, in order."""
    found = re.findall(
        r"^### (\S[^\n]*)\n.*?```sql\n(.*?)```\n\n((?:\|[^\n]*\n)*)", _text(), re.DOTALL | re.MULTILINE
    )
    return [Question(*each) for each in found]


def ask(engine: Engine, question: Question) -> str:
    """The answer as the document shows it."""
    with engine.connect() as db:
        sql = question.sql.replace("now()", f"timestamptz '{NOW:%Y-%m-%d %H:%M}+00'")
        result = db.exec_driver_sql(sql.replace("%", "%%"))
        return shown(list(result.keys()), [tuple(row) for row in result])


def shown(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table in Markdown; numbers stand to the right."""
    numbers = [
        any(type(row[place]) in (int, float, Decimal) for row in rows) for place in range(len(columns))
    ]
    lines = [list(columns), ["---:" if each else "---" for each in numbers]]
    lines += [[_cell(value) for value in row] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"
        case date():
            return value.isoformat()
        case timedelta():
            return str(timedelta(seconds=round(value.total_seconds())))
        case float() | Decimal():
            return f"{value:.2f}".rstrip("0").rstrip(".")
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(map(_cell, value))
        case _:
            return str(value).replace("|", "\\|").replace("\n", " ")


def fill(engine: Engine) -> None:
    """Copy three platforms that live on: in the last night one workflow of each fails after an edit."""
    for seed, platform in enumerate(platforms().values()):
        _copy(FlowBench(engine), platform, seed)


def _copy(bench: FlowBench, platform: Platform, seed: int) -> None:
    outline = Outline(seed=seed, workflows=4, executions=90, steps=4, days=25, running=2, loops=True)
    simulator = platform.simulate(outline, clock=Clock(FIRST_LOOK, frozen=True))
    name = platform.name.replace("_", "-")
    with simulator.serve() as url:
        bench.run(simulator, url, name=name)
        simulator.end_all_running()
        simulator.clock.advance((EVENING - FIRST_LOOK).total_seconds())
        _live_through_the_night(simulator)
        bench.run(simulator, url, name=name)


def _live_through_the_night(simulator: Tenant) -> None:
    """A workflow is edited, works once more, and then fails again and again; another goes on as ever."""
    edited, other, *_ = simulator.truth.workflows
    simulator.edit_workflow(edited)
    for number in range(8):
        simulator.clock.advance(HOUR.total_seconds())
        ran = simulator.add_execution(edited, status="Running").id
        simulator.add_execution(other)
        simulator.clock.advance(95 + 10 * number)
        simulator.end_execution(ran, *(("Error", DENIED) if number else ("Success",)))
    simulator.add_execution(other, status="Running")
    simulator.clock.advance(NOW.timestamp() - simulator.clock.now_ms() / 1000)


def _text() -> str:
    return DOCUMENT.read_text(encoding="utf-8")


def main() -> None:
    """Write every answer into the document."""
    with temporary_server() as server:
        address = server.start()
        migrate(address)
        engine = create_engine(address.replace("postgresql://", "postgresql+psycopg://"))
        fill(engine)
        text = _text()
        for each in questions():
            text = text.replace(f"{each.sql}```\n\n{each.answer}", f"{each.sql}```\n\n{ask(engine, each)}")
        DOCUMENT.write_text(text, encoding="utf-8")
        engine.dispose()


if __name__ == "__main__":
    main()
