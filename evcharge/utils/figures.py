"""Figures as people write them: ``12,5 km``, ``R$ 39,00`` in Portuguese, ``12.5 km`` in English."""

from __future__ import annotations

from functools import lru_cache

_SWAPPED = str.maketrans(".,", ",.")


def decimal(value: float, language: str, places: int) -> str:
    """
    Write a number with `places` decimals, its thousands apart: ``1.234,50`` or ``1,234.50``.

    :param language: "pt" or "en".
    """
    # Of what is longer nobody would read the digits.
    text = f"{value:,.{places}f}" if abs(value) < 1e15 else f"{value:.0e}"
    return text.translate(_SWAPPED) if language == "pt" else text


def kilometres(km: float, language: str) -> str:
    """Write a distance: ``12,5 km``, ``180 km``, ``0,97 km``."""
    if 1 <= km < 999.95:
        tenths = round(km * 10)
        text = _short_distances[language].get(tenths)
        if text is None:
            text = decimal(tenths / 10, language, 1 if tenths % 10 else 0) + " km"
            _short_distances[language][tenths] = text
        return text
    return decimal(km, language, 2 if km < 1 else 0) + " km"


# There are ten thousand of these, nearly every reply has one, and floats are slow to write.
_short_distances: dict[str, dict[int, str]] = {"pt": {}, "en": {}}


@lru_cache(maxsize=4096)
def _whole_minutes(number: int, language: str) -> str:
    return decimal(number, language, 0) + " min"


@lru_cache(maxsize=4096)
def reais(amount: float, language: str) -> str:
    """Write an amount of money, BRL: ``R$ 39,00``."""
    return "R$ " + decimal(amount, language, 2)


def minutes(value: float, language: str) -> str:
    """Write a time in whole minutes: ``24 min``; what is some, but not half of one, is under 1."""
    if 0 < value <= 0.5:
        return "menos de 1 min" if language == "pt" else "under 1 min"
    return _whole_minutes(round(value), language)
