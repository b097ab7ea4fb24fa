"""
What can be asked over HTTP: each method and path, the message that it is, and what its parameters
mean there. The mirror answers by this table, and the OpenAPI document is made from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes

import attrs

from evcharge.handlers import MESSAGES, Handler
from evcharge.handlers.public import FindTariff, ShowFigures
from evcharge.handlers.start import Start
from evcharge.handlers.subscribe import Subscribe
from evcharge.outcomes import STATION_NOT_FOUND, Outcome
from evcharge.web.answers import JSON
from evcharge.wire.fields import Field, Kind, ListOf, Object

ROOT = "/api/v1"

GEOJSON = "application/geo+json"


@attrs.frozen
class Parameter:
    """One of the path or of the query. One that is an object is there as its fields are."""

    name: str
    field: Field
    """The field of the message that it is: the whole, or the only one of a list."""
    about: str
    in_path: bool = False
    example: Any = None

    @property
    def kind(self) -> Kind:
        """What it must be."""
        kind = self.field.kind
        return kind.kind if isinstance(kind, ListOf) else kind

    def read(self, given: Mapping[str, Any]) -> Any:
        """The value of the message's field, of what is given by name; None: it is not there."""
        if isinstance(self.kind, Object):
            names = [field.name for field in self.kind.fields]
            return {name: given[name] for name in names if name in given} or None
        value = given.get(self.name)
        return [value] if isinstance(self.field.kind, ListOf) else value


@attrs.frozen(kw_only=True)
class Route:
    """What one method does at one path."""

    path: str
    method: str
    message: type[Handler] | None
    """Whose reply it is; None: of any message, or of none."""
    about: str
    parameters: tuple[Parameter, ...] = ()
    asks: Mapping[str, Any] = attrs.field(factory=dict)
    """What is asked of the message besides."""
    shows: tuple[str, ...] = ()
    """Which fields of its reply are shown; none are named: all."""
    absent: Outcome | None = None
    """How it ends where the first of these is empty."""
    kind: str = JSON
    """The type of the content, where all is well."""


def _of(message: type[Handler], name: str) -> Field:
    """A field of a message."""
    (field,) = (field for field in message.FIELDS if field.name == name)
    return field


NEAREST = (
    Parameter(
        "position",
        _of(Start, "position"),
        "`latitude` and `longitude`, degrees of WGS 84: where `limit` leaves stations out, it "
        "leaves the nearest.",
        example={"latitude": -12.2664, "longitude": -38.9663},
    ),
    Parameter("limit", _of(Start, "limit"), "How many stations at most.", example=5),
)

DOCUMENT = Route(
    method="GET", path=f"{ROOT}/openapi.json", message=None, about="This document."
)  # fmt: skip

ANY_MESSAGE = Route(
    method="POST",
    path=f"{ROOT}/messages",
    message=None,
    about="Any message, in the envelope that it has on the other ports.",
)


def path_of(message: type[Handler]) -> str:
    """Where a message is posted."""
    return f"{ROOT}/{message.TYPE.lower().replace('_', '-')}"


LOOK_UPS = (
    Route(
        method="GET",
        path=f"{ROOT}/cars",
        message=Start,
        about="The car models, by name.",
        asks={"stations": []},
        shows=("car_models",),
    ),
    Route(
        method="GET",
        path=f"{ROOT}/stations",
        message=Start,
        about="The stations, by id, as they are now.",
        parameters=NEAREST,
        shows=("station_models", "total_stations", "truncated"),
    ),
    Route(
        method="GET",
        path=f"{ROOT}/stations/{{id}}",
        message=Start,
        about="One station with its EVSEs, and the tariffs that hold there.",
        parameters=(Parameter("id", _of(Start, "stations"), "The station's id.", True, "9"),),
        shows=("station_models", "tariffs"),
        absent=STATION_NOT_FOUND,
    ),
    Route(
        method="GET",
        path=f"{ROOT}/stations.geojson",
        message=Start,
        about="The stations as a FeatureCollection of points.",
        parameters=NEAREST,
        shows=("station_models", "total_stations", "truncated"),
        kind=GEOJSON,
    ),
    Route(
        method="GET",
        path=f"{ROOT}/tariffs/{{id}}",
        message=FindTariff,
        about="One tariff, as OCPI 2.2.1 has it.",
        parameters=(
            Parameter("id", _of(FindTariff, "tariff_id"), "The tariff's id.", True, "estrada"),
        ),
    ),
    Route(
        method="GET",
        path=f"{ROOT}/figures",
        message=ShowFigures,
        about="The figures of the network, a point a minute, the oldest first.",
        parameters=(
            Parameter("hours", _of(ShowFigures, "hours"), "Of how many hours.", example=1),
        ),
    ),
)

ROUTES: tuple[Route, ...] = (
    DOCUMENT,
    *LOOK_UPS,
    *(
        Route(method="POST", path=path_of(each), message=each, about=f"The message {each.TYPE}.")
        for each in MESSAGES
    ),
    ANY_MESSAGE,
)
"""All of them, each once."""

STAYS_OPEN = Subscribe
"""The message that a single reply is no answer to."""

Found: TypeAlias = tuple[Sequence[Route], Mapping[str, str]]


def _by_path() -> tuple[dict[str, list[Route]], dict[str, list[Route]]]:
    """The routes of each path, and of each beginning of one that ends in a parameter."""
    whole: dict[str, list[Route]] = {}
    begun: dict[str, list[Route]] = {}
    for route in ROUTES:
        beginning, has_parameter, _ = route.path.partition("{")
        (begun if has_parameter else whole).setdefault(beginning, []).append(route)
    return whole, begun


_WHOLE, _BEGUN = _by_path()


def find(path: bytes) -> Found | None:
    """
    The routes of a path, one for each method, with what stands in it for its parameters.

    :param path: as the client has sent it; what it is encoded in is UTF-8.
    """
    text = path.decode("latin-1")
    if text in _WHOLE:
        return _WHOLE[text], {}
    beginning, slash, last = text.rpartition("/")
    routes = _BEGUN.get(beginning + slash)
    if routes is None or not last:
        return None
    (name,) = (each.name for each in routes[0].parameters if each.in_path)
    return routes, {name: unquote_to_bytes(last).decode(errors="replace")}
