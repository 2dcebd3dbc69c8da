"""What every command shares: which configuration, and which number to leave with.

Invariant: an exit code means the same for every command (`Exit`).
"""

from __future__ import annotations

import os
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

from syncer.cli.logs import set_up_logs
from syncer.errors import ConfigError, SyncerError

if TYPE_CHECKING:
    from syncer.config import Settings


class Exit(IntEnum):
    """What a command leaves with."""

    DONE = 0
    PARTLY = 1
    USAGE = 2
    NOTHING = 3
    INTERRUPTED = 130


def exit_of(error: SyncerError) -> Exit:
    """The exit code where the error kept everything from being done."""
    return Exit.USAGE if isinstance(error, ConfigError) else Exit.NOTHING


def is_debug() -> bool:
    """Whether the environment asks for everything to be logged."""
    return os.environ.get("SYNCER_DEBUG", "") not in ("", "0")


class App:
    """The command line so far: the configuration named, and how much is wanted to be seen."""

    def __init__(self, config: Path | None, *, debug: bool) -> None:
        self._config = config
        self._debug = debug
        self.set_up_logs()

    def set_up_logs(self, log_format: str = "console", level: str = "info") -> None:
        """Log as the configuration says; everything where debugging is on."""
        set_up_logs(log_format, "debug" if self._debug else level)

    def settings(self, config: Path | None = None, *, is_lenient: bool = False) -> Settings:
        """The configuration, checked as `config.load` does; from now on logs are as it says. Raises ConfigError."""
        from syncer.cli.platforms import platforms
        from syncer.config import load

        settings = load(config or self._config, env=os.environ, platforms=platforms(), is_lenient=is_lenient)
        self.set_up_logs(settings.service.log_format, settings.service.log_level)
        return settings
