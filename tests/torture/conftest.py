"""What torture tests share: a server that may be killed, and a nursery for commands that may be."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from syncer.embedded import EmbeddedServer
from tests.servers import temporary_folder
from tests.torture.crash_nursery import nursery
from tests.torture.crash_ward import Case, Ward, first_pass, later_pass, no_schema

# The machine does not fail here, only processes do: what the system was given is safe without fsync, and a commit
# that was answered is one.
UNHARMED_BY_CRASHES = {"fsync": "off", "full_page_writes": "off"}


def _lasting_port() -> int:
    """A free port that no outgoing connection will take while the server is down."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@pytest.fixture(scope="session")
def ward() -> Iterator[Ward]:
    with temporary_folder() as folder, nursery(folder) as children:
        postgres = EmbeddedServer(folder / "warehouse", settings=UNHARMED_BY_CRASHES, port=_lasting_port())
        postgres.start()
        try:
            yield Ward(postgres, children, folder)
        finally:
            postgres.stop()


@pytest.fixture(scope="session")
def no_schema_case(ward: Ward) -> Iterator[Case]:
    with no_schema(ward) as case:
        yield case


@pytest.fixture(scope="session")
def first_case(ward: Ward) -> Iterator[Case]:
    with first_pass(ward) as case:
        yield case


@pytest.fixture(scope="session")
def later_case(ward: Ward) -> Iterator[Case]:
    with later_pass(ward) as case:
        yield case


@pytest.fixture(params=["first_case", "later_case"])
def case(request: pytest.FixtureRequest) -> Case:
    """A pass that begins, and one that finds a copy: learned once, for nothing may change them."""
    found: Case = request.getfixturevalue(request.param)
    return found
