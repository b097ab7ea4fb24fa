"""A data directory that costs little to flush."""

import json
import os
import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ONE_CAR = json.dumps(
    {
        "Tesla Model 3": {
            "brand": "Tesla",
            "model": "Model 3",
            "battery_capacity": 50,
            "energy_consumption": 0.153,
            "max_speed": 225,
        }
    }
).encode()
"""A catalogue that is read in no time."""

NETWORK = (
    "id;nomeDoPosto;endereço;latitude;longitude;quantidadeDeVeiculosSimultaneos\n"
    "7;Centro;Rua A;-12.25;-38.95;3\n8;Sul;Rua B;-12.26;-38.96;3\n"
).encode()


def new_folder(test: SynchronousTestCase) -> Path:
    """A folder for a test: in memory where that can be, as it is flushed very often."""
    place = "/dev/shm" if os.path.isdir("/dev/shm") else None
    folder = Path(tempfile.mkdtemp(prefix="evcharge-", dir=place))
    test.addCleanup(shutil.rmtree, folder)
    return folder
