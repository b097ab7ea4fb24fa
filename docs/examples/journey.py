"""A driver's journey in a program of one's own: `python journey.py [PORT]`."""

import sys

from evcharge.client import Client

PORT = int(sys.argv[1]) if sys.argv[1:] else 8888
HERE = {"latitude": -12.2664, "longitude": -38.9663}

with Client("127.0.0.1", PORT) as server:
    login = server.request("LOGIN", user_name="Ana", selected_car="Tesla Model 3", battery_car=40)
    user_id = login["data"]["user_id"]
    found = server.request("SELECTION_STATION", user_id=user_id, position=HERE)
    print(found["data"]["message"])
    station_id = found["data"]["id_station"]
    if station_id is not None:
        paid = server.request("PAYMENT", user_id=user_id, id_station=station_id, confirmation=True)
        print(paid["data"]["message"])
