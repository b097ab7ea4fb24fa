"""A server in memory with a network of its own, and what its replies come to."""

from evcharge.models.station import Station
from evcharge.storage.memory import MemoryStorage
from evcharge.testing import MemoryServer

LONG = "1" * 4301
"""An integer that is too long for the fast decoder."""

CARS = {
    "Small": {
        "brand": "B",
        "model": "S",
        "battery_capacity": 50,
        "energy_consumption": 0.2,
        "max_speed": 100,
    },
    "Tesla Model 3": {
        "brand": "Tesla",
        "model": "Model 3",
        "battery_capacity": 50,
        "energy_consumption": 0.153,
        "max_speed": 225,
        "ac_power_kw": 11,
        "dc_power_kw": 149,
    },
}


def station(number: int, slots: int = 1, **facts: object) -> Station:
    return Station(number, f"Posto {number}", "Rua", -12.25, -38.95 + number / 100, slots, **facts)


make_storage = MemoryStorage
"""Makes the storage of each test; test_journey_storages puts others in its place."""


def server(*stations: Station, **options: object) -> MemoryServer:
    return MemoryServer(make_storage(CARS, stations), **options)


def login(to: MemoryServer, battery: object = 40, car: str = "Small", **more: object) -> str:
    reply = to.request("LOGIN", user_name="Ana", selected_car=car, battery_car=battery, **more)
    assert reply["status"]["code"] == 200, reply
    return reply["data"]["user_id"]


def select(to: MemoryServer, user: str, distances: dict, **more: object) -> dict:
    """The data of SELECTION_STATION's reply to one who knows how far the stations are, in km."""
    listed = {key: {"distance_origin_position": km} for key, km in distances.items()}
    return to.request("SELECTION_STATION", user_id=user, list_stations=listed, **more)["data"]


def outcome(reply: dict) -> tuple:
    return reply["status"]["code"], reply["data"].get("reason")
