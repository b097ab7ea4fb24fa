"""
`payments.jsonl`: every payment taken, a line each, for the operator's books.

It follows from the stations' files, which have the payments of those who stand there, and is
completed from them; so a session must not end before its payment is in the list, for good.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from evcharge.models.station import ChargingSession
from evcharge.storage.contents import Payment
from evcharge.storage.durable import Folder, write_all
from evcharge.storage.records import may_begin, payment_line, read_payment


class PaymentList:
    """
    The list in `folder`, which is open.

    :param name: of its file.
    """

    def __init__(self, folder: Folder, name: str) -> None:
        self.path = folder.path / name
        self._folder = folder
        self._name = name
        self._owed: dict[str, ChargingSession] = {}
        """Payments that are to be listed, by receipt."""
        self._read = False
        """Whether it is known to end with a whole line, and to have none of what is owed."""

    def owe(self, payments: Mapping[str, ChargingSession]) -> None:
        """Have payments listed that are new."""
        self._owed.update(payments)

    def compare(self, payments: Mapping[str, ChargingSession]) -> None:
        """Have payments listed, unless they are already."""
        self._owed.update(payments)
        self._read = False

    def owes(self, receipt_id: str) -> bool:
        """Whether this payment is not in the list for good, as far as is known."""
        return receipt_id in self._owed

    def settle(self) -> None:
        """
        List what is owed, for good.

        :raise OSError: it is owed still.
        """
        if not self._read:
            self._look()
        if self._owed:
            self._append()

    def _look(self) -> None:
        """See what is listed; cut off a last line that was not written whole."""
        whole = size = 0
        with (
            contextlib.suppress(FileNotFoundError),
            self._folder.opened(self._name, os.O_RDONLY) as descriptor,
            os.fdopen(descriptor, "rb", closefd=False) as file,
        ):
            size = os.fstat(descriptor).st_size
            for line in file:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
                    self._owed.pop(json.loads(line)["receipt_id"], None)
            # Whoever wrote it may have ended, or failed, before it was on the disk.
            os.fsync(descriptor)
        if whole < size:
            with self._folder.opened(self._name, os.O_WRONLY) as descriptor:
                os.ftruncate(descriptor, whole)
        self._read = True

    def _append(self) -> None:
        lines = b"".join(payment_line(Payment.of(session)) for session in self._owed.values())
        self._read = False
        with self._folder.opened(self._name, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as descriptor:
            start = os.fstat(descriptor).st_size
            try:
                write_all(descriptor, lines)
                os.fsync(descriptor)
                if start == 0:
                    # It may be new.
                    self._folder.flush()
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, start)
                    self._read = True
                raise
        self._read = True
        self._owed.clear()


def read_payments(
    path: Path, unlisted: dict[str, ChargingSession], problems: list[str]
) -> Iterator[Payment]:
    """
    The list of payments in `path`, completed by those of `unlisted`.

    :param problems: what is wrong with a line is added to it.
    """
    if path.exists():
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n") and any(
                    may_begin(line, Payment.of(session)) for session in unlisted.values()
                ):
                    # It was being written when the process ended.
                    break
                if not line.strip():
                    continue
                try:
                    payment = read_payment(line)
                except ValueError as error:
                    problems.append(f"{path}: line {number}: {error}")
                else:
                    unlisted.pop(payment.receipt_id, None)
                    yield payment
    yield from map(Payment.of, unlisted.values())
