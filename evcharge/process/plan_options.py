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
            "Processes that plan trips (PLAN), for each of the --workers. They start when they "
            "are first needed. While other requests are served, each begins ten trips a second at "
            "most, after five at once.",
            whole("plan-workers", 1, MOST_PLANNERS),
        ],
        [
            "plan-seconds",
            None,
            DEFAULT.seconds,
            "Look for a better trip plan for this many seconds at most. Then the reply has the "
            "best one found, with its gap.",
            number("plan-seconds", 0.01, 60),
        ],
        [
            "plan-stations",
            None,
            DEFAULT.stations,
            "Stations considered for a trip plan, at most.",
            whole("plan-stations", 1, 10**6),
        ],
        [
            "plan-cost",
            None,
            PLAN_COST,
            "Count a PLAN as this many requests, for --rate-per-connection and --rate-per-address.",
            whole("plan-cost", 1, 10**6),
        ],
        [
            "plan-error-seconds",
            None,
            DEFAULT.error_s,
            "Error allowed in a charge while trip plans are compared, in seconds. The plan in "
            "the reply is exact.",
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
