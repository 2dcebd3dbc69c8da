"""Where commands are killed, stopped and starved, and what they leave behind is examined.

A `Ward` is a PostgreSQL server of its own and a nursery of commands. A `Case` is a source, and the warehouse as it
stood before the command that is to suffer; every `Trial` of it begins with a copy of that warehouse. Invariant: a
trial leaves nothing to the next. It must not know which fault is tried.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

import psycopg
from sqlalchemy import NullPool, create_engine

from syncer.embedded import EmbeddedServer
from syncer.simulator import Answer, Outline, Request, Tenant
from syncer.warehouse import migrate
from tests.acceptance.conftest import Cli
from tests.nursery import TIMEOUT, Child, Done, Nursery
from tests.platforms import Platform, platform_of, platforms
from tests.servers import Server
from tests.torture.crash_promises import (
    Content,
    Progress,
    broken_promises,
    content,
    differing,
    has_schema,
    progress,
    unfinished,
    went_back,
)
from tests.torture.crash_wire import Fault, Moment, When, Wire
from tests.torture.judge import judge
from tests.torture.table import FULL, SEED, Verdict

OUTLINE = Outline(
    workflows=2, executions=30 if FULL else 14, running=4, queued=1, loops=True, steps=3, seed=SEED
)
KEYS: dict[str, object] = {"page_size": 8, "lookback": "5s"}
"""What has ended and shows no step is not final before the lookback is over, see `_let_live`."""


class Instant(NamedTuple):
    """When something happens to a command: at the n-th request, or the n-th moment of talking to the warehouse."""

    kind: str
    when: str
    number: int

    @property
    def phase(self) -> str:
        """What the table calls it."""
        return _PHASES.get(self.kind, _OTHER)


_OTHER = "another statement"
_PHASES = {
    "fetch": "fetch",
    "list": "fetch",
    "begin": "begin",
    "commit": "commit",
    "progress": "commit",
    "copy": "COPY",
    "rows": "COPY",
    "copied": "COPY",
    "upsert": "upsert",
    "replace": "upsert",
    "definition": "DDL",
    "lease": "bookkeeping",
    "mark": "bookkeeping",
    "ledger": "bookkeeping",
}


def _round(totals: Collection[tuple[str, str]], random: Random) -> list[tuple[str, str]]:
    """A kind of instant for each phase."""
    phases: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for kind in sorted(totals):
        phases[_PHASES.get(kind[0], _OTHER)].append(kind)
    return [random.choice(phases[name]) for name in random.sample(sorted(phases), len(phases))]


_LOOK = 0.02
"""Seconds between two looks at what cannot be waited for."""

# What a bounded selection is taken from; where a pass has no upsert, there is none to choose.
_CHIEF = [
    ("list", "asked"),
    ("progress", "answered"),
    ("rows", "sent"),
    ("fetch", "half answered"),
    ("upsert", "sent"),
    ("progress", "sent"),
    ("fetch", "asked"),
    ("copied", "sent"),
    ("commit", "before"),
]


@dataclass
class Ward:
    """A server that may be killed, and a nursery for commands that may be."""

    postgres: EmbeddedServer
    nursery: Nursery
    folder: Path

    @property
    def server(self) -> Server:
        """The server, running."""
        return Server(self.postgres.start())

    def crash(self) -> None:
        """End the server at once, as `pg_ctl stop -m immediate` does, and wait until it is gone."""
        pid = int((self.postgres.home / "postgresql" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)
        until = time.monotonic() + TIMEOUT
        while self.postgres.running():
            assert time.monotonic() < until, "PostgreSQL does not die"
            time.sleep(_LOOK)


@dataclass
class Case:
    """A source, the name of the warehouse to begin with, and how the undisturbed command went."""

    ward: Ward
    simulator: Tenant
    source: str
    template: str
    changes: dict[str, object]
    requests: int = 0
    lists: int = 0
    pages: Counter[str] = field(default_factory=Counter)
    moments: Counter[Moment] | None = None
    perfect: Content | None = None

    @contextmanager
    def trial(self) -> Iterator[Trial]:
        """A copy of the warehouse, a wire to it, and commands that use both."""
        with self.ward.server.new_database(self.template) as url, Wire(url).open() as wire:
            cli = Cli(self.ward.folder, wire.url, self.ward.nursery)
            cli.connect("flow", self.simulator, self.source, **KEYS, **self.changes)
            trial = Trial(self, cli, wire, url)
            try:
                yield trial
            finally:
                self.simulator.fault = None
                trial.close()

    def instants(self, wanted: int, only: str | None = None) -> list[Instant]:
        """As many instants, spread over all phases, or `only` one kind; in a bounded run over the chief ones."""
        totals = self._totals(only)
        random = Random(f"{SEED}/{wanted}")
        found: list[Instant] = []
        while len(found) < wanted:
            kinds = _round(totals, random) if FULL or only else [kind for kind in _CHIEF if kind in totals]
            # The undisturbed run may have had a few more of them than this one will.
            found += [Instant(*kind, random.randint(1, max(1, totals[kind] * 9 // 10))) for kind in kinds]
        return found[:wanted]

    def share(self, instants: list[Instant]) -> list[Instant]:
        """Those that are tried on this platform, of all that are tried."""
        names = list(platforms())
        return instants[names.index(platform_of(self.simulator).name) :: len(names)]

    def _totals(self, only: str | None) -> dict[tuple[str, str], int]:
        """How often each kind of instant came in the undisturbed run."""
        assert self.moments is not None
        totals = {("fetch", "asked"): self.requests, ("fetch", "half answered"): self.requests - 1}
        totals["list", "asked"] = self.lists
        totals |= {(kind, str(when)): total for (kind, when), total in self.moments.items()}
        return {kind: total for kind, total in totals.items() if only in (None, kind[0])}

    def pages_of_steps(self, cut: int | None = None) -> Counter[str]:
        """How many answers with steps were served whole of each execution; `cut` is the number of one that was not."""
        endpoint = platform_of(self.simulator).steps_endpoint
        known = self.simulator.truth.executions
        return Counter(
            next(part for part in each.path.split("/") if part in known)
            for number, each in enumerate(self.simulator.requests, 1)
            if each.endpoint == endpoint and each.status == 200 and number != cut
        )

    def learn(self) -> None:
        """Run the command undisturbed, to know what there is to disturb and what is to come of it."""
        with self.trial() as trial:
            self.simulator.clear_requests()
            done = trial.start("sync").wait()
            assert done.code == 0, done.err
            trial.assert_healed()
            self.requests = len(self.simulator.requests)
            self.pages = self.pages_of_steps()
            self.lists = self.simulator.counts["executions"]
            self.moments = trial.wire.counts
            self.perfect = content(trial.engine)


class Trial:
    """One warehouse on which a command suffers, and another heals."""

    def __init__(self, case: Case, cli: Cli, wire: Wire, url: str) -> None:
        self.case = case
        self.cli = cli
        self.wire = wire
        self.url = url
        # Without a pool: whoever is connected, beside the one who looks, is a client that has died.
        self.engine = create_engine(
            urlsplit(url)._replace(scheme="postgresql+psycopg").geturl(), poolclass=NullPool
        )
        self.before: Progress | None = None
        self.done = Done(0, "", "")
        self._children: list[Child] = []

    def start(self, *arguments: str) -> Child:
        """Start a command through the wire."""
        child = self.cli.start(*arguments)
        self._children.append(child)
        return child

    def hurt(
        self, instant: Instant, act: Callable[[Child], object], *arguments: str, drop: bool = False
    ) -> bool:
        """Run a command to its end and `act` on it at the instant; False where it was over before.

        With `drop`, what is said before it is passed on goes no further.
        """
        starting: Future[Child] = Future()
        happened = self.arm(instant, lambda: act(starting.result(TIMEOUT)), drop=drop)
        child = self.start(*arguments)
        starting.set_result(child)
        self.done = child.wait()
        self.wire.fault = None
        if instant.kind in ("fetch", "list"):
            self.case.simulator.fault = None
        return happened.is_set()

    def arm(self, instant: Instant, act: Callable[[], object], *, drop: bool = False) -> threading.Event:
        """Have `act` done at the instant, counted from now on; the event tells that it has come."""
        if instant.kind in ("fetch", "list"):
            return _at_request(self.case.simulator, instant, act)
        moment = Moment(instant.kind, cast("When", instant.when))
        fault = Fault(moment, instant.number, act, drop=drop and instant.when == "before")
        self.wire.counts.clear()
        self.wire.fault = fault
        return fault.happened

    def execute(self, statement: str) -> None:
        """Do something to the warehouse behind the daemon's back."""
        with psycopg.connect(self.url, autocommit=True) as db:
            db.execute(statement.encode())

    def values(self, query: str) -> list[Any]:
        """The first column of what a query returns."""
        with psycopg.connect(self.url, autocommit=True) as db:
            return [row[0] for row in db.execute(query.encode())]

    def examine(self) -> None:
        """Judge the warehouse as the command left it, when the server has noticed its end."""
        self._await_quiet()
        if not has_schema(self.engine):
            return
        former, self.before = self.before, progress(self.engine)
        broken = broken_promises(self.engine, self.case.simulator)
        broken += went_back(former, self.before) if former else []
        assert not broken, "\n".join(broken)

    def heal(self) -> Done:
        """Run the command undisturbed; the leases of the dead must not hold it up, however long they last."""
        self.wire.fault = self.case.simulator.fault = None
        if has_schema(self.engine):
            self.execute("UPDATE syncer.leases SET until = 'infinity' WHERE owner IS NOT NULL")
        done = self.start("sync").wait()
        assert done.code == 0, done.err
        return done

    def assert_healed(self) -> None:
        """The warehouse is as good as if nothing had happened."""
        self.examine()
        left = unfinished(self.engine)
        assert not left, left
        if self.case.perfect is not None:
            differs = differing(self.case.perfect, content(self.engine))
            assert not differs, f"not as after an undisturbed run: {differs}"

    def verdict(self) -> Verdict:
        """What differs from the truth."""
        return judge(self.engine, self.case.simulator)

    def close(self) -> None:
        """End what still runs."""
        for child in self._children:
            if not child.is_over:
                child.kill()
                child.wait()
        self.engine.dispose()

    def _await_quiet(self) -> None:
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        until = time.monotonic() + TIMEOUT
        with psycopg.connect(self.url, autocommit=True) as db:
            while (db.execute(others).fetchone() or (0,))[0]:
                assert time.monotonic() < until, "the server does not notice that its client is gone"
                time.sleep(_LOOK)


@contextmanager
def no_schema(
    ward: Ward, platform: Platform, outline: Outline = OUTLINE, **changes: object
) -> Iterator[Case]:
    """The very first command, which migrates as well."""
    with _source(platform, outline) as (simulator, source), ward.server.new_database() as url:
        yield _learned(Case(ward, simulator, source, _name_of(url), changes))


@contextmanager
def first_pass(ward: Ward, platform: Platform, **changes: object) -> Iterator[Case]:
    """The command that begins: an empty warehouse of this version."""
    with _source(platform, OUTLINE) as (simulator, source), ward.server.new_database() as url:
        migrate(url)
        yield _learned(Case(ward, simulator, source, _name_of(url), changes))


@contextmanager
def later_pass(ward: Ward, platform: Platform, **changes: object) -> Iterator[Case]:
    """A command that finds a copy, and much that has changed since."""
    with _source(platform, OUTLINE) as (simulator, source), ward.server.new_database() as url:
        cli = Cli(ward.folder, url, ward.nursery)
        cli.connect("flow", simulator, source, **KEYS, **changes)
        done = cli.run("sync")
        assert done.code == 0, done.err
        _let_live(simulator)
        yield _learned(Case(ward, simulator, source, _name_of(url), changes))


Begin = Callable[[Ward, Platform], AbstractContextManager[Case]]


class Cases:
    """Cases by how they begin and by platform: learned once, when first asked for, because nothing may change them."""

    def __init__(self, ward: Ward, stack: ExitStack) -> None:
        self._ward = ward
        self._stack = stack
        self._known: dict[tuple[Begin, Platform], Case] = {}

    def of(self, begin: Begin, platform: Platform) -> Case:
        """The case, ready for trials."""
        key = begin, platform
        if key not in self._known:
            self._known[key] = self._stack.enter_context(begin(self._ward, platform))
        return self._known[key]


def _let_live(simulator: Tenant) -> None:
    simulator.end_all_running()
    for workflow in simulator.truth.workflows:
        simulator.edit_workflow(workflow)
        for status in ("Success", "Error", "Running", "Queued", "Success", "Success"):
            simulator.add_execution(workflow, status=status)
    simulator.clock.advance(10)  # what ended within this second is not final before it is over


@contextmanager
def _source(platform: Platform, outline: Outline) -> Iterator[tuple[Tenant, str]]:
    simulator = platform.simulate(outline)
    with simulator.serve() as source:
        yield simulator, source


def _name_of(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


def _learned(case: Case) -> Case:
    case.learn()
    return case


def _at_request(simulator: Tenant, instant: Instant, act: Callable[[], object]) -> threading.Event:
    """Act before an answer leaves, or when half of one has and the next is asked for."""
    happened = threading.Event()
    is_cut = instant.when == "half answered"
    numbers = count(1)

    def fault(request: Request, answer: Answer) -> Answer:
        if instant.kind == "list" and simulator.endpoint_of(request) != "executions":
            return answer
        number = next(numbers)
        if is_cut and number == instant.number:
            return Answer(answer.status, answer.body, conduct="cut", cut_at=len(answer.body) // 2)
        if number == instant.number + is_cut:
            happened.set()
            act()
        return answer

    simulator.fault = fault
    return happened
