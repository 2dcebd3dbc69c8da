"""What a signal does to the work in hand: SIGTERM and Ctrl-C stop it in good order, and in time.

Invariant: ten seconds after the first signal the process is gone, whatever the source or the warehouse do. No
work is lost by that: a transaction that was not committed is as if it had not begun.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from syncer.cli.app import Exit
from syncer.cli.output import err, note

PATIENCE = 7.0
"""Seconds that requests in flight are given before they are abandoned."""

AT_LAST = 9.0
"""Seconds after which the process leaves, even if the warehouse does not answer."""


class Stop:
    """Which signal came, if one did."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    @property
    def exit(self) -> Exit | None:
        """The exit code a signal asks for."""
        if self.signal is None:
            return None
        return Exit.INTERRUPTED if self.signal is signal.SIGINT else Exit.DONE


@contextmanager
def listening(end: Callable[[str], None], abandon: Callable[[], None]) -> Iterator[Stop]:
    """Let the first signal `end` the work in good order, for a reason; a second one abandons it at once."""
    stop = Stop()
    loop = asyncio.get_running_loop()
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def come(number: signal.Signals) -> None:
        if stop.signal is not None:
            abandon()
            return
        stop.signal = number
        _say(number)
        end(f"stopped by {number.name}")
        loop.call_later(PATIENCE, abandon)
        _leave_at_last(stop)

    for number in former:
        loop.add_signal_handler(number, come, signal.Signals(number))
    try:
        yield stop
    finally:
        for number, handler in former.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


def _say(number: signal.Signals) -> None:
    again = "; Ctrl-C again stops at once" if number is signal.SIGINT else ""
    note(f"stopping: what is complete is committed{again}")


def _leave_at_last(stop: Stop) -> None:
    """A thread does it, because the loop itself may wait for the warehouse."""

    def leave() -> None:
        err.show_cursor()
        sys.stdout.flush()
        os._exit(stop.exit or Exit.DONE)

    timer = threading.Timer(AT_LAST, leave)
    timer.daemon = True
    timer.start()
