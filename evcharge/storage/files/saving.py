"""
How a data directory is changed, so that a crash or a failure leaves only what the rules expect.

What has happened is written in phases, each of which is on the disk before the next one begins::

    users who come, and those who go before their slot is free: their session is over
    stations, each file once
    the list of payments
    users who go once their slot is free: they have left
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from twisted.logger import Logger

from evcharge.models.session import ChargingSession
from evcharge.models.slots import SlotTable
from evcharge.models.user import User
from evcharge.rules.events import (
    ClocksSet,
    Event,
    NetworkChanged,
    SlotFreed,
    SlotTaken,
    UserAdded,
    UserRemoved,
)
from evcharge.rules.view import record_moved
from evcharge.storage import StorageUnavailable
from evcharge.storage.durable import Unsettled
from evcharge.storage.files import changing
from evcharge.storage.files.directory import DataDirectory, unavailable
from evcharge.storage.files.moved import MovedFiles
from evcharge.storage.files.payments import PaymentList
from evcharge.storage.records import Records

Change: TypeAlias = UserAdded | UserRemoved | SlotTaken | SlotFreed
Phase = list[tuple[int, Change]]
"""Events, each with its place in the batch."""
Failed = dict[str, StorageUnavailable]
"""Users of whom something did not come about, and why."""
_NONE: Mapping[int, SlotTable] = {}


class Saving:
    """
    Writes the files of a data directory, and knows which of them may not say what memory does.

    :param records: what memory has; it follows what is saved afterwards.
    """

    log = Logger()

    def __init__(
        self, directory: DataDirectory, records: Records, payments: PaymentList, moved: MovedFiles
    ) -> None:
        self._directory = directory
        self._records = records
        self._payments = payments
        self._moved = moved
        self._users: Failed = {}
        """Those whose file may be there or not, whatever memory says: a step ended half-way. Before
        it is acted upon, the file is made to say what memory does."""
        self._slots: dict[str, tuple[int, StorageUnavailable]] = {}
        """User id -> the station whose file may say something else of the user, likewise."""
        self.interrupted: StorageUnavailable | None = None
        """Why the files may say another network than memory does, until the next opening."""

    # What has happened

    def save(self, events: Sequence[Event]) -> Mapping[int, StorageUnavailable]:
        """
        Have on the disk what has happened: all of it, but for what fails, and what rests on that.

        :return: the places of the events that did not come about, and why.
        """
        lost: dict[int, StorageUnavailable] = {}
        failed: Failed = {}
        tables: dict[int, SlotTable] = {}
        if events and isinstance(events[0], ClocksSet):
            before, after = events[0].before, events[0].after
            try:
                self._moved.save(before, after)
            except StorageUnavailable as error:
                # All else is by these clocks.
                return dict.fromkeys(range(len(events)), error)
            tables = {
                at: table.each(lambda session: record_moved(session, before, after))
                for at, table in self._records.slots.items()
            }
        network = next((e for e in events[:2] if isinstance(e, NetworkChanged)), None)
        if network is not None:
            try:
                self._change_network(network)
            except StorageUnavailable as error:
                # All else is at these stations.
                return dict.fromkeys(range(events.index(network), len(events)), error)
            for at, record in network.put.items():
                table = tables.get(at) or self._records.slots.get(at) or SlotTable(at, 0)
                tables[at] = table.with_slots(record.station.max_slots).at(record.station)
        for phases in rounds(events):
            failed.update(self._owing(phases[1]))
            for number, phase in enumerate(phases):
                changes = [change for _, change in phase if user_of(change) not in failed]
                if changes and number == 1:
                    failed.update(self._save_slots(changes, tables))
                elif changes:
                    failed.update(self._save_users(changes))
                if failed:
                    for place, change in phase:
                        if user_of(change) in failed:
                            lost[place] = failed[user_of(change)]
        return lost

    def _change_network(self, event: NetworkChanged) -> None:
        """Have the files say another network. StorageUnavailable: they may not."""
        try:
            changing.change(self._directory, event)
        except OSError as error:
            self.interrupted = unavailable(self._directory.path, error)
            raise self.interrupted from error
        known = event.after.stations
        self._directory.unlisted = {i for i, record in known.items() if record.is_gone}

    def _owing(self, phase: Phase) -> Failed:
        """Those whose session may not end: its payment is not in the list for good."""
        owing = [
            change.session.user_id
            for _, change in phase
            if isinstance(change, SlotFreed) and self._payments.owes(change.session.receipt_id)
        ]
        try:
            if owing:
                self._payments.settle()
        except OSError as error:
            return dict.fromkeys(owing, unavailable(self._payments.path, error))
        return {}

    def _save_users(self, changes: Sequence[Change]) -> Failed:
        users = {
            user_of(change): change.user if isinstance(change, UserAdded) else None
            for change in changes
        }
        failure = self._failed_login()
        if failure is None:
            return self.write_users(users)
        # Else what is left of those that fail would be more and more with each.
        failed = {user_id: failure for user_id, user in users.items() if user is not None}
        return {**failed, **self.write_users({u: users[u] for u in users.keys() - failed.keys()})}

    def _save_slots(self, changes: Sequence[Change], tables: dict[int, SlotTable]) -> Failed:
        """
        Write what changes in stations' files, and list what was paid there.

        :param tables: those that are not as memory has them, or that follows.
        """
        failed: Failed = {}
        changed: dict[int, SlotTable] = {}
        standing = self._records.slots
        for change in changes:
            assert isinstance(change, (SlotTaken, SlotFreed))
            session = change.session
            at = session.station_id
            table = changed.get(at) or tables.get(at) or standing[at]
            if isinstance(change, SlotFreed):
                changed[at] = table.without(session.user_id)
            elif table.available_slots and session.evse_uid not in table.held:
                changed[at] = table.with_session(session)
            else:
                failed[session.user_id] = StorageUnavailable(
                    f"station {at}: the slot was to be freed by another vehicle, and was not"
                )
        problems = self.write_stations(changed.values(), tables)
        tables.update((at, table) for at, table in changed.items() if at not in problems)
        paid: dict[str, ChargingSession] = {}
        for change in changes:
            assert isinstance(change, (SlotTaken, SlotFreed))
            session = change.session
            problem = problems.get(session.station_id)
            if problem is not None:
                failed[session.user_id] = problem
            elif isinstance(change, SlotTaken) and session.user_id not in failed:
                paid[session.receipt_id] = session
        if paid:
            self._payments.owe(paid)
            self.list_payments()
        return failed

    def list_payments(self) -> None:
        """Have the list of payments complete, as soon as it can be."""
        try:
            self._payments.settle()
        except OSError as error:
            # The payment stands, the station's file has it: the next one, each sweep and the
            # closing try again.
            self.log.error(
                "{path}: {error}; payments will be listed later",
                path=str(self._payments.path),
                error=self._directory.reason(error, self._payments.path),
            )

    # Files

    def write_users(self, users: Mapping[str, User | None]) -> Failed:
        """Write the files of users, or remove the file of each who is None here."""
        failed: Failed = {}
        for user_id, error in self._directory.write_users(users).items():
            failed[user_id] = unavailable(self._directory.user_path(user_id), error)
            if isinstance(error, Unsettled):
                self._users[user_id] = failed[user_id]
        written = users.keys() - failed.keys()
        self._moved.written(users=written)
        if self._users:
            self._users = {u: why for u, why in self._users.items() if u not in written}
        return failed

    def write_stations(
        self, tables: Iterable[SlotTable], written_before: Mapping[int, SlotTable] = _NONE
    ) -> dict[int, StorageUnavailable]:
        """
        Write the files of stations.

        :param written_before: those that memory is yet to follow.
        :return: of those for which it failed, why.
        """
        by_id = {table.station_id: table for table in tables}
        failed: dict[int, StorageUnavailable] = {}
        for at, error in self._directory.write_tables(by_id.values()).items():
            failed[at] = unavailable(self._directory.station_path(at), error)
            if isinstance(error, Unsettled):
                before = written_before.get(at) or self._records.slots.get(at, by_id[at])
                changed = dict(by_id[at].sessions.items() ^ before.sessions.items())
                self._slots.update(dict.fromkeys(changed, (at, failed[at])))
        written = by_id.keys() - failed.keys()
        self._moved.written(stations=written)
        if self._slots:
            self._slots = {u: (at, e) for u, (at, e) in self._slots.items() if at not in written}
        return failed

    def write_again(
        self, users: Iterable[str], stations: Iterable[int]
    ) -> StorageUnavailable | None:
        """Have files say what memory does; where one cannot be made to, why."""
        known = self._records.users
        failed = [
            *self.write_stations([self._records.slots[at] for at in stations]).values(),
            *self.write_users({user_id: known.get(user_id) for user_id in users}).values(),
        ]
        return failed[0] if failed else None

    # What may not be as memory has it

    def settle(self) -> StorageUnavailable | None:
        """Have the disk say what memory does, wherever it may not; why it still may not."""
        if self.is_settled:
            return None
        return self.write_again([*self._users], {at for at, _ in self._slots.values()})

    @property
    def is_settled(self) -> bool:
        """Whether the disk says what memory does, of everybody."""
        return not (self._users or self._slots)

    def doubt(self, user_id: str) -> StorageUnavailable | None:
        """Why the disk may say something else of a user than memory does; None: it does not."""
        return self._slots.get(user_id, (0, self._users.get(user_id)))[1]

    def _failed_login(self) -> StorageUnavailable | None:
        """Why something may be left of a user whose login failed."""
        known = self._records.users
        return next((why for user_id, why in self._users.items() if user_id not in known), None)


def user_of(change: Change) -> str:
    """Whom an event is about."""
    if isinstance(change, UserAdded):
        return change.user.user_id
    return change.user_id if isinstance(change, UserRemoved) else change.session.user_id


def rounds(events: Sequence[Event]) -> Iterator[tuple[Phase, Phase, Phase]]:
    """
    The phases in which events are written, users, stations, users; as often as need be.

    Those of a user come in their order, each in a phase of its own: so a slot that is taken and
    given back in one batch is written in between, and its payment listed.
    """
    phases: tuple[Phase, Phase, Phase] = ([], [], [])
    reached: dict[str, int] = {}
    for place, event in enumerate(events):
        if not isinstance(event, (UserAdded, UserRemoved, SlotTaken, SlotFreed)):
            continue
        user_id = user_of(event)
        at = reached.get(user_id, -1)
        first = 1 if isinstance(event, (SlotTaken, SlotFreed)) else 0
        number = 2 if at >= 0 and isinstance(event, UserRemoved) else first
        if number <= at:
            yield phases
            phases, reached, number = ([], [], []), {}, first
        reached[user_id] = number
        phases[number].append((place, event))
    yield phases
