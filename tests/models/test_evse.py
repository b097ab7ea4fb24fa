"""EVSEs and connectors: what fits, by which connector a car charges, and which EVSE it is given."""

import json
from importlib import resources

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from evcharge.models.electric_car import CarModel
from evcharge.models.estimates import choose_evse
from evcharge.models.evse import (
    CABLE,
    SOCKET,
    Connector,
    Evse,
    EvseKind,
    connector_of,
    evses_of_row,
    fits,
    kind_of_row,
    natural,
    plugs_of,
    quickest,
)

SHIPPED = json.loads(resources.files("evcharge").joinpath("data/car_models.json").read_text())
KNOWN = CarModel("", "", 40.0, 0.15, 150.0, 11.0, 100.0, 3, ("Type 2",), ("CCS2",))


def shipped(name: str) -> CarModel:
    return CarModel.from_facts({"ac_connectors": ["Type 2"], **SHIPPED[name]})


def of(*names: str) -> tuple[Connector, ...]:
    return tuple(connector_of(str(n), name) for n, name in enumerate(names, 1))


def an_evse(uid: str, power: float | None, *names: str) -> Evse:
    return Evse(uid, kind_of_row(names, power))


class FitTests(SynchronousTestCase):
    """Which connector fits which car."""

    def fit(self, name: str, ac: object = None, dc: object = None, **more: object) -> object:
        model = attrs.evolve(KNOWN, ac_connectors=ac, dc_connectors=dc)
        return fits(model, attrs.evolve(connector_of("1", name), **more))

    def test_dc(self) -> None:
        """A car takes DC from the connectors that it lists, whatever they are called."""
        for name in ("CCS2", "ccs 2", "Combo 2", "IEC 62196-2 CCS"):
            self.assertIs(self.fit(name, ("Type 2",), ("CCS2",)), True, name)
        self.assertIs(self.fit("CHAdeMO", ("Type 2",), ("CCS2",)), False)
        self.assertIs(self.fit("CCS2", ("Type 2",), ()), False)
        self.assertIs(self.fit("CCS2", ("Type 2",), ("CHAdeMO", "CCS2")), True)

    def test_ac(self) -> None:
        """Type 2 takes Type 2; Type 1 also a socket of Type 2, by the driver's own cable."""
        self.assertIs(self.fit("Type 2", ("Tipo 2",), ()), True)
        self.assertIs(self.fit("Type 1", ("Type 2",), ()), False)
        self.assertIs(self.fit("Type 1", ("Type 1",), ()), True)
        self.assertIs(self.fit("Type 2", ("Type 1",), (), format=SOCKET), True)
        self.assertIs(self.fit("Type 2", ("Type 1",), ()), True)
        self.assertIs(self.fit("Type 2", ("Type 1",), (), format=CABLE), False)

    def named(self, kind: str, name: str, ac: object, dc: object) -> object:
        model = attrs.evolve(KNOWN, ac_connectors=ac, dc_connectors=dc)
        return fits(model, attrs.evolve(connector_of("1", kind), name=name))

    def test_called_otherwise(self) -> None:
        """What people call a connector does not count where its standard is known."""
        self.assertIs(self.named("Type 2", "Tomada azul", ("Type 2",), ()), True)
        self.assertIs(self.named("CCS2", "DC 1", (), ("CCS2",)), True)
        self.assertIs(self.named("CCS2", "CHAdeMO", (), ("CHAdeMO",)), False)

    def test_domestic(self) -> None:
        """Every car that takes AC can be charged at home."""
        for name in ("NBR 14136", "Schuko"):
            self.assertIs(self.fit(name, ("Type 2",), ()), True)
            self.assertIs(self.fit(name, (), ("CCS2",)), False)

    def test_not_known(self) -> None:
        """
        Where no list is known everything is taken to fit, and said to be assumed; so is AC where
        the car has a limit of AC; no list of the other current says more.
        """
        for dc in (("CCS2",), (), None):
            for name in ("Type 2", "Type 1", "NBR 14136", "GB/T AC"):
                self.assertIsNone(self.fit(name, None, dc))
        model = attrs.evolve(KNOWN, ac_limit_kw=None, ac_connectors=None)
        for dc, fit in ((("CCS2",), False), ((), False), (None, None)):
            car = attrs.evolve(model, dc_connectors=dc)
            for name in ("Type 2", "NBR 14136"):
                self.assertIs(fits(car, connector_of("1", name)), fit)
        for ac in (("Type 2",), ()):
            self.assertIs(self.fit("CCS2", ac, None), False)
        self.assertIsNone(self.fit("CCS2"))
        # A name that nobody knows.
        self.assertIsNone(self.fit("Z-9"))
        self.assertIs(self.fit("Z-9", ("z 9",), ()), True)
        self.assertIs(self.fit("Z-9", ("Type 2",), ("CCS2",)), False)


class PlugTests(SynchronousTestCase):
    """By which connector of an EVSE a car charges."""

    def test_quickest(self) -> None:
        """It is the one of the shortest charge, for the charge that is asked for."""
        zoe, kind = shipped("Renault Zoe"), kind_of_row(("Type 2", "CCS2"), 50.0)
        for start, target, name in ((20, 80, "CCS2"), (99, 100, "CCS2")):
            plug, _ = quickest(plugs_of(zoe, kind), start, target)
            self.assertEqual(plug.connector and plug.connector.name, name)
        bolt = shipped("Chevrolet Bolt EV")
        plug, _ = quickest(plugs_of(bolt, kind), 98, 100)
        self.assertEqual(plug.connector and plug.connector.name, "Type 2")

    def test_first(self) -> None:
        """Of two that are as quick it is the first in the list."""
        car = attrs.evolve(KNOWN, dc_connectors=("CCS2", "CHAdeMO"))
        for names in (("CCS2", "CHAdeMO"), ("CHAdeMO", "CCS2")):
            plug, _ = quickest(plugs_of(car, kind_of_row(names, 50.0)), 10, 80)
            self.assertEqual(plug.connector and plug.connector.name, names[0])

    def test_none(self) -> None:
        """A car without DC has nothing to plug in at a post that has nothing else."""
        hybrid = attrs.evolve(KNOWN, dc_connectors=(), dc_limit_kw=None)
        self.assertEqual(plugs_of(hybrid, kind_of_row(("CCS2", "CHAdeMO"), 150.0)), ())
        (plug,) = plugs_of(hybrid, kind_of_row(("CCS2", "Type 2"), 150.0))
        self.assertEqual((plug.connector and plug.connector.name, plug.assumed), ("Type 2", ()))

    def test_no_connectors(self) -> None:
        """Where no connector is known a car charges by DC, one without by AC; it is assumed."""
        (plug,) = plugs_of(KNOWN, EvseKind((), 50.0))
        self.assertEqual(plug.assumed, ("connectors", "car_curve"))
        self.assertEqual(plug.rate.power_kw(50), 50.0)
        (plug,) = plugs_of(attrs.evolve(KNOWN, dc_connectors=()), EvseKind((), 50.0))
        self.assertEqual((plug.assumed, plug.rate.power_kw(50)), (("connectors",), 11.0))

    def test_limits(self) -> None:
        """Neither the connector's power is exceeded nor that of the whole EVSE."""
        for whole, one, power in ((None, 30.0, 30.0), (20.0, 30.0, 20.0), (40.0, 30.0, 30.0)):
            connector = attrs.evolve(connector_of("1", "CCS2"), max_power_kw=one)
            kind = EvseKind((connector,), whole)
            self.assertEqual(plugs_of(KNOWN, kind)[0].rate.power_kw(50), power)
            self.assertEqual(kind.power_kw, power)

    def test_unknown_as_ac(self) -> None:
        """A connector that nobody knows is not taken for a fast one, but where the car lists it."""
        car = attrs.evolve(KNOWN, ac_connectors=None, dc_connectors=None)
        (plug,) = plugs_of(car, kind_of_row(("Z-9",), 150.0))
        self.assertEqual((plug.rate.power_kw(50), plug.assumed), (11.0, ("connectors",)))
        (plug,) = plugs_of(attrs.evolve(car, dc_connectors=("Z-9",)), kind_of_row(("Z-9",), 50.0))
        self.assertEqual((plug.rate.power_kw(50), plug.assumed), (50.0, ("car_curve",)))


class ChoiceTests(SynchronousTestCase):
    """Which EVSE a car is given."""

    def uid(self, car: CarModel, *evses: Evse) -> str | None:
        best = choose_evse(car, evses, 20.0, 80.0)
        return best and best[0].uid

    def test_left_for_the_next(self) -> None:
        """Nobody is slowed, and what is best for the next is left."""
        slow, fast = an_evse("7-1", 50.0, "CCS2"), an_evse("7-2", 150.0, "CCS2")
        self.assertEqual(self.uid(shipped("BMW i3"), fast, slow), "7-1")
        self.assertEqual(self.uid(shipped("Hyundai Kona Electric"), slow, fast), "7-2")

    def test_no_faster(self) -> None:
        """A power that the car does not use makes no EVSE the better one, nor any other digit."""
        slow, fast = an_evse("7-2", 80.0, "CCS2"), an_evse("7-1", 150.0, "CCS2")
        for name, over in (("Tesla Model 3 Long Range", 73), ("Peugeot e-2008", 50)):
            for start in range(over, 80):
                found = choose_evse(shipped(name), (fast, slow), float(start), 80.0)
                self.assertIs(found and found[0], slow, f"{name} from {start} %")

    def test_power_of_the_whole(self) -> None:
        """Of those as quick it is that of the least power: of the whole EVSE, if that is said."""
        (plug,) = of("CCS2")
        small, great = attrs.evolve(plug, max_power_kw=60.0), attrs.evolve(plug, max_power_kw=90.0)
        strong, weak = Evse("1", EvseKind((small,), 150.0)), Evse("2", EvseKind((plug,), 90.0))
        unsaid = Evse("3", EvseKind((great,)))
        self.assertEqual(self.uid(shipped("BMW i3"), strong, weak), "2")
        self.assertEqual(self.uid(shipped("BMW i3"), strong, unsaid), "3")

    def test_fewest_connectors(self) -> None:
        """Of those as quick and strong it is the one with the fewest connectors."""
        both, one = an_evse("7-1", 50.0, "CCS2", "CHAdeMO"), an_evse("7-2", 50.0, "CCS2")
        self.assertEqual(self.uid(shipped("BMW i3"), both, one), "7-2")

    def test_natural_order(self) -> None:
        """Else it is the smallest uid, as people count."""
        evses = [an_evse(f"7-{n}", 50.0, "CCS2") for n in (10, 2, 11)]
        self.assertEqual(self.uid(shipped("BMW i3"), *evses), "7-2")
        self.assertEqual(
            sorted(("7-10", "7-A", "7-2", "B", "7"), key=natural), ["7", "7-2", "7-10", "7-A", "B"]
        )

    def test_none_fits(self) -> None:
        """Where none fits there is none."""
        self.assertIsNone(self.uid(shipped("Nissan Leaf"), an_evse("7-1", 50.0, "CCS2")))
        self.assertIsNone(self.uid(shipped("Nissan Leaf")))

    @given(
        st.lists(
            st.tuples(
                st.sampled_from((11.0, 50.0, 150.0, None)),
                st.lists(st.sampled_from(("CCS2", "CHAdeMO", "Type 2")), max_size=3, unique=True),
            ),
            max_size=6,
        ),
        st.sampled_from(sorted(SHIPPED)),
        st.randoms(),
    )
    def test_any_order(self, rows: list, name: str, random: object) -> None:
        """In whichever order they are looked at the choice is the same, and none is quicker."""
        evses = [an_evse(f"7-{n}", power, *names) for n, (power, names) in enumerate(rows)]
        car = shipped(name)
        best = choose_evse(car, evses, 10.0, 90.0)
        random.shuffle(evses)
        self.assertEqual(choose_evse(car, evses, 10.0, 90.0), best)
        for evse in evses:
            for plug in plugs_of(car, evse.kind):
                assert best is not None
                seconds = plug.rate.seconds(10.0, 90.0)
                self.assertGreaterEqual(seconds, best[1].seconds - 0.001)


class RowTests(SynchronousTestCase):
    """A station of which only a row of the CSV is known."""

    def test_uids(self) -> None:
        """Each slot is an EVSE, numbered."""
        evses = evses_of_row(7, 4, ("CCS2",), 50.0)
        self.assertEqual([evse.uid for evse in evses], ["7-1", "7-2", "7-3", "7-4"])
        self.assertTrue(all(evse.in_service for evse in evses))

    def powers(self, power: float | None, *names: str) -> list[float | None]:
        return [connector.max_power_kw for connector in kind_of_row(names, power).connectors]

    def test_powers(self) -> None:
        """The power is that of DC; AC beside it has 32 A."""
        mixed = ("CCS2", "Type 2", "Type 1", "NBR 14136", "Z-9")
        self.assertEqual(self.powers(150.0, *mixed), [150.0, 22.0, 7.4, 3.7, 150.0])
        self.assertEqual(self.powers(5.0, *mixed), [5.0, 5.0, 5.0, 3.7, 5.0])
        self.assertEqual(self.powers(43.0, "Type 2", "Type 1"), [43.0, 43.0])
        self.assertEqual(self.powers(None, *mixed), [None] * 5)

    def test_nothing_known(self) -> None:
        """Without connectors there are none."""
        self.assertEqual(kind_of_row((), None), EvseKind())
        self.assertIsNone(EvseKind().power_kw)

    def test_standards(self) -> None:
        """Names become OCPI's, and are shown by one name."""
        found = [(c.standard, c.name, c.is_dc) for c in of("mennekes", "Tesla", "Tesla AC", "Zé")]
        self.assertEqual(
            found,
            [
                ("IEC_62196_T2", "Type 2", False),
                ("TESLA_S", "Tesla", True),
                ("TESLA_S", "Tesla", False),
                (None, "Zé", None),
            ],
        )
