"""The options of `twistd evcharge` for planning trips."""

from __future__ import annotations

from twisted.python.usage import Options as UsageOptions

from evcharge.handlers.handler import MOST_STATIONS
from evcharge.planning.sites import ERROR_S
from evcharge.process.settings import PlanSettings
from evcharge.process.values import number, whole

MOST_PLANNERS = 64


class PlanOptions(UsageOptions):
    """The part of the options that is about PLAN."""

    optParameters = [  # noqa: RUF012 - how twisted.python.usage wants it
        [
            "plan-workers",
            None,
            1,
            "Processes that plan trips beyond the range (PLAN); each of the --workers has as many. "
            "They are started when they are needed.",
            whole("plan-workers", 1, MOST_PLANNERS),
        ],
        [
            "plan-seconds",
            None,
            2.0,
            "Seconds that one of them may look for a better plan of a trip, from when it begins "
            "with it; then it is the best so far, with its gap.",
            number("plan-seconds", 0.01, 60),
        ],
        [
            "plan-stations",
            None,
            MOST_STATIONS,
            "Stations within reach of a trip that is planned, at the most.",
            whole("plan-stations", 1, 10**6),
        ],
        [
            "plan-cost",
            None,
            50,
            "As how many requests a PLAN counts, for --rate-per-connection and --rate-per-address.",
            whole("plan-cost", 1, 10**6),
        ],
        [
            "plan-error-seconds",
            None,
            ERROR_S,
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
