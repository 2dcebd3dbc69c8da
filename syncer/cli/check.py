"""`syncer check`: whether everything is as it must be, and what to do where it is not."""

from __future__ import annotations

from collections.abc import Sequence

import click

from syncer.cli.app import App, Exit
from syncer.cli.options import connection_option, json_option
from syncer.cli.output import say_json
from syncer.cli.probing import Group, configuration_file, document, examine, exit_code, tell_group, tell_sum
from syncer.config import Settings
from syncer.errors import ConfigError


@click.command("check")
@connection_option
@json_option
@click.pass_obj
def command(app: App, connections: tuple[str, ...], as_json: bool) -> int:
    """Look at the configuration, the warehouse and every connection: what is wrong, and what to do.

    It signs in and asks each source a dozen things: rights, order, windows, steps, clock, horizon, limits. Nothing
    is copied and the warehouse stays as it is. Warnings leave with 0: what they name works, if less well.

    \b
    Examples:
      syncer check
      syncer check --connection prod
      syncer check --json | jq '.connections[].findings[] | select(.state == "failed")'
    """
    file = configuration_file()
    settings = app.settings(is_lenient=True)
    groups = examine(settings, _names(settings, connections), file, _silent if as_json else tell_group)
    code = exit_code(groups)
    if as_json:
        say_json(_document(groups, code))
    else:
        tell_sum(groups)
    return code


def _names(settings: Settings, wanted: Sequence[str]) -> list[str]:
    """The connections to look at, misconfigured ones included; ConfigError where there is none to be asked."""
    usable = [name for name in wanted if name not in settings.broken]
    if wanted and not usable:
        lines = [line for name in wanted for line in settings.broken[name]]
        raise ConfigError("\n  ".join(["the configuration cannot be used:", *lines]))
    chosen = [each.name for each in settings.require_connections(usable)]
    return [*chosen, *(name for name in settings.broken if not wanted or name in wanted)]


def _silent(_group: Group) -> None:
    """One document at the end says it all."""


def _document(groups: Sequence[Group], code: Exit) -> dict[str, object]:
    shared = {group.name: document(group) for group in groups if not group.is_connection}
    connections = [document(group) for group in groups if group.is_connection]
    return {"command": "check", "exit_code": int(code), **shared, "connections": connections}
