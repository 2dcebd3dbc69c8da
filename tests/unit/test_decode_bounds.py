"""Hostile payloads cost bounded memory, and time that grows no faster than their length."""

from __future__ import annotations

import base64
import gzip
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from syncer.decode.payload import decode_payload
from syncer.decode.redact import Redactor
from syncer.encode import Encoder
from syncer.model import Reject
from tests.zoo import LIMIT, gz, quoted

ROOT = Path(__file__).parents[2]
ENTRIES = ["password", "secret", "token", "api_key"]
MEGABYTE = 1024 * 1024

MEASURED = """
import re, sys
from pathlib import Path
from syncer.decode.payload import decode_payload
from syncer.decode.redact import Redactor

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024

redactor = Redactor(["password", "secret", "token", "api_key"])
payload = sys.stdin.buffer.read()
before = peak()
state = decode_payload(payload, limit=4_194_304, redactor=redactor).state
print(state, peak() - before)
"""

FULL = LIMIT - 16


def bomb(size: int = 300) -> bytes:
    """Megabytes of which each inflates from a kilobyte."""
    return b"[" + b" " * (size * MEGABYTE) + b"]"


def repeated(part: bytes, size: int = FULL) -> bytes:
    """As many as fit into so many bytes."""
    return part * (size // len(part))


def dense(size: int) -> bytes:
    """What a gzip bomb of many different pieces inflates to: each counts from where the last one ended."""
    return b"".join(b"%07x " % number * 2048 for number in range(size // 16_384))


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "300 MB in a gzip of 300 KB": (lambda: quoted(gz(bomb())), "too_large"),
    "a bomb in a bomb": (lambda: quoted(gz(quoted(gz(bomb())))), "too_large"),
    "a bomb in a bomb in a bomb": (lambda: quoted(gz(quoted(gz(quoted(gz(bomb(60))))))), "too_large"),
    "a bomb that does not repeat itself": (lambda: quoted(gz(dense(60 * MEGABYTE))), "too_large"),
    "a bomb in many members": (
        lambda: b'"' + base64.b64encode(gzip.compress(b" " * MEGABYTE) * 60) + b'"',
        "too_large",
    ),
    "a bomb cut short": (lambda: quoted(base64.b64encode(gzip.compress(bomb(60))[:40_000])), "too_large"),
    "a bomb within a document": (lambda: json.dumps({"a": gz(bomb(60)).decode()}).encode(), "decoded"),
    "a hundred thousand brackets": (lambda: b"[" * 100_000 + b"]" * 100_000, "unsafe"),
    "nothing but brackets": (lambda: repeated(b"[", FULL // 2) + repeated(b"]", FULL // 2), "unsafe"),
    "a million objects": (lambda: b"[" + repeated(b"{},") + b"{}]", "decoded"),
    "nine thousand times 1e131071": (lambda: b"[" + b"1e131071," * 8999 + b"1e131071]", "unsafe"),
    "numbers beyond all": (lambda: b"[" + repeated(b"1e400,") + b"0]", "unsafe"),
    "one number": (lambda: repeated(b"1"), "unsafe"),
    "nothing but NUL": (lambda: b'"' + repeated(b"\\u0000") + b'"', "unsafe"),
    "secrets everywhere": (lambda: b"[" + repeated(b'{"token":1},') + b"0]", "decoded"),
    "one text": (lambda: b'"' + repeated(b"x") + b'"', "text"),
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
@pytest.mark.parametrize("name", HOSTILE)
def test_no_payload_costs_more_memory_than_a_multiple_of_the_limit(name: str) -> None:
    make, state = HOSTILE[name]
    told = subprocess.run(
        [sys.executable, "-c", MEASURED],
        input=make(),
        stdout=subprocess.PIPE,
        cwd=ROOT,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (400 * MEGABYTE, 400 * MEGABYTE)),
    )
    found, peak = told.stdout.decode().split()
    assert found == state
    assert int(peak) < 300


GROWING: dict[str, Callable[[int], bytes]] = {
    "brackets": lambda n: b"[" * n + b"]" * n,
    "brackets that never close": lambda n: b"[" * n,
    "objects": lambda n: b'{"a":' * n + b"1" + b"}" * n,
    "brackets in a string": lambda n: b'"' + b"[" * n + b'"',
    "backslashes": lambda n: b'"' + b"\\\\" * n + b'"',
    "quotes": lambda n: b'"' + b'\\"' * n + b'"',
    "apostrophes and colons": lambda n: b'"token' + b"':'" * n + b'"',
    "keys without a value": lambda n: b'"' + b'\\"token\\":' * n + b'"',
    "keys with a value": lambda n: b'"(' + b'\\"token\\":\\"x\\",' * n + b'"',
    "equal signs": lambda n: b'"' + b"token=" * n + b'"',
    "numbers beyond all": lambda n: b"[" + b"1e400," * n + b"0]",
    "one number": lambda n: b"9" * n,
    "what looks like long numbers": lambda n: b'["' + b": 1e9999" * n + b'"]',
    "escaped NUL": lambda n: b'"' + b"\\u0000" * n + b'"',
    "controls": lambda n: b'"\\u0000' + b"\x01" * n + b'"',
    "not UTF-8": lambda n: b'["' + b"\xff" * n + b'"]',
    "heads of gzip": lambda n: b'["token' + b" H4sIAAAAAAAAAAAA" * n + b'"]',
    "heads of zlib": lambda n: b'["token","' + b'eJwDAAAAAAEA","' * n + b'"]',
    "heads of JSON": lambda n: b'["' + b"eyJhIjox." * n + b'"]',
    "small streams": lambda n: b'["x' + (b" " + gz(b"{}" * 50)) * n + b'"]',
    "base64 in base64": lambda n: json.dumps([_in_base64(n)]).encode(),
    "strings in strings": lambda n: json.dumps("[" * 6 + '"' + "\\u005c" * n + 'u0022token"').encode(),
    "pairs": lambda n: b"[" + b'{"name":"token","value":"x"},' * n + b"0]",
    "a key sent again and again": lambda n: b"{" + b'"token":1,' * n + b'"a":0}',
    "assignments as keys": lambda n: b"{" + b",".join(b'"token=%d":1' % k for k in range(n)) + b"}",
    "secret keys": lambda n: b"{" + b",".join(b'"%d token":1' % k for k in range(n)) + b"}",
    "whitespace": lambda n: b"[" + b" " * n + b'"token": 1e400' + b" " * n,
    "half a stream": lambda n: b'"' + base64.b64encode(gzip.compress(b"x" * 50 * n)[: n // 30]) + b'"',
}


def _in_base64(size: int) -> str:
    text = "token"
    while len(text) < size:
        text = base64.b64encode(json.dumps({"a": text}).encode()).decode()
    return text


def cost(payload: bytes) -> float:
    """Seconds of this processor, the least of three; what is far below a tick counts as a hundredth. Each time with a
    redactor that remembers no key: the long payload may hold more of them than are remembered."""
    times = []
    for _ in range(3):
        redactor = Redactor(ENTRIES)
        begun = time.process_time()
        decode_payload(payload, limit=LIMIT, redactor=redactor)
        Encoder(redactor).reject(Reject(raw=payload, reason=""))
        times.append(time.process_time() - begun)
    return max(min(times), 0.01)


@pytest.mark.parametrize("name", GROWING)
def test_eight_times_as_long_a_payload_does_not_cost_the_square_of_that(name: str) -> None:
    make = GROWING[name]
    assert cost(make(20_000)) < 32 * cost(make(2_500))
