"""What a server in memory can be made to do: python3 -m unittest test_recipes"""

import json
import unittest
from datetime import datetime

from evcharge.testing import MemoryServer


def log_in(server, name):
    """A driver's user_id."""
    car = {"selected_car": "Tesla Model 3", "battery_car": 40}
    return server.request("LOGIN", user_name=name, **car)["data"]["user_id"]


class RecipeTests(unittest.TestCase):
    def test_no_slot(self):
        """Station 8 has one slot, and Rui has it."""
        server = MemoryServer()
        ana, rui = log_in(server, "Ana"), log_in(server, "Rui")
        server.request("ARRIVE", user_id=rui, id_station=8)
        said = server.request("PAYMENT", user_id=ana, id_station=8, confirmation=True)
        self.assertEqual(said["data"]["reason"], "no_slot")

    def test_turn(self):
        """The turn comes when Rui's charge is over."""
        server = MemoryServer()
        ana, rui = log_in(server, "Ana"), log_in(server, "Rui")
        server.request("PAYMENT", user_id=rui, id_station=8, confirmation=True)
        waiting = server.request("RESERVE", user_id=ana, id_station=8, wait=True)
        server.advance(waiting["data"]["eta_minutes"] * 60 + 1)
        self.assertEqual(server.request("STATUS", user_id=ana)["data"]["state"], "OFFERED")

    def test_event(self):
        """A connection that has subscribed is told of a slot that somebody takes."""
        server = MemoryServer()
        protocol, transport = server.connect()
        topics = {"topics": ["stations"], "stations": [8]}
        request = {"type": "SUBSCRIBE", "data": topics, "status": {}, "timestamp": ""}
        protocol.dataReceived(json.dumps(request).encode() + b"\n")
        transport.take()
        server.request("ARRIVE", user_id=log_in(server, "Rui"), id_station=8)
        server.advance(0.1)
        (event,) = map(json.loads, transport.take().splitlines())
        self.assertEqual(event["data"]["stations"]["8"]["available_slots"], 0)

    def test_night(self):
        """At night a kWh costs less at station 34, by its tariff."""
        prices = []
        for time in ("2026-11-25T15:00-03:00", "2026-11-25T23:00-03:00"):
            server = MemoryServer(now=datetime.fromisoformat(time).timestamp())
            start = server.request("START", stations=[34])
            prices.append(start["data"]["station_models"]["34"]["price_kwh"])
        self.assertGreater(prices[0], prices[1])

    def test_restart(self):
        """The server ends and starts again: the driver charges on."""
        before = MemoryServer()
        ana = log_in(before, "Ana")
        before.request("ARRIVE", user_id=ana, id_station=9)
        after = MemoryServer(storage=before.storage, now=before.clock.seconds() + 60)
        self.assertEqual(after.request("STATUS", user_id=ana)["data"]["state"], "CHARGING")

    def test_crowd(self):
        """One address has too many connections: the server refuses the next one."""
        server = MemoryServer(options=["--max-connections-per-address", "1"])
        server.connect()
        (refused,) = server.send(b"")
        self.assertEqual(refused["status"]["code"], 429)


if __name__ == "__main__":
    unittest.main()
