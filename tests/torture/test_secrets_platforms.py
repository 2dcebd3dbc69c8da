"""What a platform is signed in with, and what its records hold, stays secret on every platform.

Every field that names nothing is filled with secrets, one in a record, and every seventh answer repeats what the
request has told in confidence; then all that the command has said and all that the warehouse holds is searched.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import psycopg

from syncer.config import SecretText
from syncer.simulator import Answer, Outline, Request, Tenant
from tests.acceptance.conftest import Cli
from tests.nursery import Nursery
from tests.platforms import Platform, each_platform
from tests.torture.gossip import Gossip, document
from tests.torture.secrets_hunt import harmless, leaks, opened, raw_bytes, secret, shows_harmless

pytestmark = each_platform()

COMMANDS = ("check", "sync --json --for 15s", "status --json", "quarantine list --json")

BEARERS = ("authorization", "x-auth-token")
"""Headers that hold what a source has issued."""


class Told(Gossip):
    """Remembers by what the client has shown who it is."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens: set[str] = set()

    def __call__(self, request: Request, answer: Answer) -> Answer:
        self.tokens |= {request.headers[name].split()[-1] for name in BEARERS if request.headers.get(name)}
        return super().__call__(request, answer)


def plant(platform: Platform, simulator: Tenant) -> None:
    """Put a text that holds a secret, then a document full of them, into every field that is no name."""
    for stream, records in platform.records(simulator).items():
        fields = [each for each in records.fields if each not in records.names | records.required]
        values = (f"{harmless(stream)} password={secret(stream)}", document(stream))
        for record_id, (value, field) in zip(records.ids, product(values, fields), strict=False):
            simulator.spoil(record_id, field, value)


def everything(address: str) -> bytes:
    """Every row of every table as text, and what is packed in it."""
    tables = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname IN ('history', 'syncer')"
    with psycopg.connect(address) as db:
        names = [name for (name,) in db.execute(tables)]
        rows = [row for name in names for (row,) in db.execute(f"SELECT t::text FROM {name} t".encode())]
    return opened("\n".join(rows).encode(errors="surrogateescape")) + raw_bytes(address)


def test_what_is_told_in_confidence_is_neither_said_nor_stored(
    platform: Platform, database_url: str, nursery: Nursery, tmp_path: Path
) -> None:
    simulator = platform.simulate(Outline(workflows=12, executions=6, running=1, steps=3, days=5))
    plant(platform, simulator)
    simulator.fault = told = Told()
    with simulator.serve() as url:
        cli = Cli(tmp_path, database_url, nursery)
        cli.connect("flow", simulator, url)
        said = [cli.run("--debug", *command.split()) for command in COMMANDS]
    auth, _ = platform.auth(simulator)
    given = {value.get_secret_value() for _, value in auth if isinstance(value, SecretText)}
    kept = everything(database_url)
    assert given
    assert told.tokens
    assert len(told.told) > 5
    for command, done in zip(COMMANDS, said, strict=True):
        assert leaks(command, done.out + done.err, *given, *told.tokens) == []
    assert leaks("warehouse", kept, *given, *told.tokens) == []
    assert shows_harmless(kept)
