"""Mutation testing: `python -m tests.mutation [GROUP ...]` changes one thing at a time and asks whether a test fails.

Each group of `groups.py` is copied to build/mutants/, given to mutmut and written to build/mutants/GROUP.md: the
figures, and every mutant that lives. Run again, only those are tried that lived or whose function changed.
Invariant: the working tree is never touched, and mutmut's operators are its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.mutation.groups import GROUPS, Group

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "mutants"
COPIED = ("syncer", "tests", "alembic", "pyproject.toml", "config.example.toml")
ALIVE = ("survived", "no tests", "suspicious", "not checked")
STATUS = {0: "survived", 33: "no tests", 5: "no tests", 1: "killed", 3: "killed", None: "not checked"} | dict.fromkeys(
    (36, -24, 24, 152, 255), "timeout"
)

SETUP = """[mutmut]
source_paths=
    syncer
only_mutate=
    {modules}
also_copy=
    alembic
    config.example.toml
pytest_add_cli_args=
    -p
    tests.mutation.order
    -p
    no:cacheprovider
pytest_add_cli_args_test_selection=
    {tests}
timeout_multiplier=6
timeout_constant=2
use_git_change_detection=false
"""


def main(names: list[str]) -> None:
    """Run the groups named, or all."""
    os.environ["CI"] = "1"  # hypothesis: the same examples for every mutant
    with _database():
        for name in names or list(GROUPS):
            folder = BUILD / name
            _prepare(folder, GROUPS[name])
            again = [key for key, status, _ in _results(folder) if status in ALIVE]
            _mutmut(folder, "run", "--max-children", "1", *again)
            (BUILD / f"{name}.md").write_text("\n".join(_report(folder)) + "\n")


@contextmanager
def _database() -> Iterator[None]:
    """One server and one migrated database for all mutants; they would start their own otherwise."""
    from syncer.embedded import installed_programs
    from syncer.warehouse import migrate
    from tests.servers import Server, temporary_server

    with temporary_server(installed_programs()[0].folder) as embedded:
        url = embedded.start()
        with Server(url).new_database() as template:
            migrate(template)
            os.environ |= {"SYNCER_TEST_URL": url, "SYNCER_TEST_TEMPLATE": template.rpartition("/")[2]}
            yield


def _prepare(folder: Path, group: Group) -> None:
    for name in COPIED:
        source, target = ROOT / name, folder / name
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    tests = sorted(str(path.relative_to(ROOT)) for pattern in group.tests for path in ROOT.glob(pattern))
    text = SETUP.format(modules="\n    ".join(group.modules), tests="\n    ".join(tests))
    (folder / "setup.cfg").write_text(text)


def _mutmut(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "mutmut", *arguments]
    shown = arguments[0] == "show"
    return subprocess.run(command, cwd=folder, check=True, text=True, capture_output=shown).stdout or ""


def _results(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Every mutant with its fate and its module."""
    for meta in sorted((folder / "mutants").rglob("*.py.meta")):
        module = str(meta.relative_to(folder / "mutants")).removesuffix(".meta")
        for key, code in json.loads(meta.read_text())["exit_code_by_key"].items():
            yield key, STATUS.get(code, "suspicious"), module


def _report(folder: Path) -> Iterator[str]:
    results = list(_results(folder))
    yield "| module | mutants | caught | timed out | alive | score |\n| --- | --- | --- | --- | --- | --- |"
    for module in dict.fromkeys(module for *_, module in results):
        fates = Counter(status for _, status, own in results if own == module)
        alive = sum(fates[status] for status in ALIVE)
        total = fates.total()
        score = f"{100 * (total - alive) / total:.1f} %"
        yield f"| {module} | {total} | {fates['killed']} | {fates['timeout']} | {alive} | {score} |"
    for key, status, _ in results:
        if status in ALIVE:
            yield f"\n### {key} ({status})\n\n```diff\n{_mutmut(folder, 'show', key).strip()}\n```"


if __name__ == "__main__":
    main(sys.argv[1:])
