"""Shows a charge, and its station, as they change: python3 live.py"""

import time

from driver import Driver

from evcharge.client import Client, NoReply


def follow(**what):
    """How things stand, and then each change. After a lost connection it starts again."""
    while True:
        try:
            with Client("127.0.0.1", 8888) as server:
                yield server.request("SUBSCRIBE", **what)["data"]["snapshot"]
                while True:
                    yield server.event()["data"]
        except NoReply as error:
            print(error)
            time.sleep(1)


if __name__ == "__main__":
    ana = Driver()
    ana.log_in("Ana", 76)
    paid = ana.pay()
    topics = {"topics": ["stations", "user"], "stations": [paid["id_station"]]}
    for news in follow(user_id=ana.user_id, **topics):
        for number, station in news.get("stations", {}).items():
            print(f"{number}: {station['available_slots']}/{station['max_slots']}")
        if "user" in news:
            print(news["user"].get("state", "FREE"))
            if "state" not in news["user"]:
                break
