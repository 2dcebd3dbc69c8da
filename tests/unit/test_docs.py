"""The documents say what the code does: every key, command, table and module, and no name that is gone."""

from __future__ import annotations

import importlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import cache, reduce
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from pydantic import BaseModel

import syncer
from syncer import schema
from syncer.cli import group
from syncer.cli.platforms import platforms
from syncer.config import Connection, PlatformSpec, Service, Tuning, Warehouse, format_duration
from syncer.model import Outcome, Role
from syncer.paging import Verdict
from syncer.warehouse import views

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PACKAGE = ROOT / "syncer"
TENANT = ("platform", "base_url", "auth")
MODULES = {path.stem for path in PACKAGE.iterdir() if path.is_dir() or path.suffix == ".py"}


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def documents() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *DOCS.glob("**/*.md")])


def everything() -> str:
    return "\n".join(map(text_of, documents()))


def sections(document: Path, level: int) -> dict[str, str]:
    """The text under each heading of this level, up to the next heading of it or of a higher one."""
    found = re.split(rf"^(#{{1,{level}}}) (.*)$", text_of(document), flags=re.MULTILINE)
    parts = zip(found[1::3], found[2::3], found[3::3], strict=True)
    return {title: text for marks, title, text in parts if len(marks) == level}


def rows(text: str) -> dict[str, list[str]]:
    """The tables' rows by their first cell, without its quotes and backticks."""
    lines = [line for line in text.splitlines() if line.startswith("| `") and "---" not in line]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {first.strip('` "'): rest for first, *rest in cells}


# Links


def slug(heading: str) -> str:
    """The anchor that a Markdown viewer makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_heading_leads_to_one(document: Path) -> None:
    broken = []
    for file, anchor in re.findall(r"\]\(([^)\s#:]*)#([^)\s]+)\)", text_of(document)):
        target = document.parent / file if file else document
        headings = re.findall(r"^#+ (.*)$", text_of(target), re.MULTILINE)
        broken += [] if anchor in map(slug, headings) else [f"{file}#{anchor}"]
    assert broken == []


def test_every_document_can_be_reached_from_another() -> None:
    linked = {
        (document.parent / link).resolve()
        for document in documents()
        for link in re.findall(r"\]\(([^)\s#:]+)[^)]*\)", text_of(document))
    }
    mine = (DOCS / f"{name}.md" for name in ("configuration", "data-dictionary", "glossary"))
    assert [path.name for path in mine if path not in linked] == []


# Names


def commands(command: click.Command, name: str) -> Iterator[str]:
    """The command's name in full, or those of its subcommands."""
    if not isinstance(command, click.Group):
        yield name
        return
    with click.Context(command) as context:
        for each in command.list_commands(context):
            child = command.get_command(context, each)
            assert child
            yield from commands(child, f"{name} {each}")


@pytest.mark.parametrize("command", [*commands(group, "syncer")])
def test_every_command_is_named_in_the_documents(command: str) -> None:
    assert re.search(rf"\b{command}\b", everything()), f"name `{command}` in README.md or docs/"


@pytest.mark.parametrize("name", [*views(), *(table.name for table in schema.metadata.tables.values())])
def test_every_table_and_view_is_named_in_the_documents(name: str) -> None:
    assert re.search(rf"(`|### |\.){name}\b", everything())


@pytest.mark.parametrize("name", sorted(MODULES - {"__init__", "__main__", "__pycache__", "py"}))
def test_every_module_stands_in_the_architecture(name: str) -> None:
    table = sections(DOCS / "architecture.md", 2)["The modules"]
    is_package = (PACKAGE / name).is_dir()
    assert f"`{name}/`" in table if is_package else f"`{name}.py`" in table


def test_every_path_in_the_architecture_exists() -> None:
    quoted = re.findall(r"`((?:\w+/)+\w*|[\w/]+\.py)`", text_of(DOCS / "architecture.md"))
    assert quoted
    assert [path for path in quoted if not ((ROOT / path).exists() or (PACKAGE / path).exists())] == []


def resolves(dotted: str) -> bool:
    """Whether `module.name.name` of this package exists."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            module = importlib.import_module(".".join([syncer.__name__, *parts[:length]]))
        except ModuleNotFoundError:
            continue
        try:
            reduce(getattr, parts[length:], module)
        except AttributeError:
            return False
        return True
    return False


def test_every_function_and_class_that_the_documents_name_exists() -> None:
    quoted = re.findall(r"`([a-z]+(?:\.\w+)+)`", text_of(DOCS / "architecture.md"))
    named = [each for each in quoted if each.split(".")[0] in MODULES and not each.endswith((".py", ".toml"))]
    assert len(named) > 10
    assert [each for each in named if not resolves(each)] == []


def test_every_daemon_table_that_the_documents_name_exists() -> None:
    named = set(re.findall(r"`(?:syncer|history)\.(\w+)`", text_of(DOCS / "architecture.md")))
    known = {table.name for table in schema.metadata.tables.values()} | set(views())
    assert named - known == set()


# Configuration


def key_tables() -> Mapping[str, dict[str, list[str]]]:
    return {title: rows(text) for title, text in sections(DOCS / "configuration.md", 2).items()}


@pytest.mark.parametrize(
    ("title", "keys"),
    [
        ("[warehouse]", [*Warehouse.model_fields]),
        ("[service]", [*Service.model_fields]),
        ("[connections.NAME]", [*TENANT]),
        ("[defaults]", [*Tuning.model_fields]),
    ],
)
def test_the_configurations_keys_are_those_of_the_settings(title: str, keys: list[str]) -> None:
    assert sorted(key_tables()[title]) == sorted(keys)


def test_a_connection_has_no_key_beyond_those_in_the_tables() -> None:
    assert set(Connection.model_fields) == {*Tuning.model_fields, *TENANT, "name", "options"}


def plain(value: object) -> object:
    """A default as the file would hold it."""
    match value:
        case timedelta():
            return format_duration(value)
        case tuple():
            return list(value)
        case None:
            return ""
    return value


def defaults(model: type[BaseModel]) -> list[tuple[str, object]]:
    fields = model.model_fields.items()
    return [(name, plain(field.default)) for name, field in fields if not field.is_required()]


@pytest.mark.parametrize(
    ("title", "key", "default"),
    [
        (title, key, default)
        for title, model in (("[warehouse]", Warehouse), ("[service]", Service), ("[defaults]", Tuning))
        for key, default in defaults(model)
        if key != "horizon"
    ],
)
def test_the_default_told_is_the_one_in_force(title: str, key: str, default: object) -> None:
    told = key_tables()[title][key][0].strip("`")
    assert tomllib.loads(f"told = {told}")["told"] == default


@pytest.mark.parametrize("platform", [*platforms()])
def test_every_platform_says_its_horizon_its_keys_and_its_ways_to_sign_in(platform: str) -> None:
    spec: PlatformSpec = platforms()[platform]
    text = sections(DOCS / "configuration.md", 3)[platform]
    table = rows(text)
    assert f'`"{format_duration(spec.horizon)}"`' in text
    assert [key for key in spec.options.model_fields if f"`{key}`" not in text] == []
    for model in spec.auth:
        mode = get_args(model.model_fields["mode"].annotation)[0]
        told = re.findall(r"`(\w+)`", table[mode][0])
        assert sorted(told) == sorted(set(model.model_fields) - {"mode"})


# Glossary


def terms() -> list[str]:
    return re.findall(r"^\*\*(.+?)\*\*: [A-Z]", text_of(DOCS / "glossary.md"), re.MULTILINE)


def test_the_glossary_is_in_alphabetical_order_and_explains_a_term_once() -> None:
    assert terms() == sorted(set(terms()))


def vocabulary() -> dict[str, Any]:
    states = schema.metadata.tables["history.step_io"].c.input_state.comment
    steps = schema.metadata.tables["history.executions"].c.steps_state.comment
    missing = schema.metadata.tables["history.executions"].c.missing_reason.comment
    return {
        "outcome": [*Outcome],
        "verdict": [*Verdict],
        "role": [*Role],
        "payload state": re.findall(r"\w+", states or ""),
        "steps state": re.findall(r"\w+", (steps or "").partition(":")[0]),
        "missing reason": re.findall(r"\w+", (missing or "").partition(":")[2]),
    }


@pytest.mark.parametrize("kind", vocabulary())
def test_the_glossary_explains_every_word_of_a_closed_vocabulary(kind: str) -> None:
    assert set(vocabulary()[kind]) - {"or"} - set(terms()) == set()
