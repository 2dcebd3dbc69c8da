"""Text that PostgreSQL can hold, and the fingerprint that groups failures.

Invariant: `repair` returns text that encodes to UTF-8 without a NUL; clean text comes back as the same
object.
Knows nothing of JSON, records or platforms.
"""

from __future__ import annotations

import re

# Enough for any message made for people; a hostile megabyte costs no more than this.
_READ_AT_MOST = 16_384
FINGERPRINT_LENGTH = 200

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}"
_CLOCK = r"\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?(?:\s?[ap]m)?(?:\s?(?:z|utc|gmt|[+-]\d\d:?\d\d))*"
_DAY = (
    rf"(?:\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}|\d{{1,2}}[-/.]\d{{1,2}}[-/.]\d{{4}}"
    rf"|\d{{1,2}}[ -]{_MONTH}[ -]\d{{2,4}}|{_MONTH} \d{{1,2}},? \d{{4}})"
)
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]{0,6},? )"

# In this order: what is quoted goes first, whole; numbers last, for they are part of all the others.
# Each pattern starts at a boundary and consumes what it scans, so the time is linear in the text.
_QUOTED = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r'(?<![\w\\])"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)',  # to the end if the closing quote was cut off
        r"(?<![\w\\])'(?:[^'\\]++|\\.)*+'(?!\w)",  # not the apostrophe in "can't"
        r"(?<!\w)`[^`]*+`(?!\w)",
    )
)
_VARYING = tuple(
    re.compile(pattern, re.ASCII | re.IGNORECASE | re.DOTALL)
    for pattern in (
        r"(?<!\w)arn:[^\s\"',;()\[\]]++",
        r"(?<!\w)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?!\w)",
        rf"(?<!\w){_WEEKDAY}?{_DAY}(?:[t ,]{{0,2}}{_CLOCK})?(?!\w)",
        rf"(?<![\w.:-]){_CLOCK}(?![\w:])",
    )
)
_WORD = re.compile(r"[^\W\d_]{2}")
_MARKS = re.compile(r"[\"'`\\{}\[\]]+")
_RUN = re.compile(r"[A-Za-z0-9_-]{16,}")
# Ids made by machines: i-0663d3f3, sg-12ab34cd, 0x7ffe, #1234.
_ID = re.compile(
    r"(?<![\w-])[a-z]{1,12}-(?=[a-z]*\d)[0-9a-f]{6,}(?![\w-])|(?<!\w)0x[0-9a-f]+|#\d+", re.IGNORECASE
)
# Digits that belong to a name stay while they are few: EC2, S3, IPv4.
_NUMBER = re.compile(r"(?<![A-Za-z0-9_])[+-]?\d+(?:[.,:/]\d+)*%?|\d{3,}", re.ASCII)


def repair(text: str) -> str:
    """NUL and lone surrogates become U+FFFD."""
    if text.isascii() and "\x00" not in text:
        return text
    return _UNSTORABLE.sub("\ufffd", text) if _UNSTORABLE.search(text) else text


def fingerprint(message: str) -> str:
    """The message without what varies between failures, whitespace folded, at most 200 characters.

    Of a message that is nothing but quotes, such as a JSON document, what the quotes hold is kept.
    """
    text = message[:_READ_AT_MOST]
    bare = text
    for pattern in _QUOTED:
        bare = pattern.sub("", bare)
    reason = _without_varying(bare)
    return reason if _WORD.search(reason) else _without_varying(_MARKS.sub(" ", text))


def _without_varying(text: str) -> str:
    for pattern in _VARYING:
        text = pattern.sub("", text)
    text = _RUN.sub(_unless_word, text)
    text = _NUMBER.sub("", _ID.sub("", text))
    return " ".join(text.split())[:FINGERPRINT_LENGTH].rstrip()


def _unless_word(run: re.Match[str]) -> str:
    return "" if any(map(str.isdigit, run[0])) else run[0]
