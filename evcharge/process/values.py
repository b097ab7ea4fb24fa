"""What the value of an option may be: each function takes what was typed, or says what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from zoneinfo import available_timezones

from twisted.internet.endpoints import serverFromString
from twisted.python.usage import UsageError

from evcharge.models.station import zone_of
from evcharge.net.ports import LOCAL
from evcharge.utils.numbers import finite_number, whole_number, with_point
from evcharge.utils.texts import alike


def number(option: str, least: float, most: float) -> Callable[[str], float]:
    """A number from `least` to `most`."""

    def coerce(value: str) -> float:
        number = finite_number(value)
        if number is None or not least <= number <= most:
            raise UsageError(
                f"--{option} must be a number from {least:g} to {most:g}, not {value!r}"
                f"{with_point(value)}"
            )
        return number

    return coerce


def whole(option: str, least: int, most: int) -> Callable[[str], int]:
    """A whole number from `least` to `most`."""

    def coerce(value: str) -> int:
        number = whole_number(value)
        if number is None or not least <= number <= most:
            raise UsageError(
                f"--{option} must be a whole number from {least} to {most}, not {value!r}"
            )
        return number

    return coerce


def port_of(option: str, here: str = "") -> Callable[[str], str]:
    """A port's description; `here` is put before a number alone."""

    def coerce(value: str) -> str:
        where, number = here, value.strip()
        if number.startswith(LOCAL):
            where, number = LOCAL, number.removeprefix(LOCAL)
        elif not number.isdigit():
            try:
                # Only to see whether it can be read: nothing listens yet.
                serverFromString(None, value)
            except (ValueError, TypeError, LookupError, OSError) as error:
                raise UsageError(
                    f"--{option} must be a number, localhost:8888 or an endpoint such as "
                    f"tcp:8888:interface=10.0.0.5, not {value!r} ({error})"
                ) from None
            return value
        port = whole_number(number)
        if port is None or not 0 <= port <= 65535:
            raise UsageError(f"--{option} must be a number from 0 to 65535, not {value!r}")
        return f"{where}{port}"

    return coerce


def time_zone(value: str) -> str:
    """The name of a time zone that there is."""
    try:
        zone_of(value)
    except ValueError as error:
        ends = {name.rpartition("/")[2]: name for name in sorted(available_timezones())}
        near = "".join(
            f"; did you mean {ends[name]}?" for name in alike(value.rpartition("/")[2], ends)
        )
        raise UsageError(f"--time-zone: {error}{near}") from None
    return value


def one_of(option: str, choices: Sequence[str]) -> Callable[[str], str]:
    """One of some words."""

    def coerce(value: str) -> str:
        if value not in choices:
            raise UsageError(f"--{option} must be one of {', '.join(choices)}, not {value!r}")
        return value

    return coerce
