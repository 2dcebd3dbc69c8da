"""The vendors' own clients, each with an interpreter and packages of its own: `make test-sdk` brings them.

Invariant: a client is driven from outside, and what it made of an answer is held against the answer as it was sent.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent
ENVIRONMENTS = os.environ.get("SYNCER_SDK")
"""The folder of the clients' environments; without one there is nothing to test with."""

collect_ignore_glob = [] if ENVIRONMENTS else ["test_*.py"]

Call = tuple[str, dict[str, Any]]

_TIME = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")


class Sdk:
    """One client, started when it is first asked: calls go in, and for each comes out what it gave or raised."""

    def __init__(self, name: str, driver: str) -> None:
        python = FOLDER.parents[1] / str(ENVIRONMENTS) / name / "bin" / "python"
        self._process = subprocess.Popen(
            [python, FOLDER / driver], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def calls(self, asked: dict[str, Any], calls: Sequence[Call]) -> list[dict[str, Any]]:
        """Every outcome, {"value": ...} or {"error": {...}}."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({**asked, "calls": calls}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "it ended; what it said stands on standard error"
        outcomes: list[dict[str, Any]] = json.loads(line)
        return outcomes

    def close(self) -> None:
        """Let it end."""
        with self._process as process:
            process.kill()


class Sdks(dict[tuple[str, str], Sdk]):
    """The clients by name and driver; importing one takes long, so each is started once."""

    def __missing__(self, key: tuple[str, str]) -> Sdk:
        self[key] = sdk = Sdk(*key)
        return sdk


@pytest.fixture(scope="session")
def sdks() -> Iterator[Sdks]:
    if not ENVIRONMENTS:
        pytest.skip("needs the vendors' SDKs: `make test-sdk`")
    started = Sdks()
    yield started
    for sdk in started.values():
        sdk.close()


def plain(value: Any) -> Any:
    """What is the same for a client: nothing and null, and times to the microsecond."""
    match value:
        case dict():
            return {key: plain(each) for key, each in value.items() if each is not None}
        case list():
            return [plain(each) for each in value]
        case str() if _TIME.fullmatch(value):
            return datetime.fromisoformat(value)
    return value
