"""`tariffs_used/`: the tariffs that live sessions and receipts go by, each once, by its content."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs

from evcharge.datasets.problems import DatasetError
from evcharge.datasets.reading_json import read_json
from evcharge.models.tariffs import Tariff, TariffError, body_key, parse_tariff, tariff_key
from evcharge.storage.durable import Folder, make_folder


class UsedTariffs:
    """The tariffs in a folder, which is made when the first one is kept."""

    def __init__(self, path: Path) -> None:
        self.folder = Folder(path)
        self._is_open = False
        self._known: dict[str, Tariff] = {}

    def close(self) -> None:
        """Let go of the folder."""
        self.folder.close()
        self._is_open = False

    def get(self, key: str) -> Tariff:
        """
        The tariff of a key.

        :raise ValueError: it cannot be had; names the file.
        """
        known = self._known.get(key)
        if known is not None:
            return known
        path = self.folder.path / f"{key}.json"
        try:
            if not key.isalnum():
                raise ValueError(f"{key!r} is no key of a tariff")
            content = path.read_bytes()
            body: Any = read_json(content, str(path))
            tariff = attrs.evolve(parse_tariff(read_json(content, str(path), Decimal)), body=body)
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror or error}") from None
        except (DatasetError, TariffError) as error:
            raise ValueError(f"{path}: {error}") from None
        self._known[key] = tariff
        return tariff

    def keep(self, tariffs: Iterable[Tariff]) -> None:
        """Have tariffs on the disk, for good. OSError."""
        new = {key: t for t in tariffs if (key := tariff_key(t)) and key not in self._known}
        if new:
            self._write({key: tariff.body for key, tariff in new.items()})
            self._known.update(new)

    def keep_body(self, body: Mapping[str, Any] | None) -> None:
        """The same of one tariff, given by its object. OSError."""
        if body is None or (key := body_key(body)) in self._known:
            return
        self._write({key: body})

    def _write(self, bodies: Mapping[str, Mapping[str, Any]]) -> None:
        if not self._is_open:
            make_folder(self.folder.path)
            self.folder.open()
            self._is_open = True
        files = {f"{key}.json": tariff_json(body) for key, body in bodies.items()}
        for error in self.folder.change(files).values():
            raise error


def tariff_json(body: Mapping[str, Any]) -> bytes:
    """The file of a tariff."""
    return json.dumps(body, sort_keys=True, indent=1).encode() + b"\n"
