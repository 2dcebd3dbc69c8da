"""What the README shows is true: its queries run and give the columns shown, its configuration loads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from syncer.cli import COMMANDS
from syncer.cli.platforms import platforms
from syncer.config import load
from syncer.simulator import Outline
from syncer.simulator.qualys_flow import Simulator
from tests.integration.flows import FlowBench

README = (Path(__file__).parents[2] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """Code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_its_query_runs_on_a_copy_and_gives_what_it_shows(engine: Engine) -> None:
    simulator = Simulator(Outline(workflows=2, executions=60))
    with simulator.serve() as url:
        FlowBench(engine).run(simulator, url)
    (query,) = blocks("sql")
    shown = README.split(query)[1].split("```\n", 2)[2].splitlines()[0]
    with engine.connect() as db:
        result = db.execute(text(query))
        assert list(result.keys()) == [name.strip() for name in shown.split("|")]
        assert result.all()


def test_its_configuration_loads(tmp_path: Path) -> None:
    (config,) = blocks("toml")
    file = tmp_path / "config.toml"
    file.write_text(config)
    env = {"SYNCER_WAREHOUSE_URL": "postgresql://somebody@localhost/history", "QUALYS_PASSWORD": "secret"}
    assert set(load(file, env=env, platforms=platforms()).connections) == {"prod"}


@pytest.mark.parametrize("command", re.findall(r"^\$ (make [a-z]+|syncer [a-z]+)", README, re.MULTILINE))
def test_its_commands_exist(command: str) -> None:
    program, name = command.split()
    if program == "make":
        assert re.search(rf"^{name}:", (Path(__file__).parents[2] / "Makefile").read_text(), re.MULTILINE)
    else:
        assert name in COMMANDS
