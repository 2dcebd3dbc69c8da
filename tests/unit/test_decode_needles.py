"""Several texts looked for at once."""

from __future__ import annotations

import tracemalloc

import pytest

from syncer.decode.needles import Needles

LONG = 300_000


@pytest.mark.parametrize("at", [0, 1, 65_530, 65_533, 65_536, 131_070, LONG - 6])
def test_a_needle_is_found_wherever_it_stands(at: int) -> None:
    text = bytearray(b"." * LONG)
    text[at : at + 6] = b"secret"
    assert Needles([b"token", b"secret"]).occur_in(bytes(text))


def test_what_is_not_there_is_not_found() -> None:
    assert not Needles([b"token", b"secret"]).occur_in(b"secre" * LONG)
    assert not Needles([b"token"]).occur_in(b"")
    assert not Needles([]).occur_in(b"token")


def test_a_text_made_of_needles_takes_no_room() -> None:
    text = b"x" * 65_530 + b"a" * 10_000_000
    tracemalloc.start()
    try:
        assert Needles([b"a"]).occur_in(text)
        assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    finally:
        tracemalloc.stop()
