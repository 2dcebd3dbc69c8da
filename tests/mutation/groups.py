"""Which modules are mutated, and which tests are to catch what was done to them.

Invariant: the tests of a group need nothing but Python and a PostgreSQL, and are quick enough to be run for every
mutant that lives. A group must not lean on tests that merely pass through its modules: what they catch is luck.
"""

from __future__ import annotations

from typing import NamedTuple


class Group(NamedTuple):
    """Modules as mutmut's patterns, and the tests run against their mutants, but for those a keyword leaves out."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    keyword: str = ""


GROUPS = {
    "plan": Group(("syncer/plan.py",), ("tests/unit/test_plan*.py",)),
    "fold": Group(("syncer/fold.py",), ("tests/unit/test_fold*.py",)),
    "decode": Group(("syncer/decode/*",), ("tests/unit/test_decode_*.py",)),
    "load": Group(
        tuple(f"syncer/load/{name}.py" for name in ("rows", "due", "executions", "steps", "workflows")),
        ("tests/integration/test_load*.py",),
    ),
    "sync": Group(
        tuple(
            f"syncer/sync/{name}.py"
            for name in (
                *("__init__", "executions", "hints", "landing", "ledger"),
                *("replay", "report", "session", "steps", "workflows"),
            )
        ),
        (
            "tests/conformance/test_sync*.py",
            "tests/conformance/test_audit.py",
            "tests/conformance/test_losses.py",
            "tests/conformance/test_missing.py",
            "tests/conformance/test_poll*.py",
            "tests/integration/test_limits.py",
        ),
        # One source of three, and nothing that takes minutes.
        "not NewestFirst and not OffsetCapped and not rarely",
    ),
}
