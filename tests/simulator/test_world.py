"""A run: how drivers end, what is always so, and the same bytes."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from statistics import fmean
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.session import CHARGING
from evcharge.rules.events import Event, SlotFreed, SlotTaken
from evcharge.simulator.areas import IDLE, QUEUE, Area, Broken, Window
from evcharge.simulator.arrivals import hours, people
from evcharge.simulator.distributions import Distribution, number
from evcharge.simulator.drivers import Ask, Diary, DriverScript, Said
from evcharge.simulator.known import Known
from evcharge.simulator.parts import Change, Choose, Faults, Options, TariffTime, Zone
from evcharge.simulator.records import Gone
from evcharge.simulator.replication import OUTCOMES, Replication, driver_line, encode
from evcharge.simulator.scenario import Scenario, read
from evcharge.simulator.tree import setting
from evcharge.simulator.world import RunError, World, run
from evcharge.utils.geo_utils import distance_km
from tests.support.simulations import CAR, HABIT, HERE, one_station, sources


def ends(found: Replication) -> dict[str, int]:
    """How many ended in which way."""
    return dict(Counter(driver.outcome for driver in found.drivers))


class RecordTests(SynchronousTestCase):
    """What is kept of drivers."""

    def test_waits(self) -> None:
        """The waits of drivers are those that the figures are of."""
        found = run(one_station(2, 4.0, days=1, joins_queue=1.0), 0)
        waits = [driver.waited / 60 for driver in found.drivers if driver.arrived is not None]
        self.assertGreater(max(waits), 1.0)
        self.assertAlmostEqual(fmean(waits), found.figures["network"]["wait_mean"] or 0.0, 3)

    def test_on_disk(self) -> None:
        """Very many drivers are on disk, and all is as if they were not."""
        scenario = one_station(2, 4.0, days=1, joins_queue=1.0)
        plain, world = run(scenario, 0), World(scenario, 0)
        world.records.gone = Gone(most=7)
        found = world.run()
        self.assertIsInstance(found.drivers, Gone)
        self.assertGreater(len(found.drivers), 70)
        self.assertEqual(tuple(found.drivers), plain.drivers)
        self.assertEqual(attrs.evolve(found, drivers=plain.drivers), plain)
        # They can be looked at again, and are lines of which the digest is.
        lines = b"".join(map(driver_line, found.drivers))
        self.assertEqual(hashlib.sha256(lines).hexdigest(), found.digest)

    def test_memory(self) -> None:
        """Nothing in the engine or beside it is kept of those who are gone."""
        kept = []
        for days in (4, 8):
            world = World(one_station(3, 6.0, days=days, joins_queue=1.0), 0)
            world.run()
            storage = world.storage
            held = storage.records
            kept.append(
                max(
                    map(
                        len,
                        (storage.payments, held.users, held.held, world._actors, world._listening),
                    )
                )
            )
            self.assertLess(len(storage.receipts), 3 * 24 * 6 * 1.3)
            self.assertEqual(world.observer._at, {})
        self.assertLess(max(kept), 30, kept)


NORTH, FAR = (HERE[0] + 0.1, HERE[1]), (-12.97, -38.5)
"""Where some drivers come from, and where they go."""


class OutcomeTests(SynchronousTestCase):
    """How drivers end."""

    def outcomes(self, scenario: Scenario) -> dict[str, int]:
        """How many end how; each who was born ends once."""
        world = World(scenario, 0)
        found = world.run()
        self.assertEqual(world.records.findings, [])
        self.assertEqual(len(found.drivers), world.records.born)
        self.assertEqual(len({driver.identity for driver in found.drivers}), world.records.born)
        return ends(found)

    def only(self, outcome: str, scenario: Scenario) -> None:
        """All end in one way."""
        self.assertEqual({*self.outcomes(scenario)}, {outcome})

    def test_served(self) -> None:
        """Where there is room all are served, with or without a booking, old or new."""
        for ways in ({}, {"books": 1.0}, {"old_app": 1.0}, {"overstay_minutes": number(10.0)}):
            self.only("served", one_station(30, 4.0, **ways))

    def test_overstaying(self) -> None:
        """Who stays longer than may be has to go, and was served all the same."""
        self.only("served", one_station(30, 4.0, overstay_minutes=number(90.0)))

    def test_waiting(self) -> None:
        """Who waits is served after that."""
        found = self.outcomes(one_station(1, 2.0, joins_queue=1.0))
        self.assertEqual({*found}, {"served", "served_after_wait"})

    def test_balked(self) -> None:
        """Who is told of too long a wait, or finds the line full, goes."""
        for ways in (
            {"joins_queue": 0.0},
            {"joins_queue": 1.0, "accepts_eta_minutes": number(0.0)},
            {"joins_queue": 1.0, "options": Options(queue_limit=0)},
            {"old_app": 1.0},
        ):
            found = self.outcomes(one_station(1, 6.0, **ways))
            self.assertEqual({*found}, {"served", "balked"})

    def test_second_try(self) -> None:
        """Who is turned away asks again, once, for another station."""
        scenario = one_station(1, 3.0, more=(30,), second_try=1.0, choose=HABIT)
        world = World(scenario, 0)
        found = world.run()
        self.assertEqual({*ends(found)}, {"served"})
        self.assertEqual({driver.station for driver in found.drivers}, {"1", "2"})

    def test_reneged(self) -> None:
        """Whose patience is over leaves the line."""
        found = self.outcomes(one_station(1, 6.0, joins_queue=1.0, patience_minutes=number(2.0)))
        self.assertEqual({*found}, {"served", "served_after_wait", "reneged"})

    def test_offer_lapsed(self) -> None:
        """Who does not answer an offer in time has lost it."""
        found = self.outcomes(
            one_station(1, 3.0, joins_queue=1.0, answers_offer_minutes=number(6.0))
        )
        self.assertEqual({*found}, {"served", "offer_lapsed"})

    def test_no_show(self) -> None:
        """Who has booked, or accepted, may not come."""
        self.only("no_show", one_station(100, 3.0, books=1.0, no_show=1.0))
        found = self.outcomes(one_station(1, 3.0, joins_queue=1.0, no_show=1.0))
        self.assertEqual({*found}, {"served", "no_show"})

    def test_no_fit(self) -> None:
        """Whose car fits nowhere goes."""
        car = {**CAR, "dc_connectors": ["CHAdeMO"]}
        for ways in ({}, {"choose": HABIT}):
            self.only("no_fit", one_station(2, 3.0, car=car, **ways))

    def test_stranded(self) -> None:
        """Whose battery does not reach a station stays where it is."""
        far = Zone("far", centre=(HERE[0] + 1.0, HERE[1]), radius_km=0.0)
        self.only("stranded", one_station(2, 3.0, zone=far, start_percent=number(5.0)))

    def test_on_the_way(self) -> None:
        """Who goes to another city charges at the nearest station on the way."""
        found = World(self.trips(more=(40,)), 0).run()
        self.assertEqual({(d.station, d.outcome) for d in found.drivers}, {("1", "served")})

    def trips(self, to: tuple[float, float] = FAR, **how: Any) -> Scenario:
        """A scenario of drivers who go to another city, from north of the stations."""
        zone = Zone("north", centre=NORTH, radius_km=0.0, trip_to=(to,))
        return one_station(40, 3.0, zone=zone, **how)

    def test_planned(self) -> None:
        """
        Who goes beyond the range charges at the first stop of the plan, so as to arrive with 10 %.
        """
        found = World(self.trips(start_percent=number(20.0)), 0).run()
        self.assertEqual({(d.station, d.outcome) for d in found.drivers}, {("1", "served")})
        km = 1.3 * (distance_km(*NORTH, *HERE) + distance_km(*HERE, *FAR))
        for driver in found.drivers:
            self.assertAlmostEqual(driver.kwh, 0.15 * km - 0.1 * 60, 1)

    def test_within_range(self) -> None:
        """Who comes there with what there is plans nothing, and charges as all others do."""
        found = World(self.trips(start_percent=number(40.0)), 0).run()
        used = 1.3 * 0.15 * distance_km(*NORTH, *HERE)
        for driver in found.drivers:
            self.assertAlmostEqual(driver.kwh, 0.4 * 60 + used, 2)

    def test_planned_with_little(self) -> None:
        """Who has less than what one arrives with at the least still comes to a station near by."""
        self.only("served", self.trips(start_percent=number(9.0)))

    def test_planned_again(self) -> None:
        """Who is turned away at the first stop has the trip planned without it, from there."""
        scenario = attrs.evolve(
            self.trips(start_percent=number(20.0), second_try=1.0, more=(40,)),
            sources=sources(1, 40),
        )
        found = World(scenario, 0).run()
        self.assertEqual({*ends(found)}, {"served"})
        self.assertEqual({driver.station for driver in found.drivers}, {"1", "2"})
        there = HERE[0] - 0.02, HERE[1]
        ways = (NORTH, HERE), (HERE, there), (there, FAR)
        km = 1.3 * sum(distance_km(*begin, *end) for begin, end in ways)
        for driver in found.drivers:
            if driver.station == "2":
                self.assertAlmostEqual(driver.kwh, 0.15 * km - 0.1 * 60, 1)

    def test_no_plan(self) -> None:
        """Whom no plan carries is stranded; whose car fits at no station has none."""
        recife = (-8.05, -34.9)
        self.only("stranded", self.trips(recife))
        car = {**CAR, "dc_connectors": ["CHAdeMO"]}
        self.only("no_fit", self.trips(start_percent=number(20.0), car=car))

    def test_long_roads(self) -> None:
        """Roads that are longer than PLAN takes end no driver's script."""
        found = self.outcomes(self.trips(road_factor=5.0))
        self.assertNotIn("refused", found)

    def test_evicted(self) -> None:
        """Whose EVSE breaks while the car charges has to go."""
        faults = Faults(mean_days_between=0.02, repair_hours=number(0.1))
        found = self.outcomes(one_station(3, 4.0, faults=faults, books=0.5))
        self.assertGreater(found["evicted"], 0)
        self.assertGreater(found["served"], 0)

    def test_broken_while_others_wait(self) -> None:
        """What breaks while drivers wait, and are offered something, leaves nobody behind."""
        faults = Faults(mean_days_between=0.05, repair_hours=number(0.5))
        scenario = one_station(
            3, 8.0, days=2, faults=faults, books=0.5, joins_queue=1.0, no_show=0.1,
            patience_minutes=Distribution("exponential", (30.0,)),
            answers_offer_minutes=Distribution("exponential", (3.0,)),
            overstay_minutes=Distribution("exponential", (10.0,)),
            second_try=0.5, more=(2,), old_app=0.1,
        )  # fmt: skip
        found = self.outcomes(scenario)
        self.assertGreaterEqual(len(found), 6, found)

    def test_still_there(self) -> None:
        """A day after the last one has come the run ends, with who is still there."""
        options = Options(idle_minutes=1440)
        found = self.outcomes(
            one_station(200, 6.0, overstay_minutes=number(1500.0), options=options)
        )
        self.assertGreater(found["still_there"], 0)

    def test_names(self) -> None:
        """No driver ends otherwise than is said."""
        self.assertEqual(len(set(OUTCOMES)), 11)


class ActTests(SynchronousTestCase):
    """What operators do."""

    def test_added(self) -> None:
        """EVSEs that are added in the course of a day serve those who come then, or wait."""
        before = run(one_station(1, 6.0), 0)
        change = Change(1, at=None, add_evses=3)
        after = run(one_station(1, 6.0, changes=(change,)), 0)
        self.assertGreater(ends(after)["served"], ends(before)["served"])
        self.assertEqual(after.places[0].evses, 4)
        noon = one_station(1, 6.0).start.replace(hour=12)
        late = run(one_station(1, 6.0, changes=(attrs.evolve(change, at=noon),)), 0)
        served = [ends(found)["served"] for found in (before, late, after)]
        self.assertEqual(served, sorted(served))
        self.assertEqual(late.places[0].evses, 4)

    def test_removed(self) -> None:
        """EVSEs that are removed take nobody any more, once they are free."""
        noon = one_station(4, 6.0).start.replace(hour=12)
        change = Change(1, at=noon, remove_evses=4)
        found = run(one_station(4, 6.0, changes=(change,)), 0)
        begun = [driver.charging for driver in found.drivers if driver.charging is not None]
        self.assertLess(max(begun), 12 * 3600.0)
        self.assertEqual({d.outcome for d in found.drivers if d.born > 12 * 3600}, {"no_fit"})

    def test_removed_while_held(self) -> None:
        """An EVSE that is removed counts until its car has left, and no longer, broken or not."""
        plain = one_station(4, 6.0, faults=Faults(0.2, number(2.0)))
        change = Change(1, at=plain.start.replace(hour=12), remove_evses=3)
        again = Change(1, at=plain.start.replace(hour=18), add_evses=3)
        for seed in range(10):
            study = attrs.evolve(plain.study, seed=seed)
            for changes in ((change,), (change, again)):
                network = attrs.evolve(plain.network, changes=changes)
                found = run(attrs.evolve(plain, network=network, study=study), 0)
                for name in ("utilisation", "occupancy", "out_of_service_share"):
                    for place in ("network", "station:1"):
                        share = found.figures[place][name]
                        self.assertIsNotNone(share)
                        self.assertLessEqual(share or 0.0, 1.0, (seed, name))
        alone = one_station(1, 60.0, overstay_minutes=number(60.0))
        change = Change(1, at=alone.start.replace(minute=30), remove_evses=1)
        network = attrs.evolve(alone.network, changes=(change,))
        held = run(attrs.evolve(alone, network=network), 0)
        (driver,) = (each for each in held.drivers if each.charging is not None and each.left)
        there = held.figures["station:1"]
        self.assertGreater(driver.left or 0.0, 30 * 60.0)
        charged = (driver.ended or 0.0) - (driver.charging or 0.0)
        self.assertAlmostEqual(there["utilisation"] or 0.0, charged / (driver.left or 1.0), 6)

    def test_out_of_order(self) -> None:
        """A station that is out of service from an instant on loses those who charge there."""
        noon = one_station(4, 6.0).start.replace(hour=12)
        change = Change(1, at=noon, status="OUTOFORDER")
        found = run(one_station(4, 6.0, changes=(change,)), 0)
        share = found.figures["station:1"]["out_of_service_share"]
        self.assertAlmostEqual(share or 0.0, 0.5, 9)
        self.assertGreater(ends(found)["evicted"], 0)

    def test_price(self) -> None:
        """Who begins to charge while another tariff holds pays by that, and nobody else."""
        plain = one_station(4, 6.0)
        times = TariffTime(1, plain.start.replace(hour=18), plain.start.replace(hour=21), "ponta")
        network = attrs.evolve(plain.network, tariffs=(times,))
        found = run(attrs.evolve(plain, network=network), 0)
        prices = {
            (18 <= (d.charging or 0.0) / 3600 < 21, round(d.paid / d.kwh, 2))
            for d in found.drivers
            if d.kwh
        }
        self.assertEqual(prices, {(False, 2.0), (True, 3.2)})

    def test_revenue(self) -> None:
        """What is earned in an hour is what the receipts of that hour come to."""
        found = run(one_station(4, 6.0), 0)
        hours = [0.0] * 24
        for driver in found.drivers:
            if driver.left is not None and driver.left < 24 * 3600.0:
                hours[int(driver.left // 3600)] += driver.paid
        for place in ("network", "station:1"):
            for told, own in zip(found.hours[place]["revenue"], hours, strict=True):
                self.assertAlmostEqual(told, own, 6)
        self.assertGreater(sum(hours), 0.0)


class SameTests(SynchronousTestCase):
    """Nothing but the scenario and its seed makes a difference."""

    SCENARIO = one_station(
        2, 6.0, joins_queue=0.7, books=0.4, second_try=0.5, more=(1, 2), no_show=0.1,
        patience_minutes=Distribution("exponential", (20.0,)),
        answers_offer_minutes=Distribution("exponential", (2.0,)),
        faults=Faults(0.5, Distribution("lognormal", (1.0, 1.0))),
        zone=Zone("here", centre=HERE, radius_km=3.0),
    )  # fmt: skip

    def test_again(self) -> None:
        """The same again is the same, to the byte; another seed or replication is not."""
        first = encode(run(self.SCENARIO, 0))
        self.assertEqual(first, encode(run(self.SCENARIO, 0)))
        other = attrs.evolve(self.SCENARIO, study=attrs.evolve(self.SCENARIO.study, seed=8))
        digests = {run(self.SCENARIO, 0).digest, run(self.SCENARIO, 1).digest, run(other, 0).digest}
        self.assertEqual(len(digests), 3)

    def test_known(self) -> None:
        """It is the same on every Python and every machine: of what became of each driver."""
        digest = "b4d0547dd56137813fcd4c6c51f29151792e869b3069c31b1385981124ce7f5b"
        self.assertEqual(run(self.SCENARIO, 0).digest, digest)

    def test_bytes(self) -> None:
        """Over lines all is as it is without, and there is one digest of all of them."""
        plain, lines = run(self.SCENARIO, 0), World(self.SCENARIO, 0, by_bytes=True).run()
        self.assertEqual(attrs.evolve(lines, digest=plain.digest), plain)
        self.assertNotEqual(lines.digest, plain.digest)
        self.assertEqual(World(self.SCENARIO, 0, by_bytes=True).run().digest, lines.digest)

    def test_trips(self) -> None:
        """So it is with trips that are planned, with many stations, cars and prices."""
        zone = Zone(
            "BR-324", centre=(-12.2893, -38.91), radius_km=0.5, trip_to=(FAR, (-12.6, -38.9))
        )
        scenario = read("weekday", [setting("--set", "demand.drivers_per_day=120")])
        scenario = attrs.evolve(scenario, demand=attrs.evolve(scenario.demand, zones=(zone,)))
        plain, lines = run(scenario, 0), World(scenario, 0, by_bytes=True).run()
        self.assertEqual(attrs.evolve(lines, digest=plain.digest), plain)
        self.assertEqual(
            plain.digest, "c52717a92367d65fdf13a2a83af7a4713e1e4a33739391b502c55cde2aa6fa13"
        )

    def test_process(self) -> None:
        """The order of sets, and the machine's time zone and language, make no difference."""
        program = (
            "from tests.simulator.test_world import SameTests\n"
            "from evcharge.simulator.world import World\n"
            "print(World(SameTests.SCENARIO, 0, by_bytes=True).run().digest)"
        )
        found = set()
        for seed, zone, language in (("1", "America/Bahia", "C"), ("2", "Asia/Tokyo", "pt_BR")):
            environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LANG": language}
            environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
            told = subprocess.run(
                [sys.executable, "-c", program], env=environment, check=True, capture_output=True
            )
            found.add(told.stdout)
        self.assertEqual(len(found), 1)

    def test_others(self) -> None:
        """Who comes, and with what, does not go by what is there for them."""
        more = attrs.evolve(self.SCENARIO, demand=attrs.evolve(
            self.SCENARIO.demand, drivers_per_day=self.SCENARIO.demand.drivers_per_day * 1.1
        ))  # fmt: skip
        few, many = ({(d.identity, d.born, d.car) for d in run(s, 0).drivers}
                     for s in (self.SCENARIO, more))  # fmt: skip
        self.assertLess(few, many)


class ScriptTests(SynchronousTestCase):
    """What a driver does of itself."""

    def test_refused(self) -> None:
        """A reply that is in no script ends the journey, and is a finding."""
        scenario = one_station(2, 3.0)
        person = people(scenario, scenario.demand.zones, next(hours(scenario)), 0, ["Car"])[0]
        diary, known = Diary(person), Known({"Car": CAR}, {})
        journey = DriverScript(diary, scenario.driver, known, lambda: person.born).run()
        asked = next(journey)
        self.assertEqual((type(asked), asked.type), (Ask, "LOGIN"))
        with self.assertRaises(StopIteration) as ended:
            journey.send(Said(429, {"reason": "rate_limited"}))
        self.assertEqual(ended.exception.value, "refused")
        self.assertEqual(diary.finding, "LOGIN: 429 rate_limited")

    def on_a_trip(self, **ways: Any) -> tuple[Any, Ask]:
        """A driver's journey to where the battery does not suffice, and what is asked then."""
        zone = Zone("north", centre=NORTH, radius_km=0.0, trip_to=(FAR,))
        scenario = one_station(2, 3.0, zone=zone, **ways)
        person = people(scenario, [zone], next(hours(scenario)), 0, ["Car"])[0]
        south, north = (
            {"latitude": NORTH[0] + more, "longitude": NORTH[1]} for more in (-0.05, 0.02)
        )
        known = Known({"Car": CAR}, {"1": south, "2": north})
        journey = DriverScript(Diary(person), scenario.driver, known, lambda: person.born).run()
        next(journey)
        self.assertEqual(journey.send(Said(200, {"user_id": "1"})).type, "NAVIGATION")
        return journey, journey.send(Said(200, {"can_complete": False}))

    def test_no_planner(self) -> None:
        """Where PLAN is not known, or has too many stations, it is the nearest on the way."""
        for code, reason in ((404, "unknown_type"), (400, "too_many_stations")):
            journey, asked = self.on_a_trip()
            self.assertEqual(asked.type, "PLAN")
            asked = journey.send(Said(code, {"reason": reason}))
            self.assertEqual(asked.type, "SELECTION_STATION")
            self.assertEqual([*asked.data["list_stations"]], ["1"])

    def test_reserve(self) -> None:
        """Who cannot keep the usual reserve asks once more, with all else the same."""
        journey, first = self.on_a_trip()
        said = {"reason": "no_plan", "stations_considered": 2, "reserve_percent_possible": 4}
        second = journey.send(Said(200, said))
        self.assertEqual(second.type, "PLAN")
        self.assertGreater(first.data["battery_percent"], 0.0)
        self.assertEqual(second.data, {**first.data, "reserve_percent": 4})

    def test_winding(self) -> None:
        """Where roads are longer than PLAN takes them to be, it is the nearest on the way."""
        _, asked = self.on_a_trip(road_factor=3.0)
        self.assertEqual((asked.type, asked.data["road_factor"]), ("PLAN", 3.0))
        _, asked = self.on_a_trip(road_factor=3.1)
        self.assertEqual(asked.type, "SELECTION_STATION")
        self.assertEqual([*asked.data["list_stations"]], ["1"])

    def test_old_app(self) -> None:
        """An old application knows no PLAN: it asks for the nearest on the way."""
        _, asked = self.on_a_trip(old_app=1.0)
        self.assertEqual(asked.type, "SELECTION_STATION")
        self.assertEqual([*asked.data["list_stations"]], ["1"])

    def test_cheapest(self) -> None:
        """Who chooses by price has the cheapest trip planned; all others the fastest."""
        for choose, criterion in ((Choose(0.0, 0.0, 1.0), "price"), (HABIT, "time")):
            _, asked = self.on_a_trip(choose=choose)
            self.assertEqual(asked.data["criterion"], criterion)


class InvariantTests(SynchronousTestCase):
    """What is always so is looked after."""

    def test_area(self) -> None:
        """An area is the integral of what there is, over the window alone, and by its hours."""
        area = Area(Window(3600.0, 10800.0), since=3600.0, by_hour=[0.0, 0.0])
        area.add(3, 1800.0)
        area.add(-1, 5400.0)
        area.add(-1, 9000.0)
        area.settle(20000.0)
        self.assertEqual(area.total, 3 * 1800.0 + 2 * 3600.0 + 1800.0)
        self.assertEqual(area.by_hour, [3 * 1800.0 + 2 * 1800.0, 2 * 1800.0 + 1800.0])
        self.assertEqual(area.most, 3)
        area.add(1, 7200.0)
        self.assertEqual(area.total, 3 * 1800.0 + 2 * 3600.0 + 1800.0 + 3600.0)
        self.assertRaises(Broken, area.add, -3, 20000.0)

    def broken(self, world: World) -> str:
        """How a run ends that breaks: with its seed, its replication and an instant."""
        error = str(self.assertRaises(RunError, world.run))
        self.assertTrue(error.startswith("seed 7, replication 3, at 2026-03-0"), error)
        return error

    def with_events(self, change: Callable[[Event], Event]) -> World:
        """A world whose engine says something else of what happens."""
        world = World(one_station(2, 3.0), 3)
        world.storage.listeners[:] = [lambda events: world._heard([change(e) for e in events])]
        return world

    def test_two_places(self) -> None:
        """A user who would be at two places is found."""
        world = World(one_station(2, 3.0), 3)
        taken: list[Any] = []

        def double(events: Any) -> None:
            if any(isinstance(e, SlotTaken) for e in events) and not taken:
                taken.append(events)
                world._heard(events)

        world.storage.listeners.append(double)
        self.assertIn("two places", self.broken(world))

    def test_two_cars(self) -> None:
        """An EVSE that has two cars is found."""

        def change(event: Event) -> Event:
            if not isinstance(event, SlotTaken) or event.book is None:
                return event
            sessions = {
                user_id: attrs.evolve(session, evse_uid=event.session.evse_uid)
                for user_id, session in event.book.slots.sessions.items()
            }
            slots = attrs.evolve(event.book.slots, sessions=sessions)
            return attrs.evolve(event, book=attrs.evolve(event.book, slots=slots))

        self.assertIn("an EVSE of station 1 has two cars", self.broken(self.with_events(change)))

    def test_free(self) -> None:
        """A station that says another number of free EVSEs than it has is found."""

        def change(event: Event) -> Event:
            if not isinstance(event, SlotFreed) or event.book is None:
                return event
            slots = attrs.evolve(event.book.slots, max_slots=3)
            return attrs.evolve(event, book=attrs.evolve(event.book, slots=slots))

        self.assertIn("free EVSEs, and says", self.broken(self.with_events(change)))

    def test_internal(self) -> None:
        """A request that breaks ends the run, and is told with the driver whose it was."""
        world = World(one_station(2, 3.0), 3)

        def break_down(events: Any) -> None:
            if any(isinstance(e, SlotTaken) for e in events):
                raise ValueError("broken")

        world.storage.listeners.append(break_down)
        self.assertIn("ARRIVE: 500 internal", self.broken(world))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_born(self) -> None:
        """A driver who has been forgotten is found."""
        world = World(one_station(2, 3.0), 3)
        world.records.born += 1
        self.assertIn("were born", self.broken(world))

    def test_money(self) -> None:
        """Payments that are not what receipts say are found, to the cent."""
        world = World(one_station(2, 3.0), 3)
        world.observer._payments += Decimal("0.01")
        self.assertIn("BRL", self.broken(world))

    def test_energy(self) -> None:
        """Energy that is on no receipt is found, and such that is in no hour."""
        world = World(one_station(2, 3.0), 3)
        world.observer._profiles_kwh += 0.01
        self.assertIn("receipts have", self.broken(world))
        world = World(one_station(2, 3.0), 3)
        world.observer.network.quarters[3] += 0.01
        self.assertIn("quarters have", self.broken(world))

    def test_clock(self) -> None:
        """A clock that goes back is found, and an event that is left before the present."""
        world = World(one_station(2, 3.0), 3)
        noon, seconds = world.clock.seconds() + 43200.0, world.clock.seconds
        world.observer.now = lambda: seconds() - (7200.0 if seconds() > noon else 0.0)
        self.assertIn("the clock has gone back", self.broken(world))
        world = World(one_station(2, 3.0), 3)
        clock = world.clock
        clock.call_at(noon, lambda: setattr(clock, "_now", noon + 7200.0))
        self.assertIn("an event was left before the present", self.broken(world))

    def test_little(self) -> None:
        """An area that is no sum of waits, of charges or of what stations have is found."""
        for what, said in ((QUEUE, "waits"), (CHARGING, "charges"), (IDLE, "idle")):
            world = World(one_station(2, 3.0), 3)
            world.observer.network.areas[what].add(1, world.clock.seconds())
            self.assertIn(f"the area of {said} is", self.broken(world))
