"""The table of states: every state with every cause; what deadlines and an operator do."""

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.electric_car import ElectricCar
from evcharge.models.receipts import Receipt
from evcharge.models.session import (
    CHARGING,
    COMPLETED,
    FINISHED,
    FREE,
    NO_SHOW,
    OFFERED,
    RESERVED,
    WAITING,
    ChargingSession,
)
from evcharge.models.user import User
from evcharge.outcomes import Refusal
from evcharge.rules import claims, leaving, states
from evcharge.rules.claims import Claim, Wishes
from evcharge.rules.journey import UNKNOWN_USER, AddUser, FindStanding, Standing
from evcharge.rules.leaving import Leave
from evcharge.rules.operator import SetEvseStatus
from evcharge.rules.states import CAUSES, MAY, REPEATS, TABLE
from evcharge.rules.sweep import Sweep
from evcharge.rules.waiting import InLine
from evcharge.storage import carry_out
from evcharge.storage.memory import MemoryStorage
from evcharge.testing import NOON
from tests.support.drivers_machine import ALIKE, CAR_FACTS, CARS, TERMS

GONE = "gone"
HOUR_S = TERMS.real_s(3600)


class Place:
    """A station of two EVSEs that are alike, and a driver in some state there."""

    def __init__(self) -> None:
        self.storage = MemoryStorage(CAR_FACTS, [ALIKE])
        self.now = NOON
        self.numbers = 0
        for name in ("driver", "other", "third"):
            car = ElectricCar.charged_to(CARS["both"], 20.0)
            self.do(AddUser(User(name, "Ana", car, NOON)))

    def do(self, operation: Any) -> Any:
        return carry_out(self.storage, operation)

    def claim(self, user_id: str, intent: str, wait: bool = False, **wishes: Any) -> Any:
        self.numbers += 1
        receipt_id = f"r{self.numbers}"
        return self.do(
            Claim(user_id, "8", receipt_id, self.now, TERMS, intent, wait, Wishes(**wishes))
        )

    def leave(self, user_id: str, how: str) -> Any:
        return self.do(Leave(user_id, how, self.now, TERMS))

    def status(self, evse: str, status: str) -> Any:
        return self.do(SetEvseStatus(evse, status, "cut", self.now, TERMS))

    def sweep(self) -> Any:
        return self.do(Sweep(self.now, 0, TERMS))

    def state(self, user_id: str = "driver") -> str:
        standing = self.do(FindStanding(user_id))
        return standing.state if isinstance(standing, Standing) else GONE

    def session(self, user_id: str = "driver") -> ChargingSession:
        session = self.do(FindStanding(user_id)).session
        assert session is not None
        return session

    def fill(self, *, but: int = 0) -> None:
        """Have others stand at the EVSEs, but for some."""
        for name in ("other", "third")[but:]:
            self.claim(name, claims.ARRIVE, target_percent=100.0)

    def bring(self, state: str, leaves: bool) -> None:
        """Have the driver in a state."""
        if state == RESERVED:
            self.claim("driver", claims.RESERVE)
        elif state in (CHARGING, FINISHED):
            self.claim("driver", claims.ARRIVE, leaves_when_done=leaves)
            if state == FINISHED:
                self.leave("driver", leaving.STOP_IT)
        elif state in (WAITING, OFFERED):
            self.fill()
            self.claim("driver", claims.RESERVE, wait=True)
            if state == OFFERED:
                self.leave("other", leaving.STOP_AND_LEAVE)
        assert self.state() == state


def _claim(intent: str, wait: bool = False) -> Callable[[Place], Any]:
    return lambda place: place.claim("driver", intent, wait)


def _leave(how: str) -> Callable[[Place], Any]:
    return lambda place: place.leave("driver", how)


def _turn(place: Place) -> None:
    place.leave("other", leaving.STOP_AND_LEAVE)


def _deadline(place: Place) -> None:
    standing = place.do(FindStanding("driver"))
    if standing.session is not None:
        place.now = standing.session.due_timestamp
    place.sweep()


def _out(place: Place) -> None:
    standing = place.do(FindStanding("driver"))
    place.status("8-1" if standing.session is None else standing.session.evse_uid, "OUTOFORDER")


def _back(place: Place) -> None:
    place.status("8-1", "IN_SERVICE")


DOES: dict[str, Callable[[Place], Any]] = {
    states.RESERVE: _claim(claims.RESERVE),
    states.RESERVE_OR_WAIT: _claim(claims.RESERVE, wait=True),
    states.ARRIVE: _claim(claims.ARRIVE),
    states.PAY: _claim(claims.PAY),
    states.STOP: _leave(leaving.STOP_AND_LEAVE),
    states.STOP_AND_STAY: _leave(leaving.STOP_IT),
    states.CANCEL: _leave(leaving.CANCEL_IT),
    states.END_JOURNEY: _leave(leaving.END_JOURNEY),
    states.TURN: _turn,
    states.DEADLINE: _deadline,
    states.OUT_OF_SERVICE: _out,
    states.BACK_IN_SERVICE: _back,
}
STATES = (FREE, WAITING, OFFERED, RESERVED, CHARGING, FINISHED)


class TableTests(SynchronousTestCase):
    """What the operations do is what the table says."""

    def test_every_pair(self) -> None:
        """Each state goes with each cause where the table says so, and is otherwise as it was."""
        self.assertEqual(set(DOES), set(CAUSES))
        reached = set()
        for state in STATES:
            for cause, does in DOES.items():
                for full in (False, True):
                    for leaves in (False, True):
                        reached.add(self.check(state, cause, does, full, leaves))
        # Nothing in the table is left out, but for what the list of free EVSEs makes impossible.
        rows = {(row.before, row.cause, row.after) for row in TABLE}
        waits = {
            (WAITING, cause, after)
            for cause in (states.RESERVE, states.RESERVE_OR_WAIT, states.ARRIVE, states.PAY)
            for after in (RESERVED, CHARGING)
        }
        self.assertEqual(rows - waits - reached, set())

    def check(
        self, state: str, cause: str, does: Callable[[Place], Any], full: bool, leaves: bool
    ) -> tuple[str, str, str]:
        place = Place()
        place.bring(state, leaves)
        if full:
            place.fill(but=0 if state == FREE else 1)
        elif state == OFFERED:
            place.leave("third", leaving.STOP_AND_LEAVE)
        before = place.do(FindStanding("driver"))
        result = does(place)
        after = place.state()
        what = (state, cause, full, leaves, result)
        goes = after == GONE
        rows = [
            row
            for row in TABLE
            if (row.before, row.cause) == (state, cause) and row.user_goes == goes
        ]
        if cause in states.DRIVERS and (state, cause) not in MAY:
            self.assertIsInstance(result, Refusal, what)
            self.assertEqual(result.outcome.reason, "wrong_state", what)
            self.assertEqual(result.more, {"state": state}, what)
            self.assertEqual(place.do(FindStanding("driver")), before, what)
        elif goes:
            self.assertTrue(rows, what)
            after = FREE
        elif after != state:
            self.assertIn(after, [row.after for row in rows], what)
        elif isinstance(result, Refusal):
            self.assertEqual(result.outcome.reason, "no_slot", what)
        elif (state, cause) in REPEATS and not (rows and result is None):
            self.assertEqual(place.do(FindStanding("driver")), before, what)
        return state, cause, after


class DeadlineTests(SynchronousTestCase):
    """Deadlines count at their instant, whether or not a sweep has come."""

    def test_hold(self) -> None:
        """A reservation holds until the arrival and the hold; who comes then is a walk-in."""
        for late_s, reserved in ((-1.0, True), (0.0, False)):
            place = Place()
            session = place.claim("driver", claims.RESERVE, arrival_minutes=20.0)
            self.assertEqual(session.expires_timestamp, NOON + TERMS.real_s(35 * 60))
            place.now = session.expires_timestamp + late_s
            arrived = place.claim("driver", claims.ARRIVE)
            self.assertEqual(arrived.receipt_id == session.receipt_id, reserved)
            self.assertEqual(arrived.reserved_timestamp is not None, reserved)
            self.assertEqual([*place.storage.receipts], [] if reserved else [session.receipt_id])

    def test_offer(self) -> None:
        """An offer that has run out is none, and the next in line has it from then on."""
        place = Place()
        place.bring(OFFERED, False)
        place.now += HOUR_S
        self.assertEqual(place.claim("driver", claims.RESERVE).state, RESERVED)
        place = Place()
        place.bring(OFFERED, False)
        place.claim("other", claims.RESERVE, wait=True)
        place.do(AddUser(User("other", "Ana", ElectricCar.charged_to(CARS["both"], 9.0), NOON)))
        place.claim("other", claims.RESERVE, wait=True)
        place.now += TERMS.real_s(5 * 60)
        refused = place.claim("driver", claims.RESERVE)
        self.assertEqual(refused.outcome.reason, "no_slot")
        offered = place.session("other")
        self.assertEqual((offered.state, offered.since_timestamp), (OFFERED, place.now))

    def test_in_order(self) -> None:
        """What fell due long ago ends in order of deadline, each at its own instant."""
        place = Place()
        place.claim("driver", claims.ARRIVE, target_percent=30.0)
        place.claim("other", claims.RESERVE)
        place.now += 10 * HOUR_S
        self.assertEqual(place.sweep().freed, 2)
        first, second = place.storage.receipts.values()
        self.assertEqual((first.body["state"], first.body["end_reason"]), (NO_SHOW, "expired"))
        self.assertEqual(second.body["state"], COMPLETED)
        self.assertEqual(second.body["end_reason"], "idle_limit")
        self.assertEqual(second.body["idle_minutes"], 30.0)
        self.assertEqual(first.ended_timestamp, NOON + TERMS.real_s(15 * 60))
        minutes = second.body["charge_minutes"] + 30
        self.assertAlmostEqual(second.ended_timestamp, NOON + TERMS.real_s(minutes * 60), 3)

    def test_next_due(self) -> None:
        """A sweep says when something is due next, be it what it has made due itself."""
        place = Place()
        self.assertIsNone(place.sweep().next_due)
        place.claim("driver", claims.ARRIVE, target_percent=30.0)
        due = place.session().due_timestamp
        self.assertEqual(place.sweep().next_due, due)
        place.now = due
        self.assertEqual(place.sweep().next_due, due + TERMS.real_s(30 * 60))

    def test_gone_meanwhile(self) -> None:
        """Who stops at the end or later, though nobody has looked, has the receipt of the end."""
        place = Place()
        session = place.claim("driver", claims.ARRIVE, leaves_when_done=True)
        place.now = session.due_timestamp + 1
        receipt = place.leave("driver", leaving.STOP_AND_LEAVE)
        self.assertIsInstance(receipt, Receipt)
        self.assertEqual(receipt.body["end_reason"], "target")
        self.assertEqual(place.leave("driver", leaving.STOP_AND_LEAVE), UNKNOWN_USER)

    def test_nothing_to_give_up(self) -> None:
        """Who gives up what has ended, though nobody has looked, is gone; a no-show is free."""
        for intent, more in ((claims.ARRIVE, {"leaves_when_done": True}), (claims.RESERVE, {})):
            place = Place()
            session = place.claim("driver", intent, **more)
            place.now = session.due_timestamp
            left = place.leave("driver", leaving.CANCEL_IT)
            if intent == claims.ARRIVE:
                self.assertEqual(left, UNKNOWN_USER)
            else:
                self.assertEqual((left.body["state"], place.state()), (NO_SHOW, FREE))


class LateTests(SynchronousTestCase):
    """A request that is carried out after one that came later, as processes may share a storage."""

    def test_ended(self) -> None:
        """No session ends before it has begun."""
        for late_s in (-2.0, 0.0, 2.0):
            place = Place()
            place.bring(CHARGING, False)
            place.now += late_s
            receipt = place.leave("driver", leaving.STOP_AND_LEAVE)
            self.assertEqual(receipt.ended_timestamp, NOON + max(0.0, late_s))
            self.assertEqual(receipt.body["charged_until"], receipt.body["ended"])

    def test_line(self) -> None:
        """Who comes to stand behind somebody has not joined before, whoever asked first."""
        place = Place()
        place.fill()
        place.claim("driver", claims.RESERVE, wait=True)
        place.do(AddUser(User("late", "Ana", ElectricCar.charged_to(CARS["both"], 9.0), NOON)))
        place.now -= 1.0
        line = place.claim("late", claims.RESERVE, wait=True)
        self.assertEqual((line.position, line.place.joined_timestamp), (2, NOON))

    def test_another_clock(self) -> None:
        """What is far ahead is by a clock that was wrong, and nobody goes by it."""
        place = Place()
        place.now += HOUR_S
        place.bring(CHARGING, False)
        place.now = NOON
        session = place.claim("other", claims.ARRIVE)
        self.assertEqual(session.since_timestamp, NOON)


class OperatorTests(SynchronousTestCase):
    """EVSEs that break."""

    def test_moved(self) -> None:
        """A reservation goes to the other EVSE, as it is, and that costs the driver nothing."""
        place = Place()
        session = place.claim("driver", claims.RESERVE, arrival_minutes=10.0)
        state = place.status(session.evse_uid, "OUTOFORDER")
        self.assertEqual((state.available_slots, state.max_slots), (0, 1))
        moved = place.session()
        self.assertNotEqual(moved.evse_uid, session.evse_uid)
        self.assertEqual(moved.expires_timestamp, session.expires_timestamp)
        self.assertEqual((moved.receipt_id, moved.amount), (session.receipt_id, session.amount))

    def test_before_all(self) -> None:
        """Where there is no other, the driver is the first in line, and owes nothing."""
        place = Place()
        session = place.claim("driver", claims.RESERVE)
        place.claim("other", claims.ARRIVE)
        self.assertIsInstance(place.claim("third", claims.RESERVE, wait=True), InLine)
        place.status(session.evse_uid, "OUTOFORDER")
        (receipt,) = place.storage.receipts.values()
        self.assertEqual((str(receipt.total), receipt.body["end_reason"]), ("0.00", "operator"))
        self.assertEqual(place.storage.payments, [])
        first, second = (place.do(FindStanding(u)).place.number for u in ("driver", "third"))
        self.assertLess(first, second)
        place.status(session.evse_uid, "IN_SERVICE")
        self.assertEqual((place.state(), place.state("third")), (OFFERED, WAITING))

    def test_same_instant(self) -> None:
        """Whoever is offered an EVSE twice at an instant has two sessions, each with a receipt."""
        place = Place()
        place.bring(OFFERED, leaves=False)
        place.claim("driver", claims.RESERVE)
        first = place.session()
        place.status("8-2", "OUTOFORDER")
        place.status(first.evse_uid, "OUTOFORDER")
        self.assertEqual(place.state(), WAITING)
        place.status(first.evse_uid, "IN_SERVICE")
        second = place.session()
        self.assertEqual((second.state, second.since_timestamp), (OFFERED, first.since_timestamp))
        self.assertNotEqual(second.receipt_id, first.receipt_id)

    def test_unknown(self) -> None:
        """An EVSE that nobody has is not found; what is said of one again changes nothing."""
        place = Place()
        self.assertEqual(place.status("9-1", "OUTOFORDER").outcome.reason, "evse_not_found")
        place.status("8-1", "OUTOFORDER")
        events: list[Any] = []
        place.storage.listeners.append(events.extend)
        place.status("8-1", "OUTOFORDER")
        self.assertEqual(events, [])

    def test_stays(self) -> None:
        """A car that is charged stands there all the same."""
        place = Place()
        place.bring(FINISHED, False)
        place.status("8-1", "OUTOFORDER")
        self.assertEqual(place.state(), FINISHED)
