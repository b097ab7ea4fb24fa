"""What sessions cost: published totals, the rules one by one, and what must hold for any tariff."""

import json
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.charging import Supply, rate_of
from evcharge.models.tariffs import (
    Bill,
    Segment,
    Tariff,
    TariffError,
    energy_total,
    parse_tariff,
    price,
)
from evcharge.models.tariffs.pricing import cents
from tests.models.test_charging import shipped

VECTORS = json.loads((Path(__file__).parent.parent / "data" / "tariff-vectors.json").read_text())
BAHIA = ZoneInfo("America/Bahia")
BERLIN = ZoneInfo("Europe/Berlin")


def segments_of(session: dict[str, Any]) -> tuple[list[Segment], ZoneInfo]:
    """The segments of a session as the vectors describe it."""
    zone = ZoneInfo(session["time_zone"])
    at = datetime.fromisoformat(session["start"]).replace(tzinfo=zone).timestamp()
    segments = []
    for facts in session["segments"]:
        power = facts.get("power_kw")
        segments.append(
            Segment(
                facts["kind"],
                at,
                facts["seconds"],
                facts.get("energy_kwh", 0.0),
                facts.get("power_from_kw", power),
                facts.get("power_to_kw", power),
                facts.get("current_a"),
                session.get("reservation_outcome") if facts["kind"] == "reserved" else None,
            )
        )
        at += facts["seconds"]
    return segments, zone


def component(dimension: str, price: Any, step: int = 1, vat: Any = None) -> dict[str, Any]:
    return {"type": dimension, "price": price, "step_size": step, "vat": vat}


def element(*components: dict[str, Any], **restrictions: Any) -> dict[str, Any]:
    return {"price_components": list(components), "restrictions": restrictions or None}


def a_tariff(*elements: dict[str, Any], **more: Any) -> Tariff:
    return parse_tariff({"id": "t", "currency": "BRL", "elements": list(elements), **more})


def at(text: str, zone: ZoneInfo = BAHIA, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


NOON = at("2026-11-25T12:00:00")


def charging(seconds: float, energy: float = 0.0, start: float = NOON, **more: Any) -> Segment:
    return Segment("charging", start, seconds, energy, **more)


def idle(seconds: float, start: float = NOON) -> Segment:
    return Segment("idle", start, seconds)


class VectorTests(SynchronousTestCase):
    """Worked totals."""

    def test_all(self) -> None:
        """Each vector: totals to the cent, exact sums, and quantities by dimension."""
        for vector in VECTORS["vectors"]:
            name, expected = vector["name"], vector["expected"]
            bill = price(parse_tariff(vector["tariff"]), *segments_of(vector["session"]))
            self.assertEqual(str(bill.excl_vat), expected["excl_vat"], name)
            self.assertEqual(str(bill.incl_vat), expected["incl_vat"], name)
            for exact in ("excl_vat_exact", "incl_vat_exact"):
                off = abs(getattr(bill, exact) - Fraction(expected[exact]))
                self.assertLess(off, Fraction(1, 10**6), name)
            found: dict[str, list[Fraction]] = {}
            for line in bill.lines:
                sums = found.setdefault(line.dimension, [Fraction(0), Fraction(0)])
                sums[0] += line.quantity
                sums[1] += line.excl_vat
            self.assertEqual(found.keys(), expected["by_dimension"].keys(), name)
            for dimension, figures in expected["by_dimension"].items():
                for got, wanted in zip(
                    found[dimension], (figures["quantity"], figures["excl_vat"]), strict=True
                ):
                    self.assertLess(abs(got - Fraction(wanted)), Fraction(1, 10**6), name)
        self.assertEqual(len(VECTORS["vectors"]), 24)

    def test_worked(self) -> None:
        """Charges of a Tesla Model 3 at stations of the network."""
        plain = a_tariff(element(component("ENERGY", 2.75)))
        self.assertEqual(price(plain, [charging(926, 29.18)], BAHIA).incl_vat, Decimal("80.25"))
        self.assertEqual(price(plain, [charging(1, 15.9)], BAHIA).incl_vat, Decimal("43.73"))
        by_power = a_tariff(
            element(component("ENERGY", 2), max_power=100), element(component("ENERGY", 3))
        )
        profile = rate_of(shipped("Tesla Model 3"), Supply(True, 120.0)).profile(40, 80)
        start, segments = NOON, []
        for piece in profile.pieces:
            segments.append(
                charging(
                    piece.seconds,
                    piece.energy_kwh,
                    start,
                    from_kw=piece.from_kw,
                    to_kw=piece.to_kw,
                )
            )
            start += piece.seconds
        bill = price(by_power, segments, BAHIA)
        self.assertEqual(bill.incl_vat, Decimal("52.04"))
        self.assertEqual([round(float(line.quantity), 4) for line in bill.lines], [12.0408, 7.9592])
        stopped = profile.until(300).energy_kwh
        self.assertEqual(price(plain, [charging(300, stopped)], BAHIA).incl_vat, Decimal("27.39"))


class RuleTests(SynchronousTestCase):
    """The rules and their traps, one by one."""

    def total(self, tariff: Tariff, *segments: Segment, zone: ZoneInfo = BAHIA) -> str:
        return str(price(tariff, segments, zone).incl_vat)

    def test_per_dimension(self) -> None:
        """The first element that matches counts for each dimension by itself."""
        tariff = a_tariff(
            element(component("FLAT", 1)),
            element(component("ENERGY", 2), component("FLAT", 9)),
        )
        self.assertEqual(self.total(tariff, charging(60, 10)), "21.00")

    def test_float_money(self) -> None:
        """A tenth and two tenths are three tenths."""
        tariff = a_tariff(element(component("FLAT", 0.1)), element(component("ENERGY", 0.2)))
        bill = price(tariff, [charging(60, 1)], BAHIA)
        self.assertEqual(bill.excl_vat_exact, Fraction(3, 10))

    def test_rounded_once(self) -> None:
        """Lines are not rounded before they are added; halves of cents go up."""
        tariff = a_tariff(element(component("FLAT", "0.004")), element(component("TIME", "0.004")))
        self.assertEqual(self.total(tariff, charging(3600)), "0.01")
        self.assertEqual(
            [str(cents(Fraction(n, 1000))) for n in (4, 5, 14, 15, 43725, 0)],
            ["0.00", "0.01", "0.01", "0.02", "43.73", "0.00"],
        )

    def test_vat_of_each(self) -> None:
        """VAT is that of each component, not a mean one."""
        tariff = a_tariff(
            element(component("FLAT", 10, vat=20), component("ENERGY", 1, vat=10)),
        )
        bill = price(tariff, [charging(60, 10)], BAHIA)
        self.assertEqual((str(bill.excl_vat), str(bill.incl_vat)), ("20.00", "23.00"))

    def test_midnight(self) -> None:
        """An end at 00:00 is the end of the day, and a start alone lasts until it."""
        for hours in (
            {"start_time": "22:00", "end_time": "00:00"},
            {"start_time": "22:00"},
        ):
            tariff = a_tariff(element(component("TIME", 6), **hours))
            start = at("2026-11-25T21:00:00")
            self.assertEqual(self.total(tariff, charging(4 * 3600, start=start)), "12.00")
        tariff = a_tariff(element(component("TIME", 6), end_time="01:00"))
        start = at("2026-11-25T23:00:00")
        self.assertEqual(self.total(tariff, charging(4 * 3600, start=start)), "6.00")
        tariff = a_tariff(element(component("TIME", 6), start_time="08:00", end_time="08:00"))
        self.assertEqual(self.total(tariff, charging(2 * 3600, start=start)), "12.00")

    def test_borders(self) -> None:
        """At a border exactly one of two elements matches."""
        for least, most, border, segment in (
            ("min_power", "max_power", 50, charging(3600, 50)),
            ("min_current", "max_current", 32, charging(3600, 50, current_a=32.0)),
        ):
            tariff = a_tariff(
                element(component("TIME", 1), **{most: border}),
                element(component("TIME", 2), **{least: border}),
            )
            self.assertEqual(self.total(tariff, segment), "2.00", least)
        tiers = a_tariff(
            element(component("PARKING_TIME", 1), max_kwh=10),
            element(component("PARKING_TIME", 2), min_kwh=10),
        )
        self.assertEqual(self.total(tiers, charging(60, 10), idle(3600, NOON + 60)), "2.00")
        times = a_tariff(
            element(component("TIME", 1), max_duration=3600),
            element(component("TIME", 2), min_duration=3600),
        )
        self.assertEqual(self.total(times, charging(7200)), "3.00")

    def test_unknown_matches_nothing(self) -> None:
        """A restriction on a current that is not known does not hold, either way round."""
        tariff = a_tariff(
            element(component("TIME", 1), min_current=0),
            element(component("TIME", 2), max_current=10**6),
        )
        self.assertEqual(self.total(tariff, charging(3600, 10)), "0.00")

    def test_dates(self) -> None:
        """The first date is inclusive and the last one exclusive, by local midnight."""
        tariff = a_tariff(
            element(component("TIME", 6), start_date="2026-11-25", end_date="2026-11-26")
        )
        self.assertEqual(
            self.total(tariff, charging(26 * 3600, start=at("2026-11-24T23:00:00"))), "144.00"
        )

    def test_clocks_changed(self) -> None:
        """An hour that comes twice counts twice, and one that does not come has no length."""
        tariff = a_tariff(element(component("TIME", 6), start_time="02:00", end_time="03:00"))
        for day, hours in (("2026-10-25", 2), ("2026-03-29", 0), ("2026-06-01", 1)):
            start = at(f"{day}T00:00:00", BERLIN)
            total = self.total(tariff, charging(6 * 3600, start=start), zone=BERLIN)
            self.assertEqual(total, f"{6 * hours}.00", day)

    def test_idle_steps(self) -> None:
        """Where idle time has a price only its total is rounded up, though charging follows."""
        tariff = a_tariff(element(component("TIME", 6, 600), component("PARKING_TIME", 6, 600)))
        charge, stand = charging(660), idle(660, NOON + 660)
        # 11 minutes of charging as they are, 20 of standing.
        self.assertEqual(self.total(tariff, charge, stand), "3.10")
        self.assertEqual(self.total(tariff, idle(660), charging(660, start=NOON + 660)), "3.10")
        self.assertEqual(self.total(tariff, charge), "2.00")

    def test_free_idle_time(self) -> None:
        """Idle time without a price is in no total that is rounded."""
        tariff = a_tariff(element(component("TIME", 6, 600)))
        self.assertEqual(self.total(tariff, charging(660), idle(86400, NOON + 660)), "2.00")

    def test_step_once(self) -> None:
        """Blocks are those of the session, not of each part, at the price of what was last."""
        tariff = a_tariff(
            element(component("ENERGY", 1, 1000), max_duration=60),
            element(component("ENERGY", 2, 5000)),
        )
        # 2.5 + 2.5 + what is missing to 10.
        bill = price(tariff, [charging(120, 5.5, from_kw=None)], BAHIA)
        self.assertEqual(str(bill.incl_vat), "17.25")

    def test_limits(self) -> None:
        """A least and a highest price bound each total by its own; the least needs charging."""
        energy = element(component("ENERGY", 1, vat=10))
        tariff = a_tariff(energy, max_price={"excl_vat": 10, "incl_vat": 11.5})
        bill = price(tariff, [charging(60, 10.2)], BAHIA)
        self.assertEqual((str(bill.excl_vat), str(bill.incl_vat)), ("10.00", "11.22"))
        self.assertEqual([line.dimension for line in bill.lines], ["ENERGY", "MAX_PRICE"])
        tariff = a_tariff(energy, max_price={"excl_vat": 10})
        bill = price(tariff, [charging(60, 20)], BAHIA)
        self.assertEqual((str(bill.excl_vat), str(bill.incl_vat)), ("10.00", "11.00"))
        tariff = a_tariff(energy, min_price={"excl_vat": 5})
        self.assertEqual(self.total(tariff, charging(60, 2)), "5.50")
        self.assertEqual(self.total(tariff, charging(60, 0)), "5.00")
        reserved = Segment("reserved", NOON, 60, outcome="cancelled")
        self.assertEqual(self.total(tariff, reserved), "0.00")
        crossed = a_tariff(energy, min_price={"excl_vat": 5}, max_price={"excl_vat": 3})
        bill = price(crossed, [charging(60, 2)], BAHIA)
        self.assertEqual(str(bill.incl_vat), "3.30")
        limits = [line.dimension for line in bill.lines]
        self.assertEqual(limits, ["ENERGY", "MIN_PRICE", "MAX_PRICE"])

    def test_expired(self) -> None:
        """Of a reservation that ran out, its own price counts, wherever it stands in the list."""
        tariff = a_tariff(
            element(component("FLAT", 2), component("TIME", 1), reservation="RESERVATION"),
            element(component("FLAT", 5), reservation="RESERVATION_EXPIRES"),
            element(component("FLAT", 0.5)),
        )
        for outcome, total in (("expired", "6.00"), ("cancelled", "3.00"), ("used", "3.00")):
            reserved = Segment("reserved", NOON, 3600, outcome=outcome)
            self.assertEqual(self.total(tariff, reserved), total, outcome)
        used = Segment("reserved", NOON, 3600, outcome="used")
        self.assertEqual(self.total(tariff, used, charging(60, 1, NOON + 3600)), "3.50")

    def test_nothing_charged(self) -> None:
        """A session that was stopped at once still has its FLAT."""
        self.assertEqual(self.total(a_tariff(element(component("FLAT", 3))), charging(0)), "3.00")

    def test_when_it_holds(self) -> None:
        """A tariff may be used from its start on, and no more at its end."""
        tariff = a_tariff(
            element(component("FLAT", 3)),
            start_date_time="2026-11-25T12:00:00Z",
            end_date_time="2026-11-26T12:00:00Z",
        )
        start, end = tariff.start_timestamp, tariff.end_timestamp
        assert start is not None and end is not None
        self.assertEqual(end - start, 86400)
        found = [tariff.holds_at(when) for when in (start - 1, start, end - 1, end)]
        self.assertEqual(found, [False, True, True, False])


class ParsingTests(SynchronousTestCase):
    """Objects that are no tariff, and those that are though they look odd."""

    def problems(self, value: Any) -> list[str]:
        return self.assertRaises(TariffError, parse_tariff, value).problems

    def test_paths(self) -> None:
        """Every mistake is named by its path, all at once."""
        value = {
            "id": "noite",
            "currency": "reais",
            "elements": [
                element(component("ENERGY", 1)),
                {"price_components": []},
                element(
                    component("ENERGIA", -1, -1), start_time="24:00", day_of_week=["SUN"], rain=True
                ),
                element(component("ENERGY", 1), reservation="RESERVATION"),
            ],
        }
        problems = self.problems(value)
        for words in (
            'currency: must be three capital letters (ISO 4217), not "reais"',
            "elements[1].price_components: must be",
            'elements[2].restrictions.start_time: must be HH:MM, not "24:00"',
            "elements[2].restrictions.day_of_week[0]: must be one of MONDAY",
            "elements[2].restrictions.rain: is no restriction",
            "elements[2].price_components[0].type: must be one of ENERGY",
            "elements[2].price_components[0].price: must be a number from 0 to 1000000000, not -1",
            "elements[2].price_components[0].step_size: must be a whole number",
            "elements[3].price_components[0].type: must be FLAT or TIME",
        ):
            self.assertTrue(any(problem.startswith(words) for problem in problems), words)

    def test_values(self) -> None:
        """Numbers that are none, and times that are none."""
        for name, bad in (
            ("min_kwh", [True, "x", float("nan"), float("inf"), -1, 10**10, [], 1e-25]),
            ("start_time", ["9:00", "09:60", 9, "09:00:00"]),
            ("start_date", ["2026-02-30", "26-01-01", 5]),
            ("min_duration", [1.5, -1]),
            ("reservation", ["reservation", 1]),
            ("day_of_week", ["MONDAY", [1]]),
        ):
            for value in bad:
                restricted = element(component("FLAT", 1), **{name: value})
                found = self.problems({"id": "t", "currency": "BRL", "elements": [restricted]})
                self.assertIn(f"elements[0].restrictions.{name}", found[0])
        for value in (None, [], "x", {}, {"id": "", "currency": "BRL", "elements": [5]}):
            self.assertTrue(self.problems(value))

    def test_reckoned(self) -> None:
        """A price reckoned in floats is what its text says; one of very many digits is none."""
        tariff = a_tariff(element(component("ENERGY", 0.1 + 0.2)))
        (found,) = tariff.elements[0].components
        self.assertEqual(found.price, Fraction("0.30000000000000004"))
        for many in (10**5000, -(10**5000)):
            value = {**a_tariff(element(component("FLAT", 1))).body}
            value["elements"] = [element(component("FLAT", many))]
            (problem,) = self.problems(value)
            self.assertIn("price: must be a number from 0 to 1000000000, not a number of", problem)

    def test_absent(self) -> None:
        """What is null counts as missing, a list that is empty too; unknown fields are kept."""
        tariff = a_tariff(
            {
                "price_components": [component("FLAT", 1)],
                "restrictions": {"start_time": None, "day_of_week": []},
            },
            min_price=None,
            tariff_alt_text=[],
        )
        self.assertTrue(tariff.plain)
        self.assertEqual(tariff.body["tariff_alt_text"], [])

    @settings(deadline=None)
    @given(
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
            lambda inner: st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["id", "currency", "elements", "price_components", "restrictions", "type",
                     "price", "step_size", "vat", "start_time", "min_price", "excl_vat"]
                ),
                inner,
                max_size=5,
            ),
            max_leaves=20,
        )
    )  # fmt: skip
    def test_anything(self, value: Any) -> None:
        """Whatever is read, it is a tariff or a list of what is wrong."""
        try:
            parse_tariff(value)
        except TariffError as error:
            self.assertTrue(error.problems)


hours = st.integers(0, 23).map(lambda hour: f"{hour:02d}:00")
restrictions = st.fixed_dictionaries(
    {},
    optional={
        "start_time": hours,
        "end_time": hours,
        "min_kwh": st.integers(0, 30),
        "max_kwh": st.integers(0, 30),
        "min_power": st.integers(0, 100),
        "max_power": st.integers(0, 100),
        "min_duration": st.integers(0, 7200),
        "max_duration": st.integers(0, 7200),
        "day_of_week": st.lists(st.sampled_from(["MONDAY", "SUNDAY"]), max_size=2),
    },
)
dimensions = st.sampled_from(["ENERGY", "TIME", "PARKING_TIME"])
prices = st.integers(0, 500).map(lambda cents: Decimal(cents) / 100)
elements = st.builds(
    lambda parts, where: element(*parts, **where),
    st.lists(st.builds(component, dimensions, prices), min_size=1, max_size=3),
    restrictions,
)
tariffs = st.builds(lambda found: a_tariff(*found), st.lists(elements, min_size=1, max_size=4))

by_clock = st.builds(
    lambda price, vat, where: element(component("ENERGY", price, vat=vat), **where),
    prices,
    st.sampled_from([None, 10]),
    st.fixed_dictionaries(
        {},
        optional={
            "start_time": st.sampled_from(["00:00", "02:30", "09:05", "22:00"]),
            "end_time": st.sampled_from(["00:00", "03:00", "09:05", "06:00"]),
            "day_of_week": st.sampled_from([["SUNDAY"], ["MONDAY", "TUESDAY"]]),
            "start_date": st.just("2025-03-30"),
            "end_date": st.just("2025-10-26"),
        },
    ),
)


@st.composite
def sessions(draw: st.DrawFn) -> list[Segment]:
    """Sessions of a few segments, the power falling or rising in some."""
    start = NOON + draw(st.integers(0, 10 * 86400))
    found = []
    for _ in range(draw(st.integers(1, 4))):
        seconds = draw(st.integers(1, 6 * 3600))
        if draw(st.booleans()):
            found.append(idle(seconds, start))
        else:
            from_kw, to_kw = draw(st.floats(1, 200)), draw(st.floats(1, 200))
            found.append(
                charging(
                    seconds,
                    draw(st.integers(0, 60_000)) / 1000,
                    start,
                    from_kw=from_kw,
                    to_kw=to_kw,
                )
            )
        start += seconds
    return found


class PropertyTests(SynchronousTestCase):
    """What must hold for any tariff."""

    def quantity(self, bill: Bill, dimension: str) -> Fraction:
        return sum(
            (line.quantity for line in bill.lines if line.dimension == dimension), Fraction(0)
        )

    @settings(deadline=None, max_examples=200)
    @given(tariffs, sessions())
    def test_no_more_than_there_is(self, tariff: Tariff, segments: list[Segment]) -> None:
        """Nothing is billed twice: no more energy and time than the session has."""
        bill = price(tariff, segments, BAHIA)
        energy = sum(Fraction(round(s.energy_kwh * 1000), 1000) for s in segments)
        for dimension, most in (
            ("ENERGY", energy + Fraction(1, 1000)),
            ("TIME", Fraction(sum(int(s.seconds) for s in segments if s.kind == "charging"), 3600)),
            (
                "PARKING_TIME",
                Fraction(sum(int(s.seconds) for s in segments if s.kind == "idle"), 3600),
            ),
        ):
            self.assertLessEqual(self.quantity(bill, dimension), most + Fraction(1, 3600))
        self.assertEqual(sum(line.excl_vat for line in bill.lines), bill.excl_vat_exact)

    @settings(deadline=None, max_examples=200)
    @given(tariffs, sessions())
    def test_catch_all(self, tariff: Tariff, segments: list[Segment]) -> None:
        """Behind a tariff whose prices are all one, it does not matter which element matches."""
        same = a_tariff(
            *(
                {
                    **facts,
                    "price_components": [
                        {**part, "price": 1} for part in facts["price_components"]
                    ],
                }
                for facts in tariff.body["elements"]
            ),
            *(element(component(name, 1)) for name in ("ENERGY", "TIME", "PARKING_TIME")),
        )
        plain = a_tariff(*(element(component(n, 1)) for n in ("ENERGY", "TIME", "PARKING_TIME")))
        self.assertEqual(
            price(same, segments, BAHIA).excl_vat_exact,
            price(plain, segments, BAHIA).excl_vat_exact,
        )

    @settings(deadline=None)
    @given(
        st.integers(0, 10**7).map(lambda mwh: mwh / 10**6 * 7),
        st.decimals(0, 50, places=4),
        st.none() | st.integers(0, 100),
        st.booleans(),
    )
    def test_energy_total(self, energy: float, kwh: object, vat: int | None, idle: bool) -> None:
        """Where nothing but energy counts its price is found the short way, to the cent."""
        parts = [component("ENERGY", float(kwh), vat=vat)]
        more = [component("PARKING_TIME", 30)] if idle else []
        tariff = a_tariff(*map(element, [*parts, *more]))
        self.assertEqual(
            energy_total(tariff, energy, NOON, 60, BAHIA),
            price(tariff, [charging(60, energy)], BAHIA).incl_vat,
        )

    @settings(deadline=None)
    @given(
        st.lists(by_clock, min_size=1, max_size=4),
        st.sampled_from([BAHIA, BERLIN]),
        # About the nights in which Berlin's clocks are put forward and back.
        st.sampled_from([NOON, 1743296400.0, 1761440400.0])
        | st.integers(-30000, 30000).map(lambda off: 1743296400.0 + off / 8),
        st.sampled_from([0.0, 1.0, 899.0, 3600.0, 90000.0]) | st.floats(0, 200000),
        st.floats(0, 100),
    )
    def test_energy_by_clock(
        self, elements: list[Any], zone: ZoneInfo, begin: float, seconds: float, energy: float
    ) -> None:
        """So it is where the time of day counts, unless it makes a difference in the session."""
        tariff = a_tariff(*elements)
        found = energy_total(tariff, energy, begin, seconds, zone)
        if found is not None:
            segment = charging(seconds, energy, begin)
            self.assertEqual(found, price(tariff, [segment], zone).incl_vat)

    def test_night(self) -> None:
        """A price for the night counts from its first minute to its last, and none beside it."""
        night = element(component("ENERGY", 1, vat=10), start_time="22:00", end_time="06:00")
        tariff = a_tariff(night, element(component("ENERGY", 2)))
        at = datetime(2026, 11, 25, 22, tzinfo=BAHIA).timestamp()
        for begin, seconds, total in (
            (at, 2 * 3600, "11.00"),
            (at - 3600, 3600, "20.00"),
            (at - 3600, 3601, None),
            (at + 7 * 3600, 3600, "11.00"),
            (at + 7 * 3600, 3601, None),
            (at + 8 * 3600, 3600, "20.00"),
        ):
            found = energy_total(tariff, 10.0, begin, seconds, BAHIA)
            self.assertEqual(None if found is None else str(found), total)

    def test_no_energy_total(self) -> None:
        """Where anything else counts there is no short way."""
        one = component("ENERGY", 1)
        for tariff in (
            a_tariff(element(one), element(component("FLAT", 1))),
            a_tariff(element(component("TIME", 1))),
            a_tariff(element(one, end_time="12:01")),
            a_tariff(element(one, start_time="09:00", max_kwh=5)),
            a_tariff(element(component("ENERGY", 1, step=100))),
            a_tariff(element(one), max_price={"excl_vat": 5}),
            a_tariff(element(one), min_price={"excl_vat": 5}),
        ):
            self.assertIsNone(energy_total(tariff, 10.0, NOON, 61, BAHIA))
