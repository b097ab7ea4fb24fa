"""
What the charges of a soak should have been, by arithmetic of its own.

Nothing of evcharge works anything out here: the shipped files are read as they are, and times are
sums of trapezoids.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs

from benchmarks.soak_audit import Book, Charge

DATA = Path(__file__).resolve().parents[1] / "evcharge" / "data"

TRAPEZOIDS = 1000
"""Into so many a charge is cut; of the cars' curves that is right to less than a ten-thousandth."""

MOST_OFF = 0.001
"""By which part a time may be off, and"""

SLACK_S = 1.0
"""how far the server's clock may be from the drivers', seconds."""

NAMES = {"IEC_62196_T2_COMBO": "CCS2", "CHADEMO": "CHAdeMO", "IEC_62196_T2": "Type 2"}
"""The connectors of the shipped network."""

PHASES = {"AC_1_PHASE": 1, "AC_3_PHASE": 3}


@attrs.define
class Network:
    """The shipped network and its cars, as the files say it."""

    time_scale: float
    cars: dict[str, Any] = attrs.field(init=False)
    evses: dict[str, dict[str, Any]] = attrs.field(init=False)
    """By station and uid."""
    prices: dict[str, Decimal] = attrs.field(init=False)
    """BRL per kWh, of stations where that is all there is to say."""

    def __attrs_post_init__(self) -> None:
        self.cars = json.loads((DATA / "car_models.json").read_text())
        found = json.loads((DATA / "evses.json").read_text())
        self.evses = {key: {evse["uid"]: evse for evse in evses} for key, evses in found.items()}
        with open(DATA / "feira_de_santana_stations.csv", newline="") as rows:
            self.prices = {
                row["id"]: Decimal(row["precoKWh"])
                for row in csv.DictReader(rows, delimiter=";")
                if not row.get("tarifa") and not self._has_tariffs(row["id"])
            }

    def _has_tariffs(self, station: str) -> bool:
        evses = self.evses[station].values()
        return any(one.get("tariff_ids") for evse in evses for one in evse["connectors"])

    def fits(self, car: str, station: str) -> bool:
        """Whether there is anything at a station by which a car can be charged."""
        evses = self.evses[station].values()
        return any(self._fits(car, one) for evse in evses for one in evse["connectors"])

    def fitting(self, car: str, station: str) -> set[str]:
        """The EVSEs of a station by which a car can be charged."""
        evses = self.evses[station].items()
        return {
            uid for uid, evse in evses if any(self._fits(car, one) for one in evse["connectors"])
        }

    def alike(self, station: str) -> bool:
        """Whether all EVSEs of a station are the same, but for their names."""
        kinds = [{**evse, "uid": None} for evse in self.evses[station].values()]
        return all(kind == kinds[0] for kind in kinds)

    def shortest(self, car: str, station: str, uid: str, start: float, target: float) -> float:
        """How long a car takes by the best connector of an EVSE that fits it, minutes."""
        evse = self.evses[station][uid]
        fitting = [one for one in evse["connectors"] if self._fits(car, one)]
        return min(self.minutes(car, evse, one, start, target) for one in fitting)

    def _fits(self, car: str, connector: dict[str, Any]) -> bool:
        name, facts = NAMES[connector["standard"]], self.cars[car]
        return (
            name in facts["dc_connectors" if connector["power_type"] == "DC" else "ac_connectors"]
        )

    def minutes(
        self, car: str, evse: dict[str, Any], connector: dict[str, Any], start: float, target: float
    ) -> float:
        """How long a car takes from one state of charge to another."""
        facts, supply = self.cars[car], min(evse["max_power_kw"], connector["max_power_kw"])
        capacity, dc, ac = (
            facts.get(name) for name in ("battery_capacity", "dc_power_kw", "ac_power_kw")
        )
        if target <= start:
            return 0.0
        if connector["power_type"] != "DC":
            phases = PHASES[connector["power_type"]]
            power = min(ac, supply / phases * min(phases, facts.get("ac_phases") or phases))
            return float((target - start) / 100 * capacity / power * 60)
        last = ac if ac is not None and dc is not None and ac <= dc else dc and dc / 10
        curve = facts.get("dc_curve") or [[0, 0.95 * dc], [75, dc], [100, last]]
        cap = min(supply, math.inf if dc is None else dc)
        width = (target - start) / TRAPEZOIDS
        by_power = [
            1 / min(cap, max(1.0, at(curve, start + width * number)))
            for number in range(TRAPEZOIDS + 1)
        ]
        area = sum((one + other) / 2 * width for one, other in pairwise(by_power))
        return area / 100 * float(capacity) * 60

    def began(self, told: dict[str, Any]) -> float:
        """When a charge began by what its driver was told, seconds since the epoch."""
        return float(told["estimated_timestamp"] - told["charge_minutes"] * 60 / self.time_scale)

    def wrong(self, charge: Charge) -> Iterator[str]:
        """What is wrong with what a driver was told."""
        told = charge.told
        station = told["id_station"]
        evse = self.evses[station].get(told["id_evse"])
        if evse is None:
            yield f"station {station} has no EVSE {told['id_evse']}"
            return
        fitting = [one for one in evse["connectors"] if self._fits(charge.account.car, one)]
        if told["connector"] not in {NAMES[one["standard"]] for one in fitting}:
            yield f"it is not charged by {told['connector']} at {evse['uid']}"
            return
        start, target = charge.account.start_percent, charge.account.target_percent
        if abs(told["start_percent"] - start) > 1e-5 or told["target_percent"] != target:
            yield f"it is charged from {start:g} % to {target:g} %"
        capacity = Decimal(str(self.cars[charge.account.car]["battery_capacity"]))
        share = max(Decimal(0), Decimal(str(target)) - Decimal(str(start))) / 100
        energy = (share * capacity).quantize(Decimal("1e-6"))
        if abs(told["energy_kwh"] - float(energy)) > 2e-6:
            yield f"it takes {energy} kWh"
        minutes = min(self.minutes(charge.account.car, evse, one, start, target) for one in fitting)
        if abs(told["charge_minutes"] - minutes) > MOST_OFF * minutes + 1e-6:
            yield f"it takes {minutes:.4f} minutes"
        began = self.began(told)
        if not charge.asked - SLACK_S <= began <= charge.answered + SLACK_S:
            yield f"it ends {began - charge.asked:.1f} s late"
        if station in self.prices:
            cost = (energy * self.prices[station]).quantize(Decimal("0.01"), ROUND_HALF_UP)
            if told["amount"] != float(cost):
                yield f"it costs {cost}"


def audit_charges(book: Book, network: Network) -> str:
    """
    Hold what drivers were told of their charges against the network's files.

    :return: what to print; what is wrong is in the book's findings.
    """
    priced = 0
    for charge in book.charges:
        for problem in network.wrong(charge):
            book.find(f"a {charge.account.car}: {problem}; told was {charge.told}")
        priced += charge.told["id_station"] in network.prices
    for car, station, told_to_fit in sorted(book.unserved):
        told = f"a {car} was told that something {'fits' if told_to_fit else 'does not fit'}"
        book.find(f"{told} at station {station}", network.fits(car, station) != told_to_fit)
    return f"charges: {len(book.charges)} as worked out apart, {priced} of them with their price"


def at(curve: Sequence[Sequence[float]], percent: float) -> float:
    """The power of a curve at a state of charge, kW."""
    for (low, power), (high, next_power) in pairwise(curve):
        if percent <= high:
            return power + (next_power - power) * (percent - low) / (high - low)
    return curve[-1][1]
