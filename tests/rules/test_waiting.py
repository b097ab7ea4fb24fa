"""The line of a station: who may take what, and when one's turn is."""

from typing import Any

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.electric_car import CarModel, ElectricCar
from evcharge.models.evse import Connector, Evse, kind_of
from evcharge.models.session import (
    FINISHED,
    OFFERED,
    RESERVED,
    ChargingSession,
    Place,
)
from evcharge.models.slots import SlotTable
from evcharge.models.station import Station
from evcharge.models.terms import Terms
from evcharge.models.user import User
from evcharge.outcomes import Refusal
from evcharge.rules import claims
from evcharge.rules.claims import Claim, Wishes
from evcharge.rules.events import Event, SlotTaken
from evcharge.rules.journey import AddUser, FindStanding, Standing
from evcharge.rules.leaving import CANCEL_IT, Leave
from evcharge.rules.sweep import Sweep
from evcharge.rules.waiting import InLine, Turn, next_offer, open_to, position, turn
from evcharge.storage import carry_out
from evcharge.storage.memory import MemoryStorage
from evcharge.testing import NOON
from tests.support.drivers_machine import ALIKE, CAR_FACTS, CARS, FAST, SLOW
from tests.support.examples import examples, given
from tests.support.operations import a_session

TERMS = Terms()
MIN = 60.0
KIND = kind_of((Connector("1", "CCS2", "IEC_62196_T2_COMBO", power_type="DC"),), 60.0)
CAR = CarModel("A", "B", 60.0, 0.15, 150.0)
"""With nothing else known it takes 1 kWh a minute there: 1 % is 0.6 minutes."""
PLACE = Station(
    7, "Centro", "Rua A", -12.25, -38.95, 2, own_evses=(Evse("7-2", KIND), Evse("7-1", KIND))
)
HERE = (Evse("7-1", FAST), Evse("7-2", SLOW), Evse("7-3", FAST))
MIXED = attrs.evolve(PLACE, own_evses=HERE, max_slots=3)


def driver(user_id: str, model: CarModel = CAR) -> User:
    return User(user_id, "Ana", ElectricCar.charged_to(model, 10.0), NOON)


def waits(
    user_id: str, number: int, minutes: float = 0.0, away: float = 0.0, model: CarModel = CAR
) -> Place:
    """A place of one who charges for some minutes, and is some minutes away."""
    return Place(driver(user_id, model), 7, number, NOON, away, 10.0, 10.0 + minutes / 0.6)


def charges(evse: str, ends: float, **more: Any) -> ChargingSession:
    """A session that charges at an EVSE for some minutes yet."""
    session = a_session(f"at-{evse}", end=NOON + ends * MIN, evse=evse)
    return attrs.evolve(session, **more)


def table(sessions: list[ChargingSession], *waiting: Place) -> SlotTable:
    return SlotTable(7, 2, {s.user_id: s for s in sessions}, waiting=waiting)


class TurnTests(SynchronousTestCase):
    """When a turn is expected, at the earliest and at the latest."""

    def expect(self, slots: SlotTable, mine: Place | None, *minutes: float) -> None:
        found = turn(PLACE, slots, NOON, TERMS, CAR, mine)
        assert found is not None
        for shown, right in zip(attrs.astuple(found), minutes, strict=True):
            self.assertAlmostEqual(shown, right, 6)

    def test_example(self) -> None:
        """One EVSE ends in 12 minutes, the other in 20, and that car may stay for 30 more."""
        first = charges("7-1", 12)
        second = charges("7-2", 20, leaves_when_done=False)
        a, b, me = waits("a", 1, 25), waits("b", 2, 30, 6), waits("me", 3)
        self.expect(table([first, second], me), me, 12, 12, 12)
        self.expect(table([first, second], a, me), me, 20, 12, 50)
        self.expect(table([first, second], a, b, me), me, 37, 12, 87)
        # So it is for one who joins now.
        self.expect(table([first, second], a, b), None, 37, 12, 87)

    def test_each_state(self) -> None:
        """An EVSE is free as its session may go, as planned, at the earliest and at the latest."""
        never = charges("7-2", 10_000)
        kept: dict[str, Any] = {"leaves_when_done": False, "charge_minutes": 20.0}
        reserved = charges("7-1", 26, state=RESERVED, expires_timestamp=NOON + 21 * MIN, **kept)
        offered = charges(
            "7-1",
            26,
            state=OFFERED,
            since_timestamp=NOON,
            expires_timestamp=NOON + 5 * MIN,
            **kept,
        )
        finished = charges("7-1", -1, state=FINISHED, expires_timestamp=NOON + 29 * MIN, **kept)
        for session, minutes in (
            (reserved, (26, 0, 21 + 20 + 30)),
            (offered, (26, 0, 5 + 15 + 6 + 20 + 30)),
            (finished, (0, 0, 29)),
        ):
            self.expect(table([session, never]), None, *minutes)
        # One who is late is expected to come now.
        late = attrs.evolve(reserved, estimated_timestamp=NOON + 10 * MIN)
        self.expect(table([late, never]), None, 20, 0, 21 + 20 + 30)
        self.expect(table([never]), None, 0, 0, 0)

    def test_time_scale(self) -> None:
        """Minutes are simulated ones."""
        found = turn(PLACE, table([charges("7-1", 12), charges("7-2", 50)]), NOON, Terms(10.0), CAR)
        self.assertEqual(found, Turn(120, 120, 120))

    def test_no_turn(self) -> None:
        """Where nothing that fits is in service, nobody knows."""
        out = attrs.evolve(
            MIXED, own_evses=tuple(attrs.evolve(e, status="OUTOFORDER") for e in MIXED.evses)
        )
        self.assertIsNone(turn(out, table([]), NOON, TERMS, CAR))
        only = attrs.evolve(MIXED, own_evses=(Evse("7-2", SLOW),))
        self.assertIsNone(turn(only, table([]), NOON, TERMS, CARS["fast"]))


class KnownTurnTests(SynchronousTestCase):
    """A turn that was worked out before is what working it out again would say."""

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["CHARGING", RESERVED, OFFERED, FINISHED]),
                st.floats(0.5, 40.0),
                st.booleans(),
            ),
            max_size=2,
        ),
        st.lists(st.tuples(st.floats(1.0, 50.0), st.floats(0.0, 30.0)), min_size=1, max_size=4),
        st.lists(st.floats(0.0, 60.0), min_size=2, max_size=4),
    )
    @settings(max_examples=examples(100), deadline=None)
    def test_as_anew(
        self,
        held: list[tuple[str, float, bool]],
        line: list[tuple[float, float]],
        after: list[float],
    ) -> None:
        """Whoever stands at the EVSEs, and whenever one asks."""
        sessions = [
            charges(
                f"7-{number}",
                ends,
                state=state,
                leaves_when_done=leaves,
                since_timestamp=NOON,
                expires_timestamp=None if state == "CHARGING" else NOON + ends * MIN,
            )
            for number, (state, ends, leaves) in enumerate(held, 1)
        ]
        waiting = [waits(f"u{n}", n, *each) for n, each in enumerate(line, 1)]
        slots, mine = table(sessions, *waiting), waiting[-1]
        for minutes in sorted(after):
            now = NOON + minutes * MIN
            found = InLine.of(mine, PLACE, slots, now, TERMS)
            anew = turn(PLACE, slots, now, TERMS, CAR, mine)
            assert found.turn is not None and anew is not None
            for shown, right in zip(attrs.astuple(found.turn), attrs.astuple(anew), strict=True):
                self.assertAlmostEqual(shown, right, 6)
            self.assertEqual(found.position, position(PLACE, slots, mine))


class LineTests(SynchronousTestCase):
    """Who may take what."""

    def test_no_overtaking(self) -> None:
        """A free EVSE that somebody before in line fits is nobody else's."""
        fast, slow = waits("f", 1, model=CARS["fast"]), waits("s", 2, model=CARS["slow"])
        uids = {"7-1", "7-2", "7-3"}
        for waiting, user_id, free in (
            ((), "x", uids),
            ((fast,), "x", {"7-2"}),
            ((slow,), "x", {"7-1", "7-3"}),
            ((fast, slow), "x", set()),
            ((fast, slow), "s", {"7-2"}),
            ((fast, slow), "f", uids),
        ):
            found = {evse.uid for evse in open_to(MIXED, table([], *waiting), user_id)}
            self.assertEqual(found, free, (waiting, user_id))

    def test_position(self) -> None:
        """Only those before count who could be given the same."""
        fast, slow = waits("f", 1, model=CARS["fast"]), waits("s", 2, model=CARS["slow"])
        both = waits("b", 3, model=CARS["both"])
        slots = table([], fast, slow, both)
        self.assertEqual([position(MIXED, slots, p) for p in (fast, slow, both)], [1, 1, 3])

    def test_next(self) -> None:
        """The first whom a free EVSE fits is next; who cannot have it now keeps it from others."""
        taken = [charges("7-1", 5), charges("7-3", 5)]
        fast, slow = waits("f", 1, model=CARS["fast"]), waits("s", 2, model=CARS["slow"])
        found = next_offer(MIXED, table(taken, fast, slow), lambda _: True)
        assert found is not None
        self.assertEqual((found[0].user_id, [e.uid for e in found[1]]), ("s", ["7-2"]))
        twice = table(taken, slow, waits("t", 3, model=CARS["slow"]))
        self.assertIsNone(next_offer(MIXED, twice, lambda user_id: user_id != "s"))


class StationOfTwo:
    """Drivers, some of them late or silent, at a station whose EVSEs fit all."""

    def __init__(self) -> None:
        self.storage = MemoryStorage(CAR_FACTS, [ALIKE])
        self.storage.listeners.append(self.hear)
        self.now, self.numbers = NOON, 0
        self.told: dict[str, tuple[float, Turn]] = {}
        """When each joined, and what it was told."""
        self.offers: list[tuple[str, float, float, Turn]] = []

    def do(self, operation: Any) -> Any:
        return carry_out(self.storage, operation)

    def hear(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, SlotTaken) and event.session.state == OFFERED:
                joined, told = self.told.pop(event.session.user_id)
                waited = TERMS.simulated_s(joined, event.at) / 60
                self.offers.append((event.session.user_id, joined, waited, told))

    def sweep_until(self, now: float) -> None:
        """Let time pass, with a sweep at each deadline."""
        while True:
            due = self.do(Sweep(self.now, 0, TERMS)).next_due
            if due is None or due > now:
                break
            self.now = due
        self.now = now

    def claim(self, user_id: str, intent: str, wait: bool = False, **wishes: Any) -> Any:
        self.numbers += 1
        claim = Claim(user_id, "8", f"r{self.numbers}", self.now, TERMS, intent, wait)
        claim.wishes = Wishes(**wishes)
        found = self.do(claim)
        if isinstance(found, InLine) and user_id not in self.told:
            assert found.turn is not None
            self.told[user_id] = (self.now, found.turn)
        return found


class IntervalTests(SynchronousTestCase):
    """The interval that was told at joining."""

    @given(st.data())
    @settings(max_examples=examples(40), deadline=None)
    def test_within(self, data: st.DataObject) -> None:
        """Each offer comes within it, whoever is late, silent, declines, or stays on."""
        place = StationOfTwo()
        users = 0
        for _ in range(data.draw(st.integers(5, 40))):
            minutes = data.draw(st.sampled_from([0.0, 1.0, 4.0, 5.0, 13.0, 30.0, 61.0]))
            place.sweep_until(place.now + minutes * MIN)
            standings = [place.do(FindStanding(f"u{n}")) for n in range(users)]
            here = [s for s in standings if isinstance(s, Standing)]
            todo = data.draw(st.sampled_from(["come", "come", "go on", "give up", "nothing"]))
            if todo == "come":
                percent = data.draw(st.sampled_from([5.0, 40.0, 79.0]))
                car = ElectricCar.charged_to(CARS["both"], percent)
                user_id, users = f"u{users}", users + 1
                place.do(AddUser(User(user_id, "Ana", car, place.now)))
                away = data.draw(st.sampled_from([0.0, 7.0, 45.0]))
                place.claim(user_id, claims.RESERVE, wait=True, arrival_minutes=away)
                continue
            if not here or todo == "nothing":
                continue
            standing = data.draw(st.sampled_from(here))
            user_id, state = standing.user.user_id, standing.state
            if todo == "give up":
                if state in (OFFERED, RESERVED, "WAITING"):
                    place.do(Leave(user_id, CANCEL_IT, place.now, TERMS))
                    place.told.pop(user_id, None)
                elif state == FINISHED:
                    place.do(Leave(user_id, "stop_and_leave", place.now, TERMS))
            elif state in (OFFERED, RESERVED):
                leaves = data.draw(st.booleans())
                intent = data.draw(st.sampled_from([claims.RESERVE, claims.ARRIVE]))
                # It comes by what was said at joining: who says another drive later is another.
                away = place.do(FindStanding(user_id)).session.arrival_s(TERMS) / 60
                found = place.claim(user_id, intent, leaves_when_done=leaves, arrival_minutes=away)
                assert not isinstance(found, Refusal), found
        place.sweep_until(place.now + 3000 * MIN)
        for user_id, _, waited, told in place.offers:
            what = (user_id, waited, told)
            self.assertGreaterEqual(waited, told.earliest - 1e-6, what)
            self.assertLessEqual(waited, told.latest + 1e-6, what)
