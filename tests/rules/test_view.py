"""What a batch may look at: what it did not ask for, cannot be read, or takes back."""

from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.catalogue import Catalogue
from evcharge.models.receipts import JOURNEY_ENDED, Payment, receipt_of
from evcharge.models.session import COMPLETED, FREE, ChargingSession
from evcharge.models.slots import Book, SlotTable
from evcharge.models.station import Station
from evcharge.models.terms import DEFAULT_TERMS
from evcharge.rules.clocks import Clocks, Reading
from evcharge.rules.events import (
    ClocksSet,
    PaymentListed,
    ReceiptIssued,
    SlotFreed,
    SlotTaken,
    UserAdded,
    UserRemoved,
)
from evcharge.rules.journey import UNKNOWN_STATION, UNKNOWN_USER, FindUser, held_at, number_of
from evcharge.rules.sweep import Sweep, SweepResult
from evcharge.rules.timekeeping import SetClock
from evcharge.rules.view import NotLoaded, View
from evcharge.testing import NOON
from tests.support.operations import NO_FREE_SLOT, a_session, a_user, leave, pay, take, unseated

PLACE = Station(7, "Centro", "Rua A", -12.25, -38.95, 3)
AWAY = OSError("cannot be read")


def a_book(*held: int) -> Book:
    """The station, with vehicles at those of its EVSEs, and the others free."""
    return standing(*(a_session(f"at-{number}", evse=f"7-{number}") for number in held))


def standing(*sessions: ChargingSession) -> Book:
    """The station, with these."""
    return Book(PLACE, SlotTable(7, 3, {session.user_id: session for session in sessions}))


def a_view(**known: object) -> View:
    """A view of a user who stands nowhere, and of a station with one free slot."""
    users = {"u1": a_user(), "nobody": None}
    view = View(
        known.get("clocks", Clocks()),
        {**users, **known.get("users", {})},
        {"u1": None, "nobody": None, **known.get("sessions", {})},
        {7: a_book(2, 3), 8: None, **known.get("books", {})},
        leaving=known.get("leaving", {}),
    )
    view.known = Catalogue()
    return view


class ViewTests(SynchronousTestCase):
    """The view itself."""

    def test_not_loaded(self) -> None:
        """What nobody asked for is neither there nor not there."""
        view = a_view()
        self.assertIsNone(view.user("nobody"))
        self.assertIsNone(view.book(8))
        for look in (
            lambda: view.user("u2"),
            lambda: view.session("u2"),
            lambda: view.book(9),
            view.states,
            view.newest,
        ):
            self.assertRaises(NotLoaded, look)

    def test_unreadable(self) -> None:
        """A record that cannot be read is an accident for whoever looks at it, and nobody else."""
        view = a_view(users={"u2": AWAY}, sessions={"u1": AWAY})
        self.assertIs(self.assertRaises(OSError, FindUser("u2").decide, view), AWAY)
        self.assertEqual(FindUser("u1").decide(view), a_user())
        for operation in (FindUser("u1", whereabouts=True), take(a_session()), leave("u1")):
            self.assertIs(self.assertRaises(OSError, operation.decide, view), AWAY)
        self.assertEqual(view.events, [])

    def test_seen(self) -> None:
        """What was decided is seen by what is decided next, and told in order."""
        more = ("u2", "u3")
        view = a_view(users={u: a_user(u) for u in more}, sessions=dict.fromkeys(more))
        self.assertEqual(unseated(take(a_session()).decide(view)), a_session())
        self.assertEqual(unseated(take(a_session("u2")).decide(view)), NO_FREE_SLOT)
        self.assertIsNone(leave("u1").decide(view))
        self.assertEqual(unseated(take(a_session("u2")).decide(view)), a_session("u2"))
        self.assertEqual(unseated(take(a_session("u3")).decide(view)), NO_FREE_SLOT)
        self.assertEqual(leave("u1").decide(view), UNKNOWN_USER)
        first, second = a_session(evse="7-1"), a_session("u2", evse="7-1")
        receipt = receipt_of(first, NOON, PLACE, DEFAULT_TERMS, COMPLETED, JOURNEY_ENDED)
        self.assertEqual(
            view.events,
            [
                SlotTaken(first),
                PaymentListed(Payment.of(first)),
                ReceiptIssued(receipt),
                UserRemoved("u1"),
                SlotFreed(first),
                SlotTaken(second),
                PaymentListed(Payment.of(second)),
            ],
        )

    def test_wound_back(self) -> None:
        """What is taken back is as it was, its events too."""
        view = a_view()
        view.add(a_user("u2"), None)
        mark = view.mark()
        session = view.take(a_session(), None, 0.0, FREE)
        view.give_back(session, 0.0, FREE)
        view.remove("u2")
        view.wind_back(mark)
        self.assertEqual(view.events, [UserAdded(a_user("u2"))])
        self.assertEqual(view.user("u2"), a_user("u2"))
        self.assertIsNone(view.session("u1"))
        self.assertEqual(view.book(7), a_book(2, 3))

    def test_clock(self) -> None:
        """With the clock, records that were loaded move; and what was made by the one before."""
        view = a_view(sessions={"u1": a_session()})
        reading = Reading(NOON, 0.0, "")
        after = SetClock(lambda before, newest: before.all_moved(0, 100.0, reading)).decide(view)
        self.assertEqual(view.user("u1"), a_user(created=NOON + 100))
        self.assertEqual(view.session("u1"), a_session(end=NOON + 160, paid=NOON + 100))
        view.add(a_user("old"), 0)
        view.add(a_user("new"), None)
        self.assertEqual(view.user("old"), a_user("old", NOON + 100))
        self.assertEqual(view.user("new"), a_user("new"))
        self.assertEqual(view.events[0], ClocksSet(Clocks(), after))

    def test_names(self) -> None:
        """A record goes on naming its clock while that is marked, and was not moved."""
        clocks = Clocks(number=3, marked_from=2, moved_s={1: 5.0, 3: 7.0})
        for number, right in ((0, True), (1, False), (2, True), (3, False)):
            self.assertIs(bool(clocks.is_right(number)), right, number)


class JourneyTests(SynchronousTestCase):
    """What is refused, and why first."""

    def test_refused(self) -> None:
        """Of several reasons the first is told: the user, the station, the other slot, no room."""
        full = {7: a_book(1, 2, 3)}
        over_full = {7: a_book(1, 2, 3, 4, 5)}
        elsewhere = {"u1": a_session(station=9)}
        for view, user_id, told in (
            (a_view(books=full), "nobody", UNKNOWN_USER),
            (a_view(sessions=elsewhere), "u1", held_at(9)),
            (a_view(sessions=elsewhere, books=full), "u1", held_at(9)),
            (a_view(books=full), "u1", NO_FREE_SLOT),
            (a_view(books=over_full), "u1", NO_FREE_SLOT),
            (a_view(books={7: None}), "u1", UNKNOWN_STATION),
            (a_view(books={7: None}, sessions=elsewhere), "u1", UNKNOWN_STATION),
            # What is held is told again, though the station were out of service.
            (a_view(books={7: None}, sessions={"u1": a_session()}), "u1", a_session()),
        ):
            self.assertEqual(unseated(take(a_session(user_id)).decide(view)), told)
            self.assertEqual(view.events, [])

    def test_ids(self) -> None:
        """A station's id is the text that START shows."""
        for text in ("0", "7", "1000000000", "2147483647"):
            self.assertEqual(number_of(text), int(text))
        for text in ("2147483648", "9999999999", "07", "", "x", "7 ", "-7", "7.0", "٧", "9" * 5000):
            self.assertIsNone(number_of(text))
        named = pay("u1", "07", lambda *_: a_session())
        self.assertEqual(named.decide(a_view()), UNKNOWN_STATION)

    def test_leaving(self) -> None:
        """A journey whose end was to be committed when the answer was lost ends well."""
        self.assertIsNone(leave("nobody").decide(a_view(leaving={"nobody": None})))
        self.assertEqual(leave("nobody").decide(a_view()), UNKNOWN_USER)


class SweepTests(SynchronousTestCase):
    """What a sweep ends of what was claimed for it."""

    def test_looked_at_again(self) -> None:
        """What was claimed is ended only if it is over, or unpaid, as it is now."""
        view = a_view(
            users={"late": a_user("late"), "paid": a_user("paid"), "then": a_user("then")},
            sessions={"paid": a_session("paid"), "then": None},
            books={7: standing(a_session(end=NOON + 60), a_session("late", end=NOON + 61))},
        )
        view.due += [7, 7, 9]
        view.unpaid += ["paid", "nobody", "then"]
        self.assertEqual(Sweep(NOON + 60, NOON).decide(view), SweepResult(1, 0))
        # The user before the slot, for the sake of a crash in between.
        kinds = [type(event) for event in view.events]
        self.assertEqual(kinds, [ReceiptIssued, UserRemoved, SlotFreed])
        self.assertEqual(Sweep(NOON, NOON + 1).decide(view), SweepResult(0, 1))
        self.assertEqual(view.events[3:], [UserRemoved("then")])

    def test_clock(self) -> None:
        """What a sweep goes by is moved with the clock that it is by."""
        clocks = Clocks(number=1, moved_s={0: 100.0})
        for late_s, swept in ((0, SweepResult(1, 1)), (1, SweepResult(0, 0))):
            view = a_view(
                clocks=clocks,
                users={"u1": a_user(), "idle": a_user("idle", NOON + 99 + late_s)},
                sessions={"idle": None},
                books={7: standing(a_session(end=NOON + 160 + late_s))},
            )
            view.due, view.unpaid = [7], ["idle"]
            sweep = Sweep(NOON + 60, NOON)
            sweep.clock = 0
            self.assertEqual(sweep.decide(view), swept)

    def test_more(self) -> None:
        """There may be more where all was claimed that may be, and some of it was ended."""
        view = a_view(books={7: standing(a_session())})
        view.more_due = True
        self.assertFalse(Sweep(NOON + 60, 0).decide(view).more)
        view.due.append(7)
        self.assertTrue(Sweep(NOON + 60, 0).decide(view).more)
        view = a_view()
        view.more_to_write = True
        self.assertTrue(Sweep(NOON + 60, 0).decide(view).more)
