"""A Qualys Flow that costs next to nothing to ask: everything it says of executions is put together beforehand.

    python -m bench.upstream --executions 2000 [--latency-ms 30]

Invariant: what is asked is read by the simulator, as strictly as ever; only the answers are kept ready. One JSON line
on standard output says where it listens. nginx would be cheaper still, but lists are windows over the time of creation,
which files cannot answer.

Whoever measures steers it by requests of their own:

    GET  /bench/traffic     since the last time: requests by endpoint, the most in flight, seconds from first to last
    POST /bench/truth       write what a perfect copy holds (see `truth`) into the folder that the body names
    POST /bench/live_on     a quarter of an hour goes by, and 1 % of the executions change
    POST /bench/rest        a quarter of an hour goes by
    POST /bench/follow      five minutes go by, in which as many executions begin as the body says
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import signal
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from bench.truth import write_truth
from bench.world import Size, Tenant
from syncer.simulator import Answer, Execution, Request
from syncer.simulator.qualys_flow import Simulator, Switches
from syncer.simulator.qualys_flow.asks import ListAsk
from syncer.simulator.qualys_flow.records import event_payloads, event_record, execution_record
from syncer.simulator.qualys_flow.shelf import InventedShelf

CONTROL = "/bench/"


class Prepared(InventedShelf):
    """Has a row and the steps of every execution ready. A payload stands in memory once, whoever carries it, and has
    its place in the steps marked."""

    def __init__(self, simulator: Simulator) -> None:
        super().__init__(simulator)
        self._switches = simulator.switches
        self._rows: dict[str, bytes] = {}
        self._steps: dict[str, bytes] = {}
        self._numbers: dict[bytes, int] = {}
        self._payloads: list[bytes] = []

    def prepare(self, executions: Iterable[Execution]) -> None:
        """Put together what will be said of them."""
        for execution in executions:
            record = execution_record(execution, self._switches, listed=True)
            self._rows[execution.id] = msgspec.json.encode(record)
            self._steps[execution.id] = zlib.compress(b"\0".join(self._pieces(execution)))

    def executions(self, workflow_id: str, ask: ListAsk, switches: Switches) -> bytes:
        rows = self._span(self._find_workflow(workflow_id).id, ask, switches)
        return self._page(rows, ask, switches, self._row)

    def steps(self, execution_id: str, ask: ListAsk, switches: Switches) -> bytes:
        is_usual = ask.include_data and ask.order == "createdAt" and ask.since_ms is ask.until_ms is None
        if not is_usual:
            return super().steps(execution_id, ask, switches)
        packed = self._steps[self._find_execution(execution_id, switches).id]
        pieces = zlib.decompress(packed).split(b"\0")
        pieces[1::2] = [self._payloads[int(number)] for number in pieces[1::2]]
        return b"".join(pieces)

    def _row(self, execution: Execution) -> Any:
        return msgspec.Raw(self._rows[execution.id])

    def _spoiled(self, record: Any) -> Any:
        return record

    def _pieces(self, execution: Execution) -> Iterator[bytes]:
        """The list of steps, every second piece the number of a payload that stands there."""
        events = execution.events
        text = b'{"total":%d,"items":[' % len(events)
        for at, event in enumerate(events):
            text += b"," * bool(at) + msgspec.json.encode(event_record(execution, event, self._switches))[:-1]
            for name, payload in event_payloads(execution, event, self._switches).items():
                yield text + b',"%s":' % name.encode()
                yield b"%d" % self._number(bytes(payload))
                text = b""
            text += b"}"
        yield text + b"]}"

    def _number(self, payload: bytes) -> int:
        number = self._numbers.setdefault(payload, len(self._payloads))
        if number == len(self._payloads):
            self._payloads.append(payload)
        return number


class Upstream:
    """The tenant, its prepared answers and who asks."""

    def __init__(self, size: Size, now: datetime, latency: float) -> None:
        self.latency = latency
        self.traffic = Traffic()
        self._tenant = Tenant(size, now)
        self._simulator = self._tenant.simulator
        self._simulator.shelf = self._shelf = Prepared(self._simulator)
        self._shelf.prepare(self._tenant.executions())
        self._simulator.clock.run()

    @property
    def credentials(self) -> dict[str, str]:
        """What it accepts."""
        return asdict(self._simulator.credentials)

    @property
    def date(self) -> str:
        """The `Date` of every answer."""
        return self._simulator.clock.http_date()

    def answer(self, request: Request) -> Answer:
        """As the simulator would."""
        self.traffic.requests[self._simulator.endpoint_of(request)] += 1
        return self._simulator.honest_answer(request)

    def control(self, request: Request) -> Answer:
        """Do what whoever measures wants."""
        done = self._controls[request.path.removeprefix(CONTROL)](self, request.body.decode())
        return Answer(body=msgspec.json.encode(done))

    def _tell_traffic(self, _body: str) -> dict[str, object]:
        told, self.traffic = self.traffic, Traffic()
        return {
            "requests": dict(told.requests),
            "most_in_flight": told.most_in_flight,
            "seconds": told.ended - told.began,
        }

    def _write_truth(self, folder: str) -> None:
        write_truth(Path(folder), self._tenant.executions())

    def _live_on(self, _body: str) -> int:
        changed = self._tenant.live_on()
        self._shelf.prepare(changed)
        return len(changed)

    def _follow(self, arriving: str) -> None:
        self._shelf.prepare(self._tenant.follow(int(arriving)))

    def _rest(self, _body: str) -> None:
        self._tenant.rest()

    _controls: ClassVar[dict[str, Callable[[Upstream, str], object]]] = {
        "traffic": _tell_traffic,
        "truth": _write_truth,
        "live_on": _live_on,
        "rest": _rest,
        "follow": _follow,
    }


class Traffic:
    """What was asked since somebody looked."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.in_flight = self.most_in_flight = 0
        self.began = self.ended = 0.0

    def enter(self) -> None:
        """A request came in."""
        self.began = self.began or time.perf_counter()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def leave(self) -> None:
        """An answer went out."""
        self.in_flight -= 1
        self.ended = time.perf_counter()


class Wire(asyncio.Protocol):
    """HTTP/1.1 with bodies of a known length: all that a client of an API sends."""

    _transport: asyncio.Transport

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while request := self._take():
            self._serve(request)

    def _take(self) -> Request | None:
        """The next whole request, if it has arrived."""
        head, ending, rest = self._received.partition(b"\r\n\r\n")
        if not ending:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return None
        self._received = rest[length:]
        method, target, _ = first.split(" ")
        return Request(method, target, headers, rest[:length])

    def _serve(self, request: Request) -> None:
        upstream = self._upstream
        if request.target.startswith(CONTROL):
            self._send(upstream.control(request))
            return
        traffic = upstream.traffic
        traffic.enter()
        answer = upstream.answer(request)
        if upstream.latency:
            asyncio.get_running_loop().call_later(upstream.latency, self._finish, answer, traffic)
        else:
            self._finish(answer, traffic)

    def _finish(self, answer: Answer, traffic: Traffic) -> None:
        traffic.leave()
        self._send(answer)

    def _send(self, answer: Answer) -> None:
        head = (
            f"HTTP/1.1 {answer.status} \r\nContent-Type: {answer.content_type}\r\n"
            f"Content-Length: {len(answer.body)}\r\nDate: {self._upstream.date}\r\n\r\n"
        )
        self._transport.write(head.encode() + answer.body)


async def serve(upstream: Upstream) -> None:
    """Serve until SIGTERM."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    server = await loop.create_server(lambda: Wire(upstream), "127.0.0.1", backlog=512)
    port = server.sockets[0].getsockname()[1]
    sys.stdout.write(json.dumps({"url": f"http://127.0.0.1:{port}", **upstream.credentials}) + "\n")
    sys.stdout.flush()
    await stopped.wait()


def main() -> None:
    usual = Size()
    parser = argparse.ArgumentParser(prog="python -m bench.upstream", description="A very cheap Qualys Flow.")
    for name, default in asdict(usual).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument(
        "--now", type=datetime.fromisoformat, default=datetime.now(UTC).replace(microsecond=0)
    )
    parser.add_argument("--latency-ms", type=float, default=0.0, help="between a request and its answer")
    given = parser.parse_args()
    size = Size(**{name: getattr(given, name) for name in asdict(usual)})
    upstream = Upstream(size, given.now, given.latency_ms / 1000)
    gc.freeze()  # the history never becomes garbage, and looking for some in it takes a second each time
    asyncio.run(serve(upstream))


if __name__ == "__main__":
    main()
