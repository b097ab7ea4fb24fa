"""The options of `twistd evcharge` for drivers that are simulated in the server itself."""

from __future__ import annotations

from typing import Any

from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from evcharge.models.terms import LEAST_SPEED, MOST_SPEED
from evcharge.process.settings import SimulationSettings
from evcharge.process.values import number

USUAL_SPEED = 60.0


class SimulateOptions(UsageOptions):
    """The part of the options that is about the simulation."""

    optParameters = [  # noqa: RUF012 - how twisted.python.usage wants it
        [
            "simulate",
            None,
            None,
            "Have simulated drivers use this server: a scenario's TOML file, or the name of a "
            "shipped one (evcharge simulate new --list). A new storage gets the scenario's "
            "network.",
        ],
        [
            "speed",
            None,
            None,
            "Speed of the simulated drivers and of charging: 1 to 600 times real time. It sets "
            f"--time-scale. Default: {USUAL_SPEED:g}.",
            number("speed", LEAST_SPEED, MOST_SPEED),
        ],
    ]
    optFlags = [  # noqa: RUF012 - how twisted.python.usage wants it
        [
            "for-ever",
            None,
            "Have simulated drivers come day after day, also after the scenario's last day.",
        ],
    ]

    def __init__(self) -> None:
        self.typed: set[str] = set()
        """The names of the options that were typed."""
        super().__init__()

    def __setitem__(self, name: str, value: Any) -> None:
        self.typed.add(name)
        super().__setitem__(name, value)

    def simulation(self) -> SimulationSettings | None:
        """
        What is to be simulated; None: nothing. The options that a scenario speaks of are set as it
        says, unless they were typed.
        """
        if self["simulate"] is None:
            for name in ("speed", "for-ever"):
                if self[name]:
                    raise UsageError(f"--{name} needs --simulate SCENARIO, as --simulate demo")
            return None
        if self["workers"] > 1:
            raise UsageError(
                f"--simulate goes with one process, not with --workers {self['workers']}: "
                "leave out one of them, or use evcharge simulate drive"
            )
        speed = self._speed()
        # Only then, as it is big.
        from evcharge.simulator.keys import ScenarioError
        from evcharge.simulator.scenario import read

        try:
            scenario = read(self["simulate"])
        except ScenarioError as error:
            raise UsageError(f"--simulate {self['simulate']}: {error}") from None
        options = scenario.network.options
        for name, value in (
            ("time-scale", speed),
            ("time-zone", scenario.time_zone),
            ("hold-minutes", options.hold_minutes),
            ("offer-minutes", options.offer_minutes),
            ("idle-minutes", options.idle_minutes),
            ("queue-limit", options.queue_limit),
        ):
            if name not in self.typed:
                super().__setitem__(name, value)
        return SimulationSettings(scenario, self["simulate"], speed, bool(self["for-ever"]))

    def _speed(self) -> float:
        scale = self["time-scale"] if "time-scale" in self.typed else None
        speed: float = self["speed"] or scale or USUAL_SPEED
        if scale is not None and scale != speed:
            raise UsageError(
                f"--speed {speed:g} is --time-scale {speed:g}, not {scale:g}: say one of them"
            )
        if not LEAST_SPEED <= speed <= MOST_SPEED:
            raise UsageError(
                f"--simulate goes with a --time-scale from {LEAST_SPEED:g} to {MOST_SPEED:g}, "
                f"not {speed:g}"
            )
        return speed
