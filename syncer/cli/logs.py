"""Log lines on standard error: one event each, with stable keys, for people or as JSON.

Invariant: a line never tears a live progress display, and no traceback shows the values of variables.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import structlog
from rich.text import Text
from structlog.types import Processor

from syncer.cli.output import err


class _Printer:
    """Prints above a live display, where there is one."""

    def msg(self, line: str) -> None:
        err.print(Text.from_ansi(line), soft_wrap=True)

    log = debug = info = warn = warning = error = critical = exception = fatal = msg


class _ToStructlog(logging.Handler):
    """Takes what libraries log along the same way."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(record.levelno, record.getMessage(), logger=record.name)


def set_up_logs(log_format: str, level: str) -> None:
    """Log from `level` on, as "console" or "json"; libraries only say what is wrong."""
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=list(_processors(log_format)),
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: _Printer(),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_ToStructlog()], level=max(number, logging.WARNING), force=True)


def _processors(log_format: str) -> Iterator[Processor]:
    yield structlog.contextvars.merge_contextvars
    yield structlog.processors.add_log_level
    yield structlog.processors.TimeStamper(fmt="%Y-%m-%dT%H:%M:%SZ", utc=True)
    if log_format == "json":
        yield structlog.processors.format_exc_info
        yield structlog.processors.JSONRenderer()
    else:
        yield structlog.dev.ConsoleRenderer(
            colors=err.is_terminal and not err.no_color,
            pad_event_to=20,
            exception_formatter=structlog.dev.plain_traceback,
        )
