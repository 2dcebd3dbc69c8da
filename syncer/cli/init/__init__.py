"""`syncer init`: a configuration that works, from answers or flags.

    answers.py  what the file is made of
    flags.py    from flags, asking.py from a person
    example.py  the file: config.example.toml with the answers in it
    writing.py  tried before it is written, and written whole

Invariant: the file holds no secret, only where it is kept, and is tested before it is there.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.text import Text

from syncer.cli.app import App, Exit
from syncer.cli.init.answers import DEFAULT_NAME, Answers, Specs, missing
from syncer.cli.init.asking import STOP, WRITE, Interview, Person
from syncer.cli.init.example import addresses
from syncer.cli.init.flags import from_flags
from syncer.cli.init.writing import trial, unreadable, write
from syncer.cli.output import clean, err, note, say
from syncer.cli.platforms import platforms
from syncer.cli.probing import State, configuration_file, count, examine, tell_group, tell_sum, unnamed_file
from syncer.errors import ConfigError, SyncerError


@click.command("init")
@click.option("--platform", type=click.Choice(list(platforms())), help="Which platform it is.")
@click.option("--name", metavar="NAME", help=f"Of the connection; `{DEFAULT_NAME}` where not given.")
@click.option("--base-url", metavar="URL", help="The address of the platform's API.")
@click.option(
    "--auth",
    multiple=True,
    metavar="KEY=VALUE",
    help="How to sign in: mode=..., username=..., password=env:NAME. Repeatable.",
)
@click.option(
    "--set",
    "keys",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any other key of the connection's table, such as poll=10m. Repeatable.",
)
@click.option("--warehouse", metavar="WHERE", help="embedded, env:NAME or file:PATH.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write; else the one that syncer would read.",
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@click.option("--no-check", is_flag=True, help="Write it without trying it.")
@click.pass_obj
def command(  # noqa: PLR0913 - one parameter per option
    _app: App,
    platform: str | None,
    name: str | None,
    base_url: str | None,
    auth: tuple[str, ...],
    keys: tuple[str, ...],
    warehouse: str | None,
    output: Path | None,
    force: bool,
    no_check: bool,
) -> int:
    """Write a commented configuration, tried beforehand.

    On a terminal it asks for what the flags do not say. Secrets are never written into the file: a password stays in
    an environment variable (env:NAME) or in a file (file:PATH), and the configuration says where.

    \b
    Examples:
      syncer init
      syncer init --platform qualys_flow --base-url https://api.example.com --warehouse embedded \\
        --auth username=api-user --auth password=env:PASSWORD --output /etc/syncer/config.toml
    """
    specs, file = platforms(), output or configuration_file()
    answers = from_flags(
        specs, platform=platform, name=name, base_url=base_url, auth=auth, keys=keys, warehouse=warehouse
    )
    person = Person() if sys.stdin.isatty() and err.is_terminal else None
    _refuse_existing(file, person, force=force)
    interview = Interview(person, answers, specs, file, addresses()) if person else None
    if interview:
        note(
            Text.assemble(
                "This makes ", (clean(str(file)), "bold"), ". Enter takes what stands in [brackets]."
            )
        )
        answers = interview.complete()
    else:
        _require_all(answers, specs)
        if not no_check:
            _require_readable(answers)
    answers = _agreed(answers, specs, interview, no_check=no_check)
    _conclude(file, answers, write(file, answers))
    return Exit.DONE


def _refuse_existing(file: Path, person: Person | None, *, force: bool) -> None:
    if force or not file.exists():
        return
    if person is None or not person.confirm(f"{file} exists: replace it?", default=False):
        raise ConfigError(f"{file} exists", "--force replaces it, --output names another")


def _require_all(answers: Answers, specs: Specs) -> None:
    answers.name = answers.name or DEFAULT_NAME
    if lacking := list(missing(answers, specs)):
        raise ConfigError("\n  ".join(["without a terminal to ask on, these flags are needed:", *lacking]))


def _require_readable(answers: Answers) -> None:
    if unknown := unreadable(answers):
        names = ", ".join(f"{each.place}:{each.name}" for each in unknown)
        hint = "set it, or write untested with --no-check"
        raise ConfigError(f"what is kept in {names} cannot be read here", hint)


def _agreed(answers: Answers, specs: Specs, interview: Interview | None, *, no_check: bool) -> Answers:
    """The answers as they are to be written: nothing is wrong with them, or a person wants them all the same."""
    while wrong := _wrong(answers, specs, no_check=no_check):
        choice = interview.choose_what_next() if interview else STOP
        if interview is None or choice == STOP:
            hint = "mend them, or write it untested with --no-check"
            raise SyncerError("nothing was written, for the reasons above", hint)
        if choice == WRITE:
            break
        answers = interview.again(wrong)
    return answers


def _wrong(answers: Answers, specs: Specs, *, no_check: bool) -> set[str]:
    """Try them and tell what was found; returns what is wrong: the warehouse, the connection by its name."""
    is_tested = not (no_check or unreadable(answers))
    settings = trial(answers, specs, is_tested=is_tested)
    if not is_tested:
        note("Not tried: `syncer check` does so.", "yellow")
        return set()
    groups = examine(settings, [str(answers.name)], None, tell_group)
    tell_sum(groups)
    return {group.name for group in groups if count([group], State.FAILED)}


def _conclude(file: Path, answers: Answers, written: list[Path]) -> None:
    """Say what was written and what to do next."""
    for path in written:
        say(f"Written: {clean(str(path))}")
    for each in answers.kept():
        if (each.place == "env" and each.value is not None) or each in unreadable(answers):
            say(f"To be set where syncer runs: {each.place}:{clean(each.name)}")
    is_found = file.absolute() == unnamed_file().absolute()
    syncer = "syncer" if is_found else f"syncer --config {clean(str(file))}"
    say(f"Next: `{syncer} sync` copies everything once, `{syncer} run` goes on copying.")
