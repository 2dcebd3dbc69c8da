"""Mutation testing: `python -m tests.mutation [GROUP ...]` changes one thing at a time and asks whether a test fails.

Each group of `groups.py` is copied to build/mutants/, given to mutmut and written to build/mutants/GROUP.md: the
figures, and every mutant that lives. Run again, only those are tried that lived or whose function changed. With
`--sample N` as many of a group's mutants are drawn, always the same ones.
Invariant: the working tree is never touched, and mutmut's operators are its own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
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
CAUGHT = ("killed", "timeout")
STATUS = {
    0: "survived",
    33: "no tests",
    5: "no tests",
    1: "killed",
    3: "killed",
    None: "not checked",
} | dict.fromkeys((36, -24, 24, 152, 255), "timeout")

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
process_isolation=forkserver
"""


LIST = """
from pathlib import Path
from mutmut.mutation.file_mutation import mutate_file_contents
from mutmut.utils.file_utils import walk_mutatable_files
from mutmut.utils.format_utils import get_mutant_name
for path in sorted(walk_mutatable_files()):
    for name in mutate_file_contents(str(path), Path(path).read_text()).mutant_names:
        print(get_mutant_name(path, name))
"""


def main() -> None:
    """Run the groups named, or all."""
    options = argparse.ArgumentParser(prog="python -m tests.mutation")
    options.add_argument("groups", nargs="*", choices=[*GROUPS, []], default=list(GROUPS))
    options.add_argument("--sample", type=int, metavar="N")
    given = options.parse_args()
    os.environ["CI"] = "1"  # hypothesis: the same examples for every mutant
    with _database():
        for name in given.groups:
            _run(BUILD / name, GROUPS[name], given.sample)


def _run(folder: Path, group: Group, sample: int | None) -> None:
    _prepare(folder, group)
    keys = _python(folder, "-c", LIST).split()
    drawn = keys if sample is None else random.Random(sample).sample(keys, min(sample, len(keys)))
    fates = {key: status for key, status, _ in _results(folder)}
    _mutmut(folder, "run", "--max-children", "1", *(key for key in drawn if fates.get(key) not in CAUGHT))
    folder.with_suffix(".md").write_text("\n".join(_report(folder, set(drawn))) + "\n")


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


def _mutmut(folder: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "mutmut", *arguments], cwd=folder, check=True)


def _python(folder: Path, *arguments: str) -> str:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, check=True, text=True, stdout=subprocess.PIPE).stdout


def _results(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Every mutant with its fate and its module."""
    for meta in sorted((folder / "mutants").rglob("*.py.meta")):
        module = str(meta.relative_to(folder / "mutants")).removesuffix(".meta")
        for key, code in json.loads(meta.read_text())["exit_code_by_key"].items():
            yield key, STATUS.get(code, "suspicious"), module


def _report(folder: Path, drawn: set[str]) -> Iterator[str]:
    results = list(_results(folder))
    yield "| module | mutants | tried | caught | timed out | alive | score |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for module in dict.fromkeys(module for *_, module in results):
        own = [(key, status) for key, status, where in results if where == module]
        fates = Counter(status for key, status in own if key in drawn)
        tried, caught = fates.total(), sum(fates[status] for status in CAUGHT)
        score = f"{100 * caught / max(tried, 1):.1f} %"
        yield (
            f"| {module} | {len(own)} | {tried} | {fates['killed']} | {fates['timeout']} | {tried - caught} | {score} |"
        )
    for key, status, _ in results:
        if key in drawn and status not in CAUGHT:
            yield f"\n### {key} ({status})\n\n```diff\n{_python(folder, '-m', 'mutmut', 'show', key).strip()}\n```"


if __name__ == "__main__":
    main()
