"""
The envelope: one line of JSON in, one line of JSON out. Pure.

Request and reply have the same four fields::

    {"type": "LOGIN", "data": {…}, "status": {"code": 0, "message": ""}, "timestamp": "…"}

and optionally `id`, which the reply repeats.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import msgspec

from evcharge.outcomes import SUCCESS, Phrase, Refusal, Reply, invalid, missing, unreadable
from evcharge.wire import diagnosis
from evcharge.wire.fields import MAX_TEXT, Place, a_text, is_text

ENVELOPE_FIELDS = ("type", "data", "status", "timestamp")
UNREADABLE_TYPE = "error"
MAX_ID_LENGTH = 128
MAX_ID_NUMBER = 2**53
"""Up to here every integer is one of JavaScript's numbers too."""

READS_NOTHING: Mapping[str, Sequence[Place]] = {}


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    """A request in which all is as it should be, but perhaps for control characters."""

    type: Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
    data: dict[str, Any] | Annotated[list[Any], msgspec.Meta(max_length=0)] | None
    status: Any
    timestamp: Any
    id: (
        Annotated[str, msgspec.Meta(max_length=MAX_ID_LENGTH)]
        | Annotated[int, msgspec.Meta(ge=-MAX_ID_NUMBER, le=MAX_ID_NUMBER)]
        | msgspec.UnsetType
    ) = msgspec.UNSET


_decode_json = msgspec.json.Decoder().decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_encode_json = msgspec.json.Encoder().encode

# An integer of fewer digits is finite; so is a number of not even that many, whose exponent has one
# or two.
_LARGE_DIGITS, _MANY_DIGITS = 309, 200
_LARGE_RUN, _MANY_RUN = b"0" * _LARGE_DIGITS, b"0" * _MANY_DIGITS
_AS_ZEROS = bytes.maketrans(b"123456789", b"0" * 9)
_LARGE_EXPONENT = re.compile(rb"[eE]\+?[0-9]{3}")


class Request(msgspec.Struct):
    """What could be read of a request; `refusal` says what could not, None where all is well."""

    type: str = UNREADABLE_TYPE
    data: Mapping[str, Any] = msgspec.field(default_factory=dict)
    id: str | int | None = None
    refusal: Refusal | None = None
    began: float = 0.0
    """When it came, where somebody counts how long it takes; seconds of a clock of theirs."""


def decode(line: bytes, reads: Mapping[str, Sequence[Place]] = READS_NOTHING) -> Request:
    """
    Read one line.

    :param line: its bytes, without the line end. The two characters ``\\n`` typed behind its
        closing brace are passed over: it is what ``echo '{…}\\n'`` sends in bash.
    :param reads: the places in its data that a request of each type reads. A number that is too
        large to be finite is left to whoever reads it, and refused everywhere else.
    :return: the request; whatever the line holds, nothing is raised.
    """
    # Most lines are right: those are read and checked at once. What is wrong with the others is
    # found out slowly, and so is what they are where this decoder would not look: it passes over
    # large integers, and what stands in fields that it does not know.
    try:
        envelope = _decode_envelope(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    else:
        if envelope.type.isprintable() and (
            len(line) < _LARGE_DIGITS or _LARGE_RUN not in line.translate(_AS_ZEROS)
        ):
            request_id = None if envelope.id is msgspec.UNSET else envelope.id
            return Request(envelope.type, envelope.data or {}, request_id)  # type: ignore[arg-type]
    line = line.rstrip().removesuffix(b"\\n")
    request = Request()
    large = _MANY_RUN in line.translate(_AS_ZEROS)
    message = _load(line, large)
    if isinstance(message, Refusal):
        request.refusal = message
    else:
        may_be_infinite = large or _LARGE_EXPONENT.search(line)
        request.refusal = _read(message, request, reads if may_be_infinite else None)
    return request


def decode_data(
    kind: str, body: bytes, reads: Mapping[str, Sequence[Place]] = READS_NOTHING
) -> Request:
    """
    Read the data of a request of type `kind`, which came without the envelope.

    :param body: JSON, of an object; what is typed behind it is passed over as in :func:`decode`.
    :param reads: as for :func:`decode`.
    :return: as for :func:`decode`.
    """
    body = body.rstrip().removesuffix(b"\\n")
    request = Request(kind)
    large = _MANY_RUN in body.translate(_AS_ZEROS)
    data = _load(body, large)
    if isinstance(data, Refusal):
        request.refusal = data
    else:
        message = {**dict.fromkeys(ENVELOPE_FIELDS), "type": kind, "data": data}
        may_be_infinite = large or _LARGE_EXPONENT.search(body)
        request.refusal = _read(message, request, reads if may_be_infinite else None)
    return request


class _NotFinite(ValueError):
    """NaN or an infinity, which the standard library takes for JSON."""


def _refuse(constant: str) -> float:
    raise _NotFinite(constant)


def _whole(digits: str) -> int | float:
    if len(digits) < _LARGE_DIGITS:
        return int(digits)
    number = float(digits)
    return number if math.isinf(number) else int(digits)


_load_json = json.JSONDecoder(parse_constant=_refuse, parse_int=_whole).decode


def _load(line: bytes, large: bool) -> Any:
    """
    The JSON value of `line`; integers that are too large to be finite are infinite.

    :param large: whether it may have such integers.
    :return: the value, or the Refusal of a line that has none, or one that is not Unicode text.
    """
    if not large:
        try:
            return _decode_json(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        return unreadable(diagnosis.not_utf8(line, error.start))
    try:
        value = _load_json(text)
    except json.JSONDecodeError as error:
        return unreadable(diagnosis.not_json(text, error.pos, error.msg))
    except _NotFinite:
        return unreadable(diagnosis.not_finite(text))
    except RecursionError:
        return unreadable(diagnosis.TOO_DEEP)
    why = diagnosis.not_unicode(text)
    return value if why is None else unreadable(why)


def _read(
    message: Any, request: Request, reads: Mapping[str, Sequence[Place]] | None
) -> Refusal | None:
    """
    Fill in `request` from `message`.

    :param reads: as for :func:`decode`; None where no number of `message` is too large.
    :return: why it is refused, where some of it is missing or wrong.
    """
    if not isinstance(message, dict):
        return unreadable(diagnosis.no_object(message))
    # What the reply repeats is read first, so that the reply to a bad request has it too.
    kind, data, request_id = message.get("type"), message.get("data"), message.get("id")
    good_type, good_id = is_text(kind), _is_id(request_id)
    if good_type:
        request.type = str(kind)
    if good_id:
        request.id = request_id
    if data is None or data == []:
        # The empty object of PHP and of Go.
        data = {}
    if isinstance(data, dict):
        request.data = data
    if reads is not None:
        for place in _not_finite(message):
            if not _is_read(place, reads.get(request.type, ())):
                return unreadable(diagnosis.too_large(".".join(place)))
    absent = [name for name in ENVELOPE_FIELDS if name not in message]
    if absent:
        return missing(*absent)
    if not good_type:
        return invalid("type", a_text())
    if not isinstance(data, dict):
        return invalid("data", Phrase("um objeto", "an object"))
    if "id" in message and not good_id:
        return invalid(
            "id",
            Phrase(
                f"um texto de até {MAX_ID_LENGTH} caracteres ou um número inteiro de -2^53 a 2^53",
                f"text of up to {MAX_ID_LENGTH} characters or an integer from -2^53 to 2^53",
            ),
        )
    return None


def _is_id(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_ID_LENGTH
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_ID_NUMBER


def _not_finite(message: Mapping[str, Any]) -> Iterator[Place]:
    """The places of a request's numbers that are not finite."""
    # Not by recursion, for which it may be nested too deep. A way is its last name, behind the way
    # to where that stands: whole ways to each of very many places would fill the memory.
    left: list[tuple[Any, Any]] = [(None, message)]
    while left:
        way, value = left.pop()
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if type(inner) is float:
                if math.isinf(inner):
                    yield _place((way, name))
            elif isinstance(inner, (dict, list)):
                left.append(((way, name), inner))


def _place(way: Any) -> Place:
    names: list[str] = []
    while way is not None:
        way, name = way
        names.append(str(name))
    return tuple(reversed(names))


def _is_read(place: Place, reads: Sequence[Place]) -> bool:
    """Whether somebody looks at the value in `place` of a request, and says what is wrong."""
    if len(place) == 1:
        return place[0] in ("type", "data", "id")
    return any(
        len(read) == len(place) - 1
        and all(name in ("*", there) for name, there in zip(read, place[1:], strict=True))
        for read in reads
        if place[0] == "data"
    )


_successes: dict[str, msgspec.Raw] = {}
"""The status of a reply to a request that was carried out, by its message."""


def encode_part(value: Any) -> msgspec.Raw:
    """Write a part of many replies once; in a reply's data it stands for `value`."""
    return msgspec.Raw(_encode_json(value))


def encode_event(data: Mapping[str, Any], message: str, timestamp: str) -> bytes:
    """
    Write an event for many, as far as it is the same for all of them.

    :param message: the text of a success.
    :return: UTF-8 JSON that lacks its end: :func:`end_of_event`.
    """
    return encode(Reply(data, type="EVENT", message=message), timestamp)[:-1]


def end_of_event(request_id: str | int | None) -> bytes:
    """The end of an event for one who asked for it by a request with this id."""
    return b"}" if request_id is None else b',"id":' + _encode_json(request_id) + b"}"


def encode(reply: Reply, timestamp: str) -> bytes:
    """
    Write a reply.

    :param timestamp: when it is made, as :func:`evcharge.utils.time_utils.iso_utc` writes it.
    :return: UTF-8 JSON without a line end.
    """
    status: Any = _successes.get(reply.message) if reply.outcome is SUCCESS else None
    if status is None:
        status = {"code": reply.outcome.code, "message": reply.message}
        if reply.outcome is SUCCESS:
            # There is one for each language.
            status = _successes[reply.message] = encode_part(status)
    envelope: dict[str, Any] = {
        "type": reply.type,
        "data": reply.data,
        "status": status,
        "timestamp": timestamp,
    }
    if reply.id is not None:
        envelope["id"] = reply.id
    return _encode_json(envelope)
