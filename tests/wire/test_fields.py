"""Reading the fields of a request: each bound, and what stands on either side of it."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from evcharge.outcomes import MISSING_FIELDS, Refusal, missing
from evcharge.utils.figures import decimal, kilometres, minutes, reais
from evcharge.wire.fields import (
    POSITION,
    Boolean,
    Choice,
    Field,
    Integer,
    Kind,
    Number,
    StationId,
    Text,
    read,
)


class BoundTests(SynchronousTestCase):
    """What is accepted up to where."""

    def assertRead(self, kind: Kind, value: object, expected: object) -> None:
        self.assertEqual(read([Field("field", kind)], {"field": value}), {"field": expected})

    def refused(self, kind: Kind, value: object) -> str:
        refusal = read([Field("field", kind)], {"field": value})
        assert isinstance(refusal, Refusal), (value, refusal)
        self.assertEqual(refusal.outcome.reason, "invalid_field")
        said = refusal.outcome.phrase.say("en", refusal.figures)
        self.assertIn("Invalid field: field must be ", said)
        return said

    def test_text(self) -> None:
        """Text has at most 200 characters, and no less and no more than is asked for."""
        for numbers in (False, True):
            kind, some = Text(numbers=numbers), Text(2, 3, numbers)
            for value in ("", "x", "x" * 200, "é" * 200, "😀" * 200, "\u00a0", "\u2028"):
                self.assertRead(kind, value, value)
            for value in ("x" * 201, "😀" * 201, "\x00", "a\x1f", "\x7f", "\x80", "\x9f", None, []):
                self.refused(kind, value)
            for value in ("xx", "xxx"):
                self.assertRead(some, value, value)
            for value in ("x", "xxxx"):
                self.assertIn("2 to 3 characters", self.refused(some, value))
        self.refused(Text(), 5)

    def test_name(self) -> None:
        """A number is as long as its text is; a boolean is none."""
        kind, some = Text(numbers=True), Text(2, 3, numbers=True)
        for value, expected in ((12, "12"), (-1, "-1"), (0.5, "0.5"), (123, "123")):
            self.assertRead(some, value, expected)
        for value in (1, 1234, 0.25):
            self.refused(some, value)
        for value in (True, False, None):
            self.refused(kind, value)
        self.assertRead(kind, 10**199, "1" + "0" * 199)
        self.assertRead(kind, 1.5e300, "1.5e+300")
        for value in (10**200, -(10**199), float("inf"), float("-inf"), float("nan"), 10**5000):
            self.refused(kind, value)

    def test_number(self) -> None:
        """Both bounds belong to what is allowed, but for one that must be exceeded."""
        for value, expected in ((2, 2.0), (3, 3.0), ("2.0", 2.0), (" 3 ", 3.0), (2.5, 2.5)):
            self.assertRead(Number(2, 3), value, expected)
        for value in (1.9999999, 3.0000001, "1.9", "3.1"):
            self.assertIn("from 2 to 3", self.refused(Number(2, 3), value))
        self.assertRead(Number(0), 0, 0)
        self.assertIn("not under 0", self.refused(Number(0), -5e-324))
        self.assertRead(Number(0, over=True), 5e-324, 5e-324)
        for value in (0, -0.0, "0", -1):
            self.assertIn("over 0", self.refused(Number(0, over=True), value))
        for value in ("4,5", "4.5 km", "", "1e999", "0x10", "1_0", "٣", True, None, float("inf"),
                      10**400, "9" * 201):  # fmt: skip
            self.refused(Number(0), value)
        self.assertRead(Number(0), "9" * 200, float("9" * 200))
        for value in (-0.0, "-0", "-0.0", "-1e-400"):
            # Else a driver were told of a distance of -0 km.
            self.assertEqual(str(Number(0).read("field", value)), "0.0")

    def test_integer(self) -> None:
        """Both bounds belong to it; a fraction does not."""
        for value, expected in ((2, 2), (3, 3), ("2", 2), (3.0, 3), ("3.0", 3)):
            self.assertRead(Integer(2, 3), value, expected)
        for value in (1, 4, 2.5, "2.5", True, None, "", float("inf")):
            self.assertIn("whole number from 2 to 3", self.refused(Integer(2, 3), value))

    def test_boolean(self) -> None:
        """Nothing counts as a boolean but the two."""
        for value in (True, False):
            self.assertRead(Boolean(), value, value)
        for value in (0, 1, "true", "", None, [], {}):
            self.refused(Boolean(), value)

    def test_choice(self) -> None:
        """A choice is a text, and not what reads like it."""
        self.assertRead(Choice(("1", "None")), "1", "1")
        for value in (1, None, ["1"], {"1": 1}, True, "", "2"):
            self.assertIn("one of: 1, None", self.refused(Choice(("1", "None")), value))

    def test_station_id(self) -> None:
        """Integers are their text; those longer than any id are nobody's, and no other value is."""
        for value, expected in (
            ("7", "7"), (7, "7"), (-7, "-7"), (0, "0"), ("x" * 200, "x" * 200), ("", ""),
            (10**20 - 1, "9" * 20), (10**20, None), (-(10**20), None), (10**4000, None),
        ):  # fmt: skip
            self.assertRead(StationId(), value, expected)
        for value in ("x" * 201, "\n", 7.0, True, None, [], float("inf")):
            self.refused(StationId(), value)


class ReadTests(SynchronousTestCase):
    """Several fields, of which some may be absent."""

    FIELDS = (
        Field("flag", Boolean()),
        Field("place", POSITION, optional=True),
        Field("one", Integer(1, 2), instead=Field("other", Text())),
    )

    def read(self, **data: Any) -> Any:
        return read(self.FIELDS, data)

    def said(self, **data: Any) -> str:
        refusal = self.read(**data)
        return refusal.outcome.phrase.say("en", refusal.figures)

    def test_present(self) -> None:
        """What is there is read, by name; what is not, and may be, is left out."""
        self.assertEqual(self.read(flag=True, one="2", more=1), {"flag": True, "one": 2})
        place = {"latitude": "1", "longitude": 2, "altitude": None}
        self.assertEqual(
            self.read(flag=True, place=place, other="x"),
            {"flag": True, "place": {"latitude": 1.0, "longitude": 2.0}, "other": "x"},
        )

    def test_instead(self) -> None:
        """What does instead of another is not looked at where that one is there."""
        self.assertEqual(self.read(flag=True, one=1, other=[]), {"flag": True, "one": 1})
        self.assertIn("other must be text", self.said(flag=True, other=[]))

    def test_missing(self) -> None:
        """All that lack are named, even behind one that is wrong."""
        self.assertEqual(self.read(), missing("flag", "one/other"))
        self.assertEqual(self.read(flag=1), missing("one/other"))
        self.assertEqual(self.read(one=7), missing("flag"))
        self.assertEqual(self.read(flag=True, place={}, other=""),
                         missing("place.latitude", "place.longitude"))  # fmt: skip
        self.assertEqual(self.read(place={}).outcome, MISSING_FIELDS)

    def test_wrong(self) -> None:
        """The first that is wrong is named, within its object."""
        self.assertIn("flag must be", self.said(flag=1, one=7))
        self.assertIn("place must be an object", self.said(flag=True, one=1, place=None))
        self.assertIn(
            "place.longitude must be a number from -180 to 180",
            self.said(flag=True, one=1, place={"latitude": 90, "longitude": 181}),
        )

    def test_repeated(self) -> None:
        """A reply repeats what was read, and None of what is wrong or absent."""
        field = Field("one", Integer(1, 2))
        for data, expected in (({"one": "2"}, 2), ({"one": 3}, None), ({}, None)):
            self.assertEqual(field.repeated(data), expected)


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
            (kilometres, 1000.4, "1.000 km", "1,000 km"),
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
