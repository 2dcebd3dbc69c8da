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
_STRAY = re.compile(r"(?:(?<=\s)|\A)[:,;](?:\s*[:,;])*(?=\s|\Z)")  # what keys and values leave behind
# A quote that ends the message, with none before it and nothing after it.
_REASON = re.compile(
    r"(?P<before>[^'\"`]*:)\s*+(?P<quote>['\"])(?P<said>(?:(?!(?P=quote)\s).){1,4000}?)(?P=quote)?", re.DOTALL
)
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

    Quoted values are taken out. A quoted sentence that ends the message after a colon is no value but the reason
    itself (`reason: 'Task timed out after 36 seconds'`, often a JSON document), and stays.
    """
    text = message[:_READ_AT_MOST]
    reason = _REASON.fullmatch(text)
    if reason is not None and _is_sentence(reason["said"]):
        return _without_varying(f"{reason['before']} {_opened(reason['said'])}")
    found = _without_varying(_without_quoted(text))
    return found if _WORD.search(found) else _without_varying(_opened(text))


def _without_quoted(text: str) -> str:
    for pattern in _QUOTED:
        text = pattern.sub("", text)
    return text


def _opened(quote: str) -> str:
    """What a quote or a JSON document says: its sentences, without keys, values and marks."""
    inner = _QUOTED[0].sub(lambda value: value[0] if _is_sentence(value[0]) else "", quote)
    return _STRAY.sub(" ", _MARKS.sub(" ", inner))


def _is_sentence(text: str) -> bool:
    return len(text.split(maxsplit=2)) == 3


def _without_varying(text: str) -> str:
    for pattern in _VARYING:
        text = pattern.sub("", text)
    text = _RUN.sub(_unless_word, text)
    text = _NUMBER.sub("", _ID.sub("", text))
    return " ".join(text.split())[:FINGERPRINT_LENGTH].rstrip()


def _unless_word(run: re.Match[str]) -> str:
    return "" if any(map(str.isdigit, run[0])) else run[0]
