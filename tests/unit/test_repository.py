"""The repository keeps its own promises: locks without hosts, a whole wheel, links that lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
RUNTIME, DEV = "runtime.txt", "dev.txt"


def locked(name: str) -> dict[str, str]:
    """The lines of a lock file by package: `1.2.3 --hash=... --hash=...`."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    lines = text.replace("\\\n", " ").splitlines()
    pairs = (line.split("==", maxsplit=1) for line in lines)
    return {canonicalize_name(package): rest for package, rest in pairs}


def version(lock: dict[str, str], package: str) -> str:
    return lock[canonicalize_name(package)].split()[0]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


APART = [
    f"../{path.relative_to(ROOT)}"
    for pattern in ("bench/requirements/*.txt", "tests/*/requirements/*.txt", "tests/*/requirements.txt")
    for path in sorted(ROOT.glob(pattern))
]
"""What is locked for an environment of its own."""


@pytest.mark.parametrize("name", [RUNTIME, DEV, *APART])
def test_lock_files_name_no_host_and_no_option(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert [line for line in text.splitlines() if line.startswith("-")] == []


@pytest.mark.parametrize("name", [RUNTIME, DEV, *APART])
def test_everything_locked_has_hashes(name: str) -> None:
    assert [package for package, rest in locked(name).items() if "--hash=sha256:" not in rest] == []


def test_the_locks_satisfy_what_the_project_asks_for(project: dict[str, Any]) -> None:
    runtime = project["project"]["dependencies"]
    extras = project["project"]["optional-dependencies"].values()
    dev = [*runtime, *project["dependency-groups"]["dev"], *(each for extra in extras for each in extra)]
    for lock, wanted in ((locked(RUNTIME), runtime), (locked(DEV), dev)):
        for requirement in map(Requirement, wanted):
            assert version(lock, requirement.name) in requirement.specifier, f"{requirement}: run `make lock`"


def test_what_is_tested_is_what_is_shipped() -> None:
    runtime, dev = locked(RUNTIME), locked(DEV)
    assert {package: dev.get(package) for package in runtime} == runtime


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        yield archive


def shipped(folder: str) -> set[str]:
    files = (file for file in (ROOT / folder).rglob("*") if file.is_file() and file.suffix != ".pyc")
    return {file.relative_to(ROOT / folder).as_posix() for file in files}


def test_the_wheel_holds_the_package_and_its_data(wheel: zipfile.ZipFile) -> None:
    expected = {f"syncer/{name}" for name in shipped("syncer")}
    assert {"syncer/py.typed"} <= expected
    assert expected - set(wheel.namelist()) == set()


def test_the_wheel_holds_the_migrations_inside_the_package(wheel: zipfile.ZipFile) -> None:
    expected = {f"syncer/migrations/{name}" for name in shipped("alembic")}
    assert {"syncer/migrations/env.py", "syncer/migrations/script.py.mako"} <= expected
    assert expected - set(wheel.namelist()) == set()


def test_the_wheel_puts_nothing_beside_the_package(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/", maxsplit=1)[0] for name in wheel.namelist()}
    assert {re.sub(r"-.*\.dist-info", ".dist-info", top) for top in tops} == {"syncer", "syncer.dist-info"}


def documents() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)\s#]+)[^)]*\)", document.read_text(encoding="utf-8"))
    files = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert [link for link in files if not (document.parent / link).exists()] == []


def test_every_target_of_make_explains_itself() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony
    shown = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    names = re.findall(r"^  make ([\w-]+) +\w", shown, re.MULTILINE)
    assert names == re.findall(r"^([\w-]+):", text, re.MULTILINE)
    assert sorted(phony.group(1).split()) == sorted(names)


def pythons(folder: Path, **suits: bool) -> dict[str, str]:
    """An environment whose PATH begins with interpreters that do, or do not, suit."""
    for name, suitable in suits.items():
        script = folder / name.replace("_", ".")
        script.write_text(f"#!/bin/sh\nexit {0 if suitable else 1}\n")
        script.chmod(0o755)
    return {"PATH": f"{folder}:{os.defpath}"}


def set_up(folder: Path, env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """What make would do in a fresh clone: `-n` prints it."""
    (folder / "requirements").mkdir()
    (folder / "requirements" / "dev.txt").touch()
    command = ["make", "-n", "-f", str(ROOT / "Makefile"), *arguments, ".venv/.locked"]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_make_takes_the_newest_python_that_can_make_environments(tmp_path: Path) -> None:
    env = pythons(tmp_path, python3_13=False, python3_12=True, python3_11=True, python3=True)
    assert "'python3.12' -m venv --clear .venv" in set_up(tmp_path, env).stdout


def test_make_says_what_to_install_where_no_python_suits(tmp_path: Path) -> None:
    env = pythons(tmp_path, python3_13=False, python3_12=False, python3_11=False, python3=False)
    done = set_up(tmp_path, env)
    assert done.returncode != 0
    assert "syncer needs Python 3.11 or newer with its modules venv and ensurepip." in done.stderr
    assert "apt install python3 python3-venv" in done.stderr


def test_make_refuses_a_named_python_that_does_not_suit(tmp_path: Path) -> None:
    env = pythons(tmp_path, python3_12=True)
    done = set_up(tmp_path, env, "PYTHON=false")
    assert done.returncode != 0
    assert "make PYTHON=/path/to/python3" in done.stderr


def test_ci_runs_as_it_is() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)
