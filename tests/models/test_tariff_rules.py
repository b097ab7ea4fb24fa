"""The rules of tariffs held against another reckoning of them, minute by minute; and the traps."""

import json
import math
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.tariffs import Segment, TariffError, parse_tariff, price
from tests.models.test_tariffs import (
    BAHIA,
    BERLIN,
    NOON,
    VECTORS,
    a_tariff,
    at,
    charging,
    component,
    element,
    idle,
    segments_of,
)

DATA = Path(__file__).parent.parent / "data"
DAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
STARTS = (
    at("2026-10-24T23:00:00", BERLIN),  # an hour comes twice
    at("2026-03-29T00:00:00", BERLIN),  # one does not come
    at("2026-11-29T21:00:00", BERLIN),  # a Sunday
)
MINUTE = 60


class ByMinute:
    """
    What a session comes to by a tariff's JSON, in which nothing changes within a minute.

    It shares no code with what it is to judge: it looks at each minute, and adds up.
    """

    def __init__(self, body: dict[str, Any], segments: list[Segment], zone: ZoneInfo) -> None:
        self._elements = body["elements"]
        self.quantities: dict[tuple[str, int, int], Fraction] = {}
        """By dimension, number of the element and of the component; in Wh, seconds, pieces."""
        self._last: dict[str, tuple[int, int]] = {}
        self._flat: set[bool] = set()
        energy = seconds = Fraction(0)
        for segment in segments:
            reserved, length = segment.kind == "reserved", int(segment.seconds)
            taken = Fraction(str(segment.energy_kwh)) * MINUTE / length if length else Fraction(0)
            for begin in range(0, length, MINUTE):
                middle = segment.start_timestamp + begin + MINUTE // 2
                looked_at = {
                    "kwh": energy + taken / 2,
                    "duration": seconds + MINUTE // 2,
                    "power": taken * 60,
                    "current": segment.current_a,
                }
                if segment.kind != "charging":
                    looked_at.update(power=0, current=0)
                if reserved:
                    looked_at.update(kwh=0, duration=0)
                else:
                    energy, seconds = energy + taken, seconds + MINUTE
                local = datetime.fromtimestamp(middle, timezone.utc).astimezone(zone)
                self._minute(segment, taken, self._holding(segment, looked_at, local))
        self._whole_blocks()

    def _holding(
        self, segment: Segment, looked_at: dict[str, Any], local: datetime
    ) -> list[tuple[int, dict[str, Any]]]:
        """The elements that hold, in the order in which they count."""
        wanted: list[str | None] = [None]
        if segment.kind == "reserved":
            wanted = ["RESERVATION"]
            if segment.outcome == "expired":
                wanted.insert(0, "RESERVATION_EXPIRES")
        found = []
        for reservation in wanted:
            for number, each in enumerate(self._elements):
                limits = each["restrictions"] or {}
                mine = limits.get("reservation") == reservation
                if mine and all(self._allows(limits, looked_at, local)):
                    found.append((number, each))
        return found

    def _allows(
        self, limits: dict[str, Any], looked_at: dict[str, Any], local: datetime
    ) -> Iterator[bool]:
        for name, value in looked_at.items():
            least, most = limits.get(f"min_{name}"), limits.get(f"max_{name}")
            if least is not None:
                yield value is not None and value >= least
            if most is not None:
                yield value is not None and value < most
        now = local.strftime("%H:%M")
        start, end = limits.get("start_time"), limits.get("end_time")
        if start is not None or end is not None:
            start, end = start or "00:00", end or "00:00"
            if start != end or start == "00:00":
                end = "24:00" if end == "00:00" else end
                yield start <= now < end if start < end else now >= start or now < end
        if limits.get("day_of_week"):
            yield DAYS[local.weekday()] in limits["day_of_week"]

    def _minute(
        self, segment: Segment, taken: Fraction, holding: list[tuple[int, dict[str, Any]]]
    ) -> None:
        used = {"FLAT": Fraction(1)}
        if segment.kind == "charging":
            used |= {"ENERGY": taken * 1000, "TIME": Fraction(MINUTE)}
        else:
            used["RESERVATION_TIME" if segment.outcome else "PARKING_TIME"] = Fraction(MINUTE)
        for dimension, quantity in used.items():
            kind = {"RESERVATION_TIME": "TIME"}.get(dimension, dimension)
            places = (
                (number, part)
                for number, each in holding
                for part, priced in enumerate(each["price_components"])
                if priced["type"] == kind
            )
            place = next(places, None)
            if place is None or (kind == "FLAT" and bool(segment.outcome) in self._flat):
                continue
            if kind == "FLAT":
                self._flat.add(bool(segment.outcome))
            self._last[dimension] = place
            key = (dimension, *place)
            self.quantities[key] = self.quantities.get(key, Fraction(0)) + quantity

    def _whole_blocks(self) -> None:
        for dimension in (
            "ENERGY",
            "RESERVATION_TIME",
            "PARKING_TIME" if "PARKING_TIME" in self._last else "TIME",
        ):
            if dimension in self._last:
                place = self._last[dimension]
                step = max(1, self._component(*place)["step_size"])
                total = sum(q for key, q in self.quantities.items() if key[0] == dimension)
                self.quantities[(dimension, *place)] += math.ceil(total / step) * step - total

    def _component(self, number: int, part: int) -> dict[str, Any]:
        found: dict[str, Any] = self._elements[number]["price_components"][part]
        return found

    def totals(self) -> tuple[Fraction, Fraction]:
        """Without VAT, and with it."""
        excl = incl = Fraction(0)
        for (dimension, *place), quantity in self.quantities.items():
            priced = self._component(*place)
            unit = {"FLAT": 1, "ENERGY": 1000}.get(dimension, 3600)
            cost = quantity / unit * Fraction(priced["price"])
            excl, incl = excl + cost, incl + cost * (100 + (priced["vat"] or 0)) / 100
        return excl, incl


times = st.sampled_from(("00:00", "01:00", "02:00", "02:30", "03:00", "22:15", "23:40"))
kwh = st.integers(0, 45).map(lambda pairs: pairs * 2)
limits = {
    "start_time": times,
    "end_time": times,
    "min_kwh": kwh,
    "max_kwh": kwh,
    "min_power": st.sampled_from((0, 60, 120)),
    "max_power": st.sampled_from((0, 60, 120)),
    "min_current": st.sampled_from((0, 16, 32)),
    "max_current": st.sampled_from((16, 32)),
    "min_duration": st.integers(0, 90).map(lambda minutes: minutes * MINUTE),
    "max_duration": st.integers(0, 90).map(lambda minutes: minutes * MINUTE),
    "day_of_week": st.lists(st.sampled_from(DAYS), max_size=6, unique=True),
}
steps = st.sampled_from((0, 1, 60, 300, 700, 1000, 3600))
prices = st.sampled_from(("0", "0.1", "0.2", "2.75", "30"))


def components(*dimensions: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    vats = st.sampled_from((None, 0, 10, 20))
    one = st.builds(component, st.sampled_from(dimensions), prices, steps, vats)
    return st.lists(one, min_size=1, max_size=3)


elements = st.builds(
    lambda parts, where: element(*parts, **where),
    components("FLAT", "ENERGY", "TIME", "PARKING_TIME"),
    st.fixed_dictionaries({}, optional=limits),
) | st.builds(
    lambda parts, kind: element(*parts, reservation=kind),
    components("FLAT", "TIME"),
    st.sampled_from(("RESERVATION", "RESERVATION_EXPIRES")),
)


@st.composite
def sessions(draw: st.DrawFn) -> list[Segment]:
    """
    Sessions of whole minutes, with 1 or 2 kWh in each minute of charging; of an even number, so
    that no even number of kWh is reached within a minute.
    """
    start, found = draw(st.sampled_from(STARTS)), []
    outcome = draw(st.sampled_from((None, "used", "expired", "cancelled")))
    kinds = draw(st.lists(st.sampled_from(("charging", "idle")), min_size=1, max_size=3))
    if outcome is not None:
        kinds = ["reserved", *(kinds if outcome == "used" else [])]
    for kind in kinds:
        minutes = 2 * draw(st.integers(1, 75))
        if kind == "charging":
            kwh = float(minutes * draw(st.integers(1, 2)))
            current = draw(st.sampled_from((None, 16.0, 32.0, 40.0)))
            found.append(charging(minutes * MINUTE, kwh, start, current_a=current))
        else:
            reserved = kind == "reserved"
            found.append(
                Segment(kind, start, minutes * MINUTE, outcome=outcome if reserved else None)
            )
        start += minutes * MINUTE
    return found


class MinuteTests(SynchronousTestCase):
    """All rules at once."""

    @settings(deadline=None, max_examples=300)
    @given(st.lists(elements, min_size=1, max_size=5), sessions())
    @example(
        [element(component("TIME", "2.75", 300), start_time="02:30", end_time="03:00")],
        [charging(6 * 3600, 360.0, STARTS[0])],
    )
    def test_same(self, found: list[dict[str, Any]], segments: list[Segment]) -> None:
        """A bill is what each minute by itself comes to."""
        body = {"id": "t", "currency": "EUR", "elements": found}
        other = ByMinute(body, segments, BERLIN)
        bill = price(parse_tariff(body), segments, BERLIN)
        self.assertEqual((bill.excl_vat_exact, bill.incl_vat_exact), other.totals())
        mine, theirs = {}, {}
        for line in bill.lines:
            by = {"FLAT": 1, "ENERGY": 1000}.get(line.dimension, 3600)
            mine[line.dimension] = mine.get(line.dimension, Fraction(0)) + line.quantity * by
        for (dimension, *_), quantity in other.quantities.items():
            theirs[dimension] = theirs.get(dimension, Fraction(0)) + quantity
        self.assertEqual(mine, {name: total for name, total in theirs.items() if total})

    @settings(deadline=None)
    @given(
        sessions(),
        st.fixed_dictionaries(
            {"excl_vat": st.integers(0, 80)}, optional={"incl_vat": st.integers(0, 90)}
        ),
        st.booleans(),
    )
    def test_bounds(self, segments: list[Segment], limit: dict[str, int], least: bool) -> None:
        """A least or highest price bounds each total, and lines add up to the totals."""
        body = element(component("ENERGY", "0.5", 1, 10), component("PARKING_TIME", "7", 1, 20))
        free = price(a_tariff(body), segments, BAHIA)
        name, bound = ("min_price", max) if least else ("max_price", min)
        bill = price(a_tariff(body, **{name: limit}), segments, BAHIA)
        excl, incl = bound(free.excl_vat_exact, limit["excl_vat"]), free.incl_vat_exact
        if "incl_vat" in limit:
            incl = bound(incl, Fraction(limit["incl_vat"]))
        else:
            incl = excl * incl / free.excl_vat_exact if free.excl_vat_exact else Fraction(excl)
        if least and all(segment.kind != "charging" for segment in segments):
            excl, incl = free.excl_vat_exact, free.incl_vat_exact
        self.assertEqual((bill.excl_vat_exact, bill.incl_vat_exact), (excl, incl))
        self.assertEqual(sum(line.excl_vat for line in bill.lines), excl)
        self.assertEqual(sum(line.incl_vat for line in bill.lines), incl)


class TrapTests(SynchronousTestCase):
    """Where others went wrong; the traps that are not here are rules, in test_tariffs."""

    def test_worked_examples_that_are_wrong(self) -> None:
        """The specification's Saturday is priced by its tariff object, not as it is told there."""
        (vector,) = (v for v in VECTORS["vectors"] if v["name"] == "spec/complex-monday")
        saturday = {
            "start": "2019-06-08T13:30:00",
            "time_zone": "Europe/Amsterdam",
            "segments": [
                {"kind": "charging", "seconds": 2700, "energy_kwh": 20, "current_a": 40},
                {"kind": "idle", "seconds": 600},
            ],
        }
        bill = price(parse_tariff(vector["tariff"]), *segments_of(saturday))
        # 2.50, three quarters of an hour at 1.25 and ten minutes at 6.00, that is 4.4375.
        self.assertEqual(bill.excl_vat_exact, Fraction("4.4375"))
        self.assertEqual(str(bill.excl_vat), "4.44")

    def test_whole(self) -> None:
        """The published data is there whole, with where it is from, and under which licence."""
        for name, kinds in (("charging", {"ac": 147, "dc": 60}), ("tariff", {"vectors": 24})):
            found = json.loads((DATA / f"{name}-vectors.json").read_text())
            self.assertEqual({kind: len(found[kind]) for kind in kinds}, kinds)
            told = json.dumps(found.get("sources", [found.get("source"), found.get("licence")]))
            self.assertIn("Copyright" if name == "charging" else "OCPI", told)

    def test_free_idle_time_in_the_step(self) -> None:
        """Idle time that is free on that day is in no block, though other days have a price."""
        tariff = a_tariff(
            element(component("TIME", 6, 600)),
            element(component("PARKING_TIME", 6, 600), day_of_week=["SUNDAY"]),
        )
        bill = price(tariff, [charging(660), idle(660, NOON + 660)], BAHIA)
        self.assertEqual([line.dimension for line in bill.lines], ["TIME"])
        self.assertEqual(str(bill.incl_vat), "2.00")

    def test_names_of_later_versions(self) -> None:
        """What OCPI 2.3.0 calls its prices is no price here, and not taken for free."""
        body = {"id": "t", "currency": "EUR", "elements": [element(component("ENERGY", 1))]}
        body["max_price"] = {"before_taxes": 10.0}
        error = self.assertRaises(TariffError, parse_tariff, body)
        self.assertEqual(error.problems, ["max_price.excl_vat: is missing"])

    def test_first_element_that_matches(self) -> None:
        """An element without a price for a dimension is no answer for it."""
        tariff = a_tariff(
            element(component("PARKING_TIME", 9)), element(component("ENERGY", "1.50"))
        )
        self.assertEqual(str(price(tariff, [charging(60, 2)], BAHIA).incl_vat), "3.00")

    def test_step_per_period(self) -> None:
        """Two parts at one price are rounded up together, not each."""
        tariff = a_tariff(element(component("TIME", 6, 600)))
        parts = [charging(330), charging(330, start=NOON + 330)]
        self.assertEqual(str(price(tariff, parts, BAHIA).incl_vat), "2.00")

    def test_maximum_of_one_total(self) -> None:
        """With VAT, too, nobody pays more than the highest price."""
        energy = element(component("ENERGY", 1, vat=20))
        tariff = a_tariff(energy, max_price={"excl_vat": 10, "incl_vat": 11})
        bill = price(tariff, [charging(60, 9.5)], BAHIA)
        self.assertEqual((str(bill.excl_vat), str(bill.incl_vat)), ("9.50", "11.00"))

    def test_idle_while_charging(self) -> None:
        """A car that still charges, however slowly, stands there for nothing."""
        tariff = a_tariff(element(component("ENERGY", 1), component("PARKING_TIME", 60)))
        slow = charging(7200, 0.5, from_kw=0.25, to_kw=0.25)
        self.assertEqual(str(price(tariff, [charging(60, 9), slow], BAHIA).incl_vat), "9.50")

    def test_money_of_floats(self) -> None:
        """What floats make of a price and a quantity is never seen: 3 x 0.1, and 1.005 x 1."""
        for kwh, cost, total in ((3, 0.1, "0.30"), (1, 1.005, "1.01"), (0.29, 100, "29.00")):
            bill = price(a_tariff(element(component("ENERGY", cost))), [charging(60, kwh)], BAHIA)
            self.assertEqual(bill.incl_vat, Decimal(total))

    def test_restricted_by_the_past(self) -> None:
        """Energy and time of a reservation count for no restriction of what follows."""
        tariff = a_tariff(element(component("TIME", 6), max_duration=3600))
        reserved = Segment("reserved", NOON, 7200, outcome="used")
        charge = charging(7200, start=NOON + timedelta(hours=2).total_seconds())
        self.assertEqual(str(price(tariff, [reserved, charge], BAHIA).incl_vat), "6.00")
