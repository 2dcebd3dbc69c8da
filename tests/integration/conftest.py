"""What several tests only read: a warehouse that has seen some life."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from tests.questions import fill
from tests.servers import Server


@pytest.fixture(scope="session")
def copied(server: Server, migrated_template: str) -> Iterator[Engine]:
    """All platforms, of which one edited a workflow that fails from then on; nobody may change it."""
    with server.filled(migrated_template, fill) as engine:
        yield engine
