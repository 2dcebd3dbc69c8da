"""What goes wrong between a client and a platform, at random from a seed: each fault replaces one answer.

Invariant: the same seed and the same requests give the same faults, each is counted when it is sent, and none
changes what is true at the source. It knows HTTP and no platform.

    faults = simulator.misbehave({"*": {"502": 0.1}, "steps": {"cut": 0.2, "429-bare": 0.05}}, seed=7)
    ...
    faults.calm()
    assert faults.injected["502"] > 0
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from email.utils import formatdate
from functools import cache
from random import Random
from typing import NamedTuple

from syncer.simulator.clock import Clock
from syncer.simulator.wire import Answer, Flood, Request

GIGABYTE = 1 << 30
SILENCE = 30.0
"""Seconds for which a silent source says nothing; then it answers after all."""
CLOSED_FOR = 0.02
"""Seconds for which a source refuses connections."""

_BLOCK = 1 << 20
_HTML = (
    b"<!DOCTYPE html>\n<html><head><title>Maintenance</title></head><body>We will be back soon.</body></html>"
)
_XML = (
    '<?xml version="1.0" encoding="UTF-8" ?>\n<SIMPLE_RETURN><RESPONSE><DATETIME>2026-03-18T12:00:00Z</DATETIME>'
    "<CODE>{code}</CODE><TEXT>This API cannot be run again for now.</TEXT>{items}</RESPONSE></SIMPLE_RETURN>"
)
_SECONDS_TO_WAIT = "<ITEM_LIST><ITEM><KEY>SECONDS_TO_WAIT</KEY><VALUE>{wait}</VALUE></ITEM></ITEM_LIST>"


Rates = Mapping[str, Mapping[str, float]]


class Case(NamedTuple):
    """One answer about to go wrong, with chance and the source's time in ms."""

    answer: Answer
    rng: Random
    now_ms: int

    def somewhere(self) -> int:
        """A place in the body before its end."""
        return self.rng.randrange(max(1, len(self.answer.body)))

    def wait(self) -> int:
        """Seconds."""
        return self.rng.randint(1, 5)


class Told(NamedTuple):
    """An answer in the place of another, and how many seconds it asks to wait."""

    answer: Answer
    wait: int = 0


# What the source says instead


def _error(status: int) -> Callable[[Case], Told]:
    return lambda _case: Told(Answer(status, _HTML, "text/html"))


def _retry_after(status: int) -> Callable[[Case], Told]:
    def told(case: Case) -> Told:
        wait = case.wait()
        return Told(Answer(status, b"", "", (("Retry-After", str(wait)),)), wait)

    return told


def _retry_date(case: Case) -> Told:
    wait = case.wait()
    until = formatdate(case.now_ms // 1000 + wait, usegmt=True)
    return Told(Answer(429, b"", "", (("Retry-After", until),)), wait)


def _bare(_case: Case) -> Told:
    return Told(Answer(429, b"Too Many Requests", "text/plain"))


def _in_words(case: Case) -> Told:
    """The sentence of a gateway that tells its limit's window and no header."""
    wait = case.wait()
    words = (
        f"The throttling threshold has been reached: policy user over ratelimit,limit:10,time:{wait} second"
    )
    body = {"error_code": "APIGW.0308", "error_msg": words, "request_id": "0123456789abcdef"}
    return Told(Answer(429, json.dumps(body).encode()), wait)


def _too_often(case: Case) -> Told:
    wait = case.wait()
    body = _XML.format(code=1965, items=_SECONDS_TO_WAIT.format(wait=wait))
    return Told(Answer(409, body.encode(), "text/xml"), wait)


def _too_many_at_once(_case: Case) -> Told:
    limits = (("X-Concurrency-Limit-Limit", "2"), ("X-Concurrency-Limit-Running", "2"))
    return Told(Answer(409, _XML.format(code=1960, items="").encode(), "text/xml", limits))


def _to_wait(case: Case) -> Told:
    wait = case.wait()
    limits = (
        ("X-RateLimit-Limit", "120"),
        ("X-RateLimit-Window-Sec", "60"),
        ("X-RateLimit-Remaining", "0"),
        ("X-RateLimit-ToWait-Sec", str(wait)),
    )
    return Told(Answer(409, b"", "text/xml", limits), wait)


def _unauthorized(_case: Case) -> Told:
    return Told(Answer(401, b'{"error":"invalid token"}'))


def _redirect(case: Case) -> Told:
    status = case.rng.choice((301, 302, 303, 307, 308))
    return Told(Answer(status, _HTML, "text/html", (("Location", "/login?next=%2F"),)))


def _html(_case: Case) -> Told:
    return Told(Answer(200, _HTML, "text/html; charset=utf-8"))


def _empty(_case: Case) -> Told:
    return Told(Answer(200, b""))


# What happens to the connection


def _refused(case: Case) -> Told:
    return Told(replace(case.answer, conduct="refuse", closed_for=CLOSED_FOR))


def _reset(case: Case) -> Told:
    return Told(replace(case.answer, conduct="reset"))


def _reset_in_head(case: Case) -> Told:
    return Told(replace(case.answer, conduct="reset_in_head"))


def _reset_in_body(case: Case) -> Told:
    return Told(replace(case.answer, conduct="reset_in_body", cut_at=case.somewhere()))


def _cut(case: Case) -> Told:
    return Told(replace(case.answer, conduct="cut", cut_at=case.somewhere()))


def _cut_chunked(case: Case) -> Told:
    return Told(replace(case.answer, conduct="cut", cut_at=case.somewhere(), chunked=True))


def _unended(case: Case) -> Told:
    return Told(replace(case.answer, conduct="cut", cut_at=len(case.answer.body), chunked=True))


def _silence(case: Case) -> Told:
    return Told(replace(case.answer, delay=SILENCE))


# What the answer looks like


def _json_cut(case: Case) -> Told:
    return Told(replace(case.answer, body=case.answer.body[: case.somewhere()]))


def _chunked(case: Case) -> Told:
    return Told(replace(case.answer, chunked=True))


def _wrong_type(case: Case) -> Told:
    kind = case.rng.choice(
        ("text/html; charset=latin-1", "application/octet-stream", "image/png", "nonsense", "")
    )
    return Told(replace(case.answer, content_type=kind))


def _encoded(answer: Answer, encoding: str, body: bytes) -> Told:
    return Told(replace(answer, body=body, headers=(*answer.headers, ("Content-Encoding", encoding))))


def _gzip(case: Case) -> Told:
    return _encoded(case.answer, "gzip", gzip.compress(case.answer.body, mtime=0))


def _deflate(case: Case) -> Told:
    return _encoded(case.answer, "deflate", zlib.compress(case.answer.body))


def _gzip_cut(case: Case) -> Told:
    packed = gzip.compress(case.answer.body, mtime=0)
    return _encoded(case.answer, "gzip", packed[: case.rng.randrange(1, len(packed))])


def _gzip_lie(case: Case) -> Told:
    return _encoded(case.answer, "gzip", case.answer.body)


def _unknown_encoding(case: Case) -> Told:
    return _encoded(case.answer, case.rng.choice(("br", "zstd", "x-rot13")), case.answer.body[::-1])


def _date(hours: int) -> Callable[[Case], Told]:
    """As a gateway tells it whose clock is not that of the records."""

    def told(case: Case) -> Told:
        date = formatdate(case.now_ms // 1000 + 3600 * hours, usegmt=True)
        return Told(replace(case.answer, headers=(*case.answer.headers, ("Date", date))))

    return told


def _endless_head(case: Case) -> Told:
    padding = tuple((f"X-Padding-{number}", "x" * 8000) for number in range(64))
    return Told(replace(case.answer, headers=case.answer.headers + padding))


def _flood(case: Case) -> Told:
    flood = Flood(b'{"total":"1","items":["', b"x" * 65_536, GIGABYTE >> 16, b'"]}')
    return Told(replace(case.answer, flood=flood, chunked=case.rng.random() < 0.5))


def _bomb(case: Case) -> Told:
    begin, block = _packed_block()
    flood = Flood(begin, block, GIGABYTE // _BLOCK, b"")
    encoding = (("Content-Encoding", "gzip"),)
    return Told(replace(case.answer, flood=flood, headers=case.answer.headers + encoding))


@cache
def _packed_block() -> tuple[bytes, bytes]:
    """How a gzip stream begins, and a megabyte of spaces in it; any number of them may follow."""
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    begin = packer.compress(b'{"items":[') + packer.flush(zlib.Z_FULL_FLUSH)
    return begin, packer.compress(b" " * _BLOCK) + packer.flush(zlib.Z_FULL_FLUSH)


KINDS: Mapping[str, Callable[[Case], Told]] = {
    **{str(status): _error(status) for status in (500, 502, 503, 504)},
    "429-seconds": _retry_after(429),
    "429-date": _retry_date,
    "429-bare": _bare,
    "429-in-words": _in_words,
    "503-retry-after": _retry_after(503),
    "409-too-often": _too_often,
    "409-too-many": _too_many_at_once,
    "409-to-wait": _to_wait,
    "401": _unauthorized,
    "redirect": _redirect,
    "html": _html,
    "empty": _empty,
    "refused": _refused,
    "reset": _reset,
    "reset-in-head": _reset_in_head,
    "reset-in-body": _reset_in_body,
    "cut": _cut,
    "cut-chunked": _cut_chunked,
    "unended": _unended,
    "silence": _silence,
    "json-cut": _json_cut,
    "chunked": _chunked,
    "wrong-type": _wrong_type,
    "gzip": _gzip,
    "deflate": _deflate,
    "gzip-cut": _gzip_cut,
    "gzip-lie": _gzip_lie,
    "unknown-encoding": _unknown_encoding,
    "date-ahead": _date(1),
    "date-behind": _date(-1),
    "endless-head": _endless_head,
    "flood": _flood,
    "bomb": _bomb,
}
"""Every fault by its name."""

SLOW = ("silence", "flood", "bomb")
"""Those that take seconds, and are rare in a mixture."""


def mixture(rate: float) -> dict[str, float]:
    """All kinds together at this rate: alike, but for the slow ones, a tenth as often as the others."""
    weights = {kind: 0.1 if kind in SLOW else 1.0 for kind in KINDS}
    return {kind: rate * weight / sum(weights.values()) for kind, weight in weights.items()}


class Faults:
    """A fault for `Simulator.fault`. `rates`: probability by kind, by endpoint, or "*" for every one.

    `injected` counts what was sent, by kind. `impolite` counts requests made while an earlier answer had
    asked to wait; a client with several requests in flight cannot help some.
    """

    def __init__(
        self,
        seed: int,
        rates: Rates,
        *,
        endpoint_of: Callable[[Request], str],
        clock: Clock,
    ) -> None:
        unknown = {kind for kinds in rates.values() for kind in kinds} - KINDS.keys()
        if unknown:
            raise ValueError(f"no such faults: {', '.join(sorted(unknown))}")
        self.injected: Counter[str] = Counter()
        self.impolite = 0
        self._rates = rates
        self._rng = Random(f"{seed}/faults")
        self._clock = clock
        self._endpoint_of = endpoint_of
        self._wait_until_ms = 0
        self._is_calm = False

    def calm(self) -> None:
        """Nothing goes wrong any more."""
        self._is_calm = True

    def __call__(self, request: Request, answer: Answer) -> Answer:
        now_ms = self._clock.now_ms()
        self.impolite += now_ms < self._wait_until_ms
        kind = None if self._is_calm else self._drawn(self._endpoint_of(request))
        if kind is None:
            return answer
        told = KINDS[kind](Case(answer, self._rng, now_ms))
        self.injected[kind] += 1
        self._wait_until_ms = max(self._wait_until_ms, now_ms + 1000 * told.wait)
        return told.answer

    def _drawn(self, endpoint: str) -> str | None:
        """A kind by its probability, or none; those of the endpoint before those of all."""
        left = self._rng.random()
        for rates in (self._rates.get(endpoint, {}), self._rates.get("*", {})):
            for kind, rate in rates.items():
                left -= rate
                if left < 0:
                    return kind
        return None
