"""`syncer grant`: what people and BI tools may read.

Invariant: a role is given nothing but reading, and told apart from one that may do more by rights of its own.
"""

from __future__ import annotations

import click
from sqlalchemy import Engine

from syncer.cli.app import App, Exit
from syncer.cli.options import json_option
from syncer.cli.output import clean, note, say, say_json
from syncer.cli.warehouse import ready
from syncer.warehouse import Rights, grant, rights


@click.command("grant")
@click.argument("role")
@click.option("--payloads", is_flag=True, help="Inputs and outputs of steps (step_io), too.")
@json_option
@click.pass_obj
def command(app: App, role: str, payloads: bool, as_json: bool) -> int:
    """Let a role of the warehouse read history, for a BI tool or a person.

    Everything but the inputs and outputs of steps; those only with --payloads, and taken back without it. Tables and
    views that an upgrade brings are given by themselves. Columns such as message, variables, details and extra can
    hold personal data as well. The role must exist: CREATE ROLE bi LOGIN PASSWORD '...'.

    \b
    Examples:
      syncer grant bi
      syncer grant auditor --payloads
    """
    with ready(app.settings(is_lenient=True)) as engine:
        given = _give(engine, role, payloads)
    if as_json:
        say_json(
            {"command": "grant", "role": role, "payloads": payloads, "reads": given.reads, "more": given.more}
        )
        return Exit.DONE
    count, last = len(given.reads), "inputs and outputs included" if payloads else "but no inputs and outputs"
    say(clean(f"{role} may read {count} tables and views of history, {last}."))
    for each in given.more:
        note(clean(f"{role} has rights of its own: it {each}."))
    return Exit.DONE


def _give(engine: Engine, role: str, payloads: bool) -> Rights:
    with engine.begin() as db:
        grant(db, role, payloads)
        return rights(db, role)
