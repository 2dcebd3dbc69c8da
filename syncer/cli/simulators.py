"""Simulated tenants, and the configuration that leads to them.

Invariant: it works with any platform there is a simulator and a source for, and names none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from syncer.cli.platforms import platforms
from syncer.config.values import toml_text
from syncer.simulator import Outline
from syncer.simulator.platforms import simulated

WORKFLOWS = 5


class Simulated:
    """A simulated tenant: where it listens and what it accepts."""

    def __init__(self, platform: str, executions: int) -> None:
        self.platform = platform
        self.url = ""
        self._spec = platforms()[platform]
        known = simulated()
        seed = 1 + list(known).index(platform)  # each has a history of its own
        outline = Outline(seed=seed, workflows=WORKFLOWS, executions=executions)
        self._world = known[platform].Simulator(outline)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Answer at `url` on this machine while the body runs."""
        with self._world.serve() as self.url:
            yield

    def table(self, name: str) -> str:
        """The connection's table, as TOML."""
        keys = {"platform": self.platform, "base_url": self.url, "auth": self._auth()}
        keys |= self._known_of(self._spec.options) | {"requests_per_second": 0}
        return "\n".join([f"[connections.{name}]", *(f"{key} = {_toml(keys[key])}" for key in keys), ""])

    def _auth(self) -> Mapping[str, Any]:
        """The first way to sign in that the platform knows and the tenant accepts."""
        for model in self._spec.auth:
            known = self._known_of(model)
            if model.model_fields.keys() - known.keys() == {"mode"}:
                return {"mode": get_args(model.model_fields["mode"].annotation)[0], **known}
        raise LookupError(self.platform)

    def _known_of(self, model: type[BaseModel]) -> dict[str, Any]:
        """What the tenant knows of a model's keys; it plays every server whose address may be asked for."""
        known = asdict(self._world.credentials)
        addresses = {key: self.url for key in model.model_fields if key.endswith("_url")}
        return {key: known[key] for key in model.model_fields if key in known} | addresses


@contextmanager
def all_serving(tenants: Sequence[Simulated]) -> Iterator[None]:
    """Let all of them answer while the body runs."""
    with ExitStack() as stack:
        for tenant in tenants:
            stack.enter_context(tenant.serving())
        yield


def write_configuration(file: Path, tenants: Mapping[str, Simulated]) -> None:
    """A configuration with these tenants by name and an embedded warehouse beside the file."""
    file.touch(mode=0o600)
    head = f"""\
[warehouse]
url = "embedded"
data_dir = {toml_text(str(file.parent / "warehouse"))}

[service]
log_level = "warning"
"""
    tables = [tenant.table(name) for name, tenant in tenants.items()]
    file.write_text("\n".join([head, *tables]), encoding="utf-8")


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return toml_text(value) if isinstance(value, str) else str(value)
