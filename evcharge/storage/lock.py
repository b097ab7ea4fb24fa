"""Who owns a storage on this machine."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from evcharge.storage import StorageError, StorageUnavailable

_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW


class Lock:
    """
    The lock file of a storage; the kernel frees it however its process ends.

    :param path: of the lock file, which has the number of the process that owns the storage alone.
    :param name: the storage, for messages.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self._descriptor = -1

    def acquire(self, shared: bool = False) -> None:
        """
        Own the storage, alone or with others who share it.

        :raise StorageError: another process owns it.
        :raise OSError: the file cannot be made.
        """
        # The one that is locked may have been replaced meanwhile: then it keeps nobody out.
        while self._descriptor < 0 or not self._leads_here():
            self.release()
            # Private, as who can open it can lock it. Held open while we run.
            self._descriptor = os.open(self._path, _OPEN, 0o600)
            self._lock(fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        os.ftruncate(self._descriptor, 0)
        if not shared:
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def _lock(self, how: int) -> None:
        try:
            fcntl.flock(self._descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(self._descriptor, 100, 0).decode(errors="replace").strip()
            self.release()
            raise StorageError(
                f"{self._name}: is in use by another evcharge process ({owner or 'workers'})"
            ) from None

    def check(self) -> None:
        """
        See that nobody else can have acquired it: whoever does opens the file at its path.

        :raise StorageUnavailable: another file is there, or none.
        """
        if not self._leads_here():
            raise StorageUnavailable(
                f"{self._path}: was removed or replaced, so that another server may use "
                f"{self._name} as well; this one changes nothing any more: start it again"
            )

    def _leads_here(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._descriptor))
        except OSError:
            return False

    def release(self) -> None:
        """Let go of it, if we own it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
