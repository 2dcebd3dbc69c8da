"""The command line: the only place that builds engines, clients and sources.

    app.py        which configuration, and which number to leave with
    options.py    options that several commands share
    output.py     how values look to a person, and the one way to print
    logs.py       log lines on standard error
    platforms.py  the platforms there are
    warehouse.py  the warehouse, ready to be worked with
    passes.py     one pass per connection at the same time, and what stops them
    progress.py   what is seen meanwhile, summary.py what is said at the end
    needs.py      what a person has to do something about
    probing/      what check and init find out by asking
    NAME.py       the command `syncer NAME`, as `command`

Invariant: results go to standard output, everything else to standard error, and a mistake of the user's never
shows a traceback. No platform is named here.
"""

from __future__ import annotations

import gc
import importlib
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from syncer import __version__
from syncer.cli.app import App, Exit, exit_of, is_debug
from syncer.cli.output import say_error
from syncer.errors import SyncerError, unexpected

COMMANDS = {
    "demo": "Show the whole thing on this machine, with nothing else.",
    "init": "Write a configuration, asked for or from flags.",
    "check": "Look at everything: what is wrong, and what to do.",
    "migrate": "Bring the warehouse to this version.",
    "sync": "Make one full pass, then exit.",
    "run": "Run the service: poll every connection until stopped.",
    "backfill": "Copy a span of history.",
    "status": "Show how far everything is copied.",
    "verify": "Compare the warehouse with the source, and repair it.",
    "quarantine": "Look at records put aside, and try them again.",
    "grant": "Let a role of the warehouse read history.",
    "purge": "Delete old executions from the warehouse.",
    "db": "The warehouse's URL; the embedded server.",
    "config": "Show the configuration in force.",
    "completion": "Print a script with which the shell completes commands.",
}


class _Commands(click.Group):
    """Imports a command when it is called, so that `syncer --help` is quick."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        with _modules_that_stay():
            command: click.Command = importlib.import_module(f"syncer.cli.{cmd_name}").command
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        found = [
            CompletionItem(name, help=does) for name, does in COMMANDS.items() if name.startswith(incomplete)
        ]
        return found + super(click.Group, self).shell_complete(ctx, incomplete)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@contextmanager
def _modules_that_stay() -> Iterator[None]:
    """Keep the garbage collector off what is imported: to search a hundred thousand objects that never become garbage
    took 50 ms while they came and 50 ms each time after."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="syncer %(version)s")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The configuration; else $SYNCER_CONFIG, else ./config.toml.",
)
@click.option("--debug", is_flag=True, help="Log everything, with tracebacks; also SYNCER_DEBUG=1.")
@click.pass_context
def group(ctx: click.Context, config: Path | None, debug: bool) -> None:
    """Copy the execution history of workflow-automation platforms into PostgreSQL.

    \b
    Try it without anything:   syncer demo
    Copy everything once:      syncer sync
    See how far it is:         syncer status

    Exit codes: 0 done, 1 done in part, 2 wrong usage or configuration, 3 nothing could be done, 130 interrupted.
    """
    ctx.obj = App(config, debug=debug or is_debug())


def main() -> None:
    """Run the command that was typed, and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(Exit.DONE))
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code; whatever goes wrong has been said."""
    as_json = "--json" in arguments
    try:
        return int(group.main(arguments or ["--help"], prog_name="syncer", standalone_mode=False) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return Exit.USAGE
    except click.ClickException as error:
        say_error(SyncerError(error.format_message(), _hint(error)), as_json=as_json)
        return Exit.USAGE
    except (click.Abort, KeyboardInterrupt):
        say_error(SyncerError("interrupted"), as_json=as_json)
        return Exit.INTERRUPTED
    except SyncerError as error:
        say_error(error, as_json=as_json)
        return exit_of(error)
    except Exception as error:  # noqa: BLE001 - whoever types a command gets a sentence, not a traceback
        if is_debug() or "--debug" in arguments:
            traceback.print_exc()
        say_error(unexpected(error), as_json=as_json)
        return Exit.NOTHING


def _hint(error: click.ClickException) -> str:
    if isinstance(error, click.NoSuchOption) and error.option_name in ("--config", "--debug"):
        return f"it goes before the command: syncer {error.option_name} ..."
    usage = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "syncer"
    return f"see `{usage} --help`"
