"""`syncer run` as a process of its own, watched through its log."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.acceptance.conftest import SYNCER, Configuration
from tests.nursery import TIMEOUT

LOOK = 0.1
"""Seconds between two looks at what is to become true."""


def eventually(condition: Callable[[], object], what: str = "it") -> None:
    """Wait until the condition holds; an assertion error in it counts as not yet, until the time is over."""
    until = time.monotonic() + TIMEOUT
    while True:
        try:
            if condition():
                return
            missed = None
        except AssertionError as error:
            missed = error
        if time.monotonic() > until:
            raise AssertionError(f"{what} did not become true in {TIMEOUT} s") from missed
        time.sleep(LOOK)


class RunningService:
    """The service under way; `events` are its log lines so far, as documents."""

    def __init__(self, cli: Configuration) -> None:
        cli.write()
        self.process = subprocess.Popen(
            [*SYNCER, "run"],
            env=cli.env,
            cwd=cli.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.events: list[dict[str, Any]] = []
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.said.append(line)
            if line.startswith("{"):
                self.events.append(json.loads(line))

    def told(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """Log lines of this event with these fields."""
        wanted = {"event": event, **fields}
        return [each for each in tuple(self.events) if wanted.items() <= each.items()]

    def await_event(self, event: str, times: int = 1, **fields: object) -> None:
        """Wait until the log tells of it so often."""
        eventually(lambda: len(self.told(event, **fields)) >= times, f"log line {event!r}")

    def reload(self) -> None:
        """Ask it to read the configuration again."""
        self.process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """End it without a warning."""
        self.process.kill()
        self.process.wait(TIMEOUT)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        return code

    def close(self) -> None:
        """Read the rest of its log, and let go of it."""
        self._reader.join(TIMEOUT)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream
            stream.close()

    @property
    def memory(self) -> int:
        """Resident bytes."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * 4096


@contextmanager
def running(cli: Configuration) -> Iterator[RunningService]:
    """The service while the body runs; a traceback in what it says fails the test."""
    service = RunningService(cli)
    try:
        yield service
    except BaseException:
        print("".join(service.said[-100:]))  # noqa: T201
        raise
    finally:
        if service.process.poll() is None:
            service.kill()
        service.close()
        assert "Traceback" not in "".join(service.said), "".join(service.said)
