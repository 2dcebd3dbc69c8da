"""A pytest plugin: the quickest tests come first, so that most mutants are caught at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

_TIMES = Path("mutmut-stats.json")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by the durations that mutmut measured; a test it has not run yet counts as quick."""
    if _TIMES.exists():
        durations = json.loads(_TIMES.read_text())["duration_by_test"]
        items.sort(key=lambda item: durations.get(item.nodeid, 0))
