"""A driver pays for a slot, with evcharge.client: python3 first_client.py"""

from evcharge.client import Client

CAR = {"user_name": "Ana", "selected_car": "Tesla Model 3", "battery_car": 40}
HERE = {"latitude": -12.2664, "longitude": -38.9663}

with Client("127.0.0.1", 8888) as server:
    ana = server.request("LOGIN", **CAR)["data"]["user_id"]
    found = server.request("SELECTION_STATION", user_id=ana, position=HERE)["data"]
    station = found["id_station"]
    paid = server.request("PAYMENT", user_id=ana, id_station=station, confirmation=True)
    print(paid["data"]["message"])
