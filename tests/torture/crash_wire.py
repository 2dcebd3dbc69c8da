"""A wire between the daemon and PostgreSQL that knows what passes, so that a fault can fall exactly where it is meant.

It reads PostgreSQL's protocol, version 3, and tells moments of the conversation apart: the n-th COMMIT before it
reaches the server, on its way, or answered but not heard. Invariant: while no fault is due, every byte passes
unchanged and in order. It must not know what a fault does.
"""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import BinaryIO, Literal, NamedTuple
from urllib.parse import urlsplit

When = Literal["before", "sent", "answered"]

_STARTUP = 196608
_CANCEL = 80877102

_KINDS = (
    ("begin", ("BEGIN",)),
    ("commit", ("COMMIT",)),
    ("rollback", ("ROLLBACK",)),
    ("savepoint", ("SAVEPOINT", "RELEASE")),
    ("copy", ("COPY",)),
    ("upsert", ('INSERT INTO "history"',)),
    ("replace", ('DELETE FROM "history"',)),
    ("lease", ("INSERT INTO SYNCER.LEASES", "UPDATE SYNCER.LEASES")),
    ("mark", ("INSERT INTO SYNCER.WATERMARKS", "UPDATE SYNCER.WATERMARKS")),
    ("ledger", ("INSERT INTO SYNCER.BACKFILL", "UPDATE SYNCER.BACKFILL")),
    ("definition", ("CREATE ", "ALTER ", "COMMENT ", "DO ", "GRANT ")),
)


class Moment(NamedTuple):
    """What is said and how far it has come: not passed on, passed on, or done but not yet told."""

    kind: str
    when: When


@dataclass
class Fault:
    """`act` when a moment comes for the `number`-th time; with `drop`, what is said then goes no further."""

    moment: Moment
    number: int
    act: Callable[[], object]
    drop: bool = False
    happened: threading.Event = field(default_factory=threading.Event)


class Wire:
    """Passes on what is said between clients and the server of `url`; `counts` says how often each moment came."""

    def __init__(self, url: str) -> None:
        self._server = urlsplit(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self.counts: Counter[Moment] = Counter()
        self.fault: Fault | None = None

    @property
    def url(self) -> str:
        """The address to use instead of the server's."""
        login = self._server.netloc.rpartition("@")[0]
        return self._server._replace(netloc=f"{login}@127.0.0.1:{self._port}").geturl()

    @contextmanager
    def open(self) -> Iterator[Wire]:
        """Pass on while the body runs."""
        threading.Thread(target=self._accept, daemon=True).start()
        try:
            yield self
        finally:
            self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._introduce, args=(client,), daemon=True).start()

    def _introduce(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            address = self._server.hostname or "", self._server.port or 5432
            with socket.create_connection(address) as server:
                for each in (client, server):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _Talk(self, client, server).run()

    def meet(self, moment: Moment) -> bool:
        """Count the moment and do what is due; False where nothing may pass any more."""
        with self._lock:
            self.counts[moment] += 1
            fault = self.fault
            is_due = (
                fault is not None
                and fault.moment == moment
                and not fault.happened.is_set()
                and fault.number == self.counts[moment]
            )
            if not is_due or fault is None:
                return True
            fault.happened.set()
        fault.act()
        return not fault.drop


class _Talk:
    """One client's session."""

    def __init__(self, wire: Wire, client: socket.socket, server: socket.socket) -> None:
        self._wire = wire
        self._client = client
        self._server = server
        self._prepared = ""
        self._has_moved = False
        self._asked = "start"

    def run(self) -> None:
        requests = self._client.makefile("rb")
        if not self._start(requests):
            return
        answers = threading.Thread(target=self._answer, daemon=True)
        answers.start()
        with suppress(OSError):
            self._ask(requests)
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_WR)
        answers.join()
        # Closed with something unread, the socket would be reset, and the server's last words would be lost.
        with suppress(OSError):
            while requests.read(65536):
                pass

    def _start(self, requests: BinaryIO) -> bool:
        """The greeting, which has no type; what is offered before it (TLS, GSS) is declined."""
        while len(head := requests.read(8)) == 8:
            rest = requests.read(int.from_bytes(head[:4]) - 8)
            code = int.from_bytes(head[4:])
            if code in (_STARTUP, _CANCEL) or code >> 16 == 3:
                self._server.sendall(head + rest)
                return code != _CANCEL
            self._client.sendall(b"N")
        return False

    def _ask(self, requests: BinaryIO) -> None:
        for kind, frame in _frames(requests):
            said = self._said(kind, frame)
            if said and not self._wire.meet(Moment(said, "before")):
                break
            self._server.sendall(frame)
            if said and not self._wire.meet(Moment(said, "sent")):
                break

    def _said(self, kind: bytes, frame: bytes) -> str | None:
        """What a message means, where it means anything by itself: a statement is said by executing it."""
        if kind == b"P":
            self._prepared = frame[5:].split(b"\0", 2)[1].decode()
        if kind in (b"Q", b"E"):
            statement = frame[5:-1].decode() if kind == b"Q" else self._prepared
            self._asked = self._in_context(_kind_of(statement))
            return self._asked
        return {b"d": "rows", b"c": "copied"}.get(kind)

    def _in_context(self, kind: str) -> str:
        """The commit of a transaction that moved a watermark or the ledger is one of progress."""
        if kind in ("mark", "ledger"):
            self._has_moved = True
        elif kind in ("begin", "rollback"):
            self._has_moved = False
        return "progress" if kind == "commit" and self._has_moved else kind

    def _answer(self) -> None:
        with suppress(OSError):
            for kind, frame in _frames(self._server.makefile("rb")):
                if kind == b"Z" and not self._wire.meet(Moment(self._asked, "answered")):
                    break
                self._client.sendall(frame)
        with suppress(OSError):
            self._client.shutdown(socket.SHUT_WR)


def _frames(stream: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    while len(head := stream.read(5)) == 5:
        yield head[:1], head + stream.read(int.from_bytes(head[1:]) - 4)


def _kind_of(statement: str) -> str:
    begun = statement.lstrip().upper()
    for kind, openings in _KINDS:
        if begun.startswith(tuple(each.upper() for each in openings)):
            return kind
    return "query"
