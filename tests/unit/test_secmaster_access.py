"""How IAM is asked for a token, how requests are signed, and how the gateway's ways of saying "wait" are understood."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import ValidationError

from syncer.http import Answer
from syncer.http.answer import retry_after
from syncer.sources.secmaster import PLATFORM, KeyAuth, Options, PasswordAuth
from syncer.sources.secmaster.access import Access

URL = "https://secmaster.example.com/v1/p1/workspaces/w1/soc/workflows"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PASSWORD = PasswordAuth.model_validate(
    {
        "mode": "password",
        "iam_url": "https://iam.example.com/",
        "domain": "acme",
        "username": "reader",
        "password": 'p&ss "w"ü',
        "project": "cn-north-4",
    }
)
KEY = KeyAuth.model_validate({"mode": "aksk", "access_key": "AKEXAMPLE", "secret_key": "sk+/=secret"})


def access(auth: PasswordAuth | KeyAuth = PASSWORD, now: datetime = NOW) -> Access:
    return Access(auth, "p1", lambda: now)


def answer(status: int = 201, body: bytes = b"", **headers: str) -> Answer:
    return Answer(status, {name.replace("_", "-").lower(): value for name, value in headers.items()}, body)


# Signing in


def test_a_user_is_posted_with_the_account_and_the_project_it_is_for() -> None:
    request = access().token_request()
    assert request is not None
    assert (request.method, str(request.url)) == ("POST", "https://iam.example.com/v3/auth/tokens")
    assert request.headers["content-type"] == "application/json;charset=UTF-8"
    user = {"domain": {"name": "acme"}, "name": "reader", "password": 'p&ss "w"ü'}
    assert msgspec.json.decode(request.content) == {
        "auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": "cn-north-4"}},
        }
    }


@pytest.mark.parametrize(
    ("body", "now", "hours"),
    [
        (b'{"token":{"expires_at":"2026-03-02T06:00:00.000000Z","project":{"id":"p1"}}}', NOW, 18),
        (b'{"token":{"expires_at":"2026-03-01T12:30:00Z"}}', NOW, 0.5),
        (b'{"token":{"expires_at":"2026-03-02T06:00:00Z"}}', None, 24),
        (b'{"token":{"expires_at":"2026-03-01T11:59:59Z"}}', NOW, 24),
        (b'{"token":{"expires_at":"tomorrow"}}', NOW, 24),
        (b'{"token":{}}', NOW, 24),
        (b"", NOW, 24),
        (b"\xff{", NOW, 24),
    ],
)
def test_the_token_is_a_header_and_lives_as_long_as_the_body_says_or_a_day(
    body: bytes, now: datetime | None, hours: float
) -> None:
    token = access().token_from(answer(body=body, X_Subject_Token="MIIabc+/=\n"), now)
    assert (token.value, token.lifetime) == ("MIIabc+/=", timedelta(hours=hours))


@pytest.mark.parametrize("headers", [{}, {"X_Subject_Token": ""}, {"X_Subject_Token": "two words"}])
def test_an_answer_without_a_token_is_refused(headers: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no token"):
        access().token_from(answer(body=b'{"token":{}}', **headers), NOW)


def test_a_request_carries_the_token_and_the_content_type_that_is_mandatory() -> None:
    request = httpx.Request("GET", URL)
    access().sign(request, "MIIabc")
    assert request.headers["X-Auth-Token"] == "MIIabc"
    assert request.headers["Content-Type"] == "application/json;charset=UTF-8"
    assert "Authorization" not in request.headers


def test_a_key_needs_no_token_and_signs_each_request_with_the_time_of_that_moment() -> None:
    times = iter([NOW, NOW + timedelta(hours=1)])
    manners = Access(KEY, "p1", lambda: next(times))
    first, second = httpx.Request("GET", URL), httpx.Request("GET", URL)
    manners.sign(first, None)
    manners.sign(second, None)
    assert manners.token_request() is None
    assert (first.headers["X-Sdk-Date"], second.headers["X-Sdk-Date"]) == (
        "20260301T120000Z",
        "20260301T130000Z",
    )
    assert first.headers["X-Project-Id"] == "p1"
    assert first.headers["Authorization"].startswith(
        "SDK-HMAC-SHA256 Access=AKEXAMPLE, SignedHeaders=content-type;"
    )
    assert first.headers["Authorization"] != second.headers["Authorization"]
    assert "sk+/=secret" not in str(first.headers.raw)
    assert "X-Auth-Token" not in first.headers


@pytest.mark.parametrize("auth", [PASSWORD, KEY])
def test_no_secret_shows_in_what_is_printed_and_the_hint_names_the_keys_of_the_mode(auth: Any) -> None:
    manners = access(auth)
    shown = repr(auth) + repr(manners) + str(vars(manners)) + manners.credentials
    assert not any(secret in shown for secret in ("p&ss", "AKEXAMPLE", "sk+/="))
    assert all(f"auth.{key}" in manners.credentials for key in type(auth).model_fields if key != "mode")


# The configuration


def test_the_configuration_learns_the_modes_and_the_options_from_here() -> None:
    assert PLATFORM.auth == (PasswordAuth, KeyAuth)
    assert PLATFORM.options is Options
    assert PLATFORM.horizon == timedelta(days=90)


@pytest.mark.parametrize(
    "iam_url", ["http://iam.example.com", "iam.example.com", "https://u:p@iam.example.com"]
)
def test_a_password_is_never_sent_in_the_clear(iam_url: str) -> None:
    with pytest.raises(ValidationError):
        PasswordAuth.model_validate({**PASSWORD.model_dump(), "iam_url": iam_url})
    PasswordAuth.model_validate({**PASSWORD.model_dump(), "iam_url": "http://127.0.0.1:8080"})


@pytest.mark.parametrize("workspaces", [[], [""], ["w1", ""], [1], "w1"])
def test_at_least_one_workspace_is_named(workspaces: object) -> None:
    with pytest.raises(ValidationError):
        Options.model_validate({"project_id": "p1", "workspaces": workspaces})


def test_a_workspace_that_is_named_twice_is_one_and_their_order_stays() -> None:
    assert Options.model_validate({"project_id": "p1", "workspaces": ["b", "a", "b"]}).workspaces == (
        "b",
        "a",
    )


@pytest.mark.parametrize("project_id", ["", "two words", "línea"])
def test_a_project_is_an_id_that_a_header_can_carry(project_id: str) -> None:
    with pytest.raises(ValidationError):
        Options.model_validate({"project_id": project_id, "workspaces": ["w1"]})


@pytest.mark.parametrize("access_key", ["two\nlines", "schlüssel", " blank"])
def test_an_access_key_that_no_header_can_carry_is_refused(access_key: str) -> None:
    with pytest.raises(ValidationError, match="cannot be sent in a header") as caught:
        KeyAuth.model_validate({"mode": "aksk", "access_key": access_key, "secret_key": "x"})
    assert access_key not in str(caught.value)


# Waiting

TEXT = "The throttling threshold has been reached: policy user over ratelimit,limit:%s,time:%s"


def throttled(time: str = "1 second", code: str = "APIGW.0308", key: str = "error_code") -> bytes:
    return msgspec.json.encode({"error_msg": TEXT % (10, time), key: code, "request_id": "r1"})


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        (answer(429, throttled()), 1),
        (answer(429, throttled("30 seconds")), 30),
        (answer(429, throttled("2 minutes")), 120),
        (answer(429, throttled("1 hour")), 3600),
        (answer(429, throttled("1 day")), 86_400),
        # The same code with any refusal, in every shape of an error.
        (answer(400, throttled()), 1),
        (answer(403, throttled(code="APIG.0308")), 1),
        (answer(400, throttled(key="errorCode")), 1),
        (answer(400, throttled(key="code")), 1),
        (answer(400, b'{ "error" : ' + throttled() + b"}"), 1),
        (answer(400, b'{"error_code" : "APIGW.0308"}'), 0),
        # The documented words without the code.
        (answer(403, msgspec.json.encode({"message": TEXT % (10, "2 minutes")})), 120),
        (answer(400, msgspec.json.encode({"code": "429", "message": (TEXT % (10, "1 second")).lower()})), 1),
        (answer(403, b"The throttling threshold has been reached"), 0),
        # A limit, and no word of how long: the client waits ever longer.
        (answer(429), 0),
        (answer(429, b"<html>slow down</html>"), 0),
        (answer(429, throttled("1 fortnight")), 0),
        (answer(429, b'{"code":"429","message":"too many 429 error responses"}'), 0),
        # What is told twice: the longer.
        (answer(429, throttled(), Retry_After="20"), 20),
        (answer(429, throttled("1 minute"), Retry_After="20"), 60),
        # No limits.
        (answer(400, b'{"code":"SecMaster.10010001","message":"limit:10,time:1 second"}'), None),
        (answer(400, b'{"error_code":"APIGW.0301","error_msg":"limit:10,time:1 second"}'), None),
        (answer(400, b'{"error_code":"XAPIGW.0308","error_msg":"limit:10,time:1 second"}'), None),
        (answer(400, b'{"error_code":"APIGWW.0308","error_msg":"limit:10,time:1 second"}'), None),
        (answer(401, b'{"error":{"code":401,"message":"x","title":"Unauthorized"}}'), None),
        (answer(403, b'{"message":"this user may not read it: threshold of rights"}'), None),
        (answer(500, throttled()), None),
        (answer(503, b"", Retry_After="5"), None),
        (answer(200, throttled()), None),
    ],
)
def test_every_dialect_of_waiting_is_understood(told: Answer, seconds: float | None) -> None:
    found = access().wait(told, None, retry_after(told.headers, NOW))
    assert (None if found is None else found.total_seconds()) == seconds
