"""The platforms there are: every module beside `syncer.sources` that says what its configuration may hold.

Invariant: a platform is called what its module is called, and is found without being named anywhere.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from syncer import sources
from syncer.config import Connection, PlatformSpec
from syncer.http import Client, Gate
from syncer.sources import Source


def platforms() -> Mapping[str, PlatformSpec]:
    """What each platform adds to a connection's table, by its name."""
    names = sorted(module.name for module in pkgutil.iter_modules(sources.__path__))
    modules = {name: importlib.import_module(f"{sources.__name__}.{name}") for name in names}
    return {name: module.PLATFORM for name, module in modules.items() if hasattr(module, "PLATFORM")}


def connect(connection: Connection, gate: Gate) -> Source:
    """The source of a configured tenant; makes no request yet. Raises ConfigError."""
    module = importlib.import_module(f"{sources.__name__}.{connection.platform}")
    source: Source = module.connect(connection, gate)
    return source


@runtime_checkable
class _Speaking(Protocol):
    """A source that reads through the polite client."""

    client: Client


def client_of(source: Source) -> Client | None:
    """The client that counts the source's requests, where it has one."""
    return source.client if isinstance(source, _Speaking) else None
