"""What a perfect copy of a simulated platform holds: one module per platform, named after it, beside this file.

Invariant: it is computed from the simulator's truth and the mapping that is promised, never by the code of the source.
A platform is found by the name of its module, and named nowhere else.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel

from syncer.config import Connection, SecretText
from syncer.simulator import Attempt, Clock, Execution, Outline, Tenant, Workflow
from syncer.simulator.platforms import simulated
from tests.passes import Connect, settings

Key = tuple[Any, ...]
Values = tuple[Any, ...]


class Table(NamedTuple):
    """Rows of one table of `history` by their key, whose first column is the id of an execution or workflow.

    `key` and `columns` are SQL; what is `optional` may be missing, and must be right where it is there.
    """

    key: str
    columns: str
    rows: Mapping[Key, Values]
    optional: frozenset[Key] = frozenset()


class Records(NamedTuple):
    """The records of one stream, to be spoiled: by what the simulator knows them, and the fields they hold.

    `own` are the fields that hold its own id, `names` those that name it or its parent; without one of the
    `required` there is no row.
    """

    ids: Sequence[str]
    fields: Sequence[str]
    own: Sequence[str]
    names: frozenset[str]
    required: frozenset[str]


class Platform(ABC):
    """One platform: how to reach its simulator, and what a warehouse should hold of it."""

    reopens = True
    """Whether what has ended may run again."""

    steps_endpoint: str
    """What the simulator calls the requests that bring the steps of an execution."""

    tells_totals = True
    """Whether every list tells its total, and not just one that is asked for it, as a pass need not."""

    names_events = True
    """Whether an event keeps its key whatever else it says: it has an id, or a place and a time of its own."""

    waits: tuple[str, ...] = ("429-seconds", "429-date", "429-bare", "503-retry-after")
    """The faults in which it asks to wait in a way of its own, or in one that everybody understands."""

    silent: Mapping[str, Any] = {}
    """A reading under which nothing is told of a limit before it is exceeded."""

    hard: Mapping[str, Mapping[str, Any]] = {}
    """Readings under which lists are hardest to prove, by a name."""

    step_names: frozenset[str] = frozenset()
    """Fields of an event that hold the name of its step, which keeps the one that it had when it was first read."""

    whole: Mapping[str, Any] = {}
    """A reading under which a record never leaves a field out."""

    by_number: Mapping[str, Any] = {}
    """A reading under which pages of executions are turned by number."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.simulation = simulated()[name]
        self.source = importlib.import_module(f"syncer.sources.{name}")

    @property
    def connect(self) -> Connect:
        """Opens the source of a configured tenant."""
        connect: Connect = self.source.connect
        return connect

    @property
    def lies(self) -> Sequence[str]:
        """The lies that its lists may tell a pass."""
        kinds = importlib.import_module(f"{self.simulation.__name__}.lies").KINDS
        return tuple(kind for kind in kinds if self.tells_totals or not kind.startswith("total"))

    def simulate(self, outline: Outline, *, clock: Clock | None = None, **readings: Any) -> Tenant:
        """A tenant of the simulator that reads its documents in this way."""
        switches = self.simulation.Switches(**readings)
        tenant: Tenant = self.simulation.Simulator(outline, switches=switches, clock=clock)
        return tenant

    def connection(self, simulator: Tenant, url: str, **changes: Any) -> Connection:
        """A connection to the simulator, without a pace of its own and final at once."""
        auth, options = self.auth(simulator)
        fixed = {
            "name": "flow",
            "platform": self.name,
            "base_url": url,
            "auth": auth,
            "options": options,
            "horizon": self.source.PLATFORM.horizon,
            "requests_per_second": 0,
            "settle": timedelta(0),
        }
        return settings(**{**fixed, **changes})

    def keys(self, name: str, simulator: Tenant, url: str, env: dict[str, str]) -> dict[str, object]:
        """The table of a connection of this name, final at once; its secrets go into the environment."""
        auth, options = self.auth(simulator)
        shown: dict[str, object] = {}
        for key, value in auth:
            shown[key] = value
            if isinstance(value, SecretText):
                variable = f"{name}_{key}".upper()
                env[variable] = value.get_secret_value()
                shown[key] = {"env": variable}
        fixed = {"platform": self.name, "base_url": url, "auth": shown}
        return fixed | dict(options) | {"settle": "0s", "requests_per_second": 0}

    def partition_of(self, simulator: Tenant, execution: Execution) -> str:
        """What the watermark belongs to that covers an execution."""
        return execution.workflow_id

    def tables(self, simulator: Tenant) -> dict[str, Table]:
        """Every table of this moment."""
        return {
            "workflows": self.workflows(simulator),
            "executions": self.executions(simulator),
            "step_events": self.step_events(simulator),
            "steps": self.steps(simulator),
            "step_io": self.step_io(simulator),
        }

    @abstractmethod
    def auth(self, simulator: Tenant) -> tuple[BaseModel, BaseModel]:
        """The credentials and the platform's own options."""

    @abstractmethod
    def records(self, simulator: Tenant) -> dict[str, Records]:
        """By stream: workflows, executions and steps, those of steps in the order of their executions."""

    @abstractmethod
    def workflows(self, simulator: Tenant) -> Table: ...
    @abstractmethod
    def executions(self, simulator: Tenant) -> Table: ...
    @abstractmethod
    def step_events(self, simulator: Tenant) -> Table: ...
    @abstractmethod
    def steps(self, simulator: Tenant) -> Table: ...
    @abstractmethod
    def step_io(self, simulator: Tenant) -> Table: ...


def platforms() -> dict[str, Platform]:
    """All that have a simulator, a source and a module here."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    found = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    return {name: module.PLATFORM for name, module in found.items()}


def each_platform() -> pytest.MarkDecorator:
    """Runs a test of `platform` for all of them."""
    return pytest.mark.parametrize("platform", platforms().values(), ids=platforms().keys())


def platform_of(simulator: Tenant) -> Platform:
    """The platform that is simulated."""
    return platforms()[type(simulator).__module__.split(".")[2]]


def at(ms: int | None) -> datetime | None:
    """Milliseconds since 1970 as the warehouse returns them."""
    return None if ms is None else datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=ms)


def served(simulator: Tenant) -> list[Execution]:
    """What a perfect reader finds at this moment."""
    horizon_ms = round(simulator.switches.horizon_days * 86_400_000)
    return simulator.truth.served(simulator.clock.now_ms(), horizon_ms)


def listed(simulator: Tenant) -> list[Workflow]:
    """Workflows that were not deleted."""
    return [each for each in simulator.truth.workflows.values() if each.deleted_ms is None]


def attempts(simulator: Tenant) -> list[Attempt]:
    """Every attempt of what is served."""
    return [attempt for execution in served(simulator) for attempt in execution.attempts]


def ended(simulator: Tenant) -> Execution:
    """Any execution that has ended."""
    return next(each for each in simulator.truth.executions.values() if each.ended_ms is not None)
