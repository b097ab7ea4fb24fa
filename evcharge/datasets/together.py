"""What the files of a network say together: rows of stations, their EVSEs, and the tariffs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

import attrs

from evcharge.datasets.evses import EvseRows
from evcharge.datasets.problems import shown
from evcharge.datasets.stations import StationRows
from evcharge.models.evse import Evse
from evcharge.models.station import Station

SLOTS = "quantidadeDeVeiculosSimultaneos"
TARIFF = "tarifa"


@attrs.frozen
class Together:
    """Stations with their EVSEs."""

    stations: Mapping[int, Station]
    """Those of which nothing is wrong, by id, in id order."""
    known: Mapping[int, Station]
    """Those too whose row is wrong, or whose tariff there is not; not those whose EVSEs are wrong,
    of which nobody can say where a vehicle stands."""
    problems: list[str]
    """Which tariffs are named that there are not, and which EVSEs as those of another station."""
    doubts: list[str]
    """Where a row says another number than there are EVSEs, and EVSEs of no station."""


def together(
    rows: StationRows, evses: EvseRows, tariffs: Collection[str], others: Collection[int] = ()
) -> Together:
    """
    Bring together what the files say.

    :param tariffs: the ids of those that can be used.
    :param others: stations that have a row elsewhere.
    """
    known = with_evses(rows.known, evses)
    wrong = names_of_others(known, rows, evses, tariffs)
    stations = {
        station_id: known[station_id]
        for station_id in rows.stations
        if station_id in known and station_id not in wrong
    }
    doubts = [
        *other_numbers(rows, stations, evses),
        *strangers(evses, {*rows.known, *others}),
    ]
    problems = [problem for found in wrong.values() for problem in found]
    return Together(stations, known, problems, doubts)


def with_evses(stations: Mapping[int, Station], evses: EvseRows) -> dict[int, Station]:
    """Stations with the EVSEs that are named of them, but for those of which these are wrong."""
    found = {}
    for station_id, station in stations.items():
        if station_id not in evses.wrong:
            found[station_id] = with_own(station, evses.evses.get(station_id, ()))
    return found


def with_own(station: Station, own: tuple[Evse, ...]) -> Station:
    """A station with EVSEs, which say how many slots there are; the station itself if none are."""
    return attrs.evolve(station, own_evses=own, max_slots=len(own)) if own else station


def other_numbers(
    rows: StationRows, stations: Mapping[int, Station], evses: EvseRows
) -> Iterator[str]:
    """Where a row says another number than there are EVSEs of its station."""
    for station_id, row in rows.stations.items():
        station = stations.get(station_id)
        if station is not None and station.own_evses and station.max_slots != row.max_slots:
            what = (
                f"{row.max_slots}, but {evses.source or 'the network'} has "
                f"{station.max_slots} EVSEs of station {station_id}; these count"
            )
            yield rows.said(station_id, SLOTS, what)


def strangers(evses: EvseRows, known: Collection[int]) -> Iterator[str]:
    """Which EVSEs are of a station that is not among those that are `known`."""
    for station_id in sorted({*evses.evses, *evses.wrong}.difference(known)):
        yield f'{evses.source}: "{station_id}": there is no such station'


def names_of_others(
    stations: Mapping[int, Station], rows: StationRows, evses: EvseRows, tariffs: Collection[str]
) -> dict[int, list[str]]:
    """
    Of each station what is wrong that only shows beside the others: it names a tariff which is not
    among `tariffs`, or an EVSE as one of those that another has for its slots.

    :param stations: all of them, with their EVSEs.
    """
    found = lacking_tariffs(rows, evses, tariffs)
    homes = {
        evse.uid: station_id
        for station_id, station in stations.items()
        if not station.own_evses
        for evse in station.evses
    }
    for station_id, own in evses.evses.items():
        for evse in own:
            home = homes.get(evse.uid)
            if home is not None:
                what = f"uid: station {home} has one that is called so"
                found.setdefault(station_id, []).append(f'{evses.source}: "{evse.uid}": {what}')
    return found


def lacking_tariffs(
    rows: StationRows, evses: EvseRows, tariffs: Collection[str]
) -> dict[int, list[str]]:
    """Of each station that names tariffs which are not among `tariffs`, where it does."""
    found: dict[int, list[str]] = {}
    for station_id, station in rows.stations.items():
        tariff_id = station.tariff_id
        if tariff_id is not None and tariff_id not in tariffs:
            what = f"there is no tariff {shown(repr(tariff_id))}"
            found.setdefault(station_id, []).append(rows.said(station_id, TARIFF, what))
    for station_id, own in evses.evses.items():
        for place, tariff_id in tariffs_named(own):
            if tariff_id not in tariffs:
                what = f"{evses.source}: {place}: there is no tariff {shown(repr(tariff_id))}"
                found.setdefault(station_id, []).append(what)
    return found


def named_tariffs(station: Station, column: str) -> Iterator[tuple[str, str]]:
    """
    The tariffs that a station and its connectors name, each with its place.

    :param column: what the place is called where the station's own is.
    """
    if station.tariff_id is not None:
        yield column, station.tariff_id
    yield from tariffs_named(station.own_evses)


def tariffs_named(evses: Iterable[Evse]) -> Iterator[tuple[str, str]]:
    """The tariffs that connectors name, each with its place."""
    for evse in evses:
        for number, connector in enumerate(evse.kind.connectors):
            for nth, tariff_id in enumerate(connector.tariff_ids):
                yield f'"{evse.uid}": connectors[{number}].tariff_ids[{nth}]', tariff_id
