"""Canaries: secrets that can be recognised wherever they turn up, in every form they may take.

A `SECRET` must turn up nowhere; a `HARMLESS` value stands beside each in the same place and must be found there by
the same search, which proves that the search can find. Invariant: nothing here uses what the daemon redacts with.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import psycopg

SECRET = "Zq7canaryXw3"
HARMLESS = "Zq7harmlessXw3"
TOKEN = base64.urlsafe_b64encode(b'{"iss":"syncer.simulator","sub"').decode()[:38]
"""What stands in the middle of every token that the simulator issues."""

_PACKED = re.compile(rb"(?:H4sI|eJ[wxyz]|eN)[A-Za-z0-9+/_-]{12,}")


def secret(place: str) -> str:
    """The secret of a place; what is appended tells which one got out."""
    return f"{SECRET}{place}"


def harmless(place: str) -> str:
    """What stands beside it, and is none."""
    return f"{HARMLESS}{place}"


def forms(text: str) -> list[bytes]:
    """A text as it is, in hexadecimal, and in base64 wherever it stands in it."""
    data = text.encode()
    found = [data, data.hex().encode(), data.hex().upper().encode(), text[::-1].encode()]
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + data + b"\0" * (-(before + len(data)) % 3))
        found.append(encoded[-(-before * 8 // 6) : (before + len(data)) * 8 // 6])
    return found


SECRET_FORMS = [*forms(SECRET), *forms(TOKEN)]
HARMLESS_FORMS = forms(HARMLESS)


def leaks(where: str, data: bytes | str, *others: str) -> list[str]:
    """Every secret in this text or file, and every one of the `others`, with where it is and what stands around it."""
    wanted = [*SECRET_FORMS, *(form for each in others for form in forms(each))]
    return [f"{where}: {around!r}" for around in _found(data, wanted)]


def shows_harmless(data: bytes | str) -> bool:
    """Whether the search finds anything at all in this text or file."""
    return any(True for _ in _found(data, HARMLESS_FORMS))


def _found(data: bytes | str, wanted: list[bytes]) -> Iterator[bytes]:
    raw = data.encode(errors="surrogateescape") if isinstance(data, str) else data
    for form in wanted:
        for at in re.finditer(re.escape(form), raw):
            yield raw[max(0, at.start() - 80) : at.end() + 40]


def opened(raw: bytes) -> bytes:
    """Bytes with all that is packed in them appended, as far as it inflates, layer by layer."""
    found, layer = [raw], raw
    for _ in range(4):
        layer = b" ".join(_inflated(run[0]) for run in _PACKED.finditer(layer))
        found.append(layer)
    return b" ".join(found)


def _inflated(run: bytes) -> bytes:
    data = base64.urlsafe_b64decode(run.translate(bytes.maketrans(b"+/", b"-_"))[: len(run) // 4 * 4])
    stream, made = zlib.decompressobj(47), b""
    for byte in data:
        try:
            made += stream.decompress(bytes((byte,)))
        except zlib.error:
            break
    return made


def files(folder: Path) -> Iterator[Path]:
    """Every file below a folder."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def raw_bytes(url: str) -> bytes:
    """All that is kept as bytes, with what is packed in it."""
    query = (
        "SELECT raw FROM syncer.quarantine UNION ALL SELECT input_raw FROM history.step_io"
        " UNION ALL SELECT output_raw FROM history.step_io"
    )
    with psycopg.connect(url) as db:
        return b"\n".join(opened(bytes(raw)) for (raw,) in db.execute(query.encode()) if raw is not None)
