"""Limits, each at its edge: connections, requests a second, pending logins, time."""

import gc
import ipaddress
import itertools
import json
from collections import deque
from collections.abc import Callable
from types import FunctionType, ModuleType

from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import LogLevel, formatEvent
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from evcharge.net.connections import LINGER_S
from evcharge.net.guards import clients, logins
from evcharge.net.guards.buckets import LEAST_BURST, TokenBucket
from evcharge.net.guards.clients import NOWHERE, TIDIED_PER_TURN, Addresses, counted_under
from evcharge.net.guards.connection_limit import MOST_TOLD, TOLD_S
from evcharge.net.guards.limits import MOST_PER_ADDRESS
from evcharge.net.guards.logins import FORGOTTEN_PER_TURN
from evcharge.net.guards.service import TIDY_S
from evcharge.net.guards.timeouts import ENDS_PER_TURN, LOOK_S, LOOKS_PER_TURN, MARGIN_S, Timeouts
from evcharge.net.protocol import DriverProtocol, Standing
from evcharge.net.receiver import LINES_PER_TURN
from evcharge.process.options import Options
from evcharge.testing import NOON, MemoryServer, MemoryTransport, call_now, shipped_network
from tests.support.examples import given
from tests.support.logged import logged

START = b'{"type":"START","data":{},"status":{},"timestamp":"","id":"s"}\n'
NAVIGATION = (
    b'{"type":"NAVIGATION","data":{"user_id":"x","route_distance":1},"status":{},"timestamp":"",'
    b'"id":7}\n'
)
HERE, THERE, ELSEWHERE = "127.0.0.1", "203.0.113.7", "203.0.113.8"


class GuardTestCase(SynchronousTestCase):
    """A server in memory with the options of a test."""

    def serve(self, *options: str, **more: object) -> MemoryServer:
        self.server = MemoryServer(options=options, **more)
        return self.server

    def replies(self, transport: MemoryTransport) -> list[dict]:
        return [json.loads(line) for line in transport.take().splitlines()]

    def codes(self, transport: MemoryTransport) -> list[int]:
        return [reply["status"]["code"] for reply in self.replies(transport)]

    def ask(self, connection: tuple, line: bytes = NAVIGATION) -> list[int]:
        protocol, transport = connection
        protocol.dataReceived(line)
        return self.codes(transport)


class AddressTests(SynchronousTestCase):
    """What an address is counted under."""

    def test_addresses(self) -> None:
        """IPv4 by itself, IPv6 by its /64, mapped IPv4 as IPv4; sockets without one together."""
        for host, name, local in (
            ("203.0.113.7", "203.0.113.7", False),
            ("127.8.9.1", "127.8.9.1", True),
            ("::ffff:203.0.113.7", "203.0.113.7", False),
            ("::ffff:127.0.0.1", "127.0.0.1", True),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", False),
            ("2001:db8:1:2::", "2001:db8:1:2::/64", False),
            ("fe80::1%eth0", "fe80::/64", False),
            ("::1", "::1", True),
        ):
            kind = IPv6Address if ":" in host else IPv4Address
            self.assertEqual(counted_under(kind("TCP", host, 1)), (name, local))
        self.assertEqual(counted_under(UNIXAddress(b"/run/x")), (NOWHERE, True))
        self.assertEqual(counted_under(None), (NOWHERE, True))

    @given(st.text())
    def test_any_host(self, host: str) -> None:
        """Whatever a host's name is, it is counted under something."""
        name, _ = counted_under(IPv4Address("TCP", host, 1))
        self.assertIsInstance(name, str)

    def test_forgotten(self) -> None:
        """Nothing is left of an address once nothing of it counts."""
        known = Addresses(lambda: 0.0)
        address = IPv4Address("TCP", THERE, 1)
        connected = [known.connected(address), known.connected(address)]
        self.assertEqual((len(known), known.connections), (1, 2))
        connected[0].disconnected()
        self.assertEqual((len(known), known.at(address).connections), (1, 1))
        connected[1].disconnected()
        self.assertEqual((len(known), known.connections), (0, 0))

    def test_come_again(self) -> None:
        """One that comes again between two turns of the tidying is not forgotten as the old one."""
        known = Addresses(lambda: 0.0)
        addresses = [IPv4Address("TCP", f"192.0.2.{number}", 1) for number in range(3)]
        connected = [known.connected(address) for address in addresses]
        self.patch(clients, "TIDIED_PER_TURN", 2)
        self.assertTrue(known.tidy() and known.tidy())
        for client in connected:
            client.disconnected()
        for address in addresses:
            known.connected(address)
        self.assertFalse(known.tidy())
        self.assertEqual([known.at(address).connections for address in addresses], [1, 1, 1])


class ConnectionLimitTests(GuardTestCase):
    """--max-connections and --max-connections-per-address."""

    def test_told(self) -> None:
        """One who is not let in has a second to read why; who goes earlier leaves no timer."""
        server = self.serve("--max-connections", "1")
        server.connect()
        timers = len(server.clock.getDelayedCalls())
        _, slow = server.connect()
        quick, _ = server.connect()
        self.assertEqual(len(server.clock.getDelayedCalls()), timers + 2)
        quick.connectionLost()
        self.assertEqual(len(server.clock.getDelayedCalls()), timers + 1)
        server.advance(0.99)
        self.assertFalse(slow.aborted)
        server.advance(0.01)
        self.assertTrue(slow.aborted)

    def refused(self, connection: tuple, code: int, reason: str) -> None:
        """It has been told, and is hung up on."""
        protocol, transport = connection
        (reply,) = self.replies(transport)
        self.assertEqual((reply["type"], reply["status"]["code"]), ("error", code))
        self.assertEqual(self.server.refused[-1], reason)
        self.assertTrue(transport.write_closed)
        protocol.dataReceived(START)
        self.assertEqual(transport.take(), b"")
        protocol.readConnectionLost()
        self.assertTrue(transport.disconnecting)

    def test_in_all(self) -> None:
        """So many are let in and no more; one that leaves makes room."""
        server = self.serve("--max-connections", "2")
        first, _ = server.connect(THERE), server.connect(ELSEWHERE)
        self.refused(server.connect("203.0.113.9"), 503, "connections")
        self.assertEqual(self.ask(first), [404])
        first[0].connectionLost()
        self.assertEqual(self.ask(server.connect()), [404])
        self.refused(server.connect(), 503, "connections")

    def test_per_address(self) -> None:
        """So many from one address, be it this machine; others are none the worse for it."""
        for host in (THERE, HERE):
            server = self.serve("--max-connections-per-address", "2")
            first, _ = server.connect(host), server.connect(host)
            self.refused(server.connect(host), 429, "address_connections")
            self.assertEqual(self.ask(server.connect(ELSEWHERE)), [404])
            first[0].connectionLost()
            self.assertEqual(self.ask(server.connect(host)), [404])

    def test_default(self) -> None:
        """Without the option an address has many, and this machine any number."""
        server = self.serve()
        for _ in range(MOST_PER_ADDRESS):
            server.connect(THERE)
            server.connect(HERE)
        self.refused(server.connect(THERE), 429, "address_connections")
        self.assertEqual(self.ask(server.connect(HERE)), [404])

    def test_any_number(self) -> None:
        """0 is no limit."""
        server = self.serve("--max-connections-per-address", "0")
        for _ in range(MOST_PER_ADDRESS + 1):
            connection = server.connect(THERE)
        self.assertEqual(self.ask(connection), [404])

    def test_many_told(self) -> None:
        """One who does not leave is left, and only so many are told at a time."""
        server = self.serve("--max-connections", "1")
        server.connect()
        told = [server.connect() for _ in range(MOST_TOLD)]
        self.assertIsNone(server.accepts.buildProtocol(None))
        server.advance(TOLD_S)
        self.assertTrue(all(transport.aborted for _, transport in told))
        for protocol, _ in told:
            protocol.connectionLost()
        self.assertEqual(server.accepts.told, 0)
        self.refused(server.connect(), 503, "connections")


class RateTests(GuardTestCase):
    """--rate-per-connection and --rate-per-address."""

    def test_edge(self) -> None:
        """As many as may come at once are carried out, the next one is not; then one at a time."""
        server = self.serve("--rate-per-connection", "2")
        connection = server.connect()
        burst = int(LEAST_BURST)
        self.assertEqual(self.ask(connection, NAVIGATION * burst), [404] * burst)
        protocol, transport = connection
        protocol.dataReceived(NAVIGATION)
        (reply,) = self.replies(transport)
        self.assertEqual((reply["type"], reply["id"]), ("NAVIGATION", 7))
        self.assertEqual((reply["status"]["code"], reply["data"]["reason"]), (429, "rate_limited"))
        self.assertEqual(reply["data"]["message"], "Muitas requisições")
        # The refused one counts as well: two tokens are to come back.
        server.advance(0.99)
        self.assertEqual(self.ask(connection), [429])
        server.advance(1.01)
        self.assertEqual(self.ask(connection), [404])

    def test_going_on(self) -> None:
        """Who goes on all the same is told so once more, and hung up on."""
        server = self.serve("--rate-per-connection", "2")
        connection = server.connect()
        burst = int(LEAST_BURST)
        codes = self.ask(connection, NAVIGATION * 100)
        self.assertEqual(codes, [404] * burst + [429] * burst)
        self.assertTrue(connection[1].write_closed)
        self.assertEqual(server.refused, ["rate"])
        self.assertEqual(self.ask(server.connect()), [404])

    def test_patient(self) -> None:
        """However much was too much, and however long nothing came: there is a burst, no more."""
        for pause, passes in ((LEAST_BURST / 2, False), (LEAST_BURST / 2 + 0.5, True)):
            bucket = TokenBucket.full(2.0, 0.0)
            for _ in range(1000):
                bucket.take(0.0)
            self.assertEqual(bucket.take(pause), passes)
        passed = sum(bucket.take(1000.0) for _ in range(100))
        self.assertEqual(passed, LEAST_BURST)

    def test_higher_rate(self) -> None:
        """A rate over ten a second lets as many come at once as in a second."""
        server = self.serve("--rate-per-connection", "25")
        self.assertEqual(self.ask(server.connect(), NAVIGATION * 26), [404] * 25 + [429])

    def test_per_address(self) -> None:
        """The connections of an address share its rate, also after they were closed."""
        server = self.serve("--rate-per-address", "10")
        for _ in range(10):
            connection = server.connect(THERE)
            self.assertEqual(self.ask(connection), [404])
            connection[0].connectionLost()
        self.assertEqual(self.ask(server.connect(THERE)), [429])
        self.assertEqual(self.ask(server.connect(ELSEWHERE)), [404])
        server.advance(10)
        self.assertEqual(self.ask(server.connect(THERE)), [404])

    def test_both(self) -> None:
        """Where both rates are set, the stricter one holds, and is enough to be hung up on by."""
        for connection_rate, address_rate in (("2", "12"), ("12", "2")):
            server = self.serve(
                "--rate-per-connection", connection_rate, "--rate-per-address", address_rate
            )
            burst = int(LEAST_BURST)
            connection = server.connect(THERE)
            self.assertEqual(self.ask(connection, NAVIGATION * burst), [404] * burst)
            self.assertEqual(self.ask(connection), [429])
            self.assertEqual(self.ask(connection, NAVIGATION * 100), [429] * (burst - 1))
            self.assertTrue(connection[1].write_closed)
            self.assertEqual(server.refused, ["rate"])

    def test_both_count(self) -> None:
        """A request counts for both, whichever it is refused by."""
        server = self.serve("--rate-per-connection", "10", "--rate-per-address", "15")
        first, second = server.connect(THERE), server.connect(THERE)
        self.assertEqual(self.ask(first, NAVIGATION * 12), [404] * 10 + [429] * 2)
        self.assertEqual(self.ask(second, NAVIGATION * 5), [404] * 3 + [429] * 2)
        server.advance(0.2)
        # Two more for each connection; three for both, of which two were overdrawn.
        self.assertEqual(self.ask(second, NAVIGATION * 2), [404, 429])

    def test_forgotten(self) -> None:
        """Addresses are forgotten when their buckets are full again."""
        server = self.serve("--rate-per-address", "10")
        for number in range(100):
            connection = server.connect(f"203.0.113.{number}")
            self.ask(connection)
            connection[0].connectionLost()
        self.assertEqual(len(server.guards.addresses), 100)
        server.advance(30)
        self.assertEqual(len(server.guards.addresses), 0)

    def test_garbage_counts(self) -> None:
        """What is no request counts all the same, and blank lines do not."""
        server = self.serve("--rate-per-connection", "1")
        protocol, transport = server.connect()
        protocol.dataReceived(b"\n" * 1000 + b"{}\n" * 11)
        for _ in range(1000 // LINES_PER_TURN + 1):
            server.advance(0)
        self.assertEqual(self.codes(transport), [400] * 10 + [429])

    def test_off(self) -> None:
        """No rate is set until one is asked for."""
        server = self.serve()
        self.assertEqual(len(self.ask(server.connect(THERE), NAVIGATION * 50)), 50)
        self.assertEqual(server.refused, [])

    @given(
        st.floats(0.001, 1000),
        st.lists(st.floats(0, 100), max_size=200),
    )
    def test_bucket(self, rate: float, pauses: list[float]) -> None:
        """Over any time no more are let through than the rate and one burst allow."""
        bucket = TokenBucket.full(rate, 0.0)
        now, passed = 0.0, 0
        for pause in pauses:
            now += pause
            passed += bucket.take(now)
            self.assertLessEqual(passed, bucket.size + rate * now + 1e-6)
            self.assertLessEqual(-bucket.size, bucket.tokens)


class PendingLoginTests(GuardTestCase):
    """--max-pending-logins."""

    def line(self, kind: str, **data: object) -> bytes:
        message = {"type": kind, "data": data, "status": {}, "timestamp": ""}
        return json.dumps(message).encode() + b"\n"

    def login(self, connection: tuple, **more: object) -> tuple[int, str]:
        data = {"user_name": "Ana", "selected_car": "Tesla Model 3", "battery_car": 40, **more}
        protocol, transport = connection
        protocol.dataReceived(self.line("LOGIN", **data))
        (reply,) = self.replies(transport)
        return reply["status"]["code"], reply["data"]["user_id"]

    def pay(self, connection: tuple, user_id: str, confirmation: bool = True) -> None:
        line = self.line("PAYMENT", user_id=user_id, id_station=1, confirmation=confirmation)
        self.assertEqual(self.ask(connection, line), [200])

    def test_edge(self) -> None:
        """So many may be logged in; one who pays, or leaves, from anywhere, makes room."""
        server = self.serve("--max-pending-logins", "2")
        connection = server.connect(THERE)
        users = [self.login(connection)[1] for _ in range(2)]
        self.assertEqual(self.login(connection), (429, None))
        self.assertEqual(self.login(server.connect(THERE)), (429, None))
        self.assertEqual(server.refused, ["pending_logins"] * 2)
        elsewhere = server.connect(ELSEWHERE)
        self.assertEqual(self.login(elsewhere)[0], 200)
        self.pay(elsewhere, users[0])
        self.pay(elsewhere, users[0])
        code, third = self.login(connection)
        self.assertEqual((code, self.login(connection)[0]), (200, 429))
        self.pay(elsewhere, third, confirmation=False)
        self.assertEqual((self.login(connection)[0], self.login(connection)[0]), (200, 429))

    def test_line(self) -> None:
        """Who holds an EVSE, or waits for one, is not pending; who gives that up is again."""
        server = self.serve("--max-pending-logins", "1")
        connection = server.connect(THERE)
        for _ in range(2):
            user = self.login(connection)[1]
            self.assertEqual(self.login(connection)[0], 429)
            line = self.line("RESERVE", user_id=user, id_station=8, wait=True)
            self.assertEqual(self.ask(connection, line), [200])
        other = self.login(connection)[1]
        self.assertEqual(self.ask(connection, self.line("CANCEL", user_id=user)), [200])
        self.pay(connection, other, confirmation=False)
        self.assertEqual(self.login(connection)[0], 429)
        # Once, however often it is said.
        self.assertEqual(self.ask(connection, self.line("CANCEL", user_id=user)), [200])
        self.pay(connection, user, confirmation=False)
        self.assertEqual((self.login(connection)[0], self.login(connection)[0]), (200, 429))

    def test_failed(self) -> None:
        """A login that fails does not count, now or later."""
        broken = [ValueError()]
        server = self.serve(
            "--max-pending-logins",
            "1",
            in_thread=lambda f, *args: fail(broken.pop()) if broken else call_now(f, *args),
        )
        # The first sweep.
        self.flushLoggedErrors(ValueError)
        broken.append(ValueError())
        connection = server.connect(THERE)
        self.assertEqual(self.login(connection, battery_car=-1)[0], 400)
        self.assertEqual(self.login(connection)[0], 500)
        self.flushLoggedErrors(ValueError)
        self.assertEqual((self.login(connection)[0], self.login(connection)[0]), (200, 429))

    def test_full_station(self) -> None:
        """A payment that takes nothing leaves the user pending."""
        server = self.serve("--max-pending-logins", "1")
        for number in itertools.count(1):
            other = server.connect(f"192.0.2.{number}")
            user = self.login(other)[1]
            line = self.line("PAYMENT", user_id=user, id_station=1, confirmation=True)
            other[0].dataReceived(line)
            if not self.replies(other[1])[0]["data"]["confirmation"]:
                break
        connection = server.connect(THERE)
        user = self.login(connection)[1]
        self.pay(connection, user)
        self.assertEqual(self.login(connection)[0], 429)

    def test_addresses(self) -> None:
        """An address is forgotten with the last user it has pending, however that one went."""
        server = self.serve("--user-ttl", "100")
        known = server.guards.addresses
        for number, how in enumerate((True, False, "fails", "stays")):
            connection = server.connect(f"192.0.2.{number}")
            code, user = self.login(connection, battery_car=-1 if how == "fails" else 40)
            connection[0].connectionLost()
            self.assertEqual((code, len(known)), (400, 0) if how == "fails" else (200, 1))
            if isinstance(how, bool):
                elsewhere = server.connect(ELSEWHERE)
                self.pay(elsewhere, user, how)
                elsewhere[0].connectionLost()
                self.assertEqual(len(known), 0)
        for _ in range(24):
            server.advance(5)
        self.assertEqual(len(known), 0)

    def test_expired(self) -> None:
        """Users who are removed because they never paid do not count any more."""
        server = self.serve("--max-pending-logins", "1", "--user-ttl", "100")
        connection = server.connect(THERE)
        self.login(connection)
        server.advance(90)
        self.assertEqual(self.login(connection)[0], 429)
        for _ in range(5):
            server.advance(5)
        self.assertEqual(self.login(connection)[0], 200)

    def test_here(self) -> None:
        """From this machine any number may log in, unless asked for."""
        server = self.serve()
        self.patch(logins, "MOST_PENDING_LOGINS", 1)
        for host, code in ((HERE, 200), (THERE, 429)):
            connection = server.connect(host)
            self.login(connection)
            self.assertEqual(self.login(connection)[0], code)


class PatienceTests(GuardTestCase):
    """--idle-timeout, --line-timeout, --unread-timeout."""

    def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps, as it does."""
        for _ in range(round(seconds * 4)):
            self.server.advance(0.25)

    def test_idle(self) -> None:
        """A connection without a request ends; each request gives it all the time anew."""
        server = self.serve("--idle-timeout", "10")
        protocol, transport = server.connect()
        self.pass_time(9.75)
        self.assertEqual(self.ask((protocol, transport)), [404])
        self.pass_time(9.75)
        self.assertFalse(transport.write_closed)
        self.pass_time(2.25)
        self.assertTrue(transport.write_closed)
        self.assertEqual(server.refused, ["idle"])

    def test_slow_line(self) -> None:
        """A line must end in time, however many bytes of it still come."""
        server = self.serve("--line-timeout", "10", "--idle-timeout", "0")
        protocol, transport = server.connect()
        self.pass_time(100)
        for _ in range(39):
            protocol.dataReceived(b"x")
            self.pass_time(0.25)
        self.assertFalse(transport.write_closed)
        for _ in range(9):
            protocol.dataReceived(b"x")
            self.pass_time(0.25)
        self.assertTrue(transport.write_closed)
        self.assertEqual(server.refused, ["slow_line"])

    def test_slow_but_whole(self) -> None:
        """Lines that end in time go on for ever, with the next one's start in the same piece."""
        server = self.serve("--line-timeout", "10", "--idle-timeout", "10")
        protocol, transport = server.connect()
        for _ in range(20):
            protocol.dataReceived(START[:-1])
            self.pass_time(5)
            protocol.dataReceived(b"\n" + START[:9])
            self.pass_time(5)
            protocol.dataReceived(START[9:])
        self.assertEqual(set(self.codes(transport)), {200})
        self.assertEqual(server.refused, [])

    def test_unread(self) -> None:
        """Who leaves replies unread is cut off, and who reads some of them now and then is not."""
        server = self.serve("--unread-timeout", "10", "--idle-timeout", "0")
        protocol, transport = server.connect()
        for _ in range(5):
            protocol.pauseProducing()
            self.pass_time(9.75)
            protocol.resumeProducing()
            self.ask((protocol, transport))
        protocol.pauseProducing()
        self.pass_time(9.75)
        self.assertFalse(transport.aborted)
        self.pass_time(2.25)
        self.assertTrue(transport.aborted)
        self.assertEqual(server.refused, ["unread"])

    def test_unread_at_the_end(self) -> None:
        """So is one who has said all it wants to, and does not read the last replies."""
        server = self.serve("--unread-timeout", "10")
        protocol, transport = server.connect()
        protocol.dataReceived(START)
        protocol.readConnectionLost()
        self.assertTrue(transport.disconnecting)
        self.pass_time(12)
        self.assertTrue(transport.aborted)

    def test_waiting_for_us(self) -> None:
        """Who waits for the server has all the time that its storage has, and is told by that."""
        server = self.serve(
            "--idle-timeout", "1", "--line-timeout", "1", "--unread-timeout", "1",
            in_thread=lambda f, *args: Deferred(),
        )  # fmt: skip
        protocol, transport = server.connect()
        login = {"user_name": "Ana", "selected_car": "Tesla Model 3", "battery_car": 40}
        request = {"type": "LOGIN", "data": login, "status": {}, "timestamp": ""}
        protocol.dataReceived(json.dumps(request).encode() + b"\n{")
        self.pass_time(29)
        self.assertEqual(transport.take(), b"")
        protocol.dataReceived(b"}\n")
        self.pass_time(1.25)
        self.assertEqual(self.codes(transport), [503, 400])
        self.assertFalse(transport.write_closed or transport.aborted)
        self.assertEqual(server.refused, [])

    def stuck(self, answer: Callable[[], Deferred], **more: object) -> tuple:
        """A connection whose NAVIGATION is never answered, with a line behind it."""
        server = self.serve("--idle-timeout", "1", "--line-timeout", "1", **more)
        server.guards.around["NAVIGATION"] = lambda handle, data, client: answer()
        protocol, transport = server.connect(THERE)
        protocol.dataReceived(NAVIGATION + START)
        return protocol, transport

    def test_never_answered(self) -> None:
        """Who waits longer than the storage has and a margin is told 503, hung up on and logged."""
        for patience_s in (30.0, 1.5):
            storage = shipped_network()
            storage.patience_s = patience_s
            events = logged(self)
            _, transport = self.stuck(Deferred, storage=storage)
            self.pass_time(patience_s + MARGIN_S - 0.25)
            self.assertEqual(transport.take(), b"")
            self.pass_time(2.25)
            (reply,) = self.replies(transport)
            self.assertEqual((reply["status"]["code"], reply["id"]), (503, 7))
            self.assertTrue(transport.write_closed)
            self.assertEqual(self.server.refused, ["unanswered"])
            (line,) = [event for event in events if "reason" in event]
            self.assertEqual(line["log_level"], LogLevel.error)
            self.assertIn(THERE, formatEvent(line))
            self.assertIn("kept waiting by the server", formatEvent(line))

    def test_never_answered_at_the_end(self) -> None:
        """So is one who has closed its half."""
        protocol, transport = self.stuck(Deferred)
        protocol.readConnectionLost()
        self.pass_time(30 + MARGIN_S + 2)
        self.assertEqual(self.codes(transport), [503])
        self.assertTrue(transport.disconnecting)

    def test_not_even_cancelled(self) -> None:
        """Where no reply can be had for anything, the connection is cut; it is lost only once."""
        protocol, transport = self.stuck(lambda: Deferred().addErrback(lambda _: Deferred()))
        self.pass_time(30 + MARGIN_S + 2)
        self.assertTrue(transport.aborted)
        self.assertEqual(transport.take(), b"")
        protocol.connectionLost()
        self.pass_time(100)
        self.assertEqual(self.server.refused, ["unanswered"])
        self.assertEqual((len(self.server.guards.addresses), self.codes(transport)), (0, []))

    def test_lingers(self) -> None:
        """One who was hung up on and is there all the same, whatever became of that, is cut off."""
        _, transport = self.serve("--idle-timeout", "1").connect()
        self.pass_time(3)
        self.assertTrue(transport.write_closed)
        self.pass_time(LINGER_S)
        self.assertTrue(transport.aborted)
        transport.aborted = False
        self.pass_time(30 + MARGIN_S + 2)
        self.assertTrue(transport.aborted)

    def test_shortest(self) -> None:
        """The shortest limit costs no more than twenty looks a second."""
        looks = []
        self.patch(Timeouts, "look", lambda timeouts: looks.append(timeouts))
        server = self.serve("--idle-timeout", "1e-9")
        for _ in range(1000):
            server.advance(0.001)
        self.assertIn(len(looks), range(1, 21))

    def test_short(self) -> None:
        """A limit of a part of a second is kept as well."""
        server = self.serve("--idle-timeout", "0.2")
        _, transport = server.connect()
        for _ in range(6):
            server.advance(0.05)
        self.assertTrue(transport.write_closed)


class TurnTests(GuardTestCase):
    """However much there is to look after, little of it is done in one turn of the reactor."""

    MANY = 1500

    def turns(self, figure: Callable[[], int]) -> list[int]:
        """By how much a figure changes in each turn of the reactor, from now on."""
        changes: list[int] = []
        call_later = self.server.clock.callLater

        def counting(delay: float, f: Callable, *args: object, **named: object) -> IDelayedCall:
            def turn() -> None:
                before = figure()
                f(*args, **named)
                changes.append(abs(figure() - before))

            return call_later(delay, turn)

        self.server.clock.callLater = counting  # type: ignore[method-assign]
        self.server.advance(TIDY_S)
        changes.clear()
        return changes

    def test_looks(self) -> None:
        """Each second all connections are looked at, some in each turn, and none of them twice."""
        self.serve("--idle-timeout", "1000")
        looked: list[DriverProtocol] = []
        standing = DriverProtocol.standing.fget

        def counted(connection: DriverProtocol) -> Standing:
            looked.append(connection)
            return standing(connection)

        self.patch(DriverProtocol, "standing", property(counted))
        for _ in range(self.MANY):
            self.server.connect()
        turns = self.turns(lambda: len(looked))
        for _ in range(3):
            looked.clear()
            self.server.advance(LOOK_S)
            self.assertEqual(len(looked), self.MANY)
            self.assertEqual(len(set(looked)), self.MANY)
        self.assertLessEqual(max(turns), LOOKS_PER_TURN)

    def test_changes_meanwhile(self) -> None:
        """One that comes or goes between two turns of a look disturbs none of the others."""
        server = self.serve("--idle-timeout", "20")
        connections = [server.connect() for _ in range(2 * LOOKS_PER_TURN)]
        call_later = server.clock.callLater
        late = []

        def between(delay: float, *args: object, **named: object) -> IDelayedCall:
            if delay == 0 and server.clock.seconds() < NOON + 15:
                connections.pop()[0].connectionLost()
                connections.pop(0)[0].connectionLost()
                late.append(server.connect())
            return call_later(delay, *args, **named)

        server.clock.callLater = between  # type: ignore[method-assign]
        for _ in range(19):
            server.advance(1)
        self.assertGreaterEqual(len(late), 14)
        self.assertEqual(len(server.factory.connections), 2 * LOOKS_PER_TURN - len(late))
        self.assertEqual(server.refused, [])
        for _ in range(19):
            server.advance(1)
        self.assertTrue(all(transport.write_closed for _, transport in connections + late))

    def test_ends(self) -> None:
        """When very many have taken too long at once, all are ended by that look, few in a turn."""
        self.serve("--idle-timeout", "20")
        connections = [self.server.connect() for _ in range(self.MANY)]
        turns = self.turns(lambda: len(self.server.refused))
        for _ in range(21):
            self.server.advance(1)
        self.assertEqual(len(self.server.refused), self.MANY)
        self.assertTrue(all(transport.write_closed for _, transport in connections))
        self.assertLessEqual(max(turns), ENDS_PER_TURN)

    def test_gone_meanwhile(self) -> None:
        """Of those that are to be ended in a later turn, who has gone by then is let go."""
        self.serve("--idle-timeout", "20")
        connections = [self.server.connect() for _ in range(self.MANY)]
        turns = self.turns(self.leave_when_refused(connections))
        for _ in range(21):
            self.server.advance(1)
        self.assertEqual(len(self.server.refused), sum(t.write_closed for _, t in connections))
        self.assertEqual(sum(turns), 0)
        self.assertIn(len(self.server.refused), range(1, 2 * ENDS_PER_TURN + 1))

    def leave_when_refused(self, connections: list[tuple]) -> Callable[[], int]:
        """Has all connections go as soon as one was refused."""

        def leave() -> int:
            if self.server.refused:
                for protocol, _ in connections:
                    if protocol in self.server.factory.connections:
                        protocol.connectionLost()
            return 0

        return leave

    def test_stops(self) -> None:
        """Once the server ends, nothing more is looked at."""
        looks: list[bool] = []
        look = Timeouts.look

        def stop(timeouts: Timeouts) -> bool:
            looks.append(look(timeouts))
            if looks[0]:
                server.guards.stopService()
            return looks[-1]

        self.patch(Timeouts, "look", stop)
        server = self.serve()
        for _ in range(self.MANY):
            server.connect()
        server.advance(1)
        server.advance(100)
        self.assertEqual(looks, [True])

    def test_fails(self) -> None:
        """A look that fails is logged, and the next one comes all the same."""
        look = Timeouts.look
        failures = [ZeroDivisionError()]

        def fail_once(timeouts: Timeouts) -> bool:
            if failures:
                raise failures.pop()
            return look(timeouts)

        self.patch(Timeouts, "look", fail_once)
        server = self.serve("--idle-timeout", "10")
        _, transport = server.connect()
        for _ in range(14):
            server.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(transport.write_closed)

    def test_addresses(self) -> None:
        """So are addresses forgotten that are of no importance any more."""
        self.serve("--rate-per-address", "1")
        turns = self.turns(lambda: len(self.server.guards.addresses))
        for number in range(self.MANY):
            connection = self.server.connect(str(ipaddress.IPv4Address(number)))
            self.ask(connection)
            connection[0].connectionLost()
        self.assertEqual(len(self.server.guards.addresses), self.MANY)
        for _ in range(3):
            self.server.advance(TIDY_S)
        self.assertEqual(len(self.server.guards.addresses), 0)
        self.assertIn(max(turns), range(1, TIDIED_PER_TURN + 1))

    def test_pending_logins(self) -> None:
        """So are users who never paid."""
        self.serve("--user-ttl", "60")
        login = {"user_name": "Ana", "selected_car": "Tesla Model 3", "battery_car": 40}
        request = {"type": "LOGIN", "data": login, "status": {}, "timestamp": ""}
        line = json.dumps(request).encode() + b"\n"
        connection = self.server.connect(THERE)
        address = connection[0].client.address
        turns = self.turns(lambda: address.pending_logins)
        for _ in range(self.MANY):
            self.assertEqual(self.ask(connection, line), [200])
        self.assertEqual(address.pending_logins, self.MANY)
        for _ in range(8):
            self.server.advance(TIDY_S)
        self.assertEqual(address.pending_logins, 0)
        self.assertIn(max(turns), range(1, FORGOTTEN_PER_TURN + 1))


class GrowthTests(GuardTestCase):
    """What is kept grows with what stands, and not with what has happened."""

    def line(self, kind: str, **data: object) -> bytes:
        message = {"type": kind, "data": data, "status": {}, "timestamp": ""}
        return json.dumps(message).encode() + b"\n"

    def happen(self, host: str) -> list[DriverProtocol]:
        """All that can happen at one address; the connections that are to end by themselves."""
        server = self.server
        one, two, three = (server.connect(host) for _ in range(3))
        refused, _ = server.connect(host)
        refused.connectionLost()
        data = {"user_name": host, "selected_car": "Tesla Model 3", "battery_car": 40}
        logins = [self.line("LOGIN", **{**data, "battery_car": level}) for level in (1, -1, 2, 3)]
        one[0].dataReceived(b"".join(logins))
        users = [reply["data"]["user_id"] for reply in self.replies(one[1])]
        self.assertEqual([user is None for user in users], [False, True, False, True])
        # One pays, one leaves, one will never pay.
        for user, confirmation in ((users[0], True), (users[2], False), ("nobody", True)):
            payment = {"user_id": user, "id_station": 1, "confirmation": confirmation}
            one[0].dataReceived(self.line("PAYMENT", **payment))
        one[0].dataReceived(logins[0] + self.line(f"MADE UP BY {host}") + b"garbage\n")
        self.assertEqual(self.codes(one[1]), [200, 200, 404, 200, 404, 400])
        one[0].dataReceived(START * 300)
        server.advance(0.01)
        self.assertEqual(self.codes(one[1])[-1], 429)
        one[0].connectionLost()
        # Of one half a line comes, of one a request that is never answered.
        two[0].dataReceived(START[:9])
        three[0].dataReceived(NAVIGATION + START)
        return [two[0], three[0]]

    def kept(self) -> tuple[int, int, int]:
        """What is kept besides the storage: objects, what is in containers, and timers."""
        server = self.server
        # Of figures there is an hour, and a day.
        figures = server.engine.figures
        apart = (server.storage, server.clock, server.refused, figures.points, figures.minutes)
        seen = {id(one) for one in apart}
        count = inside = 0
        left: list[object] = [server.guards, server.factory, server.controller, server.accepts]
        while left:
            one = left.pop()
            # Of numbers the small ones are one object each, wherever they are; of others that is
            # left to chance.
            if id(one) in seen or isinstance(one, (type, ModuleType, int, float)):
                continue
            seen.add(id(one))
            count += 1
            if isinstance(one, (dict, list, set, deque, tuple)):
                inside += len(one)
            if isinstance(one, FunctionType):
                # Not its module's variables.
                left += one.__closure__ or ()
            else:
                left += gc.get_referents(one)
        return count, inside, len(server.clock.getDelayedCalls())

    def test_nothing_grows(self) -> None:
        """However often all that can happen has happened, as much is kept as after the first."""
        server = self.serve(
            *("--max-connections-per-address", "3", "--max-pending-logins", "2"),
            *("--rate-per-connection", "100", "--rate-per-address", "100"),
            *("--line-timeout", "10", "--idle-timeout", "10", "--user-ttl", "60"),
            user_ttl=60.0,
            time_scale=600.0,
        )
        server.guards.around["NAVIGATION"] = lambda handle, data, client: Deferred()
        kept = []
        for _ in range(4):
            connections = [one for number in range(10) for one in self.happen(f"192.0.2.{number}")]
            for _ in range(90):
                server.advance(1)
            for one in connections:
                one.connectionLost()
            server.advance(10)
            server.advance(10)
            kept.append(self.kept())
        self.assertEqual(
            set(server.refused),
            {"rate", "pending_logins", "address_connections", "slow_line", "unanswered"},
        )
        self.assertEqual(kept[1:], [kept[0]] * 3)


class OptionTests(SynchronousTestCase):
    """What the options may be."""

    def test_wrong(self) -> None:
        """Each is refused with its name and its range."""
        for option, value in (
            ("max-connections", "0"),
            ("max-connections-per-address", "-1"),
            ("rate-per-connection", "x"),
            ("rate-per-address", "-0.1"),
            ("max-pending-logins", "1.5"),
            ("idle-timeout", "nan"),
            ("line-timeout", "-1"),
            ("unread-timeout", ""),
        ):
            error = self.assertRaises(UsageError, Options().parseOptions, [f"--{option}={value}"])
            self.assertIn(f"--{option} must be a", str(error))
