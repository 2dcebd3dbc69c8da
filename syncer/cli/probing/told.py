"""How findings look: a heading, a line each, and below what is wrong a line that says what to do.

Invariant: no text of a source steers the terminal. Without a terminal a finding is one line, however long.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from syncer.cli.output import clean, out
from syncer.cli.probing.findings import Finding, Group, State, count
from syncer.words import plural

MARKS = {
    State.OK: ("✓", "+", "green"),
    State.NOTE: ("·", ".", "cyan"),
    State.WARNING: ("!", "!", "yellow"),
    State.FAILED: ("✗", "x", "bold red"),
    State.SKIPPED: ("-", "-", "dim"),
}
"""The mark of a state, the same in ASCII, and its style."""

SUBJECT = 11
"""Columns of the longest subject."""

INDENT = 2 + 2 + SUBJECT + 1
ENDLESS = 100_000


def tell_group(group: Group, console: Console = out) -> None:
    """Print a heading and a line per finding."""
    about = f"  {clean(group.about)}" if group.about else ""
    _print(console, Text.assemble((group.name, "bold cyan"), about))
    for finding in group.findings:
        for line in _lines(finding, console):
            _print(console, line)
    _print(console, Text())


def tell_sum(groups: Sequence[Group], console: Console = out) -> None:
    """Print what it comes to, and what it has cost."""
    wrong, warnings = count(groups, State.FAILED), count(groups, State.WARNING)
    parts = [f"{plural(wrong, 'thing')} wrong"] if wrong else ["nothing is wrong"]
    parts += [plural(warnings, "warning")] if warnings else []
    requests = sum(group.requests for group in groups)
    made = f"; {plural(requests, 'request')} made" if requests else ""
    style = "bold red" if wrong else "yellow" if warnings else "green"
    _print(console, Text.assemble((", ".join(parts).capitalize(), style), made, "."))


def _lines(finding: Finding, console: Console) -> Iterator[Text]:
    mark, plain, style = MARKS[finding.state]
    begin = Text.assemble(
        "  ", (mark if _is_able(console, mark) else plain, style), f" {finding.subject:<{SUBJECT}} "
    )
    for part in _wrapped(Text(clean(finding.finding), "dim" if style == "dim" else ""), console):
        yield Text.assemble(begin, part)
        begin = Text(" " * INDENT)
    if finding.hint:
        begin = Text(" " * INDENT + "-> ")
        for part in _wrapped(Text(clean(finding.hint)), console, len(begin)):
            yield Text.assemble(begin, part)
            begin = Text(" " * (INDENT + 3))


def _wrapped(text: Text, console: Console, indent: int = INDENT) -> Iterator[Text]:
    """The text in lines that leave room for the indent."""
    width = console.width - indent if console.is_terminal else ENDLESS
    for line in text.wrap(console, max(width, 20)):
        line.rstrip()
        yield line


def _is_able(console: Console, mark: str) -> bool:
    try:
        mark.encode(console.encoding)
    except UnicodeEncodeError:
        return False
    return True


def _print(console: Console, line: Text) -> None:
    console.print(line, soft_wrap=True)
