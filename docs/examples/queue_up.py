"""Waits in a queue, accepts the offer and charges: python3 queue_up.py"""

from driver import Driver
from live import follow

STATION = 8  # It has one slot, so a queue is easy to get.

rui, ana = Driver(), Driver()
rui.log_in("Rui", 40)
ana.log_in("Ana", 40)
print("Rui:", rui.ask("ARRIVE", user_id=rui.user_id, id_station=STATION)["message"])
waiting = ana.ask("RESERVE", user_id=ana.user_id, id_station=STATION, wait=True)
print("Ana:", waiting["message"])

for news in follow(topics=["user"], user_id=ana.user_id):
    match news.get("user", {}).get("state"):
        case "WAITING":
            print("Rui:", rui.ask("STOP", user_id=rui.user_id)["message"])
        case "OFFERED":
            print("Ana: OFFERED")
            began = ana.ask("ARRIVE", user_id=ana.user_id, id_station=STATION)
            print("Ana:", began["message"])
        case "CHARGING":
            print("Ana:", ana.ask("STOP", user_id=ana.user_id)["message"])
            break
