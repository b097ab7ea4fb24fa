"""Distances, ids and points in time."""

from math import pi
from uuid import UUID

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from evcharge.utils.geo_utils import EARTH_RADIUS_KM, distance_km
from evcharge.utils.ids import ending, uuid7
from evcharge.utils.numbers import with_point
from evcharge.utils.texts import akin, alike, beginning, counted, did_you_mean, is_unicode
from evcharge.utils.time_utils import iso_utc
from tests.support.examples import given

LATITUDES, LONGITUDES = st.floats(-90, 90), st.floats(-180, 180)


class DistanceTests(SynchronousTestCase):
    """Along the great circle."""

    def test_known(self) -> None:
        """A degree of a great circle, a quarter and a half of it, and a known pair of cities."""
        degree = EARTH_RADIUS_KM * pi / 180
        # What a geodesic says along the equator and a meridian, km.
        self.assertApproximates(degree, 111.195, 0.001)
        for two, degrees in (
            ((0, 0, 0, 1), 1),
            ((0, 0, 1, 0), 1),
            ((10, 20, -35, 20), 45),
            ((0, 179.5, 0, -179.5), 1),
            ((0, 0, 0, 90), 90),
            ((0, 0, 90, 55), 90),
            ((-90, 0, 90, 0), 180),
            ((12, 30, -12, -150), 180),
        ):
            self.assertApproximates(distance_km(*two), degrees * degree, 1e-6)
        # Feira de Santana and Salvador; and a degree of longitude, half-way to the pole.
        self.assertApproximates(distance_km(-12.2664, -38.9663, -12.9777, -38.5016), 93.8, 0.05)
        self.assertApproximates(distance_km(60, 0, 60, 1), 55.597, 0.0005)

    @given(LATITUDES, LONGITUDES, LATITUDES, LONGITUDES)
    def test_any(self, latitude: float, longitude: float, to_latitude: float, to: float) -> None:
        """There and back it is as far, never farther than half-way round, and 0 to where one is."""
        there = distance_km(latitude, longitude, to_latitude, to)
        self.assertApproximates(there, distance_km(to_latitude, to, latitude, longitude), 1e-6)
        self.assertTrue(0 <= there <= EARTH_RADIUS_KM * pi + 1e-6)
        self.assertEqual(distance_km(latitude, longitude, latitude, longitude), 0)


class IdTests(SynchronousTestCase):
    """Ids of users and receipts."""

    def test_uuid7(self) -> None:
        """They are UUIDs of version 7: the time, its milliseconds, and 74 bits that are random."""
        when = 1_744_033_512.678
        ids = [UUID(uuid7(when)) for _ in range(200)]
        for each in ids:
            self.assertEqual((each.version, each.variant), (7, UUID(uuid7(when)).variant))
            self.assertEqual(each.int >> 62 & 0b11, 0b10)
            self.assertEqual(each.int >> 80, 1_744_033_512_678)
            self.assertEqual(str(each), str(each).lower())
        random = [each.int & ((1 << 76) - 1) & ~(0b11 << 62) for each in ids]
        for bit in (*range(62), *range(64, 76)):
            # That all of 200 are alike happens once in 2 ** 199 times.
            self.assertEqual({number >> bit & 1 for number in random}, {0, 1}, bit)
        self.assertEqual(UUID(uuid7(2.0**48 / 1000)).int >> 80, 0)

    def test_order(self) -> None:
        """Those that are made later stand later, to the millisecond."""
        ids = [uuid7(1_744_033_512 + number / 1000) for number in range(1, 100)]
        self.assertEqual(ids, sorted(ids))

    def test_ending(self) -> None:
        """Of an id six characters may be said, but never more than a third of it."""
        for length in range(60):
            user_id = "".join(chr(ord("A") + number) for number in range(length))
            said = ending(user_id)
            self.assertEqual(len(said), min(6, length // 3))
            self.assertTrue(user_id.endswith(said))


class TextTests(SynchronousTestCase):
    """Texts."""

    def test_points_in_time(self) -> None:
        """A point in time has its milliseconds, cut off and not rounded up, in UTC."""
        for seconds, text in (
            (0.0, "1970-01-01T00:00:00.000Z"),
            (1_744_033_512.678, "2025-04-07T13:45:12.678Z"),
            (1_744_033_512.6789, "2025-04-07T13:45:12.678Z"),
            (1_744_033_512.9999, "2025-04-07T13:45:12.999Z"),
            (1_744_033_513.000_999, "2025-04-07T13:45:13.000Z"),
            (1_744_033_512.001, "2025-04-07T13:45:12.001Z"),
            (-0.001, "1969-12-31T23:59:59.999Z"),
        ):
            self.assertEqual(iso_utc(seconds), text)

    def test_unicode(self) -> None:
        """Half of a surrogate pair is no Unicode, all else is."""
        for text, right in (("", True), ("é😀\x00", True), ("\ud83d", False), ("a\udc00", False)):
            self.assertIs(is_unicode(text), right)

    def test_beginning(self) -> None:
        """What is too long is cut, and says so."""
        for text, shown in (("", ""), ("abc", "abc"), ("abcd", "abc…"), ("abcdef", "abc…")):
            self.assertEqual(beginning(text, 3), shown)

    def test_counted(self) -> None:
        """One is one, and of nothing there are as of many."""
        texts = [counted(number, "car") for number in (0, 1, 2)]
        self.assertEqual(texts, ["0 cars", "1 car", "2 cars"])


class NearTests(SynchronousTestCase):
    """What may have been meant."""

    def test_alike(self) -> None:
        """A name written like another is named; nothing is where none is."""
        self.assertEqual(alike("PROT", ["host", "port"]), ["port"])
        self.assertEqual(did_you_mean("prot", ["host", "port"], "--"), "; did you mean --port?")
        self.assertEqual(did_you_mean("xyz", ["host", "port"], "--"), "")

    def test_akin(self) -> None:
        """Names with words in common are, the one with the most first."""
        names = ["Nissan Leaf", "Tesla Model 3", "Tesla Model Y", "Tesla Roadster", "BYD Dolphin"]
        self.assertEqual(akin("model tesla", names), names[1:4])
        self.assertEqual(akin("Roadster (Tesla)", names), [names[3], *names[1:3]])
        for name in ("", "3", "Fusca", "\0" * 200):
            self.assertEqual(akin(name, names), [])

    def test_point(self) -> None:
        """A comma in a number is told, and in nothing else."""
        self.assertEqual(with_point("-12,2"), "; write a point: -12.2")
        for text in ("1,2,3", "a,b", "12.2", "", ","):
            self.assertEqual(with_point(text), "")
