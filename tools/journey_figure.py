"""One driver's journey, carried out by a server in memory, and its picture in both languages."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from evcharge.testing import MemoryServer

HERE = {"latitude": -12.2664, "longitude": -38.9663}
CAR = "Tesla Model 3"
SAMPLES = 24
SECONDS_LATE = 6 * 60
"""How long the car stays where it was charged."""

WIDTH, HEIGHT = 640, 372
LEFT, RIGHT, TOP, BASE = 52, 16, 44, 204
LEAST, MOST = 30, 90
"""The percents of the battery that are shown."""
STATES = (
    ("WAITING", "#b45309"), ("RESERVED", "#7c3aed"), ("CHARGING", "#0b6e4f"),
    ("FINISHED", "#9f1239"),
)  # fmt: skip
WORDS = {
    "en": {
        "title": "Ana's journey: {0:.0f} minutes in the queue, {1:.0f} on the way, {2:.0f} charging"
        " from {from_percent:.0f} to {to_percent:.0f} %, and {3:.0f} at the slot after that",
        "battery": "battery, %",
        "states": ("queue", "way", "charging", "idle"),
    },
    "pt": {
        "title": "A jornada de Ana: {0:.0f} minutos na fila, {1:.0f} a caminho, {2:.0f} de recarga"
        " de {from_percent:.0f} a {to_percent:.0f} %, e depois mais {3:.0f} na vaga",
        "battery": "bateria, %",
        "states": ("fila", "ida", "recarga", "parada"),
    },
}


@dataclass
class Journey:
    """What the server said to Ana on the way; each has the fields of one reply."""

    range: dict[str, Any]
    nearest: dict[str, Any]
    quickest: dict[str, Any]
    waiting: dict[str, Any]
    offered: dict[str, Any]
    reserved: dict[str, Any]
    charging: dict[str, Any]
    receipt: dict[str, Any]
    minutes: tuple[float, float, float, float]
    """In the queue, on the way, charging, and at the slot after that."""
    battery: list[float]
    """Its percents while it charges, at equal distances of time."""


def journey(language: str = "en") -> Journey:
    """Ana looks for a quick station, waits for a slot, charges, and stays a little too long."""
    server = MemoryServer(language=language)

    def ask(kind: str, **data: object) -> Any:
        reply = server.request(kind, **data)
        assert reply["status"]["code"] == 200, reply
        return reply["data"]

    def log_in(name: str, percent: float) -> str:
        return str(ask("LOGIN", user_name=name, selected_car=CAR, battery_car=percent)["user_id"])

    ana = log_in("Ana", 40)
    far = ask("NAVIGATION", user_id=ana, route_distance=180)
    nearest = ask("SELECTION_STATION", user_id=ana, position=HERE)
    quickest = ask("SELECTION_STATION", user_id=ana, position=HERE, criterion="time")
    station = quickest["id_station"]
    # Others were quicker: every slot is taken.
    for number in range(quickest["fitting_slots"]):
        other = log_in(f"Driver {number}", 40 + 3 * number)
        ask("ARRIVE", user_id=other, id_station=station, leaves_when_done=True)
    began = server.clock.seconds()
    waiting = ask("RESERVE", user_id=ana, id_station=station, wait=True)
    server.advance(waiting["eta_minutes"] * 60 + 0.001)
    offered = ask("STATUS", user_id=ana)
    at = [began, server.clock.seconds()]
    way = quickest["travel_minutes"]
    reserved = ask("RESERVE", user_id=ana, id_station=station, arrival_minutes=way)
    server.advance(way * 60)
    at.append(server.clock.seconds())
    charging = ask(
        "ARRIVE", user_id=ana, id_station=station, arrival_percent=quickest["arrival_percent"]
    )
    charge = charging["estimated_timestamp"] - server.clock.seconds()
    battery = []
    for _ in range(SAMPLES):
        battery.append(ask("STATUS", user_id=ana)["battery_percent"])
        server.advance(charge / SAMPLES)
    at.append(server.clock.seconds())
    server.advance(SECONDS_LATE)
    at.append(server.clock.seconds())
    receipt = ask("STOP", user_id=ana, receipt_id=charging["receipt_id"])
    queue, drive, charge, idle = ((after - before) / 60 for before, after in pairwise(at))
    return Journey(
        far, nearest, quickest, waiting, offered, reserved, charging, receipt,
        (queue, drive, charge, idle), battery,
    )  # fmt: skip


def money(amount: float, language: str) -> str:
    said = f"R$ {amount:.2f}"
    return said if language == "en" else said.replace(".", ",")


def journey_svg(language: str) -> str:
    """The battery over the minutes, the driver's states below it, and what each of them costs."""
    words, went = WORDS[language], journey(language)
    ends = [sum(went.minutes[:number]) for number in range(5)]
    start, end = went.quickest["arrival_percent"], went.charging["target_percent"]

    def x_of(minute: float) -> float:
        return LEFT + minute / ends[-1] * (WIDTH - LEFT - RIGHT)

    def y_of(percent: float) -> float:
        return BASE - (percent - LEAST) / (MOST - LEAST) * (BASE - TOP)

    title = words["title"].format(*went.minutes, from_percent=start, to_percent=end)
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        ' font-family="sans-serif" font-size="20">',
        f"<title>{title}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="12" fill="white"/>',
        f'<text x="{LEFT - 38}" y="26">{words["battery"]}</text>',
    ]
    for percent in (40, 60, 80):
        y = y_of(percent)
        drawn.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        drawn.append(f'<text x="{LEFT - 8}" y="{y + 7:.1f}" text-anchor="end">{percent}</text>')
    points = [(0.0, 40.0), (ends[1], 40.0)]
    for number, percent in enumerate(went.battery):
        points.append((ends[2] + went.minutes[2] * number / SAMPLES, percent))
    points += [(ends[3], end), (ends[4], end)]
    line = " ".join(f"{x_of(minute):.1f},{y_of(percent):.1f}" for minute, percent in points)
    drawn.append(f'<polyline points="{line}" fill="none" stroke="#1d4ed8" stroke-width="3"/>')
    costs = {bill["dimension"]: bill["incl_vat"] for bill in went.receipt["lines"]}
    paid = {"CHARGING": costs["ENERGY"], "FINISHED": costs["PARKING_TIME"]}
    for number, ((state, colour), name) in enumerate(zip(STATES, words["states"], strict=True)):
        left, right = x_of(ends[number]), x_of(ends[number + 1])
        middle = (left + right) / 2
        drawn.append(
            f'<rect x="{left:.1f}" y="{BASE + 12}" width="{right - left:.1f}" height="26" '
            f'fill="{colour}"/>'
        )
        lines = [name, f"{went.minutes[number]:.0f} min"]
        if state in paid:
            lines.append(money(paid[state], language))
        for below, said in enumerate(lines):
            drawn.append(
                f'<text x="{middle:.1f}" y="{BASE + 64 + 26 * below}" text-anchor="middle" '
                f'fill="{colour}">{said}</text>'
            )
    total = f"= {money(went.receipt['total'], language)}"
    drawn.append(
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 14}" text-anchor="end" font-weight="bold">'
        f"{total}</text>"
    )
    return "\n".join([*drawn, "</svg>\n"])
