"""`syncer backfill`: a span of history, copied or planned."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from syncer.cli.app import App
from syncer.cli.forecast import tell_plan
from syncer.cli.options import connection_option, for_option, json_option, to_moment, workflow_option
from syncer.cli.output import shown
from syncer.cli.passes import conduct
from syncer.cli.summary import tell
from syncer.cli.warehouse import ready
from syncer.sync import backfill, estimate


@click.command("backfill")
@click.option(
    "--since",
    required=True,
    callback=to_moment,
    metavar="T",
    help="Start: 2026-10-01, 2026-10-01T12:00, or an age such as 7d.",
)
@click.option("--until", callback=to_moment, metavar="T", help="End, exclusive; now where not given.")
@connection_option
@workflow_option
@for_option
@click.option("--dry-run", is_flag=True, help="Print the plan; copy nothing.")
@json_option
@click.pass_obj
def command(  # noqa: PLR0913 - one parameter per option
    app: App,
    since: datetime,
    until: datetime | None,
    connections: tuple[str, ...],
    workflows: tuple[str, ...],
    limit: timedelta | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Copy the span [since, until) of history, whether it was copied before or not.

    Times are UTC unless they name a zone; an age is rounded down to its UTC day. An unfinished backfill of the
    same span goes on where it was, a finished one is read again. It may run beside the service.

    \b
    Examples:
      syncer backfill --since 7d --dry-run
      syncer backfill --since 2026-10-01 --until 2026-11-01 --connection prod
      syncer backfill --since 30d --for 50m      # from cron, until it is done
    """
    _refuse_backward(since, until or datetime.now(UTC), is_now=until is None)
    settings = app.settings()
    chosen = settings.require_connections(connections)
    with ready(settings) as engine:
        if dry_run:
            planned = conduct(
                engine, chosen, lambda session: estimate(session, since, until, workflows), limit=limit
            )
            return tell_plan(*planned, engine, as_json=as_json)
        passes, stop = conduct(
            engine,
            chosen,
            lambda session: backfill(session, since, until, workflows),
            command="backfill",
            limit=limit,
        )
    return tell("backfill", passes, stop, as_json=as_json)


def _refuse_backward(since: datetime, until: datetime, *, is_now: bool) -> None:
    if since < until:
        return
    end = "now" if is_now else f"--until {shown(until)}"
    raise click.UsageError(
        f"--since {shown(since)} is not before {end}: nothing lies between (times are UTC)"
    )
