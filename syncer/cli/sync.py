"""`syncer sync`: one full pass over every connection."""

from __future__ import annotations

from datetime import timedelta

import click

from syncer.cli.app import App
from syncer.cli.options import connection_option, for_option, json_option, workflow_option
from syncer.cli.passes import conduct
from syncer.cli.summary import tell
from syncer.cli.warehouse import ready
from syncer.sync import sync


@click.command("sync")
@connection_option
@workflow_option
@for_option
@json_option
@click.pass_obj
def command(
    app: App, connections: tuple[str, ...], workflows: tuple[str, ...], limit: timedelta | None, as_json: bool
) -> int:
    """Make one full pass over every connection, then exit.

    It copies workflows, new executions, those that were still open, their steps, and the history inside the
    horizon that is not copied yet. It can be stopped at any time: the next pass goes on where it was.

    \b
    Examples:
      syncer sync
      syncer sync --connection prod --workflow 'Quarantine *'
      syncer sync --for 50m --json          # from cron, every hour
    """
    settings = app.settings()
    chosen = settings.require_connections(connections)
    with ready(settings) as engine:
        passes, stop = conduct(
            engine, chosen, lambda session: sync(session, workflows), command="sync", limit=limit
        )
    return tell("sync", passes, stop, as_json=as_json)
