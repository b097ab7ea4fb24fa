"""A driver's journey in a program of one's own: `python journey.py [PORT]`."""

import sys
import time

from evcharge.client import Client

PORT = int(sys.argv[1]) if sys.argv[1:] else 8888
CAR = {"user_name": "Ana", "selected_car": "Tesla Model 3", "battery_car": 40}
HERE = {"latitude": -12.2664, "longitude": -38.9663}

with Client("127.0.0.1", PORT) as server:
    ana = server.request("LOGIN", **CAR)["data"]["user_id"]
    found = server.request("SELECTION_STATION", user_id=ana, position=HERE)["data"]
    print(found["message"])
    station = found["id_station"]
    if station is not None:
        paid = server.request("PAYMENT", user_id=ana, id_station=station, confirmation=True)["data"]
        print(paid["message"])
        time.sleep(3)
        now = server.request("STATUS", user_id=ana)["data"]
        print(f"{now['state']}: {now.get('battery_percent')} % after {now.get('energy_kwh')} kWh")
        left = server.request("STOP", user_id=ana, receipt_id=paid.get("receipt_id"))["data"]
        print(left["message"])
