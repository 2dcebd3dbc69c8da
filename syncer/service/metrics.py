"""What Prometheus reads: counters of this process, and how far everything is copied as the warehouse knows it.

Invariant: counters count what has been committed; a gauge that is not known is absent, not 0. It must not ask the
warehouse itself: what is known of it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from syncer import __version__
from syncer.http import NO_ANSWER
from syncer.service.vitals import Polled, Vitals
from syncer.state.standing import Standing

__all__ = ["CONTENT_TYPE", "Metrics"]

TABLES = ("workflows", "executions", "step_events", "steps", "step_io")
"""Tables whose counters exist before their first row."""

Family = CounterMetricFamily | GaugeMetricFamily
Value = float | bool | datetime | None


class Metrics:
    """The figures of one service, as text."""

    def __init__(self, vitals: Vitals) -> None:
        self._registry = CollectorRegistry()
        self._figures = _Figures(vitals)
        ProcessCollector(registry=self._registry)
        self._registry.register(self._figures)

    def exposition(self, standings: Sequence[Standing] | None) -> bytes:
        """All figures in Prometheus' text format; without `standings` the warehouse counts as away."""
        self._figures.standings = standings
        return generate_latest(self._registry)


class _Figures(Collector):
    def __init__(self, vitals: Vitals) -> None:
        self._vitals = vitals
        self.standings: Sequence[Standing] | None = None

    def collect(self) -> Iterator[Metric]:
        pollers = self._vitals.pollers()
        yield InfoMetricFamily("syncer_build", "The running version.", {"version": __version__})
        yield _gauge("syncer_started_timestamp_seconds", "When the service began.", self._vitals.started_at)
        yield _gauge(
            "syncer_warehouse_up",
            "1 while the warehouse says how far everything is copied.",
            self.standings is not None,
        )
        yield from _counted(pollers)
        yield from self._polled(pollers)
        yield from _standing(self.standings or ())

    def _polled(self, pollers: Sequence[Polled]) -> Iterator[Metric]:
        up = _family("connection_up", "1 while the connection gets on; waiting is getting on.")
        _set(up, [(each.name, each.trouble is None) for each in pollers])
        _set(up, [(name, False) for name in self._vitals.broken])
        yield up
        success = _family(
            "last_success_timestamp_seconds", "End of the last complete poll of this process or another."
        )
        noted = {each.connection: each.last_success_at for each in self.standings or ()}
        _set(success, [(each.name, _latest(each.last_success_at, noted.get(each.name))) for each in pollers])
        yield success
        waiting = _family("not_before_timestamp_seconds", "End of the wait the source asked for; 0: no wait.")
        ends = {each.connection: each.waiting_until for each in self.standings or ()}
        _set(waiting, [(each.name, _latest(each.not_before, ends.get(each.name)) or 0) for each in pollers])
        yield waiting


def _counted(pollers: Iterable[Polled]) -> Iterator[Metric]:
    """What this process has done. The mappings grow meanwhile in another thread: copying one is atomic."""
    rows = CounterMetricFamily(
        "syncer_rows",
        "Rows committed by table; of workflows and executions those found unchanged, too.",
        labels=("connection", "table"),
    )
    requests = CounterMetricFamily(
        "syncer_requests",
        "Requests by endpoint and the answer's status; none: no usable answer.",
        labels=("connection", "endpoint", "status"),
    )
    waits = CounterMetricFamily("syncer_waits", "Waits that the source asked for.", labels=("connection",))
    for each in pollers:
        for table, count in (dict.fromkeys(TABLES, 0) | dict(each.rows)).items():
            rows.add_metric((each.name, table), count)
        for (endpoint, status), count in dict(each.traffic.answers).items():
            word = "none" if status == NO_ANSWER else str(status)
            requests.add_metric((each.name, endpoint, word), count)
        waits.add_metric((each.name,), each.waits)
    yield from (rows, requests, waits)


PER_CONNECTION = {
    "open_executions": "Executions whose copy is not final yet.",
    "steps_due": "Executions whose steps are still to be read.",
    "steps_failed": "Executions whose steps were put aside after repeated failures, and are still served.",
    "backlog_seconds": "Span of history not copied yet, over all partitions.",
    "backlog_windows": "Spans of history not finished.",
    "quarantined_records": "Records put aside because they have no usable identity.",
    "disputed_windows": "Windows whose reading does not agree with the total the source told.",
    "lost_windows": "Spans the source deleted before they were copied.",
    "seconds_until_deletion": "Seconds until the source deletes the oldest that is not copied; absent: all is.",
    "executions_arriving_per_hour": "Executions created at the source in an hour, over the last day.",
    "executions_copied_per_hour": "Executions finished in an hour, steps included, of late.",
    "falls_behind": "1 if at this pace the source deletes some before they are copied.",
}
"""Gauges with a value per connection: the names of Standing's fields, and what they mean."""


def _standing(standings: Sequence[Standing]) -> Iterator[Metric]:
    for name, meaning in PER_CONNECTION.items():
        family = _family(name, meaning)
        _set(family, [(each.connection, getattr(each, name)) for each in standings])
        yield family
    yield _lag(standings)
    yield _leases(standings)


def _lag(standings: Iterable[Standing]) -> Metric:
    family = GaugeMetricFamily(
        "syncer_watermark_lag_seconds",
        "Age of the instant before which everything has been read, by partition still followed.",
        labels=("connection", "partition"),
    )
    for each in standings:
        for row in each.partitions:
            if row["is_followed"] and row["lag_seconds"] is not None:
                family.add_metric((each.connection, row["partition"]), row["lag_seconds"])
    return family


def _leases(standings: Iterable[Standing]) -> Metric:
    family = GaugeMetricFamily(
        "syncer_leases_held",
        "Partitions and lanes a process works on at present.",
        labels=("connection", "owner"),
    )
    for each in standings:
        owners = [row["owner"] for row in each.leases]
        for owner in sorted(set(owners)):
            family.add_metric((each.connection, owner), owners.count(owner))
    return family


def _gauge(name: str, meaning: str, value: Value) -> Metric:
    return GaugeMetricFamily(name, meaning, value=_number(value))


def _family(name: str, meaning: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"syncer_{name}", meaning, labels=("connection",))


def _set(family: GaugeMetricFamily, values: Iterable[tuple[str, Value]]) -> None:
    """Give each connection its value, where there is one."""
    for connection, value in values:
        if value is not None:
            family.add_metric((connection,), _number(value))


def _number(value: float | bool | datetime | None) -> float:
    return value.timestamp() if isinstance(value, datetime) else float(value or 0)


def _latest(*instants: datetime | None) -> datetime | None:
    return max((each for each in instants if each is not None), default=None)
