"""
Drivers who reserve, wait, arrive, stop, cancel and go, EVSEs that break, and time that passes: over
any storage, with what has to hold after each step.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from evcharge.models.electric_car import CarModel, ElectricCar
from evcharge.models.evse import CABLE, Connector, Evse, kind_of
from evcharge.models.receipts import ENDS, Payment, Receipt
from evcharge.models.session import (
    CHARGING,
    FINISHED,
    FREE,
    LIVE,
    OFFERED,
    RESERVED,
    ChargingSession,
    Place,
)
from evcharge.models.slots import StationState
from evcharge.models.station import Station
from evcharge.models.tariffs import parse_tariff
from evcharge.models.terms import Terms
from evcharge.models.user import User
from evcharge.outcomes import Refusal
from evcharge.rules.claims import INTENTS, RESERVE, Claim, Wishes
from evcharge.rules.events import (
    MADE_AN_OFFER,
    Event,
    PaymentListed,
    PlaceLeft,
    PlaceTaken,
    ReceiptIssued,
    SessionChanged,
    SlotFreed,
    SlotTaken,
    told,
)
from evcharge.rules.journey import AddUser, FindStanding, ListStations, Standing
from evcharge.rules.leaving import CANCEL_IT, END_JOURNEY, HOWS, Leave
from evcharge.rules.operation import Operation
from evcharge.rules.operator import SetEvseStatus
from evcharge.rules.receipts import ListReceipts
from evcharge.rules.sweep import Sweep
from evcharge.rules.waiting import InLine
from evcharge.storage import Storage, carry_out
from evcharge.testing import NOON
from evcharge.watch.metrics import PAID, REFUNDED, SessionCounts

CCS = Connector("1", "CCS2", "IEC_62196_T2_COMBO", CABLE, "DC", 50.0)
TYPE_2 = Connector("1", "Type 2", "IEC_62196_T2", None, "AC_3_PHASE", 22.0)
FAST, SLOW = kind_of((CCS,), 50.0), kind_of((TYPE_2,), 22.0)

TARIFF = parse_tariff(
    {
        "id": "tudo",
        "currency": "BRL",
        "elements": [
            {
                "price_components": [
                    {"type": "ENERGY", "price": 2.15, "step_size": 1, "vat": 9},
                    {"type": "PARKING_TIME", "price": 30, "step_size": 60},
                ]
            },
            {
                "price_components": [{"type": "TIME", "price": 6, "step_size": 1}],
                "restrictions": {"reservation": "RESERVATION"},
            },
            {
                "price_components": [{"type": "FLAT", "price": 5, "step_size": 1}],
                "restrictions": {"reservation": "RESERVATION_EXPIRES"},
            },
        ],
    }
)

MIXED = Station(
    7,
    "Centro",
    "Rua A",
    -12.25,
    -38.95,
    3,
    price_kwh=Decimal("2.75"),
    own_evses=(Evse("7-1", FAST), Evse("7-2", SLOW), Evse("7-3", FAST)),
    tariff_id="tudo",
)
ALIKE = Station(
    8,
    "Sul",
    "Rua B",
    -12.26,
    -38.96,
    2,
    price_kwh=Decimal("1.99"),
    own_evses=(Evse("8-1", FAST), Evse("8-2", FAST)),
)
STATIONS = (MIXED, ALIKE)

CAR_FACTS: dict[str, dict[str, Any]] = {
    name: {
        "brand": "A",
        "model": name,
        "battery_capacity": capacity,
        "energy_consumption": 0.15,
        "max_speed": 150,
        "ac_connectors": ac,
        "dc_connectors": dc,
        "ac_power_kw": 11.0,
        "dc_power_kw": 50.0,
        "ac_phases": 3,
    }
    for name, capacity, ac, dc in (
        ("both", 50.0, ["Type 2"], ["CCS2"]),
        ("fast", 40.0, [], ["CCS2"]),
        ("slow", 20.0, ["Type 2"], []),
    )
}
CARS = {name: CarModel.from_facts(facts) for name, facts in CAR_FACTS.items()}

TERMS = Terms(time_scale=10.0, most_waiting=3)

USERS = [f"u{number}" for number in range(8)]


@attrs.define
class Seen:
    """What a storage has told its listeners."""

    events: list[Event] = attrs.field(factory=list)
    """All."""
    fresh: list[Event] = attrs.field(factory=list)
    """Those since they were looked at last."""

    def hear(self, events: Sequence[Event]) -> None:
        """Take them in."""
        self.events += events
        self.fresh += events


@attrs.define
class Replayed:
    """A station as its public events say it is."""

    held: dict[str, str] = attrs.field(factory=dict)
    """EVSE -> in which state it is held."""
    out: set[str] = attrs.field(factory=set)
    queue_length: int = 0
    said: tuple[int, int, int] | None = None
    """Available, all and waiting, where the last event said so."""


class DriversMachine(RuleBasedStateMachine):
    """
    Anything that drivers, an operator and time can do, in any order.

    :cvar make: a new, open storage that has :data:`STATIONS`, :data:`CARS` and :data:`TARIFF`.
    """

    make: Callable[[], Storage]

    def __init__(self) -> None:
        super().__init__()
        self.storage = type(self).make()
        self.seen = Seen()
        self.storage.listeners.append(self.seen.hear)
        self.now = NOON
        self.receipts = 0
        self.replayed: dict[str, Replayed] = defaultdict(Replayed)
        self.payments: dict[str, Decimal] = defaultdict(Decimal)
        """What was paid, by the receipt that it is for."""
        self.entries: set[str] = set()
        self.issued: dict[str, Receipt] = {}
        self.begun: dict[str, ChargingSession] = {}
        """Sessions that were reserved or charged, by receipt, as they were last."""
        self.line: dict[str, Place] = {}
        """Who waits, by what has happened."""
        self.left: Place | None = None
        """The place that was left last."""
        self.counts = SessionCounts(TERMS)
        """What the metrics make of it."""

    def teardown(self) -> None:
        self.storage.close()

    # What may happen

    def do(self, operation: Operation[Any]) -> Any:
        """Carry out an operation."""
        return carry_out(self.storage, operation)

    @initialize(cars=st.lists(st.sampled_from(sorted(CARS)), min_size=8, max_size=8))
    def log_in(self, cars: list[str]) -> None:
        """All of the drivers are there."""
        for user_id, name in zip(USERS, cars, strict=True):
            self.add(user_id, name, 20.0)

    def add(self, user_id: str, name: str, percent: float) -> None:
        """A driver logs in."""
        car = ElectricCar.charged_to(CARS[name], percent)
        self.do(AddUser(User(user_id, "Ana", car, self.now, name)))

    @rule(
        user_id=st.sampled_from(USERS),
        name=st.sampled_from(sorted(CARS)),
        percent=st.floats(0, 100),
    )
    def log_in_again(self, user_id: str, name: str, percent: float) -> None:
        """A driver who is gone comes back."""
        if isinstance(self.do(FindStanding(user_id)), Refusal):
            self.add(user_id, name, percent)

    @rule(
        user_id=st.sampled_from(USERS),
        station=st.sampled_from(["7", "8"]),
        intent=st.sampled_from(INTENTS),
        wait=st.booleans(),
        minutes=st.sampled_from([0.0, 5.0, 40.0]),
        until=st.sampled_from([None, 30.0, 95.0]),
        evse=st.sampled_from([None, None, None, "7-1", "7-2", "8-2"]),
        leaves=st.booleans(),
    )
    def claim(
        self,
        user_id: str,
        station: str,
        intent: str,
        wait: bool,
        minutes: float,
        until: float | None,
        evse: str | None,
        leaves: bool,
    ) -> None:
        """A driver wants something of a station."""
        self.receipts += 1
        wishes = Wishes(minutes, None, until, evse, leaves)
        wait = wait and intent == RESERVE
        receipt_id = f"r{self.receipts:06d}"
        found = self.do(Claim(user_id, station, receipt_id, self.now, TERMS, intent, wait, wishes))
        if isinstance(found, ChargingSession):
            # No hold or offer is honoured at or after its deadline.
            assert found.due_timestamp > self.now or found.state == CHARGING, found
            if intent == RESERVE:
                assert found.state == RESERVED, found
            else:
                assert found.state in (CHARGING, FINISHED), found
        elif isinstance(found, InLine):
            assert intent == RESERVE, found

    @rule(station=st.sampled_from(["7", "8"]), minutes=st.sampled_from([0.0, 5.0, 40.0]))
    def crowd(self, station: str, minutes: float) -> None:
        """All who have nothing yet want the same station, and wait in its line."""
        for user_id in USERS:
            if self.state(user_id) == FREE:
                self.claim(user_id, station, RESERVE, True, minutes, None, None, False)

    @precondition(lambda self: self.in_state(OFFERED))
    @rule(number=st.integers(0, 7), how=st.sampled_from([*INTENTS, CANCEL_IT, END_JOURNEY]))
    def answer(self, number: int, how: str) -> None:
        """One who is offered an EVSE says something."""
        offered = self.in_state(OFFERED)
        session = offered[number % len(offered)]
        if how in INTENTS:
            at = str(session.station_id)
            self.claim(session.user_id, at, how, False, 5.0, None, None, False)
        else:
            self.leave(session.user_id, how)

    @rule(user_id=st.sampled_from(USERS), how=st.sampled_from(HOWS))
    def leave(self, user_id: str, how: str) -> None:
        """A driver leaves, in one of the ways."""
        self.do(Leave(user_id, how, self.now, TERMS))

    @rule(
        evse=st.sampled_from(["7-1", "7-2", "7-3", "8-1", "8-2"]),
        status=st.sampled_from(["IN_SERVICE", "IN_SERVICE", "OUTOFORDER"]),
    )
    def set_status(self, evse: str, status: str) -> None:
        """An operator takes an EVSE out of service, or back."""
        state = self.do(SetEvseStatus(evse, status, None, self.now, TERMS))
        assert isinstance(state, StationState), state

    @rule(minutes=st.sampled_from([1.0, 5.0, 15.0, 20.0, 60.0, 300.0]))
    def pass_time(self, minutes: float) -> None:
        """Time passes, and nobody looks."""
        self.now += TERMS.real_s(minutes * 60)

    @rule()
    def sweep(self) -> None:
        """What is due ends."""
        result = self.do(Sweep(self.now, 0.0, TERMS))
        for session in self.sessions():
            assert session.due_timestamp > self.now, session
        dues = [session.due_timestamp for session in self.sessions()]
        # It may come too early, for what is over by then.
        assert not dues or result.next_due <= min(dues), (result, dues)

    # What has to hold

    def state(self, user_id: str) -> str | None:
        standing = self.do(FindStanding(user_id))
        return standing.state if isinstance(standing, Standing) else None

    def standings(self) -> list[Standing]:
        found = [self.do(FindStanding(user_id)) for user_id in USERS]
        return [standing for standing in found if isinstance(standing, Standing)]

    def in_state(self, state: str) -> list[ChargingSession]:
        return [session for session in self.sessions() if session.state == state]

    def sessions(self) -> list[ChargingSession]:
        return [s.session for s in self.standings() if s.session is not None]

    @invariant()
    def slots_add_up(self) -> None:
        """1, 2: all slots are free or held, and each is held once."""
        sessions = self.sessions()
        for state in self.do(ListStations()):
            here = [s for s in sessions if s.station_id == state.station.station_id]
            assert state.available_slots + len(here) == state.max_slots, state
            assert len({s.evse_uid for s in here}) == len(here), here
            assert {s.evse_uid for s in here} == set(state.held), (here, state)

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        """2, 3: no free EVSE fits anybody in line; who waits holds none."""
        for standing in self.standings():
            assert standing.session is None or standing.place is None, standing
            book = standing.book
            if standing.place is None or book is None:
                continue
            for evse in book.free():
                assert not standing.place.fits(evse.kind), (standing, evse)

    @invariant()
    def follow(self) -> None:
        """4, 5, 7, 8, 9: what has happened since goes together."""
        fresh, self.seen.fresh = self.seen.fresh, []
        for event in fresh:
            self.take_in(event)
        self.counts.happened(fresh)
        for event in told(fresh):
            self.replay(event.type, event.id_station, dict(event.data))
        for state in self.do(ListStations()):
            self.compare(state)
        for receipt_id, session in self.begun.items():
            live = any(s.receipt_id == receipt_id for s in self.sessions())
            assert live != (receipt_id in self.issued), session

    def take_in(self, event: Event) -> None:
        """Follow what was stored."""
        if isinstance(event, (SlotTaken, SessionChanged)):
            session = event.session
            assert session.state in LIVE, event
            if session.state != OFFERED:
                self.begun[session.receipt_id] = session
            if isinstance(event, SlotTaken) and session.state == OFFERED:
                self.check_turn(session)
        elif isinstance(event, PlaceTaken):
            assert event.place.user_id not in self.line, event
            self.line[event.place.user_id] = event.place
        elif isinstance(event, PlaceLeft):
            self.left = self.line.pop(event.place.user_id)
        elif isinstance(event, SlotFreed):
            assert (event.outcome is None) == (event.session.state != OFFERED), event
        elif isinstance(event, PaymentListed):
            self.check_payment(event.payment)
        elif isinstance(event, ReceiptIssued):
            self.check_receipt(event.receipt)

    def check_turn(self, session: ChargingSession) -> None:
        """4: who is offered an EVSE was the first in line whom it fits."""
        mine = self.left
        assert mine is not None and mine.user_id == session.user_id, (mine, session)
        state = self.do(ListStations()).get(str(session.station_id))
        evse = state.station.evse(session.evse_uid)
        for place in self.line.values():
            if place.station_id == mine.station_id and place.number < mine.number:
                assert not place.fits(evse.kind), (place, mine)

    def check_payment(self, payment: Payment) -> None:
        assert payment.receipt_id not in self.entries, payment
        self.entries.add(payment.receipt_id)
        # What is paid ahead is listed, be it nothing, as ever.
        assert payment.amount or payment.paid_timestamp is not None, payment
        self.payments[payment.refund_of or payment.receipt_id] += payment.amount

    def check_receipt(self, receipt: Receipt) -> None:
        """7, 8: a session has one receipt, of what was charged."""
        assert receipt.receipt_id not in self.issued, receipt
        self.issued[receipt.receipt_id] = receipt
        session, body = self.begun[receipt.receipt_id], receipt.body
        assert body["final"] is True
        energy, profile = body["energy_kwh"], session.profile
        if session.state in (RESERVED,):
            assert energy == 0.0, body
            return
        assert profile is not None
        charged = profile.until(body["charge_minutes"] * 60).energy_kwh
        assert abs(energy - charged) < 1e-4, (energy, charged)
        assert body["end_percent"] <= max(body["start_percent"], session.target_percent) + 1e-6
        if body["end_reason"] in ("target", "idle_limit"):
            assert abs(energy - profile.energy_kwh) < 1e-4 or session.stopped_timestamp, body

    @invariant()
    def metrics_add_up(self) -> None:
        """What is counted is what is there, and each offer and each receipt is counted once."""
        counts = self.counts
        assert counts.receipts.total() == len(self.issued), counts.receipts
        assert set(counts.receipts) == set(ENDS), counts.receipts
        assert sum(counts.billed.values()) == sum(r.total for r in self.issued.values())
        assert counts.paid[PAID] - counts.paid[REFUNDED] == sum(self.payments.values())
        offered = sum(session.state == OFFERED for session in self.sessions())
        assert counts.changes[OFFERED] == counts.offers.total() + offered, counts.offers
        assert counts.changes[OFFERED] == sum(counts.waits[MADE_AN_OFFER].counts), counts.waits

    @precondition(lambda self: self.issued)
    @invariant()
    def money_adds_up(self) -> None:
        """7: what was paid for a session is what its receipt says, which its driver finds."""
        for receipt_id, receipt in self.issued.items():
            assert self.payments[receipt_id] == receipt.total, (receipt, self.payments)
        found = [r for user_id in USERS for r in self.do(ListReceipts(user_id, 1000))]
        assert {r.receipt_id: r.body for r in found} == {
            receipt_id: receipt.body for receipt_id, receipt in self.issued.items()
        }

    def replay(self, kind: str, id_station: str | None, data: dict[str, Any]) -> None:
        """9: follow a public event."""
        station = self.replayed[id_station or ""]
        secrets = {*USERS, *self.begun, *self.issued}
        assert not secrets & {value for value in data.values() if isinstance(value, str)}, data
        if kind == "slot.taken":
            station.held.setdefault(data["id_evse"], "?")
        elif kind == "slot.freed":
            del station.held[data["id_evse"]]
        elif kind == "session.changed":
            assert (data["from"], data["to"]) != ("FREE", "FREE"), data
            if data["to"] in LIVE:
                station.held[data["id_evse"]] = data["to"]
        elif kind == "queue.changed":
            station.queue_length = data["queue_length"]
        elif kind == "evse.status":
            in_service = data["status"] == "IN_SERVICE"
            (station.out.discard if in_service else station.out.add)(data["id_evse"])
        if kind.startswith("slot."):
            names = ("available_slots", "max_slots", "queue_length")
            station.said = tuple(data[name] for name in names)  # type: ignore[assignment]
        else:
            station.said = None

    def compare(self, state: StationState) -> None:
        """9: a station is as its public events say."""
        station, replayed = state.station, self.replayed[state.station.key]
        assert {uid: held for uid, (held, _) in state.held.items()} == replayed.held
        assert state.queue_length == replayed.queue_length
        uids = {evse.uid for evse in station.evses}
        free = uids - replayed.out - replayed.held.keys()
        assert state.available_slots == len(free)
        assert state.max_slots == len(free) + len(replayed.held)
        if replayed.said is not None:
            shown = (state.available_slots, state.max_slots, state.queue_length)
            assert replayed.said == shown, (replayed.said, shown)
