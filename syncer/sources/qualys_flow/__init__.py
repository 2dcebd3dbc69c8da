"""Qualys Flow: workflows, executions and steps of one subscription (docs/qualys-flow.md).

The documents are silent or at odds on many points; every reading that was thought of is understood, and what
must be found out by asking is found out once. This package must not know windows, watermarks or SQL.
"""

from __future__ import annotations

from datetime import timedelta

from syncer.config import Connection, PlatformSpec
from syncer.decode.redact import Redactor
from syncer.http import Client, Gate
from syncer.sources.qualys_flow.access import Access, ClientAuth, Options, PasswordAuth, TokenAuth
from syncer.sources.qualys_flow.records import Records
from syncer.sources.qualys_flow.source import QualysFlow

__all__ = ["PLATFORM", "ClientAuth", "Options", "PasswordAuth", "QualysFlow", "TokenAuth", "connect"]

PLATFORM = PlatformSpec(
    options=Options,
    auth=(PasswordAuth, ClientAuth, TokenAuth),
    horizon=timedelta(days=30),  # since QFlow 1.18
)
"""What the configuration of a connection may say, and how far back the source serves."""


def connect(connection: Connection, gate: Gate) -> QualysFlow:
    """The source of one configured tenant; its requests pass the gate."""
    auth = connection.auth
    assert isinstance(auth, PasswordAuth | ClientAuth | TokenAuth)
    client = Client(connection, Access(connection.base_url, auth), gate)
    records = Records(
        Redactor(connection.redact_keys),
        max_payload_bytes=connection.max_payload_bytes,
        with_payloads=connection.step_io,
    )
    return QualysFlow(client, records, connection)
