"""The signature of a request is the one that Huawei's own SDK makes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest

from syncer.sources.secmaster.signing import canonical, sign

VECTOR: dict[str, Any] = json.loads(
    (Path(__file__).parent / "data" / "secmaster" / "signing_vector.json").read_text(encoding="utf-8")
)
URL = f"https://{VECTOR['headers']['Host']}{VECTOR['sent_uri']}"
DATED = datetime(2026, 11, 20, tzinfo=UTC)


def signed(
    url: str = URL, *, secret: str = VECTOR["sk"], now: datetime = DATED, project: str = "pid123"
) -> httpx.Request:
    request = httpx.Request("GET", url, headers={"Content-Type": "application/json"})
    sign(request, VECTOR["ak"], secret, project, now)
    return request


def test_the_signature_is_that_of_the_vendors_own_client() -> None:
    request = signed()
    assert canonical(request) == VECTOR["canonical_request"]
    assert request.headers["Authorization"] == VECTOR["authorization"]
    assert request.headers["X-Sdk-Date"] == VECTOR["headers"]["X-Sdk-Date"]


def test_the_order_of_the_query_does_not_change_the_signature_and_the_zone_of_the_clock_neither() -> None:
    path, query = URL.split("?")
    turned = "&".join(reversed(query.split("&")))
    assert signed(f"{path}?{turned}").headers["Authorization"] == VECTOR["authorization"]
    china = DATED.astimezone(timezone(timedelta(hours=8)))
    assert signed(now=china).headers["Authorization"] == VECTOR["authorization"]


@pytest.mark.parametrize(
    "changes",
    [
        {"url": URL.replace("limit=100", "limit=101")},
        {"url": URL.replace("ws1", "ws2")},
        {"url": URL.replace("north", "south")},
        {"secret": "other"},
        {"now": DATED + timedelta(seconds=1)},
        {"project": "pid124"},
    ],
)
def test_whatever_is_signed_changes_the_signature(changes: dict[str, Any]) -> None:
    assert signed(**changes).headers["Authorization"] != VECTOR["authorization"]


def test_a_path_is_signed_with_a_slash_at_its_end_and_each_character_encoded_once() -> None:
    lines = canonical(signed("http://127.0.0.1:8080/v1/a%20b/%C3%BC~/x?e=&q=a%2Bb%20c")).split("\n")
    assert lines[:3] == ["GET", "/v1/a%20b/%C3%BC~/x/", "e=&q=a%2Bb%20c"]
    assert "host:127.0.0.1:8080" in lines
    assert canonical(signed("https://x.example")).split("\n")[1:3] == ["/", ""]
