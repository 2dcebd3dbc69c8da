"""The configuration: a TOML file and its secrets become frozen settings, or one error naming every problem.

Invariant: what leaves this package has been checked, and no secret is shown by repr, str, `show` or an error.
Must not know what a platform is: its keys, its ways to sign in and its horizon come in as `PlatformSpec`s.
"""

from syncer.config.load import PlatformSpec, load
from syncer.config.settings import Connection, Section, Service, Settings, Texts, Tuning, Warehouse
from syncer.config.show import show
from syncer.config.values import (
    BaseUrl,
    Cron,
    HeaderSecret,
    Secret,
    SecretText,
    format_duration,
    is_loopback,
    parse_duration,
)

__all__ = [
    "BaseUrl",
    "Connection",
    "Cron",
    "HeaderSecret",
    "PlatformSpec",
    "Secret",
    "SecretText",
    "Section",
    "Service",
    "Settings",
    "Texts",
    "Tuning",
    "Warehouse",
    "format_duration",
    "is_loopback",
    "load",
    "parse_duration",
    "show",
]
