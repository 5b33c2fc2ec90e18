"""A run's status as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from weft.runtime.status import Status


class _Families(Collector):
    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        status = self._status
        rows = CounterMetricFamily("weft_rows", "Committed rows by their end.", labels=["end"])
        for end in ("accepted", "rejected", "dead"):
            rows.add_metric([end], getattr(status.rows, end))
        yield rows
        yield GaugeMetricFamily("weft_rows_in_flight", "Rows on their way.", status.rows.in_flight)
        yield CounterMetricFamily(
            "weft_rows_reissued", "Rows that died with their holders.", status.rows.reissued
        )
        tokens = CounterMetricFamily("weft_tokens", "Tokens asked and answered.", labels=["kind"])
        tokens.add_metric(["prompt"], status.tokens.prompt)
        tokens.add_metric(["completion"], status.tokens.completion)
        yield tokens
        labels = ["pool", "instance"]
        inbox = GaugeMetricFamily("weft_inbox", "Messages waiting.", labels=labels)
        busy = GaugeMetricFamily("weft_in_work", "Messages in work.", labels=labels)
        hops = CounterMetricFamily("weft_hops", "Rows handled.", labels=labels)
        seconds = CounterMetricFamily("weft_handle_seconds", "Spent in handling.", labels=labels)
        memory = GaugeMetricFamily("weft_resident_bytes", "Resident memory.", labels=labels)
        for pool in status.pools:
            for instance in pool.instances:
                names = [pool.name, instance.name]
                inbox.add_metric(names, instance.inbox)
                busy.add_metric(names, instance.in_flight)
                hops.add_metric(names, instance.hops)
                seconds.add_metric(names, instance.seconds)
                memory.add_metric(names, instance.rss)
        yield from (inbox, busy, hops, seconds, memory)


def exposition(status: Status) -> bytes:
    """The text format, version 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(status))
    return generate_latest(registry)
