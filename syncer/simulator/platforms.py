"""The platforms that can be simulated: every folder beside this file.

Invariant: a simulator is called what its platform is called, and is found without being named anywhere.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType


def simulated() -> dict[str, ModuleType]:
    """Their modules by name: each has a `Simulator`, `Switches`, `SWITCHES` and `Credentials`."""
    folder = str(Path(__file__).parent)
    names = sorted(module.name for module in pkgutil.iter_modules([folder]) if module.ispkg)
    return {name: importlib.import_module(f"{__package__}.{name}") for name in names}
