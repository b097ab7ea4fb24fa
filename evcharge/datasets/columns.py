"""What the columns of a table of stations mean, whatever people call them."""

from __future__ import annotations

import attrs

from evcharge.datasets.tables import folded

COLUMNS = (
    "id",
    "nomeDoPosto",
    "endereço",
    "latitude",
    "longitude",
    "quantidadeDeVeiculosSimultaneos",
)
OPTIONAL_COLUMNS = ("potenciaKW", "precoKWh", "conectores")
TARIFF_COLUMNS = ("tarifa", "fusoHorario")
"""Optional too, and written only where a station has something in them."""

MOST_SLOTS = 1000
MOST_PRICE = 50.0
"""BRL per kWh: what is more is the price of something else."""

_MEANINGS = {
    name: column
    for column, names in {
        "id": "id codigo",
        "nomeDoPosto": "nomedoposto nome posto name station",
        "endereço": "endereco address logradouro rua",
        "latitude": "latitude lat",
        "longitude": "longitude lon lng",
        "quantidadeDeVeiculosSimultaneos": "quantidadedeveiculossimultaneos vagas slots pontos",
        "potenciaKW": "potenciakw potencia powerkw power kw",
        "precoKWh": "precokwh preco tarifakwh pricekwh price",
        "conectores": "conectores conector connectors plugs",
        "tarifa": "tarifa tariff",
        "fusoHorario": "fusohorario timezone",
        # These are known, and kept; nothing is made of them yet.
        "cidade": "cidade",
        "uf": "uf estado",
        "cep": "cep",
        "operadora": "operadora operator",
    }.items()
    for name in names.split()
}
"""Columns by the names that people give them, as :func:`folded` has those."""


@attrs.frozen
class Figure:
    """A column of numbers."""

    name: str
    least: float
    most: float
    is_whole: bool = False
    is_optional: bool = False


FIGURES = (
    Figure("id", 0, 2**31 - 1, is_whole=True),
    Figure("latitude", -90, 90),
    Figure("longitude", -180, 180),
    Figure("quantidadeDeVeiculosSimultaneos", 1, MOST_SLOTS, is_whole=True),
    Figure("potenciaKW", 0.1, 10_000, is_optional=True),
    Figure("precoKWh", 0, MOST_PRICE, is_optional=True),
)


def meaning(title: str) -> str:
    """The column that a title means; empty where it is none of those."""
    return _MEANINGS.get(folded(title), "")
