"""The settings by section: their keys, types, defaults and contradictions.

Invariant: frozen, and the keys are those of config.example.toml, where each is explained.
Must not know where the values come from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from syncer.config.values import (
    BaseUrl,
    Duration,
    ExistingFile,
    Folder,
    Listen,
    Poll,
    PositiveDuration,
    ProxyUrl,
    SecretText,
    WarehouseUrl,
    format_duration,
)
from syncer.errors import ConfigError

# A row with a longer input and output, and the original bytes of both, could not be dumped: PostgreSQL ends at 1 GB.
_LONGEST_PAYLOAD = 67_108_864


class Section(BaseModel):
    """A table of the file. Platforms derive their options and ways to sign in from it, too.

    A field's description completes the sentence "missing; ...".
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Warehouse(Section):
    """Where everything is copied to."""

    url: WarehouseUrl = Field(description='write postgresql://... or "embedded"')
    data_dir: Folder = Field(default="~/.local/share/syncer", validate_default=True)
    auto_migrate: bool = True

    @field_validator("data_dir")
    @classmethod
    def _has_a_home(cls, folder: Path, info: ValidationInfo) -> Path:
        """Only the embedded server needs the folder: a service without a home may have its PostgreSQL elsewhere."""
        url = info.data.get("url")
        if (
            folder.parts[:1] == ("~",)
            and isinstance(url, SecretText)
            and url.get_secret_value() == "embedded"
        ):
            raise ValueError(f'"{folder}" needs a home directory; write the whole path')
        return folder

    @property
    def embedded(self) -> bool:
        """Whether syncer runs the server itself."""
        return self.url.get_secret_value() == "embedded"


class Service(Section):
    """How the daemon shows itself."""

    listen: Listen = "127.0.0.1:9108"
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port to listen on, None where that is turned off."""
        host, _, port = self.listen.rpartition(":")
        return (host.strip("[]"), int(port)) if host else None


def _comparable(keys: tuple[str, ...]) -> tuple[str, ...]:
    if not all(key.strip("-_ ") for key in keys):
        raise ValueError("an entry without a letter would match every key; take it out")
    return keys


Texts = Annotated[tuple[str, ...], Field(strict=False)]  # TOML knows lists alone


class Tuning(Section):
    """What a connection's table and [defaults] may hold alike."""

    poll: Poll = timedelta(minutes=5)
    lookback: Duration = timedelta(minutes=15)
    sweep: PositiveDuration = timedelta(hours=1)
    settle: Duration = timedelta(minutes=2)
    horizon: PositiveDuration = timedelta(days=30)
    page_size: int = Field(default=100, ge=1)
    max_concurrency: int = Field(default=4, ge=1)
    requests_per_second: float = Field(default=5, ge=0, allow_inf_nan=False)
    timeout: PositiveDuration = timedelta(seconds=30)
    steps: bool = True
    step_io: bool = True
    variables: bool = False
    max_payload_bytes: int = Field(default=4_194_304, ge=1, le=_LONGEST_PAYLOAD)
    max_response_bytes: int = Field(default=67_108_864, ge=1)
    redact_keys: Annotated[Texts, AfterValidator(_comparable)] = (
        "password",
        "passwd",
        "secret",
        "token",
        "api_key",
        "authorization",
        "access_key",
        "private_key",
        "credentials",
    )
    workflows: Texts = ()
    ca_file: ExistingFile = None
    proxy: ProxyUrl = None


class Connection(Tuning):
    """One tenant of one platform. `options` and `auth` are the platform's own models."""

    name: str
    platform: str
    base_url: BaseUrl = Field(description='write the platform\'s address, like "https://gateway.example.com"')
    auth: BaseModel
    options: BaseModel

    @field_validator("horizon")
    @classmethod
    def _reaches_further(cls, horizon: timedelta, info: ValidationInfo) -> timedelta:
        """What is read more rarely or later than the horizon is deleted at the source before."""
        for key in ("poll", "lookback", "sweep", "settle"):
            span = info.data.get(key)
            if isinstance(span, timedelta) and span >= horizon:
                raise ValueError(
                    f"{format_duration(horizon)} is not longer than {key} ({format_duration(span)});"
                    f" raise horizon if the source serves more, or lower {key}"
                )
        return horizon


@dataclass(frozen=True)
class Settings:
    """Everything the file says, checked; `broken` holds what is wrong with connections that cannot be used."""

    warehouse: Warehouse
    service: Service
    connections: Mapping[str, Connection]
    broken: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def require_connections(self, names: Iterable[str] = ()) -> tuple[Connection, ...]:
        """The connections named, or all; ConfigError where there is none to be used or one is unknown."""
        wanted = tuple(dict.fromkeys(names)) or tuple(self.connections)
        if self.broken and not self.connections:
            problems = (line for lines in self.broken.values() for line in lines)
            raise ConfigError("\n  ".join(["no connection can be used:", *problems]))
        if not self.connections:
            raise ConfigError(
                "no connection is configured", "add a [connections.NAME] table, as in config.example.toml"
            )
        unknown = [name for name in wanted if name not in self.connections]
        if unknown:
            raise ConfigError(
                f"no connection is called {', '.join(unknown)}", f"known: {', '.join(self.connections)}"
            )
        return tuple(self.connections[name] for name in wanted)
