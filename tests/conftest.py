"""A real PostgreSQL for every test that asks for one; nothing is started for those that do not.

    empty_database_url   a new database with nothing in it
    database_url         a new database with the current schema, cloned from a template that was migrated once
    engine               SQLAlchemy on database_url
    nursery              starts commands without their second of imports

The server is the newest PostgreSQL found here; with SYNCER_TEST_SERVERS=all what depends on its version runs on the
oldest, too. SYNCER_TEST_URL names another server, with a role that may create databases; SYNCER_TEST_TEMPLATE a
database there that is migrated already.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import structlog
from hypothesis import HealthCheck, settings
from sqlalchemy import Engine

from syncer.embedded import Programs
from tests import nursery as nurseries
from tests.servers import Server, servers_to_test, temporary_folder, temporary_server
from tests.torture.table import Table

# No test depends on absolute time; in CI the same examples every time, elsewhere new ones.
settings.register_profile(
    "syncer", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("syncer")

# Where statements are tested one by one, and where the daemon uses all of them.
ON_EVERY_SERVER = (
    *("test_load", "test_warehouse", "test_views", "test_standing", "test_leases", "test_left_out"),
    *("test_embedded", "test_operations", "test_purge", "test_zoo", "test_sync.py"),
)
OLDER = servers_to_test()[1:]


def pytest_configure(config: pytest.Config) -> None:
    """Print what the torture tests noted; under pytest-xdist the controller reads no conftest but this one."""
    config.pluginmanager.register(Table(config))
    # Started in the background a shell lets Ctrl-C be ignored, and so would all commands that inherit this.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave to the newest server what does not depend on its version."""
    kept: list[pytest.Item] = []
    spared: list[pytest.Item] = []
    for item in items:
        (kept if _runs_on_every_server(item) or not _is_on_the_oldest(item) else spared).append(item)
    config.hook.pytest_deselected(items=spared)
    items[:] = kept


def _runs_on_every_server(item: pytest.Item) -> bool:
    return item.path.name.startswith(ON_EVERY_SERVER)


def _is_on_the_oldest(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    return callspec is not None and callspec.params.get("server") in OLDER


def _server_name(programs: Programs | None) -> str:
    return f"pg{programs.major}" if programs else "given"


@pytest.fixture(autouse=True)
def _unconfigured_logs() -> None:
    """A test that ran a command in this process has set a level, below which the next one would hear nothing."""
    structlog.reset_defaults()


@pytest.fixture(scope="session", params=servers_to_test(), ids=_server_name)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    given = os.environ.get("SYNCER_TEST_URL")
    if given:
        yield Server(given)
        return
    programs: Programs | None = request.param
    with temporary_server(programs.folder if programs else None) as embedded:
        yield Server(embedded.start())


@pytest.fixture(scope="session")
def migrated_template(server: Server) -> Iterator[str]:
    """The name of a migrated database that nobody is connected to."""
    from syncer.warehouse import migrate

    given = os.environ.get("SYNCER_TEST_TEMPLATE")
    if given:
        yield given
        return
    with server.new_database() as url:
        migrate(url)
        yield urlsplit(url).path.removeprefix("/")


@pytest.fixture
def empty_database_url(server: Server) -> Iterator[str]:
    with server.new_database() as url:
        yield url


@pytest.fixture
def database_url(server: Server, migrated_template: str) -> Iterator[str]:
    with server.new_database(migrated_template) as url:
        yield url


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    from syncer.warehouse import engine as reach

    engine = reach(database_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def nursery() -> Iterator[nurseries.Nursery]:
    with temporary_folder() as folder, nurseries.nursery(folder) as nursery:
        yield nursery
