"""
The storage in an SQL database: the rules of the journey as statements, many operations at a time.

Rows are locked in one order - users by id, then stations by id - so that processes which share the
database wait for one another but never in a ring. A sweep passes over what others have locked.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

import attrs
from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import DBAPIError

from evcharge.datasets import (
    COLUMNS,
    OPTIONAL_COLUMNS,
    StationRows,
    parse_car_models,
    parse_stations,
)
from evcharge.models.electric_car import CarModel, ElectricCar
from evcharge.models.station import ChargingSession, Station, StationState
from evcharge.models.user import User
from evcharge.storage import (
    AddUser,
    EndJourney,
    FindUser,
    ListStations,
    NoFreeSlot,
    Operation,
    SlotHeldElsewhere,
    StorageError,
    Summary,
    Sweep,
    SweepResult,
    TakeSlot,
    UnknownStation,
    UnknownUser,
    schema,
)
from evcharge.storage.databases import Database
from evcharge.storage.files import CARS, STATIONS, shipped
from evcharge.storage.group_commit import TryAgain, Unavailable

R = TypeVar("R")
T = TypeVar("T")

MOST_USERS_KEPT = 100_000
"""Users that memory holds at most, about 1 KiB each."""

MOST_SWEPT = 1000
"""Sessions, and users, that one sweep ends at most: drivers' requests wait for it."""


@attrs.frozen
class _Network:
    """The cars, and the stations in service by id."""

    version: int
    """As the table `network` counts it."""
    car_models: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    stations: Mapping[int, Station] = attrs.field(factory=dict)


@attrs.define
class _Batch:
    """What is done while a batch is carried out, and becomes true with its commit."""

    began: float
    operations: Sequence[Operation[Any]]
    results: list[Any] = attrs.field(
        default=attrs.Factory(lambda self: [None] * len(self.operations), takes_self=True)
    )
    users: dict[str, User] = attrs.field(factory=dict)
    """Users to keep in memory."""
    gone: set[str] = attrs.field(factory=set)
    """Users to forget."""
    changed: set[int] = attrs.field(factory=set)
    """Stations whose slots have changed."""
    network: _Network | None = None
    """Read anew, where it has changed."""
    states: dict[int, StationState] = attrs.field(factory=dict)
    all_states: bool = False
    """Whether `states` are all there are; else they are those that changed."""

    def of(self, kind: type[T]) -> list[tuple[int, T]]:
        """The operations of a kind, each with its place."""
        return [(n, op) for n, op in enumerate(self.operations) if isinstance(op, kind)]


class SqlStorage:
    """
    A storage in a database.

    :param database: where it is.
    :param more_cars: models to add to its catalogue, and
    :param more_stations: stations to add to its own, where it does not have them; in a new
        database they take the place of the shipped ones.
    :param monotonic: seconds, by a clock that nobody sets.
    """

    def __init__(
        self,
        database: Database,
        more_cars: Mapping[str, Any] | None = None,
        more_stations: StationRows | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.patience_s = database.patience_s
        self.interrupt = database.interrupt
        self._database = database
        self._more_cars = more_cars
        self._more_stations = more_stations
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._network = _Network(version=-1)
        self._states: dict[int, StationState] = {}
        self._listed: tuple[StationState, ...] = ()
        self._listed_at = float("-inf")
        self._users: dict[str, User] = {}
        """Users in memory, the oldest first; nothing but :meth:`_remember` grows it."""
        self._in_doubt: set[str] = set()
        """Users whose removal was to be committed when the connection was lost."""

    # Opening

    def open(self, now: float) -> Summary:
        self._database.acquire()
        try:
            for attempt in range(3):
                try:
                    return self._open()
                except DBAPIError as error:
                    # Another process may be making the same tables: then they are there next time.
                    if attempt == 2:
                        meaning = self._database.meaning(error)
                        known = isinstance(meaning, (TryAgain, Unavailable))
                        text = str(meaning) if known else str(error.orig).splitlines()[0]
                        raise StorageError(text.removesuffix("\n")) from None
        except BaseException:
            self._database.release()
            raise
        raise AssertionError("unreachable")

    def _open(self) -> Summary:
        with self._database.begin(write=True) as connection:
            self._prepare(connection)
            if not connection.execute(select(func.count()).select_from(schema.network)).scalar():
                connection.execute(insert(schema.network).values(id=1, version=0))
            self._fill(connection)
            batch = _Batch(self._monotonic(), [], all_states=True)
            self._read_network(batch, connection)
            batch.states = _states(connection, batch.network or self._network, None)
            users = connection.execute(select(func.count()).select_from(schema.users)).scalar_one()
        self._remember(batch)
        return Summary(len(self._states), users)

    def _prepare(self, connection: Connection) -> None:
        """Bring the schema up to date."""
        if schema.version(connection) == schema.HEAD:
            return
        try:
            schema.upgrade(connection)
        except schema.NewerSchema as error:
            raise StorageError(
                f"{self._database.name}: was made by a newer evcharge, or by another program "
                f"({error})"
            ) from None

    def _fill(self, connection: Connection) -> None:
        """Add what is missing of the network."""
        there = set(connection.execute(select(schema.car_models.c.name)).scalars())
        cars = self._more_cars
        if cars is None and not there:
            cars = parse_car_models(shipped(CARS), CARS)
        new_cars = [
            {"name": name, "place": place, "facts": json.dumps(facts, ensure_ascii=False)}
            for place, (name, facts) in enumerate((cars or {}).items(), len(there))
            if name not in there
        ]
        ids = set(connection.execute(select(schema.stations.c.station_id)).scalars())
        rows = self._more_stations
        if rows is None and not ids:
            rows = parse_stations(shipped(STATIONS), STATIONS)
        new_stations = [
            station_row(rows.stations[station_id], cells)
            for station_id, cells in (rows.rows.items() if rows is not None else ())
            if rows is not None and station_id not in ids
        ]
        if new_cars:
            connection.execute(insert(schema.car_models), new_cars)
        if new_stations:
            connection.execute(insert(schema.stations), new_stations)
        if new_cars or new_stations:
            connection.execute(update(schema.network).values(version=schema.network.c.version + 1))

    def close(self) -> None:
        with self._lock:
            self._database.release()

    # Reading

    def car_models(self) -> Mapping[str, Mapping[str, Any]]:
        return self._network.car_models

    def recall(self, operation: Operation[R]) -> R | None:
        age = self._database.states_age_s
        if type(operation) is FindUser:
            return cast("R | None", self._users.get(operation.user_id))
        if type(operation) is ListStations and (
            age is None or self._monotonic() - self._listed_at < age
        ):
            return cast(R, self._listed)
        return None

    def users(self) -> Iterator[User]:
        with self._database.begin(write=False) as connection:
            rows = connection.execution_options(yield_per=1000).execute(select(schema.users))
            for row in rows:
                yield user_of(row)

    # Carrying out

    def execute(self, operations: Sequence[Operation[Any]]) -> Sequence[Any]:
        with self._lock:
            batch = _Batch(self._monotonic(), operations)
            write = any(type(op) not in (FindUser, ListStations) for op in operations)
            try:
                with self._database.begin(write) as connection:
                    self._carry_out(batch, connection)
                    self._in_doubt |= batch.gone
            except DBAPIError as error:
                raise self._database.meaning(error) from error
            self._in_doubt.clear()
            self._remember(batch)
            for place, _ in batch.of(ListStations):
                batch.results[place] = self._listed
            return batch.results

    def _carry_out(self, batch: _Batch, connection: Connection) -> None:
        added, found = batch.of(AddUser), batch.of(FindUser)
        taken, ended, swept = batch.of(TakeSlot), batch.of(EndJourney), batch.of(Sweep)
        if added:
            self._add_users(batch, connection, [operation.user for _, operation in added])
        if found:
            self._find_users(batch, connection, found)
        if taken or ended:
            # All of them before any station: see the head of this module.
            ids = {op.user_id for _, op in taken} | {op.user_id for _, op in ended}
            users = _users_locked(connection, ids)
            held = _sessions_of(connection, ids)
            if taken:
                self._take_slots(batch, connection, taken, users, held)
            if ended:
                self._end_journeys(batch, connection, ended, users, held)
        for place, operation in swept:
            # The last to lock anything, and it waits for nothing: it cannot be part of a ring.
            batch.results[place] = self._sweep(batch, connection, operation)
        if self._database.states_age_s is not None and batch.of(ListStations):
            self._read_network(batch, connection)
            batch.states = _states(connection, batch.network or self._network, None)
            batch.all_states = True
        elif batch.changed:
            batch.states = _states(connection, self._network, batch.changed)

    def _add_users(self, batch: _Batch, connection: Connection, users: Sequence[User]) -> None:
        connection.execute(
            self._database.insert_new(schema.users), [user_row(user) for user in users]
        )
        for user in users:
            batch.users[user.user_id] = user

    def _find_users(
        self, batch: _Batch, connection: Connection, found: list[tuple[int, FindUser]]
    ) -> None:
        wanted = {operation.user_id for _, operation in found}
        rows = connection.execute(select(schema.users).where(schema.users.c.user_id.in_(wanted)))
        users = {row.user_id: user_of(row) for row in rows}
        batch.users.update(users)
        for place, operation in found:
            batch.results[place] = users.get(operation.user_id) or UnknownUser()

    def _take_slots(
        self,
        batch: _Batch,
        connection: Connection,
        taken: list[tuple[int, TakeSlot]],
        users: dict[str, User],
        held: dict[str, ChargingSession],
    ) -> None:
        stations, free = self._stations_locked(connection, {op.station_id for _, op in taken})
        new: list[ChargingSession] = []
        for place, operation in taken:
            try:
                session = _decide(operation, users, held, stations, free)
            except Exception as error:
                batch.results[place] = error
                continue
            batch.results[place] = session
            if operation.user_id not in held:
                held[session.user_id] = session
                free[session.station_id] -= 1
                new.append(session)
        if new:
            connection.execute(insert(schema.sessions), [session_row(s) for s in new])
            connection.execute(
                insert(schema.payments),
                [
                    {
                        "receipt_id": session.receipt_id,
                        "paid_timestamp": session.paid_timestamp,
                        "station_id": session.station_id,
                        "amount": session.amount,
                        "user_start": session.user_id[:8],
                    }
                    for session in new
                ],
            )
            batch.changed.update(session.station_id for session in new)

    def _stations_locked(
        self, connection: Connection, wanted: set[str]
    ) -> tuple[dict[str, Station], dict[int, int]]:
        """Those of the stations that are in service, by id as text; their free slots, by id."""
        ids = {int(text) for text in wanted if len(text) < 10 and text.isascii() and text.isdigit()}
        rows = connection.execute(
            select(schema.stations)
            .where(schema.stations.c.station_id.in_(ids), schema.stations.c.in_service)
            .order_by(schema.stations.c.station_id)
            .with_for_update()
        ).all()
        # Counted by a statement of its own, begun with the stations locked: it sees every session.
        counts = connection.execute(
            select(schema.sessions.c.station_id, func.count())
            .where(schema.sessions.c.station_id.in_([row.station_id for row in rows]))
            .group_by(schema.sessions.c.station_id)
        )
        held = {station_id: count for station_id, count in counts}
        known = self._network.stations
        return (
            {str(row.station_id): known.get(row.station_id) or station_of(row) for row in rows},
            {row.station_id: row.max_slots - held.get(row.station_id, 0) for row in rows},
        )

    def _end_journeys(
        self,
        batch: _Batch,
        connection: Connection,
        ended: list[tuple[int, EndJourney]],
        users: dict[str, User],
        held: dict[str, ChargingSession],
    ) -> None:
        gone: set[str] = set()
        for place, operation in ended:
            user_id = operation.user_id
            if user_id in users and user_id not in gone:
                gone.add(user_id)
            elif user_id not in self._in_doubt:
                # Else it was removed by the attempt before this one, whose end was not seen.
                batch.results[place] = UnknownUser()
        if gone:
            _remove(connection, gone)
            batch.gone |= gone
            batch.changed.update(held[user_id].station_id for user_id in gone & held.keys())

    def _sweep(self, batch: _Batch, connection: Connection, operation: Sweep) -> SweepResult:
        sessions, users = schema.sessions.c, schema.users.c
        due = connection.execute(
            select(sessions.user_id, sessions.station_id)
            .where(sessions.estimated_timestamp <= operation.now)
            .order_by(sessions.estimated_timestamp)
            .limit(MOST_SWEPT)
            .with_for_update(skip_locked=True)
        ).all()
        ids = [row.user_id for row in due]
        if due:
            # Of the users only those whom no request has locked; the next sweep comes to the rest.
            present = set(
                connection.execute(select(users.user_id).where(users.user_id.in_(ids))).scalars()
            )
            locked = set(
                connection.execute(
                    select(users.user_id)
                    .where(users.user_id.in_(ids))
                    .with_for_update(skip_locked=True)
                ).scalars()
            )
            due = [row for row in due if row.user_id in locked or row.user_id not in present]
            ended = {row.user_id for row in due}
            if ended:
                _remove(connection, ended)
                batch.gone |= ended
                batch.changed.update(row.station_id for row in due)
        holds_slot = select(sessions.user_id).where(sessions.user_id == users.user_id).exists()
        unpaid = list(
            connection.execute(
                select(users.user_id)
                .where(users.created_timestamp < operation.logged_in_before, ~holds_slot)
                .order_by(users.created_timestamp)
                .limit(MOST_SWEPT)
                .with_for_update(skip_locked=True)
            ).scalars()
        )
        removed = 0
        if unpaid:
            # Looked at again now that they are locked: one may have paid in between.
            paid = _sessions_of(connection, unpaid).keys()
            unpaid_now = set(unpaid) - paid
            if unpaid_now:
                _remove(connection, unpaid_now)
            batch.gone |= unpaid_now
            removed = len(unpaid_now)
        more = max(len(ids), len(unpaid)) == MOST_SWEPT and (len(due) > 0 or removed > 0)
        return SweepResult(len(due), removed, more)

    # What memory keeps

    def _read_network(self, batch: _Batch, connection: Connection) -> None:
        """Read the cars and the stations, unless they are the ones in memory."""
        version = connection.execute(select(schema.network.c.version)).scalar_one()
        if version == self._network.version:
            return
        cars = connection.execute(select(schema.car_models).order_by(schema.car_models.c.place))
        rows = connection.execute(
            select(schema.stations)
            .where(schema.stations.c.in_service)
            .order_by(schema.stations.c.station_id)
        )
        batch.network = _Network(
            version,
            {row.name: json.loads(row.facts) for row in cars},
            {row.station_id: station_of(row) for row in rows},
        )

    def _remember(self, batch: _Batch) -> None:
        """What became true with the commit of `batch`."""
        if self._database.states_age_s is None:
            for user_id, user in batch.users.items():
                if len(self._users) >= MOST_USERS_KEPT:
                    del self._users[next(iter(self._users))]
                self._users[user_id] = user
            for user_id in batch.gone:
                self._users.pop(user_id, None)
        if batch.network is not None:
            self._network = batch.network
        if batch.all_states:
            self._states = batch.states
            self._listed_at = batch.began
        else:
            self._states.update(batch.states)
        if batch.states:
            self._listed = tuple(self._states.values())


def _decide(
    operation: TakeSlot,
    users: Mapping[str, User],
    held: Mapping[str, ChargingSession],
    stations: Mapping[str, Station],
    free: Mapping[int, int],
) -> ChargingSession:
    """The session that holds the user's slot, or would; raises why there is none."""
    user = users.get(operation.user_id)
    if user is None:
        raise UnknownUser()
    session = held.get(operation.user_id)
    if session is not None and str(session.station_id) == operation.station_id:
        return session
    station = stations.get(operation.station_id)
    if station is None:
        raise UnknownStation(operation.station_id)
    if session is not None:
        raise SlotHeldElsewhere(session.station_id)
    if free[station.station_id] <= 0:
        raise NoFreeSlot(operation.station_id)
    return operation.plan(user, station)


def _users_locked(connection: Connection, ids: Iterable[str]) -> dict[str, User]:
    rows = connection.execute(
        select(schema.users)
        .where(schema.users.c.user_id.in_(ids))
        .order_by(schema.users.c.user_id)
        .with_for_update()
    )
    return {row.user_id: user_of(row) for row in rows}


def _sessions_of(connection: Connection, ids: Iterable[str]) -> dict[str, ChargingSession]:
    rows = connection.execute(select(schema.sessions).where(schema.sessions.c.user_id.in_(ids)))
    return {row.user_id: session_of(row) for row in rows}


def _remove(connection: Connection, ids: Iterable[str]) -> None:
    """Remove users, and free the slots that they hold."""
    connection.execute(delete(schema.sessions).where(schema.sessions.c.user_id.in_(ids)))
    connection.execute(delete(schema.users).where(schema.users.c.user_id.in_(ids)))


def _states(
    connection: Connection, network: _Network, ids: Iterable[int] | None
) -> dict[int, StationState]:
    """The states of stations in service, all of them or those of `ids`, in the network's order."""
    sessions = schema.sessions.c
    query = select(
        sessions.station_id, func.count(), func.min(sessions.estimated_timestamp)
    ).group_by(sessions.station_id)
    if ids is not None:
        query = query.where(sessions.station_id.in_(ids))
    taken = {row[0]: (row[1], row[2]) for row in connection.execute(query)}
    wanted = network.stations if ids is None else network.stations.keys() & set(ids)
    states = {}
    for station_id in wanted:
        station = network.stations[station_id]
        count, first_end = taken.get(station_id, (0, None))
        states[station_id] = StationState(station, station.max_slots - count, first_end)
    return states


# Rows


def user_row(user: User) -> dict[str, Any]:
    model = user.car.model
    return {
        "user_id": user.user_id,
        "user_name": user.user_name,
        "brand": model.brand,
        "model": model.model,
        "battery_capacity_kwh": model.battery_capacity_kwh,
        "consumption_kwh_per_km": model.consumption_kwh_per_km,
        "max_speed_km_h": model.max_speed_km_h,
        "ac_limit_kw": model.ac_limit_kw,
        "dc_limit_kw": model.dc_limit_kw,
        "battery_level_kwh": user.car.battery_level_kwh,
        "created_timestamp": user.created_timestamp,
    }


def user_of(row: Any) -> User:
    user_id, name, *figures, level, created = row
    return User(user_id, name, ElectricCar(CarModel(*figures), level), created)


def session_row(session: ChargingSession) -> dict[str, Any]:
    return {
        "user_id": session.user_id,
        "station_id": session.station_id,
        "estimated_timestamp": session.estimated_timestamp,
        "receipt_id": session.receipt_id,
        "amount": session.amount,
        "charge_minutes": session.charge_minutes,
        "paid_timestamp": session.paid_timestamp,
    }


def session_of(row: Any) -> ChargingSession:
    return ChargingSession(**row._mapping)


def station_row(station: Station, cells: Mapping[str, str]) -> dict[str, Any]:
    """A station's row; `cells` are those of its CSV row, in which other programs have columns."""
    known = (*COLUMNS, *OPTIONAL_COLUMNS)
    return {
        "station_id": station.station_id,
        "in_service": True,
        "name": station.name,
        "address": station.address,
        "latitude": station.latitude,
        "longitude": station.longitude,
        "max_slots": station.max_slots,
        "power_kw": station.power_kw,
        "price_kwh": station.price_kwh,
        "connectors": json.dumps(station.connectors, ensure_ascii=False),
        "other_columns": json.dumps(
            {name: cell for name, cell in cells.items() if name not in known}, ensure_ascii=False
        ),
    }


def station_of(row: Any) -> Station:
    return Station(
        station_id=row.station_id,
        name=row.name,
        address=row.address,
        latitude=row.latitude,
        longitude=row.longitude,
        max_slots=row.max_slots,
        power_kw=row.power_kw,
        price_kwh=row.price_kwh,
        connectors=tuple(json.loads(row.connectors)),
    )
