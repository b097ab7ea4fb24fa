import json
import socket

server = socket.create_connection(("127.0.0.1", 8888)).makefile("rw", encoding="utf-8")


def ask(kind, **data):
    request = {"type": kind, "data": data, "status": {}, "timestamp": ""}
    print(json.dumps(request), file=server, flush=True)
    return json.loads(server.readline())["data"]


ana = ask("LOGIN", user_name="Ana", selected_car="Tesla Model 3", battery_car=40)["user_id"]
here = {"latitude": -12.2664, "longitude": -38.9663}
found = ask("SELECTION_STATION", user_id=ana, position=here)
print(found["message"])
paid = ask("PAYMENT", user_id=ana, id_station=found["id_station"], confirmation=True)
print(paid["message"])
