"""`syncer completion`: what a shell offers, asked for as the shell asks."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from syncer.cli import COMMANDS
from tests.acceptance.conftest import SYNCER, Configuration
from tests.nursery import TIMEOUT

CONFIG = """
[warehouse]
url = "postgresql://nobody@127.0.0.1:1/none"
[connections.prod]
[connections.preview]
[connections.stage]
"""


@pytest.fixture
def typist(tmp_path: Path) -> Configuration:
    """Somebody at a prompt, with a configuration that could not be worked with."""
    cli = Configuration(tmp_path, "postgresql://nobody@127.0.0.1:1/none")
    cli.file.write_text(CONFIG)
    return cli


def run(cli: Configuration, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A process that leaves the configuration as the test wrote it."""
    return subprocess.run(
        words,
        env=cli.env | env,
        cwd=cli.folder,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def offered(cli: Configuration, line: str) -> list[str]:
    """What `syncer` answers to bash's script for the last word of a line."""
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    done = run(cli, *SYNCER, _SYNCER_COMPLETE="bash_complete", **asked)
    assert done.stderr == ""
    return [word.partition(",")[2] for word in done.stdout.split()]


def test_every_command_is_offered(typist: Configuration) -> None:
    assert offered(typist, "syncer ") == list(COMMANDS)
    assert offered(typist, "syncer st") == ["status"]
    assert offered(typist, "syncer quarantine ") == ["list", "replay", "show"]


def test_options_are_offered(typist: Configuration) -> None:
    assert "--config" in offered(typist, "syncer --")
    assert {"--connection", "--workflow", "--for"} <= set(offered(typist, "syncer sync --"))


def test_connections_are_offered_by_the_names_in_the_configuration(typist: Configuration) -> None:
    assert offered(typist, "syncer sync --connection ") == ["prod", "preview", "stage"]
    assert offered(typist, "syncer backfill --connection pr") == ["prod", "preview"]


def test_the_configuration_named_on_the_line_is_the_one_that_counts(typist: Configuration) -> None:
    (typist.folder / "other.toml").write_text("[connections.elsewhere]")
    assert offered(typist, "syncer --config other.toml sync --connection ") == ["elsewhere"]


@pytest.mark.parametrize(
    "content", [None, b"not [ toml", b"\xff\xfe", b"connections = 3", b"", b"[connections]\n1=2"]
)
def test_a_configuration_that_cannot_be_read_offers_nothing_and_says_nothing(
    typist: Configuration, content: bytes | None
) -> None:
    typist.file.unlink()
    if content is not None:
        typist.file.write_bytes(content)
    assert offered(typist, "syncer sync --connection x") == []


def test_platforms_are_offered(typist: Configuration) -> None:
    assert "qualys_flow" in offered(typist, "syncer demo --platform ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_all_that_is_printed(typist: Configuration, shell: str) -> None:
    done = run(typist, *SYNCER, "completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"_SYNCER_COMPLETE={shell}_complete" in done.stdout
    if checker := shutil.which(shell):
        subprocess.run([checker, "-n"], input=done.stdout, text=True, check=True)


def test_another_shell_is_refused_with_those_there_are(typist: Configuration) -> None:
    done = run(typist, *SYNCER, "completion", "tcsh")
    assert done.returncode == 2
    assert "'bash', 'zsh', 'fish'" in done.stderr


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash here")
def test_bash_completes_with_the_script(typist: Configuration) -> None:
    folder = typist.folder / "bin"
    folder.mkdir()
    command = folder / "syncer"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m syncer "$@"\n')
    command.chmod(0o755)
    script = """
        set -e
        eval "$(syncer completion bash)"
        complete -p syncer
        COMP_WORDS=(syncer sync --connection st) COMP_CWORD=3
        _syncer_completion syncer st --connection
        echo "offered: ${COMPREPLY[*]}"
    """
    done = run(typist, "bash", "--norc", "-c", script, PATH=f"{folder}:{typist.env['PATH']}")
    assert done.stderr == ""
    assert "-F _syncer_completion syncer" in done.stdout
    assert "offered: stage" in done.stdout
