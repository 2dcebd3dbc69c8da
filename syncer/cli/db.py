"""`syncer db`: the warehouse's address, and the embedded server.

Invariant: `db url` is the one command that prints the warehouse's password, because that is what it is for.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import click

from syncer.cli.app import App, Exit
from syncer.cli.options import json_option
from syncer.cli.output import say, say_json
from syncer.config import Settings
from syncer.embedded import EmbeddedServer
from syncer.errors import ConfigError, WarehouseError


@click.group("db")
def command() -> None:
    """The warehouse's URL for a BI tool; the embedded server, started and stopped."""


@command.command("url")
@json_option
@click.pass_obj
def url_command(app: App, as_json: bool) -> int:
    """Print the warehouse's URL, with its password: for psql or a BI tool.

    \b
    Example:
      psql "$(syncer db url)" -c 'SELECT * FROM history.workflow_daily'
    """
    settings = app.settings(is_lenient=True)
    if not settings.warehouse.embedded:
        url: str | None = settings.warehouse.url.get_secret_value()
    else:
        url = _server(settings).url()
    if url is None:
        raise WarehouseError("the embedded PostgreSQL is not running", "start it with `syncer db start`")
    if as_json:
        say_json({"url": url})
    else:
        click.echo(url)
    return Exit.DONE


@command.command("start")
@json_option
@click.pass_obj
def start_command(app: App, as_json: bool) -> int:
    """Start the embedded server, unless it runs. It stays up until `syncer db stop`.

    \b
    Example:
      syncer db start
    """
    server = _server(app.settings(is_lenient=True))
    place = urlsplit(server.start())
    if as_json:
        say_json({"running": True, "host": place.hostname, "port": place.port, "folder": str(server.home)})
    else:
        say(f"PostgreSQL runs on {place.hostname}:{place.port}; its files are in {server.home}.")
        say("`syncer db url` prints the URL for a BI tool.")
    return Exit.DONE


@command.command("stop")
@json_option
@click.pass_obj
def stop_command(app: App, as_json: bool) -> int:
    """Stop the embedded server, and every session on it. Nothing is lost.

    \b
    Example:
      syncer db stop
    """
    server = _server(app.settings(is_lenient=True))
    was_running = server.running()
    server.stop()
    if as_json:
        say_json({"running": False, "was_running": was_running})
    else:
        say("PostgreSQL is stopped." if was_running else "PostgreSQL was not running.")
    return Exit.DONE


def _server(settings: Settings) -> EmbeddedServer:
    if not settings.warehouse.embedded:
        raise ConfigError(
            "the warehouse is a server of your own: warehouse.url names it",
            'start and stop it yourself, or set warehouse.url = "embedded"',
        )
    return EmbeddedServer(settings.warehouse.data_dir)
