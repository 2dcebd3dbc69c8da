"""Huawei Cloud SecMaster: workflows of some workspaces, their instances, and the steps of each (docs/secmaster.md).

An instance is an execution, a workspace a partition. The documents are silent on much; every reading that was thought
of is understood. This package must not know windows, watermarks or SQL.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from syncer.config import Connection, PlatformSpec
from syncer.decode.redact import Redactor
from syncer.http import Client, Gate
from syncer.sources.secmaster.access import Access, KeyAuth, Options, PasswordAuth
from syncer.sources.secmaster.client import SigningClient
from syncer.sources.secmaster.records import Records
from syncer.sources.secmaster.source import SecMaster

__all__ = ["PLATFORM", "KeyAuth", "Options", "PasswordAuth", "SecMaster", "connect"]

PLATFORM = PlatformSpec(
    options=Options,
    auth=(PasswordAuth, KeyAuth),
    horizon=timedelta(days=90),  # no document tells it: too far costs empty windows, too near costs rows
)
"""What the configuration of a connection may say, and how far back the source serves."""


def connect(connection: Connection, gate: Gate) -> SecMaster:
    """The source of one configured tenant; its requests pass the gate."""
    auth, options = connection.auth, connection.options
    assert isinstance(auth, PasswordAuth | KeyAuth)
    assert isinstance(options, Options)

    def now() -> datetime:
        return client.now() or gate.clock.now()

    client_type = SigningClient if isinstance(auth, KeyAuth) else Client
    client = client_type(connection, Access(auth, options.project_id, now), gate)
    records = Records(
        Redactor(connection.redact_keys),
        options.project_id,
        max_payload_bytes=connection.max_payload_bytes,
        with_payloads=connection.step_io,
    )
    return SecMaster(client, records, connection, options)
