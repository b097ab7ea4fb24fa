"""
The envelope: one line of JSON in, one line of JSON out. Pure.

Request and reply have the same four fields::

    {"type": "LOGIN", "data": {…}, "status": {"code": 0, "message": ""}, "timestamp": "…"}

and optionally `id`, which the reply repeats.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any

import attrs
import msgspec

from evcharge.errors import INVALID_JSON, Phrase, RequestFailed, invalid, missing
from evcharge.fields import MAX_TEXT, is_text

ENVELOPE_FIELDS = ("type", "data", "status", "timestamp")
UNREADABLE_TYPE = "error"
MAX_ID_LENGTH = 128


class _Envelope(msgspec.Struct):
    """A request in which all is as it should be, but perhaps for control characters."""

    type: Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
    data: dict[str, Any]
    status: dict[str, Any]
    timestamp: Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
    id: Annotated[str, msgspec.Meta(max_length=MAX_ID_LENGTH)] | int | msgspec.UnsetType = (
        msgspec.UNSET
    )


# A number too large to be finite is JSON all the same, so that the field it stands in can be named.
_decode_json = msgspec.json.Decoder(float_hook=float).decode
_decode_envelope = msgspec.json.Decoder(_Envelope, float_hook=float).decode
_encode_json = msgspec.json.Encoder().encode


@attrs.define(slots=True)
class Request:
    """What could be read of a request; `failure` says what could not, None where all is well."""

    type: str = UNREADABLE_TYPE
    data: Mapping[str, Any] = attrs.field(factory=dict)
    id: str | int | None = None
    failure: RequestFailed | None = None
    began: float = 0.0
    """When it came, seconds since the epoch, where somebody counts how long it takes."""


def _whole_or_infinite(digits: str) -> int | float:
    return int(digits) if len(digits) < 400 else math.inf


def _load(line: bytes) -> Any:
    """The JSON value of `line`. RequestFailed: it has none."""
    try:
        return _decode_json(line)
    except msgspec.ValidationError:
        # An integer of more digits than the fast decoder takes, which is JSON nevertheless.
        try:
            return json.loads(line.decode(), parse_int=_whole_or_infinite)
        except (ValueError, RecursionError):
            raise RequestFailed(INVALID_JSON) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise RequestFailed(INVALID_JSON) from None


def decode(line: bytes) -> Request:
    """
    Read one line.

    :param line: its bytes, without the line end. The two characters ``\\n`` typed behind its
        closing brace are passed over: it is what ``echo '{…}\\n'`` sends in bash.
    :return: the request; whatever the line holds, nothing is raised.
    """
    # Most lines are right: those are read and checked at once. What is wrong with the others is
    # found out slowly.
    try:
        envelope = _decode_envelope(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    else:
        if envelope.type.isprintable() and envelope.timestamp.isprintable():
            request_id = None if envelope.id is msgspec.UNSET else envelope.id
            return Request(envelope.type, envelope.data, request_id)
    line = line.strip()
    if line.endswith(b"\\n") and line[:-2].rstrip().endswith(b"}"):
        line = line[:-2]
    request = Request()
    try:
        _read(_load(line), request)
    except RequestFailed as failed:
        # With its traceback, and what it was raised out of, it would be a cycle that holds the line
        # until the garbage is collected.
        failed.__context__ = None
        request.failure = failed.with_traceback(None)
    return request


def _read(message: Any, request: Request) -> None:
    """Fill in `request` from `message`. RequestFailed: some of it is missing or wrong."""
    if not isinstance(message, dict):
        raise RequestFailed(INVALID_JSON)
    # What the reply repeats is read first, so that the reply to a bad request has it too.
    kind, data, request_id = message.get("type"), message.get("data"), message.get("id")
    good_type, good_id = is_text(kind), _is_id(request_id)
    if good_type:
        request.type = str(kind)
    if good_id:
        request.id = request_id
    if isinstance(data, dict):
        request.data = data
    absent = [name for name in ENVELOPE_FIELDS if name not in message]
    if absent:
        raise missing(*absent)
    if not good_type:
        raise invalid("type", Phrase("um texto", "text"))
    if not isinstance(data, dict):
        raise invalid("data", Phrase("um objeto", "an object"))
    if not isinstance(message["status"], dict):
        raise invalid("status", Phrase("um objeto", "an object"))
    if not is_text(message["timestamp"]):
        raise invalid("timestamp", Phrase("um texto", "text"))
    if "id" in message and not good_id:
        raise invalid(
            "id",
            Phrase(
                f"um texto de até {MAX_ID_LENGTH} caracteres ou um número inteiro",
                f"text of up to {MAX_ID_LENGTH} characters or an integer",
            ),
        )


def _is_id(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_ID_LENGTH
    return isinstance(value, int) and not isinstance(value, bool)


def encode_part(value: Any) -> msgspec.Raw:
    """Write a part of many replies once; in a reply's data it stands for `value`."""
    return msgspec.Raw(_encode_json(value))


def encode(
    kind: str,
    data: Mapping[str, Any],
    code: int,
    message: str,
    timestamp: str,
    request_id: str | int | None,
) -> bytes:
    """
    Write a reply.

    :param timestamp: when it is made, as :func:`evcharge.utils.time_utils.iso_utc` writes it.
    :param request_id: the request's `id`; None where it had none.
    :return: UTF-8 JSON without a line end.
    """
    reply: dict[str, Any] = {
        "type": kind,
        "data": data,
        "status": {"code": code, "message": message},
        "timestamp": timestamp,
    }
    if request_id is not None:
        reply["id"] = request_id
    return _encode_json(reply)
