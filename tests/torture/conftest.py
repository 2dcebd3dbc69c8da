"""What torture tests share: a server that may be killed, and a nursery for commands that may be."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import product
from typing import Any

import pytest

from syncer.embedded import EmbeddedServer
from tests.nursery import Nursery
from tests.platforms import Platform, platforms
from tests.servers import temporary_folder
from tests.torture.crash_ward import Begin, Case, Cases, Ward, first_pass, later_pass, no_schema
from tests.torture.table import FULL

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
def ward(nursery: Nursery) -> Iterator[Ward]:
    with temporary_folder() as folder:
        postgres = EmbeddedServer(folder / "warehouse", settings=UNHARMED_BY_CRASHES, port=_lasting_port())
        postgres.start()
        try:
            yield Ward(postgres, nursery, folder)
        finally:
            postgres.stop()


@pytest.fixture(scope="session")
def cases(ward: Ward) -> Iterator[Cases]:
    with ExitStack() as stack:
        yield Cases(ward, stack)


# Each way to begin is tried on one platform or, in a full run, what is tried is shared among all.
FIRST, SECOND, THIRD = (list(platforms().values()) * 3)[:3]
BEGINS: list[tuple[Begin, Platform]] = (
    list(product((first_pass, later_pass), platforms().values()))
    if FULL
    else [(first_pass, FIRST), (later_pass, SECOND)]
)


def named(begins: list[tuple[Begin, Platform]]) -> list[Any]:
    """As parameters of tests."""
    return [pytest.param(each, id=f"{each[0].__name__}-{each[1].name}") for each in begins]


@pytest.fixture
def no_schema_case(cases: Cases) -> Case:
    return cases.of(no_schema, THIRD)


@pytest.fixture
def first_case(cases: Cases) -> Case:
    return cases.of(first_pass, FIRST)


@pytest.fixture
def later_case(cases: Cases) -> Case:
    return cases.of(later_pass, SECOND)


@pytest.fixture(params=named(BEGINS))
def case(request: pytest.FixtureRequest, cases: Cases) -> Case:
    """A pass that begins, and one that finds a copy."""
    return cases.of(*request.param)


@pytest.fixture(params=named(list(product((first_pass, later_pass), platforms().values()))))
def any_case(request: pytest.FixtureRequest, cases: Cases) -> Case:
    """The same, of every platform."""
    return cases.of(*request.param)
