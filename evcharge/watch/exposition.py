"""The server's metrics, as Prometheus reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

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
from evcharge.models.session import LIVE
from evcharge.models.slots import StationState
from evcharge.push import FORMS
from evcharge.watch.metrics import Metrics, PlanCounts, Present, SessionCounts

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
        ("evcharge_slots_freed", "Slots freed as their time was up.", metrics.freed),
        (
            "evcharge_users_removed",
            "Users removed who held nothing.",
            metrics.removed,
        ),
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
    if present.websockets is not None:
        yield from _web(metrics, present.websockets)
    if metrics.operator_requests:
        yield operator_requests(metrics.operator_requests)
    yield from _plans(metrics.plans)
    yield from session_families(metrics.sessions)
    yield from _network(present.stations)
    yield GaugeMetricFamily(
        "evcharge_queue_limit",
        "Drivers who may wait in one line.",
        metrics.sessions.terms.most_waiting,
    )
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


def _plans(counts: PlanCounts) -> Iterator[Metric]:
    for name, text, histogram in (
        ("evcharge_plan_duration_seconds", "What a search for a plan took.", counts.seconds),
        ("evcharge_plan_stations", "Stations that one has considered.", counts.stations),
        ("evcharge_plan_stops", "Stops of the plan found.", counts.stops),
        ("evcharge_plan_gap_seconds", "By how much another may be better.", counts.gaps_s),
    ):
        family = HistogramMetricFamily(name, text)
        family.add_metric([], histogram.buckets(), histogram.total)
        yield family
    yield CounterMetricFamily(
        "evcharge_plans_impossible", "Trips without any plan.", counts.impossible
    )
    yield GaugeMetricFamily("evcharge_plan_queue", "Trips that wait for a planner.", counts.waiting)
    yield CounterMetricFamily(
        "evcharge_planners_lost", "Planners that died, or could not be started.", counts.lost
    )


def _web(metrics: Metrics, websockets: int) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "evcharge_web_requests", "Answers at the web ports.", labels=["route", "code"]
    )
    for (route, code), count in metrics.web_requests.items():
        requests.add_metric([route, str(code)], count)
    yield requests
    yield GaugeMetricFamily("evcharge_websockets", "Open WebSocket connections.", websockets)
    closed = CounterMetricFamily(
        "evcharge_websocket_closed",
        "WebSocket connections that have ended, by the code of their Close.",
        labels=["code"],
    )
    for code, count in metrics.websockets_closed.items():
        closed.add_metric([str(code)], count)
    yield closed


def operator_requests(counts: Mapping[int, int]) -> Metric:
    """How often operators were answered, by the code."""
    family = CounterMetricFamily(
        "evcharge_operator_requests", "Requests of operators answered.", labels=["code"]
    )
    for code, count in counts.items():
        family.add_metric([str(code)], count)
    return family


def session_families(counts: SessionCounts) -> Iterator[Metric]:
    """What was made of sessions, lines, offers, receipts and money."""
    yield _by(
        "state",
        counts.changes,
        "evcharge_session_changes",
        "How often a session has come into a state.",
    )
    waits = HistogramMetricFamily(
        "evcharge_queue_wait_seconds",
        "How long places in queues have stood, simulated seconds.",
        labels=["outcome"],
    )
    for outcome, histogram in counts.waits.items():
        waits.add_metric([outcome], histogram.buckets(), histogram.total)
    yield waits
    yield _by("outcome", counts.offers, "evcharge_offers", "Offers that are over.")
    receipts = CounterMetricFamily(
        "evcharge_receipts", "Receipts issued.", labels=["state", "end_reason"]
    )
    billed = CounterMetricFamily(
        "evcharge_receipts_brl", "What they come to, with VAT.", labels=["state", "end_reason"]
    )
    for end, count in counts.receipts.items():
        receipts.add_metric(end, count)
        billed.add_metric(end, float(counts.billed[end]))
    yield receipts
    yield billed
    yield CounterMetricFamily(
        "evcharge_receipts_energy_kwh", "What was charged by them.", counts.energy_kwh
    )
    yield _by(
        "dimension",
        counts.lines,
        "evcharge_receipt_lines_brl",
        "What their lines come to, with VAT; of MAX_PRICE, what it takes off.",
    )
    yield _by("kind", counts.payments, "evcharge_payments", "Payments listed.")
    yield _by("kind", counts.paid, "evcharge_payments_brl", "What they come to.")


def _by(label: str, counts: Mapping[str, int | Decimal], name: str, text: str) -> Metric:
    """A counter with one label."""
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], float(count))
    return family


def _network(stations: Sequence[StationState]) -> Iterator[Metric]:
    if not stations:
        return
    out = sum(1 for state in stations if state.max_slots == 0)
    full = sum(1 for state in stations if state.available_slots == 0) - out
    held = Counter(each for state in stations for each, _ in state.held.values())
    lengths = [state.queue_length for state in stations]
    yield _gauge(
        "evcharge_stations",
        "Stations of the network.",
        {"available": len(stations) - full - out, "full": full, "out_of_service": out},
    )
    yield _gauge(
        "evcharge_slots",
        "Their slots.",
        {
            "free": sum(state.available_slots for state in stations),
            "taken": held.total(),
            "out_of_service": sum(k.out_of_service for state in stations for k in state.kinds),
        },
    )
    yield _gauge(
        "evcharge_sessions",
        "Sessions that hold one of them.",
        {state: held[state] for state in LIVE},
    )
    yield GaugeMetricFamily("evcharge_queue_length", "Drivers who wait in a queue.", sum(lengths))
    yield GaugeMetricFamily("evcharge_queue_longest", "Those of the longest line.", max(lengths))


def _gauge(name: str, text: str, by_state: Mapping[str, int]) -> Metric:
    """A gauge by state."""
    family = GaugeMetricFamily(name, text, labels=["state"])
    for state, count in by_state.items():
        family.add_metric([state], count)
    return family


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
        known = families.setdefault(
            metric.name, Metric(metric.name, metric.documentation, metric.type)
        )
        for sample in metric.samples:
            labels = {**sample.labels, "worker": "parent"}
            known.samples.append(sample._replace(labels=labels))
    registry = CollectorRegistry()
    registry.register(_Once([up, *families.values()]))
    return generate_latest(registry)
