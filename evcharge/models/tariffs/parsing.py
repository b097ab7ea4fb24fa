"""Reading a tariff object; every error names its path."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timezone
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

from evcharge.models.tariffs.objects import (
    ENERGY,
    FLAT,
    PARKING_TIME,
    RESERVATION,
    RESERVATION_EXPIRES,
    TIME,
    Limit,
    PriceComponent,
    Restrictions,
    Tariff,
    TariffElement,
)
from evcharge.utils.objects import ObjectReader, shown

DAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
DIMENSIONS = (ENERGY, FLAT, PARKING_TIME, TIME)
RESERVABLE = (FLAT, TIME)
"""Dimensions that an element for reservations may have."""

LONGEST_ID = 36

MOST_FIGURE = 10**9
"""The most that any number of a tariff may be."""

MOST_PLACES = 24
"""The most decimal places of any number of a tariff: more than what is reckoned in floats has."""

_TIME = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]\Z")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_DATE_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})?\Z"
)


class TariffError(ValueError):
    """An object that is no tariff: `problems` names each mistake by its path."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def parse_tariff(value: object) -> Tariff:
    """
    Read an OCPI 2.2.1 Tariff object.

    `country_code`, `party_id` and `last_updated` may be missing; what is null counts as missing,
    and fields that OCPI does not name are kept.

    :param value: what a JSON parser makes of it. Numbers are taken by their text, so that 0.1 is
        a tenth; a parser that gives :class:`decimal.Decimal` will do as well.
    :raise TariffError: names every mistake, as
        ``elements[2].restrictions.start_time: must be HH:MM, not "24:00"``.
    """
    reader = _Reader()
    tariff = reader.tariff(value)
    if reader.problems or tariff is None:
        raise TariffError(reader.problems)
    return tariff


class _Reader(ObjectReader):
    """Reads, and collects what is wrong."""

    def tariff(self, value: object) -> Tariff | None:
        if not isinstance(value, Mapping):
            self.problems.append(f"must be an object, not {shown(value)}")
            return None
        tariff_id = self.required(value, "", "id", self.text(LONGEST_ID))
        currency = self.required(value, "", "currency", self.currency)
        elements = self.required(value, "", "elements", self.elements)
        start = self.optional(value, "", "start_date_time", self.date_time)
        end = self.optional(value, "", "end_date_time", self.date_time)
        least = self.optional(value, "", "min_price", self.limit)
        most = self.optional(value, "", "max_price", self.limit)
        if start is not None and end is not None and end <= start:
            self.problems.append("end_date_time: must be after start_date_time")
        if self.problems or tariff_id is None or currency is None or elements is None:
            return None
        return Tariff(tariff_id, currency, elements, least, most, start, end, value)

    # Values

    def currency(self, path: str, value: object) -> str | None:
        if isinstance(value, str) and re.fullmatch("[A-Z]{3}", value):
            return value
        self.wrong(path, "three capital letters (ISO 4217)", value)
        return None

    def number(self, path: str, value: object, must_be: str = "a number") -> Fraction | None:
        exact = _exact(value)
        if exact is None or exact < 0:
            self.wrong(path, f"{must_be} from 0 to {MOST_FIGURE}", value)
            return None
        return exact

    def whole(self, path: str, value: object) -> Fraction | None:
        exact = self.number(path, value, "a whole number")
        if exact is not None and exact.denominator != 1:
            self.wrong(path, f"a whole number from 0 to {MOST_FIGURE}", value)
            return None
        return exact

    def vat(self, path: str, value: object) -> Fraction | None:
        exact = _exact(value)
        if exact is None or not 0 <= exact <= 100:
            self.wrong(path, "a number from 0 to 100", value)
            return None
        return exact

    def time(self, path: str, value: object) -> time | None:
        if isinstance(value, str) and _TIME.match(value):
            return time(int(value[:2]), int(value[3:]))
        self.wrong(path, "HH:MM", value)
        return None

    def date(self, path: str, value: object) -> date | None:
        if isinstance(value, str) and _DATE.match(value):
            try:
                return date.fromisoformat(value)
            except ValueError:
                pass
        self.wrong(path, "a date, YYYY-MM-DD", value)
        return None

    def date_time(self, path: str, value: object) -> float | None:
        if isinstance(value, str) and _DATE_TIME.match(value):
            try:
                # What a fraction of a second has beyond microseconds, no tariff begins by.
                text = re.sub(r"\.([0-9]+)", lambda m: f".{m[1][:6]:0<6}", value)
                moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
                if moment.tzinfo is None:
                    # OCPI's times are in UTC, also without its letter.
                    moment = moment.replace(tzinfo=timezone.utc)
                return moment.timestamp()
            except (ValueError, OverflowError):
                pass
        self.wrong(path, "a time in UTC such as 2026-11-25T12:00:00Z", value)
        return None

    def limit(self, path: str, value: object) -> Limit | None:
        if not isinstance(value, Mapping):
            self.wrong(path, "an object with excl_vat", value)
            return None
        excl = self.required(value, f"{path}.", "excl_vat", self.number)
        incl = self.optional(value, f"{path}.", "incl_vat", self.number)
        return None if excl is None else Limit(excl, incl)

    # Elements

    def elements(self, path: str, value: object) -> tuple[TariffElement, ...] | None:
        if not isinstance(value, (list, tuple)) or not value:
            self.wrong(path, "a list of one element or more", value)
            return None
        found = [self.element(f"{path}[{n}]", element) for n, element in enumerate(value)]
        return tuple(element for element in found if element is not None)

    def element(self, path: str, value: object) -> TariffElement | None:
        if not isinstance(value, Mapping):
            self.wrong(path, "an object", value)
            return None
        restrictions = self.optional(value, f"{path}.", "restrictions", self.restrictions)
        components = self.required(value, f"{path}.", "price_components", self.components)
        if components is None:
            return None
        if restrictions is None:
            return TariffElement(components)
        if restrictions.reservation is not None:
            for number, component in enumerate(components):
                if component.dimension not in RESERVABLE:
                    self.wrong(
                        f"{path}.price_components[{number}].type",
                        f"{' or '.join(RESERVABLE)} in an element for reservations",
                        component.dimension,
                    )
        return TariffElement(components, restrictions)

    def components(self, path: str, value: object) -> tuple[PriceComponent, ...] | None:
        if not isinstance(value, (list, tuple)) or not value:
            self.wrong(path, "a list of one component or more", value)
            return None
        found = [self.component(f"{path}[{n}]", component) for n, component in enumerate(value)]
        return tuple(component for component in found if component is not None)

    def component(self, path: str, value: object) -> PriceComponent | None:
        if not isinstance(value, Mapping):
            self.wrong(path, "an object", value)
            return None
        dimension = self.required(value, f"{path}.", "type", self.one_of(*DIMENSIONS))
        price = self.required(value, f"{path}.", "price", self.number)
        vat = self.optional(value, f"{path}.", "vat", self.vat)
        step = self.required(value, f"{path}.", "step_size", self.whole)
        if dimension is None or price is None or step is None:
            return None
        # A step of 0 would mean no block at all; senders mean the smallest.
        return PriceComponent(dimension, price, vat, max(1, int(step)))

    def restrictions(self, path: str, value: object) -> Restrictions | None:
        if not isinstance(value, Mapping):
            self.wrong(path, "an object", value)
            return None
        readers: dict[str, Callable[[str, Any], Any]] = {
            "start_time": self.time,
            "end_time": self.time,
            "start_date": self.date,
            "end_date": self.date,
            **dict.fromkeys(
                ("min_kwh", "max_kwh", "min_current", "max_current", "min_power", "max_power"),
                self.number,
            ),
            "min_duration": self.whole,
            "max_duration": self.whole,
            "day_of_week": self.days,
            "reservation": self.one_of(RESERVATION, RESERVATION_EXPIRES),
        }
        for name in value:
            if name not in readers and value[name] is not None:
                # To pass over it would be to charge prices at times that they are not for.
                self.problems.append(f"{path}.{shown(name)[1:-1]}: is no restriction of OCPI 2.2.1")
        return Restrictions(
            **{name: self.optional(value, f"{path}.", name, read) for name, read in readers.items()}
        )

    def days(self, path: str, value: object) -> frozenset[int] | None:
        if not isinstance(value, (list, tuple)):
            self.wrong(path, "a list of days", value)
            return None
        one_of = self.one_of(*DAYS)
        days = [one_of(f"{path}[{n}]", day) for n, day in enumerate(value)]
        # An empty list names no days, and so restricts nothing: OCPI sends it for an absent one.
        return frozenset(DAYS.index(day) for day in days if day is not None) or None


def _exact(value: object) -> Fraction | None:
    """A number, exactly as its text has it; None where it is none, or beyond all reason."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal, str)):
        return None
    if isinstance(value, int) and abs(value) > MOST_FIGURE:
        return None
    text = repr(value) if isinstance(value, float) else str(value)
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?", value):
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    if not number.is_finite() or abs(number) > MOST_FIGURE:
        return None
    exponent = number.normalize().as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -MOST_PLACES:
        return None
    return Fraction(number)
