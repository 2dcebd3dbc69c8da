"""Mutation testing: `python -m tests.mutation [GROUP ...]` changes one thing at a time and asks whether a test fails.

Each group of `groups.py` is copied to build/mutants/, given to mutmut and written to build/mutants/GROUP.md: the
figures, and every mutant that lives. Run again, only those are tried that lived, ran out of time or whose function
changed. With `--sample N` as many of a group's mutants are drawn, always the same ones.
Invariant: the working tree is never touched, and mutmut's operators are its own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

from tests.mutation.groups import GROUPS, Group

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "mutants"
COPIED = ("syncer", "tests", "alembic", "pyproject.toml", "config.example.toml")
CAUGHT = ("killed", "timeout")
Mutant = tuple[str, int, str, str]
"""Where it is, and what stood there before and after."""
Mutants = dict[str, Mutant]

_LITERAL = re.compile(r"%\(\w+\)s|%s|'[^']*'", re.IGNORECASE)
_SQL = re.compile(
    r"\b(select|update|insert|delete|where|and|on|set|from|values|case|order by)\b", re.IGNORECASE
)
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
{keyword}pytest_add_cli_args_test_selection=
    {tests}
timeout_multiplier=20
timeout_constant=20
use_git_change_detection=false
process_isolation=forkserver
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
    mutants: Mutants = json.loads(_python(folder, "-m", "tests.mutation.mutants"))
    drawn = list(mutants) if sample is None else _drawn(sorted(mutants), sample)
    fates = _fates(folder)
    # What ran out of time did so on a machine that may have been busy: it is tried again.
    tried = [key for key in drawn if fates.get(key) != "killed" and not _is_spelling(mutants[key])]
    if tried:  # without names mutmut would try all
        command = [sys.executable, "-m", "mutmut", "run", "--max-children", "1", *tried]
        subprocess.run(command, cwd=folder, check=True)
    folder.with_suffix(".md").write_text(
        "\n".join(_report({key: mutants[key] for key in drawn}, _fates(folder)))
    )


def _drawn(names: list[str], sample: int) -> list[str]:
    return random.Random(1).sample(names, min(sample, len(names)))


def _is_spelling(mutant: Mutant) -> bool:
    """Whether SQL is only written in other letters, which means the same: to try that would be vain."""
    _, _, before, after = mutant
    is_same = before.lower() == after.lower() and _LITERAL.findall(before) == _LITERAL.findall(after)
    return is_same and _SQL.search(before) is not None


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
    text = SETUP.format(
        modules="\n    ".join(group.modules),
        tests="\n    ".join(tests),
        keyword=f"    -k\n    {group.keyword}\n" if group.keyword else "",
    )
    settings = folder / "setup.cfg"
    if settings.exists() and settings.read_text() != text:  # what was found by other tests counts no more
        shutil.rmtree(folder / "mutants", ignore_errors=True)
    settings.write_text(text)
    # mutmut would measure new tests alone, and know none for a function that changed.
    (folder / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)


def _python(folder: Path, *arguments: str) -> str:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, check=True, text=True, stdout=subprocess.PIPE).stdout


def _fates(folder: Path) -> dict[str, str]:
    """What became of every mutant that mutmut knows."""
    found: dict[str, str] = {}
    for meta in (folder / "mutants").rglob("*.py.meta"):
        for key, code in json.loads(meta.read_text())["exit_code_by_key"].items():
            found[key.replace("__init__.", "")] = STATUS.get(code, "suspicious")
    return found


def _report(drawn: Mutants, fates: dict[str, str]) -> Iterator[str]:
    yield "| module | drawn | caught | by time | alive | of these spelling | score |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for path in dict.fromkeys(path for path, *_ in drawn.values()):
        own = {key: mutant for key, mutant in drawn.items() if mutant[0] == path}
        counts = Counter(fates.get(key) for key in own)
        caught = counts["killed"] + counts["timeout"]
        spelling = sum(map(_is_spelling, own.values()))
        yield (
            f"| {path} | {len(own)} | {caught} | {counts['timeout']} | {len(own) - caught} | {spelling} |"
            f" {100 * caught / len(own):.1f} % |"
        )
    for key, mutant in sorted(drawn.items(), key=lambda item: item[1][:2]):
        if fates.get(key) not in CAUGHT and not _is_spelling(mutant):
            yield f"- {mutant[0]}:{mutant[1]} {fates.get(key)}: {_change(mutant)} ({key.rpartition('.')[2]})"
    yield ""


def _change(mutant: Mutant) -> str:
    """The change, with a little of what stands around it."""
    before, after = (" ".join(text.split()) for text in mutant[2:])
    head = _alike(before, after)
    tail = _alike(before[head:][::-1], after[head:][::-1])
    start = max(0, head - 40)
    return " -> ".join(f"`{text[start : len(text) - tail + min(tail, 40)]}`" for text in (before, after))


def _alike(one: str, other: str) -> int:
    """How many letters both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


if __name__ == "__main__":
    main()
