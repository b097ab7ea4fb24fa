"""The options of `twistd evcharge` for the ports of browsers and of HTTP."""

from __future__ import annotations

import os
import re
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import msgspec
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from evcharge.net.ports import LOCAL
from evcharge.process.values import port_of
from evcharge.web.settings import WebSettings

NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.IGNORECASE)
"""The name of a machine, as the Host header has it; other letters are written as xn--…"""

LARGEST_GEOJSON = 4 * 1024 * 1024
"""The largest file of lines that a map shows, bytes: each browser has to read all of it."""


GEOJSON = (
    "FeatureCollection",
    "Feature",
    "GeometryCollection",
    "LineString",
    "MultiLineString",
    "Polygon",
    "MultiPolygon",
    "Point",
    "MultiPoint",
)
"""What a GeoJSON object may be."""


class WebOptions(UsageOptions):
    """The part of the options that is about the web ports."""

    optParameters = [  # noqa: RUF012 - how twisted.python.usage wants it
        [
            "web-port",
            None,
            None,
            "Port for browsers and HTTP: the map, WebSocket, messages by POST. A number is a "
            "port of this machine only; an endpoint such as tcp:8080 is open to others.",
            port_of("web-port", LOCAL),
        ],
        [
            "web-tls-port",
            None,
            None,
            "Port for browsers and HTTP over TLS. Needs --tls-certificate and --tls-key. A "
            "number is a port of this machine only.",
            port_of("web-tls-port", LOCAL),
        ],
        [
            "map-tiles",
            None,
            None,
            "Address of tiles for the map's background, with {z}, {x} and {y} in it. Browsers "
            "load them from there. Default: a grid of kilometres.",
        ],
        [
            "map-attribution",
            None,
            None,
            "Copyright of the tiles of --map-tiles, as the map shows it.",
        ],
        [
            "map-geojson",
            None,
            None,
            "GeoJSON file with lines of your own. The map draws them beneath the stations.",
        ],
    ]

    def __init__(self) -> None:
        self._hosts: list[str] = []
        self._origins: list[str] = []
        super().__init__()

    def opt_web_host(self, name: str) -> None:
        """A further host name by which browsers may reach this server. May be repeated."""
        host = name.strip().rstrip(".").lower()
        if not NAME.fullmatch(host) or len(host) > 253:
            raise UsageError(
                f"--web-host must be a name such as carga.example.org, without port, not {name!r}"
            )
        self._hosts.append(host)

    def opt_web_origin(self, address: str) -> None:
        """Origin of another page that may use this server: https://a.example. May be repeated."""
        self._origins.append(_origin(address))

    def web(self) -> WebSettings | None:
        """What is asked for; None: no web port. UsageError: it does not go together."""
        names = ("map-tiles", "map-attribution", "map-geojson")
        if self["web-port"] is None and self["web-tls-port"] is None:
            asked = [f"--{name}" for name in names if self[name] is not None]
            asked += ["--web-host"] * bool(self._hosts) + ["--web-origin"] * bool(self._origins)
            if asked:
                raise UsageError(f"{asked[0]} needs a --web-port or a --web-tls-port")
            return None
        tiles, attribution, geojson = (self[name] for name in names)
        if tiles is not None:
            _check_tiles(tiles)
        elif attribution is not None:
            raise UsageError("--map-attribution needs --map-tiles: it names who made the tiles")
        if attribution is not None and not attribution.isprintable():
            raise UsageError("--map-attribution must be one line of text")
        if geojson is not None:
            # twistd changes its working directory before it starts the services.
            geojson = os.path.abspath(geojson)
            _check_geojson(geojson)
        return WebSettings(
            port=self["web-port"],
            tls_port=self["web-tls-port"],
            hosts=tuple(dict.fromkeys(self._hosts)),
            origins=tuple(dict.fromkeys(self._origins)),
            map_tiles=tiles,
            map_attribution=attribution,
            map_geojson=geojson,
        )


def _split(address: str) -> SplitResult | None:
    """The parts of an address of the web that has a host; None: it is none."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port
        if not NAME.fullmatch(host):
            ip_address(host)
    except ValueError:
        return None
    return parts if parts.scheme in ("http", "https") and parts.username is None else None


def _origin(address: str) -> str:
    """An origin as browsers write it: scheme, name, and the port where it is not the usual one."""
    parts = _split(address.strip())
    if parts is None or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise UsageError(
            "--web-origin must be the beginning of a page's address, such as "
            f"https://app.example.org or http://127.0.0.1:3000, not {address!r}"
        )
    name = str(parts.hostname)
    host = f"[{name}]" if ":" in name else name
    usual = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + ("" if parts.port in (None, usual) else f":{parts.port}")


def _check_tiles(address: str) -> None:
    # Its host becomes part of the page's Content-Security-Policy; {s} is one of several names.
    parts = _split(address.replace("{s}", "s", 1))
    is_whole = parts is not None and all(f"{{{name}}}" in address for name in "zxy")
    if not is_whole or not re.fullmatch(r"[!-~]+", address):
        raise UsageError(
            "--map-tiles must be an address such as "
            f"https://tiles.example.org/{{z}}/{{x}}/{{y}}.png, not {address!r}"
        )


def _check_geojson(name: str) -> None:
    try:
        content = Path(name).read_bytes()
    except OSError as error:
        raise UsageError(f"--map-geojson {name}: {error.strerror or error}") from None
    if len(content) > LARGEST_GEOJSON:
        raise UsageError(f"--map-geojson {name}: is over {LARGEST_GEOJSON // 1024**2} MiB")
    try:
        value = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"--map-geojson {name}: is no JSON: {error}") from None
    if not isinstance(value, dict) or value.get("type") not in GEOJSON:
        raise UsageError(
            f"--map-geojson {name}: is no GeoJSON: its type must be one of {', '.join(GEOJSON)}"
        )
