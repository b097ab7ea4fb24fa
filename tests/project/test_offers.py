"""Offers come when it was said, to those whose turn it is."""

import math

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.offers import ALIKE, MIXED, POWERS, STOPPING, Driver, Told, Town, one


class OfferTests(SynchronousTestCase):
    """The project's own list, where drivers do all that they may."""

    def test_alike(self) -> None:
        """Where a car fits EVSEs that are alike, each offer is within all that was told of it."""
        told = one(ALIKE, 400, seed=1)
        self.assertEqual(told.problems(ALIKE), [])
        self.assertGreater(told.asked, 1000)
        for way in (
            "declined",
            "gave up waiting",
            "let an offer run out",
            "came late",
            "never came",
            "left the car there for a while",
            "nothing fits, or the line is full",
            "walked in",
        ):
            self.assertIn(way, told.ways)

    def test_powers(self) -> None:
        """Where all cars fit all EVSEs, of whatever power, neither is any outside."""
        self.assertEqual(one(POWERS, 200, seed=1).problems(POWERS), [])

    def test_stopping(self) -> None:
        """Of those who stop early nobody knows: offers may come before that, and are never late."""
        told = one(STOPPING, 200, seed=1)
        self.assertEqual(told.problems(STOPPING), [])
        self.assertGreater(told.early, 0)

    def test_mixed(self) -> None:
        """Where cars fit EVSEs of several kinds, no offer comes before the earliest."""
        self.assertEqual(one(MIXED, 200, seed=1).problems(MIXED), [])

    def test_wrong(self) -> None:
        """An offer that comes early, late, or to another one is found."""
        self.assertEqual(len(Told(early=1, late=1, overtaken=1).problems(ALIKE)), 3)
        self.assertEqual(len(Told(early=1, late=1, overtaken=1).problems(STOPPING)), 2)
        self.assertEqual(len(Told(early=1, late=1, overtaken=1).problems(MIXED)), 2)

        class Strict(Town):
            """One whose drivers note what nobody can keep."""

            def _note(self, driver: Driver, line: object) -> None:
                super()._note(driver, line)
                driver.earliest = driver.latest = math.nextafter(self.now, 0) - 60.0

        self.assertEqual(Strict(ALIKE, 1).run(20).late, 20)
