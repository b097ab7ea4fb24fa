"""Tests of driver.py, against a server in memory: python3 -m unittest test_driver"""

import unittest

from driver import Driver

from evcharge.client import NoReply
from evcharge.testing import MemoryServer


class DriverTests(unittest.TestCase):
    def start(self, *options):
        """A server in memory, and a driver of it who waits by the server's clock."""
        self.server = MemoryServer(options=options)
        self.ana = Driver(self.server.request, self.server.advance)
        self.ana.log_in("Ana", 40)

    def fill(self, station):
        """Have others take every slot that Ana's car could use there; the last one of them."""
        others = []
        while True:
            rui = Driver(self.server.request)
            rui.log_in("Rui", 40)
            said = rui.ask("ARRIVE", user_id=rui.user_id, id_station=station)
            if said.get("reason") == "no_slot":
                return others[-1]
            others.append(rui)

    def status(self):
        return self.ana.ask("STATUS", user_id=self.ana.user_id)

    def test_time(self):
        """Half-way through, half of the energy is charged. Nobody waits for it."""
        self.start()
        paid = self.ana.pay()
        self.server.advance(paid["charge_minutes"] * 60 / 2)
        self.assertEqual(self.status()["energy_kwh"], paid["energy_kwh"] / 2)

    def test_no_slot(self):
        """Somebody is quicker: the slot is at another station."""
        self.start()
        asked = []

        def send(kind, **data):
            if kind == "PAYMENT" and not asked:
                self.fill(data["id_station"])
            if kind == "PAYMENT":
                asked.append(data["id_station"])
            return self.server.request(kind, **data)

        self.ana.send = send
        self.assertEqual(self.ana.pay()["id_station"], asked[1])
        self.assertNotEqual(asked[0], asked[1])

    def test_queue(self):
        """Who waits is offered the first slot that comes free."""
        self.start()
        rui = self.fill(8)
        self.ana.ask("RESERVE", user_id=self.ana.user_id, id_station=8, wait=True)
        self.assertEqual((self.status()["state"], self.status()["position"]), ("WAITING", 1))
        rui.ask("STOP", user_id=rui.user_id)
        self.assertEqual(self.status()["state"], "OFFERED")
        # Who does not accept in five minutes has lost it.
        self.server.advance(5 * 60)
        self.assertEqual(self.status()["state"], "FREE")

    def test_lost_reply(self):
        """The slot was paid for, but the reply got lost: it is not paid for twice."""
        self.start()
        lost = []

        def send(kind, **data):
            reply = self.server.request(kind, **data)
            if kind == "PAYMENT" and not lost:
                lost.append(reply["data"])
                raise NoReply("the connection was lost")
            return reply

        self.ana.send = send
        self.assertEqual(self.ana.pay(), lost[0])

    def test_busy(self):
        """Requests come faster than the operator allows: the driver waits, and asks again."""
        self.start("--rate-per-address", "1")
        began = self.server.clock.seconds()
        for _ in range(20):
            self.assertEqual(self.status()["state"], "FREE")
        self.assertGreater(self.server.clock.seconds() - began, 5)


if __name__ == "__main__":
    unittest.main()
