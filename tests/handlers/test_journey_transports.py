"""The messages over TLS and WebSocket: tests on lines over TCP again; POST has its own."""

import itertools

from evcharge.testing import MemoryServer
from tests.handlers import test_charging, test_journey, test_sessions, test_subscribe
from tests.support import journey
from tests.support.sockets import SocketServer, TLSServer

MODULES = (journey, test_journey, test_charging, test_sessions, test_subscribe)


class OverTLS:
    """Every server in memory is spoken to by TLS."""

    server: type[MemoryServer] = TLSServer

    def setUp(self) -> None:
        for module in MODULES:
            if hasattr(module, "MemoryServer"):
                self.patch(module, "MemoryServer", self.server)
        super().setUp()


class OverWebSocket(OverTLS):
    """Every server in memory is spoken to by WebSocket."""

    server = SocketServer


def over(place: type, tests: type) -> type:
    """The `tests`, on the servers of `place`."""
    return type(f"{place.__name__}{tests.__name__}", (place, tests), {"__doc__": tests.__doc__})


JOURNEYS = (
    test_journey.EnvelopeTests,
    test_journey.StartTests,
    test_journey.LoginTests,
    test_journey.NavigationTests,
    test_journey.SelectionTests,
    test_journey.PaymentTests,
    test_journey.FailureTests,
)
SESSIONS = (
    test_charging.TargetTests,
    test_charging.EvseTests,
    test_charging.WhyTests,
    test_charging.PriceTests,
    test_charging.EvseListTests,
    test_sessions.PairTests,
    test_sessions.FieldTests,
    test_sessions.DeadlineTests,
    test_sessions.IdempotenceTests,
    test_sessions.LineTests,
    test_sessions.ChoiceTests,
    test_sessions.ReservationTests,
)

# Each handshake of TLS takes a while, and its lines are those of TCP.
for _place, _tests in (
    *itertools.product([OverWebSocket], (*JOURNEYS, *SESSIONS)),
    *itertools.product([OverTLS], JOURNEYS),
):
    _class = over(_place, _tests)
    globals()[_class.__name__] = _class
del _class, _tests  # else they would run once more
