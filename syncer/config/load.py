"""From a TOML file, the environment and what the platforms declare to settings.

Invariant: all problems are reported at once, one line each, with the key's path and what would be right.
Must not know any platform, and reads nothing but the file and the secrets it names.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from syncer.config.problems import dotted, listed, problems, unknown
from syncer.config.settings import Connection, Section, Service, Settings, Tuning, Warehouse
from syncer.errors import ConfigError

_SECTIONS = ("warehouse", "service", "defaults", "connections")
_TENANT = ("platform", "base_url", "auth")
_NAME = re.compile(r"[a-z0-9_-]{1,63}")
_Model = TypeVar("_Model", bound=BaseModel)
_Table = dict[str, Any]


@dataclass(frozen=True)
class PlatformSpec:
    """What a platform adds to a connection: its own keys, its ways to sign in, its default horizon.

    Each model of `auth` has a field `mode: Literal["..."]` that chooses it.
    """

    options: type[Section]
    auth: tuple[type[Section], ...]
    horizon: timedelta


def load(
    path: Path | None,
    *,
    env: Mapping[str, str],
    platforms: Mapping[str, PlatformSpec],
    is_lenient: bool = False,
) -> Settings:
    """The settings of the file, else of $SYNCER_CONFIG, else of ./config.toml. Raises ConfigError.

    If lenient, connections whose own tables are wrong stand in `Settings.broken` instead.
    """
    file = path or Path(env.get("SYNCER_CONFIG") or "config.toml")
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            _looked(path, env),
            "write one with `syncer init`, or name another with --config",
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}", "name a file this user may read") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 at byte {error.start}", "save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        says = re.sub(r" \(at (.*)\)$", r" at \1", str(error))
        raise ConfigError(f"{file} is not TOML: {says}", "texts need quotes, tables [brackets]") from None
    reader = _Reader(env, platforms)
    settings = reader.settings(raw)
    problems = [*reader.problems, *(line for lines in reader.broken.values() for line in lines)]
    if settings is None or (problems and not is_lenient):
        raise ConfigError("\n  ".join([f"{file} cannot be used:", *dict.fromkeys(problems)]))
    return settings


def _looked(path: Path | None, env: Mapping[str, str]) -> str:
    if path:
        return f"there is no file {path}"
    if named := env.get("SYNCER_CONFIG"):
        return f"there is no file {named}, which $SYNCER_CONFIG names"
    return "there is no configuration: $SYNCER_CONFIG is not set and ./config.toml does not exist"


class _Reader:
    """Checks table after table and gathers what is wrong; a part that is wrong becomes None."""

    def __init__(self, env: Mapping[str, str], platforms: Mapping[str, PlatformSpec]) -> None:
        self.problems: list[str] = []
        self.broken: dict[str, list[str]] = {}
        self._env = env
        self._platforms = platforms
        self._defaults: _Table = {}

    def settings(self, raw: _Table) -> Settings | None:
        """All sections, or None where there is a problem outside the tables of single connections."""
        self._refuse_unknown(raw, _SECTIONS, "")
        warehouse = self._check(Warehouse, self._table(raw, "warehouse"), "warehouse")
        service = self._check(Service, self._table(raw, "service"), "service")
        self._defaults = self._table(raw, "defaults")
        self._check_defaults()
        tables = self._table(raw, "connections")
        if self.problems or not warehouse or not service:
            self._connections(tables)
            return None
        return Settings(warehouse, service, self._connections(tables), self.broken)

    def _connections(self, tables: _Table) -> dict[str, Connection]:
        """Those that can be used; what is wrong with the others goes to `broken`."""
        usable = {}
        for name, table in tables.items():
            outside, self.problems = self.problems, []
            connection = self._connection(name, table)
            if self.problems:
                self.broken[name] = self.problems
            elif connection:
                usable[name] = connection
            self.problems = outside
        return usable

    def _check_defaults(self) -> None:
        """Wrong defaults are reported even where no connection uses them."""
        options = [key for spec in self._platforms.values() for key in spec.options.model_fields]
        for key in _TENANT:
            if key in self._defaults:
                self._problem(f"defaults.{key}", "belongs to a single connection; move it to its table")
        self._refuse_unknown(self._defaults, (*Tuning.model_fields, *options, *_TENANT), "defaults")
        self._check(Tuning, _only(self._defaults, Tuning.model_fields), "defaults")

    def _connection(self, name: str, table: object) -> Connection | None:
        path = f"connections.{name}"
        if not _NAME.fullmatch(name):
            self._problem(path, "a name has 1 to 63 of a-z, 0-9, _ and -; rename it")
        elif not isinstance(table, dict):
            self._problem(path, f"must be a table; write [{path}]")
        elif spec := self._platform(table, path):
            return self._tenant(name, table, spec)
        else:
            self._check(Tuning, _only(table, Tuning.model_fields), path)
        return None

    def _platform(self, table: _Table, path: str) -> PlatformSpec | None:
        name = table.get("platform")
        if isinstance(name, str) and name in self._platforms:
            return self._platforms[name]
        if isinstance(name, str):
            self._problem(f"{path}.platform", unknown(name, self._platforms, "platform"))
        else:
            self._problem(f"{path}.platform", f"missing; write {listed(self._platforms)}")
        return None

    def _tenant(self, name: str, table: _Table, spec: PlatformSpec) -> Connection | None:
        """A connection of a known platform: its common keys, its platform's and the credentials."""
        path = f"connections.{name}"
        options = spec.options.model_fields
        common = (*Tuning.model_fields, "platform", "base_url")
        self._refuse_unknown(table, (*common, *options, "auth"), path)
        merged = {"horizon": spec.horizon, **_only(self._defaults, (*Tuning.model_fields, *options)), **table}
        # A part that is wrong has been reported: an empty one in its place reports nothing again.
        parts = {
            "name": name,
            "auth": self._auth(spec, table.get("auth"), f"{path}.auth") or Section(),
            "options": self._check(spec.options, _only(merged, options), path, table) or Section(),
        }
        return self._check(Connection, _only(merged, common) | parts, path, table)

    def _auth(self, spec: PlatformSpec, raw: object, path: str) -> Section | None:
        """The way to sign in that `mode` chooses."""
        modes = {get_args(model.model_fields["mode"].annotation)[0]: model for model in spec.auth}
        mode = raw.get("mode") if isinstance(raw, dict) else None
        if not isinstance(raw, dict):
            self._problem(path, f"must be a table; write {{ mode = {listed(modes)}, ... }}")
        elif not isinstance(mode, str) or mode not in modes:
            self._problem(f"{path}.mode", f"must be {listed(modes)}")
        else:
            return self._check(modes[mode], raw, path)
        return None

    def _table(self, raw: _Table, name: str) -> _Table:
        table = raw.get(name, {})
        if isinstance(table, dict):
            return table
        self._problem(name, f"must be a table; write [{name}]")
        return {}

    def _refuse_unknown(self, table: _Table, known: Collection[str], path: str) -> None:
        for key in table:
            if key not in known:
                self._problem(dotted(*filter(None, [path]), key), unknown(key, known))

    def _check(self, model: type[_Model], raw: _Table, path: str, own: _Table | None = None) -> _Model | None:
        """The model of a table; keys that are not its `own` came from the defaults and are reported there."""
        try:
            return model.model_validate(raw, context={"env": self._env})
        except ValidationError as error:
            for keys, says in problems(error, model):
                inherited = own is not None and keys[0] not in own and keys[0] in self._defaults
                self._problem(dotted("defaults" if inherited else path, *keys), says)
        return None

    def _problem(self, path: str, says: str) -> None:
        self.problems.append(f"{path}: {says}")


def _only(table: _Table, keys: Collection[str]) -> _Table:
    return {key: value for key, value in table.items() if key in keys}
