"""The scenarios that are played over every storage and every transport: classes of tests."""

from tests.handlers import test_charging, test_journey, test_sessions

JOURNEYS = (
    test_journey.StartTests,
    test_journey.LoginTests,
    test_journey.NavigationTests,
    test_journey.SelectionTests,
    test_journey.PaymentTests,
)
SESSIONS = (
    test_charging.TargetTests,
    test_charging.EvseTests,
    test_charging.WhyTests,
    test_charging.PriceTests,
    test_charging.EvseListTests,
    test_sessions.PairTests,
    test_sessions.FieldTests,
    test_sessions.DeadlineTests,
    test_sessions.IdempotenceTests,
    test_sessions.LineTests,
    test_sessions.ChoiceTests,
    test_sessions.ReservationTests,
)
OF_TRANSPORTS = (test_journey.EnvelopeTests, *JOURNEYS, test_journey.FailureTests)
"""The journeys, and what has to do with lines rather than with a storage."""
