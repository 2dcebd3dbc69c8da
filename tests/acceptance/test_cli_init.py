"""`syncer init`: what it writes loads, explains itself and holds no secret; what does not work is not written."""

from __future__ import annotations

import os
import pty
import select
import signal
import stat
import subprocess
import time
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest

from syncer.cli.init.answers import needed
from syncer.cli.platforms import platforms
from syncer.config import SecretText, Settings, load
from syncer.simulator import Outline, Tenant
from syncer.simulator.qualys_flow import Simulator
from tests.acceptance.conftest import CANARY, SYNCER, Cli, execute
from tests.nursery import TIMEOUT, Done
from tests.platforms import Platform
from tests.platforms import platforms as every_platform

NOBODY = "http://127.0.0.1:1"
PLATFORM = ["--platform", "qualys_flow"]


class Init:
    """Runs `syncer init` in a folder of its own, where nothing is configured."""

    def __init__(self, cli: Cli, simulator: Simulator, url: str, warehouse: str) -> None:
        self.cli = cli
        self.url = url
        self.password = simulator.credentials.password
        self.username = simulator.credentials.username
        self.warehouse = warehouse
        self.folder = cli.folder / "new"
        self.folder.mkdir()
        self.file = self.folder / "config.toml"
        self.env = cli.env | {"FLOW_PASSWORD": self.password, "WAREHOUSE": warehouse}
        del self.env["SYNCER_CONFIG"]

    @property
    def flags(self) -> list[str]:
        """All that it needs to know."""
        sign_in = ["--auth", f"username={self.username}", "--auth", "password=env:FLOW_PASSWORD"]
        return [*PLATFORM, "--base-url", self.url, "--warehouse", "env:WAREHOUSE", *sign_in]

    def run(self, *arguments: str, before: tuple[str, ...] = ()) -> Done:
        """Without a terminal; `before` are options that go before the command."""
        return execute([*SYNCER, *before, "init", *arguments], self.env, self.folder)

    def settings(self) -> Settings:
        """What was written, as syncer reads it."""
        return load(self.file, env=self.env, platforms=platforms())

    def left(self) -> list[str]:
        """The files in the folder."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())


class Terminal:
    """`syncer init` under a terminal, as a person sees it and types into it."""

    def __init__(self, init: Init, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [*SYNCER, "init", *arguments],
            env=init.env | {"TERM": "xterm", "COLUMNS": "200", "LINES": "50"},
            cwd=init.folder,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.seen = ""
        self._asked = 0

    def answer(self, question: str, text: str) -> None:
        """Wait for the question and type the answer."""
        self.wait_for(question)
        os.write(self._master, f"{text}\n".encode())

    def wait_for(self, words: str) -> None:
        """Read until the words are there, after those waited for before."""
        until = time.monotonic() + TIMEOUT
        while words not in self.seen[self._asked :]:
            assert time.monotonic() < until, f"{words!r} did not come:\n{self.seen}"
            assert self._read(), f"{words!r} did not come:\n{self.seen}"
        self._asked = self.seen.index(words, self._asked) + len(words)

    def interrupt(self) -> None:
        """Ctrl-C, and once more where the first came in the instant before the terminal was read."""
        while self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(10)

    def end(self) -> int:
        """Read to the end; returns the exit code."""
        while self._read():
            pass
        return self.process.wait(TIMEOUT)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], TIMEOUT)
        with suppress(OSError):  # how Linux says that nobody holds the other end any more
            if ready and (text := os.read(self._master, 65_536)):
                self.seen += text.decode(errors="replace")
                return True
        return False


@pytest.fixture
def simulator() -> Simulator:
    return Simulator(Outline(workflows=2, executions=10))


@pytest.fixture
def init(bare: Cli, simulator: Simulator, url: str, database_url: str) -> Init:
    return Init(bare, simulator, url, database_url)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    """Those opened by a test, closed afterwards."""
    opened: list[Terminal] = []
    yield opened
    for each in opened:
        each.close()


# Unattended


def test_flags_alone_give_a_configuration_that_works(init: Init) -> None:
    done = init.run(*init.flags)
    assert done.code == 0, done.err
    assert "Nothing is wrong" in done.out
    assert "syncer sync" in done.out
    assert init.left() == ["config.toml"]
    connection = init.settings().connections["prod"]
    assert (connection.platform, connection.base_url) == ("qualys_flow", init.url)
    assert init.settings().warehouse.url.get_secret_value() == init.warehouse


def test_the_file_is_private_commented_and_without_secrets(init: Init) -> None:
    init.run(*init.flags)
    text = init.file.read_text()
    assert stat.S_IMODE(init.file.stat().st_mode) == 0o600
    assert 'password = { env = "FLOW_PASSWORD" }' in text
    assert 'url = { env = "WAREHOUSE" }' in text
    assert init.password not in text
    assert init.warehouse not in text
    assert "# How often to look for new executions" in text
    assert '# poll = "5m"' in text
    assert "sailpoint]" not in text


def test_defaults_hold_but_for_what_was_set(init: Init) -> None:
    init.run(
        *init.flags,
        "--name",
        "emea",
        "--set",
        "poll=10m",
        "--set",
        "workflows=Quarantine *, x",
        "--set",
        "steps=false",
    )
    table = tomllib.loads(init.file.read_text())["connections"]
    assert list(table) == ["emea"]
    assert {
        key: table["emea"][key] for key in table["emea"] if key not in ("platform", "base_url", "auth")
    } == {
        "poll": "10m",
        "steps": False,
        "workflows": ["Quarantine *", "x"],
    }


def test_what_was_written_is_what_the_next_command_reads(init: Init) -> None:
    assert init.run(*init.flags).code == 0
    synced = subprocess.run(
        [*SYNCER, "sync"], env=init.env, cwd=init.folder, capture_output=True, timeout=TIMEOUT, check=False
    )
    assert synced.returncode == 0, synced.stderr


def test_a_secret_in_a_file_is_named_by_its_whole_path(init: Init) -> None:
    (init.folder / "pw").write_text(f"{init.password}\n")
    flags = [each.replace("env:FLOW_PASSWORD", "file:pw") for each in init.flags]
    assert init.run(*flags).code == 0
    auth = tomllib.loads(init.file.read_text())["connections"]["prod"]["auth"]
    assert auth["password"] == {"file": str(init.folder / "pw")}


def test_all_that_is_missing_is_told_at_once(init: Init) -> None:
    done = init.run()
    assert done.code == 2
    for flag in ("--base-url", "--warehouse", *(f"{name}" for name in platforms())):
        assert flag in done.err
    done = init.run(*PLATFORM)
    for flag in ("--base-url", "--warehouse", "--auth mode=password", "--auth client_secret=env:NAME"):
        assert flag in done.err
    assert "--auth username=VALUE" in init.run(*PLATFORM, "--auth", "mode=password").err
    assert init.left() == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--auth", f"password={CANARY}"], ["--auth password", "env:NAME"]),
        (["--warehouse", f"postgresql://me:{CANARY}@db/x"], ["--warehouse", "env:NAME"]),
        (["--set", f"proxy=http://me:{CANARY}@proxy:3128"], ["--set proxy", "env:NAME"]),
        (["--auth", "mode=magic"], ["unknown mode", "password"]),
        (["--auth", "pasword=env:X"], ["did you mean 'password'?"]),
        (["--auth", "mode=token", "--auth", "username=x"], ["--auth username", "token"]),
        (["--auth", "password"], ["KEY=VALUE"]),
        (["--set", "pol=5m"], ["did you mean 'poll'?"]),
        (["--set", "poll=soon"], ["--set poll", "not a duration"]),
        (["--set", "page_size=many"], ["--set page_size", "whole number"]),
        (["--set", "base_url=https://x"], ["--base-url"]),
        (["--base-url", "http://gateway.example.com"], ["not encrypted"]),
        (["--base-url", "gateway"], ["is not an address"]),
        (["--name", "Prod 1"], ["a-z, 0-9"]),
        (["--platform", "nobodys"], ["nobodys"]),
    ],
)
def test_a_flag_that_cannot_be_meant_says_what_would_be_right(
    init: Init, arguments: list[str], words: list[str]
) -> None:
    done = init.run(*init.flags, *arguments)
    assert done.code == 2, done.err
    assert all(word in done.err for word in words), done.err
    assert "Traceback" not in done.err
    assert CANARY not in done.out + done.err
    assert init.left() == []


def test_what_contradicts_itself_is_refused_before_anything_is_asked(
    init: Init, simulator: Simulator
) -> None:
    done = init.run(*init.flags, "--set", "horizon=1d", "--set", "sweep=2d")
    assert done.code == 2
    assert "connections.prod.horizon" in done.err
    assert "what was given" in done.err
    assert simulator.requests == []


def test_an_existing_file_is_replaced_only_by_force(init: Init, simulator: Simulator) -> None:
    init.file.write_text("mine")
    done = init.run(*init.flags)
    assert done.code == 2
    assert "--force" in done.err
    assert init.file.read_text() == "mine"
    assert simulator.requests == []
    assert init.run(*init.flags, "--force").code == 0
    assert init.settings().connections
    assert stat.S_IMODE(init.file.stat().st_mode) == 0o600


def test_nothing_is_written_while_something_is_wrong(init: Init) -> None:
    flags = [each.replace(init.url, NOBODY) for each in init.flags]
    done = init.run(*flags)
    assert done.code == 3
    assert "connection refused" in done.out
    assert "--no-check" in done.err
    assert init.left() == []
    assert init.run(*flags, "--no-check").code == 0
    assert init.settings().connections["prod"].base_url == NOBODY


def test_wrong_credentials_are_found_before_anything_is_written(init: Init) -> None:
    init.env["FLOW_PASSWORD"] = CANARY
    done = init.run(*init.flags)
    assert done.code == 3
    assert "refused the credentials" in done.out
    assert CANARY not in done.out + done.err
    assert init.left() == []


def test_a_secret_that_is_not_set_is_asked_for_by_name(init: Init) -> None:
    del init.env["FLOW_PASSWORD"]
    done = init.run(*init.flags)
    assert done.code == 2
    assert "env:FLOW_PASSWORD" in done.err
    assert init.left() == []
    done = init.run(*init.flags, "--no-check")
    assert done.code == 0
    assert "To be set where syncer runs: env:FLOW_PASSWORD" in done.out


def test_the_file_that_config_names_is_the_one_written(init: Init) -> None:
    other = init.folder / "etc" / "flow.toml"
    init.env["SYNCER_CONFIG"] = str(other)
    assert init.run(*init.flags, "--no-check").code == 0
    assert init.left() == ["etc/flow.toml"]
    assert "`syncer sync`" in init.run(*init.flags, "--no-check", "--force").out
    done = init.run(*init.flags, "--no-check", "--output", "third.toml")
    assert "`syncer --config third.toml sync`" in done.out
    done = init.run(*init.flags, "--no-check", before=("--config", "fourth.toml"))
    assert "`syncer --config fourth.toml sync`" in done.out
    assert init.left() == ["etc/flow.toml", "fourth.toml", "third.toml"]


def test_a_place_that_cannot_be_written_to_is_told(init: Init) -> None:
    (init.folder / "occupied").write_text("")
    done = init.run(*init.flags, "--no-check", "--output", "occupied/config.toml")
    assert done.code == 2
    assert "cannot write" in done.err
    assert init.left() == ["occupied"]


# Every platform


def words(platform: Platform, simulator: Tenant, url: str, env: dict[str, str]) -> list[str]:
    """The flags that name a connection to the simulator."""
    keys = platform.keys("prod", simulator, url, env)
    auth, others = cast("dict[str, object]", keys.pop("auth")), ("platform", "base_url")
    flags = ["--platform", platform.name, "--base-url", url]
    for key, value in auth.items():
        flags += ["--auth", f"{key}=env:{value['env']}" if isinstance(value, dict) else f"{key}={value}"]
    for key, value in keys.items():
        if key not in others:
            flags += ["--set", f"{key}={','.join(value) if isinstance(value, list | tuple) else value}"]
    return flags


@pytest.mark.parametrize("name", every_platform())
def test_a_configuration_for_any_platform_works(init: Init, name: str) -> None:
    platform = every_platform()[name]
    simulator = platform.simulate(Outline(workflows=2, executions=10))
    with simulator.serve() as url:
        done = init.run(*words(platform, simulator, url, init.env), "--warehouse", "env:WAREHOUSE")
    assert done.code == 0, done.out + done.err
    assert "✗" not in done.out
    connection = init.settings().connections["prod"]
    assert (connection.platform, connection.auth, connection.options) == (name, *platform.auth(simulator))


@pytest.mark.parametrize("name", every_platform())
def test_a_person_is_asked_for_what_any_platform_needs(
    init: Init, terminals: list[Terminal], name: str
) -> None:
    platform = every_platform()[name]
    simulator = platform.simulate(Outline(workflows=2, executions=10))
    with simulator.serve() as url:
        auth, options = platform.auth(simulator)
        terminal = talk(init, terminals, "--name", "prod", "--warehouse", "env:WAREHOUSE")
        terminal.answer("Platform (", name)
        terminal.answer("Address of its API", url)
        terminal.answer("Way to sign in", auth.model_dump()["mode"])
        place = "Keep secrets in files"
        for key, value in dict(auth).items():
            if isinstance(value, SecretText):
                if place:
                    terminal.answer(place, "files")
                place = ""
                terminal.answer(f"{key} (not shown)", value.get_secret_value())
            elif key != "mode":
                terminal.answer(key, value)
        for key in needed(type(options)):
            value = getattr(options, key)
            terminal.answer(key, ", ".join(value) if isinstance(value, tuple) else value)
        terminal.wait_for("Nothing is wrong")
        assert terminal.end() == 0, terminal.seen
    connection = init.settings().connections["prod"]
    assert (connection.platform, connection.auth, connection.options) == (name, auth, options)


# On a terminal


def talk(init: Init, terminals: list[Terminal], *arguments: str) -> Terminal:
    terminals.append(Terminal(init, *arguments))
    return terminals[-1]


def test_a_person_is_asked_and_secrets_are_neither_shown_nor_in_the_file(
    init: Init, terminals: list[Terminal]
) -> None:
    terminal = talk(init, terminals)
    terminal.answer("Platform (", "mainframe")
    terminal.answer("one of qualys_flow", "qu")
    terminal.answer("Name of the connection", "Not A Name")
    terminal.answer("a name has 1 to 63", "emea")
    terminal.answer("Address of its API", "gateway")
    terminal.answer("is not an address", init.url)
    terminal.answer("Way to sign in", "")
    terminal.answer("username", init.username)
    terminal.answer("Keep secrets in files", "")
    terminal.answer("password (not shown)", init.password)
    terminal.answer("Warehouse: ", "address")
    terminal.answer("(not shown)", "mysql://no")
    terminal.wait_for('must be "embedded" or an address')
    terminal.answer("(not shown)", init.warehouse)
    terminal.wait_for("Nothing is wrong")
    assert terminal.end() == 0, terminal.seen
    assert init.left() == ["config.toml", "secrets/emea-password", "secrets/warehouse-url"]
    for text in (terminal.seen, init.file.read_text()):
        assert init.password not in text
        assert init.warehouse not in text
    assert init.settings().connections["emea"].base_url == init.url
    assert init.settings().warehouse.url.get_secret_value() == init.warehouse


def test_secrets_are_kept_for_this_user_alone(init: Init, terminals: list[Terminal]) -> None:
    terminal = talk(init, terminals, *init.flags[:6], "--auth", f"username={init.username}", "--name", "prod")
    terminal.answer("Keep secrets in files", "files")
    terminal.answer("password (not shown)", init.password)
    assert terminal.end() == 0, terminal.seen
    kept = init.folder / "secrets" / "prod-password"
    assert kept.read_text() == f"{init.password}\n"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700


def test_a_variable_that_is_not_set_is_asked_for_to_test_it_alone(
    init: Init, terminals: list[Terminal]
) -> None:
    del init.env["FLOW_PASSWORD"]
    terminal = talk(init, terminals, *init.flags[:6], "--auth", f"username={init.username}", "--name", "prod")
    terminal.answer("Keep secrets in files", "env")
    terminal.answer("[PROD_PASSWORD]", "FLOW_PASSWORD")
    terminal.answer("FLOW_PASSWORD is not set here", init.password)
    terminal.wait_for("Nothing is wrong")
    terminal.wait_for("To be set where syncer runs: env:FLOW_PASSWORD")
    assert terminal.end() == 0, terminal.seen
    assert init.password not in terminal.seen
    assert init.left() == ["config.toml"]
    assert 'password = { env = "FLOW_PASSWORD" }' in init.file.read_text()


def test_without_a_value_to_test_with_it_is_written_untested(
    init: Init, terminals: list[Terminal], simulator: Simulator
) -> None:
    del init.env["FLOW_PASSWORD"]
    terminal = talk(init, terminals, *init.flags, "--name", "prod")
    terminal.answer("FLOW_PASSWORD is not set here", "")
    terminal.wait_for("Not tried")
    assert terminal.end() == 0, terminal.seen
    assert simulator.requests == []
    assert init.left() == ["config.toml"]


@pytest.mark.parametrize(("answer", "code", "left"), [("stop", 3, []), ("write", 0, ["config.toml"])])
def test_what_is_wrong_may_be_written_all_the_same(
    init: Init, terminals: list[Terminal], answer: str, code: int, left: list[str]
) -> None:
    flags = [each.replace(init.url, NOBODY) for each in init.flags]
    terminal = talk(init, terminals, *flags, "--name", "prod")
    terminal.answer("all the same, or stop?", answer)
    assert terminal.end() == code, terminal.seen
    assert init.left() == left


def test_what_is_wrong_can_be_answered_again_and_only_that(
    init: Init, terminals: list[Terminal], simulator: Simulator
) -> None:
    terminal = talk(init, terminals, *init.flags[:6], "--auth", f"username={init.username}", "--name", "prod")
    terminal.answer("Keep secrets in files", "files")
    terminal.answer("password (not shown)", CANARY)
    terminal.wait_for("refused the credentials")
    terminal.answer("all the same, or stop?", "")
    terminal.answer(f"[{init.url}]", "")
    terminal.answer("[password]", "")
    terminal.answer(f"[{init.username}]", "")
    terminal.answer("password (not shown)", init.password)
    terminal.wait_for("Nothing is wrong")
    assert terminal.end() == 0, terminal.seen
    assert "Warehouse: " not in terminal.seen
    assert CANARY not in terminal.seen
    assert (init.folder / "secrets" / "prod-password").read_text() == f"{init.password}\n"


def test_an_existing_file_is_replaced_if_a_person_wants_it(init: Init, terminals: list[Terminal]) -> None:
    init.file.write_text("mine")
    terminal = talk(init, terminals, *init.flags, "--name", "prod")
    terminal.answer("exists: replace it?", "no")
    assert terminal.end() == 2
    assert init.file.read_text() == "mine"
    terminal = talk(init, terminals, *init.flags, "--name", "prod")
    terminal.answer("exists: replace it?", "yes")
    assert terminal.end() == 0
    assert init.settings().connections


def test_a_secret_that_is_there_already_can_be_used(init: Init, terminals: list[Terminal]) -> None:
    kept = init.folder / "secrets" / "prod-password"
    kept.parent.mkdir()
    kept.write_text(init.password)
    terminal = talk(init, terminals, *init.flags[:6], "--auth", f"username={init.username}", "--name", "prod")
    terminal.answer("Keep secrets in files", "files")
    terminal.answer("use what it holds?", "yes")
    assert terminal.end() == 0, terminal.seen
    assert kept.read_text() == init.password


@pytest.mark.parametrize("question", ["Name of the connection", "Address of its API", "password (not shown)"])
def test_an_interrupted_dialogue_leaves_nothing(init: Init, terminals: list[Terminal], question: str) -> None:
    terminal = talk(init, terminals)
    for asked, answer in (
        ("Platform (", ""),
        ("Name of the connection", ""),
        ("Address of its API", init.url),
        ("Way to sign in", ""),
        ("username", init.username),
        ("Keep secrets in files", ""),
        ("password (not shown)", init.password),
    ):
        if asked == question:
            terminal.wait_for(asked)
            terminal.interrupt()
            break
        terminal.answer(asked, answer)
    assert terminal.end() == 130, terminal.seen
    assert init.left() == []


def test_questions_leave_standard_output_alone(init: Init, tmp_path: Path) -> None:
    done = init.run(*init.flags, "--no-check")
    assert done.out.startswith("Written: ")
    assert "Not tried" in done.err
