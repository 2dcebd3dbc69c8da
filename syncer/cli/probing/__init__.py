"""What `syncer check` and `syncer init` find out by asking: the file, the warehouse, every connection.

    findings.py   a finding, and a group of them
    files.py      the configuration as a file
    warehouse.py  the warehouse, looked at and left as it is
    source.py     a connection's probes; known.py what they bring, horizon.py and pace.py the longer ones
    told.py       how it is shown

Invariant: nothing is changed anywhere but for a wait that a source asked for. What is away does not keep the rest
from being looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from syncer.cli.app import Exit
from syncer.cli.output import err
from syncer.cli.probing.files import configuration_file, configuration_findings, unnamed_file
from syncer.cli.probing.findings import Finding, Group, State, count, failed
from syncer.cli.probing.source import probe
from syncer.cli.probing.told import tell_group, tell_sum
from syncer.cli.probing.warehouse import View, viewed
from syncer.config import Settings
from syncer.errors import ConfigError

__all__ = [
    "Finding",
    "Group",
    "State",
    "configuration_file",
    "count",
    "document",
    "examine",
    "exit_code",
    "tell_group",
    "tell_sum",
    "unnamed_file",
]


def examine(
    settings: Settings, names: Sequence[str], file: Path | None, tell: Callable[[Group], None]
) -> list[Group]:
    """Look at everything, the connections named among it; each group is told once it is complete.

    Without a file nothing is said about the configuration itself.
    """
    groups: list[Group] = []

    def conclude(group: Group) -> None:
        groups.append(group)
        tell(group)

    if file:
        conclude(Group(name="configuration", findings=[*configuration_findings(file, settings)]))
    with ExitStack() as stack:
        with _waiting("looking at the warehouse"):
            group, view = stack.enter_context(viewed(settings))
        conclude(group)
        asyncio.run(_connections(settings, names, view, conclude))
    return groups


async def _connections(
    settings: Settings, names: Sequence[str], view: View, conclude: Callable[[Group], None]
) -> None:
    """All at the same time, told in the order given."""
    usable = [name for name in names if name in settings.connections]
    tasks = {name: asyncio.create_task(probe(settings.connections[name], view)) for name in usable}
    for name in names:
        if name in tasks:
            with _waiting(f"asking {name}"):
                group = await tasks[name]
            conclude(group)
        else:
            conclude(_broken(name, settings.broken[name]))


def _broken(name: str, problems: Sequence[str]) -> Group:
    findings = [failed("keys", ConfigError(problem, None), is_fatal=True) for problem in problems]
    return Group(name=name, about="misconfigured", is_connection=True, findings=findings)


@contextmanager
def _waiting(text: str) -> Iterator[None]:
    """Show on a terminal that something is under way."""
    if not err.is_terminal:
        yield
        return
    spinner = "dots" if err.encoding.startswith("utf") else "line"
    with err.status(f"{text} ...", spinner=spinner):
        yield


def exit_code(groups: Sequence[Group]) -> Exit:
    """What a command that found this leaves with."""
    connections = [group for group in groups if group.is_connection]
    shared = [group for group in groups if not group.is_connection]
    if any(group.is_dead for group in shared) or all(group.is_dead for group in connections):
        return Exit.NOTHING
    return Exit.PARTLY if count(groups, State.FAILED) else Exit.DONE


def document(group: Group) -> dict[str, object]:
    """A group as part of a JSON document."""
    return {
        "name": group.name,
        "about": group.about or None,
        "requests": group.requests,
        "findings": [
            {"subject": each.subject, "state": each.state, "finding": each.finding, "hint": each.hint}
            for each in group.findings
        ],
    }
