"""What has been said of a connection's troubles, so that the log tells of changes and not of every try.

Invariant: a trouble is told when it begins and when it is over, however often it is met in between. It only hears what
happened; it must not know what is done about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from syncer.errors import SyncerError
from syncer.sync import Failure

TOLD = 5
"""Failed parts told one by one; of the others only the number."""


class _Heard(Struct, frozen=True):
    """How a lane's last attempt went: what ended it early, and the parts that were not done."""

    error: SyncerError | None = None
    parts: frozenset[tuple[str, str]] = frozenset()

    @property
    def kind(self) -> str | None:
        return type(self.error).__name__ if self.error else None


class Complaints:
    """Hears how each attempt went and logs what is new."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._heard: dict[str, _Heard] = {}

    @property
    def trouble(self) -> SyncerError | None:
        """What keeps a lane from getting on, the first there is."""
        return next((heard.error for heard in self._heard.values() if heard.error), None)

    def hear(self, lane: str, error: SyncerError | None, failures: Sequence[Failure]) -> None:
        """Take note of an attempt in a lane."""
        before = self._heard.get(lane, _Heard())
        kinds = {heard.kind for heard in self._heard.values()}
        known = frozenset[tuple[str, str]]().union(*(heard.parts for heard in self._heard.values()))
        failed = {(each.stream, each.partition): each for each in failures}
        now = self._heard[lane] = _Heard(error, before.parts if error else frozenset(failed))
        if error is not None:
            if now.kind not in kinds:
                self._log.warning("failing", lane=lane, error=error.message, hint=error.hint)
            return
        self._tell_parts([each for part, each in failed.items() if part not in known])
        if (before.kind and not self.trouble) or (before.parts and not now.parts):
            self._log.info("recovered", lane=lane)

    def _tell_parts(self, failures: Sequence[Failure]) -> None:
        for each in failures[:TOLD]:
            self._log.warning(
                "failed", stream=each.stream, partition=each.partition, error=each.message, hint=each.hint
            )
        if len(failures) > TOLD:
            self._log.warning("failed", more=len(failures) - TOLD, hint="see `syncer status`")
