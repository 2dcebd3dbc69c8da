"""How Qualys is asked for a token and how its ways of saying "wait" are understood."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from syncer.http import Answer, Rate
from syncer.http.answer import retry_after
from syncer.sources.qualys_flow import PLATFORM, ClientAuth, PasswordAuth, TokenAuth
from syncer.sources.qualys_flow.access import Access

URL = "https://gateway.example.com"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PASSWORD = PasswordAuth.model_validate(
    {"mode": "password", "username": "api-user", "password": "p&ss w=rd+ü%41"}
)
CLIENT = ClientAuth.model_validate({"mode": "client", "client_id": "3f1c-id", "client_secret": "s3cret/+=="})
TOKEN = TokenAuth.model_validate({"mode": "token", "token": "given-token"})


def answer(status: int = 200, body: bytes = b"", **headers: str) -> Answer:
    return Answer(status, {name.replace("_", "-").lower(): value for name, value in headers.items()}, body)


def wait(told: Answer) -> float | None:
    found = Access(URL, TOKEN).wait(told, Rate.of(told.headers), retry_after(told.headers, NOW))
    return None if found is None else found.total_seconds()


# Signing in


def test_a_password_is_posted_as_a_form_that_keeps_every_character() -> None:
    request = Access(URL, PASSWORD).token_request()
    assert request is not None
    assert (request.method, str(request.url)) == ("POST", f"{URL}/auth")
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.content == (
        b"username=api-user&password=p%26ss+w%3Drd%2B%C3%BC%2541&token=true&permissions=true"
    )


def test_a_client_is_posted_in_headers() -> None:
    request = Access(URL, CLIENT).token_request()
    assert request is not None
    assert (request.method, str(request.url)) == ("POST", f"{URL}/auth/oidc")
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert (request.headers["clientId"], request.headers["clientSecret"]) == ("3f1c-id", "s3cret/+==")
    assert request.content == b""


def test_a_given_token_is_used_as_it_is_and_nothing_is_posted() -> None:
    import httpx

    access = Access(URL, TOKEN)
    request = httpx.Request("GET", URL)
    access.sign(request, None)
    assert access.token_request() is None
    assert request.headers["authorization"] == "Bearer given-token"


def _jwt(lifetime: int) -> str:
    claims = msgspec.json.encode({"iat": 1000, "exp": 1000 + lifetime})
    return f"eyJh.{base64.urlsafe_b64encode(claims).rstrip(b'=').decode()}.c2ln"


@pytest.mark.parametrize(
    ("body", "value", "seconds"),
    [
        (_jwt(900), _jwt(900), 900),
        (f'"{_jwt(900)}"', _jwt(900), 900),
        (f"{_jwt(900)}\r\n", _jwt(900), 900),
        ("opaque-token", "opaque-token", 14_400),
    ],
)
def test_the_token_is_the_bare_body_and_lives_as_long_as_it_says_or_four_hours(
    body: str, value: str, seconds: float
) -> None:
    token = Access(URL, PASSWORD).token_from(answer(201, body.encode()), None)
    assert (token.value, token.lifetime) == (value, timedelta(seconds=seconds))


@pytest.mark.parametrize(
    "body", [b"", b"<html>maintenance</html>", b'{"error":"x"}', b"two words", "tökén".encode()]
)
def test_a_body_that_is_no_token_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="not a token"):
        Access(URL, PASSWORD).token_from(answer(200, body), None)


@pytest.mark.parametrize("auth", [PASSWORD, CLIENT, TOKEN])
def test_no_secret_shows_in_what_is_printed_and_the_hint_names_the_keys_of_the_mode(auth: Any) -> None:
    access = Access(URL, auth)
    shown = repr(auth) + repr(access) + str(vars(access)) + access.credentials
    assert not any(secret in shown for secret in ("p&ss", "s3cret/", "given-token"))
    assert f"auth.{[*type(auth).model_fields][-1]}" in access.credentials


@pytest.mark.parametrize("secret", ["two\nlines", "tab\there", "üñí", " blank before", "blank after "])
def test_a_secret_that_no_header_can_carry_is_refused_by_the_configuration(secret: str) -> None:
    with pytest.raises(ValidationError, match="cannot be sent in a header") as caught:
        TokenAuth.model_validate({"mode": "token", "token": secret})
    assert secret not in str(caught.value)
    with pytest.raises(ValidationError, match="cannot be sent in a header"):
        ClientAuth.model_validate({"mode": "client", "client_id": "x", "client_secret": secret})


def test_the_configuration_learns_the_modes_and_the_horizon_from_here() -> None:
    assert PLATFORM.auth == (PasswordAuth, ClientAuth, TokenAuth)
    assert PLATFORM.horizon == timedelta(days=30)
    assert not PLATFORM.options.model_fields


# Waiting

XML = (
    b'<?xml version="1.0" encoding="UTF-8" ?><SIMPLE_RETURN><RESPONSE><CODE>%d</CODE><TEXT>no</TEXT>'
    b"%s</RESPONSE></SIMPLE_RETURN>"
)
SECONDS = b"<ITEM_LIST><ITEM>\n<KEY>SECONDS_TO_WAIT</KEY> <VALUE>68928</VALUE></ITEM></ITEM_LIST>"


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        # ToWait goes before everything else, with Qualys' own margin.
        (answer(429, X_RateLimit_ToWait_Sec="7", Retry_After="100", X_RateLimit_Remaining="0"), 10),
        (answer(409, X_RateLimit_ToWait_Sec="7"), 10),
        (answer(409, XML % (1965, SECONDS)), 68_931),
        (answer(429, XML % (1965, SECONDS), Retry_After="5"), 68_931),
        (answer(429, Retry_After="100", X_RateLimit_Remaining="0", X_RateLimit_Window_Sec="3600"), 100),
        (
            answer(429, X_RateLimit_Remaining="0", X_RateLimit_Window_Sec="3600", X_RateLimit_Limit="300"),
            3600,
        ),
        (answer(409, XML % (1960, b"")), 10),
        (answer(409, X_Concurrency_Limit_Limit="2", X_Concurrency_Limit_Running="2"), 10),
        (answer(429, X_RateLimit_Limit="0", X_ConcurrencyLimit_Limit="2"), 10),
        # A limit, and no word of how long: the client waits ever longer.
        (answer(409, XML % (1965, b"")), 0),
        (answer(429), 0),
        (answer(429, X_RateLimit_Remaining="5", X_RateLimit_Limit="300"), 0),
        # No limits.
        (answer(409, XML % (999, SECONDS)), None),
        (answer(409, b'{"error":"conflict"}'), None),
        (answer(400, XML % (1965, SECONDS)), None),
        (answer(503, Retry_After="5"), None),
        (answer(500), None),
        # Answers that can be used.
        (answer(200, X_RateLimit_Remaining="0", X_RateLimit_ToWait_Sec="7"), 10),
        (answer(200, X_RateLimit_Remaining="0", X_RateLimit_ToWait_Sec="0"), None),
        (answer(200, X_RateLimit_Remaining="298", X_RateLimit_ToWait_Sec="7"), None),
        (answer(200, X_RateLimit_Remaining="0"), None),
        (answer(200, XML % (1965, SECONDS)), None),
    ],
)
def test_every_dialect_of_waiting_is_understood(told: Answer, seconds: float | None) -> None:
    assert wait(told) == seconds
