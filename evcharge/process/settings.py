"""What the server is told, once it is known to be right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from evcharge.handlers.handler import MOST_STATIONS
from evcharge.models.terms import Terms
from evcharge.net.guards.limits import Limits
from evcharge.planning.sites import ERROR_S
from evcharge.storage.location import Location
from evcharge.web.settings import WebSettings

if TYPE_CHECKING:
    from evcharge.simulator.scenario import Scenario
else:
    # Workers, which simulate nothing, look at each type when they read the settings.
    Scenario = object


@attrs.frozen
class TlsSettings:
    """How TLS is spoken, where there are ports for it."""

    port: str | None
    """The drivers' further port, on which it is, see :mod:`evcharge.net.ports`."""
    certificate: str
    """The absolute path of the PEM file of the certificate, and its chain."""
    key: str
    """That of its private key."""


@attrs.frozen
class SimulationSettings:
    """What is simulated in the server."""

    scenario: Scenario
    name: str
    """What the scenario was called."""
    speed: float
    """How many times as fast as real time it goes: the `time_scale` of the terms."""
    for_ever: bool
    """Whether days follow that the scenario does not have."""


@attrs.frozen
class PlanSettings:
    """How trips are planned that are beyond the range."""

    workers: int = 1
    """Processes that do it."""
    seconds: float = 2.0
    """How long one may take, from when it is begun."""
    stations: int = MOST_STATIONS
    """Of how many at the most."""
    error_s: float = ERROR_S
    """How far a search may be off in the time of a charge, seconds."""


@attrs.frozen
class Settings:
    """
    All that one server goes by.

    :class:`evcharge.process.options.Options` makes them of a command line; nobody changes them.
    """

    storage: Location
    port: str
    """The drivers' port, see :mod:`evcharge.net.ports`."""
    tls: TlsSettings | None
    http_port: str | None
    """The port of those who watch the server, described likewise."""
    web: WebSettings | None
    """None: neither page nor HTTP for drivers."""
    operator_token_file: str | None
    """The absolute path of the file with the token of operators; None: they may not ask there."""
    workers: int
    """Processes that serve the ports."""
    sweep_interval_s: float
    terms: Terms
    """What sessions go by."""
    language: str
    """Of the texts, "pt" or "en"."""
    max_line: int
    """The longest line that is read, bytes."""
    live_interval_s: float
    """The least time between two lines that a subscriber is sent."""
    limits: Limits
    verbose: bool
    """Whether there is a line in the log for each request."""
    simulation: SimulationSettings | None = None
    """None: only drivers from outside come."""
    planning: PlanSettings = PlanSettings()

    @property
    def ports(self) -> dict[str, str]:
        """Option -> description of the ports for drivers and people, the plain one first."""
        ports = {
            "port": self.port,
            "tls-port": None if self.tls is None else self.tls.port,
            "web-port": None if self.web is None else self.web.port,
            "web-tls-port": None if self.web is None else self.web.tls_port,
        }
        return {option: port for option, port in ports.items() if port is not None}
