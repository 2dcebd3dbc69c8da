"""How SailPoint is asked for a token, how long that lives, and how a limit is told."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import ValidationError

from syncer.http import Answer
from syncer.http.answer import retry_after
from syncer.sources.sailpoint import PLATFORM, ClientAuth, Options
from syncer.sources.sailpoint.access import Access
from syncer.sources.sailpoint.routes import Routes

URL = "https://acme.api.identitynow.com"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CLIENT = ClientAuth.model_validate(
    {"mode": "client", "client_id": "3f1c&id", "client_secret": "s3cret/+== ü"}
)


def answer(status: int = 200, body: bytes = b"", **headers: str) -> Answer:
    return Answer(status, {name.replace("_", "-").lower(): value for name, value in headers.items()}, body)


def token(**told: object) -> Answer:
    return answer(200, msgspec.json.encode(told))


def _jwt(lifetime: int) -> str:
    claims = msgspec.json.encode({"iat": 1000, "exp": 1000 + lifetime})
    return f"eyJh.{base64.urlsafe_b64encode(claims).rstrip(b'=').decode()}.c2ln"


def test_the_client_is_posted_as_a_form_that_keeps_every_character() -> None:
    request = Access(URL, CLIENT).token_request()
    assert (request.method, str(request.url)) == ("POST", f"{URL}/oauth/token")
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.content == (
        b"grant_type=client_credentials&client_id=3f1c%26id&client_secret=s3cret%2F%2B%3D%3D+%C3%BC"
    )


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ({"access_token": "opaque", "expires_in": 749}, 749),
        ({"access_token": _jwt(900), "expires_in": 43_200}, 43_200),
        ({"access_token": _jwt(900), "expires_in": "600"}, 600),
        ({"access_token": _jwt(900)}, 900),
        ({"access_token": _jwt(900), "expires_in": 0}, 900),
        ({"access_token": _jwt(900), "expires_in": "soon"}, 900),
        ({"access_token": "opaque", "expires_in": None}, 749),
        ({"access_token": "opaque", "expires_in": [1]}, 749),
    ],
)
def test_a_token_lives_as_long_as_the_answer_says_else_as_it_says_itself(told: Any, seconds: int) -> None:
    found = Access(URL, CLIENT).token_from(token(**told), None)
    assert (found.value, found.lifetime) == (told["access_token"], timedelta(seconds=seconds))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"access_token":null}',
        b'{"access_token":"two words"}',
        b'{"access_token":"\xff"}',
    ],
)
def test_an_answer_without_a_token_is_refused_and_not_quoted(body: bytes) -> None:
    with pytest.raises(ValueError, match="token") as caught:
        Access(URL, CLIENT).token_from(answer(200, body), None)
    assert "two words" not in str(caught.value)


def test_the_answer_that_brings_the_token_says_whose_tenant_it_is() -> None:
    access = Access(URL, CLIENT)
    assert access.facts == {}
    access.token_from(
        token(access_token="t", tenant_id="e0", org="acme", pod=None, scope="sp:scopes:all"), None
    )
    assert access.facts == {"tenant_id": "e0", "org": "acme"}


def test_a_request_is_signed_with_the_bearer_token() -> None:
    request = httpx.Request("GET", URL)
    Access(URL, CLIENT).sign(request, "abc")
    assert request.headers["authorization"] == "Bearer abc"


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        (answer(429, b'{"message":" Rate Limit Exceeded "}', Retry_After="10"), 10),
        (answer(429, Retry_After="1200"), 1200),
        (answer(429), 0),
        (answer(429, Retry_After="later"), 0),
        (answer(503, Retry_After="5"), None),
        (answer(200, Retry_After="5"), None),
        (answer(400, b'{"message":" Rate Limit Exceeded "}'), None),
    ],
)
def test_a_limit_is_429_and_lasts_as_long_as_it_says(told: Answer, seconds: float | None) -> None:
    found = Access(URL, CLIENT).wait(told, None, retry_after(told.headers, NOW))
    assert (None if found is None else found.total_seconds()) == seconds


def test_no_secret_shows_in_what_is_printed_and_the_hints_name_what_to_check() -> None:
    access = Access(URL, CLIENT)
    shown = repr(CLIENT) + repr(access) + str(vars(access)) + access.credentials + access.rights
    assert "s3cret" not in shown
    assert "auth.client_secret" in access.credentials
    for right in ("sp:workflow:read", "sp:workflow-execution:read", "ORG_ADMIN"):
        assert right in access.rights


def test_the_configuration_learns_the_modes_the_options_and_the_horizon_from_here() -> None:
    assert PLATFORM.auth == (ClientAuth,)
    assert PLATFORM.horizon == timedelta(days=90)
    assert Options().api_path == "v2024"
    with pytest.raises(ValidationError, match="per-service"):
        Options.model_validate({"api_path": "v3"})


@pytest.mark.parametrize(
    ("api_path", "workflows", "executions"),
    [
        ("v2024", "/v2024/workflows", "/v2024/workflow-executions"),
        ("v2026", "/v2026/workflows", "/v2026/workflow-executions"),
        ("per-service", "/workflows/v1", "/workflow-executions/v1"),
    ],
)
def test_paths_are_those_of_the_version_and_no_id_leaves_its_segment(
    api_path: str, workflows: str, executions: str
) -> None:
    routes = Routes(api_path)
    assert (routes.workflows, routes.workflow("w1")) == (workflows, f"{workflows}/w1")
    assert routes.executions("w/1") == f"{workflows}/w%2F1/executions"
    assert routes.execution("e1") == f"{executions}/e1"
    assert routes.history("..") == f"{executions}/%2E%2E/history"
    assert routes.second_history("e1") == f"{executions}/e1/history-v2"
