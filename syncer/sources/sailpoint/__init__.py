"""SailPoint Identity Security Cloud: workflows, executions and their history (docs/sailpoint.md).

Its interface moves: paths, parameters and totals come and go by version, so every form that is documented is
understood, and which one a tenant speaks is found out by asking. This package must not know windows, watermarks
or SQL.
"""

from __future__ import annotations

from datetime import timedelta

from syncer.config import Connection, PlatformSpec
from syncer.decode.redact import Redactor
from syncer.http import Client, Gate
from syncer.sources.sailpoint.access import Access, ClientAuth, Options
from syncer.sources.sailpoint.api import Api
from syncer.sources.sailpoint.events import Events
from syncer.sources.sailpoint.routes import Routes
from syncer.sources.sailpoint.source import SailPoint

__all__ = ["PLATFORM", "ClientAuth", "Options", "SailPoint", "connect"]

PLATFORM = PlatformSpec(options=Options, auth=(ClientAuth,), horizon=timedelta(days=90))
"""What the configuration of a connection may say, and how far back the source serves."""


def connect(connection: Connection, gate: Gate) -> SailPoint:
    """The source of one configured tenant; its requests pass the gate."""
    auth, options = connection.auth, connection.options
    assert isinstance(auth, ClientAuth)
    assert isinstance(options, Options)
    access = Access(connection.base_url, auth)
    api = Api(Client(connection, access, gate), connection.name)
    events = Events(
        Redactor(connection.redact_keys),
        max_payload_bytes=connection.max_payload_bytes,
        with_payloads=connection.step_io,
    )
    return SailPoint(api, access, Routes(options.api_path), events, connection)
