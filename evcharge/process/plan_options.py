"""The options of `twistd evcharge` for planning trips."""

from __future__ import annotations

from twisted.python.usage import Options as UsageOptions

from evcharge.net.guards.limits import PLAN_COST
from evcharge.process.settings import PlanSettings
from evcharge.process.values import number, whole

DEFAULT = PlanSettings()

MOST_PLANNERS = 64


class PlanOptions(UsageOptions):
    """The part of the options that is about PLAN."""

    optParameters = [  # noqa: RUF012 - how twisted.python.usage wants it
        [
            "plan-workers",
            None,
            DEFAULT.workers,
            "Processes that plan trips beyond the range (PLAN); each of the --workers has as many. "
            "They are started when they are needed. While others than who asks for plans are "
            "served each begins with ten trips a second at the most, after five at once.",
            whole("plan-workers", 1, MOST_PLANNERS),
        ],
        [
            "plan-seconds",
            None,
            DEFAULT.seconds,
            "Seconds that one of them may look for a better plan of a trip, from when it begins "
            "with it; then it is the best so far, with its gap.",
            number("plan-seconds", 0.01, 60),
        ],
        [
            "plan-stations",
            None,
            DEFAULT.stations,
            "Stations within reach of a trip that is planned, at the most.",
            whole("plan-stations", 1, 10**6),
        ],
        [
            "plan-cost",
            None,
            PLAN_COST,
            "As how many requests a PLAN counts, for --rate-per-connection and --rate-per-address.",
            whole("plan-cost", 1, 10**6),
        ],
        [
            "plan-error-seconds",
            None,
            DEFAULT.error_s,
            "By how many seconds a planned charge may be off while plans are compared; what is "
            "told of the plan is exact.",
            number("plan-error-seconds", 0.01, 60),
        ],
    ]

    def planning(self) -> PlanSettings:
        """How trips are planned."""
        return PlanSettings(
            self["plan-workers"],
            self["plan-seconds"],
            self["plan-stations"],
            self["plan-error-seconds"],
        )
