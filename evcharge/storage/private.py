"""
What a storage keeps is for one user of the machine: whoever reads an id in it can act as a driver.

What is made here is that user's alone. What was there keeps the mode that it has.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from twisted.logger import Logger

from evcharge.utils.ids import ending

FOLDER_MODE = 0o700


def private(path: str, flags: int) -> int:
    """Open `path`, as the `opener` of :func:`open`; a new file is its owner's alone."""
    return os.open(path, flags, 0o600)


def shown(path: Path) -> str:
    """`path` for a message: where a user's id names the file, only the end of it."""
    user_id, json, rest = path.name.partition(".json")
    if path.parent.name != "users" or not json:
        return str(path)
    return str(path.with_name(f"…{ending(user_id)}.json{rest}"))


def warn_of_readers(log: Logger, *paths: Path) -> None:
    """
    Log a line for the first of `paths` that every user of the machine may read.

    :param paths: of files or folders that exist. Of the folders above, only the next is looked at.
    """
    for path in paths:
        if path.parent.stat().st_mode & stat.S_IXOTH and path.stat().st_mode & stat.S_IRWXO:
            log.warn(
                "{path}: every user of this machine may read it, and act as any driver in it; "
                "put it right by: chmod -R o= {path}",
                path=str(path),
            )
            return
