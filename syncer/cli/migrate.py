"""`syncer migrate`: the warehouse's schema, brought to this version."""

from __future__ import annotations

import click

from syncer.cli.app import App, Exit
from syncer.cli.options import json_option
from syncer.cli.output import say, say_json
from syncer.cli.warehouse import reached
from syncer.warehouse import current, migrate


@click.command("migrate")
@json_option
@click.pass_obj
def command(app: App, as_json: bool) -> int:
    """Bring the warehouse to this version.

    sync and backfill do so by themselves, unless warehouse.auto_migrate is false. Tables that somebody holds
    are waited for, a few seconds at a time.

    \b
    Example:
      syncer migrate
    """
    settings = app.settings(is_lenient=True)
    with reached(settings.warehouse) as engine:
        before = current(engine)
        changed = migrate(engine)
        revision = current(engine)
    if as_json:
        say_json({"changed": changed, "before": before, "revision": revision})
    elif changed:
        say(f"The warehouse is at revision {revision} now; it was at {before or 'none'}.")
    else:
        say(f"The warehouse is at revision {revision} already.")
    return Exit.DONE
