"""What the files of a data directory say, at the opening; and later of those not read then."""

from __future__ import annotations

from pathlib import Path

from twisted.logger import Logger

from evcharge.models.slots import SlotTable
from evcharge.models.station import Station
from evcharge.models.terms import Terms
from evcharge.models.user import User
from evcharge.rules.events import SlotFreed
from evcharge.rules.sessions import put_off
from evcharge.storage import StorageUnavailable
from evcharge.storage.files.directory import DataDirectory, free_name, needed
from evcharge.storage.files.moved import MovedFiles
from evcharge.storage.files.network import tell_of_no_row, usable_network
from evcharge.storage.files.payments import PaymentList
from evcharge.storage.files.records import one_place_each, one_station_each, paid_ahead
from evcharge.storage.files.saving import Saving
from evcharge.storage.files.unread import Unread, Waiting
from evcharge.storage.files.vehicles import Beside
from evcharge.storage.private import shown
from evcharge.storage.records import Records


class Reading:
    """
    Reads the files of a data directory, and knows which of them cannot be read.

    :param records: what memory has; it takes in what is read.
    :param terms: see :class:`evcharge.storage.files.vehicles.Planning`.
    """

    log = Logger()

    def __init__(
        self,
        directory: DataDirectory,
        records: Records,
        payments: PaymentList,
        moved: MovedFiles,
        saving: Saving,
        terms: Terms,
    ) -> None:
        self._directory = directory
        self._records = records
        self._payments = payments
        self._moved = moved
        self._saving = saving
        self._terms = terms
        self._users: set[str] = set()
        """Those whose file is there, and cannot be read now."""
        self._waiting = Waiting()

    def read(self, now: float, with_doubts: bool) -> None:
        """
        Take in all that is there, and put right what an interrupted process left.

        :param now: seconds since the epoch.
        :param with_doubts: whether the log is to have what may be wrong with a row.
        :raise StorageError, OSError: it cannot be used.
        """
        records, directory = self._records, self._directory
        records.clocks = self._moved.read()
        network = usable_network(directory.path, self.log, with_doubts)
        records.catalogue = network.catalogue
        directory.read_statuses()
        records.statuses = dict(directory.statuses)
        stations = {i: s.with_statuses(records.statuses) for i, s in network.stations.items()}
        known = {i: s.with_statuses(records.statuses) for i, s in network.known.items()}
        rows = network.rows
        for name in directory.users.names():
            if name.endswith(".json"):
                self._read_user(name.removesuffix(".json"))
        tables, broken, changed = directory.read_tables(known, self._beside(now))
        for path in directory.strange_stations():
            self.log.warn("{path}: not a station's file, left alone", path=str(path))
        for station_id, problem in self._saving.find_over(tables.values()).items():
            broken[station_id] = self._unsure(station_id, problem)
            del tables[station_id]
        changed &= tables.keys()
        # Before any session ends whose payment only its station's file may have.
        self._payments.compare(paid_ahead(tables.values()))
        damaged: list[str] = []
        for payment in directory.receipts.unlisted(self._payments.path, damaged):
            self._payments.compare({payment.receipt_id: payment})
        for problem in damaged:
            self.log.error("{problem}; this receipt is left out", problem=problem)
        self._saving.list_payments()
        if rows is None:
            # What a session costs is worked out, and kept, when the stations are known again.
            changed.clear()
        freed = one_station_each(tables)
        if freed:
            self._payments.settle()
        for station_id, remark in freed:
            changed.add(station_id)
            self.log.warn("{remark}", remark=remark)
        for station_id, remark in one_place_each(tables):
            changed.add(station_id)
            self.log.warn("{remark}", remark=remark)
        for station_id in tables:
            late = tables[station_id].each(lambda record: put_off(record, now))
            if late is not tables[station_id]:
                tables[station_id] = late
                changed.add(station_id)
        for station_id, station in stations.items():
            if station_id not in tables and station_id not in broken:
                tables[station_id] = SlotTable(station_id, station.max_slots).at(station)
                changed.add(station_id)
        if rows is not None and network.resting is not None:
            directory.unlisted = tables.keys() - {*rows, *network.resting}
        for error in directory.write_tables([tables[at] for at in sorted(changed)]).values():
            raise error
        for station_id in sorted(tables):
            # Of a row that is wrong, and a file of which there are none, that has been said.
            if rows is not None and station_id not in rows:
                tell_of_no_row(self.log, directory.station_path(station_id), station_id)
        records.put_stations((stations.get(at), table) for at, table in sorted(tables.items()))
        if broken:
            self._waiting.earlier = frozenset(records.users) | self._users
        for station_id, problem in broken.items():
            self._wait(station_id, stations.get(station_id), problem)

    def _unsure(self, station_id: int, problem: str) -> str:
        path = self._directory.station_path(station_id)
        return f"{path}: cannot be used: whether a session is over is not known: {problem}"

    def _look_up(self, user_id: str) -> User | None:
        """A user. ValueError: that there is one is all that is known now."""
        if user_id in self._users:
            path = shown(self._directory.user_path(user_id))
            raise ValueError(f"the file of its user cannot be read: {path}")
        return self._records.users.get(user_id)

    def _beside(self, now: float) -> Beside:
        records = self._records
        used, tariffs = self._directory.used.get, records.catalogue.tariffs
        return Beside(now, self._look_up, tariffs, used, self._terms)

    def _wait(self, station_id: int, station: Station | None, problem: str) -> None:
        """Have who may stand at a station wait until it can be read."""
        users = self._waiting.who(station_id, self._directory.station_path(station_id))
        self._waiting.put(station_id, Unread(station, problem, users))
        count = sum(self.waits(user_id) is not None for user_id in self._records.users)
        self.log.error(
            "{problem}; the station is out of service until the file is put right, and "
            "{count} {drivers} for it",
            problem=problem,
            count=count,
            drivers="driver waits" if count == 1 else "drivers wait",
        )

    def _read_user(self, user_id: str) -> None:
        path = self._directory.user_path(user_id)
        was_unread = user_id in self._users
        self._users.discard(user_id)
        try:
            user = self._directory.read_user(user_id, self._records.catalogue.models)
        except FileNotFoundError:
            # Taken away since its name was seen.
            pass
        except IsADirectoryError as error:
            self._say_unread(path, error, "so its user is unknown")
        except OSError as error:
            if not was_unread:
                self._say_unread(path, error, "so its user waits until it can be")
            self._users.add(user_id)
        except ValueError as error:
            aside = free_name(path)
            self._directory.users.rename(path.name, aside.name)
            self.log.error(
                "{path}: damaged: {error}; set aside as {aside}",
                path=shown(path),
                error=str(error),
                aside=Path(shown(aside)).name,
            )
        else:
            self._records.put_user(user)
            if not self._directory.is_right(user):
                self._moved.add([user.user_id])

    def _say_unread(self, path: Path, error: OSError, so: str) -> None:
        self.log.error(
            "{path}: cannot be read, {so}: {error}",
            path=shown(path),
            so=so,
            error=self._directory.reason(error, path),
        )

    # What cannot be read

    @property
    def is_complete(self) -> bool:
        """Whether everything could be read."""
        return not (self._users or self._waiting.stations)

    def unread(self, user_id: str) -> StorageUnavailable | None:
        """Why nobody knows more of a user than that there is one; None: that is not so."""
        if user_id not in self._users:
            return None
        return StorageUnavailable(f"{shown(self._directory.user_path(user_id))}: cannot be read")

    def waits(self, user_id: str) -> StorageUnavailable | None:
        """Why nobody can tell where a user stands; None: it is known."""
        unread = self._waiting.waited_for(user_id, user_id in self._records.held)
        return None if unread is None else StorageUnavailable(unread.problem)

    def forget(self, user_id: str) -> None:
        """The file of a user is gone."""
        self._users.discard(user_id)

    def read_again(self, now: float) -> StorageUnavailable | None:
        """
        Take in what can be read by now.

        :param now: seconds since the epoch.
        :return: why something that can be read could not be taken in.
        """
        failure = None
        for user_id in [*self._users]:
            try:
                with needed(self._directory.user_path(user_id)):
                    self._read_user(user_id)
            except StorageUnavailable as error:
                failure = error
        for station_id, unread in self._waiting.stations.items():
            try:
                self._read_station(station_id, unread, now)
            except StorageUnavailable as error:
                failure = error
        return failure

    def _read_station(self, station_id: int, unread: Unread, now: float) -> None:
        try:
            table, is_right = self._directory.read_table(
                station_id, unread.station, self._beside(now)
            )
            with needed(self._directory.receipts.folder.path):
                for problem in self._saving.find_over([table]).values():
                    raise ValueError(self._unsure(station_id, problem))
        except ValueError as error:
            if str(error) != unread.problem:
                self._wait(station_id, unread.station, str(error))
            return
        late = table.each(lambda record: put_off(record, now))
        for place in table.waiting:
            if place.user_id in {**self._records.held, **self._records.lines, **table.sessions}:
                late = late.without_place(place.user_id)
        self._mend(unread.station, late, is_right and late is table)

    def _mend(self, station: Station | None, table: SlotTable, is_right: bool) -> None:
        """Take in a station that can be read again, as its file has it. StorageUnavailable."""
        at, slots, held = table.station_id, self._records.slots, self._records.held
        path = self._directory.station_path(at)
        # As at the opening: the list first, then one station for each user.
        self._payments.compare(paid_ahead([table]))
        with needed(self._payments.path):
            self._payments.settle()
        others = {held[user_id] for user_id in table.sessions if user_id in held}
        tables = {**{number: slots[number] for number in others}, at: table}
        for freed, remark in one_station_each(tables):
            self.log.warn("{remark}", remark=remark)
            is_right = is_right and freed != at
        for number in others:
            if tables[number] is not slots[number]:
                self._write(tables[number])
                left = slots[number].sessions.keys() - tables[number].sessions.keys()
                self._records.apply(
                    [SlotFreed(slots[number].sessions[user_id]) for user_id in left]
                )
        if not is_right:
            self._write(tables[at])
        self._records.put_stations([(station, tables[at])])
        self._waiting.put(at, None)
        self.log.info(
            "{path}: can be read again; vehicles that stand there: {count}",
            path=str(path),
            count=len(tables[at].sessions),
        )

    def _write(self, table: SlotTable) -> None:
        for failure in self._saving.write_stations([table]).values():
            raise failure
