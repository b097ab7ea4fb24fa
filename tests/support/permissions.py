"""Being somebody else for a while."""

import contextlib
import os
from collections.abc import Iterator

from evcharge.datasets.files import CARS, shipped


@contextlib.contextmanager
def acting_as(user: int, group: int | None = None) -> Iterator[None]:
    """Be no longer root, but somebody else."""
    # Where Python is, another user may not get to: what reads the shipped files is loaded first.
    shipped(CARS)
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(user if group is None else group)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
