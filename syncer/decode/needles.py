"""Whether any of several short texts occurs in a long one: asked of every payload, so it has to be fast.

Invariant: what is remembered of a hostile text does not grow with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ahocorasick_rs import BytesAhoCorasick, MatchKind

_PIECE = 64 * 1024
"""Bytes searched at once: the search lists all it finds, and a text may be nothing but needles."""


class Needles:
    """Some texts to look for, all at once."""

    def __init__(self, needles: Iterable[bytes]) -> None:
        needles = list(needles)
        self._overlap = max(map(len, needles), default=1) - 1
        # Of the kinds of search this one skips through the text instead of reading it byte by byte.
        self._search = BytesAhoCorasick(needles, matchkind=MatchKind.LeftmostFirst).find_matches_as_indexes

    def parts_with(self, text: bytes, mark: bytes) -> Iterator[int]:
        """Which parts of a text of at most 64 KB hold one of them, each once or more often: parted by a mark that is
        in none of them."""
        part = at = 0
        for _, start, _ in self._search(text):
            part += text.count(mark, at, start)
            at = start
            yield part

    def places(self, text: bytes) -> Iterable[int]:
        """Where one of them begins, in order; now and then one twice, none of two that overlap."""
        if len(text) <= _PIECE:
            return [start for _, start, _ in self._search(text)]
        return (at + start for at, piece in self._pieces(text) for _, start, _ in self._search(piece))

    def occur_in(self, text: bytes) -> bool:
        """Whether one of them is a part of the text."""
        if len(text) <= _PIECE:
            return bool(self._search(text))
        return any(self._search(piece) for _, piece in self._pieces(text))

    def _pieces(self, text: bytes) -> Iterator[tuple[int, memoryview]]:
        """With the place of each; what lies across an end is in one of them whole."""
        view = memoryview(text)
        return ((at, view[at : at + _PIECE + self._overlap]) for at in range(0, len(text), _PIECE))
