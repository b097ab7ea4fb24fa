"""The messages over TLS and WebSocket: tests on lines over TCP again; POST has its own."""

import itertools

from evcharge.testing import MemoryServer
from tests.handlers import test_charging, test_journey, test_sessions, test_subscribe
from tests.support import journey
from tests.support.scenarios import OF_TRANSPORTS, SESSIONS
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


# Each handshake of TLS takes a while, and its lines are those of TCP.
for _place, _tests in (
    *itertools.product([OverWebSocket], (*OF_TRANSPORTS, *SESSIONS)),
    *itertools.product([OverTLS], OF_TRANSPORTS),
):
    _class = over(_place, _tests)
    globals()[_class.__name__] = _class
del _class, _tests  # else they would run once more
