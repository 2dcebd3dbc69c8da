"""What `syncer init` makes of answers, for any platform: the file loads, and says what was answered."""

from __future__ import annotations

import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from syncer.cli.init.answers import (
    EMBEDDED,
    Answers,
    Kept,
    fields,
    is_secret,
    missing,
    modes,
    needed,
    problem_of,
    several,
)
from syncer.cli.init.example import addresses, example, render
from syncer.cli.init.flags import from_flags
from syncer.cli.init.writing import trial, write
from syncer.cli.platforms import platforms
from syncer.config import PlatformSpec, Secret, SecretText, Section, Texts, load
from syncer.errors import ConfigError


class Nothing(Section):
    """No keys of its own."""


class Spaces(Section):
    """Keys that must be given."""

    project_id: str
    workspaces: Texts
    api_path: str = "v1"


class Key(Section):
    """Two secrets, and a text that need not be given."""

    mode: Literal["key"]
    access_key: Secret
    secret_key: Secret
    region: str = Field(default="", description="write a region")


class Login(Section):
    """A secret beside a text."""

    mode: Literal["login"]
    user: str
    password: Secret


TOYS = {
    "acme": PlatformSpec(options=Spaces, auth=(Key, Login), horizon=timedelta(days=7)),
    "other": PlatformSpec(options=Nothing, auth=(Login,), horizon=timedelta(days=7)),
}
KEYS = ["access_key=env:A", "secret_key=file:/run/b"]


def flags(**changes: Any) -> Answers:
    given: dict[str, Any] = {"platform": None, "name": None, "base_url": None, "auth": (), "keys": ()}
    return from_flags(TOYS, **(given | {"warehouse": None} | changes))


def answers(**changes: Any) -> Answers:
    known: dict[str, Any] = {
        "platform": "other",
        "name": "prod",
        "base_url": "https://acme.example",
        "mode": "login",
        "auth": {"user": "me", "password": Kept(place="env", name="PW", value="s3cret")},
        "warehouse": EMBEDDED,
    }
    return Answers(**(known | changes))


def told(each: Answers) -> dict[str, Any]:
    return tomllib.loads(render(each, lambda secret: secret))


def test_of_several_platforms_one_must_be_named() -> None:
    assert any(flag.startswith("--platform") for flag in missing(flags(), TOYS))
    with pytest.raises(ConfigError, match="--platform"):
        flags(auth=["user=me"])


def test_what_is_missing_is_told_as_flags() -> None:
    lacking = list(missing(flags(platform="acme", auth=["mode=key", "access_key=env:A"]), TOYS))
    assert "--auth secret_key=env:NAME" in lacking
    assert "--set project_id=VALUE" in lacking
    assert "--set workspaces=VALUE" in lacking
    assert not any("region" in flag or "api_path" in flag for flag in lacking)


def test_nothing_is_missing_once_all_is_said() -> None:
    said = flags(
        platform="acme",
        base_url="https://acme.example",
        auth=KEYS,
        keys=["project_id=7", "workspaces=a, b"],
        warehouse="embedded",
    )
    # A number stands where a text is wanted: what a key holds decides.
    assert list(missing(said, TOYS)) == []
    assert said.mode == "key"
    assert said.keys == {"project_id": "7", "workspaces": ["a", "b"]}


def test_a_way_to_sign_in_that_several_keys_leave_open_is_asked_for() -> None:
    assert flags(platform="acme", auth=["password=env:A"]).mode == "login"
    assert flags(platform="acme").mode is None


def test_a_text_that_will_not_do_is_answered_with_what_to_write() -> None:
    class Plain(Section):
        word: str = Field(min_length=1, pattern="^[a-z]*$", description="write a word")

    assert problem_of(Plain, "word", "") == "must not be empty; write a word"
    assert problem_of(Plain, "word", "two words") == "cannot be this text; write a word"
    assert problem_of(Plain, "word", "one") is None


def test_the_platforms_own_keys_stand_in_its_table() -> None:
    secret = Kept(place="env", name="A", value="x")
    mine = answers(
        platform="acme",
        mode="key",
        auth={"access_key": secret, "secret_key": secret},
        keys={"project_id": "7", "workspaces": ["a"], "poll": "10m"},
    )
    table = told(mine)["connections"]["prod"]
    assert table["project_id"] == "7"
    assert table["workspaces"] == ["a"]
    assert table["poll"] == "10m"
    settings = trial(mine, TOYS, is_tested=True)
    assert settings.connections["prod"].options == Spaces(project_id="7", workspaces=("a",))


def test_what_is_said_about_one_platform_is_not_said_of_another() -> None:
    text = render(answers(), lambda secret: secret)
    assert "gateway of your pod" not in text
    assert "client_secret" not in text
    assert "[connections.identity]" not in text
    assert "# How often to look for new executions" in text


def test_every_key_of_the_example_is_still_explained() -> None:
    text = render(answers(), lambda secret: secret)
    for section, keys in tomllib.loads(example()).items():
        for key in keys if section != "connections" else keys["prod"]:
            assert f"{key} = " in text


@given(st.text(min_size=1).filter(str.strip))
def test_any_text_arrives_as_it_was_answered(text: str) -> None:
    mine = answers(auth={"user": text, "password": Kept(place="file", name=text)})
    auth = told(mine)["connections"]["prod"]["auth"]
    assert auth == {"mode": "login", "user": text, "password": {"file": text}}


def test_a_secret_is_tried_without_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    secret = trial(answers(), TOYS, is_tested=True).connections["prod"].auth.password  # type: ignore[attr-defined]
    assert isinstance(secret, SecretText)
    assert secret.get_secret_value() == "s3cret"
    assert list(tmp_path.iterdir()) == []
    assert "s3cret" not in repr(answers())


def test_untested_a_secret_need_not_be_there() -> None:
    mine = answers(warehouse=Kept(place="env", name="NOWHERE"))
    assert trial(mine, TOYS, is_tested=False).connections
    with pytest.raises(ConfigError, match="NOWHERE"):
        trial(mine, TOYS, is_tested=True)


def test_what_was_written_is_taken_back_where_the_rest_cannot_be(tmp_path: Path) -> None:
    secret = Kept(place="file", name=str(tmp_path / "secrets" / "pw"), value="s3cret", is_new=True)
    (tmp_path / "config.toml").mkdir()
    with pytest.raises(ConfigError, match="cannot write"):
        write(tmp_path / "config.toml", answers(auth={"user": "me", "password": secret}))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_is_written_loads(tmp_path: Path) -> None:
    secret = Kept(place="file", name=str(tmp_path / "secrets" / "pw"), value="s3cret", is_new=True)
    file = tmp_path / "config.toml"
    assert write(file, answers(auth={"user": "me", "password": secret})) == [Path(secret.name), file]
    assert load(file, env={}, platforms=TOYS).connections["prod"].auth.password.get_secret_value() == "s3cret"  # type: ignore[attr-defined]


def table_of(platform: str) -> str:
    """The platform's table of the example, without the signs that make a comment of it."""
    first, *others = re.split(r"^# (?=\[connections\.)", example(), flags=re.MULTILINE)
    tables = [
        first[first.index("[connections.") :],
        *(re.sub("^# ?", "", each, flags=re.MULTILINE) for each in others),
    ]
    [table] = [each for each in tables if f'platform = "{platform}"' in each]
    return table


@pytest.mark.parametrize("platform", [*platforms()])
def test_the_example_holds_a_table_of_every_platform_with_its_keys_and_defaults(
    platform: str, tmp_path: Path
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[warehouse]\nurl = "embedded"\n{table_of(platform)}')
    found = set(re.findall(r'env = "(\w+)"', file.read_text()))
    [connection] = load(file, env=dict.fromkeys(found, "x"), platforms=platforms()).connections.values()
    spec = platforms()[platform]
    assert connection.horizon == spec.horizon
    for key, field in spec.options.model_fields.items():
        assert re.search(rf"^#.*\n{key} = ", table_of(platform), re.MULTILINE)
        assert field.is_required() or getattr(connection.options, key) == field.default


@pytest.mark.parametrize("platform", [*platforms()])
def test_what_is_written_explains_the_platforms_own_keys(platform: str) -> None:
    text = render(answers(platform=platform), lambda secret: secret)
    for key in platforms()[platform].options.model_fields:
        assert re.search(rf"^#.*\n# {key} = ", text, re.MULTILINE)
    assert "[connections.prod]\n#" in text
    assert text.count("platform = ") == 1


@pytest.mark.parametrize(
    ("platform", "mode"), [(name, mode) for name, spec in platforms().items() for mode in modes(spec)]
)
def test_any_way_to_sign_in_to_any_platform_gives_a_file_that_loads(platform: str, mode: str) -> None:
    spec, text = platforms()[platform], "https://iam.example"
    auth: dict[str, str | Kept] = {
        key: Kept(place="env", name="PW", value="s3cret") if is_secret(modes(spec)[mode], key) else text
        for key in fields(modes(spec)[mode])
    }
    keys = {
        key: several(spec.options, key, "a")
        for key in spec.options.model_fields
        if key in needed(spec.options)
    }
    mine = answers(platform=platform, mode=mode, auth=auth, keys=keys)
    assert list(missing(mine, platforms())) == []
    connection = trial(mine, platforms(), is_tested=True).connections["prod"]
    assert connection.auth.model_dump()["mode"] == mode
    assert connection.horizon == spec.horizon


@pytest.mark.parametrize("platform", [*platforms()])
def test_the_example_holds_an_address_of_every_platform(platform: str) -> None:
    assert addresses()[platform].startswith("https://")
