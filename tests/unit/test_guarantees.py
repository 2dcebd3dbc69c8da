"""Whether docs/guarantees.md speaks of all promises, and names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "guarantees.md").read_text("utf-8")
PROMISES = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]


def existing() -> set[str]:
    files = (ROOT / "tests").rglob("test_*.py")
    return {name for file in files for name in re.findall(r"def (test_\w+)", file.read_text("utf-8"))}


def test_every_test_that_is_named_exists() -> None:
    named = set(re.findall(r"\b(test_\w+)(?!\.py)\b", TEXT)) - {"test_memory"}
    assert len(named) > 60
    assert named - existing() == set()


@pytest.mark.parametrize("number", range(1, 12))
def test_every_promise_has_its_tests(number: int) -> None:
    (promise,) = [each for each in PROMISES if each.startswith(f"G{number} ")]
    assert len(set(re.findall(r"\btest_\w+", promise))) >= 1 + (number not in (2, 9))
