"""The effective configuration as TOML, for a person's eyes.

Invariant: what is printed parses, and a secret appears as the reference that the file holds or masked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta

from pydantic import BaseModel

from syncer.config.settings import Connection, Settings, Tuning
from syncer.config.values import SecretText, format_duration, toml_text


def show(settings: Settings) -> str:
    """Every key with the value in force, defaults included."""
    tables = [_table("warehouse", settings.warehouse), _table("service", settings.service)]
    tables += [_connection(each) for each in settings.connections.values()]
    return "\n\n".join(tables) + "\n"


def _connection(connection: Connection) -> str:
    tenant = _lines(connection, ("platform", "base_url", "auth"))
    options = _lines(connection.options, type(connection.options).model_fields)
    tuning = _lines(connection, Tuning.model_fields)
    return "\n".join([f"[connections.{connection.name}]", *tenant, *options, *tuning])


def _table(name: str, section: BaseModel) -> str:
    return "\n".join([f"[{name}]", *_lines(section, type(section).model_fields)])


def _lines(section: BaseModel, keys: Iterable[str]) -> list[str]:
    return [f"{key} = {_toml(getattr(section, key))}" for key in keys]


def _toml(value: object) -> str:
    match value:
        case SecretText():
            return value.shown
        case BaseModel():
            return f"{{ {', '.join(_lines(value, type(value).model_fields))} }}"
        case tuple() | list():
            return f"[{', '.join(_toml(each) for each in value)}]"
        case bool() | int() | float():
            return json.dumps(value)
        case timedelta():
            return f'"{format_duration(value)}"'
        case None:
            return '""'
    return toml_text(str(value))
