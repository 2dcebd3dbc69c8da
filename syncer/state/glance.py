"""What a person takes in of a standing at a glance, in a terminal or on a page: what matters, and who is at work."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from syncer.state.standing import Row


def called(row: Row) -> str:
    """What a person calls a partition."""
    return str(row["workflow_name"] or row["partition"])


def pressing(rows: Sequence[Row], most: int, least: int) -> Sequence[Row]:
    """All partitions if they are at most so many, else those that matter most: in error, behind, with work left."""
    if len(rows) <= most:
        return rows
    return sorted(rows, key=_pressure, reverse=True)[: max(min(sum(map(is_behind, rows)), most), least)]


def is_behind(row: Row) -> bool:
    """Whether something of the partition is left to be done."""
    return any(_pressure(row)[:3])


def _pressure(row: Row) -> tuple[bool, float, int, float]:
    return (
        row["last_error"] is not None,
        row["backlog_seconds"] or 0,
        row["steps_due"],
        row["lag_seconds"] or 0,
    )


def holders(leases: Sequence[Row]) -> Iterator[str]:
    """Each process with what it works on."""
    held: defaultdict[str, list[str]] = defaultdict(list)
    for row in leases:
        held[row["owner"]].append(" ".join(filter(None, (row["stream"], row["partition"], row["lane"]))))
    for owner, parts in sorted(held.items()):
        host, _, process = owner.partition("/")
        more = f", and {len(parts) - 2:,} more" if len(parts) > 2 else ""
        yield f"{host}, process {process.partition('/')[0]}: {', '.join(parts[:2])}{more}"
