"""`syncer run`: the service, until a signal ends it."""

from __future__ import annotations

import asyncio
import signal
from functools import partial

import click
import structlog

from syncer.cli.app import App, Exit
from syncer.cli.platforms import open_tenant
from syncer.cli.stopping import listening
from syncer.cli.warehouse import open_warehouse
from syncer.config import Settings
from syncer.service import Service, Tools
from syncer.service.web import serving
from syncer.sync import new_room


@click.command("run")
@click.pass_obj
def command(app: App) -> int:
    """Poll every connection on its schedule, until SIGTERM or Ctrl-C.

    New executions, those that were open, due steps and the history not copied yet: all of it, all the time. A
    connection that fails or waits delays no other; what cannot be reached is tried again, ever more rarely.
    SIGHUP takes over a changed configuration. /healthz, /readyz and /metrics answer on service.listen.

    \b
    Examples:
      syncer run
      syncer --config /etc/syncer/config.toml run
    """
    settings = app.settings(is_lenient=True)
    settings.require_connections()
    return asyncio.run(_run(app, settings))


async def _run(app: App, settings: Settings) -> Exit:
    tools = Tools(
        load=lambda: app.settings(is_lenient=True),
        open_warehouse=open_warehouse,
        open_tenant=partial(open_tenant, room=new_room()),
    )
    service = Service(settings, tools)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, service.reload)
    with (
        serving(service, settings.service.address) as url,
        listening(service.stop, service.abandon) as stop,
    ):
        if url:
            structlog.get_logger().info("listening", address=url)
        await service.run()
    return stop.exit or Exit.DONE
