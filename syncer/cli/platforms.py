"""The platforms there are, every module beside `syncer.sources` that declares one, and a tenant of one.

Invariant: a platform is called what its module is called, and is found without being named anywhere.
"""

from __future__ import annotations

import importlib
import pkgutil
from asyncio import Semaphore
from collections.abc import Mapping

from sqlalchemy import Engine

from syncer import sources
from syncer.config import Connection, PlatformSpec
from syncer.decode.redact import Redactor
from syncer.encode import Encoder
from syncer.http import Clock, Gate
from syncer.sync import Tenant
from syncer.writer import Writer


def platforms() -> Mapping[str, PlatformSpec]:
    """What each platform adds to a connection's table, by its name."""
    names = sorted(module.name for module in pkgutil.iter_modules(sources.__path__))
    modules = {name: importlib.import_module(f"{sources.__name__}.{name}") for name in names}
    return {name: module.PLATFORM for name, module in modules.items() if hasattr(module, "PLATFORM")}


def open_tenant(connection: Connection, engine: Engine, room: Semaphore) -> Tenant:
    """A configured tenant with all that works on it; makes no request yet. Raises ConfigError."""
    module = importlib.import_module(f"{sources.__name__}.{connection.platform}")
    gate = Gate(Clock(), connection.requests_per_second, connection.max_concurrency)
    return Tenant(
        connection=connection,
        source=module.connect(connection, gate),
        gate=gate,
        writer=Writer(engine),
        encoder=Encoder(Redactor(connection.redact_keys)),
        room=room,
    )
