"""`syncer completion`: the script with which a shell completes commands, options and names of connections.

Invariant: what goes to standard output is a script and nothing else. It knows no command: click does.
"""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from syncer.cli.app import Exit

VARIABLE = "_SYNCER_COMPLETE"
"""Where the scripts tell `syncer` that they only ask what could come next; click looks there."""


class _Bash(BashComplete):
    """Without a look at the bash found here, which may be another than the one the script is for."""

    @staticmethod
    def _check_version() -> None:
        return


SHELLS: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": ZshComplete, "fish": FishComplete}


@click.command("completion")
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def command(ctx: click.Context, shell: str) -> int:
    """Print a script with which SHELL completes commands, options and names of connections.

    \b
    bash (4.4 or newer), in one of:
      syncer completion bash > ~/.local/share/bash-completion/completions/syncer
      ~/.bashrc, as in the example
    zsh, in a folder of $fpath that is listed before compinit:
      syncer completion zsh > ~/.zfunc/_syncer
    fish:
      syncer completion fish > ~/.config/fish/completions/syncer.fish

    It is in force in new shells.

    \b
    Example:
      eval "$(syncer completion bash)"
    """
    root = ctx.find_root()
    click.echo(SHELLS[shell](root.command, {}, "syncer", VARIABLE).source())
    return Exit.DONE
