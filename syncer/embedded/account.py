"""Whom the server runs as, and which folders that account can reach.

PostgreSQL refuses to run as root. As root the server therefore runs as `nobody`, which owns the cluster and
nothing else: what root writes lies in folders of root, where `nobody` can plant no link. Where `nobody`
cannot enter the configured folder (below a home of mode 0700), /var/lib/syncer/<hash of the configured path>
stands in for it.

Invariant: a server program gets nothing of ours: not our secrets in the environment, not our working folder,
not our terminal, not our groups. It must not know what the programs do.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from syncer.errors import WarehouseError

if sys.platform != "win32":
    import pwd

HOME_OF_ROOT = Path("/var/lib/syncer")
INHERITED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


@dataclass(frozen=True)
class Account:
    """An account of this machine that is not our own."""

    uid: int
    gid: int

    def may_enter(self, folder: Path) -> bool:
        """Whether it has the x bit on this folder and on all above it, as far as they exist."""
        return all(self._has_x_bit(each.stat()) for each in (folder, *folder.parents) if each.is_dir())

    def own(self, *paths: Path) -> None:
        for path in paths:
            os.chown(path, self.uid, self.gid)

    def _has_x_bit(self, stat: os.stat_result) -> bool:
        others = 0o010 if stat.st_gid == self.gid else 0o001
        return bool(stat.st_mode & (0o100 if stat.st_uid == self.uid else others))


def server_account() -> Account | None:
    """`nobody` when we are root; None when the server runs as we do."""
    if os.geteuid() != 0:
        return None
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError as error:
        raise WarehouseError(
            "PostgreSQL does not run as root, and there is no account nobody to run it as",
            "start syncer as an ordinary user, or set warehouse.url",
        ) from error
    return Account(nobody.pw_uid, nobody.pw_gid)


def choose_home(configured: Path, cluster: str, account: Account | None) -> Path:
    """The configured folder, or its stand-in below /var/lib if the account cannot enter it.

    A cluster that is already in one of them decides: rights that change later must not hide the data.
    """
    if account is None:
        return configured
    stand_in = HOME_OF_ROOT / hashlib.sha256(os.fsencode(configured)).hexdigest()[:16]
    for home in (configured, stand_in):
        if (home / cluster).exists():
            return home
    return configured if account.may_enter(configured) else stand_in


def make_home(home: Path, account: Account | None) -> None:
    """Create the folder and what is missing above it, open to the server's account whatever our umask."""
    for missing in reversed([each for each in (home, *home.parents) if not each.exists()]):
        missing.mkdir(exist_ok=True)
        missing.chmod(0o711 if account else 0o700)


def run_program(command: Sequence[str | Path], account: Account | None) -> subprocess.CompletedProcess[str]:
    """Run it to its end as the account (None: as ourselves); stdout holds both of its outputs."""
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return subprocess.run(
        command,
        check=False,
        cwd="/",
        env=environment | {"LC_ALL": "C", "TZ": "UTC"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )
