"""The server's metrics, as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from evcharge import __version__
from evcharge.models.slots import StationState
from evcharge.push import FORMS
from evcharge.watch.metrics import Metrics, Present

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def families(metrics: Metrics, present: Present) -> Iterator[Metric]:
    """What was counted, and what is so just now, as metrics."""
    requests = CounterMetricFamily(
        "evcharge_requests", "Requests answered.", labels=["type", "code"]
    )
    for (kind, code), count in metrics.requests.items():
        requests.add_metric([kind, str(code)], count)
    yield requests
    # By itself, as a counter that is not there before its first increase seems not to increase.
    yield CounterMetricFamily(
        "evcharge_incidents",
        "Requests that a fault of the server kept from being answered.",
        sum(count for (_, code), count in metrics.requests.items() if code == 500),
    )
    latencies = HistogramMetricFamily(
        "evcharge_request_duration_seconds",
        "From when a request is taken up to its reply.",
        labels=["type"],
    )
    for kind, histogram in metrics.latencies.items():
        latencies.add_metric([kind], histogram.buckets(), histogram.total)
    yield latencies
    refused = CounterMetricFamily(
        "evcharge_refused", "Clients refused by a limit.", labels=["reason"]
    )
    for reason, count in metrics.refusals.items():
        refused.add_metric([reason], count)
    yield refused
    yield GaugeMetricFamily("evcharge_ready", "Whether /health/ready says so.", present.is_ready)
    yield GaugeMetricFamily("evcharge_connections", "Open connections.", present.connections)
    yield GaugeMetricFamily(
        "evcharge_connections_limit",
        "Connections that may be open.",
        present.most_connections,
    )
    for name, text, count in (
        ("evcharge_received_bytes", "Bytes read from drivers.", present.received_bytes),
        ("evcharge_sent_bytes", "Bytes of replies.", present.sent_bytes),
        ("evcharge_storage_retries", "Batches that were tried once more.", metrics.retries),
        ("evcharge_sweeps_failed", "Sweeps that failed.", metrics.sweeps_failed),
        ("evcharge_slots_freed", "Slots freed as their charging had ended.", metrics.freed),
        ("evcharge_users_removed", "Users removed who never paid.", metrics.removed),
    ):
        yield CounterMetricFamily(name, text, count)
    for name, text, histogram in (
        ("evcharge_storage_batch_size", "Operations in a batch.", metrics.batch_sizes),
        ("evcharge_storage_batch_duration_seconds", "What one took.", metrics.batch_seconds),
        ("evcharge_sweep_duration_seconds", "What a sweep took.", metrics.sweep_seconds),
    ):
        family = HistogramMetricFamily(name, text)
        family.add_metric([], histogram.buckets(), histogram.total)
        yield family
    yield from _push(metrics, present)
    if metrics.operator_requests:
        yield operator_requests(metrics.operator_requests)
    yield from _network(present.stations)
    build = GaugeMetricFamily("evcharge_build_info", "The version.", labels=["version"])
    build.add_metric([__version__], 1)
    yield build


def _push(metrics: Metrics, present: Present) -> Iterator[Metric]:
    subscribers = GaugeMetricFamily(
        "evcharge_subscribers", "Who listen to what changes.", labels=["form"]
    )
    sent = CounterMetricFamily(
        "evcharge_events_sent", "Events that they were sent.", labels=["form"]
    )
    for form in FORMS:
        subscribers.add_metric([form], present.subscribers.get(form, 0))
        sent.add_metric([form], metrics.lines_told[form])
    yield subscribers
    yield sent
    yield CounterMetricFamily(
        "evcharge_events_coalesced",
        "Events that were not sent, as a later one says the same.",
        metrics.lines_spared,
    )
    lags = HistogramMetricFamily(
        "evcharge_live_lag_seconds",
        "From when a change is durable until a subscriber is sent it who reads, and did not wish "
        "for longer pauses.",
    )
    lags.add_metric([], metrics.lags.buckets(), metrics.lags.total)
    yield lags


def operator_requests(counts: Mapping[int, int]) -> Metric:
    """How often operators were answered, by the code."""
    family = CounterMetricFamily(
        "evcharge_operator_requests", "Requests of operators answered.", labels=["code"]
    )
    for code, count in counts.items():
        family.add_metric([str(code)], count)
    return family


def _network(stations: Sequence[StationState]) -> Iterator[Metric]:
    if not stations:
        return
    full = sum(1 for state in stations if state.available_slots == 0)
    free = sum(state.available_slots for state in stations)
    slots = sum(state.station.max_slots for state in stations)
    by_state = GaugeMetricFamily("evcharge_stations", "Stations in service.", labels=["state"])
    by_state.add_metric(["available"], len(stations) - full)
    by_state.add_metric(["full"], full)
    yield by_state
    by_use = GaugeMetricFamily("evcharge_slots", "Their slots.", labels=["state"])
    by_use.add_metric(["free"], free)
    by_use.add_metric(["taken"], slots - free)
    yield by_use


class _Once:
    """A collector of metrics that are there already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        return self._families


def exposition(families: Iterable[Metric]) -> bytes:
    """`families`, and the figures of this process, as Prometheus reads them."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    registry.register(_Once(families))
    return generate_latest(registry)


def together(expositions: Mapping[int, str | None], own: Iterable[Metric] = ()) -> bytes:
    """
    The metrics of all workers, each with a label that says whose it is: so that a counter which
    starts again with its worker is understood.

    :param expositions: by the worker's number; None where it did not answer.
    :param own: what the parent itself has counted.
    """
    up = GaugeMetricFamily("evcharge_worker_up", "Whether the worker answers.", labels=["worker"])
    families: dict[str, Metric] = {}
    for number, text in expositions.items():
        up.add_metric([str(number)], float(text is not None))
        for family in text_string_to_metric_families(text or ""):
            known = families.setdefault(
                family.name, Metric(family.name, family.documentation, family.type)
            )
            for sample in family.samples:
                labels = {**sample.labels, "worker": str(number)}
                known.samples.append(Sample(sample.name, labels, sample.value))
    for metric in own:
        metric.samples = [
            sample._replace(labels={**sample.labels, "worker": "parent"})
            for sample in metric.samples
        ]
        families[metric.name] = metric
    registry = CollectorRegistry()
    registry.register(_Once([up, *families.values()]))
    return generate_latest(registry)
