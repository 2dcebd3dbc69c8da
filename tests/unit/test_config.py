"""The configuration: what is accepted, what is refused with which words, and that secrets stay secret."""

from __future__ import annotations

import errno
import os
import tomllib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from syncer.config import (
    Connection,
    Cron,
    PlatformSpec,
    Secret,
    Section,
    Service,
    Settings,
    Texts,
    Tuning,
    Warehouse,
    format_duration,
    is_loopback,
    load,
    parse_duration,
    show,
)
from syncer.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"


class NoOptions(Section):
    pass


class SecmasterOptions(Section):
    project_id: str
    workspaces: Texts = ()
    api_path: Literal["v1", "v2"] = "v1"


class PasswordAuth(Section):
    mode: Literal["password"]
    username: str
    password: Secret


class TokenAuth(Section):
    mode: Literal["token"]
    token: Secret


PLATFORMS = {
    "qualys_flow": PlatformSpec(NoOptions, (PasswordAuth, TokenAuth), timedelta(days=30)),
    "secmaster": PlatformSpec(SecmasterOptions, (TokenAuth,), timedelta(days=90)),
}
ENV = {"SYNCER_WAREHOUSE_URL": "postgresql://w:warehouse-pw@db/syncer", "QUALYS_PASSWORD": "qualys-pw"}

WAREHOUSE = '[warehouse]\nurl = "embedded"\n'
PROD = """
[connections.prod]
platform = "qualys_flow"
base_url = "https://gateway.example.com"
auth = { mode = "token", token = "token-in-the-file" }
"""
SOC = """
[connections.soc]
platform = "secmaster"
base_url = "https://soc.example.com"
auth = { mode = "token", token = "t" }
project_id = "p1"
"""

Load = Callable[..., Settings]
Complaints = Callable[..., list[str]]


@pytest.fixture
def read(tmp_path: Path) -> Load:
    def read(text: str, env: Mapping[str, str] = ENV) -> Settings:
        file = tmp_path / "config.toml"
        file.write_text(text, encoding="utf-8")
        return load(file, env=env, platforms=PLATFORMS)

    return read


@pytest.fixture
def complaints(read: Load) -> Complaints:
    """The lines under the first one, which names the file."""

    def complaints(text: str, env: Mapping[str, str] = ENV) -> list[str]:
        with pytest.raises(ConfigError) as refused:
            read(text, env)
        first, *lines = refused.value.message.split("\n")
        assert first.endswith("config.toml cannot be used:")
        return [line.removeprefix("  ") for line in lines]

    return complaints


def with_key(line: str) -> str:
    return f"{WAREHOUSE}{PROD}{line}\n"


# What a good file means


def test_the_example_loads_and_says_what_the_defaults_are(read: Load) -> None:
    settings = read(EXAMPLE.read_text(encoding="utf-8"))
    prod = settings.connections["prod"]
    written = prod.model_dump(include=set(Tuning.model_fields))
    assert written == Tuning().model_dump()
    assert settings.service == Service()
    assert settings.warehouse.data_dir == Path("~/.local/share/syncer").expanduser()
    assert settings.warehouse.url.get_secret_value() == ENV["SYNCER_WAREHOUSE_URL"]


def test_every_key_stands_in_the_example_under_a_comment() -> None:
    raw = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    assert raw["warehouse"].keys() == Warehouse.model_fields.keys()
    assert raw["service"].keys() == Service.model_fields.keys()
    assert raw["connections"]["prod"].keys() == Connection.model_fields.keys() - {"name", "options"}
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    keys = [number for number, line in enumerate(lines) if line and not line.startswith(("#", "["))]
    assert [lines[number] for number in keys if not lines[number - 1].startswith("#")] == []


def test_a_key_left_out_has_the_default_that_the_example_shows(read: Load) -> None:
    prod = read(WAREHOUSE + PROD).connections["prod"]
    assert prod.poll == timedelta(minutes=5)
    assert prod.lookback == timedelta(minutes=15)
    assert prod.sweep == timedelta(hours=1)
    assert prod.settle == timedelta(minutes=2)
    assert prod.timeout == timedelta(seconds=30)
    assert (prod.page_size, prod.max_concurrency, prod.requests_per_second) == (100, 4, 5)
    assert (prod.steps, prod.step_io, prod.variables) == (True, True, False)
    assert (prod.max_payload_bytes, prod.max_response_bytes) == (4 << 20, 64 << 20)
    assert (prod.workflows, prod.ca_file, prod.proxy) == ((), None, None)


def test_the_horizon_defaults_to_the_platforms(read: Load) -> None:
    settings = read(WAREHOUSE + PROD + SOC)
    assert settings.connections["prod"].horizon == timedelta(days=30)
    assert settings.connections["soc"].horizon == timedelta(days=90)


def test_defaults_give_way_to_the_connections_own_keys(read: Load) -> None:
    defaults = '[defaults]\npoll = "1m"\nhorizon = "20d"\npage_size = 7\n'
    settings = read(WAREHOUSE + defaults + PROD + "page_size = 50\n" + SOC)
    prod, soc = settings.connections["prod"], settings.connections["soc"]
    assert (prod.poll, prod.horizon, prod.page_size) == (timedelta(minutes=1), timedelta(days=20), 50)
    assert (soc.poll, soc.horizon, soc.page_size) == (timedelta(minutes=1), timedelta(days=20), 7)


def test_a_platforms_own_keys_and_sign_in_are_checked_by_its_models(read: Load) -> None:
    defaults = '[defaults]\napi_path = "v2"\n'
    settings = read(WAREHOUSE + defaults + PROD + SOC)
    assert settings.connections["soc"].options == SecmasterOptions(project_id="p1", api_path="v2")
    assert settings.connections["prod"].options == NoOptions()
    assert isinstance(settings.connections["prod"].auth, TokenAuth)


def test_settings_cannot_be_changed(read: Load) -> None:
    settings = read(WAREHOUSE + PROD)
    with pytest.raises(ValidationError):
        settings.connections["prod"].page_size = 1
    with pytest.raises(ValidationError):
        settings.warehouse.auto_migrate = False


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("https://a.example.com/", "https://a.example.com"),
        ("https://a.example.com:8443/api", "https://a.example.com:8443/api"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost:8080/", "http://localhost:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_a_base_url_loses_its_last_slash(read: Load, written: str, meant: str) -> None:
    text = (WAREHOUSE + PROD).replace("https://gateway.example.com", written)
    assert read(text).connections["prod"].base_url == meant


def test_listen_is_split_into_host_and_port_or_turned_off(read: Load) -> None:
    assert Service().address == ("127.0.0.1", 9108)
    assert Service(listen="[::1]:80").address == ("::1", 80)
    assert Service(listen="").address is None


def test_a_warehouse_may_be_embedded(read: Load) -> None:
    assert read(WAREHOUSE).warehouse.embedded
    assert not read('[warehouse]\nurl = "postgresql://db/x"\n').warehouse.embedded


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("LOCALHOST", True),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_only_this_machine_is_loopback(host: str, answer: bool) -> None:
    assert is_loopback(host) is answer


# Durations and cron expressions


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("12h", 43_200),
        ("30d", 2_592_000),
        ("2w", 1_209_600),
        ("1h30m", 5400),
        ("0s", 0),
    ],
)
def test_durations_are_read(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "5 m", "m5", "-5m", "5M", "1.5h", "5m ", "٥m", "5min"])  # noqa: RUF001
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match='is not a duration; write it like "5m"'):
        parse_duration(text)


@pytest.mark.parametrize("text", ["101w" * 100, "999999999999d", "36501d"])
def test_a_duration_beyond_the_calendar_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="longer than a century"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=36_500 * 86_400))
def test_a_duration_is_printed_as_it_can_be_read(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("expression", "next_at"),
    [
        # 2026-01-01 is a Thursday
        ("*/15 * * * *", datetime(2026, 1, 1, 0, 15, tzinfo=UTC)),
        ("0 3 * * 0", datetime(2026, 1, 4, 3, tzinfo=UTC)),
        ("0 3 * * 7", datetime(2026, 1, 4, 3, tzinfo=UTC)),
        ("0 3 * * 1-3", datetime(2026, 1, 5, 3, tzinfo=UTC)),
        ("0 3 * * sat,SUN", datetime(2026, 1, 3, 3, tzinfo=UTC)),
        ("0 3 * * */2", datetime(2026, 1, 1, 3, tzinfo=UTC)),
        ("0 3 * * 5/2", datetime(2026, 1, 2, 3, tzinfo=UTC)),
        ("30 1 15 * *", datetime(2026, 1, 15, 1, 30, tzinfo=UTC)),
    ],
)
def test_a_cron_expression_means_what_a_crontab_means(read: Load, expression: str, next_at: datetime) -> None:
    poll = read(with_key(f'poll = "{expression}"')).connections["prod"].poll
    assert poll == Cron(expression)
    assert isinstance(poll, Cron)
    after_midnight = datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert poll.trigger().get_next_fire_time(None, after_midnight) == next_at


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("61 * * * *", "is not a cron expression ("),
        ("* * * * 8", "(there is no weekday 8)"),
        ("* * * * mon-sun", "(the weekdays mon-sun run backwards)"),
        ("* * * * 1/0", "is not a cron expression ("),
        ("* * 1 * 1", "(a day of the month and a day of the week exclude each other)"),
        ("0 0 30 2 *", "names a day that never comes"),
    ],
)
def test_a_wrong_cron_expression_says_why_and_shows_a_right_one(
    complaints: Complaints, expression: str, why: str
) -> None:
    (line,) = complaints(with_key(f'poll = "{expression}"'))
    assert line.startswith(f'connections.prod.poll: "{expression}" ')
    assert why in line
    assert line.endswith('; write it like "*/15 * * * *"')


# What is refused, and with which words

RAISE = "raise horizon if the source serves more, or lower"
PLAIN = "is not encrypted; write https:// (http:// is for this machine only)"
NO_ADDRESS = 'is not an address; write it like "https://gateway.example.com"'
NO_PROXY = 'must be an address like "http://proxy.example.com:3128", or "" for none'
NO_SECRET = 'must be a text in quotes, { env = "NAME" } or { file = "/path" }'
NO_TENANT_NAME = "a name has 1 to 63 of a-z, 0-9, _ and -; rename it"
PUT_THERE = "put the secret there, or name another file"
WRITE_ADDRESS = 'write the platform\'s address, like "https://gateway.example.com"'
NO_LISTEN = 'is not host:port; write it like "127.0.0.1:9108", or "" for none'
NO_WAREHOUSE = 'must be "embedded" or an address like "postgresql://user:password@host:5432/database"'


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('poll = "5 minutes"', 'poll: "5 minutes" is not a duration; write it like "5m"'),
        ("poll = 300", 'poll: must be a duration in quotes, like "5m"'),
        ('poll = "0s"', 'poll: must be longer than nothing; write it like "5m"'),
        ('sweep = "0m"', 'sweep: must be longer than nothing; write it like "5m"'),
        ('timeout = "0s"', 'timeout: must be longer than nothing; write it like "5m"'),
        ('lookback = "-5m"', 'lookback: "-5m" is not a duration; write it like "5m"'),
        ("page_size = 0", "page_size: must be at least 1"),
        ('page_size = "100"', "page_size: must be a whole number, without quotes"),
        ("page_size = true", "page_size: must be a whole number, without quotes"),
        ("max_concurrency = 0", "max_concurrency: must be at least 1"),
        ("requests_per_second = -1", "requests_per_second: must be at least 0"),
        ("requests_per_second = inf", "requests_per_second: must be a finite number"),
        ('requests_per_second = "5"', "requests_per_second: must be a number, without quotes"),
        ('steps = "yes"', "steps: must be true or false, without quotes"),
        ("max_payload_bytes = 67108865", "max_payload_bytes: must be at most 67108864"),
        ('workflows = "all"', 'workflows: must be a list, like ["a", "b"]'),
        ('workflows = ["a", 3]', "workflows[1]: must be a text in quotes"),
        (
            'redact_keys = ["pin", "_"]',
            "redact_keys: an entry without a letter would match every key; take it out",
        ),
        (
            'ca_file = "/nowhere/ca.pem"',
            'ca_file: there is no file "/nowhere/ca.pem"; write the path of a PEM file, or "" for none',
        ),
        ("ca_file = true", "ca_file: must be a path in quotes"),
        ('proxy = "proxy:3128"', f"proxy: {NO_PROXY}"),
        ('lookbak = "5m"', "lookbak: unknown key; did you mean 'lookback'?"),
        ('horizon = "15m"', f"horizon: 15m is not longer than lookback (15m); {RAISE} lookback"),
        ('lookback = "31d"', f"horizon: 30d is not longer than lookback (31d); {RAISE} lookback"),
        ('settle = "31d"', f"horizon: 30d is not longer than settle (31d); {RAISE} settle"),
        ('sweep = "31d"', f"horizon: 30d is not longer than sweep (31d); {RAISE} sweep"),
        ('poll = "31d"', f"horizon: 30d is not longer than poll (31d); {RAISE} poll"),
    ],
)
def test_a_wrong_key_is_named_with_what_would_be_right(complaints: Complaints, line: str, says: str) -> None:
    (complaint,) = complaints(with_key(line))
    assert complaint == f"connections.prod.{says}"


@pytest.mark.parametrize("line", ['api_path = "v1"', 'name = "x"', "options = {}"])
def test_what_is_no_key_of_this_platform_is_unknown_and_the_keys_are_listed(
    complaints: Complaints, line: str
) -> None:
    (complaint,) = complaints(with_key(line))
    assert complaint.startswith(
        f"connections.prod.{line.split(maxsplit=1)[0]}: unknown key; known here are poll, lookback, "
    )


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://gateway.example.com", f'"http://gateway.example.com" {PLAIN}'),
        ("http://127.0.0.1.example.com", f'"http://127.0.0.1.example.com" {PLAIN}'),
        ("gateway.example.com", f'"gateway.example.com" {NO_ADDRESS}'),
        ("ftp://x", f'"ftp://x" {NO_ADDRESS}'),
        ("https://", f'"https://" {NO_ADDRESS}'),
        ("https://x:99999", f'"https://x:99999" {NO_ADDRESS}'),
        ("https://x/?a=b", f'"https://x/?a=b" {NO_ADDRESS}'),
        ("https://user:hunter2@x", "must not hold a user or a password; they belong in auth"),
    ],
)
def test_a_base_url_that_cannot_be_trusted_is_refused(complaints: Complaints, url: str, says: str) -> None:
    assert complaints((WAREHOUSE + PROD).replace("https://gateway.example.com", url)) == [
        f"connections.prod.base_url: {says}"
    ]


@pytest.mark.parametrize(
    ("auth", "says"),
    [
        ('auth = "hunter2"', 'auth: must be a table; write { mode = "password" or "token", ... }'),
        ("", 'auth: must be a table; write { mode = "password" or "token", ... }'),
        ("auth = {}", 'auth.mode: must be "password" or "token"'),
        ('auth = { mode = "pasword" }', 'auth.mode: must be "password" or "token"'),
        ('auth = { mode = ["token"] }', 'auth.mode: must be "password" or "token"'),
        ('auth = { mode = "token" }', "auth.token: missing"),
        (
            'auth = { mode = "token", tokn = "a", token = "b" }',
            "auth.tokn: unknown key; did you mean 'token'?",
        ),
        ('auth = { mode = "token", token = 5 }', f"auth.token: {NO_SECRET}"),
        ('auth = { mode = "token", token = { env = "A", file = "/b" } }', f"auth.token: {NO_SECRET}"),
        ('auth = { mode = "token", token = { var = "A" } }', f"auth.token: {NO_SECRET}"),
        ('auth = { mode = "token", token = "" }', "auth.token: the text is empty; put the secret there"),
        (
            'auth = { mode = "token", token = { env = "NOPE" } }',
            "auth.token: the environment variable NOPE is not set; set it, or name another source",
        ),
        (
            'auth = { mode = "token", token = { env = "EMPTY" } }',
            "auth.token: the environment variable EMPTY is empty; put the secret there",
        ),
        (
            'auth = { mode = "token", token = { file = "/nowhere/x" } }',
            f"auth.token: cannot read /nowhere/x: {os.strerror(errno.ENOENT)}; {PUT_THERE}",
        ),
    ],
)
def test_a_wrong_sign_in_is_named_with_what_would_be_right(
    complaints: Complaints, auth: str, says: str
) -> None:
    text = (WAREHOUSE + PROD).replace('auth = { mode = "token", token = "token-in-the-file" }', auth)
    assert complaints(text, {"EMPTY": ""}) == [f"connections.prod.{says}"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", 'warehouse.url: missing; write postgresql://... or "embedded"'),
        ('[warehouse]\nurl = "mysql://x"', f"warehouse.url: {NO_WAREHOUSE}"),
        (
            WAREHOUSE + "auto_migrat = true",
            "warehouse.auto_migrat: unknown key; did you mean 'auto_migrate'?",
        ),
        (WAREHOUSE + 'data_dir = ""', "warehouse.data_dir: must be a path in quotes"),
        (WAREHOUSE + "[servce]", "servce: unknown key; did you mean 'service'?"),
        ("service = 1\n" + WAREHOUSE, "service: must be a table; write [service]"),
        (
            WAREHOUSE + '[service]\nlog_level = "warn"',
            'service.log_level: must be "debug", "info", "warning" or "error"',
        ),
        (WAREHOUSE + '[service]\nlisten = "9108"', f'service.listen: "9108" {NO_LISTEN}'),
        (WAREHOUSE + '[service]\nlisten = "a:65536"', f'service.listen: "a:65536" {NO_LISTEN}'),
        (WAREHOUSE + '[defaults]\npol = "1m"', "defaults.pol: unknown key; did you mean 'poll'?"),
        (
            WAREHOUSE + '[defaults]\nplatform = "secmaster"',
            "defaults.platform: belongs to a single connection; move it to its table",
        ),
        (WAREHOUSE + "[defaults]\npage_size = 0" + PROD + SOC, "defaults.page_size: must be at least 1"),
        (WAREHOUSE + '[defaults]\napi_path = "v3"' + PROD + SOC, 'defaults.api_path: must be "v1" or "v2"'),
        (WAREHOUSE + PROD.replace("prod", '"My Prod"'), f"connections.My Prod: {NO_TENANT_NAME}"),
        (WAREHOUSE + PROD.replace("prod", "a" * 64), f"connections.{'a' * 64}: {NO_TENANT_NAME}"),
        (
            WAREHOUSE + "[connections]\nprod = 1",
            "connections.prod: must be a table; write [connections.prod]",
        ),
        (
            WAREHOUSE + PROD.replace('"qualys_flow"', '"qualys"'),
            "connections.prod.platform: unknown platform; did you mean 'qualys_flow'?",
        ),
        (
            WAREHOUSE + PROD.replace('"qualys_flow"', '"xyz"'),
            "connections.prod.platform: unknown platform; known here are qualys_flow, secmaster",
        ),
        (
            WAREHOUSE + PROD.replace('platform = "qualys_flow"', ""),
            'connections.prod.platform: missing; write "qualys_flow" or "secmaster"',
        ),
        (
            WAREHOUSE + PROD.replace('base_url = "https://gateway.example.com"', ""),
            f"connections.prod.base_url: missing; {WRITE_ADDRESS}",
        ),
        (WAREHOUSE + SOC.replace('project_id = "p1"', ""), "connections.soc.project_id: missing"),
    ],
)
def test_a_wrong_table_is_named_with_what_would_be_right(
    complaints: Complaints, text: str, says: str
) -> None:
    assert complaints(text) == [says]


def test_all_problems_are_reported_at_once_one_line_each(complaints: Complaints) -> None:
    lines = complaints(
        """
        [warehouse]
        url = { env = "NOPE" }
        [defaults]
        settle = "soon"
        [connections.a]
        platform = "qualys_flow"
        base_url = "http://example.com"
        auth = { mode = "password", username = 1 }
        page_size = 0
        [connections.b]
        platform = "nope"
        timeout = 3
        """
    )
    assert [line.split(":")[0] for line in lines] == [
        "warehouse.url",
        "defaults.settle",
        "connections.a.auth.username",
        "connections.a.auth.password",
        "connections.a.page_size",
        "connections.a.base_url",
        "connections.b.platform",
        "connections.b.timeout",
    ]


def test_a_syntax_error_names_file_line_and_column(read: Load) -> None:
    with pytest.raises(ConfigError, match=r"config\.toml is not TOML: .* at line 2, column 7") as refused:
        read("[warehouse]\nurl = embedded\n")
    assert refused.value.hint == "texts need quotes, tables [brackets]"


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigError, match="is not UTF-8 at byte 5"):
        load(file, env={}, platforms=PLATFORMS)
    with pytest.raises(ConfigError, match=r"cannot read .*: Is a directory"):
        load(tmp_path, env={}, platforms=PLATFORMS)


# Where the file is looked for


def test_the_file_is_the_one_given_else_the_environments_else_the_local_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("given", "named", "config"):
        (tmp_path / f"{name}.toml").write_text(f'[warehouse]\nurl = "postgresql://{name}/x"\n')

    def found(path: Path | None, env: Mapping[str, str]) -> str:
        url = load(path, env=env, platforms=PLATFORMS).warehouse.url
        return url.get_secret_value().split("/")[2]

    assert found(Path("given.toml"), {"SYNCER_CONFIG": "named.toml"}) == "given"
    assert found(None, {"SYNCER_CONFIG": "named.toml"}) == "named"
    assert found(None, {"SYNCER_CONFIG": ""}) == "config"
    assert found(None, {}) == "config"


@pytest.mark.parametrize(
    ("path", "env", "says"),
    [
        (Path("x.toml"), {}, "there is no file x.toml"),
        (None, {"SYNCER_CONFIG": "y.toml"}, "there is no file y.toml, which $SYNCER_CONFIG names"),
        (None, {}, "there is no configuration: $SYNCER_CONFIG is not set and ./config.toml does not exist"),
    ],
)
def test_a_missing_file_says_where_it_was_looked_for(
    path: Path | None, env: Mapping[str, str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as refused:
        load(path, env=env, platforms=PLATFORMS)
    assert refused.value.message == says
    assert refused.value.hint == "write one with `syncer init`, or name another with --config"


# Choosing connections


def test_connections_are_chosen_by_name_or_all(read: Load) -> None:
    settings = read(WAREHOUSE + PROD + SOC)
    assert [each.name for each in settings.require_connections()] == ["prod", "soc"]
    assert [each.name for each in settings.require_connections(["soc", "soc"])] == ["soc"]


def test_an_unknown_or_missing_connection_is_an_error(read: Load) -> None:
    with pytest.raises(ConfigError, match=r"no connection is called dev \(known: prod, soc\)"):
        read(WAREHOUSE + PROD + SOC).require_connections(["prod", "dev"])
    with pytest.raises(ConfigError, match=r"no connection is configured \(add a \[connections.NAME\] table"):
        read(WAREHOUSE).require_connections()


# Secrets


def test_a_secret_comes_from_the_text_the_environment_or_a_file(read: Load, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(" from a file \r\n\n")

    def token(written: str) -> str:
        auth = read((WAREHOUSE + PROD).replace('"token-in-the-file"', written)).connections["prod"].auth
        assert isinstance(auth, TokenAuth)
        return auth.token.get_secret_value()

    assert token('"plain"') == "plain"
    assert token('{ env = "QUALYS_PASSWORD" }') == "qualys-pw"
    assert token(f'{{ file = "{secret}" }}') == " from a file "


def test_an_unusable_secret_file_is_refused(complaints: Complaints, tmp_path: Path) -> None:
    secret = tmp_path / "secret"

    def complaint(content: bytes) -> list[str]:
        secret.write_bytes(content)
        return complaints((WAREHOUSE + PROD).replace('"token-in-the-file"', f'{{ file = "{secret}" }}'))

    path = "connections.prod.auth.token"
    assert complaint(b"\n") == [f"{path}: {secret} is empty; put the secret there"]
    assert complaint(b"\xff") == [f"{path}: {secret} is not UTF-8 text; write the secret alone into it"]


SECRETS = ("warehouse-pw", "qualys-pw", "token-in-the-file", "proxy-pw", "file-pw")


@pytest.fixture
def secretive(read: Load, tmp_path: Path) -> Settings:
    """Settings that hold every kind of secret in every way one can be given."""
    (tmp_path / "secret").write_text("file-pw")
    return read(
        f"""
        [warehouse]
        url = "postgresql://w:warehouse-pw/@db/syncer?sslpassword=warehouse-pw&x=1"
        {PROD}
        proxy = "http://me:proxy-pw@proxy:3128"
        {PROD.replace("prod", "env").replace('"token-in-the-file"', '{ env = "QUALYS_PASSWORD" }')}
        {PROD.replace("prod", "file").replace('"token-in-the-file"', f'{{ file = "{tmp_path}/secret" }}')}
        """
    )


def test_no_representation_of_the_settings_holds_a_secret(secretive: Settings) -> None:
    connections = secretive.connections.values()
    texts = [repr(secretive), str(secretive), show(secretive)]
    texts += [repr(each) + str(each) + repr(each.model_dump()) for each in connections]
    assert [secret for secret in SECRETS for text in texts if secret in text] == []


def test_the_effective_configuration_shows_references_and_masks(secretive: Settings, tmp_path: Path) -> None:
    shown = show(secretive)
    assert 'url = "postgresql://w:********@db/syncer?sslpassword=********&x=1"' in shown
    assert 'proxy = "http://me:********@proxy:3128"' in shown
    assert 'auth = { mode = "token", token = "********" }' in shown
    assert 'auth = { mode = "token", token = { env = "QUALYS_PASSWORD" } }' in shown
    assert f'auth = {{ mode = "token", token = {{ file = "{tmp_path}/secret" }} }}' in shown


def test_the_effective_configuration_reads_back_as_the_same(read: Load) -> None:
    settings = read(
        '[warehouse]\nurl = { env = "SYNCER_WAREHOUSE_URL" }\n'
        + PROD.replace('"token-in-the-file"', '{ env = "QUALYS_PASSWORD" }')
        + 'poll = "0 */2 * * 1"\nlookback = "1h30m"\nrequests_per_second = 0.5\n'
        + 'workflows = ["a \\"b\\"", "ü*"]\n'
        + SOC.replace('token = "t"', 'token = { env = "QUALYS_PASSWORD" }')
        + 'workspaces = ["w1"]\n'
    )
    assert read(show(settings)) == settings


def test_no_complaint_holds_a_value_that_may_be_a_secret(complaints: Complaints) -> None:
    lines: list[Any] = complaints(
        """
        [warehouse]
        url = "mysql://root:hunter2@db"
        [connections.a]
        platform = "qualys_flow"
        base_url = "https://root:hunter2@example.com"
        auth = { mode = "hunter2", password = "hunter2" }
        proxy = "hunter2"
        [connections.b]
        platform = "qualys_flow"
        base_url = "https://example.com"
        auth = { mode = "password", username = ["hunter2"], password = { token = "hunter2" } }
        """
    )
    assert len(lines) == 6
    assert "hunter2" not in "\n".join(lines)


def test_the_environment_of_the_process_is_not_asked(
    complaints: Complaints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONLY_IN_THE_PROCESS", "x")
    assert os.environ["ONLY_IN_THE_PROCESS"] == "x"
    (line,) = complaints('[warehouse]\nurl = { env = "ONLY_IN_THE_PROCESS" }')
    assert "ONLY_IN_THE_PROCESS is not set" in line


# A service reads leniently, and may have no home


WRONG = PROD.replace("prod", "wrong").replace(
    "[connections.wrong]", '[connections.wrong]\npoll = "5 minutes"'
)


@pytest.fixture
def leniently(tmp_path: Path) -> Load:
    def read(text: str) -> Settings:
        file = tmp_path / "config.toml"
        file.write_text(text, encoding="utf-8")
        return load(file, env=ENV, platforms=PLATFORMS, is_lenient=True)

    return read


def test_read_leniently_a_wrong_connection_stands_aside_and_the_others_are_there(leniently: Load) -> None:
    settings = leniently(WAREHOUSE + PROD + WRONG)
    assert set(settings.connections) == {"prod"}
    (problem,) = settings.broken["wrong"]
    assert problem.startswith("connections.wrong.poll: ")


@pytest.mark.parametrize("part", ['[warehouse]\nurl = "mysql://x"\n', WAREHOUSE + "[service]\nlisten = 1\n"])
def test_what_all_connections_share_is_never_read_leniently(leniently: Load, part: str) -> None:
    with pytest.raises(ConfigError):
        leniently(part + PROD)


def test_where_no_connection_can_be_used_who_needs_one_hears_why(leniently: Load) -> None:
    settings = leniently(WAREHOUSE + WRONG)
    with pytest.raises(ConfigError, match=r"connections\.wrong\.poll"):
        settings.require_connections()


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", fails)


def test_without_a_home_only_an_embedded_warehouse_is_refused(
    homeless: None, read: Load, complaints: Complaints
) -> None:
    assert read('[warehouse]\nurl = "postgresql://u@db/syncer"\n' + PROD).connections
    (problem,) = complaints(WAREHOUSE + PROD)
    assert problem.startswith("warehouse.data_dir: ")
    assert "home" in problem
