"""
What a session costs: OCPI 2.2.1 tariffs, exactly. Pure.

`parse_tariff` reads a tariff object, `price` reckons the bill of a session by it. Energy and time
enter rounded to 1 mWh and 1 ms; from there on all arithmetic is exact, and rounded once, at the two
totals.

The rules are those of OCPI 2.2.1, modules tariffs and cdrs (github.com/ocpi/ocpi, branch
release-2.2.1-bugfixes); where the specification leaves a choice, the functions say which was made.
"""

from evcharge.models.tariffs.objects import (
    ENERGY,
    LINE_DIMENSIONS,
    Bill,
    Line,
    Outcome,
    PriceComponent,
    Restrictions,
    Segment,
    Tariff,
    TariffElement,
    body_key,
    tariff_key,
)
from evcharge.models.tariffs.parsing import TariffError, parse_tariff
from evcharge.models.tariffs.pricing import energy_bill, energy_total, price, price_of_energy

__all__ = [
    "ENERGY",
    "LINE_DIMENSIONS",
    "Bill",
    "Line",
    "Outcome",
    "PriceComponent",
    "Restrictions",
    "Segment",
    "Tariff",
    "TariffElement",
    "TariffError",
    "body_key",
    "energy_bill",
    "energy_total",
    "parse_tariff",
    "price",
    "price_of_energy",
    "tariff_key",
]
