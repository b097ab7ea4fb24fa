"""Who owns a storage on this machine."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

from evcharge.storage import StorageError
from evcharge.storage.private import private


class Lock:
    """
    The lock file of a storage; the kernel frees it however its process ends.

    :param path: of the lock file, which has the number of the process that owns the storage alone.
    :param name: the storage, for messages.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self._file: Any = None

    def acquire(self, shared: bool = False) -> None:
        """
        Own the storage, alone or with others who share it.

        :raise StorageError: another process owns it.
        :raise OSError: the file cannot be made.
        """
        # Private, as who can open it can lock it. Held open while we run.
        self._file = open(self._path, "a+", opener=private)  # noqa: SIM115
        try:
            fcntl.flock(self._file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            owner = self._file.read().strip() or "workers"
            self.release()
            raise StorageError(
                f"{self._name}: is in use by another evcharge process ({owner})"
            ) from None
        self._file.truncate(0)
        if not shared:
            self._file.write(f"{os.getpid()}\n")
            self._file.flush()

    def release(self) -> None:
        """Let go of it, if we own it."""
        if self._file is not None:
            self._file.close()
            self._file = None
