"""What torture tests share: a server that may be killed, and a nursery for commands that may be."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from syncer.embedded import EmbeddedServer
from tests.servers import temporary_folder
from tests.torture.crash_nursery import nursery
from tests.torture.crash_ward import Ward

# The machine does not fail here, only processes do: what the system was given is safe without fsync, and a commit
# that was answered is one.
UNHARMED_BY_CRASHES = {"fsync": "off", "full_page_writes": "off"}


@pytest.fixture(scope="session")
def ward() -> Iterator[Ward]:
    with temporary_folder() as folder, nursery(folder) as children:
        postgres = EmbeddedServer(folder / "warehouse", settings=UNHARMED_BY_CRASHES)
        postgres.start()
        try:
            yield Ward(postgres, children, folder)
        finally:
            postgres.stop()
