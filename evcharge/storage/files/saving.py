"""
How a data directory is changed, so that a crash or a failure leaves only what the rules expect.

What has happened is written in phases, each of which is on the disk before the next one begins::

    what is said of EVSEs
    receipts: a session whose receipt is there is over
    users who come, and those who go before their slot is free: their session is over
    stations, each file once, behind the tariffs that their sessions go by
    the list of payments
    users who go once their slot is free: they have left
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs
from twisted.logger import Logger

from evcharge.models.receipts import BY_OPERATOR, Payment, Receipt
from evcharge.models.session import CANCELLED, COMPLETED, Place
from evcharge.models.slots import SlotTable
from evcharge.models.station import Station
from evcharge.models.terms import Terms
from evcharge.models.user import User
from evcharge.rules.events import (
    ClocksSet,
    Event,
    EvseStatusSet,
    NetworkChanged,
    PaymentListed,
    PlaceLeft,
    PlaceTaken,
    ReceiptIssued,
    SessionChanged,
    SlotFreed,
    SlotTaken,
    UserAdded,
    UserRemoved,
)
from evcharge.rules.sessions import place_before_all
from evcharge.rules.view import record_moved
from evcharge.storage import StorageUnavailable
from evcharge.storage.durable import Unsettled
from evcharge.storage.files import changing
from evcharge.storage.files.directory import STATUSES, DataDirectory, unavailable
from evcharge.storage.files.moved import MovedFiles
from evcharge.storage.files.payments import PaymentList
from evcharge.storage.files.phases import SLOTS, Change, Phase, rounds, station_of, user_of
from evcharge.storage.records import Records

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
        self,
        directory: DataDirectory,
        records: Records,
        payments: PaymentList,
        moved: MovedFiles,
        terms: Terms,
    ) -> None:
        self._directory = directory
        self._records = records
        self._payments = payments
        self._moved = moved
        self._terms = terms
        self._users: Failed = {}
        """Those whose file may be there or not, whatever memory says: a step ended half-way. Before
        it is acted upon, the file is made to say what memory does."""
        self._slots: dict[str, tuple[int, StorageUnavailable]] = {}
        """User id -> the station whose file may say something else of the user, likewise."""
        self._over: dict[str, tuple[str, Receipt]] = {}
        """User id -> the receipt of a session that stands yet, and is over: with its id."""
        self._receipts: Failed = {}
        """Those whose receipt may be there, though their sessions go on."""
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
                station = record.station.with_statuses(self._directory.statuses)
                tables[at] = table.with_slots(station.max_slots).at(station)
        owners = self._owners(events)
        failed.update(self._prepare(events, owners))
        begun: dict[str, int] = {}
        for phases in rounds(events, owners):
            # Of whom a place elsewhere may be left in its file, no more is to be written before.
            failed.update({u: why for u in begun if (why := self.doubt(u)) is not None})
            failed.update(self._owing(phases[2]))
            for number, phase in enumerate(phases):
                changes = [change for _, change in phase if user_of(change, owners) not in failed]
                if changes and number == 0:
                    failed.update(self._save_receipts(changes, owners))
                elif changes and number == 2:
                    failed.update(self._save_slots(changes, tables, owners, begun))
                elif changes:
                    failed.update(self._save_users(changes))
                if failed:
                    for place, change in phase:
                        if user_of(change, owners) in failed:
                            lost[place] = failed[user_of(change, owners)]
        return lost

    def _owners(self, events: Sequence[Event]) -> Mapping[str, str]:
        """Receipt id -> whose session it is of, of those that the events are about."""
        if not any(isinstance(event, (ReceiptIssued, PaymentListed)) for event in events):
            return {}
        owners = dict(self._records.receipts)
        for event in events:
            if isinstance(event, (SlotTaken, SessionChanged, SlotFreed)):
                owners[event.session.receipt_id] = event.session.user_id
        return owners

    def _prepare(self, events: Sequence[Event], owners: Mapping[str, str]) -> Failed:
        """Have on the disk what is said of EVSEs, which stations' files go by."""
        failed: Failed = {}
        said = [event for event in events if isinstance(event, EvseStatusSet)]
        if said:
            statuses = {event.evse_uid: event.status for event in said}
            try:
                self._directory.write_statuses({**self._directory.statuses, **statuses})
            except OSError as error:
                why = unavailable(self._directory.path / STATUSES, error)
                stations = {event.station_id for event in said}
                for event in events:
                    if isinstance(event, SLOTS) and station_of(event) in stations:
                        failed[user_of(event, owners)] = why
        return failed

    def _save_receipts(self, changes: Sequence[Change], owners: Mapping[str, str]) -> Failed:
        receipts = [change.receipt for change in changes if isinstance(change, ReceiptIssued)]
        errors = self._directory.receipts.append(receipts)
        failed: Failed = {}
        for receipt in receipts:
            user_id = owners[receipt.receipt_id]
            error = errors.get(receipt.receipt_id)
            if error is not None:
                failed[user_id] = unavailable(self._directory.receipts.folder.path, error)
                if not self._directory.receipts.is_settled:
                    self._receipts[user_id] = failed[user_id]
            else:
                self._over[user_id] = (receipt.receipt_id, receipt)
        return failed

    def _change_network(self, event: NetworkChanged) -> None:
        """Have the files say another network. StorageUnavailable: they may not."""
        try:
            changing.change(self._directory, event)
        except OSError as error:
            self.interrupted = unavailable(self._directory.path, error)
            raise self.interrupted from error
        known = event.after.stations
        self._directory.unlisted = {i for i, record in known.items() if record.is_gone}
        # Their files are gone, and are not made anew by who waits there no more.
        self._directory.unlisted.update(event.gone)

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
            user_of(change, {}): change.user if isinstance(change, UserAdded) else None
            for change in changes
        }
        failure = self._failed_login()
        if failure is None:
            return self.write_users(users)
        # Else what is left of those that fail would be more and more with each.
        failed = {user_id: failure for user_id, user in users.items() if user is not None}
        return {**failed, **self.write_users({u: users[u] for u in users.keys() - failed.keys()})}

    def _save_slots(
        self,
        changes: Sequence[Change],
        tables: dict[int, SlotTable],
        owners: Mapping[str, str],
        begun: dict[str, int],
    ) -> Failed:
        """
        Write what changes in stations' files, and list what was paid there.

        :param tables: those that are not as memory has them, or that follows.
        :param begun: at which station users have begun something, or wait, by now; it is added to.
            A place that they had elsewhere is left with that, whatever becomes of its file.
        """
        failed: Failed = {}
        changed: dict[int, SlotTable] = {}
        standing = self._records.slots
        left: dict[str, Place] = {}
        for change in changes:
            if not isinstance(change, SLOTS) or user_of(change, owners) in failed:
                continue
            at = station_of(change)
            table = changed.get(at) or tables.get(at) or standing[at]
            if isinstance(change, EvseStatusSet):
                changed[at] = table.at(self._station(at))
            elif isinstance(change, PlaceLeft):
                left[change.place.user_id] = change.place
                changed[at] = table.without_place(change.place.user_id)
            elif isinstance(change, PlaceTaken):
                changed[at] = table.with_place(change.place)
            elif isinstance(change, SlotFreed):
                changed[at] = table.without(change.session.user_id)
            elif change.session.evse_uid not in table.without(user_of(change, owners)).held and (
                isinstance(change, SessionChanged) or table.available_slots
            ):
                changed[at] = table.with_session(change.session)
            else:
                user_id = change.session.user_id
                failed[user_id] = StorageUnavailable(
                    f"station {at}: the slot was to be freed by another vehicle, and was not"
                )
                if user_id in left and left[user_id].station_id == at:
                    changed[at] = table.with_place(left[user_id])
        problems = self.write_stations(changed.values(), tables)
        tables.update((at, table) for at, table in changed.items() if at not in problems)
        paid: dict[str, Payment] = {}
        for change in changes:
            user_id = user_of(change, owners)
            if isinstance(change, PaymentListed):
                if user_id not in failed:
                    paid[change.payment.receipt_id] = change.payment
                continue
            at = station_of(change)
            problem = problems.get(at)
            before = tables.get(at) or standing[at]
            is_status = isinstance(change, EvseStatusSet)
            if problem is not None and (is_status or begun.get(user_id, at) != at):
                # It is so since another file says so: this one is to follow.
                self._slots[user_id] = (at, problem)
                left_off = before.without_place(user_id)
                tables[at] = before.at(self._station(at)) if is_status else left_off
            elif problem is not None:
                failed[user_id] = problem
            elif user_id not in failed and isinstance(change, SlotFreed):
                self._over.pop(user_id, None)
            elif user_id not in failed and isinstance(change, (SlotTaken, PlaceTaken)):
                begun[user_id] = at
        if paid:
            self._payments.owe(paid)
            self.list_payments()
        return failed

    def _station(self, station_id: int) -> Station:
        """A station in service, by what its EVSEs' own file says."""
        state = self._records.states.get(str(station_id))
        assert state is not None, station_id
        return state.station.with_statuses(self._directory.statuses)

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
                changed = [*dict(by_id[at].sessions.items() ^ before.sessions.items())]
                changed += [p.user_id for p in {*by_id[at].waiting} ^ {*before.waiting}]
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
        try:
            self._directory.receipts.settle()
            self._receipts.clear()
        except OSError as error:
            return unavailable(self._directory.receipts.folder.path, error)
        return self.write_again([*self._users], {at for at, _ in self._slots.values()})

    # Sessions that are over, and stand yet

    def find_over(self, tables: Iterable[SlotTable]) -> dict[int, str]:
        """
        Find the sessions whose receipt is there.

        :return: the stations where nobody can tell whether a session is over, and why.
        :raise OSError: receipts cannot be read.
        """
        standing = {s.receipt_id: s for table in tables for s in table.sessions.values()}
        damaged: dict[str, str] = {}
        found = self._directory.receipts.find(standing, damaged)
        # Before the sessions go of which they are all that is left.
        self._directory.receipts.flush(found.values())
        for name, receipt in found.items():
            self._over[standing[name].user_id] = (name, receipt)
        return {standing[name].station_id: problem for name, problem in damaged.items()}

    def over(self) -> list[Event]:
        """What is left to do of sessions that are over."""
        events: list[Event] = []
        lines: dict[int, tuple[Place, ...]] = {}
        for user_id, (receipt_id, receipt) in [*self._over.items()]:
            session = self._records.session(user_id)
            if session is None or session.receipt_id != receipt_id:
                # It was found at two stations.
                del self._over[user_id]
                continue
            if receipt.body["state"] == COMPLETED:
                events.append(UserRemoved(user_id))
            at = receipt.ended_timestamp
            state, reason = receipt.body["state"], receipt.body["end_reason"]
            events.append(SlotFreed(session, at, state, reason))
            user = self._records.users.get(user_id)
            if (state, reason) == (CANCELLED, BY_OPERATOR) and user is not None:
                here = self._records.slots[session.station_id]
                waiting = lines.get(session.station_id, here.waiting)
                place = place_before_all(session, user, waiting, at, self._terms)
                place = attrs.evolve(place, clock=session.clock)
                lines[session.station_id] = (place, *waiting)
                events.append(PlaceTaken(place, at, len(waiting) + 1))
            payment = Payment.settling(receipt)
            if payment is not None:
                # It may be in the list already.
                self._payments.compare({payment.receipt_id: payment})
        return events

    @property
    def is_settled(self) -> bool:
        """Whether the disk says what memory does, of everybody."""
        return not (self._users or self._slots or self._over or self._receipts)

    def doubt(self, user_id: str) -> StorageUnavailable | None:
        """Why the disk may say something else of a user than memory does; None: it does not."""
        if user_id in self._receipts:
            return self._receipts[user_id]
        if user_id in self._over:
            return StorageUnavailable("the session is over, which could not be written yet")
        return self._slots.get(user_id, (0, self._users.get(user_id)))[1]

    def _failed_login(self) -> StorageUnavailable | None:
        """Why something may be left of a user whose login failed."""
        known = self._records.users
        return next((why for user_id, why in self._users.items() if user_id not in known), None)
