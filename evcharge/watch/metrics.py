"""
What the server counts: plain numbers, as counting stands in each request's way.

They become Prometheus's metrics in :mod:`evcharge.watch.exposition`, when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import attrs

from evcharge.models.receipts import ENDS, Payment, Receipt
from evcharge.models.session import LIVE
from evcharge.models.slots import StationState
from evcharge.models.tariffs import LINE_DIMENSIONS
from evcharge.models.terms import DEFAULT_TERMS, Terms
from evcharge.rules.events import (
    OFFER_ENDS,
    PLACE_ENDS,
    Event,
    PaymentListed,
    PlaceLeft,
    ReceiptIssued,
    SessionChanged,
    SlotFreed,
    SlotTaken,
)
from evcharge.rules.sweep import SweepResult

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
SIZES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)
LAGS = tuple(sorted((*SECONDS, 0.15, 0.2)))
STATIONS = (1.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0)
STOPS = tuple(float(stops) for stops in range(11))
GAPS_S = (0.0, 1.0, 10.0, 60.0, 300.0, 600.0, 1800.0, 3600.0)
WAITS_S = tuple(minutes * 60.0 for minutes in (1, 2, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240))

PAID, REFUNDED = PAYMENT_KINDS = ("paid", "refunded")
"""Which way the money of a payment goes."""


class Histogram:
    """
    Counts values by the bucket that they fall into.

    :param bounds: the most that each bucket takes, in ascending order; one more takes the rest.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """As Prometheus wants them: each bucket's bound, and the values up to it."""
        so_far = 0
        buckets = []
        for bound, count in zip([*map(str, self.bounds), "+Inf"], self.counts, strict=True):
            so_far += count
            buckets.append((bound, float(so_far)))
        return buckets


@attrs.frozen
class Present:
    """What is so just now, as nobody counts it; `stations` is empty where the storage is away."""

    is_ready: bool
    connections: int
    most_connections: int
    received_bytes: int
    sent_bytes: int
    stations: Sequence[StationState]
    websockets: int | None = None
    """Open connections of WebSocket; None: there is no web port."""
    subscribers: Mapping[str, int] = attrs.field(factory=dict)
    """How many listen, by form."""


class SessionCounts:
    """
    What this process has made of sessions, lines, offers, receipts and money since it started.

    All that may be is counted from 0 on, as what is not there before its first increase seems not
    to increase.

    :param terms: what sessions go by.
    """

    def __init__(self, terms: Terms = DEFAULT_TERMS) -> None:
        self.terms = terms
        self.changes: Counter[str] = Counter(dict.fromkeys(LIVE, 0))
        """How often a session has come into a state that holds an EVSE."""
        self.waits = {end: Histogram(WAITS_S) for end in PLACE_ENDS}
        """How long places in line have stood, simulated seconds, by what became of them."""
        self.offers: Counter[str] = Counter(dict.fromkeys(OFFER_ENDS, 0))
        """Offers that are over, by what became of them."""
        self.receipts: Counter[tuple[str, str]] = Counter(dict.fromkeys(ENDS, 0))
        """Receipts, by the state in which the session ended, and why."""
        self.billed = dict.fromkeys(ENDS, Decimal(0))
        """What they come to, BRL, likewise."""
        self.energy_kwh = 0.0
        """What was charged by them, as far as it is known."""
        self.lines = dict.fromkeys(LINE_DIMENSIONS, Decimal(0))
        """What their lines come to, BRL with VAT; of the highest price, what it takes off."""
        self.payments: Counter[str] = Counter(dict.fromkeys(PAYMENT_KINDS, 0))
        """How often something was paid, or given back."""
        self.paid = dict.fromkeys(PAYMENT_KINDS, Decimal(0))
        """How much, BRL."""

    def happened(self, events: Sequence[Event]) -> None:
        """Count what has happened."""
        for event in events:
            if isinstance(event, SlotTaken):
                self.changes[event.session.state] += 1
            elif isinstance(event, SessionChanged):
                if event.before.state != event.session.state:
                    self.changes[event.session.state] += 1
                self._offer_ended(event.outcome)
            elif isinstance(event, SlotFreed):
                self._offer_ended(event.outcome)
            elif isinstance(event, PlaceLeft):
                waited_s = self.terms.simulated_s(event.place.joined_timestamp, event.at)
                self.waits[event.why].observe(waited_s)
            elif isinstance(event, ReceiptIssued):
                self._issued(event.receipt)
            elif isinstance(event, PaymentListed):
                self._listed(event.payment)

    def _offer_ended(self, outcome: str | None) -> None:
        if outcome is not None:
            self.offers[outcome] += 1

    def _issued(self, receipt: Receipt) -> None:
        body = receipt.body
        end = body["state"], body["end_reason"]
        self.receipts[end] += 1
        self.billed[end] += receipt.total
        self.energy_kwh += body["energy_kwh"] or 0.0
        for line in body["lines"]:
            self.lines[line["dimension"]] += abs(Decimal(str(line["incl_vat"])))

    def _listed(self, payment: Payment) -> None:
        kind = REFUNDED if payment.amount < 0 else PAID
        self.payments[kind] += 1
        self.paid[kind] += abs(payment.amount)


class PlanCounts:
    """What trips have come to that were searched for in other processes."""

    def __init__(self) -> None:
        self.seconds = Histogram(SECONDS)
        """How long a search took."""
        self.stations = Histogram(STATIONS)
        """How many it has considered."""
        self.stops = Histogram(STOPS)
        """How many the plan has, of a front the fastest; likewise,"""
        self.gaps_s = Histogram(GAPS_S)
        """by how much any other can be better, seconds, where that is known."""
        self.impossible = 0
        """For how many trips there was no plan."""
        self.waiting = 0
        """How many wait for a planner just now."""
        self.lost = 0
        """How often a planner has died, or could not be started."""

    def searched(
        self, seconds: float, stations: int, stops: int | None, gap_s: float | None
    ) -> None:
        """A search has ended; with no stops, None: there is no plan."""
        self.seconds.observe(seconds)
        self.stations.observe(stations)
        if stops is None:
            self.impossible += 1
        else:
            self.stops.observe(stops)
        if gap_s is not None:
            self.gaps_s.observe(gap_s)


class Metrics:
    """
    Everything that is counted since the process started.

    :param reasons: why clients may be refused: :data:`evcharge.net.guards.REASONS`. Each is counted
        from 0 on, as one that is not there before its first increase seems not to increase.
    :param terms: what sessions go by.
    """

    def __init__(self, reasons: Iterable[str] = (), terms: Terms = DEFAULT_TERMS) -> None:
        self.sessions = SessionCounts(terms)
        self.plans = PlanCounts()
        self.requests: Counter[tuple[str, int]] = Counter()
        self.latencies: dict[str, Histogram] = {}
        self.refusals: Counter[str] = Counter(dict.fromkeys(reasons, 0))
        self.batch_sizes = Histogram(SIZES)
        self.batch_seconds = Histogram(SECONDS)
        self.retries = 0
        self.sweep_seconds = Histogram(SECONDS)
        self.sweeps_failed = 0
        self.lines_told: Counter[str] = Counter()
        """By the form of who was told."""
        self.lines_spared = 0
        self.lags = Histogram(LAGS)
        self.operator_requests: Counter[int] = Counter()
        """How often operators were answered, by the code; empty where they may not ask."""
        self.web_requests: Counter[tuple[str, int]] = Counter()
        """How often the web ports have answered, by the route and HTTP's code."""
        self.websockets_closed: Counter[int] = Counter()
        """WebSocket connections that have ended, by the code of their Close."""
        self.freed = 0
        self.removed = 0

    def answered(self, kind: str, code: int, seconds: float) -> None:
        """A request of type `kind` was answered with `code`, so long after it had come."""
        self.requests[kind, code] += 1
        histogram = self.latencies.get(kind)
        if histogram is None:
            histogram = self.latencies[kind] = Histogram(SECONDS)
        histogram.observe(seconds)

    def refused(self, reason: str) -> None:
        """A client was refused; why is one of the reasons."""
        self.refusals[reason] += 1

    def carried_out(self, size: int, seconds: float, attempts: int) -> None:
        """The storage has done with a batch of `size` operations, one way or the other."""
        self.batch_sizes.observe(size)
        self.batch_seconds.observe(seconds)
        self.retries += attempts - 1

    def told(self, form: str, lag_s: float | None) -> None:
        """
        A subscriber was told what has changed.

        :param lag_s: how long after that was durable; None where it had to wait for the subscriber.
        """
        self.lines_told[form] += 1
        if lag_s is not None:
            self.lags.observe(lag_s)

    def spared(self, lines: int) -> None:
        """So many lines were not sent, as a later one says the same."""
        self.lines_spared += lines

    def swept(self, seconds: float, result: SweepResult | None) -> None:
        """A sweep has ended; None: it failed."""
        self.sweep_seconds.observe(seconds)
        if result is None:
            self.sweeps_failed += 1
        else:
            self.freed += result.freed
            self.removed += result.removed
