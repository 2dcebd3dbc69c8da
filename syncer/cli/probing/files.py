"""The configuration as a file: which one is in force, and who else may read what it holds.

Invariant: it only looks. No value of the configuration leaves this module.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import click

from syncer.cli.probing.findings import Finding, ok, warning
from syncer.config import Settings, show
from syncer.config.values import MASK
from syncer.words import plural

OTHERS = stat.S_IRGRP | stat.S_IROTH


def configuration_file() -> Path:
    """The file that --config, $SYNCER_CONFIG or the current folder names; it need not exist."""
    given = click.get_current_context().find_root().params.get("config")
    return Path(given) if given else unnamed_file()


def unnamed_file() -> Path:
    """The file that is read where --config names none."""
    return Path(os.environ.get("SYNCER_CONFIG") or "config.toml")


def configuration_findings(file: Path, settings: Settings) -> Iterator[Finding]:
    """What is to be known of the file itself."""
    connections = len(settings.connections) + len(settings.broken)
    yield ok("file", f"{file}: {plural(connections, 'connection')}")
    if MASK in show(settings) and file.stat().st_mode & OTHERS:
        yield warning(
            "secrets",
            "other users of this machine may read the file, and it holds secrets",
            f"chmod 600 {file}, or name secrets as {{ env = ... }} or {{ file = ... }}",
        )
