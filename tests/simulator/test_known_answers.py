"""Some systems of which the answer is known, as far as a test may take: benchmarks have all."""

from statistics import fmean

from twisted.trial.unittest import SynchronousTestCase

from evcharge.simulator.world import run
from tests.support.known_answers import (
    System,
    by_the_hour,
    full_line,
    impatience,
    line,
    loss,
    one_server,
)
from tests.support.simulations import one_station


class KnownAnswerTests(SynchronousTestCase):
    """What the drivers of a simulation meet is what formulas say."""

    def near(self, system: System, replications: int, *off: float) -> None:
        """Of each answer the mean of some replications is no farther off than that."""
        found = [run(system.scenario, number) for number in range(replications)]
        for answer, most in zip(system.answers, off, strict=True):
            met = fmean(answer.figure(system.scenario, each) for each in found)
            self.assertApproximates(met, answer.known, most, answer.what)

    def test_loss(self) -> None:
        """Of those who go where all is taken there are as many as Erlang's formula B says."""
        self.near(loss(4, 9.0, 700, 0.315484), 2, 0.025)

    def test_one_server(self) -> None:
        """At one EVSE the mean wait is Pollaczek's and Khinchine's."""
        self.near(one_server(1.0, 1500, 13.8109), 1, 1.5)

    def test_same_charges(self) -> None:
        """It is less where all charges take as long."""
        self.near(one_server(1.0, 1500, 11.0455, minutes=27.0), 1, 1.5)

    def test_line(self) -> None:
        """Of those who wait for as long as it takes, waits are those of Erlang's formula C."""
        self.near(line(2, 2.4, 30.0, 1500, 0.45, 16.875, 0.675), 1, 0.05, 2.5, 0.12)

    def test_impatience(self) -> None:
        """Of those whose patience is exponential as many leave the line as should."""
        system = impatience(2, 5.0, 30.0, 20.0, 1500, 0.370102, 7.4020, 0.669246)
        self.near(system, 1, 0.03, 0.6, 0.04)

    def test_full_line(self) -> None:
        """Where the line has an end, as many find it full as should; others wait as long."""
        self.near(full_line(2, 4, 5.0, 30.0, 1500, 0.316776, 15.5786), 2, 0.03, 0.9)

    def test_by_the_hour(self) -> None:
        """With room for all, as many charge at each hour as come and stay, give or take."""
        self.near(by_the_hour(3), 1, 9.0, 9.0, 9.0, 9.0, 5.0, 0.6, 1000.0)

    def test_nobody_waits_for_nothing(self) -> None:
        """Where there are EVSEs for all, as many charge as come while one of them does."""
        scenario = one_station(80, 37.5, days=2, warm_up_hours=2)
        found = run(scenario, 0)
        figures = found.figures["network"]
        self.assertEqual((figures["lost"], figures["wait_mean"]), (0.0, 0.0))
        # 37.5 an hour, 27 minutes each: 16.875 of 80.
        self.assertApproximates(figures["utilisation"] or 0.0, 16.875 / 80, 0.02)
        self.assertAlmostEqual(figures["power_kw"] or 0.0, 50.0, 6)
        self.assertAlmostEqual(figures["price_kwh"] or 0.0, 2.0, 2)
