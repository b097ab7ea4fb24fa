"""How cars charge: published data, worked numbers, and what must hold for every curve."""

import json
import math
from importlib import resources
from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import tests
from evcharge.models.charging import Piece, Profile, Supply, rate_of
from evcharge.models.electric_car import CarModel, Curve

TESTS = Path(tests.__file__).parent
VECTORS = json.loads((TESTS / "data" / "charging-vectors.json").read_text())
PAGE = (TESTS.parent / "docs" / "charging.md").read_text()
SHIPPED = json.loads(resources.files("evcharge").joinpath("data/car_models.json").read_text())

DC = {power: Supply(True, power) for power in (None, 50.0, 60.0, 120.0, 150.0)}
UNKNOWN = CarModel("", "", 40.0, 0.15, 150.0)


def a_car(
    capacity: float,
    curve: Curve | None = None,
    dc: float | None = None,
    ac: float | None = None,
    phases: int | None = None,
) -> CarModel:
    return CarModel("", "", capacity, 0.15, 150.0, ac, dc, ac_phases=phases, dc_curve=curve)


def shipped(name: str) -> CarModel:
    return CarModel.from_facts(SHIPPED[name])


class PublishedTests(SynchronousTestCase):
    """What others have measured or reckoned."""

    def test_ac_power(self) -> None:
        """Each car draws what is published from each AC post; the page says how nearly."""
        differences: list[float] = []
        for vehicle in VECTORS["ac"]:
            car = a_car(50.0, ac=vehicle["max_kw"], phases=vehicle["phases"])
            for post, power in vehicle["post_kw"].items():
                found = rate_of(car, Supply(False, float(post))).power_kw(50.0)
                differences.append(abs(found - power))
                self.assertLess(differences[-1], 0.25, f"{vehicle['name']} at {post}")
        self.assertIn(f"| {len(differences):,} pairs | {max(differences):.2f} kW |", PAGE)

    def test_dc_minutes(self) -> None:
        """Each curve takes as long as its integral; the page says how nearly."""
        differences: list[float] = []
        for vehicle in VECTORS["dc"]:
            curve = tuple((float(percent), float(power)) for percent, power in vehicle["curve"])
            car = a_car(vehicle["usable_kwh"], curve, vehicle["dc_max_kw"], vehicle["ac_max_kw"])
            wanted = [
                (None if at == "unlimited" else float(at), 10.0, 80.0, minutes)
                for at, minutes in vehicle["minutes_10_80"].items()
            ]
            wanted.append((None, 80.0, 100.0, vehicle["minutes_80_100_unlimited"]))
            for power, start, target, minutes in wanted:
                found = rate_of(car, Supply(True, power)).seconds(start, target) / 60
                differences.append(abs(found / minutes - 1))
                self.assertLess(differences[-1], 0.001, f"{vehicle['name']} at {power}")
        self.assertIn(
            f"| {len(differences)} times | {max(differences):.3%} |".replace("%", " %"), PAGE
        )


class WorkedTests(SynchronousTestCase):
    """Numbers that were worked out by hand or by another program."""

    def minutes(self, car: CarModel, supply: Supply, start: float, target: float) -> float:
        return round(rate_of(car, supply).seconds(start, target) / 60, 3)

    def test_dc(self) -> None:
        """Cars at DC posts, with a curve of their own and with the default one."""
        tesla, leaf, bolt = (
            shipped(name) for name in ("Tesla Model 3", "Nissan Leaf", "Chevrolet Bolt EV")
        )
        for power, minutes in ((50.0, 24.0), (60.0, 20.0), (120.0, 12.242), (150.0, 11.540)):
            self.assertEqual(self.minutes(tesla, DC[power], 40, 80), minutes)
        self.assertEqual(self.minutes(tesla, DC[50.0], 21.64, 80), 35.016)
        self.assertEqual(self.minutes(tesla, DC[150.0], 21.64, 80), 15.439)
        far = shipped("Tesla Model 3 Long Range")
        for power, minutes in ((None, 23.702), (150.0, 25.939), (50.0, 62.160)):
            self.assertEqual(self.minutes(far, DC[power], 10, 80), minutes)
        self.assertEqual(self.minutes(leaf, DC[50.0], 10, 80), 40.008)
        self.assertEqual(self.minutes(leaf, DC[150.0], 10, 80), 40.008)
        self.assertEqual(self.minutes(shipped("Hyundai Kona Electric"), DC[60.0], 20, 80), 43.492)
        self.assertEqual(self.minutes(shipped("BYD Dolphin"), DC[None], 10, 80), 31.659)
        self.assertEqual(self.minutes(shipped("BYD Dolphin"), DC[50.0], 10, 80), 36.961)
        self.assertEqual(self.minutes(shipped("Porsche Taycan 4S"), DC[150.0], 10, 80), 19.880)
        self.assertEqual(self.minutes(bolt, DC[None], 85, 100), 123.081)

    def test_ac(self) -> None:
        """Cars at AC posts, by phases."""
        for name, power, minutes in (
            ("Nissan Leaf", 11.0, 373.091),
            ("Nissan Leaf", 22.0, 207.273),
            ("Renault Zoe", 11.0, 170.182),
            ("Renault Zoe", 22.0, 85.091),
            ("Chevrolet Bolt EV", 11.0, 290.000),
        ):
            self.assertEqual(self.minutes(shipped(name), Supply(False, power), 20, 80), minutes)

    def test_unknown(self) -> None:
        """A car and a post of which nothing is known charge as they always did."""
        rate = rate_of(UNKNOWN, Supply(True, None))
        self.assertEqual(round(rate.seconds(75, 80) / 60, 3), 2.4)
        self.assertEqual(rate.assumed, ("car_limit", "station_power"))

    def test_while_charging(self) -> None:
        """Energy and state of charge on the way."""
        profile = rate_of(shipped("Tesla Model 3"), DC[120.0]).profile(40, 80)
        found = [round(profile.energy_after(60 * minutes), 4) for minutes in (1, 5, 8)]
        self.assertEqual(found, [2.0, 9.9584, 14.8456])
        shares = [round(40 + 2 * profile.energy_after(60 * minutes), 3) for minutes in (1, 5, 8)]
        self.assertEqual(shares, [44.0, 59.917, 69.691])
        over = sum(piece.energy_kwh for piece in profile.pieces[:3])
        self.assertEqual(profile.pieces[2].to_kw, 110)
        at_100 = profile.pieces[3].energy_at(100.0)
        assert at_100 is not None
        self.assertEqual(round(over + at_100, 4), 12.0408)
        self.assertEqual(round(40 + 2 * (over + at_100), 4), 64.0816)
        self.assertEqual(round(profile.energy_kwh - over - at_100, 4), 7.9592)
        self.assertEqual(profile.power_after(profile.seconds + 1), 0.0)
        self.assertEqual(profile.peak_kw, 120.0)

    def test_assumed(self) -> None:
        """What was not known is said."""
        for car, supply, assumed in (
            (shipped("Tesla Model 3"), Supply(True, 150.0), ()),
            (shipped("BYD Dolphin"), Supply(True, 150.0), ("car_curve",)),
            (UNKNOWN, Supply(True, 60.0), ("car_limit",)),
            (a_car(40, ac=7.0, phases=1), Supply(False, 22.0), ()),
            (a_car(40, ac=7.0), Supply(False, 22.0), ("car_phases",)),
            (a_car(40, phases=1), Supply(False, 22.0), ("car_limit",)),
            (a_car(40, phases=1), Supply(False, None), ("car_limit", "station_power")),
        ):
            self.assertEqual(rate_of(car, supply).assumed, assumed)

    def test_phases(self) -> None:
        """A post has one phase up to 7.4 kW and three above, where nothing is said."""
        one = a_car(40, ac=22.0, phases=1)
        three = 22 / 3
        for power, phases, drawn in (
            (7.4, None, 7.4), (7.41, None, 2.47), (22.0, 1, 22.0), (22.0, 2, 11.0), (22.0, 3, three)
        ):  # fmt: skip
            found = rate_of(one, Supply(False, power, phases)).power_kw(10)
            self.assertAlmostEqual(found, drawn, places=9)

    def test_limit_under_the_floor(self) -> None:
        """No car takes more than it or the post can, were it less than the least of a curve."""
        for car, supply in (
            (a_car(40, dc=0.8), DC[None]),
            (a_car(40, dc=0.8), DC[50.0]),
            (a_car(40, ((0.0, 50.0), (100.0, 0.0)), dc=0.8), DC[50.0]),
            (a_car(40, dc=50.0), Supply(True, 0.8)),
        ):
            self.assertEqual(rate_of(car, supply).power_kw(60), 0.8)

    def test_default_curve(self) -> None:
        """The last point is what the onboard charger takes, unless that is more than by DC."""
        for ac, last in ((7.0, 7.0), (None, 6.0), (61.0, 6.0), (60.0, 60.0)):
            rate = rate_of(a_car(40, dc=60.0, ac=ac), DC[None])
            self.assertEqual([rate.power_kw(p) for p in (0, 75, 100)], [57.0, 60.0, last])


powers = st.floats(0, 400).filter(lambda power: power == 0 or power > 1e-3)


@st.composite
def cars(draw: st.DrawFn) -> CarModel:
    """Cars with a curve of their own."""
    inner = draw(st.lists(st.integers(1, 999), max_size=8, unique=True))
    percents = [0.0, *(number / 10 for number in sorted(inner)), 100.0]
    heights = draw(st.lists(powers, min_size=len(percents), max_size=len(percents)))
    curve = tuple(zip(percents, heights, strict=True))
    return a_car(draw(st.floats(5, 150)), curve, draw(st.none() | st.floats(1, 400)))


percents = st.floats(0, 100)
supplies = st.builds(Supply, st.just(True), st.none() | st.floats(0.5, 500))


class PropertyTests(SynchronousTestCase):
    """What must hold for every curve."""

    @settings(deadline=None)
    @given(cars(), percents, percents, st.floats(0.5, 500), st.floats(0.5, 500))
    def test_more_power(
        self, car: CarModel, start: float, target: float, one: float, other: float
    ) -> None:
        """More power never takes longer."""
        less, more = sorted((one, other))
        slow = rate_of(car, Supply(True, less)).seconds(start, target)
        quick = rate_of(car, Supply(True, more)).seconds(start, target)
        self.assertLessEqual(quick, slow * (1 + 1e-9) + 1e-9)

    @settings(deadline=None)
    @given(cars(), supplies, percents, percents, st.floats(0, 1))
    def test_split(
        self, car: CarModel, supply: Supply, start: float, target: float, share: float
    ) -> None:
        """Split anywhere, a charge adds up to what it was."""
        rate = rate_of(car, supply)
        whole = rate.profile(start, target)
        wanted = rate.seconds(start, target)
        self.assertTrue(math.isclose(whole.seconds, wanted, rel_tol=1e-9, abs_tol=1e-3))
        first, rest = whole.split(whole.seconds * share)
        for name in ("energy_kwh", "seconds"):
            self.assertTrue(
                math.isclose(
                    getattr(first, name) + getattr(rest, name),
                    getattr(whole, name),
                    rel_tol=1e-9,
                    abs_tol=1e-6,
                ),
                (name, first, rest, whole),
            )
        self.assertTrue(
            math.isclose(first.energy_kwh, whole.energy_after(whole.seconds * share), abs_tol=1e-9)
        )

    @settings(deadline=None)
    @given(cars(), supplies, percents, percents)
    def test_energy(self, car: CarModel, supply: Supply, start: float, target: float) -> None:
        """What is charged is the part of the battery between, and never a negative one."""
        found = rate_of(car, supply).profile(start, target).energy_kwh
        wanted = max(0.0, target - start) / 100 * car.battery_capacity_kwh
        self.assertTrue(math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-9))

    @settings(deadline=None)
    @given(cars(), supplies, percents, percents, percents)
    def test_grows(
        self, car: CarModel, supply: Supply, one: float, two: float, three: float
    ) -> None:
        """Time grows strictly with the target."""
        start, near, far = sorted((one, two, three))
        rate = rate_of(car, supply)
        if far - near > 1e-6:
            self.assertGreater(rate.seconds(start, far), rate.seconds(start, near))

    @settings(deadline=None)
    @given(cars(), supplies, st.sampled_from([1.0, 5.0, 30.0]))
    def test_chords(self, car: CarModel, supply: Supply, error_s: float) -> None:
        """Straight lines between the points of a charge's time are nowhere more off than is said,
        however long it takes."""
        rate = rate_of(car, supply)
        points = rate.chords(error_s)
        per_cent = car.battery_capacity_kwh / 100

        def worst(energy: float, hours: float, to_energy: float, to_hours: float) -> float:
            return max(
                abs(
                    3600 * (hours + (to_hours - hours) * share)
                    - rate.seconds(0, (energy + (to_energy - energy) * share) / per_cent)
                )
                for share in (n / 16 for n in range(17))
            )

        for one, other in pairwise(points):
            self.assertLess(one, other)
            self.assertLess(worst(*one, *other), error_s * (1 + 1e-6) + 1e-3)
        self.assertTrue(math.isclose(points[-1][1], rate.seconds(0, 100) / 3600, rel_tol=1e-9))

    @given(st.floats(0.001, 100), st.floats(1, 400), st.floats(-1e-6, 1e-6), st.floats(0, 1))
    def test_nearly_equal(self, energy: float, power: float, change: float, share: float) -> None:
        """Powers that hardly differ give the time of one that does not change."""
        piece = Piece(energy, power, power * (1 + change))
        even = Piece(energy, power, power)
        self.assertTrue(math.isclose(piece.seconds, even.seconds, rel_tol=1e-5))
        after = piece.energy_after(piece.seconds * share)
        self.assertTrue(math.isclose(after, energy * share, rel_tol=1e-5, abs_tol=1e-9))

    def test_nothing(self) -> None:
        """A battery that is full enough charges nothing, in no time."""
        rate = rate_of(UNKNOWN, DC[50.0])
        self.assertEqual(rate.profile(80, 80), Profile())
        self.assertEqual(rate.seconds(90, 80), 0.0)
        self.assertEqual(Profile().average_kw, 0.0)
        self.assertEqual(Profile().power_after(0), 0.0)
