"""Requests of every message, made of what the messages declare of their fields."""

from collections.abc import Iterator
from functools import singledispatch
from typing import Any

from evcharge.handlers import MESSAGES, Handler
from evcharge.handlers.station import DistanceList
from evcharge.wire.fields import (
    Boolean,
    Choice,
    DriverId,
    Field,
    Integer,
    ListOf,
    Number,
    Object,
    StationId,
    Text,
)

TYPES = [message.TYPE for message in MESSAGES]

KNOWN = {"selected_car": "Small", "id_evse": "1-1", "target_percent": 80, "max_percent": 80}
"""What a field must say that is looked up in tests.support.journey's network."""


APART = {("SUBSCRIBE", "area"), ("PLAN", "matrix")}
"""Fields that may not stand beside all others of their message, as they come."""


def every_field(message: type[Handler]) -> Iterator[Field]:
    """All fields of a message, those too that are read only where another is absent."""
    for field in message.FIELDS:
        yield field
        if field.instead is not None:
            yield field.instead


def good_data(user_id: str) -> dict[str, dict[str, Any]]:
    """The data of a request of each type, with all its fields; it is about the user `user_id`."""
    known = {**KNOWN, "user_id": user_id}
    return {
        message.TYPE: {
            field.name: known.get(field.name, value(field.kind))
            for field in every_field(message)
            if (message.TYPE, field.name) not in APART
        }
        for message in MESSAGES
    }


@singledispatch
def value(kind: Any) -> Any:
    """A value that is of `kind`."""
    raise NotImplementedError(kind)


@value.register
def _(kind: Text) -> str:
    return "Ana"


@value.register
def _(kind: DriverId) -> str:
    return "6f1f2b9c-3c1e-4c53-9a55-0f8a7c5de001"


@value.register
def _(kind: Number) -> float:
    return kind.least + 1


@value.register
def _(kind: Integer) -> int:
    return kind.most


@value.register
def _(kind: Boolean) -> bool:
    return True


@value.register
def _(kind: Choice) -> str:
    return kind.choices[0]


@value.register
def _(kind: StationId) -> str:
    return "1"


@value.register
def _(kind: ListOf) -> list[Any]:
    return [value(kind.kind)] * max(1, kind.least)


@value.register
def _(kind: Object) -> dict[str, Any]:
    return {field.name: value(field.kind) for field in kind.fields}


@value.register
def _(kind: DistanceList) -> dict[str, Any]:
    return {"1": {"distance_origin_position": 1}}
