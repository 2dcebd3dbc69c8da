"""Can PostgreSQL store this JSON text in jsonb, and dump it again? If not, mend a copy.

Invariant: what `check` calls SAFE, and every copy `repair` makes, loads into jsonb and comes out as the same
values. It works on the text, never on parsed values, so numbers keep their digits and depth costs no stack.
Knows nothing of payloads, records or secrets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from itertools import accumulate, chain

import msgspec

from syncer.decode import scan
from syncer.decode.needles import Needles

DEEPEST = 512
MOST_DIGITS = 100
# The most that jsonb can address inside one container (JENTRY_OFFLENMASK).
LONGEST = 0x0FFFFFFF
# Nothing shorter can outgrow what follows.
_SMALL = 4 * 1024 * 1024
# While it reads jsonb, PostgreSQL doubles its room for 72 bytes a pair as often as that stays below 1 GB.
_MOST_PARTS = 1 << 23
# A dump writes a row in less than 1 GB, with input and output in it and the original bytes of both. The longest
# print of a number is that of 0e-450.
_LONGEST_PRINT, _LONGEST_NUMBER = 300 * 1024 * 1024, 452
# A double reaches 1e308 and 5e-324; with MOST_DIGITS in front no exponent beyond this can be held, and
# jsonb refuses even a zero with a far larger one.
_LARGEST_EXPONENT = 450


class Safety(Enum):
    SAFE = "safe"
    REPAIRABLE = "repairable"
    REFUSED = "refused"  # JSON of which jsonb can hold no copy: too deep, too long or too much of it
    NOT_JSON = "not_json"


_RAW = msgspec.json.Decoder(msgspec.Raw)
_BAD_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
# In this form every number that is out of bounds has many zeros in a row, or some after an e; so have many hexadecimal
# ids, hence a second look. To translate and to search costs a quarter of a regular expression.
_FORM = bytes.maketrans(b"123456789.+-E", b"000000000000e")
_EXPONENTS = Needles([b"0e000"])
# More than half of the digits a number may have: there may be a point among them.
_RUN = b"0" * (MOST_DIGITS // 2 + 1)
_BEFORE_A_NUMBER = b"[:,"
_A_NUMBER = re.compile(rb"[ \t\n\r]*+(" + scan.NUMBER + rb")")

_STRINGS = re.compile(scan.STRING)
_PART = re.compile(rb"(" + scan.STRING + rb")|" + scan.NOT_FINITE + rb"|(" + scan.NUMBER + rb")")
_NEEDS_MENDING = re.compile(rb"[\x00-\x1f]|\\u(?:0000|[dD][89a-fA-F])")
_IN_STRING = re.compile(
    rb"(?P<pair>\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?P<bad>\\u(?:0000|[dD][89a-fA-F][0-9a-fA-F]{2})|\x00)"
    rb"|(?P<control>[\x01-\x1f])"
    rb"|\\.",
    re.DOTALL,
)
_POWERS = re.compile(rb"[0-9][eE]")
_NUMBER_PARTS = re.compile(rb"-?([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")

# Brackets as +1 and -1, so that their running sum is the depth.
_STEPS = bytes(1 if c in b"[{" else 255 for c in range(256))
_NO_BRACKETS = bytes(c for c in range(256) if c not in b"[]{}")


def check(raw: bytes) -> Safety:
    """How jsonb takes this text. Clean documents pay one strict scan and a few searches."""
    if len(raw) > LONGEST:
        return Safety.REFUSED
    if not _is_strict(raw):
        return _check_lenient(raw)
    if _too_deep(raw) or _too_much(raw):
        return Safety.REFUSED
    if not (scan.has_escape(raw) and _BAD_ESCAPE.search(raw)) and not _has_long_number(raw):
        return Safety.SAFE
    return Safety.SAFE if mended(raw) == raw else Safety.REPAIRABLE


def repair(raw: bytes) -> bytes | None:
    """A copy that jsonb holds: U+FFFD for NUL, lone surrogates and bytes that are not UTF-8; numbers out of
    bounds as strings. None when no copy can be held. ValueError when it is not JSON."""
    safety = check(raw)
    if safety is Safety.NOT_JSON:
        raise ValueError("not JSON")
    if safety is Safety.REFUSED:
        return None
    return raw if safety is Safety.SAFE else mended(raw)


def _is_strict(raw: bytes) -> bool:
    try:
        _RAW.decode(raw)
        if not raw.isascii():  # msgspec.Raw does not look at the encoding
            raw.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _check_lenient(raw: bytes) -> Safety:
    if not scan.is_json(raw):
        return Safety.NOT_JSON
    return Safety.REFUSED if _too_deep(raw) or _too_much(raw) else Safety.REPAIRABLE


def _too_deep(raw: bytes) -> bool:
    if len(raw) <= 2 * DEEPEST or raw.count(b"[") + raw.count(b"{") <= DEEPEST:
        return False
    brackets = _STRINGS.sub(b"", raw).translate(_STEPS, _NO_BRACKETS)
    return max(accumulate(memoryview(brackets).cast("b")), default=0) > DEEPEST


def _too_much(raw: bytes) -> bool:
    """Whether a long document has more parts than jsonb takes, or could not be printed any more."""
    if len(raw) <= _SMALL:
        return False
    bare = _STRINGS.sub(b"", raw)
    parts = sum(map(bare.count, (b",", b":", b"[", b"{")))
    printed = len(raw) + parts + _LONGEST_NUMBER * len(_POWERS.findall(bare))
    return parts > _MOST_PARTS or printed > _LONGEST_PRINT


def _has_long_number(raw: bytes) -> bool:
    """Whether a number may be out of bounds; in a string, what looks like one after a colon or comma counts, too."""
    form = raw.translate(_FORM)
    return any(_may_be_unfit(raw, at) for at in chain(_EXPONENTS.places(form), _runs(form)))


def _runs(form: bytes) -> Iterator[int]:
    """Where many digits stand in a row."""
    at = form.find(_RUN)
    while at >= 0:
        yield at
        at = form.find(_RUN, at + len(_RUN))


def _may_be_unfit(raw: bytes, at: int) -> bool:
    """Whether a number with a digit at this place is out of bounds: it follows what a value follows in JSON."""
    start = max(0, at - MOST_DIGITS)
    before = raw[start : at + 1].rstrip(b"-.0123456789 \t\n\r")
    if before[-1:] not in _BEFORE_A_NUMBER:
        return False
    number = _A_NUMBER.match(raw, start + len(before))
    return not before or number is None or not _fits(number[1])


def mended(raw: bytes) -> bytes:
    """The copy of a text that `check` calls REPAIRABLE."""
    raw = raw.removeprefix(scan.BOM)
    if not raw.isascii():
        raw = raw.decode(errors="replace").encode()
    return _PART.sub(_mend_part, raw)


def _mend_part(part: re.Match[bytes]) -> bytes:
    whole = part[0]
    if part[1]:
        return _IN_STRING.sub(_mend_character, whole) if _NEEDS_MENDING.search(whole) else whole
    return whole if part[2] and _fits(whole) else b'"' + whole + b'"'


def _mend_character(found: re.Match[bytes]) -> bytes:
    if found["bad"]:
        return b"\\ufffd"
    return b"\\u%04x" % found[0][0] if found["control"] else found[0]


def _fits(number: bytes) -> bool:
    """Whether a double can hold it, neither as inf nor as a zero that was none, in few enough digits."""
    found = _NUMBER_PARTS.fullmatch(number)
    if found is None or len(number) > MOST_DIGITS + 6:
        return False
    whole, fraction, exponent = found.group(1, 2, 3)
    if len(whole) + len(fraction or b"") > MOST_DIGITS or abs(int(exponent or 0)) > _LARGEST_EXPONENT:
        return False
    value = float(number)
    return abs(value) != float("inf") and (value != 0 or not (whole + (fraction or b"")).strip(b"0"))
