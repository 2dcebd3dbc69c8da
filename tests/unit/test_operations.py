"""The runbook against the code: its commands can be typed, its files are there, its tables lack nothing."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
from ruamel.yaml import YAML

from syncer import errors, schema
from syncer.cli import group
from syncer.cli.app import Exit
from syncer.http import TooLarge
from syncer.paging import Verdict
from syncer.state.audit import DIFFERS, LOST
from syncer.state.needs import KINDS

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "syncer"
TEXT = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
METRICS = set(re.findall(r"^\| `(syncer_\w+)`", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
CALLED = re.compile(r"(\w+=\S+ )?(docker compose exec syncer )?(/\S+/)?syncer (?P<arguments>.+)")
SHELL = re.compile(r"\s(?:\\?\||>|&&|;|#)\s")
LEVELS = ("debug", "info", "warning", "error")

EXPLAINED = (
    "AuthError",
    "TransientError",
    "Unreachable",
    "ContractError",
    "Refused",
    "TooLarge",
    "LeaseLost",
    "WarehouseError",
    "RateLimited",
    "Stopped",
)
"""Errors whose every message the runbook explains. A ConfigError names the key and what would be right by itself."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def section(title: str) -> str:
    """The text under a heading, up to the next."""
    return TEXT.split(f"# {title}\n", 1)[1].split("\n#", 1)[0]


def cells(text: str) -> list[list[str]]:
    """The rows of all tables, without their headings."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    rows = [re.split(r"(?<!\\)\|", line.strip("| ")) for line in lines]
    return [[cell.strip() for cell in row] for row in rows]


def firsts(title: str) -> set[str]:
    """What the first column of a section's table quotes."""
    return {word for first, *_ in cells(section(title)) for word in re.findall(r"`([^`]+)`", first)}


# Commands and files


def typed() -> list[str]:
    """Every `syncer ...` in a block or between backticks, without what the shell does around it."""
    lines = [line.lstrip("$# ") for block in blocks("console") for line in block.splitlines()]
    quoted = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL))
    nested = re.findall(r"\$\(([^)]+)\)", TEXT)
    found = [CALLED.match(SHELL.split(text)[0]) for text in (*lines, *quoted, *nested)]
    return sorted({each["arguments"].strip() for each in found if each})


@pytest.mark.parametrize("line", typed())
def test_every_command_can_be_typed_as_it_stands(line: str) -> None:
    words = shlex.split(line)
    command: click.Command = group
    context = click.Context(group, info_name="syncer")
    while words and isinstance(command, click.Group):
        if words[0] in ("--debug", "--version"):
            words.pop(0)
            continue
        found = command.get_command(context, words.pop(0))
        assert found, f"there is no such command: {line}"
        command, context = found, click.Context(found, parent=context)
    if words:
        command.make_context(command.name, words)  # a UsageError for an option that does not exist


def test_the_commands_are_found_at_all() -> None:
    assert {"status", "db url", "backfill --since 30d --dry-run", "status --json"} <= set(typed())


def test_every_file_of_the_repository_that_is_named_exists() -> None:
    named = set(re.findall(r"\b(?:deploy|bench|requirements|docs)/[\w./-]*\w", TEXT))
    assert len(named) > 4
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_exit_code_is_explained() -> None:
    told = {int(first) for first, *_ in cells(section("Signals and exit codes")) if first.isdigit()}
    assert told == {int(code) for code in Exit}


# What is seen


def calls() -> Iterator[ast.Call]:
    """Every call with arguments in the package, the simulators' left out."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if "simulator" not in path.parts:
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            yield from (node for node in nodes if isinstance(node, ast.Call) and node.args)


def events() -> dict[str, set[str]]:
    """Every event the code logs, with its levels."""
    found: dict[str, set[str]] = {}
    for told in filter(None, map(logged, calls())):
        found.setdefault(told[0], set()).add(told[1])
    return found


def logged(call: ast.Call) -> tuple[str, str] | None:
    """The event and the level of a call that logs a line; what is filled into it is left out."""
    if not isinstance(call.func, ast.Attribute):
        return None
    whose, event = ast.unparse(call.func.value), call.args[0]
    if not (isinstance(event, ast.Constant) and isinstance(event.value, str) and "log" in whose):
        return None
    return (event.value.split(" %")[0], call.func.attr) if call.func.attr in LEVELS else None


def test_every_event_of_the_log_is_explained_with_its_level() -> None:
    told = {row[0].strip("`"): set(row[1].split(", ")) for row in cells(section("The log"))[2:]}
    assert told == events()


def test_what_can_need_a_person_is_explained_in_the_order_of_pressure() -> None:
    assert [row[0].strip("`") for row in cells(section("What status asks of you"))[2:]] == [*KINDS]


def test_what_a_need_says_is_what_the_code_says() -> None:
    code = (PACKAGE / "state" / "needs.py").read_text(encoding="utf-8")
    said = [row[1] for row in cells(section("What status asks of you"))[2:]]
    pieces = [piece.strip(" ,:") for text in said for piece in re.split(r"\.\.\.|;", text)]
    assert [piece for piece in pieces if piece not in re.sub(r"\{[^}]*\}", "", code)] == []


def test_every_verdict_state_and_reason_is_explained() -> None:
    columns = schema.executions.c
    states = re.findall(r"\w+", (columns.steps_state.comment or "").partition(":")[0])
    reasons = re.findall(r"\w+", (columns.missing_reason.comment or "").partition(":")[2])
    assert firsts("Windows") == {*Verdict, LOST, DIFFERS} - {Verdict.PROVED}
    assert firsts("Steps") - {"steps_state"} == set(states) - {"or"}
    assert firsts("What is no longer at the source") - {"missing_reason"} == set(reasons) - {"or"}


# Errors


@cache
def messages() -> list[tuple[str, str]]:
    """Every message made for people with its kind; what is filled in is `…`."""
    named = [(call.func.id, call.args) for call in calls() if isinstance(call.func, ast.Name)]
    found = [(kind, literal(args[2 if kind == "_Fault" else 0])) for kind, args in named]
    return [(kind, text) for kind, text in found if text]


def literal(node: ast.expr) -> str:
    """The text of a literal with its gaps; empty where it is none."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"\{\w+\}", "…", node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)  # type: ignore[misc]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):  # f"...".rstrip()
        return literal(node.func.value)
    return ""


def pattern(quoted: str) -> re.Pattern[str]:
    """What a quoted message stands for: `…` is whatever is filled in."""
    return re.compile(".*".join(map(re.escape, quoted.strip("… ").split("…"))))


def test_every_message_is_explained() -> None:
    quoted = [each for each in re.findall(r"`([^`\n]+)`", section("Errors")) if re.search(r"\w.* ", each)]
    made = [text for kind, text in messages() if kind in (*EXPLAINED, "_Fault") and re.search(r"\w", text)]
    assert len(made) > 40
    assert [text for text in made if not any(pattern(each).search(text) for each in quoted)] == []


def quoted_messages() -> list[str]:
    """The messages in the first column of the tables under Errors."""
    return [each for row in cells(section("Errors")) for each in re.findall(r"`([^`]+)`", row[0])]


@pytest.mark.parametrize("quoted", quoted_messages())
def test_every_message_explained_exists(quoted: str) -> None:
    assert any(pattern(quoted).search(text) for _, text in messages())


def test_every_kind_of_error_has_its_place() -> None:
    kinds = [
        name
        for name, each in vars(errors).items()
        if isinstance(each, type) and each.__module__ == errors.__name__
    ]
    named = [*kinds, TooLarge.__name__]
    text = section("Errors")
    assert [name for name in named if name != "SyncerError" and name not in text] == []


# Alerts


def rules() -> list[dict[str, Any]]:
    (text,) = blocks("yaml")
    found: list[dict[str, Any]] = YAML(typ="safe").load(text)["groups"][0]["rules"]
    return found


def test_every_metric_named_exists() -> None:
    named = set(re.findall(r"\bsyncer_\w+", TEXT)) - {"syncer_restored"}
    assert named
    assert named - METRICS == set()


def promtool(*arguments: str | Path) -> None:
    """Have Prometheus judge; a machine without it skips the test."""
    if not shutil.which("promtool"):
        pytest.skip("there is no promtool here")
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The alerts as a file of rules."""
    path = tmp_path / "rules.yml"
    path.write_text(blocks("yaml")[0])
    return path


def test_prometheus_takes_the_alerts_as_they_stand(file: Path) -> None:
    promtool("check", "rules", file)


WELL = {
    "build_info": "1+0x400",
    "warehouse_up": "1+0x400",
    "connection_up": "1+0x400",
    "last_success_timestamp_seconds": "0+300x400",
    "not_before_timestamp_seconds": "0+0x400",
    "falls_behind": "0+0x400",
    "backlog_windows": "0+0x400",
    "lost_windows": "0+0x400",
    "steps_failed": "0+0x400",
    "disputed_windows": "0+0x400",
    "quarantined_records": "0+0x400",
}
"""Every figure, five minutes between two samples, of each of two processes, while all is well."""


@pytest.mark.parametrize(
    ("alert", "changes"),
    [
        ("", {}),
        ("SyncerDown", dict.fromkeys(WELL)),
        ("SyncerWarehouseAway", {"warehouse_up": "0+0x400"}),
        ("SyncerConnectionFails", {"connection_up": "0+0x400"}),
        ("SyncerStands", {"last_success_timestamp_seconds": "0+0x400"}),
        ("", {"last_success_timestamp_seconds": "0+0x400", "not_before_timestamp_seconds": "999999+0x400"}),
        ("SyncerFallsBehind", {"falls_behind": "1+0x400"}),
        ("SyncerAboutToLose", {"seconds_until_deletion": "3600+0x400"}),
        ("", {"seconds_until_deletion": "3600+0x400", "backlog_windows": "3+0x400"}),
        ("SyncerLost", {"lost_windows": "0+0x300 1+0x100"}),
        ("", {"lost_windows": "4+0x400"}),
        ("SyncerStepsFail", {"steps_failed": "2+0x400"}),
        ("SyncerDisputed", {"quarantined_records": "1+0x400"}),
    ],
)
def test_an_alert_is_given_for_its_trouble_and_for_no_other(
    file: Path, alert: str, changes: dict[str, str | None]
) -> None:
    series = [
        {"series": f'syncer_{name}{{connection="prod",instance="{number}"}}', "values": values}
        for name, values in (WELL | changes).items()
        for number in range(2)
        if values
    ]
    checks = [
        {"eval_time": "30h", "alertname": name, "exp_alerts": expected(name) if name == alert else []}
        for name in (rule["alert"] for rule in rules())
    ]
    judged = {
        "rule_files": [file.name],
        "evaluation_interval": "5m",
        "tests": [{"interval": "5m", "input_series": series, "alert_rule_test": checks}],
    }
    test = file.with_name("test.yml")
    test.write_text(json.dumps(judged))
    promtool("test", "rules", test)


def expected(alert: str) -> list[dict[str, Any]]:
    """One alert, however many processes tell it."""
    is_of_all = alert in ("SyncerDown", "SyncerWarehouseAway")
    return [{"exp_labels": {} if is_of_all else {"connection": "prod"}}]
