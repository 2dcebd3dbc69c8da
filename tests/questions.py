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
EDITED = NOW - timedelta(hours=14)
FIRST_LOOK = NOW - timedelta(days=2)


class Question(NamedTuple):
    """A query of the document, and the answer that stands under it."""

    title: str
    sql: str
    answer: str


def questions() -> list[Question]:
    """All of them, in order."""
    found = re.findall(r"^### (\S[^\n]*)\n.*?```sql\n(.*?)```\n\n((?:\|[^\n]*\n)*)", _text(), re.DOTALL | re.MULTILINE)
    return [Question(*each) for each in found]


def ask(engine: Engine, question: Question) -> str:
    """The answer as the document shows it."""
    with engine.connect() as db:
        result = db.exec_driver_sql(question.sql.replace("now()", f"timestamptz '{NOW:%Y-%m-%d %H:%M}+00'"))
        return shown(list(result.keys()), [tuple(row) for row in result])


def shown(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table in Markdown; numbers stand to the right."""
    numbers = [
        any(isinstance(row[place], int | float | Decimal) for row in rows) for place in range(len(columns))
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
        case list():
            return ", ".join(map(_cell, value))
        case _:
            return str(value).replace("|", "\\|").replace("\n", " ")


def fill(engine: Engine) -> None:
    """Copy three platforms that live on: one edits a workflow, which fails from then on."""
    for platform in platforms().values():
        _copy(FlowBench(engine), platform)


def _copy(bench: FlowBench, platform: Platform) -> None:
    outline = Outline(seed=7, workflows=4, executions=90, steps=4, days=25, running=2, loops=True, failing=0.1)
    simulator = platform.simulate(outline, clock=Clock(FIRST_LOOK, frozen=True))
    name = platform.name.replace("_", "-")
    with simulator.serve() as url:
        bench.run(simulator, url, name=name)
        simulator.end_all_running()
        simulator.clock.advance((EDITED - FIRST_LOOK).total_seconds())
        first, second, *_ = simulator.truth.workflows
        simulator.edit_workflow(first)
        simulator.clock.advance((NOW - EDITED).total_seconds())
        _let_live(simulator, first, ("Success", "Error", "Error", "Success", "Error", "Error", "Error", "Error"))
        _let_live(simulator, second, ("Success", "Success", "Error", "Success"))
        bench.run(simulator, url, name=name)


def _let_live(simulator: Tenant, workflow: str, statuses: Sequence[str]) -> None:
    """Executions of the last night, an hour and a half from one to the next."""
    for place, status in enumerate(statuses):
        created = EDITED + timedelta(minutes=40 + 90 * place)
        simulator.add_execution(workflow, created_ms=round(created.timestamp() * 1000), status=status)


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
