"""`syncer config`: the configuration as it is in force."""

from __future__ import annotations

import tomllib

import click

from syncer.cli.app import App, Exit
from syncer.cli.options import json_option
from syncer.cli.output import say_json
from syncer.config import show


@click.group("config")
def command() -> None:
    """Show the configuration in force."""


@command.command("show")
@json_option
@click.pass_obj
def show_command(app: App, as_json: bool) -> int:
    """Print every key with the value in force, defaults included; secrets are masked.

    \b
    Example:
      syncer --config config.toml config show
    """
    text = show(app.settings())
    if as_json:
        say_json(tomllib.loads(text))
    else:
        click.echo(text, nl=False)
    return Exit.DONE
