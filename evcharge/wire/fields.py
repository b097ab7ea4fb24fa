"""Reading the fields of a request's data: every check names the field and what it must be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evcharge.outcomes import Phrase, invalid, missing
from evcharge.utils.numbers import finite_number, whole_number

Data = Mapping[str, Any]

MAX_TEXT = 200


def is_text(value: object, longest: int = MAX_TEXT) -> bool:
    """Whether `value` is a string of up to `longest` characters, none of them a control one."""
    return (
        isinstance(value, str)
        and len(value) <= longest
        and (value.isprintable() or not any(c < " " or "\x7f" <= c <= "\x9f" for c in value))
    )


def require(data: Data, *names: str) -> None:
    """
    Check that `data` has every one of `names`.

    :raise RequestFailed: `missing_fields`, naming those that it lacks.
    """
    for name in names:
        if name not in data:
            raise missing(*(name for name in names if name not in data))


def a_text(shortest: int = 0, longest: int = MAX_TEXT) -> Phrase:
    """What a field must be that is text."""
    return Phrase(
        f"um texto de {shortest} a {longest} caracteres, sem caracteres de controle",
        f"text of {shortest} to {longest} characters, without control characters",
    )


def text(data: Data, name: str, shortest: int = 0, longest: int = MAX_TEXT) -> str:
    """
    The text `data[name]`, `shortest` to `longest` characters without control characters.

    :raise RequestFailed: `invalid_field`.
    """
    value = data[name]
    if not is_text(value, longest) or len(value) < shortest:
        raise invalid(name, a_text(shortest, longest))
    return str(value)


def name_text(data: Data, name: str, shortest: int = 0, longest: int = MAX_TEXT) -> str:
    """
    The name `data[name]`, as :func:`text` reads it; a number counts as its text.

    :raise RequestFailed: `invalid_field`.
    """
    value = data[name]
    # A number that is longer than any name is not written out, only to be refused.
    if type(value) in (int, float) and abs(value) < 10**MAX_TEXT:
        data = {name: str(value)}
    return text(data, name, shortest, longest)


def number(
    data: Data,
    name: str,
    least: float,
    most: float | None = None,
    *,
    over: bool = False,
    label: str | None = None,
) -> float:
    """
    The number `data[name]`, which may come as a string holding one.

    :param least: the least that it may be; with `over`, what it must be more than.
    :param most: the most that it may be, if there is such a bound.
    :param label: how a failure names the field, where that is not `name`.
    :raise RequestFailed: `invalid_field`.
    """
    value = finite_number(data[name])
    if (
        value is None
        or value < least
        or (over and value == least)
        or (most is not None and value > most)
    ):
        if most is not None:
            bounds = Phrase(
                f"um número de {least:g} a {most:g}", f"a number from {least:g} to {most:g}"
            )
        elif over:
            bounds = Phrase(f"um número maior que {least:g}", f"a number over {least:g}")
        else:
            bounds = Phrase(f"um número não menor que {least:g}", f"a number not under {least:g}")
        raise invalid(label or name, bounds)
    return value


def integer(data: Data, name: str, least: int, most: int) -> int:
    """
    The integer `data[name]`, from `least` to `most`; it may come as a string holding one.

    :raise RequestFailed: `invalid_field`.
    """
    value = whole_number(data[name])
    if value is None or not least <= value <= most:
        raise invalid(
            name,
            Phrase(
                f"um número inteiro de {least} a {most}", f"a whole number from {least} to {most}"
            ),
        )
    return value


def boolean(data: Data, name: str) -> bool:
    """
    The boolean `data[name]`; nothing else counts as one.

    :raise RequestFailed: `invalid_field`.
    """
    value = data[name]
    if not isinstance(value, bool):
        raise invalid(name, Phrase("true ou false", "true or false"))
    return value


def mapping(data: Data, name: str) -> Data:
    """
    The object `data[name]`.

    :raise RequestFailed: `invalid_field`.
    """
    value = data[name]
    if not isinstance(value, dict):
        raise invalid(name, Phrase("um objeto", "an object"))
    return value


def choice(data: Data, name: str, choices: tuple[str, ...]) -> str:
    """
    The text `data[name]`, one of `choices`.

    :raise RequestFailed: `invalid_field`.
    """
    value = data[name]
    if value not in choices:
        listed = ", ".join(choices)
        raise invalid(name, Phrase(f"um destes: {listed}", f"one of: {listed}"))
    return str(value)


def position(data: Data) -> tuple[float, float]:
    """
    The place `data["position"]`: latitude and longitude, degrees, WGS 84.

    :raise RequestFailed: `missing_fields` or `invalid_field`.
    """
    place = mapping(data, "position")
    absent = [f"position.{name}" for name in ("latitude", "longitude") if name not in place]
    if absent:
        raise missing(*absent)
    return (
        number(place, "latitude", -90, 90, label="position.latitude"),
        number(place, "longitude", -180, 180, label="position.longitude"),
    )


def station_id(data: Data, name: str) -> str:
    """
    The id of a station, `data[name]`, a string or an integer, as a string.

    :raise RequestFailed: `invalid_field`.
    """
    value = data[name]
    if isinstance(value, int) and not isinstance(value, bool):
        # An integer of thousands of digits is no station's id, and costly to write out.
        return str(value) if abs(value) < 10**20 else ""
    if not is_text(value):
        raise invalid(
            name,
            Phrase("o id de um posto, texto ou número inteiro", "a station's id, text or integer"),
        )
    return str(value)
