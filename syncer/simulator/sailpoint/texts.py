"""The samples of the documents as they stand there, one file for each beside this module.

Invariant: a text is never parsed and written anew. It must not know who asks for it.
"""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "seeds"


def seed(name: str) -> bytes:
    """One body of the documents; see the folder `seeds` for the names."""
    return (_FOLDER / f"{name}.json").read_bytes()
