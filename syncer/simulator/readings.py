"""The readings of a platform's switches: every point on which documents are silent or at odds, with all it may mean.

Invariant: the default comes first. It must not know a platform.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints


def readings_of(switches: type[Any]) -> dict[str, tuple[Any, ...]]:
    """Every switch of a dataclass with its readings, the default first; numbers are sizes, not readings."""
    found: dict[str, tuple[Any, ...]] = {}
    for field in fields(switches):
        hint = get_type_hints(switches)[field.name]
        readings = (False, True) if hint is bool else get_args(hint) if get_origin(hint) is Literal else ()
        if readings:
            found[field.name] = (
                field.default,
                *(reading for reading in readings if reading != field.default),
            )
    return found
