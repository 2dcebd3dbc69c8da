"""A simulated tenant, and the configuration that leads to it.

Invariant: it works with any platform there is a simulator and a source for, and names none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from syncer.cli.platforms import platforms
from syncer.config.values import toml_text
from syncer.simulator import Outline
from syncer.simulator.platforms import simulated

WORKFLOWS = 5


class Simulated:
    """A simulated tenant: where it listens and what it accepts."""

    def __init__(self, platform: str, executions: int) -> None:
        self.platform = platform
        self._world = simulated()[platform].Simulator(Outline(workflows=WORKFLOWS, executions=executions))

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Answer on this machine while the body runs; gives the base URL."""
        with self._world.serve() as url:
            yield url

    def auth(self) -> str:
        """The first way to sign in that the platform knows and the tenant accepts, as TOML."""
        known = asdict(self._world.credentials)
        for model in platforms()[self.platform].auth:
            keys = [key for key in model.model_fields if key != "mode"]
            if all(key in known for key in keys):
                mode = get_args(model.model_fields["mode"].annotation)[0]
                values = {"mode": mode} | {key: known[key] for key in keys}
                return ", ".join(f"{key} = {toml_text(value)}" for key, value in values.items())
        raise LookupError(self.platform)


def write_configuration(file: Path, tenant: Simulated, url: str) -> None:
    """A configuration with this tenant and an embedded warehouse beside the file."""
    file.touch(mode=0o600)
    file.write_text(
        f"""\
[warehouse]
url = "embedded"
data_dir = {toml_text(str(file.parent / "warehouse"))}

[service]
log_level = "warning"

[connections.demo]
platform = {toml_text(tenant.platform)}
base_url = {toml_text(url)}
auth = {{ {tenant.auth()} }}
requests_per_second = 0
""",
        encoding="utf-8",
    )
