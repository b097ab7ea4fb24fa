"""Reading the fields of a request: each bound, and what stands on either side of it."""

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from evcharge.outcomes import RequestFailed
from evcharge.utils.figures import decimal, kilometres, minutes, reais
from evcharge.wire.fields import boolean, choice, integer, name_text, number, station_id, text


class BoundTests(SynchronousTestCase):
    """What is accepted up to where."""

    def refused(self, read: Callable[..., Any], value: object, *args: Any, **more: Any) -> str:
        with self.assertRaises(RequestFailed) as caught:
            read({"field": value}, "field", *args, **more)
        failed = caught.exception
        self.assertEqual(failed.outcome.reason, "invalid_field")
        return failed.outcome.phrase.say("en", failed.values)

    def test_text(self) -> None:
        """Text has at most 200 characters, and no less and no more than is asked for."""
        for read in (text, name_text):
            for value in ("", "x", "x" * 200, "é" * 200, "😀" * 200, "\u00a0", "\u2028"):
                self.assertEqual(read({"field": value}, "field"), value)
            for value in ("x" * 201, "😀" * 201, "\x00", "a\x1f", "\x7f", "\x80", "\x9f", None, []):
                self.refused(read, value)
            for value in ("xx", "xxx"):
                self.assertEqual(read({"field": value}, "field", 2, 3), value)
            for value in ("x", "xxxx"):
                self.assertIn("2 to 3 characters", self.refused(read, value, 2, 3))
        self.refused(text, 5)

    def test_name(self) -> None:
        """A number is as long as its text is; a boolean is none."""
        for value, read in ((12, "12"), (-1, "-1"), (0.5, "0.5"), (123, "123")):
            self.assertEqual(name_text({"field": value}, "field", 2, 3), read)
        for value in (1, 1234, 0.25):
            self.refused(name_text, value, 2, 3)
        for value in (True, False, None):
            self.refused(name_text, value)
        self.assertEqual(name_text({"field": 10**199}, "field"), "1" + "0" * 199)
        for value in (10**200, -(10**199), float("inf"), float("-inf"), float("nan"), 10**5000):
            self.refused(name_text, value)

    def test_number(self) -> None:
        """Both bounds belong to what is allowed, but for one that must be exceeded."""
        for value, read in ((2, 2.0), (3, 3.0), ("2.0", 2.0), (" 3 ", 3.0), (2.5, 2.5)):
            self.assertEqual(number({"field": value}, "field", 2, 3), read)
        for value in (1.9999999, 3.0000001, "1.9", "3.1"):
            self.assertIn("from 2 to 3", self.refused(number, value, 2, 3))
        self.assertEqual(number({"field": 0}, "field", 0), 0)
        self.assertIn("not under 0", self.refused(number, -5e-324, 0))
        self.assertEqual(number({"field": 5e-324}, "field", 0, over=True), 5e-324)
        for value in (0, -0.0, "0", -1):
            self.assertIn("over 0", self.refused(number, value, 0, over=True))
        for value in ("4,5", "4.5 km", "", "1e999", "0x10", "1_0", "٣", True, None, float("inf"),
                      10**400, "9" * 201):  # fmt: skip
            self.refused(number, value, 0)
        self.assertEqual(number({"field": "9" * 200}, "field", 0), float("9" * 200))
        for value in (-0.0, "-0", "-0.0", "-1e-400"):
            # Else a driver were told of a distance of -0 km.
            self.assertEqual(str(number({"field": value}, "field", 0)), "0.0")

    def test_integer(self) -> None:
        """Both bounds belong to it; a fraction does not."""
        for value, read in ((2, 2), (3, 3), ("2", 2), (3.0, 3), ("3.0", 3)):
            self.assertEqual(integer({"field": value}, "field", 2, 3), read)
        for value in (1, 4, 2.5, "2.5", True, None, "", float("inf")):
            self.assertIn("whole number from 2 to 3", self.refused(integer, value, 2, 3))

    def test_boolean(self) -> None:
        """Nothing counts as a boolean but the two."""
        for value in (True, False):
            self.assertIs(boolean({"field": value}, "field"), value)
        for value in (0, 1, "true", "", None, [], {}):
            self.refused(boolean, value)

    def test_choice(self) -> None:
        """A choice is a text, and not what reads like it."""
        self.assertEqual(choice({"field": "1"}, "field", ("1", "None")), "1")
        for value in (1, None, ["1"], {"1": 1}, True, "", "2"):
            self.assertIn("one of: 1, None", self.refused(choice, value, ("1", "None")))

    def test_station_id(self) -> None:
        """Integers are their text, but not at any length."""
        for value, read in (
            ("7", "7"), (7, "7"), (-7, "-7"), (0, "0"), ("x" * 200, "x" * 200), ("", ""),
            (10**20 - 1, "9" * 20), (10**20, ""), (-(10**20), ""), (10**4000, ""),
        ):  # fmt: skip
            self.assertEqual(station_id({"field": value}, "field"), read)
        for value in ("x" * 201, "\n", 7.0, True, None, [], float("inf")):
            self.refused(station_id, value)


class FigureTests(SynchronousTestCase):
    """Figures as people write them."""

    def test_languages(self) -> None:
        """A comma in Portuguese, a point in English; thousands apart the other way round."""
        for write, value, pt, en in (
            (kilometres, 12.5, "12,5 km", "12.5 km"),
            (kilometres, 12.04, "12 km", "12 km"),
            (kilometres, 180, "180 km", "180 km"),
            (kilometres, 99.96, "100 km", "100 km"),
            (kilometres, 0.974462, "0,97 km", "0.97 km"),
            (kilometres, 0, "0,00 km", "0.00 km"),
            (kilometres, 1, "1 km", "1 km"),
            (kilometres, 999.94, "999,9 km", "999.9 km"),
            (kilometres, 999.96, "1.000 km", "1,000 km"),
            (kilometres, 12345.6, "12.346 km", "12,346 km"),
            (kilometres, 1e300, "1e+300 km", "1e+300 km"),
            (reais, 39, "R$ 39,00", "R$ 39.00"),
            (reais, 0, "R$ 0,00", "R$ 0.00"),
            (reais, 1234.5, "R$ 1.234,50", "R$ 1,234.50"),
            (reais, 1234567.89, "R$ 1.234.567,89", "R$ 1,234,567.89"),
            (minutes, 24.0, "24 min", "24 min"),
            (minutes, 162.162, "162 min", "162 min"),
            (minutes, 0, "0 min", "0 min"),
            (minutes, 0.37, "menos de 1 min", "under 1 min"),
            (minutes, 0.5, "menos de 1 min", "under 1 min"),
            (minutes, 0.51, "1 min", "1 min"),
            (minutes, 1440, "1.440 min", "1,440 min"),
        ):
            self.assertEqual((write(value, "pt"), write(value, "en")), (pt, en))
        self.assertEqual(decimal(-1234.5, "pt", 1), "-1.234,5")
