"""A source that cannot keep a secret: payloads that hold them in every shape, and answers that repeat what they heard.

Invariant: beside every secret stands something harmless, by which a search proves that it would have found it.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections import Counter
from dataclasses import replace
from typing import Any

from syncer.simulator import Answer, Request
from tests.torture.secrets_hunt import harmless, secret

LIMIT = 20_000
"""max_payload_bytes here."""

KEYS = ("password", "DB-Password", "Api-Key", "api key", "x_API_key", "clientSecret", "accessToken", "Authorization",
        "private key", "AWS_SECRET_ACCESS_KEY", "Credentials")  # fmt: skip


def gz(data: bytes, keep: int | None = None) -> str:
    return base64.b64encode(gzip.compress(data)[:keep]).decode()


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def document(place: str) -> dict[str, Any]:
    """A secret in every shape, and a value that is none beside each."""
    return {
        "note": harmless(place),
        "keys": {key: secret(place) for key in KEYS},
        "deep": [{"token": {"a": [secret(place), {"b": secret(place)}], "n": harmless(place)}}],
        "pairs": [
            {"name": "apiKey", "value": secret(place)},
            {"Key": "Password", "Value": [secret(place)], "more": harmless(place)},
            {"key": "owner", "value": harmless(place)},
        ],
        "env": [f"DB_PASSWORD={secret(place)}", f"HOME={harmless(place)}", f"a=b&token={secret(place)}"],
        f"secret={secret(place)}": harmless(place),
        "url": f"https://h/?x=1&access_token={secret(place)}&y=2",
        "body": json.dumps({"password": secret(place), "n": harmless(place)}),
        "twice": json.dumps(json.dumps([{"name": "token", "value": secret(place)}])),
        "said": f'HTTP 400: {{"client_secret": "{secret(place)}", "n": "{harmless(place)}"',
        "python": f"{{'password': '{secret(place)}', 'n': '{harmless(place)}'}}",
        "base64": b64(json.dumps({"password": secret(place)})),
        "packed": gz(json.dumps({"token": secret(place)}).encode()),
        "packed twice": gz(json.dumps({"a": gz(json.dumps({"token": secret(place)}).encode())}).encode()),
        "lines": base64.encodebytes(gzip.compress(f"token: {secret(place)}".encode())).decode(),
        "plain": gz(json.dumps({"n": harmless(place)}).encode()),
    }


def payloads() -> dict[str, bytes]:
    """JSON texts of a step's input, one for each way in which it can be read or not."""
    found = document("payload")
    text = json.dumps(found)
    filler = "x y " * LIMIT
    wrapped = {
        "string": text,
        "base64": b64(text),
        "packed": gz(text.encode()),
        "layers": gz(json.dumps(gz(json.dumps(gz(text.encode())).encode())).encode()),
        "four layers": gz(
            json.dumps(gz(json.dumps(gz(json.dumps(gz(text.encode())).encode())).encode())).encode()
        ),
        "four quotes": json.dumps(json.dumps(json.dumps(text))),
        "text": f"login failed: password={secret('text')}",
        "text with JSON": f"answer: {text}",
        "cut packed": gz(text.encode(), -40),
        "cut packed early": gz(json.dumps([secret("cut"), "password", filler]).encode(), 60),
        "cut base64": b64(text)[:-7],
        "cut JSON": text[:-9],
        "unsafe": text[:-1] + ', "n": 1e400}',
        "unsafe packed": gz((text[:-1] + ', "nul": "\\u0000"}').encode()),
        "too deep": "[" * 600 + text + "]" * 600,
        "too large": json.dumps([text, filler]),
        "too large packed": gz(json.dumps([found, filler]).encode()),
        "too large, secret late": gz(json.dumps([filler, found]).encode()),
        "harmless cut": gz(json.dumps([harmless("cut")] * 50).encode(), -9),
        "harmless too large": gz(json.dumps([harmless("large"), filler]).encode()),
    }
    return {"plain": text.encode(), **{name: json.dumps(value).encode() for name, value in wrapped.items()}}


class Gossip:
    """A source that repeats in its answers what it was told in confidence, and breaks them in every way."""

    def __init__(self) -> None:
        self.told: Counter[str] = Counter()
        self._asked: Counter[str] = Counter()
        found = payloads()
        self._broken = found["cut packed"], found["harmless cut"]

    def __call__(self, request: Request, answer: Answer) -> Answer:
        """Every seventh answer to the same question is a fault, each time another. What is broken stays broken."""
        if answer.status == 200 and request.path.endswith(("/input", "/output")):
            answer = replace(answer, body=self._broken[len(request.path) % 2 == 0])
        self._asked[request.path] += 1
        turn = self._asked[request.path] + sum(request.path.encode())
        if answer.status >= 300 or turn % 7:
            return answer
        faults = self._faults(request, answer)
        name = [*faults][sum(self.told.values()) % len(faults)]
        self.told[name] += 1
        return faults[name]

    def _faults(self, request: Request, answer: Answer) -> dict[str, Answer]:
        heard = " ".join((*request.headers.values(), request.body.decode(), secret("echo")))
        body, line = heard.encode(), "".join(c for c in heard if " " <= c <= "~")
        echo = (("X-Request", line), ("WWW-Authenticate", f"Bearer {line}"), ("Set-Cookie", f"token={line}"))
        xml = f"<SIMPLE_RETURN><RESPONSE><CODE>1965</CODE><TEXT>{line}</TEXT></RESPONSE></SIMPLE_RETURN>"
        return {
            "500 that quotes the request": Answer(500, body, "text/plain", echo),
            "200 that is HTML": Answer(200, b"<html>" + body + b"</html>", "text/html", echo),
            "a body cut short": Answer(200, answer.body[: len(answer.body) // 2], headers=echo),
            "a cut connection": Answer(200, answer.body, conduct="cut", cut_at=len(answer.body) // 2),
            "JSON of another shape": Answer(200, json.dumps({"error": heard}).encode(), headers=echo),
            "503 with a wait": Answer(503, body, headers=(("Retry-After", "0"), *echo)),
            "409 in XML": Answer(409, xml.encode(), "text/xml", (("X-RateLimit-ToWait-Sec", "1"), *echo)),
            "401 that quotes the token": Answer(401, body, "text/plain", echo),
            "a content type that tells": Answer(200, body, f"text/{secret('type')}", echo),
            "headers that tell": Answer(200, answer.body, headers=(("Retry-After", line), *echo)),
        }  # fmt: skip
