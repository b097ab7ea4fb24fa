"""The sweep: one at a time, every few seconds, and told of as it went."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from evcharge.process.virtual_clock import VirtualClock
from evcharge.rules.sweep import Sweep, SweepResult
from evcharge.station_monitor import END_S, StationMonitor
from evcharge.storage import StorageUnavailable

INTERVAL_S, TTL_S = 5.0, 100.0


class StationMonitorTests(SynchronousTestCase):
    """A storage in the test's hands: each sweep ends when the test says so."""

    def setUp(self) -> None:
        self.clock = VirtualClock()
        self.set_by = 1000.0
        self.sweeps: list[tuple[Sweep, Deferred]] = []
        self.told: list[tuple[float, SweepResult | None]] = []
        self.monitor = StationMonitor(
            self.perform,
            self.clock,
            lambda: self.clock.seconds() + self.set_by,
            INTERVAL_S,
            TTL_S,
            lambda *told: self.told.append(told),
        )
        self.monitor.startService()

    def perform(self, operation: Sweep) -> Deferred:
        self.sweeps.append((operation, Deferred()))
        return self.sweeps[-1][1]

    def end(self, result: SweepResult) -> None:
        """End the sweep that is under way."""
        self.sweeps[-1][1].callback(result)

    def test_times(self) -> None:
        """A sweep comes at once, and then every few seconds, each with its own present."""
        for number in range(3):
            self.assertEqual(len(self.sweeps), number + 1)
            now = 1000 + number * INTERVAL_S
            self.assertEqual(self.sweeps[-1][0], Sweep(now, now - TTL_S))
            self.end(SweepResult(1, 2))
            self.clock.advance(INTERVAL_S)
        self.assertEqual(self.told, [(0.0, SweepResult(1, 2))] * 3)

    def test_slow(self) -> None:
        """While one is under way, however long, no other is begun; its time is a steady clock's."""
        self.set_by = 5000.0
        for _ in range(4):
            self.clock.advance(INTERVAL_S)
            self.assertEqual(len(self.sweeps), 1)
        self.end(SweepResult(0, 0))
        self.assertEqual(self.told, [(4 * INTERVAL_S, SweepResult(0, 0))])
        self.clock.advance(INTERVAL_S)
        self.assertEqual(len(self.sweeps), 2)

    def test_more(self) -> None:
        """What is left of much goes on at once, up to its end; each part is told of."""
        self.end(SweepResult(9, 0, more=True))
        self.clock.advance(1)
        self.end(SweepResult(8, 0, more=True))
        self.end(SweepResult(7, 0))
        self.assertEqual(len(self.sweeps), 3)
        self.assertEqual([result.freed for _, result in self.told], [9, 8, 7])
        self.assertEqual(self.sweeps[2][0].now, 1001)
        self.clock.advance(INTERVAL_S)
        self.assertEqual(len(self.sweeps), 4)

    def test_stopped(self) -> None:
        """Stopped, it waits for the sweep that is under way, and goes on with nothing."""
        stopped = self.monitor.stopService()
        self.assertNoResult(stopped)
        self.end(SweepResult(9, 0, more=True))
        self.successResultOf(stopped)
        self.clock.advance(10 * INTERVAL_S)
        self.assertEqual(len(self.sweeps), 1)
        self.successResultOf(self.monitor.stopService())

    def test_stopped_late(self) -> None:
        """It does not wait for one that does not end."""
        stopped = self.monitor.stopService()
        self.clock.advance(END_S / 2)
        self.assertNoResult(stopped)
        self.clock.advance(END_S / 2)
        self.successResultOf(stopped)
        self.end(SweepResult(9, 0))
        self.assertEqual([result.freed for _, result in self.told], [9])

    def test_failed(self) -> None:
        """One that failed is told of as such, and logged; the next one comes all the same."""
        for error, tracebacks in ((StorageUnavailable("disk full"), 0), (ZeroDivisionError(), 1)):
            self.told.clear()
            self.clock.advance(1)
            self.sweeps[-1][1].errback(error)
            self.assertEqual([result for _, result in self.told], [None])
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), tracebacks)
            self.clock.advance(INTERVAL_S)
        self.assertEqual(len(self.sweeps), 3)

    def test_failed_after_more(self) -> None:
        """So is one that fails after a part of it was done."""
        self.end(SweepResult(9, 0, more=True))
        self.sweeps[-1][1].errback(StorageUnavailable("disk full"))
        self.assertEqual([result for _, result in self.told], [SweepResult(9, 0, more=True), None])
        self.clock.advance(INTERVAL_S)
        self.assertEqual(len(self.sweeps), 3)
