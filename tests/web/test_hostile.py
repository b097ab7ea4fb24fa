"""A real server among clients of WebSocket, and of HTTP, that mean harm."""

from pathlib import Path

from tests.support.hostile import Hostile
from tests.support.servers import memory_kib
from tests.support.suffering import HostileTestCase

PORT = ("--web-port", "tcp:0:interface=127.0.0.1")


class SocketTests(HostileTestCase):
    """One of them takes next to nothing from others, whatever it does."""

    def test_endless_frame(self) -> None:
        """A frame that would never end."""
        self.suffer("endless_frame", *PORT, least=10)

    def test_endless_message(self) -> None:
        """A message that would never end."""
        self.suffer("endless_message", *PORT, least=10)

    def test_empty_fragments(self) -> None:
        """A message of nothing that would never end."""
        self.suffer("empty_fragments", *PORT, least=10)

    def test_pings(self) -> None:
        """Pings whose pongs are never read, which stop being read themselves."""
        self.suffer("pings", *PORT)

    def test_never_hears(self) -> None:
        """Many who listen, and do not read what they are told, while much changes."""
        self.suffer("never_hears", *PORT, least=20)

    def test_refused(self) -> None:
        """5,000 upgrades that are refused leave nothing behind."""
        server = self.start(Path(self.mktemp()), *PORT).wait()
        hostile = Hostile(server.web_port, 0)
        for _ in range(500):
            hostile.ask_as_evil()
        before = memory_kib(server)
        for _ in range(5000):
            hostile.ask_as_evil()
        self.assertLess(memory_kib(server) - before, 512)
        self.assertEqual(self.client(server).request("START")["status"]["code"], 200)


class HTTPTests(HostileTestCase):
    """Nor does one of HTTP."""

    def test_slow_heads(self) -> None:
        """Many heads of which a byte comes now and then."""
        self.suffer("slow_heads", *PORT, least=500)

    def test_gets(self) -> None:
        """Thousands of requests at once, whose answers are read."""
        self.suffer("gets", *PORT, least=100_000)

    def test_gets_big(self) -> None:
        """Thousands of requests at once for what is big, whose answers are not."""
        self.suffer("gets_big", *PORT, least=1)

    def test_large_bodies(self) -> None:
        """Bodies that are too large."""
        self.suffer("large_bodies", *PORT, least=10)
