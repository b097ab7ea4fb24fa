"""
`receipts/`: the receipts of sessions that are over, a line each, a file for each day.

The day is that of the instant in the receipt's id, in UTC, or else of the end of the session. None
is kept in memory: one receipt is looked for in the file of its day, and those of a driver day by
day, the newest first, which takes as long as these files are read.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import TypeAlias
from uuid import UUID

from evcharge.models.receipts import Payment, Receipt
from evcharge.models.tariffs import body_key
from evcharge.rules.operation import History
from evcharge.storage.durable import Folder, flush_file, flush_folder, make_folder, write_all
from evcharge.storage.files.used import UsedTariffs
from evcharge.utils.numbers import finite_number, whole_number
from evcharge.utils.time_utils import DAY_S

END = ".jsonl"
Problem: TypeAlias = tuple[bytes | None, str]
"""What is wrong with a line, which comes with it, or with the file: names file and line."""


class ReceiptFiles:
    """
    The receipts in a folder, which is made when the first one is issued.

    :param used: the tariffs that they go by.
    """

    def __init__(self, path: Path, used: UsedTariffs) -> None:
        self.folder = Folder(path)
        self._used = used
        self._is_open = False
        self._torn: dict[str, int] = {}
        """Day -> where its file ends in truth: what is behind that could be neither kept nor cut
        off."""

    def close(self) -> None:
        """Let go of the folder."""
        self.folder.close()
        self._is_open = False

    # Writing

    def append(self, receipts: Iterable[Receipt]) -> dict[str, OSError]:
        """
        Keep receipts, for good, unless they are there.

        :return: of those for which it failed, why.
        """
        by_day: dict[str, list[Receipt]] = {}
        for receipt in receipts:
            by_day.setdefault(day_of(receipt.receipt_id, receipt.ended_timestamp), []).append(
                receipt
            )
        failed: dict[str, OSError] = {}
        for day, some in by_day.items():
            try:
                self._append(day, some)
            except OSError as error:
                failed.update((receipt.receipt_id, error) for receipt in some)
        return failed

    def _append(self, day: str, receipts: list[Receipt]) -> None:
        if not self._is_open:
            make_folder(self.folder.path)
            self.folder.open()
            self._is_open = True
        self.settle()
        lines = b"".join(map(receipt_line, receipts))
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
        with self.folder.opened(day + END, flags) as descriptor:
            start = _mended(descriptor)
            try:
                write_all(descriptor, lines)
                os.fsync(descriptor)
                if start == 0:
                    self.folder.flush()
            except OSError:
                self._torn[day] = start
                with contextlib.suppress(OSError):
                    self.settle()
                raise

    @property
    def is_settled(self) -> bool:
        """Whether the files have what was kept, and nothing else."""
        return not self._torn

    def settle(self) -> None:
        """Cut off what could not be kept. OSError: it may be there yet."""
        for day, size in [*self._torn.items()]:
            with self.folder.opened(day + END, os.O_WRONLY) as descriptor:
                os.ftruncate(descriptor, size)
                os.fsync(descriptor)
            del self._torn[day]

    def flush(self, receipts: Iterable[Receipt]) -> None:
        """
        Have receipts that were found stay: who wrote them may have ended before they were on the
        disk. OSError.
        """
        days = {day_of(receipt.receipt_id, receipt.ended_timestamp) for receipt in receipts}
        for day in days:
            with contextlib.suppress(FileNotFoundError):
                flush_file(self.folder.path / (day + END))
        if days:
            flush_folder(self.folder.path)

    # Reading

    def days(self) -> list[str]:
        """The days of which there are receipts, the newest first. OSError."""
        with contextlib.suppress(FileNotFoundError):
            found = [n.removesuffix(END) for n in os.listdir(self.folder.path) if n.endswith(END)]
            return sorted(found, reverse=True)
        return []

    def find(
        self, receipt_ids: Collection[str], damaged: dict[str, str] | None = None
    ) -> dict[str, Receipt]:
        """
        Those that are there of the receipts asked for.

        :param damaged: takes those that are there, or may be, and cannot be had, with what is
            wrong: it names file and line.
        :raise ValueError: there is such a one, and `damaged` is None.
        :raise OSError: the folder cannot be read.
        """
        days: dict[str | None, set[str]] = {}
        for receipt_id in receipt_ids:
            days.setdefault(instant_day(receipt_id), set()).add(receipt_id)
        found: dict[str, Receipt] = {}
        sought = days.pop(None, set())
        for day, ids in days.items():
            assert day is not None
            found.update(self._in(day, ids, damaged))
        for day in self.days() if sought else ():
            found.update(self._in(day, sought, damaged))
            sought -= found.keys()
            if not sought:
                break
        return found

    def history(self, asked: History, problems: list[str]) -> list[Receipt]:
        """
        Receipts of a driver, the newest first.

        :param problems: what is wrong with one that is left out is added to it.
        :raise ValueError, OSError: they cannot be read.
        """
        found: list[Receipt] = []
        for day in self.days():
            wrong: list[Problem] = []
            some = [
                receipt
                for receipt in self._lines(day, {asked.driver_id}, wrong)
                if receipt.driver_id == asked.driver_id
                and (asked.before is None or receipt.receipt_id < asked.before)
            ]
            for line, problem in wrong:
                if line is None:
                    raise ValueError(problem)
                problems.append(problem)
            found += sorted(some, key=lambda receipt: receipt.receipt_id, reverse=True)
            if len(found) >= asked.most:
                break
        return found[: asked.most]

    def everything(self, problems: list[str], since: float | None = None) -> Iterator[Receipt]:
        """
        All receipts, day by day.

        :param problems: what is wrong with one is added to it.
        :param since: those only whose file was changed since, seconds since the epoch.
        """
        for day in reversed(self.days()):
            path = self.folder.path / (day + END)
            if since is None or path.stat().st_mtime >= since:
                wrong: list[Problem] = []
                yield from self._lines(day, None, wrong)
                problems += [problem for _, problem in wrong]

    def count(self) -> int:
        """How many receipts there are, or a few more. OSError."""
        return sum(lines_of(self.folder.path / (day + END)) for day in self.days())

    def unlisted(self, payments: Path, problems: list[str]) -> Iterator[Payment]:
        """
        What was paid by receipts of late, which the list of payments may not have. OSError.

        :param payments: the list, which may be missing.
        :param problems: what is wrong with a receipt is added to it.
        """
        since = None
        with contextlib.suppress(FileNotFoundError):
            since = payments.stat().st_mtime - DAY_S
        for receipt in self.everything(problems, since):
            payment = Payment.settling(receipt)
            if payment is not None:
                yield payment

    def _in(
        self, day: str, ids: Collection[str], damaged: dict[str, str] | None
    ) -> dict[str, Receipt]:
        """Those of a day that are asked for: see :meth:`find`."""
        wrong: list[Problem] = []
        found = {receipt.receipt_id: receipt for receipt in self._lines(day, ids, wrong)}
        for line, problem in wrong:
            if damaged is None:
                raise ValueError(problem)
            texts = None if line is None else line.split(b'"')
            some = [name for name in ids if texts is None or name.encode() in texts]
            damaged.update(dict.fromkeys(some, problem))
        return found

    def _lines(
        self, day: str, texts: Collection[str] | None, problems: list[Problem]
    ) -> Iterator[Receipt]:
        """
        The receipts of a day.

        :param texts: one of which a line is to have, as a text of its own; None: all lines.
        """
        path = self.folder.path / (day + END)
        wanted = None if texts is None else {text.encode() for text in texts}
        try:
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    if wanted is not None and wanted.isdisjoint(line.split(b'"')):
                        continue
                    if not line.strip():
                        continue
                    try:
                        yield read_receipt(line, self._used)
                    except ValueError as error:
                        # What was being written when the process ended is none yet.
                        if line.endswith(b"\n"):
                            problems.append((line, f"{path}: line {number}: {error}"))
        except OSError as error:
            problems.append((None, f"{path}: cannot be read: {error.strerror or error}"))


def _mended(descriptor: int) -> int:
    """The size of a file whose last line is whole, for which what was not is cut off."""
    size = os.fstat(descriptor).st_size
    if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
        return size
    begin = size
    tail = b""
    while begin and b"\n" not in tail:
        length = min(begin, 65536)
        begin -= length
        tail = os.pread(descriptor, length, begin) + tail
    line = tail[tail.rfind(b"\n") + 1 :]
    try:
        json.loads(line)
    except ValueError:
        os.ftruncate(descriptor, size - len(line))
        return size - len(line)
    # An editor has left out its end, perhaps.
    write_all(descriptor, b"\n")
    return size + 1


def lines_of(path: Path) -> int:
    """How many lines a file has, which may be missing. OSError."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        return sum(1 for _ in file)


def instant_day(receipt_id: str) -> str | None:
    """The day (UTC) of the instant in an id; None where it is no UUID of version 7."""
    with contextlib.suppress(ValueError):
        known = UUID(receipt_id)
        if known.version == 7:
            return _day((known.int >> 80) / 1000)
    return None


def day_of(receipt_id: str, ended: float) -> str:
    """In the file of which day a receipt is."""
    return instant_day(receipt_id) or _day(ended)


def _day(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d")
    except (ValueError, OverflowError, OSError):
        return "9999-12-31"


PRIVATE = ("driver_id", "user", "paid_timestamp", "ended_timestamp")
"""What a line has beside the receipt."""


def receipt_line(receipt: Receipt) -> bytes:
    """The line of a receipt; its tariff is named by its key."""
    body = receipt.body.get("tariff")
    line = {
        **receipt.body,
        "tariff": None if body is None else body_key(body),
        "driver_id": receipt.driver_id,
        "user": receipt.user_end,
        "paid_timestamp": receipt.paid_timestamp,
        "ended_timestamp": receipt.ended_timestamp,
    }
    return json.dumps(line, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def read_receipt(line: bytes, used: UsedTariffs) -> Receipt:
    """The receipt that a line holds. ValueError: it holds none."""
    try:
        facts = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(facts, dict):
        raise ValueError("must be a JSON object")
    for name in ("receipt_id", "driver_id", "user", "state"):
        if not isinstance(facts.get(name), str):
            raise ValueError(f"{name} must be text")
    station_id = whole_number(facts.get("id_station"))
    ended = finite_number(facts.get("ended_timestamp"))
    total, paid = finite_number(facts.get("total")), finite_number(facts.get("paid"))
    if station_id is None or ended is None or total is None or paid is None:
        raise ValueError("id_station, ended_timestamp, total and paid must be numbers")
    body = {name: value for name, value in facts.items() if name not in PRIVATE}
    if facts.get("tariff") is not None:
        body["tariff"] = used.get(str(facts["tariff"])).body
    return Receipt(
        facts["receipt_id"],
        facts["driver_id"],
        facts["user"],
        station_id,
        finite_number(facts.get("paid_timestamp")),
        ended,
        Decimal(f"{total:.2f}"),
        Decimal(f"{paid:.2f}"),
        body,
    )
