"""
The OpenAPI document, made of the table of routes and of what the messages' fields must be: so it
says what the server does. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import singledispatch
from typing import Any, TypeAlias

import msgspec

from evcharge import __version__
from evcharge.handlers import MESSAGES, Handler
from evcharge.handlers.station import DistanceList
from evcharge.models.catalogue import Catalogue
from evcharge.web.answers import JSON
from evcharge.web.routes import DOCUMENT, ROUTES, STAYS_OPEN, Parameter, Route
from evcharge.web.routes import ROOT as API
from evcharge.wire.envelope import ENVELOPE_FIELDS
from evcharge.wire.fields import (
    MAX_TEXT,
    UUID,
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

Schema: TypeAlias = dict[str, Any]

ABOUT = f"""\
The messages of the charging network, by HTTP. Every body is the envelope `Reply`, that of an error
too: `status.code` is HTTP's code, and `data.reason` tells a program why.

Texts are Portuguese or English, by `Accept-Language`. A number may come as text that holds one.
Further fields and parameters are passed over. `printable` is the format of text without control
characters (U+0000 to U+001F, U+007F to U+009F).

What changes is told as it does by WebSocket at `{API}/socket`, where every message may be sent, and
as Server-Sent Events by `GET {API}/live`.
"""

EXAMPLES: Schema = {
    "user_id": "0196134f-2b9c-7e52-8f0d-2c1f6a7b9e10",
    "user_name": "Ana",
    "selected_car": "Tesla Model 3",
    "battery_car": 40,
    "route_distance": 180,
    "places": [
        {"latitude": -12.2664, "longitude": -38.9663},
        {"latitude": -12.9714, "longitude": -38.5014},
    ],
    "position": {"latitude": -12.2664, "longitude": -38.9663},
    "limit": 5,
    "id_station": "9",
    "confirmation": True,
    "receipt_id": "0196134f-4d2a-7b11-b3aa-91c8d0e4f722",
    "driver_id": "0196134f-3c1e-7c53-9a55-0f8a7c5de001",
    "topics": ["stations"],
}
"""What fields of requests may be."""


MOST_ITEMS = 100
"""A longer list may well be too long for the server before it has too many items."""


@singledispatch
def schema(kind: Any) -> Schema:
    """What a field of a kind must be, as JSON Schema."""
    raise NotImplementedError(kind)


def text(shortest: int = 0, longest: int = MAX_TEXT) -> Schema:
    """Text without control characters."""
    bounds: Schema = {"minLength": shortest} if shortest else {}
    return {
        "type": "string",
        **bounds,
        "maxLength": longest,
        "format": "printable",
        "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$",
    }


@schema.register
def _(kind: Text) -> Schema:
    plain = text(kind.shortest, kind.longest)
    return {"anyOf": [plain, {"type": "number"}]} if kind.numbers else plain


@schema.register
def _(kind: DriverId) -> Schema:
    return {"type": "string", "pattern": f"^{UUID}$"}


def number(kind: Any) -> Schema:
    """A number within its bounds, where it does not come as text."""
    if isinstance(kind, Integer):
        return {"type": "integer", "minimum": kind.least, "maximum": kind.most}
    bounds: Schema = {"exclusiveMinimum" if kind.over else "minimum": kind.least}
    if kind.most is not None:
        bounds["maximum"] = kind.most
    return {"type": "number", **bounds}


@schema.register(Number)
@schema.register(Integer)
def _(kind: Number | Integer) -> Schema:
    numeral = {"type": "string", "maxLength": MAX_TEXT, "pattern": f"^({numerals(kind)})$"}
    return {"anyOf": [number(kind), numeral]}


def numerals(kind: Number | Integer) -> str:
    """
    A regular expression of the numbers that text may hold. It has those that need no other sign
    than a minus, and no exponent; the server reads the others too.
    """
    fraction = r"(\.[0-9]*)?" if isinstance(kind, Number) else r"(\.0*)?"
    if kind.most is None:
        found = f"[0-9]{{1,100}}{fraction}"
    else:
        most = int(kind.most)
        under = "|".join(whole_numbers(most - 1))
        found = f"0*(({under}){fraction}|{most}" + r"(\.0*)?)"
    if kind.least < 0:
        return f"-?{found}"
    if kind.least > 0:
        return f"(?!{too_small(kind.least, fraction)}$){found}"
    # With a digit that is not 0 it is over 0.
    return f"(?=.*[1-9]){found}" if isinstance(kind, Number) and kind.over else found


def too_small(least: float, fraction: str) -> str:
    """A regular expression of the numbers under a whole one, or under 0.1, 0.01 and so on."""
    if least >= 1:
        return f"0*({'|'.join(whole_numbers(int(least) - 1))}){fraction}"
    places = len(f"{least:g}") - len("0.")
    return rf"0*(\.(0{{0,{places}}}|0{{{places}}}[0-9]*))?"


def whole_numbers(last: int) -> Iterator[str]:
    """Regular expressions of the whole numbers from 0 to `last`, zeros before them or not."""
    digits = str(last)
    if not digits.strip("9"):
        yield f"[0-9]{{1,{len(digits)}}}"
        return
    if len(digits) > 1:
        yield f"[0-9]{{1,{len(digits) - 1}}}"
    for place, digit in enumerate(digits):
        if digit != "0":
            left = len(digits) - place - 1
            yield f"{digits[:place]}[0-{int(digit) - 1}]" + ("[0-9]" * left)
    yield digits


@schema.register
def _(kind: Boolean) -> Schema:
    return {"type": "boolean"}


@schema.register
def _(kind: Choice) -> Schema:
    return {"type": "string", "enum": list(kind.choices)}


@schema.register
def _(kind: StationId) -> Schema:
    return {"anyOf": [text(), {"type": "integer"}]}


@schema.register
def _(kind: ListOf) -> Schema:
    made: Schema = {"type": "array", "items": schema(kind.kind)}
    if kind.least:
        made["minItems"] = kind.least
    if kind.most <= MOST_ITEMS:
        made["maxItems"] = kind.most
    return made


@schema.register
def _(kind: Object) -> Schema:
    return an_object(kind.fields)


@schema.register
def _(kind: DistanceList) -> Schema:
    distance = {"distance_origin_position": schema(Number(0))}
    entry = {"type": "object", "properties": distance, "required": [*distance]}
    return {
        "description": "How far each station is, km, by its id. What is no distance is passed "
        "over, unless nothing else is there.",
        "type": "object",
        "additionalProperties": entry,
    }


def an_object(fields: Sequence[Field], known: Schema = {}) -> Schema:  # noqa: B006 - is only read
    """
    An object that has `fields`.

    :param known: what fields of these names must be, where more is known than their kinds say.
    """
    properties = {field.name: known.get(field.name) or schema(field.kind) for field in fields}
    required = [field.name for field in fields if not field.optional and field.instead is None]
    made: Schema = {"type": "object", "properties": properties}
    if required:
        made["required"] = required
    for field in fields:
        if field.instead is not None:
            # It is looked at only where the other one is absent.
            instead = field.instead
            without = {
                "properties": {field.name: False, instead.name: schema(instead.kind)},
                "required": [instead.name],
            }
            made["anyOf"] = [{"required": [field.name]}, without]
    return made


def example(fields: Sequence[Field], known: Schema) -> Schema:
    """What a request with `fields` may look like."""
    found = {}
    for field in fields:
        for each in (field, field.instead):
            if each is not None and each.name in EXAMPLES and not field.optional:
                enum = known.get(each.name, {}).get("enum", [])
                value = EXAMPLES[each.name]
                found[each.name] = value if not enum or value in enum else enum[0]
    return found


REPLY: Schema = {
    "type": "object",
    "required": [*ENVELOPE_FIELDS],
    "properties": {
        "type": {"type": "string", "description": "The request's."},
        "data": {
            "type": "object",
            "properties": {
                "message": {"type": "string", "description": "For a person."},
                "reason": {
                    "type": "string",
                    "description": "For a program: why it is not as was asked.",
                },
            },
        },
        "status": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
        },
        "timestamp": {"type": "string", "format": "date-time"},
        "id": {"type": ["string", "integer"], "description": "The request's, if it had one."},
    },
}

FEATURES: Schema = {
    "type": "object",
    "required": ["type", "features"],
    "properties": {
        "type": {"const": "FeatureCollection"},
        "features": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "id", "geometry", "properties"],
                "properties": {
                    "type": {"const": "Feature"},
                    "id": {"type": "string"},
                    "geometry": {
                        "type": "object",
                        "required": ["type", "coordinates"],
                        "properties": {
                            "type": {"const": "Point"},
                            "coordinates": {
                                "type": "array",
                                "items": {"type": "number"},
                                "minItems": 2,
                                "maxItems": 2,
                            },
                        },
                    },
                    "properties": {"type": "object"},
                },
            },
        },
    },
}


def document(catalogue: Catalogue) -> bytes:
    """
    The document, JSON.

    :param catalogue: has the cars that there are to be chosen.
    """
    known: Schema = {}
    if catalogue.models:
        known["selected_car"] = {"type": "string", "enum": [*catalogue.models]}
    paths: dict[str, Schema] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = operation(route, known)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "evcharge", "version": __version__, "description": ABOUT},
            "servers": [{"url": "/"}],
            "paths": paths,
            "components": {
                "schemas": {
                    "Reply": REPLY,
                    "FeatureCollection": FEATURES,
                    **{each.TYPE: data(each, known) for each in MESSAGES if each is not STAYS_OPEN},
                },
                "responses": {
                    "Refused": answer("What is asked cannot be done: `data.reason` says why."),
                    "Failed": answer("The server cannot do it now: try again."),
                },
            },
        }
    )


def operation(route: Route, known: Schema) -> Schema:
    """What one route does."""
    made: Schema = {
        "operationId": re.sub(r"[^a-z]+", "_", route.path[len(API) + 1 :].lower()).strip("_"),
        "summary": route.about,
        "responses": {
            "4XX": {"$ref": "#/components/responses/Refused"},
            "5XX": {"$ref": "#/components/responses/Failed"},
        },
    }
    responses = made["responses"]
    if route.parameters:
        made["parameters"] = [parameter(each) for each in route.parameters]
    if route.method == "GET":
        name = "Reply" if route.kind == JSON else "FeatureCollection"
        shown = {"type": "object"} if route is DOCUMENT else ref(name)
        content = {route.kind: {"schema": shown}}
        responses["200"] = {"description": "As it is now.", "content": content}
        responses["304"] = {"description": "As it was when it had the ETag of If-None-Match."}
        return made
    if route.message is STAYS_OPEN:
        made["requestBody"] = {"required": True, "content": {JSON: {"schema": {}}}}
        responses["404"] = answer("It needs a connection that stays open.")
        return made
    responses["200"] = answer("Done; or, with a `data.reason`, known not to be possible now.")
    if route.message is None:
        body, shown = envelopes(), {"type": "START", "data": {}, "status": {}, "timestamp": ""}
    else:
        body, shown = ref(route.message.TYPE), example(route.message.FIELDS, known)
    made["requestBody"] = {
        "required": True,
        "content": {JSON: {"schema": body, "example": shown}},
    }
    return made


def parameter(of: Parameter) -> Schema:
    """One of a route's parameters."""
    made: Schema = {"name": of.name, "description": of.about, "example": of.example}
    if of.in_path:
        return {**made, "in": "path", "required": True, "schema": text(1)}
    made["in"] = "query"
    kind = of.kind
    if isinstance(kind, Object):
        # A parameter for each of its fields.
        fields = {field.name: number(field.kind) for field in kind.fields}
        shown = {"type": "object", "properties": fields, "required": [*fields]}
        return {**made, "style": "form", "explode": True, "schema": shown}
    return {**made, "schema": number(kind)}


def data(message: type[Handler], known: Schema) -> Schema:
    """What the data of a message must be."""
    made = an_object(message.FIELDS, known)
    if "required" in made or "anyOf" in made:
        return made
    # Null and an empty array count as the empty object.
    return {"anyOf": [made, {"type": "null"}, {"type": "array", "maxItems": 0}]}


def envelopes() -> Schema:
    """The envelope of any message."""
    # Nor is `id` here, which over HTTP is for nothing: it is an integer, but not 1.0.
    return {
        "type": "object",
        "required": [*ENVELOPE_FIELDS],
        "anyOf": [
            {"properties": {"type": {"const": each.TYPE}, "data": ref(each.TYPE)}}
            for each in MESSAGES
            if each is not STAYS_OPEN
        ],
    }


def answer(description: str) -> Schema:
    """A response that is the envelope."""
    return {"description": description, "content": {JSON: {"schema": ref("Reply")}}}


def ref(name: str) -> Schema:
    """The schema of that name."""
    return {"$ref": f"#/components/schemas/{name}"}
