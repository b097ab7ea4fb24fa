"""The tariffs that sessions and receipts go by, each kept once, by its content."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import attrs
from sqlalchemy import Connection, bindparam, select
from sqlalchemy.sql.elements import BindParameter

from evcharge.datasets.reading_json import read_json
from evcharge.models.tariffs import Tariff, parse_tariff
from evcharge.storage.sql import schema

TABLE = "table tariffs_used"

MOST_KNOWN = 10_000
"""Tariffs that memory holds at most."""

_used = schema.tariffs_used.c
_keys: BindParameter[Any] = bindparam("keys", expanding=True)
FIND_USED = select(_used.key, _used.body).where(_used.key.in_(_keys))


class UsedTariffs:
    """Those that are known to be in the database, which drops none."""

    def __init__(self) -> None:
        self.known: dict[str, Tariff] = {}
        """By their keys."""

    def find(self, connection: Connection, keys: Iterable[str | None]) -> Mapping[str, Tariff]:
        """Tariffs by their keys, those at least."""
        known = self.known
        missing = {key for key in keys if key is not None and key not in known}
        if not missing:
            return known
        rows = connection.execute(FIND_USED, {"keys": list(missing)})
        found = {row.key: tariff_of(row.body) for row in rows}
        self.remember(found)
        # It may have forgotten some of those that were asked for.
        return known if self.known is known else {**known, **found}

    def remember(self, tariffs: Mapping[str, Tariff]) -> None:
        """Tariffs are in the database."""
        if len(self.known) > MOST_KNOWN:
            self.known = {}
        self.known.update(tariffs)


def used_row(key: str, body: object) -> dict[str, Any]:
    """The row of a tariff."""
    return {"key": key, "body": json.dumps(body)}


def tariff_of(text: str) -> Tariff:
    """
    The tariff of a row.

    :raise DatasetError, TariffError: it is none.
    """
    exact = read_json(text.encode(), TABLE, Decimal)
    return attrs.evolve(parse_tariff(exact), body=json.loads(text))
