"""Commands as real processes, born quickly: a parent that has imported everything forks one for each.

`python -m tests.nursery` is that parent; it is told what to start on standard input, and tells who was
born and who died on standard output, a JSON document a line. Invariant: a child is as if started by itself: its own
arguments, environment, folder, signals and output. It must not know what a command does.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from syncer import cli, sources

ROOT = Path(__file__).parents[1]
TIMEOUT = 120
"""Seconds after which a command hangs, on however slow a machine."""

FROM_THE_START = {"LANG": "C.UTF-8", "PYTHONWARNINGS": "error"}
"""Variables that are only heeded when a process begins, as the parent has them."""

_HEEDED_ONCE = (*FROM_THE_START, "PYTHONIOENCODING", "COLUMNS")
"""With one of these otherwise a child begins anew."""

_LOOK = 0.02
"""Seconds between two looks at what a command has printed."""


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Standard output as the one JSON document it must be."""
        document: dict[str, Any] = json.loads(self.out)
        return document


class Child:
    """A command under way."""

    def __init__(self, out: Path, err: Path) -> None:
        self._out = out
        self._err = err
        self._born = threading.Event()
        self._died = threading.Event()
        self._pid = 0
        self._code = 0

    def be_born(self, pid: int) -> None:
        """It runs."""
        self._pid = pid
        self._born.set()

    def die(self, code: int) -> None:
        """It has ended."""
        self._code = code
        self._died.set()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, even if it is only about to be born."""
        assert self._born.wait(TIMEOUT)
        if not self._died.is_set():
            os.kill(self._pid, number)

    def kill(self) -> None:
        """End it without a warning."""
        self.signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.signal(signal.SIGTERM)

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._died.is_set()

    def lines(self) -> Iterator[str]:
        """What it prints, line by line until it has ended."""
        with self._out.open("rb") as out:
            line = b""
            while not self.is_over or out.tell() < self._out.stat().st_size:
                line += out.readline()
                if line.endswith(b"\n"):
                    yield line.decode()
                    line = b""
                else:
                    time.sleep(_LOOK)

    def wait(self) -> Done:
        """How it ended; one that hangs is killed, and fails the test."""
        if not self._died.wait(TIMEOUT):
            self.kill()
            raise TimeoutError(f"it hangs: {self._err.read_text()}")
        return Done(self._code, self._out.read_text(), self._err.read_text())


class Nursery:
    """Starts commands; `folder` is where their output is kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parent = subprocess.Popen(
            [sys.executable, "-m", __name__],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | FROM_THE_START,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._children: list[Child] = []
        self._by_pid: dict[int, Child] = {}
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    def start(self, arguments: list[str], env: Mapping[str, str], cwd: Path) -> Child:
        """Start `syncer` with these arguments."""
        number = len(self._children)
        out, err = self._folder / f"{number}.out", self._folder / f"{number}.err"
        out.touch()
        self._children.append(Child(out, err))
        order = {
            "number": number,
            "arguments": arguments,
            "env": dict(env),
            "cwd": str(cwd),
            "files": [str(out), str(err)],
        }
        assert self._parent.stdin
        self._parent.stdin.write(f"{json.dumps(order)}\n")
        self._parent.stdin.flush()
        return self._children[number]

    def close(self) -> None:
        """End the parent, and whoever still runs."""
        for child in self._children:
            child.kill()
        for stream in (self._parent.stdin, self._parent.stdout):
            if stream is self._parent.stdout:
                self._parent.wait(TIMEOUT)
                self._reader.join(TIMEOUT)
            assert stream
            stream.close()

    def _listen(self) -> None:
        assert self._parent.stdout
        for line in self._parent.stdout:
            told = json.loads(line)
            if "number" in told:
                self._by_pid[told["pid"]] = self._children[told["number"]]
                self._by_pid[told["pid"]].be_born(told["pid"])
            else:
                self._by_pid[told["pid"]].die(told["code"])


@contextmanager
def nursery(folder: Path) -> Iterator[Nursery]:
    """A nursery while the body runs."""
    made = Nursery(folder)
    try:
        yield made
    finally:
        made.close()


def _preload() -> None:
    """Import what commands import, each of which costs a second otherwise."""
    for package in (cli, sources):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    for name in ("syncer.service", "alembic.command"):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # else every child looks through all of that when it ends


def main() -> None:
    """Give birth until standard input ends."""
    _preload()
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with open(0, "rb", buffering=0) as orders:  # what a buffer holds, select does not see
        while order := _next(orders, woken):
            pid = os.fork()
            if not pid:
                break
            _tell(number=order["number"], pid=pid)
        else:
            return
    _become(order)


def _next(orders: FileIO, woken: int) -> dict[str, Any] | None:
    """The next order, None when there will be no more; the dead are told of meanwhile."""
    while True:
        ready, _, _ = select.select([orders.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _bury()
        if orders.fileno() in ready:
            line = orders.readline()
            order: dict[str, Any] | None = json.loads(line) if line else None
            return order


def _tell(**news: int) -> None:
    os.write(1, f"{json.dumps(news)}\n".encode())


def _bury() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _tell(pid=pid, code=os.waitstatus_to_exitcode(status))


def _become(order: dict[str, Any]) -> None:
    """Turn into the command that was asked for."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, file in enumerate(["/dev/null", *order["files"]]):
        opened = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, number)
        if opened > 2:
            os.close(opened)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    if any(os.environ.get(name) != FROM_THE_START.get(name) for name in _HEEDED_ONCE):
        os.execv(sys.executable, [sys.executable, "-m", "syncer", *order["arguments"]])
    sys.argv = ["syncer", *order["arguments"]]
    from syncer.cli import main as command

    command()


if __name__ == "__main__":
    main()
