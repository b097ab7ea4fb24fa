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

    def test_stopping(self) -> None:
        """Of those who stop early nobody knows: offers may come before that, and are never late."""
        told = one(STOPPING, 200, seed=1)
        self.assertEqual(told.problems(STOPPING), [])
        self.assertGreater(told.early, 0)

    def test_several_kinds(self) -> None:
        """Where cars fit EVSEs that are not alike, no offer comes before the earliest."""
        for network in (POWERS, MIXED):
            self.assertEqual(one(network, 200, seed=1).problems(network), [])

    def test_wrong(self) -> None:
        """An offer that comes early, late, or to another one is found."""
        for network, count in ((ALIKE, 3), (STOPPING, 2), (POWERS, 2), (MIXED, 2)):
            told = Told(early=1, late=1, overtaken=1)
            self.assertEqual(len(told.problems(network)), count)

        class Strict(Town):
            """One whose drivers note what nobody can keep."""

            def _note(self, driver: Driver, line: object) -> None:
                super()._note(driver, line)
                driver.earliest = driver.latest = math.nextafter(self.now, 0) - 60.0

        self.assertEqual(Strict(ALIKE, 1).run(20).late, 20)
