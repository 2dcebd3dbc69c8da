"""A pytest plugin: the quickest tests come first, and those that would take too long are left out.

So most mutants are caught at once, and one that lives costs a minute at most. It may be that a test left
out would have caught it: what is told of mutants that live is never too good.
"""

from __future__ import annotations

import json
import os
from itertools import accumulate, islice
from pathlib import Path

import pytest

_TIMES = Path("mutmut-stats.json")
_AT_MOST = 60.0
"""Seconds of tests for one mutant."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by the durations that mutmut measured; a test it has not run yet counts as quick."""
    if not _TIMES.exists() or os.environ.get("MUTANT_UNDER_TEST", "") in ("", "stats", "fail"):
        return
    durations = json.loads(_TIMES.read_text())["duration_by_test"]
    items.sort(key=lambda item: durations.get(item.nodeid, 0))
    spent = accumulate(durations.get(item.nodeid, 0) for item in items)
    items[1:] = [
        item for item, until in zip(items[1:], islice(spent, 1, None), strict=True) if until < _AT_MOST
    ]
