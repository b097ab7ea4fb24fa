"""A driver who pays for a slot, whatever fails on the way: python3 driver.py"""

import time

from evcharge.client import Client, NoReply

HERE = {"latitude": -12.2664, "longitude": -38.9663}


def send(kind, **data):
    """The whole reply to one request, over a connection of its own."""
    with Client("127.0.0.1", 8888) as server:
        return server.request(kind, **data)


class Driver:
    """One driver's requests. `send` and `sleep` are there for the tests to replace."""

    def __init__(self, send=send, sleep=time.sleep):
        self.send, self.sleep = send, sleep

    def ask(self, kind, **data):
        """The data of the reply; asks again if none came, or if the server is busy."""
        for pause in (1, 2, 4, 8, 16):
            try:
                reply = self.send(kind, **data)
            except NoReply as error:
                print(error)
            else:
                if reply["status"]["code"] == 200:
                    return reply["data"]
                if reply["status"]["code"] not in (429, 503):
                    raise ValueError(reply["data"]["message"])
                print(reply["data"]["message"])
            self.sleep(pause)
        raise TimeoutError("the server does not answer")

    def log_in(self, name, battery):
        """Log in once, and keep the id: another LOGIN would make another user."""
        car = {"selected_car": "Tesla Model 3", "battery_car": battery}
        self.user_id = self.ask("LOGIN", user_name=name, **car)["user_id"]

    def pay(self):
        """Pay at the first station that still has a slot; the reply, or None without any."""
        found = self.ask("SELECTION_STATION", user_id=self.user_id, position=HERE)
        for station in [found, *found["alternatives"]]:
            if (number := station["id_station"]) is not None:
                paid = self.ask(
                    "PAYMENT", user_id=self.user_id, id_station=number, confirmation=True
                )
                print(paid["message"])
                if paid["confirmation"]:
                    return paid
        return None


if __name__ == "__main__":
    ana = Driver()
    ana.log_in("Ana", 40)
    ana.pay()
