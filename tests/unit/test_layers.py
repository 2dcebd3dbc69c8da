"""A platform is a source, a simulator and a copy to be expected; no line elsewhere knows of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncer.cli.platforms import platforms
from syncer.simulator.platforms import simulated

ROOT = Path(__file__).parents[2]
FIRST = "qualys_flow"
"""Came with syncer itself: comments of the schema name it as their example."""

OTHERS = [each for each in platforms() if each != FIRST]


def texts(folder: str) -> Iterator[tuple[Path, str]]:
    """Every file of ours below the folder."""
    for path in sorted((ROOT / folder).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(ROOT), path.read_text(encoding="utf-8", errors="replace")


def names(platform: str) -> re.Pattern[str]:
    """The platform's name, in whatever case and however its words are joined."""
    return re.compile(platform.replace("_", "[ _-]?"), re.IGNORECASE)


def test_every_platform_has_a_simulator_and_every_simulator_a_source() -> None:
    assert [*platforms()] == [*simulated()]


@pytest.mark.parametrize("platform", OTHERS)
def test_nothing_but_its_source_and_its_simulator_names_a_platform(platform: str) -> None:
    homes = [Path("syncer/sources") / platform, Path("syncer/simulator") / platform]
    strangers = [path for path, text in texts("syncer") if names(platform).search(text)]
    assert [path for path in strangers if not any(home in path.parents for home in homes)] == []


@pytest.mark.parametrize("platform", [*platforms()])
def test_the_conformance_tests_name_no_platform(platform: str) -> None:
    assert [path for path, text in texts("tests/conformance") if names(platform).search(text)] == []


def test_nothing_is_decided_by_the_name_of_a_platform() -> None:
    known = "|".join(platforms())
    decides = re.compile(rf"""(==|!=|\bin|\bcase)\s*[(\[{{]?\s*["']({known})["']""")
    assert [path for path, text in texts("syncer") if decides.search(text)] == []


@pytest.mark.parametrize("platform", [*platforms()])
def test_a_platform_imports_no_other(platform: str) -> None:
    others = [each for each in platforms() if each != platform]
    for folder in ("sources", "simulator"):
        imports = re.compile(rf"syncer\.(sources|simulator)\.({'|'.join(others)})\b")
        assert [path for path, text in texts(f"syncer/{folder}/{platform}") if imports.search(text)] == []
