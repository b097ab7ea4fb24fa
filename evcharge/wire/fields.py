"""
The fields of a request's data: what each must be, and how it is read. Pure.

A message declares its fields, and :func:`read` reads them; what is wrong with one is a
:class:`~evcharge.outcomes.Refusal` that names it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import attrs

from evcharge.outcomes import Phrase, Refusal, invalid, missing
from evcharge.utils.numbers import finite_number, whole_number

Data: TypeAlias = Mapping[str, Any]

Place: TypeAlias = tuple[str, ...]
"""The names that lead to a value in a request's data; `*` stands for any name."""

ITSELF: tuple[Place, ...] = ((),)

MAX_TEXT = 200

UUID = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[47][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}"
"""One of version 4 or 7, as a regular expression."""

_UUID = re.compile(UUID + "\\Z")

ID_DIGITS = 20
"""An integer of more digits is no station's id."""


def is_text(value: object, longest: int = MAX_TEXT) -> bool:
    """Whether `value` is a string of up to `longest` characters, none of them a control one."""
    return (
        isinstance(value, str)
        and len(value) <= longest
        and (value.isprintable() or not any(c < " " or "\x7f" <= c <= "\x9f" for c in value))
    )


def a_text(shortest: int = 0, longest: int = MAX_TEXT) -> Phrase:
    """What a field must be that is text."""
    return Phrase(
        f"um texto de {shortest} a {longest} caracteres, sem caracteres de controle",
        f"text of {shortest} to {longest} characters, without control characters",
    )


class Kind(Protocol):
    """What a field must be."""

    @property
    def must_be(self) -> Phrase:
        """What is said of it where it is not."""

    @property
    def places(self) -> tuple[Place, ...]:
        """Where in a value something is looked at; `()` is the value itself."""

    def read(self, name: str, value: object) -> Any:
        """What `value`, that of the field `name`, stands for; a Refusal where it is none."""


@attrs.frozen
class Text:
    """
    Text of `shortest` to `longest` characters, none of them a control one.

    :param numbers: whether a number counts as its text.
    """

    shortest: int = 0
    longest: int = MAX_TEXT
    numbers: bool = False
    places = ITSELF

    @property
    def must_be(self) -> Phrase:
        return a_text(self.shortest, self.longest)

    def read(self, name: str, value: object) -> str | Refusal:
        if self.numbers and type(value) in (int, float):
            # An integer that is longer than any name is not written out, only to be refused.
            most = math.inf if type(value) is float else 10**MAX_TEXT
            value = str(value) if abs(value) < most else None  # type: ignore[arg-type]
        if (
            isinstance(value, str)
            and self.shortest <= len(value) <= self.longest
            and (value.isprintable() or is_text(value, self.longest))
        ):
            return value
        return invalid(name, self.must_be)


@attrs.frozen
class DriverId:
    """A UUID of version 4 or 7, as text."""

    places = ITSELF
    must_be = Phrase("um UUID de versão 4 ou 7", "a UUID of version 4 or 7")

    def read(self, name: str, value: object) -> str | Refusal:
        known = isinstance(value, str) and _UUID.match(value)
        return value if known else invalid(name, self.must_be)  # type: ignore[return-value]


@attrs.frozen
class Number:
    """
    A number, which may come as a string holding one.

    :param least: the least that it may be; with `over`, what it must be more than.
    :param most: the most that it may be, if there is such a bound.
    """

    least: float
    most: float | None = None
    over: bool = False
    places = ITSELF

    @property
    def must_be(self) -> Phrase:
        least = f"{self.least:g}"
        if self.most is not None and self.over:
            return Phrase(f"um número maior que {least}, até {self.most:g}",
                          f"a number over {least}, up to {self.most:g}")  # fmt: skip
        if self.most is not None:
            return Phrase(f"um número de {least} a {self.most:g}",
                          f"a number from {least} to {self.most:g}")  # fmt: skip
        if self.over:
            return Phrase(f"um número maior que {least}", f"a number over {least}")
        return Phrase(f"um número não menor que {least}", f"a number not under {least}")

    def read(self, name: str, value: object) -> float | Refusal:
        number = finite_number(value)
        if (
            number is None
            or number < self.least
            or (self.over and number == self.least)
            or (self.most is not None and number > self.most)
        ):
            return invalid(name, self.must_be)
        return number


@attrs.frozen
class Integer:
    """An integer from `least` to `most`, which may come as a string holding one."""

    least: int
    most: int
    places = ITSELF

    @property
    def must_be(self) -> Phrase:
        return Phrase(
            f"um número inteiro de {self.least} a {self.most}",
            f"a whole number from {self.least} to {self.most}",
        )

    def read(self, name: str, value: object) -> int | Refusal:
        number = whole_number(value)
        if number is None or not self.least <= number <= self.most:
            return invalid(name, self.must_be)
        return number


@attrs.frozen
class Boolean:
    """A boolean; nothing else counts as one."""

    places = ITSELF
    must_be = Phrase("true ou false", "true or false")

    def read(self, name: str, value: object) -> bool | Refusal:
        return value if isinstance(value, bool) else invalid(name, self.must_be)


@attrs.frozen
class Choice:
    """One of some texts."""

    choices: tuple[str, ...]
    places = ITSELF

    @property
    def must_be(self) -> Phrase:
        listed = ", ".join(self.choices)
        return Phrase(f"um destes: {listed}", f"one of: {listed}")

    def read(self, name: str, value: object) -> str | Refusal:
        known = isinstance(value, str) and value in self.choices
        return value if known else invalid(name, self.must_be)  # type: ignore[return-value]


@attrs.frozen
class StationId:
    """
    The id of a station, text or an integer, read as text.

    An integer of more than :data:`ID_DIGITS` is no station's, and read as None.
    """

    places = ITSELF
    must_be = Phrase("o id de um posto, texto ou número inteiro", "a station's id, text or integer")

    def read(self, name: str, value: object) -> str | Refusal | None:
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value) if abs(value) < 10**ID_DIGITS else None
        return value if is_text(value) else invalid(name, self.must_be)  # type: ignore[return-value]


IDS = Phrase("ids", "ids")


@attrs.frozen
class ListOf:
    """A list of `least` to `most` values of a kind, read as a list of what they stand for."""

    kind: Kind
    most: int
    called: Phrase = IDS
    """What the values are."""
    least: int = 0

    @property
    def must_be(self) -> Phrase:
        if self.least:
            return Phrase(
                f"uma lista de {self.least} a {self.most} {self.called.pt}",
                f"a list of {self.least} to {self.most} {self.called.en}",
            )
        return Phrase(
            f"uma lista de até {self.most} {self.called.pt}",
            f"a list of up to {self.most} {self.called.en}",
        )

    @property
    def places(self) -> tuple[Place, ...]:
        return (*ITSELF, *(("*", *place) for place in self.kind.places))

    def read(self, name: str, value: object) -> list[Any] | Refusal:
        if not isinstance(value, list) or not self.least <= len(value) <= self.most:
            return invalid(name, self.must_be)
        found = []
        for number, each in enumerate(value):
            read = self.kind.read(f"{name}[{number}]", each)
            if isinstance(read, Refusal):
                return read
            found.append(read)
        return found


@attrs.frozen
class Object:
    """An object that has `fields` of its own; it is read as a dict of what they stand for."""

    fields: tuple[Field, ...]
    must_be = Phrase("um objeto", "an object")

    @property
    def places(self) -> tuple[Place, ...]:
        return (*ITSELF, *places(self.fields))

    def read(self, name: str, value: object) -> dict[str, Any] | Refusal:
        if not isinstance(value, dict):
            return invalid(name, self.must_be)
        return read(self.fields, value, f"{name}.")


@attrs.frozen
class Field:
    """A field of a request's data."""

    name: str
    kind: Kind
    optional: bool = False
    instead: Field | None = None
    """A field that does instead of this one; it is looked at only where this one is absent."""

    def repeated(self, data: Data) -> Any:
        """What a reply to `data`, good or bad, repeats of the field: None where it is wrong."""
        value = self.kind.read(self.name, data.get(self.name))
        return None if isinstance(value, Refusal) else value


USER_ID = Field("user_id", Text())
TARGET_PERCENT = Field("target_percent", Number(0, 100, over=True), optional=True)
ARRIVAL_PERCENT = Field("arrival_percent", Number(0, 100), optional=True)
POSITION = Object((Field("latitude", Number(-90, 90)), Field("longitude", Number(-180, 180))))
"""A place: degrees, WGS 84."""


def read(fields: Sequence[Field], data: Data, within: str = "") -> dict[str, Any] | Refusal:
    """
    Read `fields` of `data`.

    :param within: what stands before their names where one is named.
    :return: what each stands for that is there, by its name; or a Refusal: `missing_fields` with
        all that lack, or else `invalid_field` with the first that is wrong.
    """
    values = {}
    for field in fields:
        name = field.name
        if name not in data:
            if field.optional:
                continue
            if field.instead is None or field.instead.name not in data:
                return missing(*_absent(fields, data, within))
            field = field.instead
            name = field.name
        value = field.kind.read(within + name if within else name, data[name])
        if type(value) is Refusal:
            absent = _absent(fields, data, within)
            return missing(*absent) if absent else value
        values[name] = value
    return values


def _absent(fields: Iterable[Field], data: Data, within: str) -> list[str]:
    """The names of those fields that must be there and are not."""
    absent = []
    for field in fields:
        names = [each.name for each in (field, field.instead) if each is not None]
        if not field.optional and not any(name in data for name in names):
            absent.append(within + "/".join(names))
    return absent


def places(fields: Iterable[Field]) -> Iterator[Place]:
    """The places of a request's data where something is looked at that has `fields`."""
    for field in fields:
        for each in (field, field.instead):
            if each is not None:
                yield from ((each.name, *place) for place in each.kind.places)
