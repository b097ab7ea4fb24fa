"""What `twistd evcharge` can be told, and what it says to what is wrong."""

from __future__ import annotations

import os

from twisted.python.usage import UsageError

from evcharge.models.station import DEFAULT_TIME_ZONE
from evcharge.models.terms import MOST_WAITING, Terms
from evcharge.net.guards.limits import MOST_PENDING_LOGINS, MOST_PER_ADDRESS, Limits
from evcharge.net.ports import LAYERED_ENDPOINTS, LOCAL, port_number
from evcharge.outcomes import LANGUAGES
from evcharge.process.help import HelpOptions
from evcharge.process.logs import FORMATS, OBSERVER, Log, choose
from evcharge.process.plan_options import PlanOptions
from evcharge.process.settings import Settings, TlsSettings
from evcharge.process.simulate_options import SimulateOptions
from evcharge.process.values import number, one_of, port_of, time_zone, whole
from evcharge.process.web_options import WebOptions
from evcharge.storage.location import STORAGE_VARIABLE, Location, parse

PLAIN_PORT = "8888"
PLAIN_PORT_BESIDE_TLS = f"{LOCAL}{PLAIN_PORT}"

TLS_PORTS = ("tls-port", "web-tls-port")
"""The options of ports on which TLS is spoken."""

MOST_WORKERS = 64

SHARED_ENDPOINTS = ("tcp", "tcp6", "unix")
"""Endpoints that are a listening socket and nothing more: several processes can accept from it."""


class Options(HelpOptions, WebOptions, SimulateOptions, PlanOptions):
    """
    The options of `twistd evcharge`.

    As a mapping they are what was typed; the server goes by :attr:`settings` alone.
    """

    synopsis = "[options]"
    longdesc = (
        "Runs the charging-network server. Drivers' apps send it a line of JSON for each request, "
        "over TCP. To begin with: twistd -n evcharge --web-port 8080"
    )
    optParameters = [  # noqa: RUF012 - how twisted.python.usage wants it
        [
            "port",
            "p",
            None,
            "Port for drivers' apps: a number (IPv4 and IPv6), localhost:8888 (this machine "
            "only), or an endpoint such as tcp:8888:interface=10.0.0.5 or "
            "unix:/run/evcharge.sock. Default: 8888, or localhost:8888 with --tls-port.",
            port_of("port"),
        ],
        [
            "tls-port",
            None,
            None,
            "Port for drivers' apps over TLS. Needs --tls-certificate and --tls-key.",
            port_of("tls-port"),
        ],
        [
            "tls-certificate",
            None,
            None,
            "PEM file of the server's TLS certificate, followed by its chain.",
        ],
        [
            "tls-key",
            None,
            None,
            "PEM file of the private key of the TLS certificate.",
        ],
        [
            "data",
            "d",
            "evcharge-data",
            "Data directory, used by the storage `files`. It is made and filled if it is "
            "missing or empty.",
        ],
        [
            "storage",
            "s",
            None,
            "Storage: files (the data directory), sqlite:///path/evcharge.db or postgresql://… "
            "Default: the environment's EVCHARGE_STORAGE, or files.",
        ],
        [
            "workers",
            None,
            1,
            "Processes that serve the ports together. More than 1 needs sqlite or postgresql as "
            "--storage.",
            whole("workers", 1, MOST_WORKERS),
        ],
        [
            "sweep-interval",
            None,
            5.0,
            "Sweep the stations for sessions that have ended at least every this many seconds. "
            "A sweep also comes when one is due.",
            number("sweep-interval", 0.01, 86400),
        ],
        [
            "user-ttl",
            None,
            86400.0,
            "Remove a user this many seconds after LOGIN who neither holds a slot nor is in a "
            "queue.",
            number("user-ttl", 1, 10**9),
        ],
        [
            "time-scale",
            None,
            1.0,
            "Charge this many times faster than real time (60: an hour passes in a minute).",
            number("time-scale", 0.001, 10**6),
        ],
        [
            "time-zone",
            None,
            DEFAULT_TIME_ZONE,
            "Time zone of the tariffs, at stations without a fusoHorario of their own.",
            time_zone,
        ],
        [
            "hold-minutes",
            None,
            15.0,
            "Keep a reserved slot for this many minutes after the announced arrival, at the "
            "speed of --time-scale.",
            number("hold-minutes", 0.01, 1440),
        ],
        [
            "offer-minutes",
            None,
            5.0,
            "Give a driver in the queue this many minutes to accept a slot that came free, at "
            "the speed of --time-scale.",
            number("offer-minutes", 0.01, 1440),
        ],
        [
            "idle-minutes",
            None,
            30.0,
            "Let a charged car stand at its slot for this many minutes, then end its session, "
            "at the speed of --time-scale.",
            number("idle-minutes", 0.01, 1440),
        ],
        [
            "queue-limit",
            None,
            MOST_WAITING,
            "Drivers allowed in the queue of one station.",
            whole("queue-limit", 0, 1000),
        ],
        [
            "http-port",
            None,
            None,
            "Port for monitoring: /health/live, /health/ready, /metrics. A number is a port of "
            "this machine only; an endpoint such as tcp:9100 is open to others.",
            port_of("http-port", LOCAL),
        ],
        [
            "operator-token-file",
            None,
            None,
            "File with the token that lets operators on this machine take EVSEs out of service "
            "and back over --http-port. It is made if it is missing.",
        ],
        [
            "log-format",
            None,
            "text",
            "Format of the log: text, or json (an object a line).",
            one_of("log-format", tuple(FORMATS)),
        ],
        [
            "language",
            "l",
            "pt",
            "Language of the messages to drivers: pt or en.",
            one_of("language", LANGUAGES),
        ],
        [
            "max-line",
            None,
            65536,
            "Longest line accepted, in bytes. A longer one gets 413.",
            whole("max-line", 256, 16 * 1024 * 1024),
        ],
        [
            "max-connections",
            None,
            16384,
            "Connections open at a time. Fewer if the system has too few file descriptors.",
            whole("max-connections", 1, 10**6),
        ],
        [
            "max-connections-per-address",
            None,
            None,
            "Connections open at a time from one IP address; an IPv6 /64 counts as one. 0: no "
            f"limit. Default: {MOST_PER_ADDRESS}, and no limit for this machine itself.",
            whole("max-connections-per-address", 0, 10**6),
        ],
        [
            "rate-per-connection",
            None,
            0.0,
            "Requests a second over one connection. 429 for each request over the rate; "
            "disconnected after one more burst of refused ones. 0: no limit.",
            number("rate-per-connection", 0, 10**6),
        ],
        [
            "rate-per-address",
            None,
            0.0,
            "Requests a second over all connections of one IP address together. 429 for each "
            "request over the rate. 0: no limit.",
            number("rate-per-address", 0, 10**6),
        ],
        [
            "max-pending-logins",
            None,
            None,
            "Logins allowed per IP address of users who neither hold a slot nor are in a queue. "
            f"Further ones get 429. 0: no limit. Default: {MOST_PENDING_LOGINS}, and no limit "
            "for this machine itself.",
            whole("max-pending-logins", 0, 10**9),
        ],
        [
            "max-subscribers",
            None,
            5000,
            "Clients that may listen to live events (SUBSCRIBE), for each process. Further ones "
            "get 503. 0: none.",
            whole("max-subscribers", 0, 10**6),
        ],
        [
            "live-interval",
            None,
            0.1,
            "Shortest time between two events sent to the same client, in seconds.",
            number("live-interval", 0.05, 60),
        ],
        [
            "idle-timeout",
            None,
            3600.0,
            "Disconnect a client that has sent no line for this many seconds. 0: never.",
            number("idle-timeout", 0, 10**9),
        ],
        [
            "line-timeout",
            None,
            30.0,
            "Disconnect a client that takes longer than this many seconds to finish a line. 0: "
            "never.",
            number("line-timeout", 0, 10**9),
        ],
        [
            "unread-timeout",
            None,
            60.0,
            "Disconnect a client that has not read its replies for this many seconds. 0: never.",
            number("unread-timeout", 0, 10**9),
        ],
    ]
    settings: Settings
    """What they come to, once they have been parsed."""
    log: Log | None = None
    """The log, where it is ours."""
    optFlags = [  # noqa: RUF012 - how twisted.python.usage wants it
        [
            "proxy-protocol",
            None,
            "Take the client's address from the PROXY header (v1 or v2) of your load balancer. "
            "Refuse connections without one.",
        ],
        [
            "verbose",
            "v",
            "Log a line for each request. Of the user's id it has the end only.",
        ],
    ]

    def postOptions(self) -> None:
        """Make the settings. UsageError: what is asked for does not go together."""
        if not self["data"]:
            raise UsageError("--data must name a directory")
        # twistd changes its working directory before it starts the services.
        self["data"] = os.path.abspath(self["data"])
        tls = self._tls()
        self._choose_log()
        simulation = self.simulation()
        self.settings = Settings(
            storage=self._storage(),
            port=self["port"]
            or (PLAIN_PORT if self["tls-port"] is None else PLAIN_PORT_BESIDE_TLS),
            tls=tls,
            http_port=self["http-port"],
            web=self.web(),
            operator_token_file=self._operator_token_file(),
            workers=self["workers"],
            sweep_interval_s=self["sweep-interval"],
            terms=Terms(
                time_scale=self["time-scale"],
                hold_s=self["hold-minutes"] * 60,
                offer_s=self["offer-minutes"] * 60,
                idle_s=self["idle-minutes"] * 60,
                most_waiting=self["queue-limit"],
                time_zone=self["time-zone"],
            ),
            language=self["language"],
            max_line=self["max-line"],
            live_interval_s=self["live-interval"],
            limits=Limits(
                connections=self["max-connections"],
                connections_per_address=self["max-connections-per-address"],
                rate_per_connection=self["rate-per-connection"] or None,
                rate_per_address=self["rate-per-address"] or None,
                plan_cost=self["plan-cost"],
                pending_logins=self["max-pending-logins"],
                subscribers=self["max-subscribers"],
                user_ttl_s=self["user-ttl"],
                idle_s=self["idle-timeout"] or None,
                line_s=self["line-timeout"] or None,
                unread_s=self["unread-timeout"] or None,
                proxy_protocol=bool(self["proxy-protocol"]),
            ),
            verbose=bool(self["verbose"]),
            simulation=simulation,
            planning=self.planning(),
        )
        _check_shareable(self.settings)
        _check_layers(self.settings)

    def _storage(self) -> Location:
        text = self["storage"] or os.environ.get(STORAGE_VARIABLE) or "files"
        try:
            return parse(text, self["data"])
        except ValueError as error:
            raise UsageError(f"--storage {error}") from None

    def _operator_token_file(self) -> str | None:
        name: str | None = self["operator-token-file"]
        if name is None:
            return None
        if self["http-port"] is None:
            raise UsageError("--operator-token-file needs an --http-port, where operators may ask")
        if not name:
            raise UsageError("--operator-token-file must name a file")
        # As above.
        return os.path.abspath(name)

    def _choose_log(self) -> None:
        """Have twistd log as we want it to, unless it was told otherwise."""
        twistd = self.parent
        if twistd is None:
            return
        if "logger" not in twistd:
            if self["log-format"] != "text":
                raise UsageError(
                    "--log-format json is for twistd; `python -m twisted` has a --log-format of "
                    "its own, which comes before the word evcharge"
                )
            return
        if twistd["syslog"] or twistd["logger"]:
            if self["log-format"] != "text":
                raise UsageError("--log-format json goes with neither --syslog nor --logger")
            return
        self.log = Log(self["log-format"], twistd["logfile"], bool(twistd["nodaemon"]))
        choose(self.log)
        twistd["logger"] = OBSERVER

    def _tls(self) -> TlsSettings | None:
        files = ("tls-certificate", "tls-key")
        ports = [name for name in TLS_PORTS if self[name]]
        if not ports and not any(self[name] for name in files):
            return None
        missing = [f"--{name}" for name in files if not self[name]]
        if not ports:
            missing.insert(0, " or ".join(f"--{name}" for name in TLS_PORTS))
        if missing:
            raise UsageError(f"TLS needs {' and '.join(missing)} too")
        # twistd changes its working directory before it starts the services.
        certificate, key = (os.path.abspath(self[name]) for name in files)
        return TlsSettings(self["tls-port"], certificate, key)


def _check_layers(settings: Settings) -> None:
    """Our own layers need the socket: a PROXY header comes before all else, TLS next."""
    for option, port in settings.ports.items():
        if port.partition(":")[0] not in LAYERED_ENDPOINTS:
            continue
        if option in TLS_PORTS:
            raise UsageError(f"--{option} must be a plain port, such as tcp:, not {port!r}")
        if settings.limits.proxy_protocol:
            raise UsageError(
                f"--proxy-protocol needs a --{option} that is plain, such as tcp:, not {port!r}; "
                f"for TLS there is --{option.replace('port', 'tls-port')}"
            )


def _check_shareable(settings: Settings) -> None:
    """Several processes need what they can share."""
    workers = settings.workers
    if workers == 1:
        return
    if not settings.storage.shareable:
        raise UsageError(
            f"--workers {workers} needs a storage that processes can share, "
            "sqlite:///FILE or postgresql://…, not files"
        )
    kinds = ", ".join(f"{kind}:" for kind in SHARED_ENDPOINTS)
    for option, port in settings.ports.items():
        if port_number(port) is None and port.partition(":")[0] not in SHARED_ENDPOINTS:
            raise UsageError(
                f"--workers {workers} needs a --{option} that is {kinds}, not {port!r}"
            )
