"""
The data directory: one JSON file a station and a user, which people can read.

A station's file says who stands there and what was paid; it is the truth. A user's file says who
logged in with which car. `payments.jsonl` lists every payment taken, for the operator's books; it
follows from the stations' files and is completed from them after a crash.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import attrs
from twisted.logger import Logger

from evcharge.datasets import DatasetError, StationRows
from evcharge.models.catalogue import Catalogue
from evcharge.models.network import Network
from evcharge.models.session import FINISHED
from evcharge.models.terms import DEFAULT_TERMS, Terms
from evcharge.models.user import User
from evcharge.rules.clocks import Newest
from evcharge.rules.events import ClocksSet, Event, SlotFreed, UserRemoved
from evcharge.rules.journey import FindStanding, FindUser
from evcharge.rules.operation import Due, Needs, Operation
from evcharge.rules.operator import SetEvseStatus
from evcharge.rules.sweep import HandOn, Sweep, SweepResult
from evcharge.rules.view import View
from evcharge.storage import Listener, StorageUnavailable, Summary
from evcharge.storage.contents import Contents
from evcharge.storage.due import claim
from evcharge.storage.execute import execute
from evcharge.storage.files import changing
from evcharge.storage.files.contents import read_directory, write_directory
from evcharge.storage.files.directory import PAYMENTS, DataDirectory
from evcharge.storage.files.moved import MovedFiles
from evcharge.storage.files.network import NetworkFiles
from evcharge.storage.files.payments import PaymentList
from evcharge.storage.files.reading import Reading
from evcharge.storage.files.saving import Saving
from evcharge.storage.private import shown, warn_of_readers
from evcharge.storage.records import Records

R = TypeVar("R")


class FileStorage:
    """
    A storage in a data directory, which it owns alone while it is open.

    :param directory: made, and filled with the shipped data, where it is missing or empty.
    :param more_cars: models to add to its catalogue, and
    :param more_stations: stations to add to its own, where it does not have them; in a new
        directory they take the place of the shipped ones.
    :param terms: those of the network, by which vehicles are charged whose price an earlier
        installation did not note; None: the default.
    """

    log = Logger()
    patience_s = 30.0

    def __init__(
        self,
        directory: Path,
        more_cars: Mapping[str, Any] | None = None,
        more_stations: StationRows | None = None,
        terms: Terms = DEFAULT_TERMS,
    ) -> None:
        self._more_cars = more_cars
        self._more_stations = more_stations
        self._terms = terms
        self.records = Records()
        self._directory = DataDirectory(directory)
        self._payments = PaymentList(self._directory.root, PAYMENTS)
        self._moved = MovedFiles(self._directory, self._payments)
        self._saving = Saving(self._directory, self.records, self._payments, self._moved, terms)
        self._reading = Reading(
            self._directory, self.records, self._payments, self._moved, self._saving, terms
        )
        self.listeners: list[Listener] = []
        self._lock = threading.Lock()
        self._trouble: StorageUnavailable | None = None
        """What a sweep of this batch has passed over, or could not put right."""

    # Opening

    def open(self, now: float) -> Summary:
        try:
            with self._directory.explained():
                self._directory.own()
                self._directory.hold()
                changing.finish(self._directory)
                self._directory.fill(self._more_cars, self._more_stations)
                # Of rows that were taken in just now, whoever took them in has been told.
                self._reading.read(now, self._more_stations is None)
                self._end_over()
                # A step may have been interrupted between an end and the offer that follows.
                execute(self, [HandOn(now, self._terms)])
                # Ids are the names of users' files, and stand in stations' files.
                warn_of_readers(self.log, self._directory.users.path, self._directory.stations.path)
        except BaseException:
            self._directory.release()
            raise
        return Summary(stations=len(self.records.states), users=len(self.records.users))

    def close(self) -> None:
        # Where another server may have the directory, all in it is that one's.
        with contextlib.suppress(StorageUnavailable):
            self._directory.check()
            self._saving.list_payments()
            self._saving.settle()
        self._directory.release()

    def interrupt(self) -> None:
        """Nothing here waits for another machine."""

    # Reading

    def catalogue(self) -> Catalogue:
        return self.records.catalogue

    def recall(self, operation: Operation[R]) -> R | None:
        if (
            type(operation) is FindStanding
            or (type(operation) is FindUser and operation.whereabouts)
        ) and self._reading.waits(operation.user_id) is not None:
            return None
        return self.records.recall(operation)

    def users(self) -> Sequence[User]:
        return tuple(self.records.users.values())

    # Carrying out

    def execute(self, operations: Sequence[Operation[Any]]) -> Sequence[Any]:
        with self._lock:
            self._directory.check()
            self._trouble = None
            ended = 0
            for operation in operations:
                if isinstance(operation, Sweep):
                    self._put_right(operation)
                    ended += self._end_over()
            results = [
                attrs.evolve(result, freed=result.freed + ended)
                if ended and isinstance(result, SweepResult)
                else result
                for result in execute(self, operations)
            ]
            # What was done in a directory that is another server's by now is not done.
            self._directory.check()
            if self._trouble is None:
                return results
            return [
                self._trouble if isinstance(operation, Sweep) else result
                for operation, result in zip(operations, results, strict=True)
            ]

    def _put_right(self, sweep: Sweep) -> None:
        """Have on the disk, and in memory, what could not be there before."""
        # Before the sessions end whose files still have what the list has not.
        self._saving.list_payments()
        self._troubled(self._saving.settle())
        self._troubled(self._reading.read_again(sweep.now))
        self._troubled(self._saving.write_again(*self._moved.some()))
        clocks = self.records.clocks
        try:
            self.records.clocks = self._moved.follow(
                clocks, sweep.now + clocks.moved(sweep.clock), self._reading.is_complete
            )
        except StorageUnavailable as error:
            self._troubled(error)
        self._put_out(sweep)

    def _put_out(self, sweep: Sweep) -> None:
        """Have nobody charge, or come, at an EVSE out of service: that may be done by halves."""
        statuses = self.records.statuses
        standing = [
            session.evse_uid
            for table in self.records.slots.values()
            if table.out_of_service
            for session in table.sessions.values()
            if session.evse_uid in table.out_of_service and session.state != FINISHED
        ]
        for uid in standing:
            if uid in statuses:
                status = statuses[uid]
                again = SetEvseStatus(uid, status.status, status.reason, sweep.now, sweep.terms)
                again.clock = sweep.clock
                (result,) = execute(self, [again])
                self._troubled(result if isinstance(result, StorageUnavailable) else None)

    def _troubled(self, problem: StorageUnavailable | None) -> None:
        self._trouble = self._trouble or problem

    def transaction(self, write: bool) -> AbstractContextManager[FileStorage]:
        return nullcontext(self)

    def load(self, needs: Needs) -> View:
        self._troubled(self._saving.settle())
        self._end_over()
        view = self.records.load(needs, has=self._may_end)
        view.more_to_write = bool(self._moved)
        if needs.sets_clock:
            view.newest = self._newest
        if needs.network:
            view.know_network(self._network(), self.records.taken(), self.records.waiting())
        self._load_receipts(needs, view)
        if self._reading.is_complete and self._saving.is_settled:
            return view
        for user_id in (*needs.seen, *needs.users, *needs.standing):
            unread = self._reading.unread(user_id)
            if unread is not None:
                view.users[user_id] = unread
            unknown = self._reading.waits(user_id) or self._saving.doubt(user_id)
            if unknown is not None:
                view.sessions[user_id] = unknown
        return view

    def _end_over(self) -> int:
        """
        Have sessions end that are over, and stand yet: what ended them was not written whole.

        :return: how many EVSEs were given back.
        """
        events = self._saving.over()
        if events:
            failed = self._saving.save(events)
            self._saving.list_payments()
            events = [event for place, event in enumerate(events) if place not in failed]
            self.apply(events)
            for listener in self.listeners if events else ():
                listener(events)
            self._troubled(next(iter(failed.values()), None))
        return sum(isinstance(event, SlotFreed) for event in events)

    def _load_receipts(self, needs: Needs, view: View) -> None:
        """Add to `view` the receipts that are asked for."""
        receipts = self._directory.receipts
        for receipt_id in needs.receipts:
            if view.receipts.get(receipt_id) is None:
                try:
                    view.receipts[receipt_id] = receipts.find([receipt_id]).get(receipt_id)
                except (OSError, ValueError) as error:
                    view.receipts[receipt_id] = StorageUnavailable(str(error))
        for asked in needs.histories:
            try:
                problems: list[str] = []
                view.histories[asked] = receipts.history(asked, problems)
                for problem in problems:
                    self.log.error("{problem}; this receipt is left out", problem=problem)
            except (OSError, ValueError) as error:
                view.histories[asked] = StorageUnavailable(str(error))

    def _network(self) -> Network | StorageUnavailable:
        """The network as a whole; or why it cannot be changed now."""
        path = self._directory.path
        if self._saving.interrupted is not None:
            return self._saving.interrupted
        if not (self._reading.is_complete and self._saving.is_settled):
            return StorageUnavailable(f"{path}: has files that cannot be read or written now")
        try:
            there = NetworkFiles.read(path)
        except (OSError, DatasetError) as error:
            return StorageUnavailable(self._directory.reason(error, path))
        records = there.records(self.records.slots)
        return Network(there.cars.everything, records, there.tariffs.everything)

    def _newest(self) -> Newest:
        try:
            return self.records.newest(*self._payments.newest())
        except OSError:
            # Of a list that cannot be read, it is not known.
            return self.records.newest()

    def claim(self, view: View, due: Due) -> None:
        claim(self.records, view, due, self._may_end)

    def _may_end(self, user_id: str) -> bool:
        """Whether what a user has may end now; else the next sweep tries again."""
        problem = self._reading.waits(user_id)
        if problem is not None and user_id not in self.records.held:
            # One for whom a station's file is waited for may hold an EVSE there.
            return False
        session = self.records.session(user_id)
        if session is not None and self._payments.owes(session.receipt_id):
            problem = StorageUnavailable(f"{shown(self._payments.path)}: lacks a payment yet")
        problem = problem or self._saving.doubt(user_id)
        self._troubled(problem)
        return problem is None

    def save(self, events: Sequence[Event]) -> Mapping[int, StorageUnavailable]:
        return self._saving.save(events)

    def apply(self, events: Sequence[Event]) -> None:
        if events and isinstance(events[0], ClocksSet):
            users, stations = self.records.move(events[0].before, events[0].after)
            self._moved.add(users, stations)
            self._saving.list_payments()
            events = events[1:]
        self.records.apply(events)
        for event in events:
            if isinstance(event, UserRemoved):
                self._reading.forget(event.user_id)

    # Copying

    def read_contents(self, now: float) -> AbstractContextManager[Contents]:
        """See :func:`evcharge.storage.files.contents.read_directory`."""
        return read_directory(self._directory, now)

    def write_contents(self, contents: Contents) -> None:
        """See :func:`evcharge.storage.files.contents.write_directory`."""
        write_directory(self._directory, contents)
