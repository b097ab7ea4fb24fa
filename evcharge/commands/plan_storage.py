"""The network of a storage, for `evcharge plan`."""

from __future__ import annotations

import argparse
import time

from evcharge.commands.plan_network import Picture
from evcharge.commands.storages import location, must_exist, say, told
from evcharge.rules.journey import ListStations
from evcharge.storage import carry_out
from evcharge.utils.warnings import warnings_shown


@told
def from_storage(options: argparse.Namespace) -> Picture:
    """
    The network of the storage that `--storage` names, and who charges there now.

    :raise Exit: it cannot be used.
    """
    place = location("--storage", options.storage)
    must_exist(place)
    storage = place.storage()
    with warnings_shown(say):
        storage.open(time.time())
    try:
        catalogue = storage.catalogue()
        states = carry_out(storage, ListStations())
        return Picture(place.name, catalogue.models, catalogue.tariffs, list(states))
    finally:
        storage.close()
