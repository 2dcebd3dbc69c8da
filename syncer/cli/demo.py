"""`syncer demo`: the whole thing on one machine, with nothing else.

Invariant: it leaves nothing behind, however it ends. It works as everything else does: it writes a configuration,
and from then on it is an ordinary sync.
"""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import click
from rich.rule import Rule
from rich.syntax import Syntax
from rich.text import Text

from syncer.cli.app import App, Exit
from syncer.cli.options import json_option
from syncer.cli.output import add_row, err, out, say, say_json, table
from syncer.cli.passes import Pass, conduct
from syncer.cli.queries import Answer, answers, rows_by_table
from syncer.cli.simulators import Simulated, all_serving, write_configuration
from syncer.cli.summary import document, exit_code, tell, tell_person
from syncer.cli.warehouse import ready, started_url
from syncer.config import Settings
from syncer.embedded import EmbeddedServer
from syncer.simulator.platforms import simulated
from syncer.sync import Report, sync

PLATFORMS = list(simulated())
ALL = "all"

EXECUTIONS = 200
"""Of each workflow: enough for charts, and done in seconds."""


@click.command("demo")
@click.option("--keep", is_flag=True, help="Leave both running at the end, until Ctrl-C.")
@click.option(
    "--platform",
    type=click.Choice([*PLATFORMS, ALL]),
    default=PLATFORMS[0],
    show_default=True,
    help="What to simulate.",
)
@click.option(
    "--executions",
    type=click.IntRange(1, 20_000),
    default=EXECUTIONS,
    show_default=True,
    help="Of each workflow.",
)
@json_option
@click.pass_obj
def command(app: App, keep: bool, platform: str, executions: int, as_json: bool) -> int:
    """Show the whole thing on this machine: a simulated platform, a PostgreSQL, a sync, and what BI makes of it.

    It needs neither a configuration nor a database, and removes what it made when it ends.

    \b
    Examples:
      syncer demo
      syncer demo --keep            # to look around with psql or a BI tool
      syncer demo --platform all    # one warehouse for every platform there is
    """
    is_all = platform == ALL
    chosen = PLATFORMS if is_all else [platform]
    tenants = {name if is_all else "demo": Simulated(name, executions) for name in chosen}
    with temporary_folder() as folder, all_serving([*tenants.values()]):
        file = folder / "config.toml"
        write_configuration(file, tenants)
        settings = app.settings(file)
        with stopped_at_the_end(settings):
            return Demo(settings, file, as_json=as_json).show(keep=keep)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that goes away; as root the server runs as another account, which must be able to enter it."""
    with tempfile.TemporaryDirectory(prefix="syncer-demo-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        if os.geteuid() == 0:
            folder.chmod(0o711)
        yield folder


@contextmanager
def stopped_at_the_end(settings: Settings) -> Iterator[None]:
    """Stop the embedded server and remove its files after the body, wherever they are."""
    server = EmbeddedServer(settings.warehouse.data_dir)
    try:
        yield
    finally:
        server.stop()
        shutil.rmtree(server.home, ignore_errors=True)


class Demo:
    """The parts of the demo, in the order in which they are seen."""

    def __init__(self, settings: Settings, file: Path, *, as_json: bool) -> None:
        self._settings = settings
        self._connections = settings.require_connections()
        self._file = file
        self._as_json = as_json

    def show(self, *, keep: bool) -> Exit:
        """Sync, tell what landed, ask the queries; wait where both are to be kept."""
        self._part("Source and warehouse are started")
        for each in self._connections:
            self._say(f"A simulated {each.platform} at {each.base_url}")
        with err.status("starting PostgreSQL"):
            url = started_url(self._settings.warehouse)
        self._say(f"A PostgreSQL at {url}")
        with ready(self._settings) as engine:
            self._part("syncer sync")
            passes, stop = conduct(engine, self._connections, sync, command="demo")
            if stop.exit is not None:
                return tell("demo", passes, stop, as_json=self._as_json)
            landed, asked = rows_by_table(engine), answers(engine)
        code = exit_code(passes, stop)
        if self._as_json:
            known = {"command": "demo", "exit_code": int(code), "url": url, "tables": landed}
            parts = {"connections": list(map(document, passes)), "queries": list(map(_document, asked))}
            say_json(known | parts)
        else:
            self._tell(passes, landed, asked)
        self._end(url, keep=keep)
        return code

    def _tell(
        self, passes: Sequence[Pass[Report]], landed: Mapping[str, int], asked: Sequence[Answer]
    ) -> None:
        tell_person(passes)
        self._part("What landed in the schema history")
        made = table("table", "rows", right=("rows",))
        for name, count in landed.items():
            add_row(made, name, count)
        out.print(made)
        for each in asked:
            self._part(each.query.title)
            _tell_answer(each)

    def _end(self, url: str, *, keep: bool) -> None:
        """Where both are kept, wait until somebody has looked enough."""
        if not keep:
            self._part("Both are stopped and removed now; `syncer demo --keep` leaves them running")
            return
        self._part("Both run until Ctrl-C, which removes them")
        self._say(f"psql {shlex.quote(url)}")
        self._say(f"syncer --config {self._file} status")
        out.file.flush()
        with suppress(KeyboardInterrupt):
            threading.Event().wait()

    def _part(self, title: str) -> None:
        if not self._as_json:
            say()
            out.print(Rule(Text(title, style="bold"), align="left", style="cyan"))

    def _say(self, line: str) -> None:
        if not self._as_json:
            say(line)


def _tell_answer(answer: Answer) -> None:
    out.print(Syntax(answer.query.sql, "sql", theme="ansi_dark", background_color="default", word_wrap=True))
    numbers = [
        name
        for place, name in enumerate(answer.columns)
        if any(isinstance(row[place], int | float) for row in answer.rows)
    ]
    made = table(*answer.columns, right=numbers)
    for row in answer.rows:
        add_row(made, *row)
    say()
    out.print(made)


def _document(answer: Answer) -> dict[str, object]:
    rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    return {"title": answer.query.title, "sql": answer.query.sql, "rows": rows}
