"""What is logged in this process while a test runs."""

from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase


def logged(test: SynchronousTestCase) -> list[LogEvent]:
    """The events from now on, to which each is added as it comes."""
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    test.addCleanup(globalLogPublisher.removeObserver, events.append)
    return events
