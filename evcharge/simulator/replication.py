"""What one run of a scenario comes to: plain values, which a file has whole."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import TypeAlias, TypeVar

import attrs
import msgspec

_Read = TypeVar("_Read")

OUTCOMES = (
    "served",
    "served_after_wait",
    "balked",
    "reneged",
    "no_show",
    "offer_lapsed",
    "no_fit",
    "stranded",
    "evicted",
    "refused",
    "still_there",
)
"""How a driver may end: each in exactly one way."""
SERVED = ("served", "served_after_wait")
"""Those of them who have charged as they wished."""
LOST = ("balked", "reneged", "offer_lapsed", "no_fit", "stranded")
"""Those of them who wanted to charge here, and went without."""
NETWORK = "network"
"""The key of the place that is all stations together."""

Figures: TypeAlias = Mapping[str, float | None]
"""By its name; None where there is none: a price a kWh of no kWh."""
Hours: TypeAlias = Mapping[str, tuple[float, ...]]
"""By its name, a value for each hour of the window."""


@attrs.frozen
class Place:
    """Something that there are figures of."""

    key: str
    """`network`, `zone:NAME` or `station:ID`."""
    kind: str
    """`network`, `zone` or `station`."""
    name: str
    latitude: float | None = None
    longitude: float | None = None
    evses: int = 0


@attrs.frozen
class DriverRecord:
    """One driver, from birth to end. Instants are seconds since the scenario's start."""

    identity: str
    """zone/day/hour/k."""
    zone: str
    car: str
    outcome: str
    """One of :data:`OUTCOMES`."""
    station: str | None = None
    evse: str | None = None
    born: float = 0.0
    arrived: float | None = None
    queued: float | None = None
    charging: float | None = None
    """When the car began to charge, and when it ended."""
    ended: float | None = None
    left: float | None = None
    waited: float = 0.0
    """How long in lines, all in all, seconds; 0 of one who arrived and had no need to."""
    kwh: float = 0.0
    paid: float = 0.0
    """BRL."""


@attrs.frozen
class Replication:
    """One run: its figures and drivers."""

    number: int
    places: tuple[Place, ...]
    figures: Mapping[str, Figures]
    """By the key of the place."""
    hours: Mapping[str, Hours]
    """By the key of the place."""
    drivers: Collection[DriverRecord]
    """In the order in which they went; of very many, on disk."""
    digest: str
    """SHA-256 of all that was asked and answered, as hex."""
    gone: int = 0
    """How many drivers it had, where they are in a file of their own."""


def encode(replication: Replication) -> bytes:
    """As a file has it, without its drivers: JSON, the same bytes for the same run."""
    there = replication.drivers
    return msgspec.json.encode(attrs.evolve(replication, drivers=(), gone=len(there)))


def decode(data: bytes) -> Replication:
    """
    Read :func:`encode`'s.

    :raise ValueError: it is something else, or cut short.
    """
    return attrs.evolve(_read(msgspec.json.Decoder(Replication), data), drivers=())


def driver_line(record: DriverRecord) -> bytes:
    """A driver as a line of JSON, its end included."""
    return _encode(record) + b"\n"


def drivers_of(lines: Iterable[bytes]) -> Iterator[DriverRecord]:
    """
    The drivers of such lines, one after another.

    :raise ValueError: one is something else, or cut short.
    """
    return map(partial(_read, msgspec.json.Decoder(DriverRecord)), lines)


_encode = msgspec.json.Encoder().encode


def _read(decoder: msgspec.json.Decoder[_Read], data: bytes) -> _Read:
    try:
        return decoder.decode(data)
    except msgspec.MsgspecError as error:
        # It is a ValueError in later versions alone.
        raise ValueError(str(error)) from None
