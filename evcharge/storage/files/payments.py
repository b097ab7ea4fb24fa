"""
`payments.jsonl`: every payment taken, a line each, for the operator's books.

It follows from the stations' files, which have the payments of those who stand there, and from the
receipts, and is completed from them; so a session must not end before its payment is in the list,
for good.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from evcharge.models.receipts import Payment
from evcharge.rules.clocks import Clocks
from evcharge.storage.contents import listed, right
from evcharge.storage.durable import Folder, write_all
from evcharge.storage.files.records import may_begin, payment_line, payment_of, read_payment


class PaymentList:
    """
    The list in `folder`, which is open.

    :param name: of its file.
    """

    def __init__(self, folder: Folder, name: str) -> None:
        self.path = folder.path / name
        self._folder = folder
        self._name = name
        self._owed: dict[str, Payment] = {}
        """Payments that are to be listed, by receipt."""
        self._read = False
        """Whether it is known to end with a whole line, and to have none of what is owed."""
        self.clocks = Clocks()
        """Those by which the times in it are, which are written by the newest."""
        self._named: set[int] = set()
        """The clocks that lines of it name: those that could prove wrong when they were written."""
        self._newest: dict[int, float] = {}
        """The last of its times, by the clock that it is by."""

    @property
    def is_right(self) -> bool:
        """Whether its times are right as they stand, as far as is known."""
        return not any(map(self.clocks.moved, self._named))

    def newest(self) -> Iterator[tuple[int, float]]:
        """The last time in it that is by a clock, with that, for each of them. OSError."""
        if not self._read:
            self._look()
        yield from self._newest.items()

    def owe(self, payments: Mapping[str, Payment]) -> None:
        """Have payments listed that are new."""
        self._owed.update(payments)

    def compare(self, payments: Mapping[str, Payment]) -> None:
        """Have payments listed, unless they are already."""
        self._owed.update(payments)
        self._read = False

    def owes(self, receipt_id: str) -> bool:
        """Whether this payment is not in the list for good, as far as is known."""
        return receipt_id in self._owed

    def settle(self) -> None:
        """
        List what is owed, for good.

        :raise OSError: it is owed still, or a time in it is still the one of a wrong clock.
        """
        if not self._read:
            self._look()
        if self._owed:
            self._append()
        if not self.is_right:
            self._rewrite(self._right)

    def _right(self, payment: Payment) -> Payment:
        return listed(self.clocks.true(payment), self.clocks) if payment.clock else payment

    def make_history(self, now: float) -> None:
        """Have lines name no clock that has proved right. OSError."""
        if not self.clocks.is_new(now) and not all(map(self.clocks.is_marked, self._named)):
            self._rewrite(
                lambda line: line if self.clocks.is_marked(line.clock) else line.moved(0.0, 0)
            )

    def move(self, before: Clocks, after: Clocks) -> None:
        """Have other clocks; what is to be listed moves with those that were suspect."""
        self.clocks = after
        self._owed = {
            receipt_id: payment.moved(by_s, payment.clock)
            if before.is_marked(payment.clock)
            and (by_s := after.moved(payment.clock) - before.moved(payment.clock))
            else payment
            for receipt_id, payment in self._owed.items()
        }

    def move_from(self, since: float, by_s: float, clock: int) -> None:
        """
        Move the payments that are later than `since`, which none can be. OSError.

        :param clock: by which they are then.
        """
        if not any(newest > since for number, newest in self.newest() if not number):
            return

        def move(payment: Payment) -> Payment:
            paid = payment.paid_timestamp
            if payment.clock or paid is None or paid <= since:
                return payment
            return payment.moved(by_s, clock)

        self._rewrite(move)

    def _look(self) -> None:
        """See what is listed; cut off a last line that was not written whole."""
        whole = size = 0
        ended = True
        self._named.clear()
        self._newest.clear()
        with (
            contextlib.suppress(FileNotFoundError),
            self._folder.opened(self._name, os.O_RDONLY) as descriptor,
            os.fdopen(descriptor, "rb", closefd=False) as file,
        ):
            size = os.fstat(descriptor).st_size
            for line in file:
                ended = line.endswith(b"\n")
                if not ended and not _is_payment(line):
                    break
                whole += len(line)
                with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
                    facts = json.loads(line)
                    self._owed.pop(facts["receipt_id"], None)
                    self._seen(payment_of(facts))
            # Whoever wrote it may have ended, or failed, before it was on the disk.
            os.fsync(descriptor)
        if whole < size:
            with self._folder.opened(self._name, os.O_WRONLY) as descriptor:
                os.ftruncate(descriptor, whole)
        elif not ended:
            # An editor has left it out, perhaps.
            with self._folder.opened(self._name, os.O_WRONLY | os.O_APPEND) as descriptor:
                write_all(descriptor, b"\n")
        self._read = True

    def _append(self) -> None:
        payments = [listed(each, self.clocks) for each in self._owed.values()]
        lines = b"".join(map(payment_line, payments))
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
        for payment in payments:
            self._seen(payment)

    def _seen(self, payment: Payment) -> None:
        """Take note of a payment that is listed."""
        if payment.clock:
            self._named.add(payment.clock)
        if payment.paid_timestamp is not None:
            newest = self._newest.get(payment.clock, payment.paid_timestamp)
            self._newest[payment.clock] = max(newest, payment.paid_timestamp)

    def _rewrite(self, change: Callable[[Payment], Payment]) -> None:
        """Write the list anew, for good, with payments changed: all of it, or nothing. OSError."""
        self._read = False
        with (
            self._folder.opened(self._name, os.O_RDONLY) as old,
            os.fdopen(old, "rb", closefd=False) as lines,
            self._folder.rewriting(self._name, stat.S_IMODE(os.fstat(old).st_mode)) as new,
        ):
            for line in lines:
                with contextlib.suppress(ValueError):
                    payment = read_payment(line)
                    changed = change(payment)
                    if changed is not payment:
                        line = payment_line(changed)
                write_all(new, line)
        self._folder.flush()
        self._look()


def _is_payment(line: bytes) -> bool:
    try:
        read_payment(line)
    except ValueError:
        return False
    return True


def read_payments(
    path: Path, unlisted: dict[str, Payment], problems: list[str], clocks: Clocks
) -> Iterator[Payment]:
    """
    The list of payments in `path`, completed by those of `unlisted`.

    :param problems: what is wrong with a line is added to it.
    :param clocks: those by which its times are.
    """
    if path.exists():
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n") and any(
                    may_begin(line, payment) for payment in unlisted.values()
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
                    yield right(payment, clocks)
    for payment in unlisted.values():
        yield clocks.named(payment)
