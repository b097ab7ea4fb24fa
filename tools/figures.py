"""
Draws the pictures of the documentation, into docs/figures.

    python tools/figures.py [FOLDER]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from journey_figure import journey_svg
from overview_figure import overview_svg
from state_figure import states_svg

from evcharge.models.charging import Rate, Supply, rate_of
from evcharge.models.electric_car import CarModel

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "figures"

CAR = "Tesla Model 3"
EVSES_KW = (150.0, 120.0, 50.0)

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 20, 45
MOST_KW = 160.0

STYLES = ("#0b6e4f", "#d97706", "#7c3aed")
DASHES = ("", "8 4", "2 4")
"""So that the lines can be told apart without colours."""


def x_of(percent: float) -> float:
    return LEFT + percent / 100 * (WIDTH - LEFT - RIGHT)


def y_of(power_kw: float) -> float:
    return HEIGHT - BOTTOM - power_kw / MOST_KW * (HEIGHT - TOP - BOTTOM)


def curve_svg() -> str:
    """The power of a car over its state of charge, at EVSEs of several powers."""
    facts = json.loads((resources.files("evcharge") / "data" / "car_models.json").read_text())
    model = CarModel.from_facts(facts[CAR])
    rates = [(power, rate_of(model, Supply(True, power))) for power in EVSES_KW]
    title = f"Charging power of a {CAR} by its state of charge, at EVSEs of 150, 120 and 50 kW"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
            ' font-family="sans-serif" font-size="13">',
            f"<title>{title}</title>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            *axes(),
            *lines(rates),
            "</svg>\n",
        ]
    )


def axes() -> Iterator[str]:
    for power in range(0, 161, 40):
        y = y_of(power)
        yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{power}</text>'
    for percent in range(0, 101, 20):
        x, y = x_of(percent), HEIGHT - BOTTOM
        yield f'<text x="{x:.1f}" y="{y + 18}" text-anchor="middle">{percent}</text>'
    middle, bottom = f'x="{(LEFT + WIDTH) / 2}"', f'y="{HEIGHT - 8}"'
    yield f'<text {middle} {bottom} text-anchor="middle">state of charge, %</text>'
    at, turned = f'x="14" y="{HEIGHT / 2}"', f'transform="rotate(-90 14 {HEIGHT / 2})"'
    yield f'<text {at} text-anchor="middle" {turned}>power, kW</text>'


def lines(rates: list[tuple[float, Rate]]) -> Iterator[str]:
    for number, (power, rate) in enumerate(rates):
        points = " ".join(
            f"{x_of(tenth / 10):.1f},{y_of(rate.power_kw(tenth / 10)):.1f}"
            for tenth in range(0, 1001, 5)
        )
        look = f'stroke="{STYLES[number]}" stroke-dasharray="{DASHES[number]}"'
        yield f'<polyline fill="none" stroke-width="2.5" {look} points="{points}"/>'
        minutes = rate.seconds(10, 80) / 60
        y = TOP + 22 + 20 * number
        yield f'<path d="M{WIDTH - 270} {y - 4}h34" stroke-width="2.5" {look}/>'
        yield (
            f'<text x="{WIDTH - 226}" y="{y}">{power:g} kW: 10 to 80 % in {minutes:.1f} min</text>'
        )


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "charging-curve.svg").write_text(curve_svg(), encoding="utf-8")
    (folder / "states.svg").write_text(states_svg(), encoding="utf-8")
    for language in ("en", "pt"):
        (folder / f"overview-{language}.svg").write_text(overview_svg(language), encoding="utf-8")
        (folder / f"journey-{language}.svg").write_text(journey_svg(language), encoding="utf-8")


if __name__ == "__main__":
    main()
